//! A stream's frames that somebody follows, from submission until it is known what became of them.

use crate::publisher::core::{Now, StreamCore, Unit};
use crate::publisher::run::Run;
use crate::trace::{FrameTracer, Outcome, Settled};
use lumenbus_frame::{EncodedFrame, Epoch, FrameId, GapReason, Seq, StreamId, TraceContext};
use lumenbus_lanes::Admission;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A frame that is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traced {
    run: u32,
    epoch: Epoch,
    seq: Seq,
    trace: TraceContext,
    payload_bytes: usize,
    submitted_unix_nanos: i64,
    sent_unix_nanos: Option<i64>,
}

/// The frames of a stream that are followed; empty without a tracer.
#[derive(Default)]
pub(crate) struct Traces {
    tracer: Option<Arc<dyn FrameTracer>>,
    /// In the lanes, in the order of submission; the lanes bound them.
    waiting: VecDeque<Traced>,
    /// Of the unit that is being composed.
    taken: Vec<Traced>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Traces {
    pub(crate) fn new(tracer: &Arc<dyn FrameTracer>, stream: &StreamId) -> Self {
        let tracer = tracer.of_stream(stream).unwrap_or_else(|| Arc::clone(tracer));
        Self { tracer: Some(tracer), ..Self::default() }
    }

    pub(crate) fn acknowledged(&self, stream: &StreamId, after_nanos: u64) {
        if let Some(tracer) = &self.tracer {
            tracer.acknowledged(stream, Duration::from_nanos(after_nanos));
        }
    }

    /// The followed frames of the unit that was composed last.
    pub(crate) fn take_taken(&mut self) -> Vec<Traced> {
        std::mem::take(&mut self.taken)
    }

    /// Frames of a run from `base` on are in another one now, numbered from 0.
    pub(crate) fn renumber(&mut self, run: u32, base: Seq, new: &Run) {
        for traced in self.waiting.iter_mut().filter(|traced| traced.run == run && traced.seq >= base) {
            (traced.run, traced.epoch, traced.seq) = (new.number, new.epoch, Seq(traced.seq.0 - base.0));
        }
    }
}

impl StreamCore {
    /// Asks the tracer about a frame that gets the newest run's next seq.
    pub(crate) fn begin_trace(&mut self, frame: &mut EncodedFrame, now: Now) {
        let Some(tracer) = &self.traces.tracer else {
            return;
        };
        let run = self.newest();
        let (number, id) = (run.number, FrameId { epoch: run.epoch, seq: run.lane.next_seq() });
        frame.trace = tracer.submitted(&self.id, id, frame);
        self.traces.waiting.extend(frame.trace.map(|trace| Traced {
            run: number,
            epoch: id.epoch,
            seq: id.seq,
            trace,
            payload_bytes: frame.payload.len(),
            submitted_unix_nanos: now.unix_nanos,
            sent_unix_nanos: None,
        }));
    }

    /// A followed frame may have been dropped at the door.
    pub(crate) fn trace_admission(&mut self, admission: Admission, now: Now) {
        let (Admission::Dropped(seq, reason), Some(last)) = (admission, self.traces.waiting.back().copied()) else {
            return;
        };
        if last.seq == seq {
            self.traces.waiting.pop_back();
            self.tell_dropped(&last, reason, now);
        }
    }

    /// A frame has left the lane of the first run; followed ones before it were dropped there.
    pub(crate) fn trace_taken(&mut self, seq: Seq, now: Now) {
        while let Some(traced) = self.traces.waiting.front().copied() {
            let position = self.runs.iter().position(|run| run.number == traced.run);
            if position.is_some_and(|position| position > 0 || traced.seq > seq) {
                return;
            }
            self.traces.waiting.pop_front();
            if position == Some(0) && traced.seq == seq {
                self.traces.taken.push(Traced { sent_unix_nanos: Some(now.unix_nanos), ..traced });
            } else {
                self.tell_dropped(&traced, self.reason_of(&traced), now);
            }
        }
    }

    /// Tells of followed frames that are in no lane any more and were never taken.
    pub(crate) fn sweep_traces(&mut self, now: Now) {
        while let Some(traced) = self.traces.waiting.front().copied() {
            if self.run(traced.run).is_some_and(|run| traced.seq >= run.front_seq()) {
                return;
            }
            self.traces.waiting.pop_front();
            self.tell_dropped(&traced, self.reason_of(&traced), now);
        }
    }

    fn run(&self, number: u32) -> Option<&Run> {
        self.runs.iter().find(|run| run.number == number)
    }

    /// The reason of the gap that holds the frame, as long as the gap is open.
    fn reason_of(&self, traced: &Traced) -> GapReason {
        let gaps = self.run(traced.run).into_iter().flat_map(|run| run.lane.gaps_before(Seq(u64::MAX)));
        let mut holding = gaps.filter(|gap| gap.first <= traced.seq && gap.last.is_none_or(|last| last >= traced.seq));
        holding.next().map_or(GapReason::Stopped, |gap| gap.reason)
    }

    fn tell_dropped(&self, traced: &Traced, reason: GapReason, now: Now) {
        self.tell_settled(traced, None, Outcome::Dropped(reason), now);
    }

    /// Tells of a unit's followed frames.
    pub(crate) fn trace_settled(&self, unit: &Unit, now: Now) {
        let (offset, outcome) = match unit.has_failed {
            true => (None, Outcome::Failed),
            false => (unit.first_offset.and_then(|offset| i64::try_from(offset).ok()), Outcome::Acknowledged),
        };
        for traced in &unit.traced {
            self.tell_settled(traced, offset, outcome, now);
        }
    }

    fn tell_settled(&self, traced: &Traced, offset: Option<i64>, outcome: Outcome, now: Now) {
        let Some(tracer) = &self.traces.tracer else {
            return;
        };
        let run = self.run(traced.run);
        let settled = Settled {
            stream: &self.id,
            id: FrameId { epoch: run.map_or(traced.epoch, |run| run.epoch), seq: traced.seq },
            partition: run.map_or_else(|| self.partition(), |run| run.partition),
            offset,
            payload_bytes: traced.payload_bytes,
            submitted_unix_nanos: traced.submitted_unix_nanos,
            sent_unix_nanos: traced.sent_unix_nanos,
            settled_unix_nanos: now.unix_nanos,
            outcome,
        };
        tracer.settled(&traced.trace, &settled);
    }
}
