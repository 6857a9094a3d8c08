//! Counts what a subscription handed over, so that the numbers can be shown to add up.

use hdrhistogram::Histogram;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole};
use lumenbus_frame::{Epoch, GapReason, StreamId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest age the histograms tell apart: an hour, in microseconds.
const MAX_AGE_MICROS: u64 = 3_600_000_000;

/// One stream's sums over all epochs seen.
#[derive(Debug)]
pub struct StreamTally {
    /// Frames handed over, without prerolls.
    pub frames: u64,
    /// Payload bytes of them.
    pub bytes: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Frames missing, by reason; gaps of unknown length count 0 here.
    pub missing: BTreeMap<GapReason, u64>,
    /// Gaps whose length nobody knows (a publisher died).
    pub open_gaps: u64,
    /// Frames that equalled the last one and were not sent.
    pub repeated: u64,
    /// Epochs that ended cleanly, with the number of frames published in each.
    pub ended: BTreeMap<Epoch, u64>,
    /// Whether the newest epoch has ended.
    pub is_ended: bool,
    /// Codec of the last frame.
    pub codec: Option<lumenbus_frame::Codec>,
    /// Capture → received, in microseconds, of frames that came live; a recording's age says nothing of the bus.
    pub age_micros: Histogram<u64>,
    /// Append at the broker → received, in microseconds, of the same frames; the broker stamps whole milliseconds.
    pub append_micros: Histogram<u64>,
}

impl Default for StreamTally {
    fn default() -> Self {
        let histogram = || Histogram::new_with_bounds(1, MAX_AGE_MICROS, 3).expect("bounds are right");
        Self {
            frames: 0,
            bytes: 0,
            keyframes: 0,
            missing: BTreeMap::new(),
            open_gaps: 0,
            repeated: 0,
            ended: BTreeMap::new(),
            is_ended: false,
            codec: None,
            age_micros: histogram(),
            append_micros: histogram(),
        }
    }
}

impl StreamTally {
    /// Frames missing for any reason.
    #[must_use]
    pub fn missing_frames(&self) -> u64 {
        self.missing.values().sum()
    }

    /// Frames missing that nothing in the log explains: a defect of the publisher or of a broker.
    #[must_use]
    pub fn unexplained_frames(&self) -> u64 {
        self.missing.get(&GapReason::Unexplained).copied().unwrap_or(0)
    }

    fn frame(&mut self, frame: &DeliveredFrame, since_unix_nanos: i64) {
        self.codec = Some(frame.codec);
        self.is_ended = false;
        if frame.role == FrameRole::Preroll {
            return;
        }
        self.frames += 1;
        self.bytes += frame.payload.len() as u64;
        self.keyframes += u64::from(frame.header.is_keyframe);
        let append_unix_nanos = frame.append_unix_millis.map(|append| append.saturating_mul(1_000_000));
        let appended = append_unix_nanos.unwrap_or(frame.header.capture.unix_nanos);
        if frame.role != FrameRole::Current || appended < since_unix_nanos {
            return;
        }
        let since = |unix_nanos: i64| {
            let micros = frame.received_unix_nanos.saturating_sub(unix_nanos) / 1_000;
            u64::try_from(micros).unwrap_or(0).clamp(1, MAX_AGE_MICROS)
        };
        self.age_micros.saturating_record(since(frame.header.capture.unix_nanos));
        if let Some(append) = append_unix_nanos {
            self.append_micros.saturating_record(since(append));
        }
    }
}

/// Sums per stream.
#[derive(Debug, Default)]
pub struct Tally {
    streams: BTreeMap<Arc<StreamId>, StreamTally>,
    since_unix_nanos: i64,
}

impl Tally {
    /// Counts everything; of ages only those of frames appended at or after this Unix time in nanoseconds.
    #[must_use]
    pub fn since(unix_nanos: i64) -> Self {
        Self { streams: BTreeMap::new(), since_unix_nanos: unix_nanos }
    }

    /// Frames handed over in all streams, without prerolls.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.streams.values().map(|stream| stream.frames).sum()
    }

    /// Counts one event.
    pub fn count(&mut self, event: &Event) {
        match event {
            Event::Frame(frame) => {
                let since = self.since_unix_nanos;
                self.stream(&frame.stream).frame(frame, since);
            }
            Event::Gap { stream, gap } => {
                let tally = self.stream(stream);
                match gap.count() {
                    // Not lost: how topics without control records say that nothing changed.
                    Some(frames) if gap.reason == GapReason::Repeated => tally.repeated += frames,
                    Some(frames) => *tally.missing.entry(gap.reason).or_default() += frames,
                    None => tally.open_gaps += 1,
                }
            }
            Event::Repeat { stream, range, .. } => self.stream(stream).repeated += range.count(),
            Event::End { stream, epoch, last_seq } => {
                let tally = self.stream(stream);
                tally.ended.insert(*epoch, last_seq.map_or(0, |seq| seq.0 + 1));
                tally.is_ended = true;
            }
            _ => {}
        }
    }

    /// Streams in the order of their names.
    pub fn streams(&self) -> impl Iterator<Item = (&Arc<StreamId>, &StreamTally)> {
        self.streams.iter()
    }

    /// Whether every stream seen has ended, and there was one.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        !self.streams.is_empty() && self.streams.values().all(|tally| tally.is_ended)
    }

    fn stream(&mut self, stream: &Arc<StreamId>) -> &mut StreamTally {
        if !self.streams.contains_key(stream) {
            self.streams.insert(Arc::clone(stream), StreamTally::default());
        }
        self.streams.get_mut(stream).expect("just inserted")
    }
}
