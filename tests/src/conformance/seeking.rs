//! Moments in a recording: found by the index, without it, and around clocks that are set.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::cli::spawn_at;
use crate::conformance::retention::delete_records;
use crate::foreign::ForeignProducer;
use crate::load::{Camera, Content, PATIENCE, await_that};
use lumenbus_bus::index::{IndexReader, KeyframeAt};
use lumenbus_bus::playback::Player;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole};
use lumenbus_bus::topics::INDEX;
use lumenbus_bus::{Publisher, SystemClock};
use lumenbus_frame::{CaptureTime, Clock as _, Epoch, FrameId, Seq, StreamId, TopicName};
use lumenbus_wire::{IndexEntry, IndexPosition, IndexSection};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(super) const TOPIC: &str = "raw_video";
const STILLS: &str = "raw_images";
pub(super) const GOP: u64 = 10;
pub(super) const FRAME_NANOS: i64 = 100_000_000;
pub(super) const SECOND: i64 = 1_000_000_000;
/// What a lookup may read of the index.
const MOST_RECORDS: u64 = 64;

/// What a camera sent: when each frame was taken, in the order of the log.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) frames: Vec<(FrameId, i64, Content)>,
    pub(super) gop: u64,
}

impl Sent {
    /// The frame that is shown at a moment, searched in this part of the recording.
    fn at(&self, part: std::ops::Range<usize>, moment: i64) -> (FrameId, Content) {
        let found = self.frames[part].iter().rev().find(|(_, capture, _)| *capture <= moment).unwrap();
        (found.0, found.2)
    }

    fn keyframe_of(&self, id: FrameId) -> FrameId {
        FrameId { epoch: id.epoch, seq: Seq(id.seq.0 / self.gop * self.gop) }
    }
}

/// Sends frames whose capture times lie in the past, as fast as they go.
pub(super) fn record(camera: &mut Camera, sent: &mut Sent, from: i64, frames: u64) {
    sent.gop = GOP;
    for n in 0..i64::try_from(frames).unwrap() {
        let capture = from + n * FRAME_NANOS;
        let mut frame = camera.next_frame(2_000);
        frame.capture = CaptureTime::sensor(capture);
        let content = Content::of(&frame.payload).unwrap();
        let admission = camera.submit(frame).unwrap();
        sent.frames.push((FrameId { epoch: camera.handle.epoch(), seq: admission.seq() }, capture, content));
    }
    camera.flush();
}

pub(super) fn now() -> i64 {
    SystemClock.unix_nanos()
}

/// Every entry of the index, as any client reads it.
fn entries(site: &Site, stream: &StreamId) -> Vec<(IndexPosition, IndexEntry)> {
    let key = stream.camera.as_str().as_bytes();
    let all = crate::foreign::read_all(site, INDEX);
    let ours = all.into_iter().filter(|record| record.key.as_deref() == Some(key));
    let decode = |record: crate::foreign::Record| {
        let at = IndexPosition {
            partition: record.partition.try_into().unwrap(),
            offset: record.offset.try_into().unwrap(),
        };
        IndexEntry::decode(record.value.as_deref().unwrap_or_default()).ok().map(|entry| (at, entry))
    };
    ours.filter_map(decode).filter(|(_, entry)| entry.topic == stream.topic && entry.stream == stream.name).collect()
}

/// Waits until the publisher has written so many entries of a stream.
pub(super) fn await_entries(site: &Site, stream: &StreamId, count: usize) -> Vec<(IndexPosition, IndexEntry)> {
    let mut found = Vec::new();
    await_that("the index is written", || {
        found = entries(site, stream);
        found.len() >= count
    });
    found
}

/// Moments all over a stretch, from a fixed seed.
fn moments(from: i64, to: i64, count: usize) -> Vec<i64> {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word
    };
    let length = (to - from).unsigned_abs();
    (0..count).map(|_| from + i64::try_from(next() % length).unwrap()).collect()
}

