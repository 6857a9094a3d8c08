//! Directory, topics, members of groups and diagnosis against real brokers: the embedded one, and Apache Kafka where
//! `LUMENBUS_TEST_KAFKA` names its bootstrap servers.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use lumenbus_bus::objects::{GroupEvent, GroupReader, TopicView};
use lumenbus_bus::topics::{Cluster, DriftKind, Growth, PlanOptions, TopicGroup, apply, check, ensure_topics, plan};
use lumenbus_bus::{BusConfig, BusError, Directory, DirectoryEvent, Role, probe};
use lumenbus_frame::{CameraId, Codec, Epoch, StreamId, StreamName, TopicName};
use lumenbus_wire::{CameraEntry, StreamEntry, StreamState};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{PATIENCE, Site, start_broker};

impl Site {
    /// Writes a record into the directory's topic as somebody else might.
    fn write_raw(&self, key: &[u8], value: &[u8]) {
        let producer: BaseProducer = self.config.client_config(Role::Producer).create().unwrap();
        let topic = self.topic("lumenbus.cameras");
        producer
            .send(BaseRecord::to(topic.as_str()).partition(0).key(key).payload(value))
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(PATIENCE).unwrap();
    }
}

fn camera(id: &str) -> CameraId {
    CameraId::new(id).unwrap()
}

fn stream(name: &str, epoch: u64) -> StreamEntry {
    StreamEntry {
        topic: TopicName::new("raw_video").unwrap(),
        name: StreamName::new(name).unwrap(),
        partition: 3,
        epoch: Epoch(epoch),
        codec: Codec::H264,
        state: StreamState::Live,
        last_seq: None,
        gaps: Vec::new(),
        next_offset: None,
        updated_unix_nanos: 7,
        parameters: None,
        repeat: None,
        moved_from: None,
    }
}

fn id(camera_id: &str, name: &str) -> StreamId {
    StreamId {
        camera: camera(camera_id),
        topic: TopicName::new("raw_video").unwrap(),
        name: StreamName::new(name).unwrap(),
    }
}

fn events(directory: &Directory) -> (Receiver<DirectoryEvent>, lumenbus_bus::DirectoryWatch) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let watch = directory.on_change(Arc::new(move |event| {
        let _ = sender.lock().unwrap().send(event.clone());
    }));
    (receiver, watch)
}

#[test]
fn what_one_directory_writes_another_reads_in_order() {
    for site in Site::all() {
        let writer = Directory::open(&site.config).unwrap();
        let reader = Directory::open_reading(&site.config).unwrap();
        let (seen, _watch) = events(&reader);
        for epoch in 1..=20 {
            writer.put_stream(&camera("gate"), stream("main", epoch)).unwrap();
        }
        writer.update(&camera("gate"), |entry| entry.name = "Gate, north".to_owned()).unwrap();
        reader.sync().unwrap();
        assert_eq!(reader.stream(&id("gate", "main")).unwrap().epoch, Epoch(20));
        assert_eq!(reader.entry(&camera("gate")).unwrap().name, "Gate, north");
        let epochs: Vec<u64> = seen.try_iter().map(|event| event.entry.streams[0].epoch.0).collect();
        assert_eq!(epochs, (1..=20).chain([20]).collect::<Vec<_>>());
        let late = Directory::open_reading(&site.config).unwrap();
        assert_eq!(late.cameras(), reader.cameras());
    }
}

#[test]
fn a_lower_epoch_is_reported_but_does_not_win_and_may_not_be_written() {
    for site in Site::all() {
        let directory = Directory::open(&site.config).unwrap();
        let (seen, _watch) = events(&directory);
        directory.put_stream(&camera("gate"), stream("main", 9)).unwrap();
        let error = directory.put_stream(&camera("gate"), stream("main", 5)).unwrap_err();
        assert!(matches!(error, BusError::Superseded { theirs: Epoch(9), .. }), "{error}");
        let old = CameraEntry { streams: vec![stream("main", 4)], ..CameraEntry::default() };
        site.write_raw(b"gate", &old.encode().unwrap());
        directory.sync().unwrap();
        let late = seen.try_iter().last().unwrap();
        assert_eq!(late.stream(&id("gate", "main")).unwrap().epoch, Epoch(4));
        assert_eq!(directory.stream(&id("gate", "main")).unwrap().epoch, Epoch(9));
    }
}

