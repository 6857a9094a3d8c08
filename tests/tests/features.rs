//! Feature records and events of workers: one of each second, whoever was killed, in the transactions of the results.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_bus::{BusConfig, Publisher, PublisherConfig, StreamOptions, SystemClock};
use lumenbus_codec::{EncoderConfig, encoder};
use lumenbus_frame::{CameraId, CaptureTime, Clock as _, Codec, Dimensions, PixelFormat, RawFrame};
use lumenbus_tests::cli::{Background, BrokerProcess, footage, spawn_at};
use lumenbus_tests::load::{PATIENCE, await_that};
use lumenbus_tests::results::{Judge, RESULTS, committed_reader};
use lumenbus_tests::soak::Dice;
use lumenbus_wire::{CameraEvent, EventKind, Features};
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const FEATURES: &str = "image_features";
const EVENTS: &str = "lumenbus.events";
/// A worker that was killed is missed, and its transaction given up, after this many milliseconds.
const QUICKLY: &str = "-X session.timeout.ms=3000 -X heartbeat.interval.ms=500 -X transaction.timeout.ms=3000";
const KILLS: usize = 2;

/// The committed values of a topic, of which nothing more is written, or is not looked at.
fn committed(brokers: &str, topic: &str) -> Vec<Vec<u8>> {
    let (consumer, partitions) = committed_reader(brokers, topic);
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap() {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut values, mut ended) = (Vec::new(), BTreeSet::new());
    let deadline = Instant::now() + PATIENCE;
    while ended.len() < partitions {
        assert!(Instant::now() < deadline, "{topic} does not end");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => values.push(record.payload().unwrap().to_vec()),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            _ => {}
        }
    }
    values
}

fn features(brokers: &str) -> Vec<Features> {
    committed(brokers, FEATURES).iter().map(|value| Features::decode_json(value).unwrap()).collect()
}

fn events(brokers: &str) -> Vec<CameraEvent> {
    committed(brokers, EVENTS).iter().filter_map(|value| CameraEvent::decode_json(value).unwrap()).collect()
}

fn detect(brokers: &str, more: &str) -> Background {
    spawn_at(brokers, &format!("detect --detector motion --from start --policy lossless --json {more}"))
}

/// By camera, epoch and second: seq of the first and the last frame, and how many.
type Seconds = BTreeMap<(String, u64, i64), (u64, u64, u32)>;

/// What the records say; each second has one.
fn told(features: &[Features]) -> Seconds {
    let mut seconds = Seconds::new();
    for one in features {
        let name = (one.stream.camera.to_string(), one.epoch.0, one.second_unix);
        let known = seconds.insert(name.clone(), (one.first_seq.0, one.last_seq.0, one.frames));
        assert_eq!(known, None, "two records of {name:?}");
    }
    seconds
}

/// What the results say that there should be.
fn wanted(brokers: &str) -> Seconds {
    let mut seconds = Seconds::new();
    for result in Judge::new(brokers).results() {
        let second = result.capture.unix_nanos.div_euclid(1_000_000_000);
        let name = (result.stream.camera.to_string(), result.id.epoch.0, second);
        let seq = result.id.seq.0;
        let found = seconds.entry(name).or_insert((seq, seq, 0));
        *found = (found.0.min(seq), found.1.max(seq), found.2 + 1);
    }
    seconds
}

#[test]
fn a_stream_that_ended_has_a_record_of_each_second_and_nothing_is_added_by_a_second_run() {
    let broker = BrokerProcess::start();
    let publish = "publish test:320x240@25,frames=100 --camera gate --codec h264";
    let _ = spawn_at(broker.address(), publish).finish().code(0);
    let summary = detect(broker.address(), "--until-end").finish().code(0).summary();
    let found = features(broker.address());
    assert_eq!(told(&found), wanted(broker.address()));
    assert_eq!(summary["features"], found.len(), "{summary}");
    assert_eq!(summary["events"], events(broker.address()).len(), "{summary}");
    for one in &found {
        let picture = one.picture.as_ref().unwrap();
        assert_eq!((one.frames, one.group.as_str()), (one.looked_at, "detect-motion"));
        assert!(picture.brightness > 0.1 && picture.contrast > 0.1, "{picture:?}");
    }
    let again = detect(broker.address(), "--until-end").finish().code(0).summary();
    assert_eq!((&again["features"], &again["events"]), (&0.into(), &0.into()), "{again}");
    let other = detect(broker.address(), "--until-end --group other --no-features").finish().code(0).summary();
    assert_eq!((&other["results"], &other["features"]), (&100.into(), &0.into()), "{other}");
    assert_eq!(features(broker.address()).len(), found.len());
}

