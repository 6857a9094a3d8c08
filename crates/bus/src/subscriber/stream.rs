//! One stream's reading state: what was seen, what is missing, what may be decoded.

use super::event::{Event, Notice};
use lumenbus_frame::{Epoch, FrameId, Gap, GapReason, Seq, SeqRange, StreamId, StreamParameters, TraceContext};
use lumenbus_lanes::{FrameGate, Passage};
use lumenbus_wire::{ChunkAssembler, KeyframeHint};
use std::sync::Arc;

/// Holes that may still be explained by a later record; the oldest is given up beyond this.
const MAX_PENDING_HOLES: usize = 64;

/// Where the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reading.
    Running,
    /// Going back to the keyframe at this place, which is checked there.
    Rewinding {
        keyframe: KeyframeHint,
        /// Epoch in which the keyframe is.
        epoch: Epoch,
        /// After a skip, not on joining: what is missing before it is told.
        is_resuming: bool,
    },
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it over.
    Deliver,
    /// Seen before.
    Repeat,
    /// Not decodable: already told as a gap.
    Withhold,
}

/// A stream within one partition.
#[derive(Debug)]
pub(crate) struct StreamState {
    pub(crate) id: Arc<StreamId>,
    pub(crate) epoch: Epoch,
    /// Below this everything is delivered or told as a gap (or is a pending hole).
    pub(crate) next_seq: Seq,
    /// Whether seqs below the first one seen are expected.
    knows_beginning: bool,
    pub(crate) gate: FrameGate,
    pub(crate) assembler: ChunkAssembler,
    /// The trace of the frame that the assembler puts together.
    pub(crate) open_trace: Option<TraceContext>,
    /// When the assembler got its last chunk, Unix nanoseconds.
    pub(crate) last_chunk_nanos: i64,
    /// The directory's word that the camera is away, as told last.
    pub(crate) offline_told: Option<(Epoch, i64)>,
    pub(crate) parameters: Option<Arc<StreamParameters>>,
    pub(crate) phase: Phase,
    /// Skipped ahead: the next record's hint names the keyframe to go on at.
    pub(crate) resumes: bool,
    ended: bool,
    pending: Vec<SeqRange>,
    /// Why the next hole is there, when the log itself cannot say.
    pub(crate) hole_reason: Option<GapReason>,
    /// Why frames before the next keyframe are not handed over.
    pub(crate) withheld_reason: GapReason,
}

/// How a stream comes into view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// From its very first frame: whatever is missing is a hole.
    FromTheBeginning,
    /// Somewhere on the way.
    OnTheWay,
    /// After this frame, which another instance handed over.
    After(FrameId),
}

impl StreamState {
    pub(crate) fn new(id: Arc<StreamId>, at: FrameId, entrance: Entrance, max_frame_bytes: usize) -> Self {
        let (epoch, next_seq, knows_beginning) = match entrance {
            Entrance::FromTheBeginning => (at.epoch, Seq(0), true),
            Entrance::OnTheWay => (at.epoch, at.seq, false),
            Entrance::After(mark) => (mark.epoch, mark.seq.next(), true),
        };
        Self {
            id,
            epoch,
            next_seq,
            knows_beginning,
            gate: FrameGate::default(),
            assembler: ChunkAssembler::new(max_frame_bytes),
            open_trace: None,
            last_chunk_nanos: 0,
            offline_told: None,
            parameters: None,
            phase: Phase::Running,
            resumes: false,
            ended: false,
            pending: Vec::new(),
            hole_reason: None,
            withheld_reason: GapReason::Joining,
        }
    }

