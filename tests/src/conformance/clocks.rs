//! Clocks that are wrong or are set.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::clock::ShiftedClock;
use crate::load::Camera;
use crate::tally::Tally;
use lumenbus_bus::publisher::PublisherEvent;
use lumenbus_bus::subscriber::Event;
use lumenbus_bus::{Policy, SystemClock};
use lumenbus_frame::{CaptureSource, CaptureTime, Clock as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const TOPIC: &str = "raw_video";
const HOUR_NANOS: i64 = 3_600_000_000_000;
const FRAMES: u64 = 20;

/// An hour ahead, an hour behind, two days ahead, 1970: no frame is refused, late or unordered for it.
pub fn cameras_with_a_wrong_hour(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let mut subscriber = site.subscriber_with(&[TOPIC], |config| {
        // Late would be what the camera's own clock says.
        config.policy = Policy::Live { max_age: Duration::from_secs(600) };
    });
    let now = SystemClock.unix_nanos();
    let times = [
        ("ahead", now + HOUR_NANOS, CaptureSource::Sensor),
        ("behind", now - HOUR_NANOS, CaptureSource::Sensor),
        ("days-ahead", now + 48 * HOUR_NANOS, CaptureSource::Arrival),
        ("unset", 0, CaptureSource::Arrival),
    ];
    let mut cameras = times.map(|(name, ..)| Camera::open(&publisher, name, TOPIC));
    for n in 0..FRAMES {
        for (camera, (_, base, _)) in cameras.iter_mut().zip(&times) {
            let mut frame = camera.next_frame(2_000);
            frame.capture = CaptureTime::sensor(base + i64::try_from(n).unwrap() * 33_000_000);
            camera.submit(frame).unwrap();
        }
    }
    let replaced: BTreeMap<_, _> =
        cameras.iter().map(|c| (c.handle.id().camera.to_string(), c.handle.stats().replaced_captures)).collect();
    assert_eq!(
        replaced,
        [("ahead", 0), ("behind", 0), ("days-ahead", FRAMES), ("unset", FRAMES)].map(|(n, c)| (n.to_owned(), c)).into()
    );
    drop(cameras.map(Camera::finish));
    let mut tally = Tally::default();
    while tally.ended() < 4 {
        let Some(event) = subscriber.recv(crate::load::PATIENCE).unwrap() else { panic!("no end: {tally:?}") };
        if let Event::Frame(frame) = &event {
            let append = frame.append_unix_millis.unwrap() * 1_000_000;
            assert!((append - SystemClock.unix_nanos()).abs() < HOUR_NANOS / 2, "the broker's time orders the log");
            let (_, _, source) = times.iter().find(|row| row.0 == frame.stream.camera.as_str()).unwrap();
            assert_eq!(frame.header.capture.source, *source, "{frame:?}");
        }
        tally.note(&event);
    }
    tally.assert_complete();
    assert_eq!(tally.frames() as u64, 4 * FRAMES, "{tally:?}");
}

/// The publisher's clock goes an hour back, and forward: each step is a jump in the stream, and epochs still rise.
pub fn a_clock_that_is_set(site: &Site) {
    site.create_topics(&[TOPIC]);
    let clock = Arc::new(ShiftedClock::default());
    let mut sent = BTreeMap::new();
    let (mut epochs, mut stream) = (Vec::new(), None);
    for _ in 0..2 {
        let publisher = site.publisher_with(|config| config.clock = Arc::<ShiftedClock>::clone(&clock));
        let mut camera = Camera::open(&publisher, "stepped", TOPIC);
        camera.send_many(10, 2_000);
        clock.back(Duration::from_secs(3600));
        camera.send_many(10, 2_000);
        clock.forward(Duration::from_secs(1800));
        camera.send_many(10, 2_000);
        epochs.push(camera.handle.epoch());
        stream = Some(camera.handle.id().clone());
        sent.extend(camera.finish().0);
        let mut steps = Vec::new();
        while let Some(event) = publisher.next_event(Duration::ZERO) {
            if let PublisherEvent::ClockStep { millis } = event {
                steps.push((millis + 500).div_euclid(1_000));
            }
        }
        assert_eq!(steps, [-3600, 1800]);
    }
    assert!(epochs[0] < epochs[1], "{epochs:?}");
    let stream = stream.unwrap();
    let mut subscriber = site.subscriber(&[TOPIC]);
    let mut tally = Tally::default();
    tally.read_until(&mut subscriber, "all frames come", |tally| tally.frames() == 60 && tally.ended() == 1);
    tally.assert_complete();
    tally.assert_contents(&stream, &sent);
    let jumps: Vec<_> = tally.streams[&stream].discontinuities.iter().map(|id| (id.epoch, id.seq.0)).collect();
    let expected: Vec<_> = epochs.iter().flat_map(|epoch| [(*epoch, 10), (*epoch, 20)]).collect();
    assert_eq!(jumps, expected);
}