#[test]
fn foreign_records_are_counted_and_hurt_nobody() {
    for site in Site::all() {
        let directory = Directory::open(&site.config).unwrap();
        for (key, value) in
            [(&b"gate"[..], &b"{}"[..]), (b"not a camera", b""), (b"\xff", b"\x08\x07"), (b"a", b"\x08\x63")]
        {
            site.write_raw(key, value);
        }
        directory.put_stream(&camera("gate"), stream("main", 1)).unwrap();
        assert_eq!(directory.foreign_records(), 4);
        assert_eq!(directory.cameras().len(), 1);
    }
}

#[test]
fn two_publishers_of_one_camera_keep_each_others_streams() {
    for site in Site::all() {
        let directories = [Directory::open(&site.config).unwrap(), Directory::open(&site.config).unwrap()];
        std::thread::scope(|scope| {
            for (number, directory) in directories.iter().enumerate() {
                scope.spawn(move || {
                    for epoch in 1..=10 {
                        directory.put_stream(&camera("gate"), stream(&format!("s{number}"), epoch)).unwrap();
                    }
                });
            }
        });
        for directory in &directories {
            directory.sync().unwrap();
            for name in ["s0", "s1"] {
                assert_eq!(directory.stream(&id("gate", name)).unwrap().epoch, Epoch(10), "{name}");
            }
        }
    }
}

#[test]
fn a_reader_tolerates_a_missing_topic_and_finds_it_later() {
    for site in Site::all() {
        let reader = Directory::open_reading(&site.config).unwrap();
        assert!(reader.cameras().is_empty());
        reader.sync().unwrap();
        let (seen, _watch) = events(&reader);
        Directory::open(&site.config).unwrap().put_stream(&camera("gate"), stream("main", 1)).unwrap();
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap().camera, camera("gate"));
        reader.sync().unwrap();
        assert!(reader.stream(&id("gate", "main")).is_some());
    }
}

/// The marker of a transaction takes an offset that no reader ever gets.
#[test]
fn the_end_is_reached_also_behind_a_transactions_marker() {
    for site in Site::all().into_iter().filter(|site| site.embedded.is_none()) {
        let directory = Directory::open(&site.config).unwrap();
        let mut config = site.config.client_config(Role::Producer);
        config.set("transactional.id", site.topic("writer").as_str());
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        let value = CameraEntry { streams: vec![stream("main", 1)], ..CameraEntry::default() }.encode().unwrap();
        let topic = site.topic("lumenbus.cameras");
        let record = BaseRecord::to(topic.as_str()).partition(0).key("gate").payload(value.as_ref());
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.commit_transaction(PATIENCE).unwrap();
        directory.sync().unwrap();
        assert!(directory.stream(&id("gate", "main")).is_some());
        assert!(Directory::open_reading(&site.config).unwrap().stream(&id("gate", "main")).is_some());
    }
}

#[test]
fn a_callback_that_would_wait_for_itself_is_refused_and_one_that_panics_is_survived() {
    for site in Site::all() {
        let directory = Directory::open(&site.config).unwrap();
        let (sender, receiver) = channel();
        let sender = Mutex::new(sender);
        let weak = directory.clone();
        let watch = directory.on_change(Arc::new(move |_| {
            let refused = weak.sync().is_err() && weak.update(&camera("x"), |_| {}).is_err();
            sender.lock().unwrap().send(refused).unwrap();
        }));
        let panicking = directory.on_change(Arc::new(|_| panic!("a callback of a test")));
        directory.put_stream(&camera("gate"), stream("main", 1)).unwrap();
        assert!(receiver.recv_timeout(PATIENCE).unwrap());
        drop((watch, panicking));
        directory.put_stream(&camera("gate"), stream("main", 2)).unwrap();
        assert!(receiver.try_recv().is_err(), "a dropped watch is called no more");
    }
}

