//! Streams that stop without an end: their last pictures, held back for reordering, have results all the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_bus::subscriber::{CameraFilter, Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, Publisher, PublisherConfig, StreamHandle, StreamOptions};
use lumenbus_frame::{CameraId, Codec, EncodedFrame, RawFrame};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::subscribe::encoded;
use lumenbus_tests::cli::{BrokerProcess, footage};
use lumenbus_tests::load::{PATIENCE, await_that};
use lumenbus_vision::worker::{DetectorSource, Policy, Worker, WorkerConfig};
use lumenbus_vision::{Detection, Detector, Model, VisionError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// At least so many frames; less than a GOP of the footage.
const FRAMES: usize = 20;

/// Sees nothing.
struct Blind(Model);

impl Detector for Blind {
    fn model(&self) -> &Model {
        &self.0
    }

    fn detect(&mut self, _: &RawFrame) -> Result<Vec<Detection>, VisionError> {
        Ok(Vec::new())
    }

    fn reset(&mut self) {}
}

/// The first frames of a camera, up to one whose picture comes after the next frame's: a decoder holds that back.
fn frames_of(bus: &BusConfig, camera: &str) -> Vec<EncodedFrame> {
    let mut config = SubscriberConfig::new(bus.clone(), vec![bus.topic_prefix.topic("raw_video")]);
    (config.start, config.cameras) = (Start::Earliest, CameraFilter::new(&[camera.to_owned()]).unwrap());
    let mut reader = Subscriber::open(config).unwrap();
    let mut frames = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "{} frames", frames.len());
        if let Some(Event::Frame(frame)) = reader.recv(Duration::from_millis(50)).unwrap() {
            let frame = encoded(&frame);
            if frames.len() >= FRAMES && frames.last().is_some_and(|last: &EncodedFrame| frame.pts < last.pts) {
                return frames;
            }
            frames.push(frame);
        }
    }
}

fn submit(handle: &StreamHandle, frames: &[EncodedFrame]) {
    for frame in frames {
        handle.submit(frame.clone()).unwrap();
    }
}

/// A stream that sends these frames and no end.
fn send(publisher: &Publisher, camera: &str, frames: &[EncodedFrame]) -> StreamHandle {
    let camera = CameraId::new(camera).unwrap();
    let handle = publisher.main_stream(camera, "raw_video", StreamOptions::new(Codec::H264)).unwrap();
    submit(&handle, frames);
    handle
}

#[test]
fn the_last_pictures_of_a_stream_without_an_end_have_results() {
    let Some(clip) = footage("indoor_onebyone_768x432.mp4") else { return };
    let broker = BrokerProcess::start();
    let _ = broker.run(&format!("publish {} --camera walkers --unpaced", clip.display())).code(0);
    let bus = BusConfig::new(broker.address());
    let frames = frames_of(&bus, "walkers");
    let all = u64::try_from(frames.len()).unwrap();
    let publisher = Publisher::open(PublisherConfig::new(bus.clone())).unwrap();
    let mut config = WorkerConfig::new(bus, "guards".to_owned());
    (config.start, config.policy) = (Start::Earliest, Policy::Lossless);
    config.cameras = CameraFilter::new(&["gate-*".to_owned()]).unwrap();
    let blind = DetectorSource::new(|| Ok(Box::new(Blind(Model::new("blind", "1"))) as Box<dyn Detector>));
    let worker = Arc::new(Worker::new(config, blind).unwrap());
    let shutdown = Arc::new(Shutdown::default());
    let thread = {
        let (worker, shutdown) = (Arc::clone(&worker), Arc::clone(&shutdown));
        std::thread::spawn(move || worker.run(&shutdown))
    };
    let away = send(&publisher, "gate-away", &frames);
    away.offline("the cable was pulled").unwrap();
    await_that("results of a camera that is away", || worker.written().results == all);
    // One that says nothing more is waited for until it has been silent for long.
    let _silent = send(&publisher, "gate-silent", &frames);
    await_that("results of a camera that fell silent", || worker.written().results == 2 * all);
    // The camera is back.
    submit(&away, &frames);
    away.offline("once more").unwrap();
    await_that("results of a camera that came back", || worker.written().results == 3 * all);
    shutdown.request();
    thread.join().unwrap().unwrap();
    let counts = worker.counts();
    assert_eq!((counts.undecodable, counts.missing, counts.restarts), (0, 0, 0), "{counts:?}");
}
