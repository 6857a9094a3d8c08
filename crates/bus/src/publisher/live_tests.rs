//! What only the inside can provoke, against the embedded broker.

use super::*;
use crate::control::{Asked, CONTROL, ControlSender, JoinAid, KEYFRAME_REST, REPEAT_REST};
use crate::directory::reader_config;
use crate::subscriber::{CameraFilter, Subscriber, SubscriberConfig};
use crate::topics::ensure_topics;
use bytes::Bytes;
use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, ManualClock};
use lumenbus_lanes::Admission;
use lumenbus_wire::ControlRequest;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(90);

fn site() -> (RunningBroker, tempfile::TempDir, Publisher) {
    let folder = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new(folder.path()).listen(([127, 0, 0, 1], 0).into());
    let broker = Broker::start_blocking(config).unwrap();
    let publisher = Publisher::open(PublisherConfig::new(BusConfig::new(broker.bootstrap_servers()))).unwrap();
    (broker, folder, publisher)
}

fn stream(publisher: &Publisher, camera: &str) -> StreamHandle {
    publisher.main_stream(CameraId::new(camera).unwrap(), "raw_video", StreamOptions::new(Codec::H264)).unwrap()
}

fn frame(is_keyframe: bool) -> EncodedFrame {
    let capture = CaptureTime::arrival(SystemClock.unix_nanos());
    let mut frame = EncodedFrame::new(Codec::H264, capture, Bytes::from(vec![1; 2_000]));
    frame.is_keyframe = is_keyframe;
    frame
}

#[test]
fn a_client_that_failed_for_good_is_replaced_and_streams_go_on_under_new_epochs() {
    let (_broker, _folder, publisher) = site();
    let (sender, changed) = std::sync::mpsc::channel();
    let _watch = publisher.hub.directory.on_change(Arc::new(move |_| {
        let _ = sender.send(());
    }));
    let handles: Vec<_> = ["a", "b"].map(|camera| stream(&publisher, camera)).into();
    let before: Vec<_> = handles.iter().map(StreamHandle::epoch).collect();
    for n in 0..100 {
        for handle in &handles {
            handle.submit(frame(n % 10 == 0)).unwrap();
        }
        if n == 50 {
            assert!(handles.iter().all(|handle| handle.flush(PATIENCE)));
            publisher.hub.client_failed("provoked by a test");
        }
    }
    for (handle, before) in handles.into_iter().zip(before) {
        handle.stream.wait_until(PATIENCE, |core| core.epoch() > before && core.is_drained());
        assert!(handle.epoch() > before);
        // An epoch without frames yet may get ahead of its entry; frames never do.
        let is_known = || publisher.hub.directory.stream(handle.id()).unwrap().epoch == handle.epoch();
        while !is_known() {
            changed.recv_timeout(PATIENCE).expect("the new epoch comes into the directory");
        }
        let summary = handle.finish(PATIENCE).unwrap();
        let stats = &summary.stats;
        assert!(summary.is_end_written && summary.unresolved_frames == 0, "{summary:?}");
        assert_eq!(stats.submitted_frames, 100);
        assert_eq!(stats.acknowledged_frames + stats.dropped_frames(), 100);
        assert!(stats.acknowledged_frames >= 50, "{stats:?}");
    }
    assert_eq!(publisher.stats().replaced_clients, 1);
}

#[test]
fn a_small_window_is_shared_by_all_streams() {
    let (broker, _folder, first) = site();
    drop(first);
    let mut config = PublisherConfig::new(BusConfig::new(broker.bootstrap_servers()));
    (config.stream_window_bytes, config.window_bytes) = (10_000, 12_000);
    let publisher = Publisher::open(config).unwrap();
    let handles: Vec<_> = (0..6).map(|n| stream(&publisher, &format!("camera-{n}"))).collect();
    for n in 0..60 {
        for handle in &handles {
            handle.submit(frame(n % 10 == 0)).unwrap();
            assert!(publisher.hub.total.used_bytes() <= 12_000);
        }
    }
    let summaries = publisher.close(PATIENCE);
    assert_eq!(summaries.len(), 6);
    assert!(summaries.iter().all(|summary| summary.is_end_written && summary.stats.acknowledged_frames == 60));
}

