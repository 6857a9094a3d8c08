//! A stretch of capture time, cut out of what a subscription hands over.

use crate::decode::breaks_decoding;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole};
use lumenbus_frame::StreamId;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of the GOP under way when the stretch begins, per stream and in all.
const MAX_PREROLL_BYTES: usize = 64 << 20;
const MAX_TOTAL_BYTES: usize = 1 << 30;
/// Frames behind the end that may still be needed for pictures before it, and how far behind it they can be.
const MAX_AHEAD: usize = 16;
const MAX_AHEAD_NANOS: i64 = 1_000_000_000;

/// From one capture time to another, both included, in Unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureRange {
    /// `None`: from the beginning.
    pub from_unix_nanos: Option<i64>,
    /// `None`: without an end.
    pub until_unix_nanos: Option<i64>,
}

impl CaptureRange {
    /// Whether a picture taken then belongs to it.
    #[must_use]
    pub fn contains(&self, unix_nanos: i64) -> bool {
        !self.is_before(unix_nanos) && !self.is_after(unix_nanos)
    }

    fn is_before(&self, unix_nanos: i64) -> bool {
        self.from_unix_nanos.is_some_and(|from| unix_nanos < from)
    }

    pub(super) fn is_after(&self, unix_nanos: i64) -> bool {
        self.until_unix_nanos.is_some_and(|until| unix_nanos > until)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Before,
    Inside,
    /// Until a keyframe from before the end comes: the camera's clock was ahead, and was set.
    Past,
}

/// One stream's.
#[derive(Debug, Default)]
struct Cut {
    phase: Phase,
    /// Before: since the newest keyframe. Inside: frames behind the end.
    held: Vec<Event>,
    held_bytes: usize,
    /// The GOP under way was too large to keep.
    needs_keyframe: bool,
    /// Between what was handed over and what comes next.
    has_left_out: bool,
}

impl Cut {
    fn hold(&mut self, event: Event) {
        self.held_bytes += if let Event::Frame(frame) = &event { frame.payload.len() } else { 0 };
        self.held.push(event);
    }

    fn forget(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    fn end(&mut self) {
        self.forget();
        self.phase = Phase::Past;
    }

    /// The next frame, a keyframe, is taken as the stream's first.
    fn begin_again(&mut self) {
        self.forget();
        (self.phase, self.needs_keyframe, self.has_left_out) = (Phase::Before, false, true);
    }

    fn before(&mut self, frame: DeliveredFrame) {
        if frame.codec.is_intra_only() {
            return;
        }
        let is_keyframe = frame.header.is_keyframe;
        if is_keyframe {
            self.forget();
            self.needs_keyframe = false;
        }
        if is_keyframe || !self.held.is_empty() {
            self.hold(Event::Frame(DeliveredFrame { role: FrameRole::Preroll, ..frame }));
        }
    }

    /// The next keyframe is taken instead.
    fn give_up(&mut self) {
        tracing::warn!(bytes = self.held_bytes, "the GOP under way is too large to begin within");
        self.forget();
        self.needs_keyframe = true;
    }

    fn inside(&mut self, frame: DeliveredFrame, out: &mut Vec<Event>) {
        self.needs_keyframe &= !frame.header.is_keyframe;
        if self.needs_keyframe {
            return;
        }
        if self.phase == Phase::Before && frame.header.is_keyframe {
            self.forget();
        }
        self.phase = Phase::Inside;
        let first = out.len();
        out.append(&mut self.held);
        self.held_bytes = 0;
        out.push(Event::Frame(frame));
        if std::mem::take(&mut self.has_left_out)
            && let Event::Frame(frame) = &mut out[first]
        {
            frame.header.is_discontinuity = true;
        }
    }

    fn after(&mut self, frame: DeliveredFrame, until: i64) {
        let is_far = frame.header.capture.unix_nanos.saturating_sub(until) > MAX_AHEAD_NANOS;
        let is_needed = self.phase == Phase::Inside && !is_far && !frame.codec.is_intra_only();
        if !is_needed || self.held.len() >= MAX_AHEAD || self.held_bytes > MAX_PREROLL_BYTES {
            self.end();
            return;
        }
        self.hold(Event::Frame(frame));
    }
}

/// Lets through what belongs to a stretch, and what is needed to decode it: the GOP under way at its beginning, marked
/// [`FrameRole::Preroll`], and the few frames behind its end that pictures before it refer to.
#[derive(Debug)]
pub(super) struct Cutting {
    range: CaptureRange,
    streams: HashMap<Arc<StreamId>, Cut>,
    held_bytes: usize,
}

impl Cutting {
    pub(super) fn new(range: CaptureRange) -> Self {
        Self { range, streams: HashMap::new(), held_bytes: 0 }
    }

    /// Whether every one of these streams is past the end.
    pub(super) fn is_past<'a>(&self, mut streams: impl Iterator<Item = &'a Arc<StreamId>>) -> bool {
        streams.all(|stream| self.streams.get(stream).is_some_and(|cut| cut.phase == Phase::Past))
    }