pub(super) fn frame(player: &mut Player) -> DeliveredFrame {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "no frame comes: {player:?}");
        match player.recv(Duration::from_secs(1)).unwrap() {
            Some(Event::Frame(frame)) => return frame,
            Some(event) => eprintln!("{event:?}"),
            None => {}
        }
    }
}

/// What a player shows at a moment: the last preroll, or the first frame when that was taken just then.
fn shown(player: &mut Player, stream: &StreamId, moment: i64) -> (KeyframeAt, FrameId, Content) {
    let keyframe = player.seek(stream, moment).unwrap().unwrap_or_else(|| panic!("nothing at {moment}"));
    let (mut shown, mut is_first) = (None, true);
    loop {
        let frame = frame(player);
        assert_eq!(*frame.stream, *stream);
        if std::mem::take(&mut is_first) {
            assert_eq!((frame.id(), frame.offset), (keyframe.id, keyframe.offset), "it begins with the keyframe");
            assert!(frame.header.is_keyframe);
        }
        let capture = frame.header.capture.unix_nanos;
        assert_eq!(frame.role == FrameRole::Preroll, capture < moment, "{frame:?} at {moment}");
        if capture <= moment {
            shown = Some((frame.id(), Content::of(&frame.payload).unwrap()));
        }
        if capture >= moment {
            let (id, content) = shown.expect("something is shown");
            return (keyframe, id, content);
        }
    }
}

pub(super) fn check(player: &mut Player, sent: &Sent, stream: &StreamId, part: std::ops::Range<usize>, moment: i64) {
    let expected = sent.at(part, moment);
    let (keyframe, id, content) = shown(player, stream, moment);
    assert_eq!((id, content), expected, "at {moment}");
    assert_eq!(keyframe.id, sent.keyframe_of(id), "at {moment}");
}

/// A recording of half an hour that was sent in one go, among others in the same partition.
fn recording(site: &Site, publisher: &Publisher) -> (StreamId, Sent, i64) {
    let from = now() - 1_800 * SECOND;
    let mut camera = Camera::open_with(publisher, "gate", TOPIC, Some(1)).with_gop(GOP);
    let mut others = ["dock", "yard"].map(|name| Camera::open_with(publisher, name, TOPIC, Some(1)).with_gop(5));
    let mut sent = Sent::default();
    for part in 0..6 {
        record(&mut camera, &mut sent, from + part * 50 * FRAME_NANOS, 50);
        for other in &mut others {
            record(other, &mut Sent::default(), from + part * 50 * FRAME_NANOS, 50);
        }
    }
    let stream = camera.handle.id().clone();
    drop(camera.finish());
    drop(others.map(Camera::finish));
    let _ = site;
    (stream, sent, from)
}

