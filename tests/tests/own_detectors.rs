//! Detectors of others: the examples, as they stand. Their boxes belong to the frames that they are said to belong to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lumenbus_bus::BusConfig;
use lumenbus_bus::results::ResultReader;
use lumenbus_codec::{EncoderConfig, encoder};
use lumenbus_frame::{CaptureTime, Codec, Dimensions, PixelFormat, RawFrame};
use lumenbus_pipeline::Shutdown;
use lumenbus_tests::cli::{Background, BrokerProcess};
use lumenbus_tests::load::{PATIENCE, await_that};
use lumenbus_tests::python::{in_repository, observing, python};
use lumenbus_wire::AnalysisResult;
use rustix::process::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[path = "../../crates/lumenbus/examples/detector.rs"]
#[expect(dead_code, reason = "its main is for those who start it")]
mod detector;

/// Pictures of a folder, in each of which a bright square stands somewhere else.
const PICTURES: u32 = 20;
const SIZE: Dimensions = Dimensions { width: 160, height: 120 };
const SIDE: u32 = 24;
/// Results that are looked at.
const RESULTS: usize = 12;

/// Where the square of a frame is.
fn place(seq: u64) -> (u32, u32) {
    let number = u32::try_from(seq % u64::from(PICTURES)).unwrap();
    (4 + number * 6, 8 + number * 4)
}

fn picture(number: u32) -> Bytes {
    let (left, top) = place(number.into());
    let is_bright = |at: u32| {
        let (x, y) = (at % SIZE.width, at / SIZE.width);
        (left..left + SIDE).contains(&x) && (top..top + SIDE).contains(&y)
    };
    let pixels: Vec<u8> = (0..SIZE.width * SIZE.height).map(|at| if is_bright(at) { 250 } else { 16 }).collect();
    let picture = RawFrame::new(PixelFormat::Gray8, SIZE, pixels.into(), CaptureTime::arrival(0)).unwrap();
    let mut coded = Vec::new();
    encoder(&EncoderConfig::new(Codec::Jpeg)).unwrap().encode(&picture, &mut coded).unwrap();
    coded.remove(0).payload
}

/// A broker with topics, and a camera that sends the pictures again and again.
struct Stage {
    broker: BrokerProcess,
    camera: Background,
    #[expect(dead_code, reason = "removed at the end")]
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
        let _ = broker.run("topics apply --partitions 4 --replication 1").code(0);
        for number in 0..PICTURES {
            std::fs::write(folder.path().join(format!("{number:02}.jpg")), picture(number)).unwrap();
        }
        let camera =
            broker.spawn(&format!("publish {} --camera gate --fps 20 --json-header --loop", folder.path().display()));
        camera.wait_for_word("publishing");
        Self { broker, camera, folder }
    }

    fn bus(&self) -> BusConfig {
        BusConfig::new(self.broker.address())
    }

    fn end(self) {
        let _ = self.camera.interrupt().code(0);
    }
}

/// Reads results as the viewer does, and holds each to its frame's picture.
fn check_results(reader: &ResultReader) {
    let (mut seen, deadline) = (Vec::<AnalysisResult>::new(), Instant::now() + PATIENCE);
    while seen.len() < RESULTS {
        assert!(Instant::now() < deadline, "{} results came", seen.len());
        seen.extend(reader.recv(Duration::from_millis(100)).unwrap());
    }
    for result in &seen {
        assert_eq!((result.stream.camera.as_str(), result.stream.topic.as_str()), ("gate", "raw_images"));
        assert_eq!((&*result.model.name, result.size), ("bright", Some(SIZE)));
        let [object] = result.detections.as_slice() else { panic!("one square: {result:?}") };
        let (left, top) = place(result.id.seq.0);
        let bounds = object.bounds;
        let expected = [left, top, SIDE, SIDE].map(f64::from);
        let is = [bounds.x, bounds.y, bounds.width, bounds.height].map(f64::from);
        // JPEG blurs edges a little.
        let is_there = is.iter().zip(expected).all(|(is, expected)| (is - expected).abs() <= 2.0);
        assert!(is_there, "frame {}: {is:?} instead of {expected:?}", result.id.seq);
    }
    let seqs = || seen.iter().map(|result| (result.id.epoch, result.id.seq));
    assert!(seqs().is_sorted(), "in the order of the frames: {:?}", seqs().collect::<Vec<_>>());
}

#[test]
fn twenty_lines_of_rust() {
    let stage = Stage::new();
    let reader = ResultReader::open(&stage.bus()).unwrap();
    let (stop, bus) = (Arc::new(Shutdown::default()), stage.bus());
    let until = Arc::clone(&stop);
    let worker = std::thread::spawn(move || detector::watch(bus, "raw_images", &until));
    check_results(&reader);
    stop.request();
    worker.join().unwrap().unwrap();
    stage.end();
}

#[test]
fn plain_python() {
    let Some(python) = python() else { return };
    let stage = Stage::new();
    let reader = ResultReader::open(&stage.bus()).unwrap();
    let example = in_repository("examples/python/detector.py");
    let detector = Background::start(observing(&python, &example, 1_000_000, Some(stage.broker.address())));
    check_results(&reader);
    // It goes on for ever.
    await_that("it says what it saw", || detector.stdout_so_far().contains("gate "));
    detector.signal(Signal::KILL);
    drop(detector.finish());
    stage.end();
}
