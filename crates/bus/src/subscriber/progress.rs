//! How far a partition may be committed, and the marks of what was delivered beyond that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use lumenbus_frame::{Epoch, FrameId, Seq, StreamId};
use std::collections::{HashMap, VecDeque};

/// Kafka's default limit for offset metadata is 4,096 bytes; ours leaves room.
pub(crate) const MAX_METADATA_BYTES: usize = 4_000;
/// First byte of the metadata; another version is ignored, which falls under at-least-once.
const MARKS_VERSION: u8 = 1;
/// Most streams whose last frame is remembered per partition.
const MAX_MARKS: usize = 4_096;

/// FNV-1a, 64 bit, over topic, camera and stream name, each followed by a zero byte; part of the commit format.
pub(crate) fn stream_hash(stream: &StreamId) -> u64 {
    hash_parts(stream.topic.as_str().as_bytes(), stream.camera.as_str().as_bytes(), stream.name.as_str().as_bytes())
}

pub(crate) fn hash_parts(topic: &[u8], camera: &[u8], name: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    let part = |hash: u64, bytes: &[u8]| step(bytes.iter().fold(hash, step), &0);
    part(part(part(OFFSET, topic), camera), name)
}

/// The last frame of each stream that was handed over and done with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(HashMap<u64, FrameId>);

impl Marks {
    pub(crate) fn get(&self, hash: u64) -> Option<FrameId> {
        self.0.get(&hash).copied()
    }

    fn set(&mut self, hash: u64, id: FrameId) {
        if let Some(mark) = self.0.get_mut(&hash) {
            *mark = (*mark).max(id);
        } else if self.0.len() < MAX_MARKS {
            self.0.insert(hash, id);
        }
    }

    /// As offset metadata: version, then (hash, epoch, seq) with the newest epochs first, as many as fit.
    pub(crate) fn encode(&self) -> String {
        let mut marks: Vec<_> = self.0.iter().collect();
        marks.sort_unstable_by_key(|(hash, id)| (std::cmp::Reverse(id.epoch), **hash));
        let mut bytes = vec![MARKS_VERSION];
        let room = MAX_METADATA_BYTES / 4 * 3;
        for (hash, id) in marks {
            if bytes.len() + 24 > room {
                break;
            }
            bytes.extend_from_slice(&hash.to_le_bytes());
            bytes.extend_from_slice(&id.epoch.0.to_le_bytes());
            bytes.extend_from_slice(&id.seq.0.to_le_bytes());
        }
        STANDARD_NO_PAD.encode(bytes)
    }

    /// What another instance left; anything that is not ours counts as no marks.
    pub(crate) fn decode(metadata: &str) -> Self {
        if metadata.len() > MAX_METADATA_BYTES {
            return Self::default();
        }
        let Ok(bytes) = STANDARD_NO_PAD.decode(metadata) else { return Self::default() };
        let Some((&MARKS_VERSION, records)) = bytes.split_first() else { return Self::default() };
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let marks = records.chunks_exact(24).map(|record| {
            let id = FrameId { epoch: Epoch(word(&record[8..16])), seq: Seq(word(&record[16..24])) };
            (word(&record[..8]), id)
        });
        Self(marks.collect())
    }
}

#[derive(Debug)]
struct Open {
    first_offset: i64,
    /// Frames of this record (a batch has several) that are not done.
    frames: u32,
}

/// One partition's progress. Records come in offset order; frames are done in any order.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Offset after the last record read.
    next_offset: i64,
    /// Frames that were read (or are being read: chunks) and are not done, by first offset.
    open: VecDeque<Open>,
    marks: Marks,
    committed: Option<i64>,
    changed: bool,
}

impl Progress {
    pub(crate) fn new(start: i64, marks: Marks) -> Self {
        Self { next_offset: start, open: VecDeque::new(), marks, committed: None, changed: false }
    }

    /// A record was read and needs nothing more.
    pub(crate) fn read(&mut self, offset: i64) {
        self.next_offset = self.next_offset.max(offset.saturating_add(1));
        self.changed = true;
    }