/// One entry a keyframe, chained, in the frames' partition; each moment shows its frame, and few records are read.
pub fn moments_are_found_by_the_index(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let (stream, sent, from) = recording(site, &publisher);
    let written = await_entries(site, &stream, 30);
    assert_eq!(written.len(), 30);
    let mut previous = None;
    for (n, (at, entry)) in (0..).zip(&written) {
        let (id, capture, _) = sent.frames[n * 10];
        assert_eq!((entry.id, entry.capture_unix_nanos, entry.partition), (id, capture, 1));
        assert_eq!((at.partition, entry.previous, entry.is_thinned), (1, previous, false));
        assert_eq!(
            entry.section,
            IndexSection { first_capture_unix_nanos: from, before: None, newest_before_unix_nanos: None }
        );
        previous = Some(*at);
    }
    let all = 0..sent.frames.len();
    let mut player = Player::open(&site.bus).unwrap();
    for moment in moments(from, from + 299 * FRAME_NANOS, 25) {
        check(&mut player, &sent, &stream, all.clone(), moment);
        let cost = player.index().last_cost();
        assert!(cost.index_records <= MOST_RECORDS, "{cost:?}");
    }
    // Backwards, keyframe by keyframe.
    let last = player.seek(&stream, from + 299 * FRAME_NANOS).unwrap().unwrap();
    let mut ids = vec![last.id.seq.0];
    while let Some(keyframe) = player.step_back().unwrap() {
        assert_eq!(frame(&mut player).id(), keyframe.id);
        ids.push(keyframe.id.seq.0);
    }
    assert_eq!(ids, (0..30).rev().map(|gop| gop * GOP).collect::<Vec<_>>());
    // Nothing is older than the recording, and its end is the last frame.
    assert_eq!(player.index().find(&stream, from - 1).unwrap(), []);
    let end = player.index().find(&stream, now()).unwrap();
    assert_eq!(end.iter().map(|keyframe| keyframe.id.seq.0).collect::<Vec<_>>(), [290]);
    let coverage = player.index().coverage(&stream, from - 60 * SECOND, now(), 10).unwrap();
    assert_eq!((coverage.spans.len(), coverage.keyframes.len(), coverage.is_complete), (1, 10, true));
    assert_eq!(coverage.spans[0].from_unix_nanos, from);
    assert_eq!(coverage.spans[0].to_unix_nanos, from + 30 * SECOND);
}

/// The frames alone lead there too.
pub fn moments_are_found_without_an_index(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher_with(|config| config.index = false);
    let (stream, sent, from) = recording(site, &publisher);
    assert_eq!(crate::foreign::read_all(site, INDEX).len(), 0);
    let mut player = Player::open(&site.bus).unwrap();
    for moment in moments(from, from + 299 * FRAME_NANOS, 15) {
        check(&mut player, &sent, &stream, 0..300, moment);
    }
    let coverage = player.index().coverage(&stream, from, from + 30 * SECOND, 10).unwrap();
    assert!(!coverage.is_complete);
}

/// Seconds and an hour back and forward: each occurrence of a moment is found, the newest first.
pub fn a_moment_that_occurs_twice(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let start = now() - 3 * 3_600 * SECOND;
    let hour = 3_600 * SECOND;
    let mut camera = Camera::open_with(&publisher, "stepped", TOPIC, Some(2)).with_gop(GOP);
    let mut sent = Sent::default();
    // 10 s each: then 5 s back, an hour back, back to the hour once more, two hours forward.
    let parts = [start, start + 5 * SECOND, start - hour, start - hour + 4 * SECOND, start + hour];
    for from in parts {
        record(&mut camera, &mut sent, from, 100);
    }
    let stream = camera.handle.id().clone();
    drop(camera.finish());
    await_entries(site, &stream, 50);
    let mut index = IndexReader::open(&site.bus).unwrap();
    let keyframe = |part: usize, moment: i64| {
        let (id, _) = sent.at(part * 100..(part + 1) * 100, moment);
        sent.keyframe_of(id).seq.0
    };
    for (moment, occurrences) in [
        (start + 2 * SECOND, vec![0]),
        (start + 7 * SECOND, vec![1, 0]),
        (start + 13 * SECOND, vec![1]),
        (start - hour + 2 * SECOND, vec![2]),
        (start - hour + 8 * SECOND, vec![3, 2]),
        (start - hour + 12 * SECOND, vec![3]),
        (start + hour + 5 * SECOND, vec![4]),
    ] {
        let found = index.find(&stream, moment + 1).unwrap();
        let seqs: Vec<_> = found.iter().map(|keyframe| keyframe.id.seq.0).collect();
        let expected: Vec<_> = occurrences.iter().map(|part| keyframe(*part, moment + 1)).collect();
        assert_eq!(seqs, expected, "{} s after the start", (moment - start) / SECOND);
    }
}

