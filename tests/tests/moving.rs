//! The guide's page on moving to Kafka: its commands and its MirrorMaker file, from the embedded broker to Apache Kafka.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::backend::{Kind, Site};
use lumenbus_tests::cli::{Background, BrokerProcess, Ran, lumenbus};
use lumenbus_tests::document::{Document, words};
use lumenbus_tests::judges::{Jvm, Program};
use lumenbus_tests::stored::stored;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAGE: &str = "docs/guide/from-embedded-to-kafka.md";
const BOX: &str = "box:9092";
const KAFKA: &str = "kafka-1:9092";
/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at a group or a copy in progress, which tell nobody how far they are.
const POLL: Duration = Duration::from_millis(200);

/// The part of the page below the heading that begins so.
fn section(heading: &str) -> Document {
    let page = Document::read(PAGE);
    let mut parts = page.text.split("\n## ");
    let text = parts.find(|part| part.starts_with(heading)).unwrap_or_else(|| panic!("{PAGE}: no {heading}"));
    Document { text: text.to_owned(), path: page.path }
}

/// Both brokers, a folder, and what goes before the names of topics.
struct Move {
    old: BrokerProcess,
    new: Site,
    folder: TempDir,
    prefix: String,
}

impl Move {
    fn new() -> Option<Self> {
        let new = Site::together(Kind::Kafka1)?;
        let folder = tempfile::tempdir().unwrap();
        Some(Self { old: BrokerProcess::start(), new, folder, prefix: String::new() })
    }

    fn there(&self, text: &str) -> String {
        text.replace(BOX, self.old.address()).replace(KAFKA, &self.new.bus.brokers)
    }

    /// Types a command of the page.
    fn start(&self, typed: &str) -> Background {
        let ours = typed.strip_prefix("lumenbus ").unwrap_or_else(|| panic!("nobody checks: {typed}"));
        let mut command = lumenbus(words(&self.there(ours)));
        command.current_dir(self.folder.path()).env("LUMENBUS_TOPIC_PREFIX", &self.prefix);
        Background::start(command)
    }

