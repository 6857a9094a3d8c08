//! Finding a moment by the frames alone: what the index is checked against and rebuilt from.
//!
//! The broker's append time leads near the moment, the first frame there names its keyframe. Everything read is bounded.

use super::KeyframeAt;
use super::bracket::{Bracket, Captured};
use super::log::{Limit, LogReader, Stretch};
use super::peek::Seen;
use crate::BusError;
use lumenbus_frame::{Epoch, FrameId, StreamId};
use std::ops::ControlFlow;

const NANOS_PER_MILLI: i64 = 1_000_000;
/// Until the next frame of the stream: among 48 cameras of 30 frames/s in one partition, 0.7 s.
const AHEAD: Limit = Limit { records: 1_024, bytes: 32 << 20 };
/// From a frame near the moment to the moment.
const FORWARD: Limit = Limit { records: 4_096, bytes: 64 << 20 };
/// Records in the first stretch looked at backwards; each further one reaches four times as far.
const FIRST_REACH: i64 = 64;
const MAX_REACH: i64 = 4_096;
/// Bytes of all of them, and of what is read of them at a time.
const BACK_BYTES: usize = 64 << 20;
const PART_BYTES: usize = 8 << 20;
/// Places looked at until one is near the moment.
const MAX_PROBES: usize = 12;
/// A second look is worth it once, where a camera's clock is off.
const MAX_CORRECTIONS: usize = 3;
/// Append times this close to the ones expected need no second look.
const TOLERANCE_MILLIS: i64 = 1_000;
/// Frames are reordered by less than this; more is a clock that was set.
const STEP_NANOS: i64 = 500 * NANOS_PER_MILLI;
/// Records between a frame and the keyframe it names that are looked through for a newer one.
const MAX_BURST: i64 = 256;
/// Keyframes that may lie between where the search came out and the moment.
const MAX_STEPS_BACK: usize = 4;

/// Where a moment may be in a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHint {
    /// When it may have been appended.
    pub(super) append_millis: i64,
    /// No earlier frame, and none from there on, is meant: they are of another time.
    pub(super) from: i64,
    pub(super) until: i64,
}

impl FrameHint {
    /// As if the camera's clock were the broker's.
    pub(super) fn of(capture_unix_nanos: i64) -> Self {
        Self { append_millis: capture_unix_nanos / NANOS_PER_MILLI, from: 0, until: i64::MAX }
    }
}

/// What lies before a moment.
pub(super) struct Upto {
    /// The last keyframe.
    pub(super) found: Option<KeyframeAt>,
    /// Everything up to the moment was read.
    pub(super) has_reached: bool,
    /// The moment is not behind the last frame that was read.
    is_passed: bool,
}

/// What a look for an epoch found.
pub(crate) struct Ahead {
    pub(crate) has_begun: bool,
    /// Offset after the last record that was read.
    pub(crate) next: i64,
    /// There was no further one.
    pub(crate) is_at_end: bool,
}

/// A frame and on which side of the moment it is.
#[derive(Debug, Clone, Copy)]
struct Sided {
    seen: Seen,
    is_inside: bool,
    is_after: bool,
}

impl Captured for Sided {
    fn is_after(&self, _: i64) -> bool {
        self.is_after
    }

    fn capture_unix_nanos(&self) -> i64 {
        self.seen.capture_unix_nanos
    }
}

pub(super) struct FrameSearch<'a> {
    pub(super) log: &'a mut LogReader,
    pub(super) stream: &'a StreamId,
}