#[test]
fn topics_are_left_alone_when_asked_to() {
    for mut site in Site::all() {
        site.config.keeps_topics_as_they_are = true;
        let error = Directory::open(&site.config).unwrap_err();
        assert!(matches!(error, BusError::UnknownTopic { .. }), "{error}");
        assert!(error.to_string().contains("lumenbus topics apply"), "{error}");
        let cluster = Cluster::open(&site.config).unwrap();
        assert!(cluster.actual(&[site.topic("lumenbus.cameras").as_str()]).unwrap().is_empty());
    }
}

#[test]
fn apply_makes_the_plan_true_and_check_finds_what_differs() {
    for site in Site::all() {
        let cluster = Cluster::open(&site.config).unwrap();
        let options = PlanOptions { frame_partitions: Some(2), ..PlanOptions::default() };
        let wanted = plan(cluster.facts(), &site.config.topic_prefix, &options);
        let names: Vec<&str> = wanted.topics.iter().map(|topic| topic.name.as_str()).collect();
        let missing = check(&wanted, &cluster.actual(&names).unwrap());
        assert!(missing.iter().all(|drift| drift.kind == DriftKind::Missing), "{missing:?}");
        assert_eq!(missing.len(), names.len());

        let applied = apply(&cluster, &wanted, Growth::Keep).unwrap();
        assert_eq!(applied.created, names);
        assert_eq!(applied.remaining, []);
        let again = apply(&cluster, &wanted, Growth::Keep).unwrap();
        assert!(again.created.is_empty() && again.altered.is_empty() && again.remaining.is_empty(), "{again:?}");

        let other = PlanOptions { frame_partitions: Some(3), frame_retention_millis: Some(1_000_000), ..options };
        let other = plan(cluster.facts(), &site.config.topic_prefix, &other);
        let drift = check(&other, &cluster.actual(&names).unwrap());
        let of_video: Vec<_> =
            drift.iter().filter(|d| d.topic == site.topic("raw_video").as_str()).map(|d| d.kind.what()).collect();
        assert_eq!(of_video, ["partitions", "retention.ms"]);
        let kept = apply(&cluster, &other, Growth::Keep).unwrap();
        assert!(kept.altered.contains(&site.topic("raw_video").as_str().to_owned()), "{kept:?}");
        assert!(kept.remaining.iter().all(|drift| drift.kind.what() == "partitions"), "{:?}", kept.remaining);
        let grown = apply(&cluster, &other, Growth::Grow).unwrap();
        assert_eq!(grown.remaining, []);
    }
}

#[test]
fn every_group_of_topics_is_taken_by_the_broker() {
    for site in Site::all() {
        let groups = [TopicGroup::Dicom, TopicGroup::Keys, TopicGroup::Audit].into();
        let options = PlanOptions { groups, frame_partitions: Some(1), ..PlanOptions::default() };
        let cluster = Cluster::open(&site.config).unwrap();
        let wanted = plan(cluster.facts(), &site.config.topic_prefix, &options);
        assert_eq!(apply(&cluster, &wanted, Growth::Keep).unwrap().remaining, []);
    }
}

#[test]
fn ensuring_a_topic_twice_and_at_the_same_time_is_fine() {
    for site in Site::all() {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| ensure_topics(&site.config, &["raw_images", "lumenbus.cameras"]).unwrap());
            }
        });
        let cluster = Cluster::open(&site.config).unwrap();
        let name = site.topic("raw_images");
        let actual = cluster.actual(&[name.as_str()]).unwrap();
        assert_eq!(actual[name.as_str()].partitions, if cluster.facts().is_embedded { 12 } else { 48 });
        assert_eq!(actual[name.as_str()].overrides["message.timestamp.type"], "LogAppendTime");
    }
}