    #[track_caller]
    fn run(&self, typed: &str) -> Ran {
        self.start(typed).finish().code(0)
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn epoch(value: &Value) -> u64 {
    value["epoch"].as_str().unwrap().parse().unwrap()
}

/// (epoch, seq) of every frame that was told, in order.
fn frames(ran: &Ran) -> Vec<(u64, u64)> {
    ran.objects("frame").iter().map(|frame| (epoch(frame), number(&frame["seq"]))).collect()
}

/// A reader's books of the one stream that it read agree with the publisher's.
fn assert_adds_up(published: &Ran, read: &Ran) {
    let (publisher, reader) = (published.summary(), read.summary());
    let streams = reader["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 1, "{reader}");
    let stream = &streams[0];
    let missing: u64 = stream["missing"].as_object().unwrap().values().map(number).sum();
    assert_eq!(number(&publisher["published"]), number(&stream["frames"]) + missing, "{publisher}\n{reader}");
    assert_eq!((number(&stream["unexplained"]), number(&stream["open_gaps"])), (0, 0), "{reader}");
    assert_eq!((number(&reader["records"]["repeats"]), number(&reader["records"]["fenced"])), (0, 0), "{reader}");
    let read = frames(read);
    let epoch = epoch(&publisher);
    assert!(read.is_sorted_by(|a, b| a < b) && read.iter().all(|frame| frame.0 == epoch), "{reader}");
    assert_eq!(read.len() as u64, number(&stream["frames"]));
    // Nothing is dropped here: memory holds whatever a slow machine leaves waiting.
    assert_eq!((read.first(), missing), (Some(&(epoch, 0)), 0), "{reader}");
}

#[test]
fn a_switch_loses_and_doubles_nothing() {
    let Some(mut moving) = Move::new() else { return };
    moving.prefix = moving.new.bus.topic_prefix.as_str().to_owned();
    let commands = section("Way A").commands();
    let [publish_old, apply, publish_new, wait, drain, go_on] = &commands[..] else { panic!("{commands:?}") };

    // What runs today is there, and has frames.
    moving.run(&apply.replace(KAFKA, BOX));
    let old = moving.start(publish_old);
    moving.run(&wait.replace(KAFKA, BOX));
    moving.run(apply);
    let new = moving.start(publish_new);
    moving.run(wait);
    let old = old.interrupt().code(0);
    let drained = moving.run(drain);
    assert_eq!(drained.objects("end").len(), 1);
    assert_adds_up(&old, &drained);

    let reader = moving.start(go_on);
    reader.wait_for_lines("\"type\":\"frame\"", 60);
    let new = new.interrupt().code(0);
    reader.wait_for_objects(1, |object| object["type"] == "end");
    let went_on = reader.interrupt().code(0);
    assert_adds_up(&new, &went_on);
    assert!(epoch(&new.summary()) > epoch(&old.summary()), "an epoch that begins later is higher");
    assert_eq!(went_on.objects("frame")[0]["keyframe"], true);

    let told: BTreeSet<_> = frames(&drained).into_iter().chain(frames(&went_on)).collect();
    let published = number(&old.summary()["published"]) + number(&new.summary()["published"]);
    assert_eq!(told.len() as u64, published);
    let files = stored(&moving.folder.path().join("archive"));
    let files: BTreeSet<_> = files.into_iter().map(|(_, id)| (id.epoch.0, id.seq.0)).collect();
    assert_eq!(files, told, "every frame is in the archive, as one file");
}

/// The page's file, for a cluster of one node and a test that waits for it.
fn mirror(moving: &Move) -> Background {
    let blocks = section("Way B").blocks_of("properties");
    let [file] = &blocks[..] else { panic!("{PAGE}: one properties file, please") };
    let settings =
        moving.there(&file.content).replace("factor = 3", "factor = 1").replace("seconds = 10", "seconds = 1");
    let path = moving.folder.path().join("mirror.properties");
    std::fs::write(&path, settings + "plugin.discovery = service_load\nlisteners = http://127.0.0.1:0\n").unwrap();
    Program::new("org.apache.kafka.connect.mirror.MirrorMaker").args([path]).start()
}

/// Waits until a group stands on these brokers, and at this offset where one is given. MirrorMaker says nothing of it.
fn wait_for_group(brokers: &str, group: &str, partition: i32, at: Option<i64>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition("raw_video", partition);
        let offset =
            consumer.committed_offsets(list, POLL * 20).ok().and_then(|list| match list.elements()[0].offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            });
        if offset.is_some() && at.is_none_or(|at| offset == Some(at)) {
            return;
        }
        assert!(Instant::now() < deadline, "{group} stands at {offset:?}, not at {at:?}");
        std::thread::sleep(POLL);
    }
}

/// Of a summary's streams all but ages.
fn streams(ran: &Ran) -> Vec<Value> {
    let mut streams = ran.summary()["streams"].as_array().unwrap().clone();
    streams.iter_mut().for_each(|stream| stream["live_age_ms"] = Value::Null);
    streams
}

fn read_as(moving: &Move, group: &str, brokers: &str, until: &str) -> Ran {
    moving.run(&format!("lumenbus subscribe --group {group} --from start {until} --json --brokers {brokers}"))
}

#[test]
fn mirror_maker_copies_frames_and_groups() {
    let Some(_java) = Jvm::start() else { return };
    let Some(moving) = Move::new() else { return };
    let publish = "lumenbus publish test:320x240@30,frames=90 --camera gate --unpaced --json --brokers";
    let first = moving.run(&format!("{publish} {BOX}"));
    let begun = read_as(&moving, "halfway", BOX, "--frames 40");
    let all = read_as(&moving, "done", BOX, "--until-end");
    assert_adds_up(&first, &all);
    let last = all.objects("frame").pop().unwrap();
    let partition = i32::try_from(last["partition"].as_i64().unwrap()).unwrap();

    let mirroring = mirror(&moving);
    let end = last["offset"].as_i64().unwrap() + 2;
    wait_for_group(&moving.new.bus.brokers, "done", partition, Some(end));
    wait_for_group(&moving.new.bus.brokers, "halfway", partition, None);
    drop(mirroring);

    let checks = section("Checking").commands();
    let [old, new] = &checks[..] else { panic!("{checks:?}") };
    let (old, new) = (moving.run(old), moving.run(new));
    // With identity, place and the time of the first append.
    assert_eq!(old.objects("frame"), new.objects("frame"));
    assert_eq!(streams(&old), streams(&new));
    assert_adds_up(&first, &new);

    let mended = section("Way B").commands();
    let [apply] = &mended[..] else { panic!("{mended:?}") };
    moving.run(apply);
    moving.run(&apply.replace("apply", "check"));

    let second = moving.run(&format!("{publish} {KAFKA}"));
    let (first, second) = (epoch(&first.summary()), epoch(&second.summary()));
    assert!(second > first);
    let later = |from: u64| (from..90).map(move |seq| (first, seq)).chain((0..90).map(move |seq| (second, seq)));
    let went_on = read_as(&moving, "halfway", KAFKA, "--until-end");
    assert_eq!(frames(&begun).len(), 40);
    assert_eq!(frames(&went_on), later(40).collect::<Vec<_>>());
    let went_on = read_as(&moving, "done", KAFKA, "--until-end");
    assert_eq!(frames(&went_on), later(90).collect::<Vec<_>>());
    let places: BTreeSet<i64> =
        went_on.objects("frame").iter().map(|frame| frame["partition"].as_i64().unwrap()).collect();
    assert_eq!(places, BTreeSet::from([i64::from(partition)]), "the directory that was copied still holds");
}
