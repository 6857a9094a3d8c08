//! One stream's queue of frames that Kafka has not taken yet.

use crate::{DropCounts, FrameGate, GapLedger, LedgerMark, Passage};
use lumenbus_frame::{EncodedFrame, Gap, GapReason, Seq, SeqRange};
use std::collections::VecDeque;

/// What a queued frame costs besides its payload, so that a million empty frames are not free.
const ENTRY_BYTES: usize = size_of::<QueuedFrame>();

/// What became of a submitted frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It waits.
    Queued(Seq),
    /// It is in a gap.
    Dropped(Seq, GapReason),
}

impl Admission {
    /// The seq it got, dropped or not.
    #[must_use]
    pub fn seq(self) -> Seq {
        match self {
            Self::Queued(seq) | Self::Dropped(seq, _) => seq,
        }
    }
}

/// What a stream's next picture must be, so that whoever has all that was sent can show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Need {
    /// Any: the last frame is on its way.
    #[default]
    Nothing,
    /// Sent, not only said to equal the last one: that one was lost. The frames it builds on were not.
    Picture,
    /// A keyframe: what others would build on was lost, or there was none yet.
    Keyframe,
}

/// A frame with its number.
#[derive(Debug, Clone)]
pub struct QueuedFrame {
    /// Given at submission.
    pub seq: Seq,
    /// The frame.
    pub frame: EncodedFrame,
    /// Monotonic nanoseconds at submission.
    pub submitted_nanos: u64,
    /// Monotonic nanoseconds after which it is not worth sending.
    pub expires_nanos: Option<u64>,
}

/// A byte-bounded queue of one stream's frames. Order in = order out = seq order.
#[derive(Debug)]
pub struct Lane {
    max_bytes: usize,
    queue: VecDeque<QueuedFrame>,
    bytes: usize,
    next_seq: Seq,
    /// Closed: the GOP under way has lost a frame, the rest of it is dropped at submission.
    gate: FrameGate,
    closed_by: GapReason,
    /// Frames of later GOPs survive the failure of an earlier one.
    newest_keyframe_popped: Option<Seq>,
    /// The last frame that was submitted here, and whether it is a gap.
    newest: Option<Seq>,
    is_newest_lost: bool,
    ledger: GapLedger,
}