#[test]
fn an_entry_that_somebody_overwrote_is_written_again() {
    let (broker, _folder, publisher) = site();
    let handle = stream(&publisher, "gate-7");
    let ours = handle.epoch();
    let other = Directory::open(&BusConfig::new(broker.bootstrap_servers())).unwrap();
    let read_again = Arc::new((std::sync::Mutex::new(0), std::sync::Condvar::new()));
    let seen = Arc::clone(&read_again);
    let id = handle.id().clone();
    let _watch = other.on_change(Arc::new(move |event| {
        if event.stream(&id).is_some_and(|stream| stream.epoch == ours) {
            *lock(&seen.0) += 1;
            seen.1.notify_all();
        }
    }));
    other.update(&handle.id().camera, |entry| entry.streams.clear()).unwrap();
    let count = lock(&read_again.0);
    let (count, _) = read_again.1.wait_timeout_while(count, PATIENCE, |count| *count == 0).unwrap();
    assert!(*count > 0, "the entry came back");
}

#[test]
fn a_keyframe_that_was_dropped_answers_nobody() {
    let (broker, _folder, first) = site();
    drop(first);
    let mut config = PublisherConfig::new(BusConfig::new(broker.bootstrap_servers()));
    let clock = Arc::new(ManualClock::at(SystemClock.unix_nanos()));
    (config.lane_bytes, config.clock) = (20_000, clock.clone());
    let publisher = Publisher::open(config).unwrap();
    let handle = stream(&publisher, "gate-7");
    handle.answer_keyframe_requests().unwrap();
    let ask = || publisher.hub.ask_keyframe(handle.id());
    let large = EncodedFrame { payload: Bytes::from(vec![1; 20_000]), ..frame(true) };
    assert!(matches!(handle.submit(large).unwrap(), Admission::Dropped(..)));
    assert_eq!(ask(), Some(Asked::Open));
    assert!(handle.needs_keyframe());
    assert!(matches!(handle.submit(frame(true)).unwrap(), Admission::Queued(_)));
    assert_eq!((handle.take_keyframe_request(), ask()), (false, Some(Asked::JustGiven)));
    assert!(!handle.needs_keyframe());
    clock.advance(KEYFRAME_REST);
    assert_eq!(ask(), Some(Asked::Open));
}

/// The streams of the first so many requests.
fn requests(bus: &BusConfig, count: usize) -> Vec<StreamId> {
    let consumer: BaseConsumer = reader_config(bus).set("enable.partition.eof", "false").create().unwrap();
    let mut control = TopicPartitionList::new();
    control.add_partition_offset(CONTROL, 0, Offset::Beginning).unwrap();
    consumer.assign(&control).unwrap();
    let next = |_| {
        let record = consumer.poll(PATIENCE).expect("a request comes").unwrap();
        let request = ControlRequest::decode(record.payload().unwrap()).unwrap();
        let camera = CameraId::new(std::str::from_utf8(record.key().unwrap()).unwrap()).unwrap();
        StreamId { camera, topic: request.topic, name: request.stream }
    };
    (0..count).map(next).collect()
}

#[test]
fn a_reader_asks_for_keyframes_before_its_first_frame_comes() {
    let (broker, _folder, publisher) = site();
    let handle = stream(&publisher, "gate-7");
    let stills = StreamOptions::new(Codec::Jpeg);
    let stills = publisher.main_stream(CameraId::new("stills").unwrap(), "raw_video", stills).unwrap();
    let bus = BusConfig::new(broker.bootstrap_servers());
    ensure_topics(&bus, &[CONTROL]).unwrap();
    let subscriber = Subscriber::open(SubscriberConfig::new(bus.clone(), vec![handle.id().topic.clone()])).unwrap();
    let clock = Arc::new(ManualClock::at(SystemClock.unix_nanos()));
    let sender = Arc::new(ControlSender::with_clock(&bus, "a test", clock.clone()).unwrap());
    let mut aid = JoinAid::new(Arc::clone(&sender), Arc::new(SystemClock));
    assert_eq!(aid.begin(&subscriber), 1, "no still needs a keyframe");
    assert_eq!(aid.begin(&subscriber), 0, "once in a while");
    assert!(sender.request_keyframe(stills.id()), "of that nothing was asked");
    let asked = requests(&bus, 2);
    assert!(asked.contains(handle.id()) && asked.contains(stills.id()), "{asked:?}");
    clock.advance(REPEAT_REST);
    let mut config = SubscriberConfig::new(bus, vec![handle.id().topic.clone()]);
    config.cameras = CameraFilter::new(["other"]).unwrap();
    let other = Subscriber::open(config).unwrap();
    assert_eq!(JoinAid::new(sender, Arc::new(SystemClock)).begin(&other), 0, "who does not read it does not ask");
}
