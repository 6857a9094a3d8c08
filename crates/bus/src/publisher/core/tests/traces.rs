//! Frames that are followed, against the log in memory.

use super::*;
use crate::trace::{FrameTracer, Outcome, Settled};
use lumenbus_frame::{FrameId, TraceContext};
use std::sync::{Arc, Mutex};

/// Follows every frame of the seqs that it is for, and remembers what it was told.
#[derive(Default)]
struct Recorder {
    every: u64,
    told: Mutex<Vec<Told>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    trace: TraceContext,
    id: FrameId,
    partition: u32,
    offset: Option<i64>,
    millis: (i64, Option<i64>, i64),
    outcome: Outcome,
}

fn trace_of(seq: Seq) -> TraceContext {
    TraceContext { trace_id: [1; 16], span_id: (seq.0 + 1).to_be_bytes(), flags: 1 }
}

impl FrameTracer for Recorder {
    fn submitted(&self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Option<TraceContext> {
        assert_eq!((stream.camera.as_str(), frame.payload.is_empty()), ("gate-7", false));
        id.seq.0.is_multiple_of(self.every).then(|| trace_of(id.seq))
    }

    fn settled(&self, trace: &TraceContext, settled: &Settled<'_>) {
        let millis = |nanos: i64| (nanos - UNIX) / 1_000_000;
        let told = Told {
            trace: *trace,
            id: settled.id,
            partition: settled.partition,
            offset: settled.offset,
            millis: (
                millis(settled.submitted_unix_nanos),
                settled.sent_unix_nanos.map(millis),
                millis(settled.settled_unix_nanos),
            ),
            outcome: settled.outcome,
        };
        self.told.lock().unwrap().push(told);
    }
}

impl Recorder {
    fn outcomes(&self) -> Vec<(u64, Outcome)> {
        self.told.lock().unwrap().iter().map(|told| (told.id.seq.0, told.outcome)).collect()
    }
}

fn followed(limits: StreamLimits, every: u64) -> (Bench, Arc<Recorder>) {
    let recorder = Arc::new(Recorder { every, ..Recorder::default() });
    let mut bench = bench(limits);
    let tracer: Arc<dyn FrameTracer> = Arc::<Recorder>::clone(&recorder);
    bench.core.traces = Traces::new(&tracer, &bench.core.id);
    (bench, recorder)
}

fn traceparents(bench: &Bench) -> Vec<Option<String>> {
    bench.log.iter().map(|record| record.traceparent.clone()).collect()
}

#[test]
fn a_followed_frame_carries_its_trace_and_is_told_when_settled() {
    let (mut bench, recorder) = followed(StreamLimits { window_bytes: 1, ..limits() }, 2);
    for n in 0..3 {
        bench.submit(frame(100, n == 0));
    }
    bench.wait(5);
    bench.settle();
    assert_eq!(traceparents(&bench), [Some(trace_of(Seq(0)).to_string()), None, Some(trace_of(Seq(2)).to_string())]);
    let told = recorder.told.lock().unwrap();
    let (first, third) = (told.first().unwrap(), told.last().unwrap());
    assert_eq!(told.len(), 2);
    assert_eq!((first.trace, first.partition, first.offset), (trace_of(Seq(0)), 3, Some(0)));
    assert_eq!((first.millis, first.outcome), ((0, Some(0), 5), Outcome::Acknowledged));
    assert_eq!((third.offset, third.millis), (Some(2), (0, Some(5), 5)), "it waited for the window");
    assert_eq!(third.id, FrameId { epoch: Epoch(1 << 16), seq: Seq(2) });
}

#[test]
fn a_trace_is_on_the_first_chunk_and_on_no_batch() {
    let (mut bench, recorder) = followed(limits(), 1);
    bench.submit(frame(40_000, true));
    bench.settle();
    let parts = traceparents(&bench);
    assert!(parts.len() > 2 && parts[0].is_some() && parts[1..].iter().all(Option::is_none), "{parts:?}");
    for record in &bench.log {
        let headers = record.header.as_ref().unwrap().len() + record.traceparent.as_ref().map_or(0, String::len);
        assert!(record.value.len() + headers + "gate-7".len() + "traceparent".len() <= 20_000);
    }
    assert_eq!(recorder.outcomes(), [(0, Outcome::Acknowledged)]);

    let batching = Some(BatchLimits { frames: 4, bytes: 5_000, wait: Duration::from_millis(20) });
    let (mut bench, recorder) = followed(StreamLimits { batching, ..limits() }, 1);
    for n in 0..3 {
        bench.submit(frame(100, n == 0));
    }
    bench.wait(25);
    bench.settle();
    assert!(matches!(bench.log[0].opened(), Opened::Batch { .. }));
    assert_eq!(traceparents(&bench), [None]);
    let expected: Vec<_> = (0..3).map(|seq| (seq, Outcome::Acknowledged)).collect();
    assert_eq!(recorder.outcomes(), expected);
}

#[test]
fn frames_without_a_tracer_keep_the_trace_they_came_with() {
    let mut bench = bench(limits());
    bench.submit(frame(10, true).with_trace(trace_of(Seq(7))));
    bench.submit(frame(10, false));
    bench.settle();
    assert_eq!(traceparents(&bench), [Some(trace_of(Seq(7)).to_string()), None]);
}

#[test]
fn what_is_dropped_or_lost_is_told_with_its_reason() {
    let (mut bench, recorder) = followed(StreamLimits { lane_bytes: 3_000, window_bytes: 1, ..limits() }, 1);
    // The first is on its way; the lane takes two more, and a keyframe pushes those out.
    for n in 0..4 {
        bench.submit(frame(1_000, n % 3 == 0));
    }
    bench.lose_record();
    bench.settle();
    bench.account();
    let outcomes = recorder.outcomes();
    assert_eq!(outcomes.len() as u64, bench.core.submitted(), "each is told once: {outcomes:?}");
    let of = |seq: u64| outcomes.iter().find(|told| told.0 == seq).unwrap().1;
    assert!(matches!(of(1), Outcome::Dropped(GapReason::Overflow | GapReason::DeliveryFailed)), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|told| told.1 == Outcome::Failed).count(), 1, "{outcomes:?}");
}

#[test]
fn a_new_epoch_and_an_end_leave_no_frame_untold() {
    let (mut bench, recorder) = followed(StreamLimits { window_bytes: 1, ..limits() }, 1);
    for n in 0..6 {
        bench.submit(frame(1_000, n % 3 == 0));
    }
    bench.core.hold();
    bench.lose_record();
    let mut next = 2_u64;
    bench.core.restart(
        || {
            next += 1;
            Epoch(next << 16)
        },
        bench.now,
    );
    bench.core.release();
    bench.settle();
    bench.submit(frame(1_000, true));
    bench.core.drop_waiting(GapReason::Stopped);
    bench.finish();
    let told = recorder.told.lock().unwrap();
    assert_eq!(told.len(), 7, "{told:?}");
    let in_new_epoch =
        told.iter().filter(|told| told.id.epoch > Epoch(1 << 16) && told.outcome == Outcome::Acknowledged);
    let seqs: Vec<_> = in_new_epoch.map(|told| (told.id.seq.0, told.trace)).collect();
    assert_eq!(seqs[..3], [(0, trace_of(Seq(3))), (1, trace_of(Seq(4))), (2, trace_of(Seq(5)))], "{told:?}");
}
