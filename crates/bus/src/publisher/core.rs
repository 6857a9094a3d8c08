//! One stream's publisher without Kafka: numbers, queues, sends and accounts for frames.
//!
//! Pure: the time is an argument, records go to a [`RecordSink`], delivery reports come in through
//! [`StreamCore::delivered`].

use crate::publisher::account::Counts;
use crate::publisher::capture::{self, CameraClock};
use crate::publisher::compose::{BatchLimits, ComposeScratch};
use crate::publisher::index::Acknowledged;
use crate::publisher::latency::LatencyBuckets;
use crate::publisher::outgoing::{Outgoing, RecordForm, RecordSink, Refusal, Scratch};
use crate::publisher::run::{Closing, Run, Stage};
use crate::publisher::slots::Slots;
use crate::publisher::traces::{Traced, Traces};
use crate::publisher::window::{TotalWindow, cost};
use lumenbus_frame::{EncodedFrame, Epoch, Gap, GapReason, Seq, SeqRange, StreamId, TraceContext};
use lumenbus_lanes::{Admission, DropCounts, Lane, LedgerMark};
use lumenbus_wire::{Control, Envelope, Moved};
use std::collections::VecDeque;

/// Gaps are told by a record of their own when no frame came for so long.
pub(crate) const SILENCE_NANOS: u64 = 1_000_000_000;
/// A directory entry is not written more often than this because an idle range grew.
const IDLE_RETELL_NANOS: u64 = 10_000_000_000;
/// On topics without control records: frames equal to the last one, told like a gap that hurts no decoder.
pub(crate) const REPEATED: GapReason = GapReason::Repeated;

/// Both clocks, read at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Now {
    pub(crate) monotonic_nanos: u64,
    pub(crate) unix_nanos: i64,
}

/// Whether a topic may hold control records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicKind {
    /// Gaps, ends and so on are records.
    Records,
    /// Pictures only: the directory entry says it.
    PicturesOnly,
}

/// What a stream may use and how its records look.
#[derive(Debug, Clone)]
pub(crate) struct StreamLimits {
    pub(crate) lane_bytes: usize,
    pub(crate) window_bytes: usize,
    pub(crate) form: RecordForm,
    pub(crate) envelope: Envelope,
    pub(crate) batching: Option<BatchLimits>,
    pub(crate) kind: TopicKind,
}

/// What a unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnitKind {
    Frames,
    Gap,
    Offline,
    Repeat(SeqRange),
    End,
    Moved,
}

/// Records that are in the log together or not at all: a frame with its chunks, a batch, a control record.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) run: u32,
    pub(crate) kind: UnitKind,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) payload_bytes: usize,
    pub(crate) is_keyframe: bool,
    pub(crate) is_discardable: bool,
    pub(crate) is_jump: bool,
    pub(crate) submitted_nanos: u64,
    /// Of the first frame.
    pub(crate) capture_unix_nanos: i64,
    pub(crate) mark: LedgerMark,
    /// Which carried gaps it tells, if any.
    pub(crate) carried_mark: Option<u64>,
    pub(crate) unacknowledged: u32,
    pub(crate) is_sent: bool,
    pub(crate) has_failed: bool,
    pub(crate) first_offset: Option<u64>,
    /// Goes into the first record's headers.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) traced: Vec<Traced>,
}

/// What a delivery report says of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// In the log, acknowledged by every in-sync replica.
    InLog {
        /// Absent when the broker was not asked to say (acks=0).
        offset: Option<u64>,
    },
    /// Given up; it may be in the log all the same.
    Failed,
}

/// Why [`StreamCore::pump`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// Nothing to send, or the stream's own window is full: the next frame or delivery report goes on.
    Idle,
    /// The client or the window of all streams is full.
    NoRoom,
}

/// One stream's publisher without Kafka.
#[derive(Debug)]
pub(crate) struct StreamCore {
    pub(crate) id: StreamId,
    pub(crate) limits: StreamLimits,
    /// Epochs, oldest first: records of the first are sent, frames go into the last.
    pub(crate) runs: VecDeque<Run>,
    pub(crate) units: Slots<Unit>,
    pub(crate) outgoing: Option<Outgoing>,
    pub(crate) scratch: Scratch,
    pub(crate) compose_scratch: ComposeScratch,
    /// Gaps of epochs that could not be ended, each with its epoch.
    pub(crate) carried: Vec<Gap>,
    pub(crate) carried_mark: u64,
    pub(crate) last_sent_nanos: u64,
    pub(crate) counts: Counts,
    pub(crate) latency: LatencyBuckets,
    pub(crate) in_flight_bytes: usize,
    run_count: u32,
    pub(crate) pending_move: Option<Moved>,
    pub(crate) moved_from: Option<u32>,
    superseded_by: Option<Epoch>,
    pub(crate) past_submitted: u64,
    pub(crate) past_drops: DropCounts,
    pub(crate) is_offline: bool,
    pub(crate) is_entry_due: bool,
    is_held: bool,
    pub(crate) entry_mark: LedgerMark,
    pub(crate) camera_clock: CameraClock,
    pub(crate) traces: Traces,
    /// Keyframes on their way to the index.
    pub(crate) index: Acknowledged,
}

