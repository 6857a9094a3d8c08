//! Events of the bus in, pictures onto the desk: each frame decoded in its turn and accounted for.

use super::analyst::{Maker, lost};
use super::counts::Counter;
use super::desk::{Desk, Facts, Outcome, Waiting, What};
use super::freshness::Backlog;
use super::micros;
use lumenbus_bus::SystemClock;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole, Reading, Receipt};
use lumenbus_codec::DecoderConfig;
use lumenbus_frame::{CaptureTime, Clock as _, Epoch, Gap, GapReason, StreamId};
use lumenbus_pipeline::decode::{DecodeError, DecodedFrame, Decoding};
use lumenbus_pipeline::subscribe::encoded;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sweeps without a frame after which a stream may have stopped without an end.
const QUIET_SWEEPS: u32 = 30;
/// A frame that seems to have waited for longer came before the clock was set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Which frames are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frames {
    /// All.
    #[default]
    All,
    /// Those that need no other.
    Keyframes,
}

/// Whether a stream stopped without an end, as one does whose publisher died.
///
/// Sweeps are counted and not seconds: while the detector holds everything up, nothing has fallen silent.
#[derive(Debug, Default)]
struct Silence {
    sweeps: u32,
    is_doubted: bool,
}

impl Silence {
    /// A frame came.
    fn broken(&mut self) {
        *self = Self::default();
    }

    fn sweep(&mut self) {
        self.sweeps = self.sweeps.saturating_add(1);
    }

    /// Whether it has lasted long enough to look how far the log goes.
    fn is_long(&self) -> bool {
        self.sweeps >= QUIET_SWEEPS
    }
}

/// A frame that was given to the decoder.
struct Given {
    facts: Facts,
    capture: CaptureTime,
}

struct Stream {
    key: u64,
    reading: Option<Reading>,
    decoding: Decoding,
    /// Frames whose picture is to come.
    given: VecDeque<Given>,
    epoch: Option<Epoch>,
    has_ended: bool,
    silence: Silence,
    backlog: Backlog,
    /// When the frame before was taken.
    last_taken: Instant,
}

impl Stream {
    fn new(key: u64, reading: Option<Reading>) -> Self {
        let decoding = Decoding::new(DecoderConfig::default());
        let (given, silence, backlog) = (VecDeque::new(), Silence::default(), Backlog::default());
        let last_taken = Instant::now();
        Self { key, reading, decoding, given, epoch: None, has_ended: false, silence, backlog, last_taken }
    }

    fn is_over(&self) -> bool {
        self.reading.as_ref().is_some_and(Reading::is_over)
    }
}

pub(super) struct Intake<'a> {
    desk: &'a Desk,
    maker: Maker,
    frames: Frames,
    streams: HashMap<Arc<StreamId>, Stream>,
    pictures: Vec<DecodedFrame>,
    /// When the frame came that is given to a decoder.
    arrived: Instant,
    /// Whether others wait behind it.
    has_more: bool,
}

impl<'a> Intake<'a> {
    pub(super) fn new(desk: &'a Desk, maker: Maker, frames: Frames) -> Self {
        Self {
            desk,
            maker,
            frames,
            streams: HashMap::new(),
            pictures: Vec::new(),
            arrived: Instant::now(),
            has_more: false,
        }
    }

    /// `has_more`: other events wait already.
    pub(super) fn take(&mut self, event: Event, receipt: Receipt, has_more: bool) {
        self.has_more = has_more;
        match event {
            Event::Frame(frame) => self.frame(&frame, receipt),
            Event::Gap { stream, gap } => self.missing(&stream, &gap, receipt),
            Event::Repeat { stream, epoch, range } => {
                let gap = Gap { epoch: Some(epoch), ..Gap::new(range.first, range.last, GapReason::Repeated) };
                self.missing(&stream, &gap, receipt);
            }
            Event::End { stream, epoch, .. } => {
                self.finish(&stream);
                if let Some(found) = self.streams.get_mut(&stream) {
                    found.has_ended = true;
                    // What comes next begins afresh; until then a decoder would only cost memory.
                    found.decoding = Decoding::new(DecoderConfig::default());
                }
                self.ended(&stream, epoch, receipt);
            }
            Event::Offline { stream, epoch, .. } => {
                // A camera that comes back begins with a keyframe; nobody knows when.
                self.finish(&stream);
                self.ended(&stream, epoch, receipt);
            }
            _ => receipt.done(),
        }
    }

    /// In its place behind the stream's frames. Those may all have been another worker's.
    fn ended(&mut self, id: &Arc<StreamId>, epoch: Epoch, receipt: Receipt) {
        let is_new = !self.streams.contains_key(id);
        let stream = self.stream(id, &receipt);
        stream.has_ended |= is_new;
        let key = stream.key;
        self.desk.event(key, What::Ended { epoch }, receipt);
    }

