//! Readers that are slower than the cameras.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::clock::ShiftedClock;
use crate::load::{Camera, await_that};
use crate::tally::Tally;
use lumenbus_bus::Policy;
use lumenbus_bus::subscriber::Subscriber;
use lumenbus_frame::{GapReason, StreamId};
use std::sync::Arc;
use std::time::Duration;

const TOPIC: &str = "raw_video";
const BUFFER_BYTES: usize = 400_000;
/// What one round of a worker may add to a buffer that had room: its batch, one frame, and bookkeeping.
const ROUND_BYTES: usize = (1 << 20) + 200_000;

fn two_cameras(site: &Site) -> (lumenbus_bus::Publisher, [Camera; 2]) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let cameras = [Camera::open(&publisher, "slow-a", TOPIC), Camera::open(&publisher, "slow-b", TOPIC)];
    (publisher, cameras)
}

fn send(cameras: &mut [Camera; 2], frames: u64) {
    for _ in 0..frames {
        for camera in cameras.iter_mut() {
            camera.send_many(1, 20_000);
        }
    }
    for camera in cameras.iter() {
        camera.flush();
    }
}

/// Waits until the reader has read what was sent, and checks its bound meanwhile.
fn await_read(subscriber: &Subscriber, records: u64) {
    await_that("the reader reads on", || {
        assert!(subscriber.buffered_bytes() <= BUFFER_BYTES + ROUND_BYTES, "{}", subscriber.buffered_bytes());
        subscriber.stats().records >= records
    });
}

fn missing(tally: &Tally, stream: &StreamId, reason: GapReason) -> u64 {
    tally.streams[stream].missing().get(&reason).copied().unwrap_or(0)
}

/// Only the newest GOP waits; what it replaced is told.
pub fn newest_with_a_slow_reader(site: &Site) {
    let (_publisher, mut cameras) = two_cameras(site);
    let mut subscriber = site.subscriber_with(&[TOPIC], |config| {
        config.policy = Policy::Newest;
        config.buffer_bytes = BUFFER_BYTES;
        config.commit_interval = Duration::from_millis(50);
    });
    send(&mut cameras, 105);
    await_read(&subscriber, 210);
    let mut tally = Tally::default();
    tally.read_until(&mut subscriber, "the newest frame comes", |tally| {
        let newest = |tally: &crate::tally::StreamTally| tally.contents.values().any(|content| content.number == 104);
        tally.streams.len() == 2 && tally.streams.values().all(newest)
    });
    assert!(tally.frames() < 40, "old frames were handed over: {}", tally.frames());
    let ids = cameras.each_ref().map(|camera| camera.handle.id().clone());
    drop(cameras.map(Camera::finish));
    tally.read_to_end(&mut subscriber, 2);
    tally.assert_complete();
    for stream in &ids {
        let told = missing(&tally, stream, GapReason::Superseded) + missing(&tally, stream, GapReason::Lagging);
        assert!(told >= 80, "{:?}", tally.streams[stream].missing());
    }
}

/// What is too old is left out up to the next keyframe that is not, and told.
pub fn live_with_a_slow_reader(site: &Site) {
    let clock = Arc::new(ShiftedClock::default());
    let (_publisher, mut cameras) = two_cameras(site);
    let mut subscriber = site.subscriber_with(&[TOPIC], |config| {
        config.policy = Policy::Live { max_age: Duration::from_secs(20) };
        config.commit_interval = Duration::from_millis(50);
        config.clock = Arc::<ShiftedClock>::clone(&clock);
    });
    send(&mut cameras, 5);
    let mut tally = Tally::default();
    tally.read_until(&mut subscriber, "fresh frames come", |tally| tally.frames() == 10);
    send(&mut cameras, 10);
    await_read(&subscriber, 30);
    // The reader is away for a minute.
    clock.forward(Duration::from_secs(60));
    while let Some(event) = subscriber.recv(Duration::from_millis(200)).unwrap() {
        tally.note(&event);
    }
    assert_eq!(tally.frames(), 10, "frames of a minute ago were handed over");
    clock.back(Duration::from_secs(60));
    send(&mut cameras, 20);
    tally.read_until(&mut subscriber, "fresh frames come again", |tally| tally.frames() > 25);
    send(&mut cameras, 15);
    // Away again, and the streams end meanwhile: the gap comes before the end.
    clock.forward(Duration::from_secs(60));
    let ids = cameras.each_ref().map(|camera| camera.handle.id().clone());
    drop(cameras.map(Camera::finish));
    tally.read_to_end(&mut subscriber, 2);
    tally.assert_complete();
    for stream in &ids {
        assert!(missing(&tally, stream, GapReason::Lagging) >= 10, "{:?}", tally.streams[stream].missing());
        assert!(tally.streams[stream].contents.values().any(|content| content.number >= 20), "it goes on");
    }
}

/// Back-pressure: the buffer stays within its bytes however long the reader stands still, and nothing is lost.
pub fn lossless_with_a_stalled_reader(site: &Site) {
    let (_publisher, mut cameras) = two_cameras(site);
    let mut subscriber = site.subscriber_with(&[TOPIC], |config| {
        config.buffer_bytes = BUFFER_BYTES;
        config.bus.set_property("queued.max.messages.kbytes", "1024");
    });
    send(&mut cameras, 400);
    let ids = cameras.each_ref().map(|camera| camera.handle.id().clone());
    let sent = cameras.map(|camera| camera.finish().0);
    await_that("the buffer is full", || subscriber.buffered_bytes() >= BUFFER_BYTES);
    // Longer than the stall after which partitions are paused.
    let stalled = std::time::Instant::now();
    while stalled.elapsed() < Duration::from_secs(12) {
        assert!(subscriber.buffered_bytes() <= BUFFER_BYTES + ROUND_BYTES, "{}", subscriber.buffered_bytes());
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut tally = Tally::default();
    tally.read_to_end(&mut subscriber, 2);
    tally.assert_complete();
    for (stream, frames) in ids.iter().zip(&sent) {
        tally.assert_contents(stream, frames);
    }
}