impl StreamCore {
    pub(crate) fn new(id: StreamId, epoch: Epoch, partition: u32, limits: StreamLimits) -> Self {
        let lane = Lane::new(limits.lane_bytes);
        Self {
            id,
            limits,
            runs: VecDeque::from([Run::new(0, epoch, partition, lane)]),
            units: Slots::default(),
            outgoing: None,
            scratch: Scratch::default(),
            compose_scratch: ComposeScratch::default(),
            carried: Vec::new(),
            carried_mark: 0,
            last_sent_nanos: 0,
            counts: Counts::default(),
            latency: LatencyBuckets::default(),
            in_flight_bytes: 0,
            run_count: 1,
            pending_move: None,
            moved_from: None,
            superseded_by: None,
            past_submitted: 0,
            past_drops: DropCounts::default(),
            is_offline: false,
            is_entry_due: false,
            is_held: false,
            entry_mark: LedgerMark::default(),
            camera_clock: CameraClock::default(),
            traces: Traces::default(),
            index: Acknowledged::default(),
        }
    }

    /// Numbers a frame and queues it, or drops it with a reason.
    pub(crate) fn submit(&mut self, mut frame: EncodedFrame, now: Now) -> Admission {
        if frame.is_keyframe {
            self.begin_move();
        }
        let (capture, replaced) = capture::plausible(frame.capture, now.unix_nanos);
        if let Some(offset_nanos) = replaced {
            self.counts.replaced_captures += 1;
            self.counts.last_capture_offset_nanos = offset_nanos;
        }
        frame.capture = capture;
        self.settle_idle();
        // Whoever lists cameras shall not take it for being away.
        self.is_entry_due |= std::mem::take(&mut self.is_offline);
        let is_jump = frame.is_discontinuity;
        self.camera_clock.observe(capture, now.unix_nanos, now.monotonic_nanos);
        let age_nanos = self.camera_clock.age_nanos(capture, now.unix_nanos);
        if is_jump {
            self.jump();
        }
        self.begin_trace(&mut frame, now);
        let admission = self.newest_mut().lane.push_aged(frame, now.monotonic_nanos, age_nanos);
        self.trace_admission(admission, now);
        admission
    }

    /// The source lost frames before they got here.
    pub(crate) fn lose(&mut self, count: u64, reason: GapReason) {
        self.settle_idle();
        self.newest_mut().lane.lose(count, reason);
    }

    /// The next `count` frames equal the last one.
    pub(crate) fn repeat(&mut self, count: u64, now: Now) {
        self.counts.repeated_frames += count;
        self.newest_mut().skip(count, now.monotonic_nanos);
    }

    /// The camera is away; the next frame comes after a jump.
    pub(crate) fn offline(&mut self, reason: &str, now: Now) {
        self.settle_idle();
        self.is_offline = true;
        self.jump();
        if self.is_pictures_only() {
            self.is_entry_due = true;
            return;
        }
        let reason = reason.chars().take(256).collect();
        self.newest_mut().note(Control::Offline { since_unix_nanos: now.unix_nanos, reason });
    }

    /// Time or content jumps before the next frame.
    pub(crate) fn jump(&mut self) {
        let run = self.newest_mut();
        run.jump(run.lane.next_seq());
    }

    /// From the next keyframe on the stream has this epoch, in this partition.
    pub(crate) fn move_to(&mut self, moved: Moved) {
        self.moved_from = Some(self.partition());
        self.pending_move = Some(moved);
    }

    /// No more frames: what waits is sent, then `end`.
    pub(crate) fn begin_finish(&mut self) {
        self.pending_move = None;
        if !self.is_pictures_only() {
            self.newest_mut().flush_idle();
        }
        let run = self.newest_mut();
        run.closing.get_or_insert_with(|| Closing::new(None));
    }

    /// Gives up what still waits.
    pub(crate) fn drop_waiting(&mut self, reason: GapReason) {
        for run in &mut self.runs {
            run.lane.drop_all(reason);
        }
    }

