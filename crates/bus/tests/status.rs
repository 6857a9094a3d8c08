//! Status and rights of real clusters: the embedded broker, and Apache Kafka where `LUMENBUS_TEST_KAFKA` names its
//! bootstrap servers.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use lumenbus_bus::rights::{Needs, Verdict, rights};
use lumenbus_bus::status::{ClusterStatus, GroupStatus, StatusConfig, StatusReader};
use lumenbus_bus::subscriber::{Event, Start};
use lumenbus_bus::topics::ensure_topics;
use lumenbus_bus::{Publisher, PublisherConfig, Role, Subscriber, SubscriberConfig};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::time::{Duration, Instant};
use support::{PATIENCE, Site, keyframe, start_broker, video, wait_for};

impl Site {
    fn group(&self) -> String {
        format!("{}readers", self.config.topic_prefix.as_str())
    }

    fn publish(&self, frames: usize, bytes: usize) {
        let mut config = PublisherConfig::new(self.config.clone());
        // What topics there are is looked at.
        config.index = false;
        let publisher = Publisher::open(config).unwrap();
        let stream = video(&publisher);
        for _ in 0..frames {
            stream.submit(keyframe(bytes)).unwrap();
        }
        stream.finish(PATIENCE).unwrap();
        drop(publisher.close(PATIENCE));
    }

    /// Reads that many frames in the group and commits.
    fn read(&self, frames: usize) {
        let mut config = SubscriberConfig::new(self.config.clone(), vec![self.topic("raw_video")]);
        config.group = Some(self.group());
        config.start = Start::Earliest;
        let mut subscriber = Subscriber::open(config).unwrap();
        let (mut got, start) = (0, Instant::now());
        while got < frames {
            assert!(start.elapsed() < PATIENCE, "{got} of {frames} frames came");
            got += usize::from(matches!(subscriber.recv(Duration::from_secs(1)).unwrap(), Some(Event::Frame(_))));
        }
        subscriber.commit().unwrap();
        subscriber.close();
    }

    fn reader(&self) -> StatusReader {
        StatusReader::open(StatusConfig::new(self.config.clone())).unwrap()
    }

    /// What a cluster that others use as well says of our group.
    fn our_group(&self, reader: &mut StatusReader, cluster: &ClusterStatus) -> GroupStatus {
        wait_for("the group's listing", || {
            let groups = reader.groups(cluster).unwrap();
            groups.into_iter().find(|group| group.group == self.group())
        })
    }
}

#[test]
fn a_cluster_tells_its_brokers_partitions_and_offsets() {
    for site in Site::all() {
        site.publish(20, 10_000);
        let mut reader = site.reader();
        for _ in 0..2 {
            let cluster = reader.cluster().unwrap();
            assert_eq!(cluster.is_embedded, site.embedded.is_some());
            assert!(!cluster.brokers.is_empty() && cluster.cluster_id.is_some());
            assert_eq!((cluster.under_replicated_partitions(), cluster.offline_partitions()), (0, 0));
            let names: Vec<_> = cluster.topics.iter().map(|topic| topic.name.clone()).collect();
            let expected = [site.topic("raw_video"), site.topic("lumenbus.cameras")].map(|name| name.to_string());
            assert_eq!(names, expected, "what does not exist is left out");
            let video = &cluster.topics[0];
            // 20 frames and the end.
            assert_eq!(video.records(), 21);
            assert!(
                video.partitions.iter().all(|partition| partition.leader.is_some() && partition.end_offset.is_some())
            );
        }
    }
}

#[test]
fn a_topic_is_estimated_by_some_of_its_records() {
    for site in Site::all() {
        site.publish(200, 10_000);
        let mut reader = site.reader();
        let cluster = reader.cluster().unwrap();
        let mut usage = reader.usage(&cluster);
        for _ in 0..4 {
            usage = reader.usage(&cluster);
        }
        let video = usage.iter().find(|usage| usage.topic == site.topic("raw_video").as_str()).unwrap();
        assert!(video.is_estimate && video.records == 201);
        assert!((9_000.0..10_400.0).contains(&video.mean_record_bytes), "{video:?}");
        assert!((1_800_000..2_100_000).contains(&video.estimated_bytes), "{video:?}");
        assert!(video.append_span_millis.is_some_and(|millis| (0..600_000).contains(&millis)), "{video:?}");
        assert!(reader.usage(&cluster).iter().all(|usage| usage.sampled_records <= 256));
    }
}