impl Lane {
    /// A lane that holds at most `max_bytes` of payload and bookkeeping.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            queue: VecDeque::new(),
            bytes: 0,
            next_seq: Seq(0),
            gate: FrameGate::default(),
            // A source that begins inside a GOP begins with frames nobody can decode.
            closed_by: GapReason::Undecodable,
            newest_keyframe_popped: None,
            newest: None,
            is_newest_lost: false,
            ledger: GapLedger::default(),
        }
    }

    /// Numbers a frame and queues it, or drops it with a reason.
    ///
    /// A full lane gives up its oldest GOPs first; when there is only the GOP under way, its rest is dropped.
    pub fn push(&mut self, frame: EncodedFrame, now_nanos: u64) -> Admission {
        let seq = self.take_seq();
        (self.newest, self.is_newest_lost) = (Some(seq), false);
        if self.gate.pass(frame.is_keyframe) == Passage::Closed {
            return self.refuse(seq, self.closed_by, &frame);
        }
        let cost = frame.payload.len() + ENTRY_BYTES;
        if cost > self.max_bytes {
            return self.refuse_rest(seq, GapReason::Oversize, &frame);
        }
        if !self.make_room(cost, &frame) {
            return self.refuse_rest(seq, GapReason::Overflow, &frame);
        }
        let expires_nanos = frame.deadline.map(|deadline| {
            now_nanos.saturating_add(u64::try_from(deadline.duration().as_nanos()).unwrap_or(u64::MAX))
        });
        self.bytes += cost;
        self.queue.push_back(QueuedFrame { seq, frame, submitted_nanos: now_nanos, expires_nanos });
        Admission::Queued(seq)
    }

    /// As [`push`](Self::push), but the deadline's clock began `age_nanos` ago, at capture.
    pub fn push_aged(&mut self, frame: EncodedFrame, now_nanos: u64, age_nanos: u64) -> Admission {
        let admission = self.push(frame, now_nanos);
        if let (Admission::Queued(_), Some(entry)) = (admission, self.queue.back_mut()) {
            entry.expires_nanos = entry.expires_nanos.map(|nanos| nanos.saturating_sub(age_nanos));
        }
        admission
    }

    /// The source lost `count` frames before they got here: they get numbers and are explained.
    pub fn lose(&mut self, count: u64, reason: GapReason) {
        if count == 0 {
            return;
        }
        let first = self.next_seq;
        self.next_seq = Seq(first.0.saturating_add(count));
        self.ledger.add(Gap::new(first, Seq(self.next_seq.0 - 1), reason));
        self.close(reason);
    }

    /// `count` frames equal the last one and are not sent: they get numbers, and the caller explains them.
    pub fn skip(&mut self, count: u64) -> Option<SeqRange> {
        let first = self.next_seq;
        let last = Seq(first.0.saturating_add(count.checked_sub(1)?));
        self.next_seq = last.next();
        Some(SeqRange { first, last })
    }

    /// Notes that frames which were taken out of the lane or skipped will not come.
    pub fn explain(&mut self, gap: Gap) {
        self.ledger.add(gap);
    }

    /// The oldest frame that is still worth sending. Expired ones are dropped with the rest of their GOP.
    pub fn pop(&mut self, now_nanos: u64) -> Option<QueuedFrame> {
        self.expire(now_nanos);
        let entry = self.take_front()?;
        if entry.frame.is_keyframe {
            self.newest_keyframe_popped = Some(entry.seq);
        }
        Some(entry)
    }

    /// Drops what is past its deadline from the front on.
    pub fn expire(&mut self, now_nanos: u64) {
        let is_expired = |entry: &QueuedFrame| entry.expires_nanos.is_some_and(|expires| expires < now_nanos);
        while self.queue.front().is_some_and(is_expired) {
            let Some(entry) = self.take_front() else {
                return;
            };
            self.give_up(entry.seq, GapReason::Expired, entry.frame.is_discardable);
            if !entry.frame.is_discardable {
                self.drop_to_keyframe(GapReason::Expired);
            }
        }
    }

    /// The frame that [`pop`](Self::pop) would look at first.
    #[must_use]
    pub fn peek(&self) -> Option<&QueuedFrame> {
        self.queue.front()
    }

    /// What waits, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &QueuedFrame> {
        self.queue.iter()
    }

    /// A frame already popped could not be delivered: it and the rest of its GOP become a gap.
    pub fn delivery_failed(&mut self, seq: Seq, is_discardable: bool) {
        self.give_up(seq, GapReason::DeliveryFailed, is_discardable);
        let is_gop_over = self.newest_keyframe_popped.is_some_and(|newest| newest > seq);
        if !is_discardable && !is_gop_over {
            self.drop_to_keyframe(GapReason::DeliveryFailed);
        }
    }

    /// Cuts the lane before what waits, for a new epoch that goes on with the old one's queue.
    ///
    /// This lane keeps what was numbered before, its gaps and its counts; the new one has what waits, numbered from 0.
    #[must_use]
    pub fn split_off(&mut self) -> Self {
        let base = self.queue.front().map_or(self.next_seq, |entry| entry.seq);
        let mut rest = Self {
            max_bytes: self.max_bytes,
            queue: std::mem::take(&mut self.queue),
            bytes: std::mem::take(&mut self.bytes),
            next_seq: Seq(self.next_seq.0 - base.0),
            gate: self.gate,
            closed_by: self.closed_by,
            newest_keyframe_popped: None,
            newest: self.newest.and_then(|seq| seq.0.checked_sub(base.0)).map(Seq),
            is_newest_lost: self.is_newest_lost,
            ledger: self.ledger.split_off(base),
        };
        for entry in &mut rest.queue {
            entry.seq = Seq(entry.seq.0 - base.0);
        }
        self.next_seq = base;
        self.gate.close();
        rest
    }

    /// Drops everything that waits.
    pub fn drop_all(&mut self, reason: GapReason) {
        while let Some(entry) = self.take_front() {
            self.give_up(entry.seq, reason, entry.frame.is_discardable);
        }
    }

    /// Gaps that belong into the record of frame `seq`.
    pub fn gaps_before(&self, seq: Seq) -> impl Iterator<Item = &Gap> {
        self.ledger.before(seq)
    }

    /// For [`acknowledged`](Self::acknowledged).
    #[must_use]
    pub fn mark(&self) -> LedgerMark {
        self.ledger.mark()
    }

    /// The record of frame `seq`, sent at `mark`, is in the log.
    pub fn acknowledged(&mut self, seq: Seq, mark: LedgerMark) {
        self.ledger.acknowledged(seq, mark);
    }

    /// Whether gaps wait for a record to carry them.
    #[must_use]
    pub fn has_open_gaps(&self) -> bool {
        !self.ledger.is_empty()
    }

    /// The seq of the next frame; what is below was submitted.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Frames ever dropped here.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        self.ledger.dropped_frames()
    }

    /// Frames ever dropped here, by reason.
    #[must_use]
    pub fn drops(&self) -> &DropCounts {
        self.ledger.drops()
    }

    /// What the next frame must be.
    #[must_use]
    pub fn need(&self) -> Need {
        match (self.gate.is_open(), self.is_newest_lost) {
            (false, _) => Need::Keyframe,
            (true, true) => Need::Picture,
            (true, false) => Need::Nothing,
        }
    }

    fn give_up(&mut self, seq: Seq, reason: GapReason, is_discardable: bool) {
        self.is_newest_lost |= self.newest == Some(seq);
        self.ledger.add_one(seq, reason, is_discardable);
    }

    fn take_seq(&mut self) -> Seq {
        let seq = self.next_seq;
        self.next_seq = seq.next();
        seq
    }

    fn take_front(&mut self) -> Option<QueuedFrame> {
        let entry = self.queue.pop_front()?;
        self.bytes -= entry.frame.payload.len() + ENTRY_BYTES;
        Some(entry)
    }

    fn refuse(&mut self, seq: Seq, reason: GapReason, frame: &EncodedFrame) -> Admission {
        // Behind a closed gate a discardable frame is as undecodable as the others.
        let is_discardable = frame.is_discardable && self.gate.is_open();
        self.give_up(seq, reason, is_discardable);
        Admission::Dropped(seq, reason)
    }

    fn refuse_rest(&mut self, seq: Seq, reason: GapReason, frame: &EncodedFrame) -> Admission {
        if !frame.is_discardable {
            self.close(reason);
        }
        self.refuse(seq, reason, frame)
    }

    fn close(&mut self, reason: GapReason) {
        self.gate.close();
        self.closed_by = reason;
    }

    /// Gives up whole GOPs from the front until `cost` fits; never the GOP that `frame` belongs to.
    fn make_room(&mut self, cost: usize, frame: &EncodedFrame) -> bool {
        while self.bytes + cost > self.max_bytes {
            let next_keyframe = self.queue.iter().skip(1).position(|entry| entry.frame.is_keyframe);
            let give_up = match next_keyframe {
                Some(position) => position + 1,
                None if frame.is_keyframe && !self.queue.is_empty() => self.queue.len(),
                None => return false,
            };
            for _ in 0..give_up {
                let Some(entry) = self.take_front() else {
                    break;
                };
                self.give_up(entry.seq, GapReason::Overflow, false);
            }
        }
        true
    }

    /// Drops from the front up to the next keyframe; closes the gate when none is queued.
    pub fn drop_to_keyframe(&mut self, reason: GapReason) {
        while self.queue.front().is_some_and(|entry| !entry.frame.is_keyframe) {
            if let Some(entry) = self.take_front() {
                self.give_up(entry.seq, reason, false);
            }
        }
        if self.queue.is_empty() {
            self.close(reason);
        }
    }
}