    /// A publisher with a higher epoch has the stream: nothing more is sent.
    pub(crate) fn supersede(&mut self, theirs: Epoch, now: Now) {
        self.superseded_by = Some(theirs);
        self.abandon_outgoing(now);
        self.drop_waiting(GapReason::Stopped);
    }

    pub(crate) fn superseded_by(&self) -> Option<Epoch> {
        self.superseded_by
    }

    /// The epoch that frames get now.
    pub(crate) fn epoch(&self) -> Epoch {
        self.newest().epoch
    }

    /// The highest epoch in use or announced.
    pub(crate) fn announced_epoch(&self) -> Epoch {
        self.pending_move.map_or(self.epoch(), |moved| moved.epoch)
    }

    /// The partition that frames go to now.
    pub(crate) fn partition(&self) -> u32 {
        self.newest().partition
    }

    /// The Kafka client was replaced and everything on its way has been reported: what waits goes on under a new
    /// epoch, and epochs that did not begin yet get new ones after it. Nothing is sent until [`Self::release`].
    pub(crate) fn restart(&mut self, mut next_epoch: impl FnMut() -> Epoch, now: Now) {
        self.is_held = true;
        self.settle_idle();
        self.abandon_outgoing(now);
        let is_ending = |run: &Run| run.closing.is_some() && run.lane.is_empty();
        if self.runs.front().is_some_and(|run| !is_ending(run)) {
            let number = self.take_run_number();
            if let Some(front) = self.runs.front_mut() {
                let next = front.split_off(number, next_epoch());
                self.traces.renumber(front.number, front.lane.next_seq(), &next);
                self.runs.insert(1, next);
            }
        }
        for position in 2..self.runs.len() {
            let epoch = next_epoch();
            self.runs[position].epoch = epoch;
            let before = self.runs[position - 1].closing.as_mut();
            if let Some(moved) = before.and_then(|closing| closing.moved.as_mut()) {
                moved.epoch = epoch;
            }
        }
        if let Some(moved) = &mut self.pending_move {
            moved.epoch = next_epoch();
        }
    }

    /// Nothing is sent until [`Self::release`].
    pub(crate) fn hold(&mut self) {
        self.is_held = true;
    }

    /// The directory knows the epochs: records may go out.
    pub(crate) fn release(&mut self) {
        self.is_held = false;
    }

    /// Sends what may be sent.
    pub(crate) fn pump(&mut self, now: Now, sink: &dyn RecordSink, total: &TotalWindow) -> Pumped {
        self.sweep_traces(now);
        if self.superseded_by.is_some() || self.is_held {
            return Pumped::Idle;
        }
        loop {
            if self.outgoing.is_none() && !self.compose(now) {
                return Pumped::Idle;
            }
            if let Err(stopped) = self.send_part(now, sink, total) {
                return stopped;
            }
        }
    }

    fn send_part(&mut self, now: Now, sink: &dyn RecordSink, total: &TotalWindow) -> Result<(), Pumped> {
        let Some(outgoing) = &mut self.outgoing else {
            return Ok(());
        };
        let (slot, bytes) = (outgoing.slot, cost(outgoing.value_bytes()));
        if self.in_flight_bytes > 0 && self.in_flight_bytes + bytes > self.limits.window_bytes {
            return Err(Pumped::Idle);
        }
        if !total.try_take(bytes) {
            return Err(Pumped::NoRoom);
        }
        let record = outgoing.record(self.id.topic.as_str(), self.id.camera.as_str(), &self.scratch);
        match sink.send(&record) {
            Ok(()) => {
                self.in_flight_bytes += bytes;
                self.counts.records += 1;
                self.last_sent_nanos = now.monotonic_nanos;
                if let Some(unit) = self.units.get_mut(slot) {
                    unit.unacknowledged += 1;
                }
                if !outgoing.next_part(self.limits.form, &mut self.scratch) {
                    self.finish_outgoing(now);
                }
                Ok(())
            }
            Err(Refusal::Later) => {
                total.release(bytes);
                Err(Pumped::NoRoom)
            }
            Err(Refusal::Failed) => {
                total.release(bytes);
                self.abandon_outgoing(now);
                Ok(())
            }
        }
    }

    /// Every record of the unit is with the client.
    pub(crate) fn finish_outgoing(&mut self, now: Now) {
        let Some(outgoing) = self.outgoing.take() else {
            return;
        };
        let slot = outgoing.slot;
        self.compose_scratch.give_back(outgoing);
        if let Some(unit) = self.units.get_mut(slot) {
            unit.is_sent = true;
        }
        self.complete_when_settled(slot, now);
    }

