//! A topic that grows under its readers: on the embedded broker, and on Apache Kafka where `LUMENBUS_TEST_KAFKA` names its
//! bootstrap servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use lumenbus_bus::subscriber::Event;
use lumenbus_bus::topics::{Cluster, Growth, PlanOptions, TopicGroup, apply, plan};
use lumenbus_bus::{BusConfig, StreamOptions, Subscriber, SubscriberConfig};
use lumenbus_frame::Codec;
use std::time::{Duration, Instant};
use support::{PATIENCE, Site, keyframe};

const FRAMES: usize = 20;

fn frames_topics(bus: &BusConfig, partitions: u32) {
    let cluster = Cluster::open(bus).unwrap();
    let groups = [TopicGroup::Frames, TopicGroup::Bus].into();
    let options = PlanOptions { groups, frame_partitions: Some(partitions), ..PlanOptions::default() };
    apply(&cluster, &plan(cluster.facts(), &bus.topic_prefix, &options), Growth::Grow).unwrap();
}

#[test]
fn a_reader_without_a_group_sees_partitions_that_are_added() {
    Site::all().iter().for_each(grow);
}

fn grow(site: &Site) {
    frames_topics(&site.config, 3);
    let mut config = SubscriberConfig::new(site.config.clone(), vec![site.topic("raw_video")]);
    config.consumers = 2;
    let mut subscriber = Subscriber::open(config).unwrap();
    assert_eq!(subscriber.assigned_partitions(), 3);

    frames_topics(&site.config, 6);
    let publisher = site.publisher();
    for partition in 3..6_u32 {
        let options = StreamOptions { partition: Some(partition), ..StreamOptions::new(Codec::H264) };
        let stream = publisher.main_stream(format!("gate-{partition}").parse().unwrap(), "raw_video", options).unwrap();
        for _ in 0..FRAMES {
            stream.submit(keyframe(4)).unwrap();
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
