//! Records that somebody else wrote into our topics.

use crate::backend::Site;
use crate::foreign::ForeignProducer;
use crate::load::{Camera, await_that};
use crate::tally::Tally;
use lumenbus_bus::subscriber::Notice;
use lumenbus_frame::{CaptureTime, Epoch, FrameId, GapReason, Seq};
use lumenbus_wire::{Chunk, Header, content_type};

const TOPIC: &str = "raw_video";
const NOW: i64 = 1_700_000_000_000_000_000;

/// An epoch no publisher here has yet.
fn id(epoch: Epoch, seq: u64) -> FrameId {
    FrameId { epoch, seq: Seq(seq) }
}

fn chunk(id: FrameId, chunk: Chunk) -> Vec<u8> {
    let mut header = Header::new(id, CaptureTime::arrival(NOW));
    header.is_keyframe = true;
    header.chunk = Some(chunk);
    header.to_bytes().to_vec()
}

/// Everything that is not ours, under keys of cameras that exist, do not exist, and cannot exist.
fn write_strange_records(foreign: &ForeignProducer) -> u64 {
    let header = Header::new(id(Epoch(1 << 16), 0), CaptureTime::arrival(NOW)).to_bytes();
    // Field 1 (version) as 99.
    let other_version = [&[0x08, 99][..], &header].concat();
    let huge_length = [&header[..], &[0xfa, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    let long = vec![0x0a; 70_000];
    let video = Some(&b"video/h264"[..]);
    let mut written = 0;
    for key in [Some(&b"stranger"[..]), Some(b"not a camera id"), Some(&[0xff, 0xfe]), Some(b""), None] {
        foreign.send(key, None, None, Some(b"hello"));
        foreign.send(key, None, None, None);
        foreign.send(key, video, None, Some(b"no lb"));
        foreign.send(key, None, Some(&header), Some(b"no content type"));
        foreign.send(key, video, Some(&header), None);
        foreign.send(key, video, Some(&[0xff; 40]), Some(b"no protobuf"));
        foreign.send(key, video, Some(&other_version), Some(b"another version"));
        foreign.send(key, video, Some(&huge_length), Some(b"a length beyond everything"));
        foreign.send(key, video, Some(&long), Some(b"a header beyond the limit"));
        foreign.send(key, Some(b"\xff\xff"), Some(&header), Some(b"content type"));
        foreign.send(key, Some(b"application/x-unknown"), Some(&header), Some(b"content type"));
        for kind in
            [content_type::CHUNK, content_type::BATCH, content_type::SEALED, content_type::END, content_type::GAP]
        {
            foreign.send(key, Some(kind.as_bytes()), Some(&header), Some(b"not what it says"));
        }
        for kind in [content_type::ENVELOPE_PROTOBUF, content_type::ENVELOPE_MSGPACK, content_type::ENVELOPE_JSON] {
            foreign.send(key, Some(kind.as_bytes()), None, Some(&[0xdf, 0xff, 0xff, 0xff, 0xff, 0x93]));
        }
        written += 19;
    }
    written
}

/// Bombs: totals that nobody could hold, more chunks than bytes, parts that are missing.
fn write_chunk_bombs(foreign: &ForeignProducer) {
    let bomb =
        |count, total_bytes| Chunk { index: 0, count, total_bytes, total_crc32c: 0, content_type: "video/h264".into() };
    for (n, chunk_of) in [bomb(2, u64::MAX), bomb(2, 1 << 40), bomb(u32::MAX, 4), bomb(0, 0), bomb(1000, 200 << 20)]
        .into_iter()
        .enumerate()
    {
        for seq in 0..20 {
            let header = chunk(id(Epoch(2 << 16), seq), chunk_of.clone());
            let camera = format!("bomb-{n}");
            foreign.send(
                Some(camera.as_bytes()),
                Some(content_type::CHUNK.as_bytes()),
                Some(&header),
                Some(&[1; 1000]),
            );
        }
    }
}

/// Two cameras in the same partition lose nothing; the strange records are counted, and told once.
pub fn records_of_somebody_else(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let mut cameras =
        [("a", 1), ("b", 1), ("c", 0)].map(|(name, at)| Camera::open_with(&publisher, name, TOPIC, Some(at)));
    let foreign = ForeignProducer::new(site, TOPIC, 1);
    let mut subscriber = site.subscriber(&[TOPIC]);
    let mut written = 0;
    for _ in 0..3 {
        for camera in &mut cameras {
            camera.send_many(10, 5_000);
            camera.flush();
        }
        written += write_strange_records(&foreign);
        write_chunk_bombs(&foreign);
        foreign.flush();
    }
    let sent = cameras.map(|camera| (camera.handle.id().clone(), camera.finish().0));
    let mut tally = Tally::default();
    tally.read_until(&mut subscriber, "our streams end", |tally| {
        sent.iter().all(|(stream, frames)| tally.streams.get(stream).is_some_and(|t| t.contents.len() >= frames.len()))
            && tally.ended() >= 3
    });
    for (stream, frames) in &sent {
        tally.assert_contents(stream, frames);
        assert_eq!(tally.streams[stream].missing().len(), 0, "{stream} was disturbed");
    }
    await_that("strange records are counted", || {
        let stats = subscriber.stats();
        stats.foreign > 0 && stats.damaged > 0 && stats.foreign + stats.damaged >= written / 2
    });
    let told = |notice: &&Notice| matches!(notice, Notice::UnreadableRecord { partition: 1, .. });
    let times = tally.notices.iter().filter(told).count();
    assert!((1..=2).contains(&times), "told {times} times: {:?}", tally.notices);
    assert_eq!(tally.notices.len(), times, "{:?}", tally.notices);
}

/// Damage under a camera's own key costs that camera a gap at most; its neighbour nothing.
pub fn damaged_records_of_one_camera(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let mut hurt = Camera::open_with(&publisher, "hurt", TOPIC, Some(1));
    let mut neighbour = Camera::open_with(&publisher, "neighbour", TOPIC, Some(1));
    let foreign = ForeignProducer::new(site, TOPIC, 1);
    for round in 0..3 {
        for camera in [&mut hurt, &mut neighbour] {
            camera.send_many(10, 5_000);
            camera.flush();
        }
        let mut header = Header::new(id(hurt.handle.epoch(), 10 * (round + 1)), CaptureTime::arrival(NOW));
        header.payload_crc32c = Some(7);
        foreign.send(Some(b"hurt"), Some(b"video/h264"), Some(&header.to_bytes()), Some(b"not these bytes"));
        foreign.send(Some(b"hurt"), Some(b"video/h264"), Some(&[0xff; 64]), Some(b"no header"));
        foreign.flush();
    }
    let sent = [hurt, neighbour].map(|camera| (camera.handle.id().clone(), camera.finish().0));
    let mut subscriber = site.subscriber(&[TOPIC]);
    let mut tally = Tally::default();
    tally.read_to_end(&mut subscriber, 2);
    tally.assert_complete();
    tally.assert_contents(&sent[1].0, &sent[1].1);
    let missing = tally.streams[&sent[0].0].missing();
    assert!(
        missing.keys().all(|reason| matches!(reason, GapReason::RecordDamaged | GapReason::Undecodable)),
        "{missing:?}"
    );
    assert!(tally.streams[&sent[0].0].contents.len() >= 10);
    await_that("the damage is counted", || subscriber.stats().damaged >= 6);
}
