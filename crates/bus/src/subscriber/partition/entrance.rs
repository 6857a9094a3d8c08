//! How a record enters its stream's state: epochs, moves, joining, rewinding.

use super::super::event::{Event, FrameRole};
use super::super::stream::{Entrance, Phase, StreamState, Verdict};
use super::look_back::{GopStart, LookBack};
use super::{Beginning, MAX_STREAMS, PartitionReader, Passport, Preroll, Step, open_offset, stream_id};
use lumenbus_frame::{CameraId, FrameId, GapReason};
use lumenbus_wire::Header;
use std::sync::Arc;

/// Frames appended after a moment were taken at most so long before it, if their camera's clock is right.
const MAX_WAY_NANOS: i64 = 60_000_000_000;

/// Records behind the beginning within which a stream's first record still leads back to a keyframe before it, at least.
/// Later it does where the way back is as long: nothing is read twice that is more than what is read for it.
const MAX_PASSED: i64 = 4_096;

/// The same where somebody wants a moment: a publisher that was away around it is no reason to lose what it wrote after.
const MAX_PASSED_OF_MOMENT: i64 = 65_536;

/// A frame's way through the stream's state.
pub(super) enum Admission {
    Passed(Verdict, FrameRole),
    Ignored,
    Stop(Step),
}
impl PartitionReader {
    /// A frame record's way: into its stream's state, past the holes before it, through the gate.
    pub(super) fn admit<P: Passport>(
        &mut self,
        header: &Header,
        camera: &CameraId,
        offset: i64,
        passport: &P,
        out: &mut Vec<Event>,
    ) -> Admission {
        if let Some(stop) = self.enter(header, camera, offset, passport, out) {
            return stop.map_or(Admission::Ignored, Admission::Stop);
        }
        let role = self.role(camera, header, offset);
        let hash = self.hash(camera, header.stream.as_ref());
        let Some(state) = self.streams.get_mut(&hash) else { return Admission::Ignored };
        Admission::Passed(state.take(header.id.seq, header.is_keyframe, header.is_discardable, out), role)
    }

    /// Brings the stream's state up to this record; `Some` when the record goes no further.
    pub(super) fn enter<P: Passport>(
        &mut self,
        header: &Header,
        camera: &CameraId,
        offset: i64,
        passport: &P,
        out: &mut Vec<Event>,
    ) -> Option<Option<Step>> {
        let hash = self.hash(camera, header.stream.as_ref());
        let known = self.streams.get(&hash).map(|state| state.epoch);
        if known.is_some_and(|epoch| header.id.epoch < epoch) {
            // What is read once more was counted, or was before this reader's time.
            self.stats.fenced += u64::from(offset >= self.frontier);
            return Some(None);
        }
        if known.is_none_or(|epoch| header.id.epoch > epoch) {
            let stream = stream_id(&self.config.topic, camera, header.stream.as_ref());
            if !passport.may_enter(&stream, hash, header.id.epoch.0) {
                return Some(Some(Step::Blocked { stream, hash, epoch: header.id.epoch.0 }));
            }
        }
        if known.is_none()
            && let Some(stop) = self.first_record(header, camera, hash, offset)
        {
            return Some(stop);
        }
        let state = self.streams.get_mut(&hash)?;
        if let Some(open) = state.assembler.open().filter(|open| open.id != header.id) {
            self.gave_up.push(open_offset(open.first_offset));
            state.fail_open_frame();
        }
        if header.id.epoch > state.epoch {
            state.enter_epoch(header.id.epoch, &header.gaps, out);
        }
        if state.resumes {
            match resume(state, &mut self.look_back, header, hash, offset) {
                Resume::Here => {}
                Resume::Later => return Some(None),
                Resume::LookFrom(offset) => return Some(Some(Step::Rewind { offset })),
                Resume::At(offset) => {
                    self.stats.rewinds += 1;
                    return Some(Some(Step::Rewind { offset }));
                }
            }
        }
        if let Phase::Rewinding { keyframe, epoch, .. } = state.phase {
            let at = open_offset(keyframe.offset);
            if offset < at {
                return Some(None);
            }
            if header.id == (FrameId { epoch, seq: keyframe.seq }) && header.is_keyframe {
                state.phase = Phase::Running;
            } else {
                state.keyframe_missing(header.id.seq, out);
            }
        }
        if header.control.is_none() {
            state.advance_to(header.id.seq, &header.gaps, out);
        }
        None
    }

