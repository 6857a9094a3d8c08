//! Frames that are followed from the publisher to the subscriber: on the embedded broker, and on Apache Kafka where
//! `LUMENBUS_TEST_KAFKA` names its bootstrap servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use lumenbus_bus::subscriber::{DeliveredFrame, Event, Start};
use lumenbus_bus::trace::{FrameTracer, Outcome, Settled};
use lumenbus_bus::{Publisher, PublisherConfig, Subscriber, SubscriberConfig};
use lumenbus_frame::{EncodedFrame, FrameId, StreamId, TraceContext};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{PATIENCE, Site, keyframe, video};

/// Larger than a record: it goes in chunks.
const LARGE: usize = 2_000_000;

/// What a frame was told to have come to: its trace, the offset and how it ended.
type Told = (TraceContext, Option<i64>, Outcome);

/// Follows every other frame and remembers where it ended.
#[derive(Default)]
struct Follower {
    settled: Mutex<BTreeMap<FrameId, Told>>,
    received: Mutex<Vec<(FrameId, Option<TraceContext>)>>,
}

impl FrameTracer for Follower {
    fn submitted(&self, stream: &StreamId, id: FrameId, _: &EncodedFrame) -> Option<TraceContext> {
        assert_eq!(stream.camera.as_str(), "gate");
        let trace_id = (u128::from(id.epoch.0) << 64 | 1).to_be_bytes();
        let trace = TraceContext { trace_id, span_id: (id.seq.0 + 1).to_be_bytes(), flags: 1 };
        id.seq.0.is_multiple_of(2).then_some(trace)
    }

    fn settled(&self, trace: &TraceContext, settled: &Settled<'_>) {
        assert!(settled.sent_unix_nanos.unwrap() >= settled.submitted_unix_nanos);
        let told = (*trace, settled.offset, settled.outcome);
        assert_eq!(self.settled.lock().unwrap().insert(settled.id, told), None, "told once");
    }

    fn received(&self, frame: &DeliveredFrame) {
        self.received.lock().unwrap().push((frame.id(), frame.trace));
    }
}

fn follow(site: &Site) {
    let follower = Arc::new(Follower::default());
    let tracer: Arc<dyn FrameTracer> = Arc::<Follower>::clone(&follower);
    let mut config = PublisherConfig::new(site.config.clone());
    config.tracer = Some(Arc::clone(&tracer));
    let publisher = Publisher::open(config).unwrap();
    let stream = video(&publisher);
    for bytes in [1_000, 1_000, LARGE, LARGE, 1_000] {
        stream.submit(keyframe(bytes)).unwrap();
    }
    stream.finish(PATIENCE).unwrap();
    drop(publisher.close(PATIENCE));

    let mut config = SubscriberConfig::new(site.config.clone(), vec![site.topic("raw_video")]);
    config.start = Start::Earliest;
    config.tracer = Some(tracer);
    let mut subscriber = Subscriber::open(config).unwrap();
    let (mut frames, start) = (Vec::new(), Instant::now());
    while frames.len() < 5 {
        assert!(start.elapsed() < PATIENCE, "{} of 5 frames came", frames.len());
        if let Some(Event::Frame(frame)) = subscriber.recv(Duration::from_secs(1)).unwrap() {
            frames.push(frame);
        }
    }
    let settled = follower.settled.lock().unwrap();
    assert_eq!(settled.len(), 3);
    for frame in &frames {
        let told = settled.get(&frame.id()).copied();
        let expected = frame.trace.map(|trace| (trace, Some(frame.offset), Outcome::Acknowledged));
        assert_eq!(told, expected, "seq {}", frame.id().seq);
    }
    let received: Vec<_> = frames.iter().map(|frame| (frame.id(), frame.trace)).collect();
    assert_eq!(*follower.received.lock().unwrap(), received);
}

#[test]
fn a_trace_goes_with_its_frame_and_both_ends_are_told() {
    Site::all().iter().for_each(follow);
}
