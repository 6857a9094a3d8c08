//! Where a reader begins.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::load::{Camera, await_that};
use crate::tally::Tally;
use lumenbus_bus::subscriber::{FrameRole, Start};
use lumenbus_frame::Seq;

/// It gets the newest keyframe first, then what lies between, then what is live.
pub fn a_live_reader_begins_at_the_newest_keyframe(site: &Site) {
    site.create_topics(&["raw_video"]);
    let publisher = site.publisher();
    let mut camera = Camera::open(&publisher, "gate", "raw_video").with_gop(30);
    let mut neighbour = Camera::open_with(&publisher, "neighbour", "raw_video", Some(camera.handle.stats().partition));
    for _ in 0..45 {
        camera.send(3_000);
        neighbour.send(3_000);
        // The hint names acknowledged keyframes.
        camera.flush();
    }
    neighbour.flush();
    let mut subscriber = site.subscriber_with(&["raw_video"], |config| config.start = Start::Live);
    let mut tally = Tally::default();
    for _ in 0..20 {
        camera.send(3_000);
        camera.flush();
    }
    let stream = camera.handle.id().clone();
    camera.finish();
    tally.read_to_end(&mut subscriber, 1);
    tally.assert_explained();
    let roles = &tally.streams[&stream].roles;
    let expected: Vec<_> =
        (30..65).map(|seq| (Seq(seq), if seq < 45 { FrameRole::CatchUp } else { FrameRole::Current })).collect();
    assert_eq!(roles.iter().map(|(id, role)| (id.seq, *role)).collect::<Vec<_>>(), expected);
    await_that("the rewind is counted", || subscriber.stats().rewinds == 1);
}

/// Sessions one after the other, the first ones ended.
pub fn a_reader_of_the_whole_log_sees_every_epoch(site: &Site) {
    site.create_topics(&["raw_video", "raw_images"]);
    let publisher = site.publisher();
    for base in ["raw_video", "raw_images"] {
        let mut sent = std::collections::BTreeMap::new();
        let mut stream = None;
        for _ in 0..3 {
            let mut camera = Camera::open(&publisher, "again", base);
            camera.send_many(15, 2_000);
            stream = Some(camera.handle.id().clone());
            sent.extend(camera.finish().0);
        }
        let mut subscriber = site.subscriber(&[base]);
        let mut tally = Tally::default();
        tally.read_until(&mut subscriber, "all frames come", |tally| tally.frames() == 45);
        tally.read_to_end(&mut subscriber, 1);
        tally.assert_complete();
        let stream = stream.unwrap();
        tally.assert_contents(&stream, &sent);
        let open: Vec<_> = tally.streams[&stream].epochs.values().flat_map(|epoch| &epoch.open_gaps).collect();
        assert!(base == "raw_images" || open.is_empty(), "ended epochs are not aborted: {open:?}");
    }
}
