//! How many series 500 cameras make, and what further ones add: nothing but one camera called `other`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_bus::publisher::{LatencySummary, PublisherStats, StreamStats};
use lumenbus_bus::subscriber::Event;
use lumenbus_frame::{CameraId, Epoch, Gap, GapReason, Seq, StreamId, TopicName};
use lumenbus_ops::{Metrics, Stage, Stages, SubscriberMetrics, publisher_metrics};
use std::sync::{Arc, Mutex};

/// As docs/reference/metrics.md states it: each camera that is published and received in one process.
const PER_CAMERA: usize = 20;
/// Everything that does not grow with the cameras, of one process without a cluster.
const FIXED: usize = 200;
const CAMERAS: usize = 500;
/// The bound for a process of 500 cameras.
const BOUND: usize = (CAMERAS + 1) * PER_CAMERA + FIXED;

const REASONS: [GapReason; 3] = [GapReason::Overflow, GapReason::Expired, GapReason::Undecodable];

fn stream(number: usize, frames: u64) -> StreamStats {
    let topic = TopicName::new("raw_video").unwrap();
    StreamStats {
        stream: StreamId::main(camera(number), topic),
        epoch: Epoch(1),
        partition: 0,
        submitted_frames: frames,
        acknowledged_frames: frames,
        acknowledged_bytes: frames * 1_000,
        repeated_frames: 0,
        drops: REASONS.map(|reason| (reason, 1)).to_vec(),
        records: frames,
        queued_frames: 0,
        queued_bytes: 7,
        in_flight_frames: 0,
        in_flight_bytes: 0,
        replaced_captures: 0,
        last_capture_offset_millis: 0,
        ack_latency: LatencySummary::default(),
    }
}

fn camera(number: usize) -> CameraId {
    format!("camera-{number:04}").parse().unwrap()
}

fn stats(cameras: usize, frames: u64) -> PublisherStats {
    let ack_latency = LatencySummary { count: 1, p50_micros: 1, ..LatencySummary::default() };
    PublisherStats {
        streams: (0..cameras).map(|number| stream(number, frames)).collect(),
        ack_latency,
        ..PublisherStats::default()
    }
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {series}")).rsplit(' ').next().unwrap().parse().unwrap()
}

fn scraped(cameras: usize) -> String {
    let metrics = Metrics::new();
    let stages = Stages::new(&metrics);
    let subscriber = SubscriberMetrics::new(&metrics);
    metrics.register(publisher_metrics(Arc::new(move || Some(stats(cameras, 10)))));
    Stage::ALL.into_iter().for_each(|stage| stages.record(stage, 5_000));
    for number in 0..cameras {
        stages.age(&camera(number), 20_000);
        let stream = Arc::new(StreamId::main(camera(number), TopicName::new("raw_video").unwrap()));
        for reason in REASONS {
            let gap = Gap::new(Seq(0), Seq(1), reason);
            subscriber.observe(&Event::Gap { stream: Arc::clone(&stream), gap });
        }
    }
    metrics.encode()
}

#[test]
fn five_hundred_cameras_stay_within_the_documented_number_of_series() {
    let (none, one, all) = (series(&scraped(0)), series(&scraped(1)), series(&scraped(CAMERAS)));
    assert!(none <= FIXED, "{none} without a camera");
    let reasons_and_latency = series(&scraped(2)) - 2 * PER_CAMERA;
    assert_eq!(one - reasons_and_latency, PER_CAMERA, "each camera makes {PER_CAMERA} series");
    assert_eq!(all, reasons_and_latency + CAMERAS * PER_CAMERA);
    assert!(all <= BOUND, "{all} series, {BOUND} are documented");
}

#[test]
fn further_cameras_share_their_series() {
    let text = scraped(2_000);
    assert!(series(&text) <= BOUND, "{} series", series(&text));
    let others = value(&text, "lumenbus_published_frames_total{camera=\"other\"}");
    assert!((others - 15_000.0).abs() < 0.5, "1,500 cameras with 10 frames each: {others}");
    let dropped = value(&text, "lumenbus_dropped_frames_total{reason=\"overflow\"}");
    assert!((dropped - 2_000.0).abs() < 0.5, "{dropped}");
}

#[test]
fn counts_do_not_fall_when_a_stream_ends_or_begins_again() {
    let now = Arc::new(Mutex::new(Some(stats(2, 10))));
    let metrics = Metrics::new();
    let source = Arc::clone(&now);
    metrics.register(publisher_metrics(Arc::new(move || source.lock().unwrap().clone())));
    let published =
        |camera: &str| value(&metrics.encode(), &format!("lumenbus_published_frames_total{{camera=\"{camera}\"}}"));
    let is = |found: f64, expected: f64| assert!((found - expected).abs() < 0.5, "{found} is not {expected}");
    is(published("camera-0001"), 10.0);
    is(published("camera-0001"), 10.0);
    *now.lock().unwrap() = Some(stats(1, 30));
    is(published("camera-0000"), 30.0);
    is(published("camera-0001"), 10.0);
    // It is opened anew and has sent 4 frames since.
    *now.lock().unwrap() = Some(stats(2, 4));
    is(published("camera-0001"), 14.0);
    is(published("camera-0000"), 34.0);
    *now.lock().unwrap() = None;
    is(published("camera-0000"), 34.0);
    is(value(&metrics.encode(), "lumenbus_dropped_frames_total{reason=\"expired\"}"), 3.0);
}