    /// The rest of the unit is not sent.
    fn abandon_outgoing(&mut self, now: Now) {
        if let Some(outgoing) = &self.outgoing {
            self.note_failure(outgoing.slot);
        }
        self.finish_outgoing(now);
    }

    /// Once every 100 ms or so: expiry, silence, idle ranges.
    pub(crate) fn tick(&mut self, now: Now) {
        self.sweep_traces(now);
        if self.superseded_by.is_some() {
            return;
        }
        for run in &mut self.runs {
            run.lane.expire(now.monotonic_nanos);
        }
        let is_old = |since: u64| now.monotonic_nanos.saturating_sub(since) >= SILENCE_NANOS;
        let is_pictures_only = self.is_pictures_only();
        let run = self.newest_mut();
        if run.idle_since().is_some_and(is_old) {
            if is_pictures_only {
                self.is_entry_due = true;
                self.newest_mut().retell_idle_at(now.monotonic_nanos + IDLE_RETELL_NANOS);
            } else {
                run.flush_idle();
            }
        }
        if is_old(self.last_sent_nanos) {
            self.break_silence();
        }
    }

    /// Tells open gaps when no frame does.
    fn break_silence(&mut self) {
        let is_silent = self.outgoing.is_none() && self.units.len() == 0 && self.runs.len() == 1;
        let has_carried = !self.carried.is_empty();
        let (is_pictures_only, entry_mark) = (self.is_pictures_only(), self.entry_mark);
        let run = self.newest_mut();
        let is_quiet = run.lane.is_empty() && !run.has_notes() && run.closing.is_none();
        if !is_silent || !is_quiet || !(run.lane.has_open_gaps() || has_carried) {
            return;
        }
        if is_pictures_only {
            self.is_entry_due |= self.newest().lane.mark() != entry_mark;
        } else {
            run.note(Control::Gap);
        }
    }

    /// Whether everything was sent and settled, `end` included.
    pub(crate) fn is_finished(&self) -> bool {
        let is_done = |run: &Run| run.closing.as_ref().is_some_and(|closing| closing.stage == Stage::Done);
        self.runs.len() == 1 && self.runs.front().is_some_and(is_done)
    }

    /// Whether the reader learns from the log (or has to learn from the directory entry) that this is all.
    pub(crate) fn is_end_written(&self) -> bool {
        let is_written = |run: &Run| run.closing.as_ref().is_some_and(|closing| closing.is_end_written);
        self.is_finished() && self.runs.front().is_some_and(is_written)
    }

    pub(crate) fn is_pictures_only(&self) -> bool {
        self.limits.kind == TopicKind::PicturesOnly
    }

    pub(crate) fn newest(&self) -> &Run {
        self.runs.back().expect("there is always a run")
    }

    pub(crate) fn newest_mut(&mut self) -> &mut Run {
        self.runs.back_mut().expect("there is always a run")
    }

    fn take_run_number(&mut self) -> u32 {
        self.run_count += 1;
        self.run_count - 1
    }

    /// An idle range that a frame follows: told by a record before it, or by that frame's own.
    fn settle_idle(&mut self) {
        if !self.is_pictures_only() {
            self.newest_mut().flush_idle();
        } else if let Some(range) = self.newest_mut().take_idle() {
            self.counts.repeated_frames = self.counts.repeated_frames.saturating_sub(range.count());
            let gap = Gap::new(range.first, range.last, REPEATED);
            self.newest_mut().lane.explain(Gap { is_discardable: true, ..gap });
        }
    }

    /// At a keyframe, once the move before is over.
    fn begin_move(&mut self) {
        let is_free = self.runs.len() == 1 && self.newest().closing.is_none();
        let Some(moved) = self.pending_move.take_if(|_| is_free) else {
            return;
        };
        self.settle_idle();
        let number = self.take_run_number();
        self.newest_mut().closing = Some(Closing::new(Some(moved)));
        let lane = Lane::new(self.limits.lane_bytes);
        self.runs.push_back(Run::new(number, moved.epoch, moved.partition, lane));
    }

    /// The first epoch is over and there is a next one.
    pub(crate) fn retire_front(&mut self) -> bool {
        if self.runs.len() < 2 {
            return false;
        }
        if let Some(run) = self.runs.pop_front() {
            self.past_submitted += run.lane.next_seq().0;
            self.past_drops.merge(run.lane.drops());
        }
        true
    }
}

#[cfg(test)]
mod tests;
