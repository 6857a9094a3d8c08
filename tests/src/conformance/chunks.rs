//! Frames larger than a record, and records with several frames.

use crate::backend::Site;
use crate::load::Camera;
use crate::tally::Tally;
use lumenbus_bus::publisher::BatchLimits;
use std::time::Duration;

/// At default broker limits, with another camera's frames between the chunks of the same partition.
pub fn a_6_mb_picture_and_a_40_mb_raw_frame(site: &Site) {
    let topics = ["raw_images", "raw_pixels"];
    site.create_topics(&topics);
    let publisher = site.publisher();
    let mut stills = Camera::open_with(&publisher, "stills", "raw_images", Some(0));
    let mut other = Camera::open_with(&publisher, "other", "raw_images", Some(0));
    let mut raw = Camera::open(&publisher, "raw", "raw_pixels");
    raw.send(40 << 20);
    for _ in 0..3 {
        stills.send(6 << 20);
        for _ in 0..20 {
            other.send(10_000);
        }
        stills.send(20_000);
    }
    raw.send(100);
    let sent = [stills, other, raw].map(|camera| (camera.handle.id().clone(), camera.finish().0));
    let mut subscriber = site.subscriber(&topics);
    let mut tally = Tally::default();
    tally.read_to_end(&mut subscriber, 3);
    tally.assert_complete();
    for (stream, frames) in &sent {
        tally.assert_contents(stream, frames);
    }
}

/// Fewer records than frames; each frame by itself on the other side.
pub fn small_frames_in_batches(site: &Site) {
    const FRAMES: u64 = 600;
    site.create_topics(&["raw_video"]);
    let limits = BatchLimits { frames: 16, bytes: 64 << 10, wait: Duration::from_millis(5) };
    let publisher = site.publisher_with(|config| config.batching = Some(limits));
    let mut camera = Camera::open(&publisher, "small", "raw_video").with_gop(50);
    for _ in 0..FRAMES {
        camera.send(100);
    }
    let stream = camera.handle.id().clone();
    let (frames, summary) = camera.finish();
    assert!(summary.stats.records < FRAMES / 3, "{summary:?}");
    let mut subscriber = site.subscriber(&["raw_video"]);
    let mut tally = Tally::default();
    tally.read_to_end(&mut subscriber, 1);
    tally.assert_complete();
    tally.assert_contents(&stream, &frames);
}
