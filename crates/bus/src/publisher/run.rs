//! One epoch of a stream as its publisher sees it.

use lumenbus_frame::{Epoch, Gap, GapReason, Seq, SeqRange};
use lumenbus_lanes::{Lane, LedgerMark};
use lumenbus_wire::{Control, KeyframeHint, Moved};
use std::collections::VecDeque;

/// Control records that wait for the frames before them; more are merged or refused.
const MAX_NOTES: usize = 64;
/// Jumps that no record tells yet.
const MAX_JUMPS: usize = 16;

/// A control record that goes out before the frame `before`.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) before: Seq,
    pub(crate) control: Control,
}

/// What is left to do in an epoch that gets no further frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Frames wait or are on their way.
    Draining,
    /// `end` is on its way.
    Ending,
    /// `end` is in the log, or cannot be written.
    Ended,
    /// `moved` is on its way.
    Moving,
    /// Nothing.
    Done,
}

/// An epoch that gets no further frames.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) stage: Stage,
    pub(crate) moved: Option<Moved>,
    pub(crate) end_attempts: u32,
    pub(crate) is_end_written: bool,
}

impl Closing {
    pub(crate) fn new(moved: Option<Moved>) -> Self {
        Self { stage: Stage::Draining, moved, end_attempts: 0, is_end_written: false }
    }
}

/// One epoch: its lane, its partition, and what its log is known to hold.
#[derive(Debug)]
pub(crate) struct Run {
    /// Counts the epochs of this publisher's stream.
    pub(crate) number: u32,
    pub(crate) epoch: Epoch,
    pub(crate) partition: u32,
    pub(crate) lane: Lane,
    pub(crate) hint: Option<KeyframeHint>,
    /// One past the offset of the last record known to be in the log.
    pub(crate) next_offset: Option<u64>,
    pub(crate) open_units: u32,
    pub(crate) closing: Option<Closing>,
    notes: VecDeque<Note>,
    idle: Option<Idle>,
    /// Frames from these seqs on come after a jump.
    jumps: Vec<Seq>,
}

/// Frames that equal the last one and wait to be told.
#[derive(Debug, Clone, Copy)]
struct Idle {
    range: SeqRange,
    since_nanos: u64,
}

impl Run {
    pub(crate) fn new(number: u32, epoch: Epoch, partition: u32, lane: Lane) -> Self {
        Self {
            number,
            epoch,
            partition,
            lane,
            hint: None,
            next_offset: None,
            open_units: 0,
            closing: None,
            notes: VecDeque::new(),
            idle: None,
            jumps: Vec::new(),
        }
    }

    /// The seq of the next record's frame.
    pub(crate) fn front_seq(&self) -> Seq {
        self.lane.peek().map_or(self.lane.next_seq(), |entry| entry.seq)
    }

    /// The last seq submitted.
    pub(crate) fn last_seq(&self) -> Option<Seq> {
        self.lane.next_seq().0.checked_sub(1).map(Seq)
    }

    /// Adds a control record after what was submitted so far.
    pub(crate) fn note(&mut self, control: Control) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push_back(Note { before: self.lane.next_seq(), control });
        } else if let Control::Repeat(range) = control {
            self.lane.explain(Gap { is_discardable: true, ..Gap::new(range.first, range.last, GapReason::Overflow) });
        }
    }

    /// The control record that is due before the next frame.
    pub(crate) fn due_note(&mut self) -> Option<Note> {
        let front = self.front_seq();
        if self.notes.front()?.before <= front { self.notes.pop_front() } else { None }
    }

    pub(crate) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// The next `count` frames equal the last one.
    pub(crate) fn skip(&mut self, count: u64, now_nanos: u64) {
        let Some(range) = self.lane.skip(count) else {
            return;
        };
        match &mut self.idle {
            Some(idle) if idle.range.last.next() == range.first => idle.range.last = range.last,
            Some(_) => {
                self.flush_idle();
                self.idle = Some(Idle { range, since_nanos: now_nanos });
            }
            None => self.idle = Some(Idle { range, since_nanos: now_nanos }),
        }
    }

    pub(crate) fn idle_range(&self) -> Option<SeqRange> {
        self.idle.map(|idle| idle.range)
    }

    pub(crate) fn idle_since(&self) -> Option<u64> {
        self.idle.map(|idle| idle.since_nanos)
    }

    /// The idle range was told as far as it goes; it may grow on.
    pub(crate) fn retell_idle_at(&mut self, nanos: u64) {
        if let Some(idle) = &mut self.idle {
            idle.since_nanos = nanos;
        }
    }

    pub(crate) fn take_idle(&mut self) -> Option<SeqRange> {
        self.idle.take().map(|idle| idle.range)
    }

    /// Makes a control record of the idle range.
    pub(crate) fn flush_idle(&mut self) {
        if let Some(range) = self.take_idle() {
            self.note(Control::Repeat(range));
        }
    }

    /// Time or content jumps before the frame `seq`.
    pub(crate) fn jump(&mut self, seq: Seq) {
        if self.jumps.len() < MAX_JUMPS {
            self.jumps.push(seq);
        }
    }

    /// Whether frame `seq` is the first one after a jump; told once.
    pub(crate) fn take_jump(&mut self, seq: Seq) -> bool {
        let before = self.jumps.len();
        self.jumps.retain(|jump| *jump > seq);
        self.jumps.len() < before
    }

    /// Gaps that belong into the record with this seq, in this run's own epoch.
    pub(crate) fn collect_gaps(&self, seq: Seq, out: &mut Vec<Gap>) -> LedgerMark {
        out.extend(self.lane.gaps_before(seq).copied());
        self.lane.mark()
    }

    /// Cuts the run in two for a new epoch in the same partition: this one keeps what was sent and ends, the new
    /// one has what waits, numbered from 0. No idle range is open.
    pub(crate) fn split_off(&mut self, number: u32, epoch: Epoch) -> Self {
        self.lane.drop_to_keyframe(GapReason::DeliveryFailed);
        let lane = self.lane.split_off();
        let base = self.lane.next_seq();
        let mut next = Self::new(number, epoch, self.partition, lane);
        next.closing = self.closing.replace(Closing::new(None));
        next.jumps = self.jumps.drain(..).map(|jump| Seq(jump.0.saturating_sub(base.0))).collect();
        let notes = std::mem::take(&mut self.notes);
        let (before, after): (VecDeque<_>, VecDeque<_>) = notes.into_iter().partition(|note| note.belongs_before(base));
        self.notes = before;
        next.notes = after.into_iter().map(|note| note.shifted(base)).collect();
        next
    }
}

fn shifted(range: SeqRange, base: Seq) -> SeqRange {
    let shift = |seq: Seq| Seq(seq.0.saturating_sub(base.0));
    SeqRange { first: shift(range.first), last: shift(range.last) }
}

impl Note {
    fn belongs_before(&self, base: Seq) -> bool {
        match &self.control {
            Control::Repeat(range) => range.last < base,
            _ => self.before < base,
        }
    }

    fn shifted(self, base: Seq) -> Self {
        let control = match self.control {
            Control::Repeat(range) => Control::Repeat(shifted(range, base)),
            other => other,
        };
        Self { before: Seq(self.before.0.saturating_sub(base.0)), control }
    }
}