/// The clock is set back at the end: what was before stays what it was, up to its last frame, and whoever asks for what is
/// later than everything gets what came last.
pub fn moments_before_a_clock_was_set_back(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let start = now() - 3_600 * SECOND;
    for (name, back) in [("seconds", 5 * SECOND), ("half-an-hour", 1_800 * SECOND)] {
        let mut camera = Camera::open_with(&publisher, name, TOPIC, Some(2)).with_gop(GOP);
        let mut sent = Sent::default();
        record(&mut camera, &mut sent, start, 100);
        let end = start + 100 * FRAME_NANOS;
        record(&mut camera, &mut sent, end - back, 40);
        let stream = camera.handle.id().clone();
        drop(camera.finish());
        await_entries(site, &stream, 14);
        let mut index = IndexReader::open(&site.bus).unwrap();
        let (before, after) = (0..100, 100..140);
        let once = [before.clone()].to_vec();
        let maybe_twice = if back < 10 * SECOND { [after, before].to_vec() } else { once.clone() };
        for (before_end, parts) in [(FRAME_NANOS + 1, once.clone()), (SECOND / 2, once), (3 * SECOND / 2, maybe_twice)]
        {
            let moment = end - before_end;
            let found = index.find(&stream, moment).unwrap();
            let ids: Vec<_> = found.iter().map(|keyframe| keyframe.id).collect();
            let expected: Vec<_> = parts.into_iter().map(|part| sent.keyframe_of(sent.at(part, moment).0)).collect();
            assert_eq!(ids, expected, "{name}: {before_end} ns before the end");
        }
        let found = index.find(&stream, end + SECOND).unwrap();
        assert_eq!(found[0].id, sent.keyframe_of(sent.frames[139].0), "{name}: {found:?}");
    }
}

/// A session without an index, alone and between two that have one: its pictures are shown, not the last indexed ones.
pub fn sessions_that_the_index_does_not_know(site: &Site) {
    site.create_topics(&[TOPIC]);
    let from = now() - 600 * SECOND;
    let mut sent = Sent::default();
    let mut stream = None;
    // Each 60 s long, the first frame of each 5 s after the last one before.
    for (session, has_index, entries) in [(0, true, 60), (1, false, 60), (2, true, 120)] {
        let publisher = site.publisher_with(|config| config.index = has_index);
        let mut camera = Camera::open_with(&publisher, "blind", TOPIC, Some(1)).with_gop(GOP);
        record(&mut camera, &mut sent, from + session * 65 * SECOND, 600);
        let id = camera.handle.id().clone();
        drop(camera.finish());
        // Closing does not wait for the index as long as a loaded machine may need.
        assert_eq!(await_entries(site, &id, entries).len(), entries);
        drop(publisher.close(PATIENCE));
        let mut player = Player::open(&site.bus).unwrap();
        let end = sent.frames.len();
        // Shortly after the last entry, long after it, and before it.
        for second in [2, 58, 66, 80, 105, 124, 140].into_iter().filter(|second| *second < 65 * session + 60) {
            check(&mut player, &sent, &id, 0..end, from + second * SECOND + 50_000_000);
        }
        stream = Some(id);
    }
    // Moved away, still without an index.
    let publisher = site.publisher_with(|config| config.index = false);
    let mut camera = Camera::open_with(&publisher, "blind", TOPIC, Some(2)).with_gop(GOP);
    record(&mut camera, &mut sent, from + 200 * SECOND, 100);
    drop(camera.finish());
    let mut player = Player::open(&site.bus).unwrap();
    check(&mut player, &sent, &stream.unwrap(), 0..sent.frames.len(), from + 205 * SECOND + 50_000_000);
}