    /// The first record of a stream here: where does reading it begin?
    ///
    /// `None`: with this record. `Some(None)`: not with this one. `Some(Some(..))`: with an earlier one.
    fn first_record(&mut self, header: &Header, camera: &CameraId, hash: u64, offset: i64) -> Option<Option<Step>> {
        let is_rewound = offset < self.config.start;
        let is_no_beginning = !header.is_keyframe || self.look_back.has_newer(hash, header.id);
        if (is_rewound && is_no_beginning) || self.streams.len() >= MAX_STREAMS {
            return Some(None);
        }
        let stream = Arc::new(stream_id(&self.config.topic, camera, header.stream.as_ref()));
        let mark = match &self.config.beginning {
            // With prerolls the GOP is read again from its keyframe; the marks only say which frames are prerolls.
            Beginning::Resumed(marks) if self.config.preroll == Preroll::Skip => {
                marks.get(hash).filter(|mark| mark.epoch == header.id.epoch)
            }
            _ => None,
        };
        let gop_start = match &self.config.beginning {
            Beginning::Live => self.look_back.gop_start(header, hash, offset),
            // The picture of that moment is the one before.
            Beginning::Moment { unix_nanos }
                if header.is_keyframe && header.id.seq.0 > 0 && header.capture.unix_nanos > *unix_nanos =>
            {
                self.look_back.keyframe_before(header, hash, offset)
            }
            Beginning::Moment { .. } => self.look_back.gop_start(header, hash, offset),
            Beginning::Resumed(_) if self.config.preroll == Preroll::Deliver => {
                self.look_back.gop_start(header, hash, offset)
            }
            _ => GopStart::Unknown,
        };
        match gop_start {
            // A stream that was silent since would have everything of all others read again.
            GopStart::At(keyframe) if !self.is_worth_it(offset, open_offset(keyframe.offset)) => {}
            GopStart::At(keyframe) => {
                let at = FrameId { epoch: header.id.epoch, seq: keyframe.seq };
                let mut state = StreamState::new(stream, at, Entrance::OnTheWay, self.config.max_frame_bytes);
                state.phase = Phase::Rewinding { keyframe, epoch: header.id.epoch, is_resuming: false };
                self.streams.insert(hash, state);
                self.stats.rewinds += 1;
                return Some(Some(Step::Rewind { offset: open_offset(keyframe.offset) }));
            }
            GopStart::LookFrom(offset) => return Some(Some(Step::Rewind { offset })),
            GopStart::Unknown => {}
        }
        let entrance = match (&self.config.beginning, mark) {
            (Beginning::OfTheLog, _) => Entrance::FromTheBeginning,
            (_, Some(mark)) => Entrance::After(mark),
            _ => Entrance::OnTheWay,
        };
        let mut state = StreamState::new(stream, header.id, entrance, self.config.max_frame_bytes);
        if self.has_jumped {
            state.hole_reason = Some(GapReason::Retention);
        }
        if matches!(self.config.beginning, Beginning::Resumed(_)) && self.config.preroll == Preroll::Skip {
            state.open_gate();
        }
        self.streams.insert(hash, state);
        None
    }

    /// Whether reading goes back from a first record to its keyframe: not over much more than lies before the beginning.
    fn is_worth_it(&self, offset: i64, keyframe: i64) -> bool {
        let start = self.config.start;
        let is_moment = matches!(self.config.beginning, Beginning::Moment { .. });
        let least = if is_moment { MAX_PASSED_OF_MOMENT } else { MAX_PASSED };
        offset.saturating_sub(start) <= start.saturating_sub(keyframe).max(least)
    }

    pub(super) fn role(&self, camera: &CameraId, header: &Header, offset: i64) -> FrameRole {
        match &self.config.beginning {
            Beginning::Live if offset < self.config.start => FrameRole::CatchUp,
            Beginning::Moment { unix_nanos } => {
                // A camera whose clock is off is not before the moment for it.
                let before = unix_nanos.saturating_sub(header.capture.unix_nanos);
                let is_before = offset < self.config.start || (1..MAX_WAY_NANOS).contains(&before);
                if is_before { FrameRole::Preroll } else { FrameRole::Current }
            }
            Beginning::Resumed(marks) => {
                let mark = marks.get(self.hash(camera, header.stream.as_ref()));
                if offset < self.config.start || mark.is_some_and(|mark| header.id <= mark) {
                    FrameRole::Preroll
                } else {
                    FrameRole::Current
                }
            }
            _ => FrameRole::Current,
        }
    }
}

/// Where a stream goes on after a skip.
enum Resume {
    /// With this record.
    Here,
    /// Not with this one.
    Later,
    /// With the keyframe at this offset.
    At(i64),
    /// With a keyframe that is looked for from this offset on.
    LookFrom(i64),
}

/// A skipped stream's next record: goes back to its newest keyframe where that was skipped as well.
fn resume(state: &mut StreamState, look_back: &mut LookBack, header: &Header, hash: u64, offset: i64) -> Resume {
    let is_later_chunk = header.chunk.as_ref().is_some_and(|chunk| chunk.index > 0);
    let is_delta = !header.is_keyframe && header.control.is_none();
    // What another stream's way back brings once more does not name the newest keyframe.
    if is_later_chunk || (is_delta && offset < look_back.start()) {
        return Resume::Later;
    }
    if header.control.is_some() {
        return Resume::Here;
    }
    let keyframe = match look_back.gop_start(header, hash, offset) {
        GopStart::LookFrom(offset) => return Resume::LookFrom(offset),
        GopStart::At(keyframe) if keyframe.seq >= state.next_seq => keyframe,
        GopStart::At(_) | GopStart::Unknown => {
            state.resumes = false;
            return Resume::Here;
        }
    };
    state.resumes = false;
    state.phase = Phase::Rewinding { keyframe, epoch: header.id.epoch, is_resuming: true };
    Resume::At(open_offset(keyframe.offset))
}
