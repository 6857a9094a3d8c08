//! Moments that are hard to find: forged entries, a camera that stopped, large records, sessions without an index.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use super::seeking::{FRAME_NANOS, GOP, SECOND, Sent, TOPIC, await_entries, check, frame, now, record};
use crate::backend::Site;
use crate::foreign::ForeignProducer;
use crate::load::{Camera, PATIENCE};
use lumenbus_bus::index::IndexReader;
use lumenbus_bus::playback::Player;
use lumenbus_bus::topics::INDEX;
use lumenbus_frame::{FrameId, StreamId};
use lumenbus_wire::IndexEntry;

/// More records than are looked through backwards.
const MANY: usize = 4_300;

/// One session of a camera, a keyframe a second; the index has so many entries afterwards, where there is one.
fn session(
    site: &Site,
    sent: &mut Sent,
    (partition, from, frames): (u32, i64, u64),
    entries: Option<usize>,
) -> StreamId {
    let publisher = site.publisher_with(|config| config.index = entries.is_some());
    let mut camera = Camera::open_with(&publisher, "gate", TOPIC, Some(partition)).with_gop(GOP);
    record(&mut camera, sent, from, frames);
    let stream = camera.handle.id().clone();
    drop(camera.finish());
    // Closing does not wait for the index as long as a loaded machine may need.
    if let Some(entries) = entries {
        assert_eq!(await_entries(site, &stream, entries).len(), entries);
    }
    drop(publisher.close(PATIENCE));
    stream
}

/// Records of somebody else, behind everything in this partition.
fn noise(site: &Site, base: &str, partition: u32, records: usize) {
    let producer = ForeignProducer::new(site, base, partition);
    for _ in 0..records {
        producer.send(Some(b"somebody"), None, None, Some(b"else"));
    }
    producer.flush();
}

/// An entry that claims to be the next one after the last of an older session: the session between is shown all the same.
pub fn an_entry_that_hides_a_session(site: &Site) {
    site.create_topics(&[TOPIC]);
    let from = now() - 600 * SECOND;
    let mut sent = Sent::default();
    session(site, &mut sent, (1, from, 100), Some(10));
    // So far apart that the entries of the one are not seen beside those of the other.
    noise(site, INDEX, 1, 100);
    let stream = session(site, &mut sent, (1, from + 20 * SECOND, 100), Some(20));
    noise(site, INDEX, 1, 100);
    let written = await_entries(site, &stream, 20);
    let (last_at, last) = written[9].clone();
    let liar = ForeignProducer::new(site, INDEX, 1);
    let forged = IndexEntry {
        id: FrameId { epoch: last.id.epoch, seq: last.id.seq.next() },
        capture_unix_nanos: now(),
        offset: u64::MAX / 4,
        previous: Some(last_at),
        ..last
    };
    liar.send(Some(stream.camera.as_str().as_bytes()), None, None, Some(&forged.encode()));
    liar.flush();
    let mut player = Player::open(&site.bus).unwrap();
    for tenths in [45, 95, 205, 255, 295] {
        check(&mut player, &sent, &stream, 0..200, from + tenths * FRAME_NANOS + 1_000);
    }
}

/// The last picture of a camera that is off, while others of its partition go on: by the end of the index, by what the
/// directory says of when it ended, and without an index.
pub fn a_camera_that_stopped_among_others(site: &Site) {
    site.create_topics(&[TOPIC]);
    let from = now() - 10 * SECOND;
    let mut sent = Sent::default();
    let last = |site: &Site, stream: &StreamId| {
        let found = IndexReader::open(&site.bus).unwrap().find(stream, now()).unwrap();
        found.iter().map(|found| (found.id.epoch, found.id.seq.0)).collect::<Vec<_>>()
    };
    let expected = |sent: &Sent| vec![(sent.frames.last().unwrap().0.epoch, 20)];
    let stream = session(site, &mut sent, (1, from, 30), Some(3));
    noise(site, TOPIC, 1, MANY);
    noise(site, INDEX, 1, 200);
    assert_eq!(last(site, &stream), expected(&sent), "200 entries of others behind");
    noise(site, INDEX, 1, MANY);
    assert_eq!(last(site, &stream), expected(&sent), "as the directory says");
    session(site, &mut sent, (1, from + 5 * SECOND, 30), None);
    noise(site, TOPIC, 1, MANY);
    assert_eq!(last(site, &stream), expected(&sent), "without entries");
    let mut player = Player::open(&site.bus).unwrap();
    player.seek(&stream, now()).unwrap().unwrap();
    let seqs: Vec<_> = (0..10).map(|_| frame(&mut player).id().seq.0).collect();
    assert_eq!(seqs, (20..30).collect::<Vec<_>>());
}

/// More bytes before a keyframe than are read at a time: the nearest keyframe counts, none is passed over.
pub fn large_records_backwards(site: &Site) {
    const FRAMES: u64 = 46;
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher_with(|config| config.index = false);
    let mut camera = Camera::open_with(&publisher, "large", TOPIC, Some(0)).with_gop(2);
    for _ in 0..FRAMES {
        // One record each.
        camera.send(900_000);
        camera.flush();
    }
    let stream = camera.handle.id().clone();
    drop(camera.finish());
    let mut player = Player::open(&site.bus).unwrap();
    let last = player.seek(&stream, now()).unwrap().unwrap();
    assert_eq!(last.id.seq.0, FRAMES - 2);
    for seq in (0..FRAMES - 2).rev().step_by(2) {
        let before = player.step_back().unwrap().map(|before| before.id.seq.0);
        assert_eq!(before, Some(seq - seq % 2));
    }
    assert_eq!(player.step_back().unwrap(), None);
}

/// Backwards over a session without entries into another partition: each keyframe once.
pub fn keyframes_before_a_session(site: &Site) {
    site.create_topics(&[TOPIC]);
    let from = now() - 600 * SECOND;
    let mut sent = Sent::default();
    session(site, &mut sent, (0, from, 50), Some(5));
    session(site, &mut sent, (0, from + 20 * SECOND, 30), None);
    let stream = session(site, &mut sent, (2, from + 40 * SECOND, 30), Some(8));
    let mut player = Player::open(&site.bus).unwrap();
    let last = player.seek(&stream, now()).unwrap().unwrap();
    let mut ids = vec![last.id];
    while let Some(keyframe) = player.step_back().unwrap() {
        ids.push(keyframe.id);
    }
    let keyframes = sent.frames.iter().rev().map(|(id, ..)| *id).filter(|id| id.seq.0 % GOP == 0);
    assert_eq!(ids, keyframes.collect::<Vec<_>>());
}