    /// A record of a higher epoch: the old one is closed, with a gap when it did not end.
    pub(crate) fn enter_epoch(&mut self, epoch: Epoch, gaps: &[Gap], out: &mut Vec<Event>) {
        let old = self.epoch;
        self.fail_open_frame();
        for gap in gaps.iter().filter(|gap| gap.epoch == Some(old)) {
            self.explain(gap, out);
        }
        let told =
            gaps.iter().any(|gap| gap.epoch == Some(old) && gap.last.is_none_or(|last| last.next() == self.next_seq));
        self.give_up_pending(out);
        if !self.ended && !told {
            let gap = Gap {
                epoch: Some(old),
                first: self.next_seq,
                last: None,
                reason: GapReason::Aborted,
                is_discardable: false,
            };
            out.push(Event::Gap { stream: Arc::clone(&self.id), gap });
        }
        self.epoch = epoch;
        self.next_seq = Seq(0);
        self.knows_beginning = true;
        self.ended = false;
        // What retention or a skip took may reach into the new epoch.
        self.hole_reason =
            self.hole_reason.filter(|reason| matches!(reason, GapReason::Retention | GapReason::Lagging));
        self.gate.close();
        self.withheld_reason = GapReason::Undecodable;
        self.phase = Phase::Running;
    }

    /// Applies the gaps of a record and whatever is missing before `seq`; afterwards `next_seq ≥ seq`.
    pub(crate) fn advance_to(&mut self, seq: Seq, gaps: &[Gap], out: &mut Vec<Event>) {
        self.explain_all(gaps, out);
        if seq > self.next_seq {
            self.hole(seq, out);
        }
    }

    /// Applies gaps alone, as control records and directory entries carry them.
    pub(crate) fn explain_all(&mut self, gaps: &[Gap], out: &mut Vec<Event>) {
        let current = self.epoch;
        for gap in gaps.iter().filter(|gap| gap.epoch.is_none_or(|epoch| epoch == current)) {
            self.explain(gap, out);
        }
    }

    /// A frame's turn: after [`advance_to`](Self::advance_to).
    pub(crate) fn take(&mut self, seq: Seq, is_keyframe: bool, is_discardable: bool, out: &mut Vec<Event>) -> Verdict {
        if seq < self.next_seq {
            // A frame that was given up as a hole and is there after all cannot be handed over out of order.
            return Verdict::Repeat;
        }
        self.next_seq = seq.next();
        self.knows_beginning = true;
        self.hole_reason = None;
        if self.gate.pass(is_keyframe) == Passage::Open {
            return Verdict::Deliver;
        }
        let gap = Gap { is_discardable, ..Gap::new(seq, seq, self.withheld_reason) };
        self.tell(gap, out);
        Verdict::Withhold
    }

    /// An `end`: what is still missing is told.
    pub(crate) fn end(&mut self, last_seq: Option<Seq>, gaps: &[Gap], out: &mut Vec<Event>) {
        self.advance_to(last_seq.map_or(Seq(0), Seq::next), gaps, out);
        self.give_up_pending(out);
        if !self.ended {
            self.ended = true;
            out.push(Event::End { stream: Arc::clone(&self.id), epoch: self.epoch, last_seq });
        }
    }

    /// The epoch goes on in another partition: nothing of it is missing here when the stream comes back.
    pub(crate) fn moved_away(&mut self) {
        self.ended = true;
    }

    /// A `repeat`.
    pub(crate) fn repeat(&mut self, range: SeqRange, gaps: &[Gap], out: &mut Vec<Event>) {
        self.advance_to(range.first, gaps, out);
        let first = range.first.max(self.next_seq);
        if first <= range.last {
            self.next_seq = range.last.next();
            let range = SeqRange { first, last: range.last };
            out.push(Event::Repeat { stream: Arc::clone(&self.id), epoch: self.epoch, range });
        }
    }

    /// An incomplete chunked frame will not be completed: its seq becomes a hole with a reason.
    pub(crate) fn fail_open_frame(&mut self) {
        if self.assembler.close().is_some() {
            self.hole_reason = Some(GapReason::RecordDamaged);
        }
    }

    /// Whether the reader may begin at a frame that cannot be decoded alone (its decoder has what is needed).
    pub(crate) fn open_gate(&mut self) {
        self.gate.pass(true);
    }

    /// Says that the stream starts over at its next keyframe, for this reason.
    pub(crate) fn skip_to_keyframe(&mut self, reason: GapReason) {
        self.gate.close();
        self.withheld_reason = reason;
        self.hole_reason = Some(reason);
    }

