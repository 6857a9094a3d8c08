//! What delivery reports lead to.

use crate::publisher::core::{Delivery, Now, StreamCore, Unit, UnitKind};
use crate::publisher::index::Keyframe;
use crate::publisher::run::{Run, Stage};
use crate::publisher::window::{TotalWindow, cost};
use lumenbus_frame::{FrameId, Gap, GapReason, Seq};
use lumenbus_wire::KeyframeHint;

/// `end` is written again when its delivery fails, this often.
const MAX_END_ATTEMPTS: u32 = 3;
/// Gaps of unfinished epochs kept; wire's limit is 1,024 a header and the lane's own come on top.
const MAX_CARRIED_GAPS: usize = 512;

/// What has to be known of a unit that is not in the log.
struct Failure {
    run: u32,
    kind: UnitKind,
    first: Seq,
    last: Seq,
    is_discardable: bool,
    is_jump: bool,
}

impl StreamCore {
    /// What the client reports of one record of the unit `slot` with this many bytes of value.
    pub(crate) fn delivered(
        &mut self,
        slot: u32,
        delivery: Delivery,
        value_bytes: usize,
        now: Now,
        total: &TotalWindow,
    ) {
        let bytes = cost(value_bytes);
        total.release(bytes);
        self.in_flight_bytes -= bytes;
        let Some(unit) = self.units.get_mut(slot) else {
            return;
        };
        unit.unacknowledged -= 1;
        match delivery {
            Delivery::InLog { offset: Some(offset) } => {
                unit.first_offset = Some(unit.first_offset.map_or(offset, |first| first.min(offset)));
                let run = unit.run;
                if let Some(run) = self.runs.iter_mut().find(|known| known.number == run) {
                    run.next_offset = run.next_offset.max(Some(offset + 1));
                }
            }
            Delivery::InLog { offset: None } => {}
            Delivery::Failed => {
                self.note_failure(slot);
                if self.outgoing.as_ref().is_some_and(|outgoing| outgoing.slot == slot) {
                    self.finish_outgoing(now);
                    return;
                }
            }
        }
        self.complete_when_settled(slot, now);
    }

    pub(crate) fn complete_when_settled(&mut self, slot: u32, now: Now) {
        if !self.units.get_mut(slot).is_some_and(|unit| unit.is_sent && unit.unacknowledged == 0) {
            return;
        }
        let Some(unit) = self.units.remove(slot) else {
            return;
        };
        if let Some(run) = self.runs.iter_mut().find(|run| run.number == unit.run) {
            run.open_units -= 1;
        }
        self.trace_settled(&unit, now);
        if !unit.has_failed {
            self.acknowledged(&unit, now);
        }
    }

    fn acknowledged(&mut self, unit: &Unit, now: Now) {
        if unit.carried_mark == Some(self.carried_mark) {
            self.carried.clear();
        }
        let Some(run) = self.runs.iter_mut().find(|run| run.number == unit.run) else {
            return;
        };
        run.lane.acknowledged(unit.first, unit.mark);
        match unit.kind {
            UnitKind::Frames => {
                self.counts.acknowledged_frames += unit.last.0 - unit.first.0 + 1;
                self.counts.acknowledged_bytes += unit.payload_bytes as u64;
                let nanos = now.monotonic_nanos.saturating_sub(unit.submitted_nanos);
                self.latency.record_nanos(nanos);
                self.traces.acknowledged(&self.id, nanos);
                let is_newer = run.hint.is_none_or(|hint| hint.seq < unit.first);
                if let (true, true, Some(offset)) = (unit.is_keyframe, is_newer, unit.first_offset) {
                    run.hint = Some(KeyframeHint { seq: unit.first, offset });
                    let keyframe = Keyframe {
                        id: FrameId { epoch: run.epoch, seq: unit.first },
                        capture_unix_nanos: unit.capture_unix_nanos,
                        partition: run.partition,
                        offset,
                        bytes: unit.payload_bytes as u64,
                        is_jump: unit.is_jump,
                        is_thinned: false,
                    };
                    self.index.add(keyframe, now.monotonic_nanos);
                } else if unit.is_jump {
                    self.index.jumped();
                }
            }
            UnitKind::End => set_stage(run, Stage::Ended, true),
            UnitKind::Moved => set_stage(run, Stage::Done, true),
            UnitKind::Gap | UnitKind::Offline | UnitKind::Repeat(_) => {}
        }
    }

    fn failed(&mut self, unit: &Failure) {
        let Some(position) = self.runs.iter().position(|run| run.number == unit.run) else {
            return;
        };
        let has_successor = position + 1 < self.runs.len();
        let run = &mut self.runs[position];
        match &unit.kind {
            UnitKind::Frames => {
                for seq in unit.first.0..=unit.last.0 {
                    run.lane.delivery_failed(Seq(seq), unit.is_discardable);
                }
                if unit.is_jump {
                    run.jump(unit.first);
                }
            }
            UnitKind::Repeat(range) => {
                self.counts.repeated_frames = self.counts.repeated_frames.saturating_sub(range.count());
                let gap = Gap::new(range.first, range.last, GapReason::DeliveryFailed);
                run.lane.explain(Gap { is_discardable: true, ..gap });
            }
            UnitKind::End => self.end_failed(position, has_successor),
            UnitKind::Moved => set_stage(run, Stage::Done, false),
            UnitKind::Gap | UnitKind::Offline => {}
        }
    }

    /// `end` is not in the log: the next epoch's records tell the gaps instead, or it is tried again.
    fn end_failed(&mut self, position: usize, has_successor: bool) {
        let run = &mut self.runs[position];
        let attempts = run.closing.as_ref().map_or(0, |closing| closing.end_attempts);
        if !has_successor && attempts < MAX_END_ATTEMPTS {
            set_stage(run, Stage::Draining, false);
            return;
        }
        set_stage(run, Stage::Ended, false);
        if has_successor {
            self.carry_gaps(position);
        }
    }

    /// The records of later epochs tell what this one's own do not.
    pub(crate) fn carry_gaps(&mut self, position: usize) {
        let run = &self.runs[position];
        let epoch = Some(run.epoch);
        let gaps = run.lane.gaps_before(Seq(u64::MAX));
        self.carried.extend(gaps.map(|gap| Gap { epoch: gap.epoch.or(epoch), ..*gap }));
        // Whoever never gets a record through must not collect gaps for ever.
        let excess = self.carried.len().saturating_sub(MAX_CARRIED_GAPS);
        self.carried.drain(..excess);
        self.carried_mark += 1;
    }

    /// At the first lost record of a unit: the lane must not send what builds on it.
    pub(crate) fn note_failure(&mut self, slot: u32) {
        let Some(unit) = self.units.get_mut(slot).filter(|unit| !unit.has_failed) else {
            return;
        };
        unit.has_failed = true;
        let failure = Failure {
            run: unit.run,
            kind: unit.kind.clone(),
            first: unit.first,
            last: unit.last,
            is_discardable: unit.is_discardable,
            is_jump: unit.is_jump,
        };
        self.failed(&failure);
    }
}

fn set_stage(run: &mut Run, stage: Stage, is_end_written: bool) {
    if let Some(closing) = &mut run.closing {
        closing.stage = stage;
        closing.is_end_written |= is_end_written && stage == Stage::Ended;
    }
}
