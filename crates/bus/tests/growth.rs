//! A topic that grows under its readers: on Apache Kafka, where `LUMENBUS_TEST_KAFKA` names its bootstrap servers (the
//! embedded broker adds no partitions).

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use bytes::Bytes;
use lumenbus_bus::subscriber::Event;
use lumenbus_bus::topics::{Cluster, Growth, PlanOptions, TopicGroup, apply, plan};
use lumenbus_bus::{
    BusConfig, Publisher, PublisherConfig, StreamOptions, Subscriber, SubscriberConfig, SystemClock, TopicPrefix,
};
use lumenbus_frame::{CaptureTime, Clock as _, Codec, EncodedFrame};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const FRAMES: usize = 20;

fn frames_topics(bus: &BusConfig, partitions: u32) {
    let cluster = Cluster::open(bus).unwrap();
    let groups = [TopicGroup::Frames, TopicGroup::Bus].into();
    let options = PlanOptions { groups, frame_partitions: Some(partitions), ..PlanOptions::default() };
    apply(&cluster, &plan(cluster.facts(), &bus.topic_prefix, &options), Growth::Grow).unwrap();
}

#[test]
fn a_reader_without_a_group_sees_partitions_that_are_added() {
    let Some(brokers) = std::env::var("LUMENBUS_TEST_KAFKA").ok().filter(|brokers| !brokers.is_empty()) else {
        eprintln!("SKIPPED: Apache Kafka; name its bootstrap servers in LUMENBUS_TEST_KAFKA");
        return;
    };
    let mut bus = BusConfig::new(brokers);
    bus.topic_prefix = TopicPrefix::new(&format!("g{}.", std::process::id())).unwrap();
    frames_topics(&bus, 3);
    let mut config = SubscriberConfig::new(bus.clone(), vec![bus.topic_prefix.topic("raw_video")]);
    config.consumers = 2;
    let mut subscriber = Subscriber::open(config).unwrap();
    assert_eq!(subscriber.assigned_partitions(), 3);

    frames_topics(&bus, 6);
    let publisher = Publisher::open(PublisherConfig::new(bus)).unwrap();
    for partition in 3..6_u32 {
        let options = StreamOptions { partition: Some(partition), ..StreamOptions::new(Codec::H264) };
        let stream = publisher.main_stream(format!("gate-{partition}").parse().unwrap(), "raw_video", options).unwrap();
        for _ in 0..FRAMES {
            let capture = CaptureTime::arrival(SystemClock.unix_nanos());
            stream.submit(EncodedFrame::new(Codec::H264, capture, Bytes::from_static(b"unit")).keyframe()).unwrap();
        }
        stream.finish(PATIENCE).unwrap();
    }
    let (mut frames, mut ends, start) = (0, 0, Instant::now());
    while ends < 3 {
        assert!(start.elapsed() < PATIENCE, "{frames} frames and {ends} of 3 ends came");
        match subscriber.recv(Duration::from_secs(1)).unwrap() {
            Some(Event::Frame(_)) => frames += 1,
            Some(Event::End { .. }) => ends += 1,
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    assert_eq!((frames, subscriber.assigned_partitions()), (3 * FRAMES, 6));
    drop(publisher.close(PATIENCE));
}