    /// A frame began at this offset; [`done`](Self::done) closes it.
    pub(crate) fn begin(&mut self, first_offset: i64) {
        let at = self.open.partition_point(|open| open.first_offset < first_offset);
        match self.open.get_mut(at).filter(|open| open.first_offset == first_offset) {
            Some(open) => open.frames += 1,
            None => self.open.insert(at, Open { first_offset, frames: 1 }),
        }
    }

    /// The frame that began there was handled, dropped or given up.
    pub(crate) fn done(&mut self, first_offset: i64) {
        let at = self.open.partition_point(|open| open.first_offset < first_offset);
        let Some(open) = self.open.get_mut(at).filter(|open| open.first_offset == first_offset) else { return };
        open.frames = open.frames.saturating_sub(1);
        self.changed = true;
        if open.frames == 0 {
            // At once, not when it is the oldest: one that never ends must not have all later ones kept.
            self.open.remove(at);
        }
    }

    /// Remembers the newest frame of a stream that was handed over.
    pub(crate) fn mark(&mut self, hash: u64, id: FrameId) {
        self.marks.set(hash, id);
    }

    /// Everything below is done with.
    pub(crate) fn safe_offset(&self) -> i64 {
        self.open.front().map_or(self.next_offset, |open| open.first_offset.min(self.next_offset))
    }

    /// The last commit failed: it goes again.
    pub(crate) fn retry_commit(&mut self) {
        self.changed = true;
        self.committed = None;
    }

    /// What to commit, when there is something new.
    pub(crate) fn take_commit(&mut self) -> Option<(i64, String)> {
        if !self.changed {
            return None;
        }
        self.changed = false;
        let safe = self.safe_offset();
        let has_news = self.committed != Some(safe) || !self.open.is_empty();
        self.committed = Some(safe);
        has_news.then(|| (safe, self.marks.encode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u64, seq: u64) -> FrameId {
        FrameId { epoch: Epoch(epoch), seq: Seq(seq) }
    }

    #[test]
    fn the_safe_offset_waits_for_the_oldest_open_frame() {
        let mut progress = Progress::new(10, Marks::default());
        progress.begin(10);
        progress.read(10);
        progress.begin(12);
        progress.read(12);
        progress.done(12);
        assert_eq!(progress.safe_offset(), 10);
        progress.done(10);
        assert_eq!(progress.safe_offset(), 13);
    }

    #[test]
    fn one_that_stays_open_keeps_no_others() {
        let mut progress = Progress::new(0, Marks::default());
        progress.begin(0);
        progress.read(0);
        for offset in 1..1_000 {
            // A batch of two.
            progress.begin(offset);
            progress.begin(offset);
            progress.read(offset);
            progress.done(offset);
            assert_eq!(progress.open.len(), 2);
            progress.done(offset);
            progress.done(offset);
        }
        assert_eq!((progress.open.len(), progress.safe_offset()), (1, 0));
        progress.done(0);
        assert_eq!((progress.open.len(), progress.safe_offset()), (0, 1_000));
    }

    #[test]
    fn marks_survive_the_metadata_and_stay_within_its_limit() {
        let mut marks = Marks::default();
        for n in 0..1_000 {
            marks.set(n, id(n, n * 3));
        }
        let text = marks.encode();
        assert!(text.len() <= MAX_METADATA_BYTES, "{}", text.len());
        let back = Marks::decode(&text);
        assert!(back.0.len() > 100);
        assert_eq!(back.get(999), Some(id(999, 2_997)), "the newest epochs are kept");
    }

    #[test]
    fn foreign_metadata_is_no_marks() {
        for text in ["", "hello", "AAAA", &"A".repeat(5_000)] {
            assert_eq!(Marks::decode(text), Marks::default(), "{text:.10}");
        }
    }

    #[test]
    fn the_hash_is_part_of_the_format() {
        assert_eq!(hash_parts(b"raw_video", b"gate-7", b"main"), 0x2c60_4e2b_2f68_5e2b_u64);
    }
}
