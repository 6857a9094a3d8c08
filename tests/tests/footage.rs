//! Real footage through the real binary: every access unit comes back, its NAL units byte-identical and in order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lumenbus_frame::Codec;
use lumenbus_frame::bitstream::{NalCodec, content_nal_units};
use lumenbus_source::{SourceItem, SourceOptions, open};
use lumenbus_tests::cli::{BrokerProcess, Ran, footage, skip, spawn_at};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use xtask::kafka::{KafkaCluster, KafkaOptions};

/// What the default build reads, with the number of access units FFmpeg finds.
const CLIPS: [(&str, usize); 4] =
    [("street1080.264", 54), ("flower720.264", 300), ("vtest_768x576.mp4", 795), ("indoor_onebyone_768x432.mp4", 1394)];

/// The content of every access unit: parameter sets and delimiters, which a repackaging may add, aside.
type Units = Vec<Vec<Bytes>>;

fn content(unit: &Bytes) -> Vec<Bytes> {
    content_nal_units(NalCodec::H264, unit).map(|nal| unit.slice_ref(nal)).collect()
}

fn units_of_file(path: &Path) -> Units {
    let mut source = open(path.to_str().unwrap(), &SourceOptions::default()).unwrap();
    assert_eq!(source.codec(), Codec::H264);
    let mut units = Units::new();
    while let Some(item) = source.next_frame().unwrap() {
        match item {
            SourceItem::Encoded { frame, .. } => units.push(content(&frame.payload)),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
    units
}

/// Files named by epoch and seq sort as the log does.
fn units_of_folder(folder: &Path) -> Units {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| content(&std::fs::read(file).unwrap().into())).collect()
}

/// `assert_eq` would print megabytes.
#[track_caller]
fn assert_same(clip: &str, expected: &Units, found: &Units) {
    assert_eq!(found.len(), expected.len(), "access units of {clip}");
    let first = expected.iter().zip(found).position(|(expected, found)| expected != found);
    assert_eq!(first, None, "first access unit of {clip} that differs");
}

fn run(brokers: &str, line: &str) -> Ran {
    spawn_at(brokers, line).finish()
}

/// Publishes every clip and reads each back as single access units and as one byte stream.
fn every_clip_comes_back(brokers: &str) {
    for (file, frames) in CLIPS {
        let Some(path) = footage(file) else { continue };
        let original = units_of_file(&path);
        assert_eq!(original.len(), frames, "{file}");
        let camera = file.split('.').next().unwrap();
        let published =
            run(brokers, &format!("publish {} --camera {camera} --unpaced --json", path.display())).code(0).summary();
        assert_eq!(published["published"], original.len());
        assert_eq!(published["acknowledged"], original.len());
        check_reading(brokers, camera, &original);
    }
}

fn check_reading(brokers: &str, camera: &str, original: &Units) {
    let out = TempDir::new().unwrap();
    let (folder, stream) = (out.path().join("coded"), out.path().join("stream.h264"));
    let read = format!("subscribe --camera {camera} --from start --until-end --json");
    let summary = run(brokers, &format!("{read} --as coded --out {}", folder.display())).code(0).summary();
    assert_eq!(summary["streams"][0]["frames"], original.len());
    assert_eq!(summary["streams"][0]["published_in_ended_epochs"], original.len());
    assert_same(camera, original, &units_of_folder(&folder.join(camera)));
    run(brokers, &format!("{read} --out {}", stream.display())).code(0).summary();
    assert_same(camera, original, &units_of_file(&stream));
}

#[test]
fn every_clip_comes_back_from_the_embedded_broker() {
    every_clip_comes_back(BrokerProcess::start().address());
}

#[test]
fn every_clip_comes_back_from_apache_kafka() {
    match KafkaCluster::start(&KafkaOptions::default()) {
        Ok(cluster) => every_clip_comes_back(cluster.bootstrap()),
        Err(error) if error.is_missing_prerequisite() => skip(&error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_codec_that_the_default_build_cannot_read_is_refused_by_name() {
    let Some(path) = footage("vtest.avi") else { return };
    let refused = BrokerProcess::start().run(&format!("publish {} --camera gate", path.display())).code(1);
    refused.says("vtest.avi").says("MS-MPEG4 v3").says("`ffmpeg` feature");
}

/// FFmpeg's count of the pictures in a file; `None` where it is not installed.
fn counted_by_ffprobe(path: &Path) -> Option<usize> {
    let arguments = "-v error -count_frames -select_streams v:0 -show_entries stream=nb_read_frames -of csv=p=0";
    let output = Command::new("ffprobe").args(arguments.split(' ')).arg(path).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().trim_end_matches(',').parse().unwrap())
}

#[test]
fn coded_video_becomes_pictures_and_pixels() {
    let Some(path) = footage("street1080.264") else { return };
    let broker = BrokerProcess::start();
    broker.run(&format!("publish {} --camera street --unpaced", path.display())).code(0);
    let out = TempDir::new().unwrap();
    let (folder, pixels) = (out.path().join("pictures"), out.path().join("street.y4m"));
    let read = "subscribe --camera street --from start --until-end --json --out";
    let summary = broker.run(&format!("{read} {}", folder.display())).code(0).summary();
    assert_eq!(summary["sink"]["files"], 54);
    assert_eq!(summary["sink"]["undecodable"], 0);
    for picture in std::fs::read_dir(folder.join("street")).unwrap() {
        let file = std::fs::read(picture.unwrap().path()).unwrap();
        let dimensions = lumenbus_codec::jpeg_dimensions(&file).unwrap();
        assert_eq!((dimensions.width, dimensions.height), (1920, 1080));
    }
    let summary = broker.run(&format!("{read} {}", pixels.display())).code(0).summary();
    assert_eq!(summary["sink"]["frames"], 54);
    match counted_by_ffprobe(&pixels) {
        Some(frames) => assert_eq!(frames, 54),
        None => skip("ffprobe is not installed"),
    }
}

#[test]
fn standard_output_is_a_byte_stream_that_other_programs_take() {
    let Some(path) = footage("flower720.264") else { return };
    let broker = BrokerProcess::start();
    broker.run(&format!("publish {} --camera flower --unpaced", path.display())).code(0);
    let reading = broker.spawn("subscribe --camera flower --from start --until-end --out -");
    let (ran, bytes) = reading.finish_bytes();
    ran.code(0);
    let out = TempDir::new().unwrap();
    let file = out.path().join("out.h264");
    std::fs::write(&file, bytes).unwrap();
    assert_same("flower", &units_of_file(&path), &units_of_file(&file));
    match (counted_by_ffprobe(&file), counted_by_ffprobe(&path)) {
        (Some(found), expected) => assert_eq!(Some(found), expected),
        (None, _) => skip("ffprobe is not installed"),
    }
}