    /// Appends what is due with this event to `out`.
    pub(super) fn push(&mut self, event: Event, out: &mut Vec<Event>) {
        if self.range == CaptureRange::default() {
            out.push(event);
            return;
        }
        let stream = match &event {
            Event::Frame(frame) => &frame.stream,
            Event::Gap { stream, .. }
            | Event::Repeat { stream, .. }
            | Event::Offline { stream, .. }
            | Event::End { stream, .. } => stream,
            _ => return out.push(event),
        };
        if !self.streams.contains_key(stream) {
            let phase = if self.range.from_unix_nanos.is_none() { Phase::Inside } else { Phase::Before };
            self.streams.insert(Arc::clone(stream), Cut { phase, ..Cut::default() });
        }
        let cut = self.streams.get_mut(stream).expect("inserted above");
        let held_before = cut.held_bytes;
        match event {
            Event::Frame(frame) => Self::frame(cut, self.range, frame, out),
            _ if cut.phase == Phase::Past => {}
            event => Self::other(cut, event, out),
        }
        let held = self.held_bytes - held_before;
        if cut.phase == Phase::Before && (cut.held_bytes > MAX_PREROLL_BYTES || held + cut.held_bytes > MAX_TOTAL_BYTES)
        {
            cut.give_up();
        }
        self.held_bytes = held + cut.held_bytes;
    }

    fn frame(cut: &mut Cut, range: CaptureRange, mut frame: DeliveredFrame, out: &mut Vec<Event>) {
        let at = frame.header.capture.unix_nanos;
        let can_begin = frame.header.is_keyframe || frame.codec.is_intra_only();
        let was_set_back = match cut.phase {
            Phase::Before => false,
            Phase::Inside => range.is_before(at),
            Phase::Past => !range.is_after(at),
        };
        if was_set_back && can_begin {
            cut.begin_again();
        }
        if range.from_unix_nanos.is_some() && frame.role == FrameRole::Preroll {
            // What the bus marks as such lies before the moment that it began with, not before this stretch.
            frame.role = FrameRole::Current;
        }
        match (cut.phase, range.until_unix_nanos) {
            (Phase::Past, _) => {}
            (_, Some(until)) if at > until => cut.after(frame, until),
            (Phase::Before, _) if range.is_before(at) => cut.before(frame),
            _ => {
                if range.is_before(at) {
                    frame.role = FrameRole::Preroll;
                }
                cut.inside(frame, out);
            }
        }
    }

