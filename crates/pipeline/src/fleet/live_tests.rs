//! What only the inside can provoke, against the embedded broker.

use super::shared::Shared;
use super::worker::Worker;
use super::*;
use crate::publish::{Snapshots, snapshot_stream};
use lumenbus_broker::{Broker, BrokerConfig};
use lumenbus_bus::publisher::{PublisherConfig, StreamOptions};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_frame::{CaptureTime, Clock as _, Codec, EncodedFrame, StreamId};
use std::sync::mpsc::channel;
use std::thread;

/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn frame(codec: Codec) -> EncodedFrame {
    let mut frame = EncodedFrame::new(codec, CaptureTime::arrival(SystemClock.unix_nanos()), vec![1; 2_000].into());
    frame.is_keyframe = true;
    frame
}

fn worker(publisher: &Arc<Publisher>, config: CameraConfig) -> Worker {
    Worker {
        shared: Arc::new(Shared::new(CameraState::Starting, config.description())),
        config,
        fleet: FleetConfig::new(TopicPrefix::default()),
        publisher: Arc::clone(publisher),
        closed: Arc::default(),
        predecessor: None,
        source: None,
        stream: None,
        snapshots: None,
        budget: Arc::default(),
        away_since: None,
        told: None,
    }
}

/// A codec may take as long as it likes over one picture.
#[test]
fn the_end_of_a_video_does_not_wait_for_a_still_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerConfig::new(folder.path()).listen(([127, 0, 0, 1], 0).into());
    let broker = Broker::start_blocking(broker).unwrap();
    let bus = BusConfig::new(broker.bootstrap_servers());
    let prefix = bus.topic_prefix.clone();
    let publisher = Arc::new(Publisher::open(PublisherConfig::new(bus)).unwrap());
    let camera = CameraConfig::new("gate".parse().unwrap(), CameraSource::Spec("test:16x16@25".to_owned()));
    let video = StreamId::main(camera.id.clone(), prefix.topic(default_topic(Codec::H264)));
    let stills = snapshot_stream(&video, &prefix).unwrap();
    let open = |id: &StreamId, codec| {
        let stream = publisher.stream(id.clone(), StreamOptions::new(codec)).unwrap();
        stream.submit(frame(codec)).unwrap();
        stream
    };
    let (busy, until) = channel();
    let mut worker = worker(&publisher, camera);
    worker.stream = Some(open(&video, Codec::H264));
    worker.snapshots = Some(Snapshots::busy(open(&stills, Codec::Jpeg), until));
    let (closed, shared) = (Arc::clone(&worker.closed), Arc::clone(&worker.shared));

    let (ended, end) = channel();
    let camera = thread::spawn(move || {
        worker.end_stream(PATIENCE);
        ended.send(())
    });
    end.recv_timeout(PATIENCE).expect("nobody waits for the picture, which is never done");
    let summary = shared.progress().outcome.take().unwrap().unwrap();
    assert!(summary.is_end_written && summary.stats.acknowledged_frames == 1, "{summary:?}");
    let totals = lock(&closed).clone();
    assert_eq!((totals.ended_streams, totals.unfinished_streams, totals.acknowledged_stills), (2, 0, 1), "{totals:?}");
    // A camera that comes back opens the same streams at once.
    drop((open(&video, Codec::H264), open(&stills, Codec::Jpeg)));
    drop(busy);
    camera.join().unwrap().unwrap();
}