    /// The stream's state in this reading of its partition; what is left of an earlier one is let go of.
    fn stream(&mut self, id: &Arc<StreamId>, receipt: &Receipt) -> &mut Stream {
        let reading = receipt.reading();
        let is_other = |stream: &Stream| reading.is_some() && stream.reading.is_some() && stream.reading != reading;
        let is_foreign = self.streams.get(id).is_some_and(|stream| {
            // A move to a partition that is read here goes on where it was.
            is_other(stream) && stream.is_over()
        });
        if is_foreign {
            self.discard(id);
        }
        let desk = self.desk;
        let stream = self.streams.entry(Arc::clone(id)).or_insert_with(|| Stream::new(desk.open(id), None));
        if reading.is_some() {
            stream.reading = reading;
        }
        stream
    }

    fn discard(&mut self, id: &StreamId) {
        if let Some(old) = self.streams.remove(id) {
            self.desk.discard(old.key);
        }
    }

    /// Streams whose partitions others have now; and how long the others have been silent.
    pub(super) fn sweep(&mut self) {
        self.streams.values_mut().for_each(|stream| stream.silence.sweep());
        let over = self.streams.iter().filter(|(_, stream)| stream.is_over()).map(|(id, _)| Arc::clone(id));
        for id in over.collect::<Vec<_>>() {
            self.discard(&id);
        }
    }

    /// Whether streams may have stopped with pictures in their decoders. Once everything that is in the log *now* was
    /// taken, [`finish_silent`](Self::finish_silent) knows.
    pub(super) fn doubts_silent(&mut self) -> bool {
        let mut any = false;
        for stream in self.streams.values_mut() {
            stream.silence.is_doubted = stream.silence.is_long() && !stream.given.is_empty();
            any |= stream.silence.is_doubted;
        }
        any
    }

    /// Pictures come out of the decoders of streams that were doubted and have had no frame since.
    pub(super) fn finish_silent(&mut self) {
        let silent = self.streams.iter().filter(|(_, stream)| stream.silence.is_doubted).map(|(id, _)| Arc::clone(id));
        for id in silent.collect::<Vec<_>>() {
            self.finish(&id);
        }
    }

    /// They are doubted again when their silence has gone on for as long once more.
    pub(super) fn trusts_silent(&mut self) {
        let doubted = self.streams.values_mut().filter(|stream| stream.silence.is_doubted);
        doubted.for_each(|stream| stream.silence.broken());
    }

    fn frame(&mut self, frame: &DeliveredFrame, receipt: Receipt) {
        let is_preroll = frame.role == FrameRole::Preroll;
        let counter = if is_preroll { Counter::Prerolls } else { Counter::Frames };
        self.maker.counters.add(counter, 1);
        let (frames, waited, now) = (self.frames, waited(frame), Instant::now());
        self.arrived = now.checked_sub(waited).unwrap_or(now);
        // What is on the way to the live end has to be decoded, however long it waited.
        let allowance = self.desk.allowance().filter(|_| frame.role == FrameRole::Current);
        let stream = self.stream(&frame.stream, &receipt);
        stream.has_ended = false;
        stream.silence.broken();
        let (key, id) = (stream.key, frame.id());
        let resets = stream.epoch.replace(id.epoch) != Some(id.epoch) || frame.header.is_discontinuity;
        let facts = Facts {
            id,
            partition: frame.partition,
            received_unix_nanos: frame.received_unix_nanos,
            received: now,
            decode: Duration::ZERO,
            is_preroll,
            resets,
        };
        stream.given.push_back(Given { facts, capture: frame.header.capture });
        let elapsed = now.saturating_duration_since(std::mem::replace(&mut stream.last_taken, now));
        let is_alone = frame.header.is_keyframe || frame.codec.is_intra_only();
        let is_late = stream.backlog.skips(is_alone, waited, elapsed, allowance);
        self.desk.frame(key, &facts, frame.header.capture.unix_nanos, receipt);
        if frames == Frames::Keyframes && !frame.header.is_keyframe {
            self.skip(&frame.stream, Counter::Skipped);
            return;
        }
        if is_late {
            self.desk.overtake(key);
            self.skip(&frame.stream, Counter::Superseded);
            return;
        }
        self.decode(frame);
    }