/// Garbage and lies in the index cost time, and change no answer; frames that retention took are not found.
pub fn wrong_entries_are_passed_over(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let (stream, sent, from) = recording(site, &publisher);
    let written = await_entries(site, &stream, 30);
    let liar = ForeignProducer::new(site, INDEX, 1);
    let key = Some(stream.camera.as_str().as_bytes());
    let lie = |change: &dyn Fn(&mut IndexEntry)| {
        let mut entry = written[29].1.clone();
        change(&mut entry);
        liar.send(key, None, None, Some(&entry.encode()));
    };
    liar.send(key, None, None, Some(&[0xff; 2_000]));
    liar.send(key, None, None, Some(b"\x08\x09 another version"));
    liar.send(None, None, None, None);
    lie(&|entry| entry.offset = u64::MAX);
    lie(&|entry| entry.offset = 3);
    lie(&|entry| entry.id.epoch = Epoch(u64::MAX));
    lie(&|entry| entry.partition = u32::MAX);
    lie(&|entry| entry.previous = Some(IndexPosition { partition: u32::MAX, offset: u64::MAX }));
    lie(&|entry| entry.section.before = Some(IndexPosition { partition: 1, offset: 0 }));
    lie(&|entry| {
        // Its own successor.
        entry.section.before = Some(IndexPosition { partition: 1, offset: 110 });
        entry.section.newest_before_unix_nanos = Some(i64::MAX);
        entry.section.first_capture_unix_nanos = i64::MIN;
        entry.capture_unix_nanos = i64::MAX;
    });
    liar.flush();
    let mut player = Player::open(&site.bus).unwrap();
    for moment in moments(from, from + 299 * FRAME_NANOS, 10) {
        check(&mut player, &sent, &stream, 0..300, moment);
        let cost = player.index().last_cost();
        assert!(cost.index_records <= 4 * MOST_RECORDS, "{cost:?}");
    }
    // More of it than is read at once: what lies behind was not looked at.
    let coverage = |player: &mut Player| player.index().coverage(&stream, from, now(), 10).unwrap();
    assert!(coverage(&mut player).is_complete);
    for _ in 0..4_300 {
        liar.send(None, None, None, Some(&[0xff; 2_000]));
    }
    liar.flush();
    assert!(!coverage(&mut player).is_complete);
    // Retention takes the frames before the 20th keyframe; their entries are still there.
    delete_records(site, 1, written[20].1.offset.try_into().unwrap());
    assert_eq!(player.seek(&stream, from + 150 * FRAME_NANOS).unwrap(), None);
    check(&mut player, &sent, &stream, 0..300, from + 255 * FRAME_NANOS);
}

/// Keyframes of several records, a stream that moves, and a publisher that comes back: one recording.
pub fn a_recording_of_chunks_moves_and_sessions(site: &Site) {
    site.create_topics(&[TOPIC]);
    let from = now() - 600 * SECOND;
    let mut sent = Sent { gop: GOP, ..Sent::default() };
    let mut stream = None;
    for session in 0..2 {
        let publisher = site.publisher();
        let mut camera = Camera::open_with(&publisher, "wanderer", TOPIC, None).with_gop(GOP);
        for (part, partition) in [(0, None), (1, Some(0)), (2, Some(3))] {
            if let Some(partition) = partition {
                camera.handle.move_to(partition).unwrap();
            }
            let start = from + (session * 3 + part) * 4 * SECOND;
            for n in 0..40 {
                let mut frame = camera.next_frame(if n % 10 == 0 { 2_000_000 } else { 4_000 });
                frame.capture = CaptureTime::sensor(start + n * FRAME_NANOS);
                let (capture, content) = (frame.capture.unix_nanos, Content::of(&frame.payload).unwrap());
                let admission = camera.submit(frame).unwrap();
                sent.frames.push((FrameId { epoch: camera.handle.epoch(), seq: admission.seq() }, capture, content));
            }
            camera.flush();
        }
        stream = Some(camera.handle.id().clone());
        drop(camera.finish());
        let closed = publisher.close(PATIENCE);
        assert_eq!(closed.len(), 0, "every stream was finished");
    }
    let stream = stream.unwrap();
    let written = await_entries(site, &stream, 24);
    let by_place: BTreeMap<_, _> = written.iter().map(|(at, entry)| ((at.partition, at.offset), entry)).collect();
    // From the last entry back to the first, over moves and sessions.
    let (mut chain, mut next) = (Vec::new(), written.iter().map(|(_, entry)| entry).max_by_key(|entry| entry.id));
    while let Some(entry) = next {
        chain.push(entry.id);
        next = entry.previous.map(|at| by_place[&(at.partition, at.offset)]);
    }
    let mut expected: Vec<_> = written.iter().map(|(_, entry)| entry.id).collect();
    expected.sort_unstable();
    chain.reverse();
    assert_eq!(chain, expected);
    let mut player = Player::open(&site.bus).unwrap();
    for moment in moments(from, from + 239 * FRAME_NANOS, 12) {
        check(&mut player, &sent, &stream, 0..240, moment);
    }
    // Played through: every frame once and in order, from partition to partition.
    player.seek(&stream, from + 15 * FRAME_NANOS).unwrap().unwrap();
    let played: Vec<_> = (0..230).map(|_| frame(&mut player).id()).collect();
    assert_eq!(played, sent.frames[10..].iter().map(|(id, ..)| *id).collect::<Vec<_>>());
}

