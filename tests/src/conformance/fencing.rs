//! Two publishers of one camera.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::foreign::ForeignProducer;
use crate::load::{Camera, await_that};
use crate::tally::Tally;
use lumenbus_bus::BusError;
use lumenbus_frame::{CaptureTime, Epoch, FrameId, GapReason, Seq};
use lumenbus_wire::Header;

/// The first one stops with a message; the reader sees one epoch after the other.
pub fn a_second_publisher_takes_over(site: &Site) {
    site.create_topics(&["raw_video"]);
    let first = site.publisher();
    let mut old = Camera::open(&first, "gate", "raw_video");
    old.send_many(25, 5_000);
    old.flush();
    let second = site.publisher();
    let mut new = Camera::open(&second, "gate", "raw_video");
    assert!(new.handle.epoch() > old.handle.epoch());
    let mut ends_with = None;
    await_that("the first publisher is told", || {
        ends_with = old.try_send(1_000).err();
        ends_with.is_some()
    });
    let BusError::Superseded { theirs, .. } = ends_with.unwrap() else { panic!("another error") };
    assert_eq!(theirs, new.handle.epoch());
    new.send_many(25, 5_000);
    let (stream, old_epoch, new_epoch) = (new.handle.id().clone(), old.handle.epoch(), new.handle.epoch());
    let (frames, _) = new.finish();

    let mut subscriber = site.subscriber(&["raw_video"]);
    let mut tally = Tally::default();
    tally.read_until(&mut subscriber, "the new epoch ends", |tally| tally.ended() == 1);
    tally.assert_complete();
    let tally = &tally.streams[&stream];
    assert_eq!(tally.epochs.keys().copied().collect::<Vec<_>>(), [old_epoch.0, new_epoch.0]);
    let delivered = &tally.epochs[&old_epoch.0].delivered;
    assert!(delivered.len() >= 25, "{delivered:?}");
    assert_eq!(tally.epochs[&old_epoch.0].open_gaps, [(delivered.len() as u64, GapReason::Aborted)]);
    assert!(frames.iter().all(|(id, content)| tally.contents.get(id) == Some(content)));
}

/// What a superseded client still sends is not handed over, and counted.
pub fn late_records_of_an_old_epoch_are_discarded(site: &Site) {
    const LATE: u64 = 7;
    site.create_topics(&["raw_video"]);
    let publisher = site.publisher();
    let mut camera = Camera::open(&publisher, "gate", "raw_video");
    camera.send_many(10, 1_000);
    camera.flush();
    let stats = camera.handle.stats();
    let foreign = ForeignProducer::new(site, "raw_video", stats.partition);
    for seq in 0..LATE {
        let id = FrameId { epoch: Epoch(stats.epoch.0 - 1), seq: Seq(seq) };
        let mut header = Header::new(id, CaptureTime::arrival(1_700_000_000_000_000_000));
        header.is_keyframe = true;
        foreign.send(Some(b"gate"), Some(b"video/h264"), Some(&header.to_bytes()), Some(b"late"));
    }
    foreign.flush();
    camera.send_many(10, 1_000);
    let stream = camera.handle.id().clone();
    let (frames, _) = camera.finish();
    let mut subscriber = site.subscriber(&["raw_video"]);
    let mut tally = Tally::default();
    tally.read_to_end(&mut subscriber, 1);
    tally.assert_complete();
    tally.assert_contents(&stream, &frames);
    assert_eq!(tally.streams[&stream].epochs.len(), 1);
    await_that("the late records are counted", || subscriber.stats().fenced == LATE);
}