    /// The frame that came last is not to be looked at.
    fn skip(&mut self, id: &StreamId, counter: Counter) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if let Some(given) = stream.given.pop_back() {
            if !given.facts.is_preroll {
                self.maker.counters.add(counter, 1);
            }
            self.desk.resolve(stream.key, given.facts.id, Outcome::default());
        }
    }

    fn decode(&mut self, frame: &DeliveredFrame) {
        let is_alone = self.frames == Frames::Keyframes || frame.codec.is_intra_only();
        let Some(stream) = self.streams.get_mut(&frame.stream) else { return };
        let (id, pictures) = (frame.id(), &mut self.pictures);
        let began = Instant::now();
        let coded = encoded(frame);
        // The parsers read hostile bytes: a panic in one must stay this stream's trouble.
        let pushed = catch_unwind(AssertUnwindSafe(|| {
            let pushed = stream.decoding.push(id, &coded, pictures);
            if is_alone {
                stream.decoding.finish(pictures);
            }
            pushed
        }));
        let took = began.elapsed();
        if let Some(given) = stream.given.back_mut() {
            given.facts.decode = took;
        }
        let failed = match pushed {
            Ok(pushed) => pushed.err(),
            Err(_) => {
                stream.decoding = Decoding::new(DecoderConfig::default());
                None
            }
        };
        self.maker.counters.add(Counter::DecodeMicros, micros(took));
        self.hand_on(&frame.stream, failed.as_ref());
    }

    /// Pictures go to the desk; frames of which none will come are accounted for.
    fn hand_on(&mut self, id: &Arc<StreamId>, failed: Option<&DecodeError>) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        for decoded in self.pictures.drain(..) {
            let known = stream.given.iter().position(|given| given.facts.id == decoded.id);
            let Some(given) = known.and_then(|at| stream.given.remove(at)) else { continue };
            let (facts, arrived, has_more) = (given.facts, self.arrived, self.has_more);
            let waiting =
                Waiting { stream: Arc::clone(id), id: decoded.id, picture: decoded.picture, facts, arrived, has_more };
            self.desk.picture(stream.key, waiting);
        }
        let mut at = 0;
        while let Some(given) = stream.given.get(at) {
            if stream.decoding.holds(given.facts.id) {
                at += 1;
                continue;
            }
            let Some(given) = stream.given.remove(at) else { return };
            let frame = given.facts.id;
            let why = failed.filter(|error| error.id == frame).map(|error| error.source.to_string());
            let why = why.unwrap_or_else(|| lost(frame));
            let result = self.maker.without_picture(id, given.capture, &given.facts, why);
            self.desk.resolve(stream.key, frame, Outcome { result, seen: None });
        }
    }

    fn missing(&mut self, id: &Arc<StreamId>, gap: &Gap, receipt: Receipt) {
        if gap.reason != GapReason::Repeated {
            let count = gap.last.map_or(0, |last| last.0.saturating_sub(gap.first.0) + 1);
            self.maker.counters.add(Counter::Missing, count);
        }
        self.arrived = Instant::now();
        let stream = self.stream(id, &receipt);
        let key = stream.key;
        let pictures = &mut Vec::new();
        let gone = catch_unwind(AssertUnwindSafe(|| stream.decoding.gap(gap, pictures)));
        if gone.is_err() {
            stream.decoding = Decoding::new(DecoderConfig::default());
        }
        self.pictures.append(&mut std::mem::take(pictures));
        self.hand_on(id, None);
        self.desk.event(key, What::Nothing, receipt);
    }

    /// What the stream's decoder holds back comes out.
    fn finish(&mut self, id: &Arc<StreamId>) {
        self.arrived = Instant::now();
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.silence.broken();
        let pictures = &mut self.pictures;
        if catch_unwind(AssertUnwindSafe(|| stream.decoding.finish(pictures))).is_err() {
            stream.decoding = Decoding::new(DecoderConfig::default());
        }
        self.hand_on(id, None);
    }

    /// As [`finish`](Self::finish), of all streams.
    pub(super) fn finish_all(&mut self) {
        for id in self.streams.keys().cloned().collect::<Vec<_>>() {
            self.finish(&id);
        }
    }

    /// Whether every stream that is read here has ended.
    pub(super) fn have_all_ended(&self) -> bool {
        self.streams.values().all(|stream| stream.has_ended || stream.is_over())
    }
}

/// How long a frame waited to be taken; nothing where the clock was set meanwhile.
fn waited(frame: &DeliveredFrame) -> Duration {
    let nanos = SystemClock.unix_nanos().saturating_sub(frame.received_unix_nanos);
    Duration::from_nanos(nanos.try_into().unwrap_or(0)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_long_after_many_sweeps_without_a_frame() {
        let mut silence = Silence::default();
        for _ in 1..QUIET_SWEEPS {
            silence.sweep();
        }
        assert!(!silence.is_long());
        silence.sweep();
        assert!(silence.is_long());
        silence.is_doubted = true;
        silence.broken();
        assert!(!silence.is_long() && !silence.is_doubted, "what was doubted goes on");
    }
}