    fn explain(&mut self, gap: &Gap, out: &mut Vec<Event>) {
        self.explain_pending(gap, out);
        let Some(last) = gap.last else {
            return self.tell_open_end(gap, out);
        };
        if last < self.next_seq {
            return;
        }
        if gap.first > self.next_seq {
            self.hole(gap.first, out);
        }
        let first = gap.first.max(self.next_seq);
        self.next_seq = last.next();
        if !gap.is_discardable {
            self.gate.close();
            self.withheld_reason = GapReason::Undecodable;
        }
        self.tell(Gap { epoch: None, first, ..*gap }, out);
    }

    fn tell_open_end(&mut self, gap: &Gap, out: &mut Vec<Event>) {
        let first = gap.first.max(self.next_seq);
        self.gate.close();
        self.tell(Gap { epoch: None, first, ..*gap }, out);
    }

    /// The parts of pending holes that a late gap explains.
    fn explain_pending(&mut self, gap: &Gap, out: &mut Vec<Event>) {
        if self.pending.is_empty() {
            return;
        }
        let last = gap.last.unwrap_or(Seq(u64::MAX));
        let mut left = Vec::with_capacity(self.pending.len());
        for hole in std::mem::take(&mut self.pending) {
            let first_in = hole.first.max(gap.first);
            let last_in = hole.last.min(last);
            if first_in > last_in {
                left.push(hole);
                continue;
            }
            self.tell(Gap { epoch: None, first: first_in, last: Some(last_in), ..*gap }, out);
            if hole.first < first_in {
                left.push(SeqRange { first: hole.first, last: Seq(first_in.0 - 1) });
            }
            if hole.last > last_in {
                left.push(SeqRange { first: last_in.next(), last: hole.last });
            }
        }
        self.pending = left;
    }

    /// `next_seq..upto` is missing and nothing said so yet.
    fn hole(&mut self, upto: Seq, out: &mut Vec<Event>) {
        let range = SeqRange { first: self.next_seq, last: Seq(upto.0 - 1) };
        self.next_seq = upto;
        if !self.knows_beginning {
            return;
        }
        self.gate.close();
        self.withheld_reason = GapReason::Undecodable;
        if let Some(reason) = self.hole_reason {
            return self.tell(Gap::new(range.first, range.last, reason), out);
        }
        self.pending.push(range);
        if self.pending.len() > MAX_PENDING_HOLES {
            let oldest = self.pending.remove(0);
            self.tell(Gap::new(oldest.first, oldest.last, GapReason::Unexplained), out);
        }
    }

    fn give_up_pending(&mut self, out: &mut Vec<Event>) {
        for hole in std::mem::take(&mut self.pending) {
            self.tell(Gap::new(hole.first, hole.last, GapReason::Unexplained), out);
        }
    }

    /// Tells a gap of this epoch; one that continues the last event's gap extends it.
    fn tell(&mut self, gap: Gap, out: &mut Vec<Event>) {
        if let (GapReason::Repeated, Some(last)) = (gap.reason, gap.last) {
            let range = SeqRange { first: gap.first, last };
            return out.push(Event::Repeat { stream: Arc::clone(&self.id), epoch: self.epoch, range });
        }
        if let Some(Event::Gap { stream, gap: last }) = out.last_mut() {
            let touches = last.last.is_some_and(|last| last.next() == gap.first);
            let same = last.reason == gap.reason
                && last.epoch == Some(self.epoch)
                && last.is_discardable == gap.is_discardable;
            if touches && same && Arc::ptr_eq(stream, &self.id) {
                last.last = gap.last;
                return;
            }
        }
        out.push(Event::Gap { stream: Arc::clone(&self.id), gap: Gap { epoch: Some(self.epoch), ..gap } });
    }

    /// The keyframe was not where the hint said.
    pub(crate) fn keyframe_missing(&mut self, found: Seq, out: &mut Vec<Event>) {
        if let Phase::Rewinding { keyframe, is_resuming, .. } = self.phase {
            let offset = i64::try_from(keyframe.offset).unwrap_or(i64::MAX);
            out.push(Event::Notice(Notice::KeyframeNotFound { stream: Arc::clone(&self.id), offset }));
            if !is_resuming {
                self.knows_beginning = false;
                self.next_seq = found;
            }
        }
        self.phase = Phase::Running;
    }
}