impl FrameSearch<'_> {
    /// The keyframe at or before a capture time in this partition.
    pub(super) fn at(
        &mut self,
        partition: i32,
        capture_unix_nanos: i64,
        hint: FrameHint,
    ) -> Result<Option<KeyframeAt>, BusError> {
        let Some(near) = self.locate(partition, capture_unix_nanos, hint)? else { return Ok(None) };
        let mut found = self.gop_start(&near)?;
        for _ in 0..MAX_STEPS_BACK {
            let Some(later) = found.take_if(|found| found.capture_unix_nanos > capture_unix_nanos) else { break };
            found = self.before(&later)?;
        }
        // A frame of a burst names an older keyframe than its own, which was not acknowledged yet.
        let own = found.as_ref().map_or(near.offset, |found| found.offset);
        let from = if near.offset.saturating_sub(own) <= MAX_BURST { own } else { near.offset };
        let newer = self.last_upto(partition, from, capture_unix_nanos)?.found;
        Ok(newer.or(found).filter(|found| found.capture_unix_nanos <= capture_unix_nanos))
    }

    /// As [`at`](Self::at); of a stream that is over also long after its end.
    pub(super) fn at_or_stopped(
        &mut self,
        partition: i32,
        capture_unix_nanos: i64,
        hint: FrameHint,
        stopped_millis: Option<i64>,
    ) -> Result<Option<KeyframeAt>, BusError> {
        let found = self.at(partition, capture_unix_nanos, hint)?;
        match stopped_millis {
            Some(append_millis) if found.is_none() => {
                self.at(partition, capture_unix_nanos, FrameHint { append_millis, ..hint })
            }
            _ => Ok(found),
        }
    }

    /// A frame at or a little before a moment; `None` when the partition holds none as old as that.
    fn locate(&mut self, partition: i32, capture: i64, hint: FrameHint) -> Result<Option<Seen>, BusError> {
        let mut bracket = Bracket::new(capture);
        let mut next = Some(hint.append_millis);
        for _ in 0..MAX_PROBES {
            let Some(millis) = next else { break };
            let Some(seen) = self.near(partition, millis)? else { break };
            let is_inside = (hint.from..hint.until).contains(&seen.offset);
            if is_inside && bracket.is_close(seen.capture_unix_nanos) {
                return Ok(Some(seen));
            }
            let is_after = if is_inside { seen.capture_unix_nanos > capture } else { seen.offset >= hint.until };
            if is_after && bracket.after().is_some_and(|after: &Sided| after.seen.offset == seen.offset) {
                // Nothing lies between the place that was asked for and the frame after the moment.
                break;
            }
            let append = seen.append_unix_millis.unwrap_or(millis);
            next = bracket.narrow(Sided { seen, is_inside, is_after }, append, millis);
        }
        let (before, after) = (bracket.before().copied(), bracket.after().copied());
        if let Some(after) = after {
            let last = self.look_back(partition, after.seen.offset, |_| true)?;
            let last = last.filter(|last| last.capture_unix_nanos <= capture && last.offset >= hint.from);
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(before.filter(|before| before.is_inside).map(|before| before.seen))
    }

    /// The keyframe before this one in its partition.
    pub(super) fn before(&mut self, keyframe: &KeyframeAt) -> Result<Option<KeyframeAt>, BusError> {
        match self.look_back(keyframe.partition, keyframe.offset, |_| true)? {
            Some(seen) => self.gop_start(&seen),
            None => Ok(None),
        }
    }

    /// The last frame before an offset, without one before the partition's end; of a stream that is over also long
    /// after that.
    pub(super) fn last(
        &mut self,
        partition: i32,
        before: Option<i64>,
        stopped_millis: Option<i64>,
    ) -> Result<Option<Seen>, BusError> {
        let before = match before {
            Some(offset) => offset,
            None => self.log.bounds(self.stream.topic.as_str(), partition)?.end,
        };
        match (self.look_back(partition, before, |_| true)?, stopped_millis) {
            (None, Some(millis)) => self.near(partition, millis),
            (found, _) => Ok(found),
        }
    }

    /// The keyframe at this place, if it is the one that is meant.
    pub(super) fn verify(&mut self, partition: i32, offset: i64, id: FrameId) -> Result<Option<KeyframeAt>, BusError> {
        let mut found = None;
        let stretch =
            Stretch { topic: self.stream.topic.as_str(), partition, from: offset, until: offset.saturating_add(1) };
        self.log.read(stretch, AHEAD, |record| {
            found = Seen::of(record, partition, self.stream);
            ControlFlow::Break(())
        })?;
        Ok(found.filter(|seen| seen.offset == offset && seen.id == id).and_then(|seen| seen.keyframe()))
    }

    /// The first frame taken within these moments, as its capture time and the keyframe before it.
    pub(super) fn first_in(
        &mut self,
        partition: i32,
        (from, until): (i64, i64),
    ) -> Result<Option<(i64, Option<KeyframeAt>)>, BusError> {
        let mut append_millis = from / NANOS_PER_MILLI;
        for _ in 0..MAX_CORRECTIONS {
            let Some(seen) = self.near(partition, append_millis)? else { return Ok(None) };
            let expected = (from / NANOS_PER_MILLI).saturating_add(seen.append_minus_capture_millis());
            if expected.abs_diff(append_millis) <= TOLERANCE_MILLIS.unsigned_abs() {
                let is_within = seen.capture_unix_nanos < until
                    && seen.capture_unix_nanos >= from.saturating_sub(TOLERANCE_MILLIS * NANOS_PER_MILLI);
                return if is_within { Ok(Some((seen.capture_unix_nanos, self.gop_start(&seen)?))) } else { Ok(None) };
            }
            append_millis = expected;
        }
        Ok(None)
    }

    /// The first frame appended at or after this moment, else the last one before.
    pub(super) fn near(&mut self, partition: i32, append_millis: i64) -> Result<Option<Seen>, BusError> {
        let topic = self.stream.topic.as_str();
        let from = match self.log.offset_at(topic, partition, append_millis)? {
            Some(offset) => offset,
            None => self.log.bounds(topic, partition)?.end,
        };
        let mut found = None;
        self.log.look_through(Stretch { topic, partition, from, until: i64::MAX }, AHEAD, |record| {
            found = Seen::of(record, partition, self.stream);
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found.is_some() { Ok(found) } else { self.look_back(partition, from, |_| true) }
    }

    /// The first frame of an epoch, or of a later one, from this offset on.
    pub(super) fn ahead(&mut self, partition: i32, from: i64, epoch: Epoch) -> Result<Ahead, BusError> {
        let (mut has_begun, mut records) = (false, 0);
        let stretch = Stretch { topic: self.stream.topic.as_str(), partition, from, until: i64::MAX };
        let limit = Limit { bytes: usize::MAX, ..AHEAD };
        let next = self.log.read(stretch, limit, |record| {
            records += 1;
            has_begun = Seen::of(record, partition, self.stream).is_some_and(|seen| seen.id.epoch >= epoch);
            if has_begun { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Ahead { has_begun, next, is_at_end: records < limit.records })
    }

    /// Where the GOP of a frame begins.
    fn gop_start(&mut self, seen: &Seen) -> Result<Option<KeyframeAt>, BusError> {
        if seen.is_keyframe {
            return Ok(seen.keyframe());
        }
        if let Some((hint, offset)) = seen.hint.and_then(|hint| Some((hint, i64::try_from(hint.offset).ok()?))) {
            let id = FrameId { epoch: seen.id.epoch, seq: hint.seq };
            let found = if offset < seen.offset { self.verify(seen.partition, offset, id)? } else { None };
            if found.is_some() {
                let from = seen.offset.saturating_sub(FIRST_REACH).max(offset.saturating_add(1));
                let own =
                    self.last_in(seen.partition, (from, seen.offset), &mut { BACK_BYTES }, |other| other.is_keyframe)?;
                return Ok(own.and_then(|own| own.keyframe()).or(found));
            }
        }
        let found = self.look_back(seen.partition, seen.offset, |other| other.is_keyframe)?;
        Ok(found.filter(|found| found.id.epoch == seen.id.epoch).and_then(|found| found.keyframe()))
    }

    /// The last keyframe from this offset on that is not after the moment.
    pub(super) fn last_upto(&mut self, partition: i32, from: i64, capture_unix_nanos: i64) -> Result<Upto, BusError> {
        let (mut found, mut latest, mut has_reached, mut is_passed) = (None, i64::MIN, false, false);
        let stretch = Stretch { topic: self.stream.topic.as_str(), partition, from, until: i64::MAX };
        let looked = self.log.look_through(stretch, FORWARD, |record| {
            let Some(seen) = Seen::of(record, partition, self.stream) else { return ControlFlow::Continue(()) };
            // Behind a clock that was set back the moment may come once more, which is another answer.
            let is_set_back = seen.capture_unix_nanos < latest.saturating_sub(STEP_NANOS);
            is_passed |= !is_set_back && seen.capture_unix_nanos >= capture_unix_nanos;
            if is_set_back || seen.capture_unix_nanos > capture_unix_nanos {
                has_reached = true;
                return ControlFlow::Break(());
            }
            latest = latest.max(seen.capture_unix_nanos);
            found = seen.keyframe().or(found.take());
            ControlFlow::Continue(())
        })?;
        if !has_reached {
            has_reached = looked.next >= self.log.bounds(self.stream.topic.as_str(), partition)?.end;
        }
        Ok(Upto { found, has_reached, is_passed })
    }

    /// Whether what follows this keyframe comes to the moment, before a clock that was set back.
    pub(super) fn is_passed(&mut self, keyframe: &KeyframeAt, capture_unix_nanos: i64) -> Result<bool, BusError> {
        Ok(self.last_upto(keyframe.partition, keyframe.offset, capture_unix_nanos)?.is_passed)
    }

    /// The last keyframe behind this one in its partition that is older than another, which is elsewhere.
    pub(super) fn last_below(&mut self, from: &KeyframeAt, below: FrameId) -> Result<Option<KeyframeAt>, BusError> {
        let (partition, mut found) = (from.partition, None);
        let topic = self.stream.topic.as_str();
        let stretch = Stretch { topic, partition, from: from.offset.saturating_add(1), until: i64::MAX };
        self.log.look_through(stretch, FORWARD, |record| {
            let Some(seen) = Seen::of(record, partition, self.stream) else { return ControlFlow::Continue(()) };
            if seen.id >= below {
                return ControlFlow::Break(());
            }
            found = seen.keyframe().or(found.take());
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// The last frame before an offset that is wanted, in stretches that reach further and further back.
    fn look_back(
        &mut self,
        partition: i32,
        before: i64,
        is_wanted: impl Fn(&Seen) -> bool,
    ) -> Result<Option<Seen>, BusError> {
        let (mut until, mut reach, mut found, mut left) = (before, FIRST_REACH, None, BACK_BYTES);
        while found.is_none() && until > 0 && reach <= MAX_REACH {
            let from = before.saturating_sub(reach).max(0);
            found = self.last_in(partition, (from, until), &mut left, &is_wanted)?;
            (until, reach) = (from, reach * 4);
        }
        Ok(found)
    }

    /// The last frame of a stretch that is wanted. What is too large to be read at a time is read from its end on, in
    /// parts: a log is read forwards, and a part that is cut off lacks what is nearest.
    fn last_in(
        &mut self,
        partition: i32,
        (from, mut until): (i64, i64),
        left: &mut usize,
        is_wanted: impl Fn(&Seen) -> bool,
    ) -> Result<Option<Seen>, BusError> {
        let mut part = from;
        while part < until && *left > 0 {
            let (mut found, mut records, mut bytes) = (None, 0, 0);
            let stretch = Stretch { topic: self.stream.topic.as_str(), partition, from: part, until };
            let limit = Limit { records: usize::MAX, bytes: PART_BYTES.min(*left) };
            let looked = self.log.look_through(stretch, limit, |record| {
                found = Seen::of(record, partition, self.stream).filter(&is_wanted).or(found);
                records += 1;
                bytes += record.value.map_or(0, <[u8]>::len);
                ControlFlow::Continue(())
            })?;
            *left = left.saturating_sub(bytes);
            if looked.is_cut {
                if records == 0 {
                    break;
                }
                part = until.saturating_sub(records).max(part + 1);
            } else if found.is_some() {
                return Ok(found);
            } else {
                (part, until) = (part.saturating_sub(2 * (until - part)).max(from), part);
            }
        }
        Ok(None)
    }
}