#[test]
fn a_good_broker_is_found_good() {
    for site in Site::all() {
        let facts = probe(&site.config).unwrap();
        assert!(!facts.brokers.is_empty() && facts.cluster_id.is_some(), "{facts:?}");
    }
}

#[test]
fn a_tls_client_is_told_that_the_broker_has_none() {
    for mut site in Site::all() {
        site.config.set_property("security.protocol", "SSL");
        let error = Cluster::open(&site.config).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "LB-E0106", "{error}");
    }
}

#[test]
fn nobody_there_is_said_at_once_by_whatever_is_opened() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = BusConfig::new(free.to_string());
    let expected = format!("no broker at {free}; start one with `lumenbus broker --data DIR` or pass --brokers");
    for error in [
        Directory::open(&config).map(|_| ()).unwrap_err(),
        Directory::open_reading(&config).map(|_| ()).unwrap_err(),
        Cluster::open(&config).map(|_| ()).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.code(), "LB-E0101");
    }
}

#[test]
fn the_directory_survives_its_broker() {
    let Site { config, embedded } = Site::embedded();
    let (broker, folder) = embedded.unwrap();
    let address = broker.addr();
    let directory = Directory::open(&config).unwrap();
    directory.put_stream(&camera("gate"), stream("main", 1)).unwrap();
    broker.shutdown_blocking().unwrap();
    assert!(directory.stream(&id("gate", "main")).is_some(), "what was read stays known");
    let broker = start_broker(folder.path(), address);
    directory.put_stream(&camera("gate"), stream("main", 2)).unwrap();
    assert_eq!(Directory::open_reading(&config).unwrap().cameras(), directory.cameras());
    broker.shutdown_blocking().unwrap();
}

/// Until the group says this; records on the way are left alone.
fn await_event(reader: &GroupReader, what: &str, is_it: impl Fn(&GroupEvent) -> bool) {
    support::wait_for(what, || reader.turn(Duration::from_millis(50)).unwrap().filter(|event| is_it(event)));
}

#[test]
fn a_partition_that_was_paused_when_it_went_is_read_when_it_comes_back() {
    for mut site in Site::all() {
        site.config.set_property("session.timeout.ms", "6000");
        site.config.set_property("heartbeat.interval.ms", "500");
        ensure_topics(&site.config, &["raw_video"]).unwrap();
        let topic = site.topic("raw_video");
        let join = || GroupReader::join(&site.config, topic.clone(), &format!("{topic}-paused"), "none").unwrap();
        let is_assigned = |event: &GroupEvent| matches!(event, GroupEvent::Assigned(_));
        let first = join();
        await_event(&first, "the first member's partitions come", is_assigned);
        first.set_paused(true).unwrap();
        let second = join();
        await_event(&first, "they go when a second one comes", |event| matches!(event, GroupEvent::Revoked(_)));
        // Now there are none that this could be for.
        first.set_paused(false).unwrap();
        drop(second);
        let producer: BaseProducer = site.config.client_config(Role::Producer).create().unwrap();
        let partitions = TopicView::open(&site.config, topic.clone()).unwrap().bounds().unwrap().into_keys();
        let mut unread: BTreeSet<i32> = partitions.collect();
        for &partition in &unread {
            let record = BaseRecord::<str, str>::to(topic.as_str()).partition(partition).payload("x");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        support::wait_for("every partition is read", || {
            if let Some(GroupEvent::Record(record)) = first.turn(Duration::from_millis(50)).unwrap() {
                unread.remove(&record.partition);
            }
            unread.is_empty().then_some(())
        });
    }
}
