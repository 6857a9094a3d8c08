//! Streams that change their partition.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::load::Camera;
use crate::tally::Tally;
use lumenbus_frame::GapReason;

const TOPIC: &str = "raw_video";

/// The new partition's frames come after the old one's, whichever consumer reads them.
pub fn order_across_partitions(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let mut camera = Camera::open_with(&publisher, "mover", TOPIC, Some(0));
    let mut neighbour = Camera::open_with(&publisher, "neighbour", TOPIC, Some(0));
    let mut early = site.subscriber_with(&[TOPIC], |config| config.consumers = 3);
    for partition in [1, 0, 3] {
        for _ in 0..25 {
            camera.send_many(1, 8_000);
            neighbour.send_many(1, 8_000);
        }
        camera.handle.move_to(partition).unwrap();
    }
    camera.send_many(25, 8_000);
    let (mover, stays) = (camera.handle.id().clone(), neighbour.handle.id().clone());
    let sent = [(stays, neighbour.finish().0), (mover.clone(), camera.finish().0)];
    let mut late = site.subscriber_with(&[TOPIC], |config| config.consumers = 2);
    for subscriber in [&mut early, &mut late] {
        let mut tally = Tally::default();
        tally.read_until(subscriber, "all frames come", |tally| {
            tally.ended() == 2 && sent.iter().all(|(stream, frames)| tally.streams[stream].contents.len() >= frames.len())
        });
        tally.assert_complete();
        for (stream, frames) in &sent {
            tally.assert_contents(stream, frames);
        }
        let contents = &tally.streams[&mover].contents;
        assert!(contents.values().is_sorted_by_key(|content| content.number), "in order of submission");
        let gaps = tally.streams[&mover].epochs.values().flat_map(|epoch| &epoch.open_gaps);
        assert_eq!(gaps.filter(|gap| gap.1 == GapReason::Aborted).count(), 0, "a move aborts nothing");
    }
}