/// A second is gone on with although thousands of others' records lie behind what the last owner wrote of it.
#[test]
fn a_second_is_found_behind_many_records_of_others() {
    const OTHERS: usize = 9_000;
    let broker = BrokerProcess::start();
    let brokers = broker.address();
    let publisher = Publisher::open(PublisherConfig::new(BusConfig::new(brokers))).unwrap();
    let camera = CameraId::new("gate").unwrap();
    let stream = publisher.main_stream(camera, "raw_video", StreamOptions::new(Codec::Jpeg)).unwrap();
    let mut encoder = encoder(&EncoderConfig::new(Codec::Jpeg)).unwrap();
    let second = SystemClock.unix_nanos() / 1_000_000_000;
    let mut send = |millis: std::ops::Range<i64>| {
        for at in millis.step_by(50) {
            let capture = CaptureTime::sensor(second * 1_000_000_000 + at * 1_000_000);
            let pixels = vec![100; 64 * 48].into();
            let picture = RawFrame::new(PixelFormat::Gray8, Dimensions::new(64, 48), pixels, capture).unwrap();
            let mut coded = Vec::new();
            encoder.encode(&picture, &mut coded).unwrap();
            for frame in coded {
                stream.submit(frame).unwrap();
            }
        }
    };
    send(0..500);
    let worker = detect(brokers, "");
    worker.wait_for_line("ready");
    let judge = Judge::new(brokers);
    await_that("results", || judge.counts().len() == 10);
    let _ = worker.interrupt().code(0);
    let (reader, partitions) = committed_reader(brokers, RESULTS);
    let end_of = |partition: &i32| reader.fetch_watermarks(RESULTS, *partition, PATIENCE).unwrap().1;
    let partition = (0..i32::try_from(partitions).unwrap()).find(|partition| end_of(partition) > 0).unwrap();
    let others: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    // Of a form that is none of ours: what they are is not looked at.
    for topic in [RESULTS, FEATURES] {
        for _ in 0..OTHERS {
            let record = BaseRecord::<str, str>::to(topic).partition(partition).key("other").payload("{}");
            others.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    others.flush(PATIENCE).unwrap();
    send(500..1_100);
    let worker = detect(brokers, "");
    let found = || {
        let values = committed(brokers, FEATURES);
        let read = values.iter().filter(|value| *value != b"{}");
        read.map(|value| Features::decode_json(value).unwrap()).collect::<Vec<_>>()
    };
    await_that("the second is written", || !found().is_empty());
    let _ = worker.interrupt().code(0);
    let [one] = &found()[..] else { panic!("{:?}", found()) };
    assert_eq!((one.first_seq.0, one.last_seq.0, one.frames), (0, 19, 20), "{one:?}");
}

#[test]
fn whoever_is_killed_each_second_has_one_record_and_each_event_is_there_once() {
    let broker = BrokerProcess::start();
    let brokers = broker.address();
    let camera = |number| {
        spawn_at(brokers, &format!("publish test:160x120@5 --camera camera-{number} --codec h264 --gop 600ms"))
    };
    // People who walk through a yard: somebody is in view from its first second on.
    let people = footage("vtest_768x576.mp4")
        .map(|clip| spawn_at(brokers, &format!("publish {} --camera people", clip.display())));
    let has_people = people.is_some();
    let cameras: Vec<_> = (0..2).map(camera).chain(people).collect();
    cameras.iter().for_each(|camera| camera.wait_for_word("publishing"));
    let mut dice = Dice(0x5eed);
    let mut worker = detect(brokers, QUICKLY);
    worker.wait_for_line("ready");
    let judge = Judge::new(brokers);
    for _ in 0..KILLS {
        let enough = judge.counts().len() + 1 + usize::try_from(dice.below(20)).unwrap();
        await_that("the worker writes results", || judge.counts().len() >= enough);
        worker.signal(Signal::KILL);
        drop(worker.finish());
        worker = detect(brokers, QUICKLY);
    }
    for (number, camera) in cameras.into_iter().enumerate() {
        let ended = camera.interrupt();
        // A file that is not over yet ends with 130.
        if number < 2 {
            let _ = ended.code(0);
        }
    }
    // The last second is written when the stream's end has come; what is committed then is all there will be.
    let deadline = Instant::now() + PATIENCE;
    let has_all = || told(&features(brokers)) == wanted(brokers);
    while !has_all() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
    }
    let summary = worker.interrupt().code(0).summary();
    let (told, wanted) = (told(&features(brokers)), wanted(brokers));
    let differing: Vec<_> = wanted.iter().filter(|(name, second)| told.get(*name) != Some(second)).collect();
    let theirs: Vec<_> = differing.iter().map(|(name, _)| told.get(*name)).collect();
    assert!(differing.is_empty(), "{differing:?} are told as {theirs:?}: {summary}");
    assert_eq!(told.len(), wanted.len());
    let mut ids = BTreeSet::new();
    let mut open = BTreeSet::new();
    for event in events(brokers) {
        assert!(ids.insert(event.id), "twice: {event:?}");
        let EventKind::Presence { class, .. } = &event.kind else { continue };
        let name = (event.stream.camera.to_string(), class.to_string());
        let is_in_turn = if event.kind.state() == "begin" { open.insert(name) } else { open.remove(&name) };
        assert!(is_in_turn, "begin and end by turns: {event:?}");
    }
    assert!(!has_people || !ids.is_empty(), "nobody was seen");
    assert!(open.is_empty(), "a stream that ended leaves nobody behind: {open:?}");
}
