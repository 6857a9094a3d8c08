//! The examples in examples/python, as they stand, against the embedded broker and Apache Kafka: the pictures that they
//! get are the ones that were published.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::backend::start_kafka;
use lumenbus_tests::cli::{Background, BrokerProcess, spawn_at};
use lumenbus_tests::python::{Seen, in_repository, observe, python, reference};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use xtask::kafka::KafkaOptions;

const PICTURES: usize = 12;
/// Frames of the published folder, which is looped.
const LOOP: u64 = 20;

fn example(name: &str) -> PathBuf {
    in_repository("examples/python").join(name)
}

/// What the tests publish, and who reads it.
struct Stage {
    python: OsString,
    brokers: String,
    folder: TempDir,
}

impl Stage {
    fn new(brokers: &str) -> Option<Self> {
        let stage = Self { python: python()?, brokers: brokers.to_owned(), folder: TempDir::new().unwrap() };
        stage.run("topics apply --partitions 4 --replication 1");
        Some(stage)
    }

    fn run(&self, line: &str) {
        let _ = spawn_at(&self.brokers, line).finish().code(0);
    }

    fn publish(&self, line: &str) -> Background {
        let publisher = spawn_at(&self.brokers, line);
        publisher.wait_for_word("publishing");
        publisher
    }

    fn observe(&self, name: &str) -> Vec<Seen> {
        observe(&self.python, &example(name), PICTURES, Some(&self.brokers))
    }

    fn reference(&self, path: &Path) -> std::collections::HashSet<String> {
        reference(&self.python, path)
    }

    /// A folder of twenty JPEG files with markers 0 to 19.
    fn pictures(&self) -> PathBuf {
        self.run(&format!("publish test:640x480@10,frames={LOOP} --camera maker --codec jpeg --unpaced"));
        let folder = self.folder.path().join("pictures");
        self.run(&format!("subscribe --camera maker --from start --until-end --out {}", folder.display()));
        folder.join("maker")
    }
}

/// Each picture is the one after the one before.
#[track_caller]
fn assert_in_order(name: &str, seen: &[Seen], cycle: u64) {
    let markers: Vec<u64> = seen.iter().map(|seen| seen.marker.expect("a marker")).collect();
    let is_next = |pair: &[u64]| pair[1] == (pair[0] + 1) % cycle;
    assert!(markers.windows(2).all(is_next), "{name}: {markers:?}");
}

fn pictures_are_the_published_files(stage: &Stage) {
    let files = stage.pictures();
    let published = stage.reference(&files);
    assert_eq!(published.len() as u64, LOOP);
    let publish = format!("publish {} --camera gate --fps 20 --json-header --loop", files.display());
    let publisher = stage.publish(&publish);
    for name in ["pictures.py", "pictures_confluent.py", "frames.py"] {
        let seen = stage.observe(name);
        assert_in_order(name, &seen, LOOP);
        for picture in &seen {
            assert!(published.contains(&picture.sha256), "{name}: {picture:?} is none of the published files");
            assert!(picture.said.starts_with("gate "), "{name}: {picture:?}");
            assert!(picture.said.ends_with("(480, 640, 3)"), "{name}: {picture:?}");
        }
    }
    newest_skips_what_is_old(stage);
    let _ = publisher.interrupt().code(0);
}

/// Three frames are shown a second of the twenty that come.
fn newest_skips_what_is_old(stage: &Stage) {
    let seen = stage.observe("newest.py");
    let markers: Vec<u64> = seen.iter().map(|seen| seen.marker.expect("a marker")).collect();
    let next = markers.windows(2).filter(|pair| pair[1] == (pair[0] + 1) % LOOP).count();
    assert!(next < markers.len() / 2, "a slow reader that skips nothing: {markers:?}");
}

/// 1080p noise at full quality is three records a picture.
fn large_pictures_are_joined(stage: &Stage) {
    let pattern = "test:1920x1080@2,noise=64";
    let publisher = stage.publish(&format!(
        "publish {pattern} --camera large --codec jpeg --quality 100 --json-header --topic raw_images"
    ));
    let seen = stage.observe("frames.py");
    assert_in_order("frames.py", &seen, u64::MAX);
    for picture in &seen {
        let seq = picture.said.split(' ').nth(2).unwrap();
        assert_eq!(picture.marker, seq.parse().ok(), "{picture:?}");
        assert!(picture.said.ends_with("(1080, 1920, 3)"), "{picture:?}");
    }
    let _ = publisher.interrupt().code(0);
}

fn video_is_what_the_file_decodes_to(stage: &Stage) {
    let publisher = stage.publish("publish test:640x480@30 --camera pattern --gop 1s");
    let seen = stage.observe("video.py");
    assert_in_order("video.py", &seen, u64::MAX);
    let _ = publisher.interrupt().code(0);
    let file = stage.folder.path().join("pattern.h264");
    stage.run(&format!("subscribe --camera pattern --from start --until-end --out {}", file.display()));
    let published = stage.reference(&file);
    for picture in &seen {
        assert!(published.contains(&picture.sha256), "{picture:?} is none of the stream's pictures");
        assert_eq!(picture.said, "pattern (480, 640, 3)");
    }
}

fn every_example_sees_what_was_published(brokers: &str) {
    let Some(stage) = Stage::new(brokers) else { return };
    pictures_are_the_published_files(&stage);
    large_pictures_are_joined(&stage);
    video_is_what_the_file_decodes_to(&stage);
}

#[test]
fn on_the_embedded_broker() {
    let broker = BrokerProcess::start();
    every_example_sees_what_was_published(broker.address());
}

#[test]
fn on_apache_kafka() {
    let Some(cluster) = start_kafka("Apache Kafka", &KafkaOptions::default()) else { return };
    every_example_sees_what_was_published(cluster.bootstrap());
}