/// Of stills an entry a second is enough to find each.
pub fn stills_between_their_entries(site: &Site) {
    site.create_topics(&[STILLS]);
    let publisher = site.publisher();
    let from = now() - 60 * SECOND;
    let mut camera = Camera::open_with(&publisher, "stills", STILLS, Some(0)).with_gop(1);
    let mut sent = Sent::default();
    record(&mut camera, &mut sent, from, 200);
    sent.gop = 1;
    let stream = camera.handle.id().clone();
    drop(camera.finish());
    drop(publisher.close(PATIENCE));
    let written = entries(site, &stream);
    assert!(!written.is_empty() && written.len() < 150, "{} entries", written.len());
    let mut player = Player::open(&site.bus).unwrap();
    for moment in moments(from, from + 199 * FRAME_NANOS, 12) {
        let (keyframe, id, content) = shown(&mut player, &stream, moment);
        assert_eq!((id, content), sent.at(0..200, moment));
        assert_eq!(keyframe.id, id, "a still is its own keyframe");
    }
}

/// SIGKILL of a publisher: what it recorded is found, and the next session's chain goes on from it.
pub fn moments_of_a_publisher_that_was_killed(site: &Site) {
    site.create_topics(&[TOPIC]);
    let prefix = site.bus.topic_prefix.as_str();
    let line = format!("publish test:160x120@50 --camera victim --codec h264 --topic-prefix {prefix}");
    let stream = StreamId::main("victim".parse().unwrap(), topic(site));
    let mut ends = Vec::new();
    for session in 0..2 {
        let publisher = spawn_at(&site.bus.brokers, &line);
        let seen = ends.last().map_or(0, |end: &(usize, i64)| end.0);
        let written = await_entries(site, &stream, seen + 2);
        ends.push((written.len(), written.last().unwrap().1.capture_unix_nanos));
        if session == 0 {
            publisher.signal(Signal::KILL);
            drop(publisher.finish());
        } else {
            publisher.interrupt().code(0);
        }
    }
    let written = entries(site, &stream);
    let epochs: std::collections::BTreeSet<_> = written.iter().map(|(_, entry)| entry.id.epoch).collect();
    assert_eq!(epochs.len(), 2);
    let second = written.iter().position(|(_, entry)| entry.id.epoch == *epochs.last().unwrap()).unwrap();
    assert_eq!(written[second].1.previous, Some(written[second - 1].0), "the chain goes on");
    let mut index = IndexReader::open(&site.bus).unwrap();
    for (_, entry) in &written {
        let found = index.find(&stream, entry.capture_unix_nanos + 1).unwrap();
        assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [entry.id]);
    }
}

fn topic(site: &Site) -> TopicName {
    site.topic(TOPIC)
}