    fn other(cut: &mut Cut, event: Event, out: &mut Vec<Event>) {
        let is_harmless = match &event {
            Event::Repeat { .. } | Event::Offline { .. } => true,
            Event::Gap { gap, .. } => !breaks_decoding(gap),
            _ => false,
        };
        match (cut.phase, cut.held.is_empty()) {
            (Phase::Inside, true) => out.push(event),
            // What is held is worth nothing without it, and what came before the stretch is not told.
            (Phase::Before, false) if is_harmless => cut.hold(event),
            (Phase::Before, _) => cut.forget(),
            (Phase::Inside, false) if is_harmless => cut.hold(event),
            _ => cut.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lumenbus_frame::{CaptureTime, Codec, Epoch, FrameId, Gap, GapReason, Seq};
    use lumenbus_wire::Header;

    fn stream() -> Arc<StreamId> {
        Arc::new(StreamId::main("gate".parse().unwrap(), "raw_video".parse().unwrap()))
    }

    fn frame(codec: Codec, seq: u64, capture: i64) -> Event {
        let mut header = Header::new(FrameId { epoch: Epoch(1), seq: Seq(seq) }, CaptureTime::arrival(capture));
        header.is_keyframe = seq.is_multiple_of(10);
        Event::Frame(DeliveredFrame {
            stream: stream(),
            header,
            header_bytes: Bytes::new(),
            codec,
            payload: Bytes::from_static(b"x"),
            parameters: None,
            trace: None,
            role: FrameRole::Current,
            partition: 0,
            offset: 0,
            append_unix_millis: None,
            received_unix_nanos: 0,
        })
    }

    fn gap(seq: u64, reason: GapReason) -> Event {
        Event::Gap { stream: stream(), gap: Gap::new(Seq(seq), Seq(seq), reason) }
    }

    /// Seqs of what comes out, prerolls negative; gaps as 1000 and their seq.
    fn check(from: Option<i64>, until: Option<i64>, events: Vec<Event>, expected: &[i64]) -> Cutting {
        let mut cutting = Cutting::new(CaptureRange { from_unix_nanos: from, until_unix_nanos: until });
        let mut out = Vec::new();
        events.into_iter().for_each(|event| cutting.push(event, &mut out));
        let told = out.iter().map(|event| match event {
            Event::Frame(frame) => {
                let seq = i64::try_from(frame.header.id.seq.0).unwrap();
                if frame.role == FrameRole::Preroll { -seq } else { seq }
            }
            Event::Gap { gap, .. } => 1_000 + i64::try_from(gap.first.0).unwrap(),
            _ => panic!("{event:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
        cutting
    }

    /// Captured at their seq.
    fn frames(codec: Codec, seqs: std::ops::Range<u64>) -> Vec<Event> {
        seqs.map(|seq| frame(codec, seq, i64::try_from(seq).unwrap())).collect()
    }

    #[test]
    fn the_gop_under_way_comes_first_and_none_before_it() {
        check(Some(23), Some(26), frames(Codec::H264, 0..50), &[-20, -21, -22, 23, 24, 25, 26]);
        check(Some(20), Some(21), frames(Codec::H264, 0..50), &[20, 21]);
        check(Some(23), Some(24), frames(Codec::Jpeg, 0..50), &[23, 24]);
        check(None, Some(1), frames(Codec::H264, 0..50), &[0, 1]);
        check(None, None, frames(Codec::H264, 3..5), &[3, 4]);
    }

    #[test]
    fn what_breaks_the_gop_under_way_is_waited_out() {
        let mut events = frames(Codec::H264, 10..12);
        events.push(gap(12, GapReason::Overflow));
        events.extend(frames(Codec::H264, 20..23));
        check(Some(21), None, events, &[-20, 21, 22]);
        let mut events = frames(Codec::H264, 10..12);
        events.push(gap(12, GapReason::Repeated));
        events.extend(frames(Codec::H264, 13..15));
        check(Some(14), None, events, &[-10, -11, 1_012, -13, 14]);
    }

    #[test]
    fn frames_behind_the_end_come_only_where_one_before_it_needs_them() {
        // Out of order: 4 is decoded before 2 and 3.
        let order = [0, 1, 4, 2, 3, 7, 5, 6].map(|seq: u64| (seq, i64::try_from(seq).unwrap()));
        let events = || order.map(|(seq, capture)| frame(Codec::H264, seq, capture)).to_vec();
        check(None, Some(3), events(), &[0, 1, 4, 2, 3]);
        check(None, Some(4), events(), &[0, 1, 4, 2, 3]);
        check(None, Some(1), events(), &[0, 1]);
    }

    /// Captured at these times.
    fn at(codec: Codec, captures: &[i64]) -> Vec<Event> {
        captures.iter().zip(0..).map(|(capture, seq)| frame(codec, seq, *capture)).collect()
    }

    #[test]
    fn a_clock_that_is_set_during_the_stretch_costs_what_lies_elsewhere_only() {
        const FAR: i64 = 3_600 * 1_000_000_000;
        // An hour ahead from 4 to 14, keyframes at 0, 10 and 20.
        let ahead: Vec<i64> = (0..30).map(|seq| if (4..15).contains(&seq) { seq + FAR } else { seq }).collect();
        let before = [0, 1, 2, 3];
        let cutting =
            check(None, Some(26), at(Codec::H264, &ahead), &[&before[..], &[20, 21, 22, 23, 24, 25, 26]].concat());
        assert!(!cutting.is_past([stream()].iter()), "it goes on");
        check(Some(2), Some(16), at(Codec::Jpeg, &ahead), &[2, 3, 15, 16]);
        check(Some(23), Some(26), at(Codec::H264, &ahead), &[-20, -21, -22, 23, 24, 25, 26]);
        // An hour behind from 4 on, right again from 14 on.
        let behind: Vec<i64> = (0..24).map(|seq| if (4..14).contains(&seq) { seq - FAR } else { seq }).collect();
        let rest = [-4, -5, -6, -7, -8, -9, -10, -11, -12, -13, 14, 15];
        check(Some(2), Some(15), at(Codec::H264, &behind), &[&[0, -1, 2, 3], &rest[..]].concat());
        check(Some(2), Some(15), at(Codec::Jpeg, &behind), &[2, 3, 14, 15]);
    }

    #[test]
    fn whoever_decodes_is_told_where_something_was_left_out() {
        let mut cutting = Cutting::new(CaptureRange { from_unix_nanos: None, until_unix_nanos: Some(25) });
        let mut out = Vec::new();
        let far = 5 * MAX_AHEAD_NANOS;
        let captures: Vec<i64> = (0..23).map(|seq| if (3..20).contains(&seq) { far } else { seq }).collect();
        at(Codec::H264, &captures).into_iter().for_each(|event| cutting.push(event, &mut out));
        let told = out.iter().map(|event| match event {
            Event::Frame(frame) => (frame.header.id.seq.0, frame.header.is_discontinuity),
            _ => panic!("{event:?}"),
        });
        let expected = [(0, false), (1, false), (2, false), (20, true), (21, false), (22, false)];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_stream_is_past_when_nothing_of_it_can_come_any_more() {
        let streams = [stream()];
        let is_past = |cutting: &Cutting| cutting.is_past(streams.iter());
        assert!(!is_past(&check(None, Some(4), frames(Codec::H264, 0..7), &[0, 1, 2, 3, 4])));
        assert!(is_past(&check(None, Some(4), frames(Codec::H264, 0..30), &[0, 1, 2, 3, 4])));
        assert!(is_past(&check(None, Some(4), frames(Codec::Jpeg, 0..6), &[0, 1, 2, 3, 4])));
        let far = vec![frame(Codec::H264, 0, 0), frame(Codec::H264, 1, 2 * MAX_AHEAD_NANOS)];
        assert!(is_past(&check(None, Some(4), far, &[0])));
    }
}