#[test]
fn a_group_tells_how_far_behind_it_is_and_for_how_long() {
    for site in Site::all() {
        site.publish(10, 1_000);
        site.read(10);
        let mut reader = site.reader();
        let cluster = reader.cluster().unwrap();
        let group = site.our_group(&mut reader, &cluster);
        assert!(group.lag_records() <= 1, "at most the end is left: {group:?}");
        assert_eq!(group.members, Some(0));

        site.publish(30, 1_000);
        let cluster = reader.cluster().unwrap();
        let group = site.our_group(&mut reader, &cluster);
        assert!((31..=32).contains(&group.lag_records()), "{group:?}");
        let age = group.age_millis().unwrap();
        assert!((0..600_000).contains(&age), "{age} ms");
        let behind = group.partitions.iter().find(|partition| partition.lag > Some(0)).unwrap();
        assert_eq!(behind.end, Some(behind.committed + behind.lag.unwrap()));
        // Asked again, the age comes from memory and grows.
        assert!(site.our_group(&mut reader, &cluster).age_millis().unwrap() >= age);
    }
}

#[test]
fn a_reader_outlives_a_broker_that_is_away() {
    let mut site = Site::embedded();
    site.publish(5, 1_000);
    let mut config = StatusConfig::new(site.config.clone());
    config.patience = Duration::from_secs(2);
    let mut reader = StatusReader::open(config).unwrap();
    let cluster = reader.cluster().unwrap();
    let (broker, folder) = site.embedded.take().unwrap();
    let listen = broker.bootstrap_servers().parse().unwrap();
    broker.shutdown_blocking().unwrap();
    reader.cluster().unwrap_err();
    assert_eq!(reader.usage(&cluster).len(), cluster.topics.len(), "what is not answered is left out");
    assert!(reader.groups(&cluster).is_err());

    let _broker = start_broker(folder.path(), listen);
    wait_for("the broker's return", || reader.cluster().ok());
}

#[test]
fn rights_are_found_and_nothing_is_left_behind() {
    for site in Site::all() {
        ensure_topics(&site.config, &["raw_video", "lumenbus.cameras", "lumenbus.control"]).unwrap();
        let mut needs = Needs::default();
        needs.writes = vec![site.topic("raw_video"), site.topic("raw_pixels")];
        needs.reads = vec![site.topic("raw_video")];
        needs.group = Some(site.group());
        let found = rights(&site.config, &needs).unwrap();
        let verdict = |operation: &str, resource: String| {
            let right = found.iter().find(|right| right.operation == operation && right.resource == resource);
            right.unwrap_or_else(|| panic!("{operation} {resource} is not in {found:#?}")).verdict.clone()
        };
        let topic = |base: &str| format!("topic {}", site.topic(base));
        for (operation, resource) in [
            ("Describe", topic("raw_video")),
            ("DescribeConfigs", topic("raw_video")),
            ("Read", topic("raw_video")),
            ("Write", topic("raw_video")),
            ("Write", topic("lumenbus.cameras")),
            ("Read", topic("lumenbus.cameras")),
            ("Create", topic("raw_pixels")),
            ("Create", topic("lumenbus.index")),
            ("Read", topic("lumenbus.control")),
            ("Write", topic("lumenbus.control")),
            ("Read", format!("group {}", site.group())),
        ] {
            assert_eq!(verdict(operation, resource.clone()), Verdict::Allowed, "{operation} {resource}");
        }
        for (operation, base) in [("Write", "raw_pixels"), ("Read", "lumenbus.index"), ("Write", "lumenbus.index")] {
            assert!(matches!(verdict(operation, topic(base)), Verdict::Unknown { .. }), "{operation} {base}");
        }
        let optional: Vec<_> = found.iter().filter(|right| right.is_optional).collect();
        assert_eq!(optional.len(), 7, "{optional:#?}");
        assert!(optional.iter().all(|right| ["index", "control"].iter().any(|base| right.resource.ends_with(base))));

        let mut reader = site.reader();
        let cluster = reader.cluster().unwrap();
        assert_eq!(cluster.topics.len(), 3, "no topic was created");
        assert_eq!(cluster.topics.iter().map(lumenbus_bus::status::TopicStatus::records).sum::<u64>(), 0);
        let mut client = site.config.client_config(Role::Admin);
        client.set("group.id", site.group());
        let consumer: BaseConsumer = client.create().unwrap();
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_range(site.topic("raw_video").as_str(), 0, 11);
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        assert!(committed.elements().iter().all(|element| element.offset() == rdkafka::Offset::Invalid));
    }
}
