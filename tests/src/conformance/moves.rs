//! Streams that change their partition.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::load::{Camera, Content};
use crate::tally::{StreamTally, Tally};
use lumenbus_bus::subscriber::Subscriber;
use lumenbus_frame::{FrameId, GapReason, StreamId};
use std::collections::BTreeMap;

const TOPIC: &str = "raw_video";

/// The new partition's frames come after the old one's, whichever consumer reads them, also when the stream comes back.
pub fn order_across_partitions(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let mut cameras = ["mover", "neighbour"].map(|name| Camera::open_with(&publisher, name, TOPIC, Some(0)));
    let mut subscriber = site.subscriber_with(&[TOPIC], |config| config.consumers = 3);
    for partition in [1, 0, 3] {
        send(&mut cameras, 25);
        cameras[0].handle.move_to(partition).unwrap();
    }
    send(&mut cameras, 25);
    let (mover, sent) = finish(cameras);
    let tally = read(&mut subscriber, &sent);
    assert_eq!(tally.streams[&mover].epochs.len(), 4);
}

/// A reader that comes when the move is past.
pub fn order_across_a_move_in_the_past(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let mut cameras = ["mover", "neighbour"].map(|name| Camera::open_with(&publisher, name, TOPIC, Some(3)));
    send(&mut cameras, 45);
    cameras[0].handle.move_to(0).unwrap();
    send(&mut cameras, 45);
    let (_, sent) = finish(cameras);
    for consumers in [1, 2] {
        let mut subscriber = site.subscriber_with(&[TOPIC], |config| config.consumers = consumers);
        read(&mut subscriber, &sent);
    }
}

fn send(cameras: &mut [Camera; 2], frames: u64) {
    for _ in 0..frames {
        for camera in cameras.iter_mut() {
            camera.send_many(1, 8_000);
        }
    }
    // A further move waits for the one under way.
    cameras[0].flush();
}

type Sent = BTreeMap<StreamId, BTreeMap<FrameId, Content>>;

fn finish(cameras: [Camera; 2]) -> (StreamId, Sent) {
    let mover = cameras[0].handle.id().clone();
    (mover, cameras.into_iter().map(|camera| (camera.handle.id().clone(), camera.finish().0)).collect())
}

fn read(subscriber: &mut Subscriber, sent: &Sent) -> Tally {
    let mut tally = Tally::default();
    tally.read_until(subscriber, "all frames come", |tally| {
        let has = |stream| tally.streams.get(stream).map_or(0, |tally| tally.contents.len());
        tally.ended() == 2 && sent.iter().all(|(stream, frames)| has(stream) >= frames.len())
    });
    tally.assert_complete();
    for (stream, frames) in sent {
        tally.assert_contents(stream, frames);
        let StreamTally { epochs, contents, .. } = &tally.streams[stream];
        assert!(contents.values().is_sorted_by_key(|content| content.number), "in order of submission");
        let is_aborted = |gap: &(u64, GapReason)| gap.1 == GapReason::Aborted;
        assert!(
            !epochs.values().flat_map(|epoch| &epoch.open_gaps).any(is_aborted),
            "a move aborts nothing: {epochs:?}"
        );
    }
    tally
}
