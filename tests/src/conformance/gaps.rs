//! Every loss is told, with its reason, exactly.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::load::Camera;
use crate::tally::Tally;
use lumenbus_bus::SystemClock;
use lumenbus_frame::{CaptureTime, Clock as _, Deadline, GapReason};
use std::collections::BTreeMap;
use std::time::Duration;

/// On a topic with control records.
pub fn every_loss_of_video_is_told(site: &Site) {
    losses(site, "raw_video");
}

/// On a topic with pictures only.
pub fn every_loss_of_pictures_is_told_by_the_directory(site: &Site) {
    losses(site, "raw_images");
}

fn losses(site: &Site, base: &str) {
    site.create_topics(&[base]);
    let publisher = site.publisher_with(|config| {
        config.lane_bytes = 100_000;
        config.stream_window_bytes = 50_000;
    });
    let mut camera = Camera::open(&publisher, "lossy", base);
    let mut subscriber = site.subscriber(&[base]);
    let mut tally = Tally::default();
    let stream = camera.handle.id().clone();
    camera.send_many(5, 1_000);
    camera.handle.lose(3, GapReason::SourceDamaged).unwrap();
    // Faster than any broker: the lane overflows.
    for _ in 0..400 {
        camera.try_send(9_000).unwrap();
    }
    camera.flush();
    tally.read_until(&mut subscriber, "what was sent arrives", |tally| tally.frames() > 5);
    camera.handle.repeat(7).unwrap();
    expire(&mut camera);
    camera.handle.lose(11, GapReason::SourceLost).unwrap();
    camera.handle.offline("unplugged").unwrap();
    tally.read_until(&mut subscriber, "offline is told", |tally| tally.streams[&stream].offline > 0);
    for _ in 0..25 {
        camera.try_send(500).unwrap();
    }
    camera.handle.lose(2, GapReason::SourceLost).unwrap();
    let (_, summary) = camera.finish();
    tally.read_to_end(&mut subscriber, 1);
    tally.assert_complete();

    let tally = &tally.streams[&stream];
    let stats = &summary.stats;
    assert_eq!(tally.delivered().len() as u64, stats.acknowledged_frames);
    assert_eq!(tally.repeated(), 7);
    let drops: BTreeMap<_, _> = stats.drops.iter().copied().filter(|(_, frames)| *frames > 0).collect();
    assert_eq!(tally.missing(), drops, "the reader's reasons are the publisher's");
    for reason in [GapReason::Overflow, GapReason::Expired, GapReason::SourceLost, GapReason::SourceDamaged] {
        assert!(drops.contains_key(&reason), "{reason} was not provoked: {drops:?}");
    }
}

/// Frames that were too old when they came.
fn expire(camera: &mut Camera) {
    let hour_ago = SystemClock.unix_nanos() - 3_600_000_000_000;
    for _ in 0..4 {
        let mut frame = camera.next_frame(1_000).keyframe();
        frame.capture = CaptureTime::sensor(hour_ago);
        frame.deadline = Some(Deadline::after_capture(Duration::from_millis(100)));
        camera.submit(frame).unwrap();
    }
}
