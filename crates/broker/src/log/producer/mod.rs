//! What a partition remembers of idempotent producers, so that a repeated batch is answered and not stored again.
//!
//! Rules as in Kafka's `ProducerStateManager`/`ProducerAppendInfo`: the last five batches of a producer are known,
//! an older epoch is fenced, a new epoch begins at sequence 0, and a producer nobody remembers may begin anywhere.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};

use super::batch::BatchHeader;
use super::error::LogError;

/// Batches remembered per producer: what a client may have in flight.
const WINDOW: usize = 5;
const SNAPSHOT_VERSION: i16 = 1;
/// Version and checksum in front of the entries.
const SNAPSHOT_PREFIX_BYTES: usize = 6;
const SNAPSHOT_ENTRY_BYTES: usize = 46;
/// Begins our own part behind Kafka's entries, which Kafka does not read: the older batches of each window.
const WINDOW_MAGIC: [u8; 4] = *b"LBW1";
const NO_SEQUENCE: i32 = -1;

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SequencedBatch {
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp_ms: i64,
}

impl SequencedBatch {
    fn of(header: &BatchHeader) -> Self {
        Self {
            last_sequence: advance(header.base_sequence, header.last_offset_delta),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp_ms: header.max_timestamp,
        }
    }

    fn is(&self, header: &BatchHeader) -> bool {
        self.offset_delta == header.last_offset_delta
            && self.last_sequence == advance(header.base_sequence, header.last_offset_delta)
    }
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    seen_ms: i64,
    /// Oldest first, at most [`WINDOW`].
    batches: VecDeque<SequencedBatch>,
}

impl Producer {
    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }
}

/// A batch that is in the log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) timestamp_ms: i64,
}

/// All producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    entries: HashMap<i64, Producer>,
}

impl Producers {
    /// Judges the batches of one append; `Some` when all of them are repeats.
    pub(crate) fn check<'a>(
        &self,
        headers: impl Iterator<Item = &'a BatchHeader>,
    ) -> Result<Option<Duplicate>, LogError> {
        let mut duplicate: Option<Duplicate> = None;
        let mut pending: Option<(i64, i16, i32)> = None;
        for header in headers.filter(|header| header.has_producer()) {
            if pending.is_none()
                && let Some(known) = self.find_duplicate(header)
            {
                let base_offset = duplicate.map_or(known.base_offset, |first| first.base_offset);
                duplicate = Some(Duplicate { base_offset, ..known });
                continue;
            }
            if duplicate.is_some() {
                return Err(out_of_order(header, NO_SEQUENCE));
            }
            let before = pending.filter(|(id, epoch, _)| (*id, *epoch) == (header.producer_id, header.producer_epoch));
            match before {
                Some((_, _, last)) if !follows(last, header.base_sequence) => {
                    return Err(out_of_order(header, last));
                }
                Some(_) => {}
                None => self.check_sequence(header)?,
            }
            let last = advance(header.base_sequence, header.last_offset_delta);
            pending = Some((header.producer_id, header.producer_epoch, last));
        }
        Ok(duplicate)
    }

    fn find_duplicate(&self, header: &BatchHeader) -> Option<Duplicate> {
        let producer = self.entries.get(&header.producer_id).filter(|known| known.epoch == header.producer_epoch)?;
        let batch = producer.batches.iter().find(|batch| batch.is(header))?;
        Some(Duplicate {
            base_offset: batch.last_offset - i64::from(batch.offset_delta),
            last_offset: batch.last_offset,
            timestamp_ms: batch.timestamp_ms,
        })
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), LogError> {
        let Some(producer) = self.entries.get(&header.producer_id) else {
            return Ok(());
        };
        if header.producer_epoch < producer.epoch {
            return Err(LogError::InvalidProducerEpoch {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current: producer.epoch,
            });
        }
        let last = if header.producer_epoch == producer.epoch { producer.last_sequence() } else { NO_SEQUENCE };
        if follows(last, header.base_sequence) { Ok(()) } else { Err(out_of_order(header, last)) }
    }

    /// Remembers an appended batch; `header` carries its final offsets.
    pub(crate) fn record(&mut self, header: &BatchHeader, seen_ms: i64) {
        if !header.has_producer() || header.is_control() {
            return;
        }
        let producer = self.entries.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            seen_ms,
            batches: VecDeque::with_capacity(WINDOW),
        });
        if producer.epoch != header.producer_epoch {
            producer.batches.clear();
            producer.epoch = header.producer_epoch;
        }
        if producer.batches.len() == WINDOW {
            producer.batches.pop_front();
        }
        producer.batches.push_back(SequencedBatch::of(header));
        producer.seen_ms = seen_ms;
    }

    /// Forgets producers silent for `expiry_ms`, and beyond `limit` the longest silent tenth.
    pub(crate) fn expire(&mut self, now_ms: i64, expiry_ms: i64, limit: usize) {
        let oldest = now_ms.saturating_sub(expiry_ms);
        self.entries.retain(|_, producer| producer.seen_ms >= oldest);
        self.enforce(limit);
    }

    pub(crate) fn enforce(&mut self, limit: usize) {
        if self.entries.len() <= limit {
            return;
        }
        let mut by_age: Vec<(i64, i64)> = self.entries.iter().map(|(id, producer)| (producer.seen_ms, *id)).collect();
        by_age.sort_unstable();
        let surplus = self.entries.len() - limit + limit / 10;
        for (_, id) in by_age.into_iter().take(surplus) {
            self.entries.remove(&id);
        }
    }

    /// Offset of a producer's newest batch.
    pub(crate) fn last_offset(&self, producer_id: i64) -> Option<i64> {
        self.entries.get(&producer_id)?.batches.back().map(|batch| batch.last_offset)
    }

    /// Kafka's snapshot form (`ProducerSnapshot` v1), our windows behind it under the same checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries.len() * 160);
        out.put_i16(SNAPSHOT_VERSION);
        out.put_u32(0);
        out.put_i32(i32::try_from(self.entries.len()).unwrap_or(i32::MAX));
        let mut windows = WINDOW_MAGIC.to_vec();
        for (id, producer) in &self.entries {
            put_entry(&mut out, *id, producer);
            put_window(&mut windows, producer);
        }
        out.extend_from_slice(&windows);
        let crc = crc32c::crc32c(&out[SNAPSHOT_PREFIX_BYTES..]);
        out[2..SNAPSHOT_PREFIX_BYTES].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// `None` when the bytes are damaged or of an unknown version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut prefix, mut body) = bytes.split_at_checked(SNAPSHOT_PREFIX_BYTES)?;
        if prefix.get_i16() != SNAPSHOT_VERSION || prefix.get_u32() != crc32c::crc32c(body) {
            return None;
        }
        let count = usize::try_from(body.try_get_i32().ok()?).ok()?;
        let (mut entries, mut windows) = body.split_at_checked(count.checked_mul(SNAPSHOT_ENTRY_BYTES)?)?;
        let has_windows = windows.starts_with(&WINDOW_MAGIC);
        windows = windows.get(WINDOW_MAGIC.len()..).unwrap_or_default();
        let mut producers = Self::default();
        for _ in 0..count {
            let (id, mut producer) = take_entry(&mut entries);
            if has_windows {
                take_window(&mut windows, &mut producer)?;
            }
            producers.entries.insert(id, producer);
        }
        Some(producers)
    }
}

fn put_entry(out: &mut Vec<u8>, id: i64, producer: &Producer) {
    let last = producer.batches.back();
    out.put_i64(id);
    out.put_i16(producer.epoch);
    out.put_i32(producer.last_sequence());
    out.put_i64(last.map_or(-1, |batch| batch.last_offset));
    out.put_i32(last.map_or(0, |batch| batch.offset_delta));
    out.put_i64(last.map_or(-1, |batch| batch.timestamp_ms));
    // No transaction: coordinator epoch and the open transaction's first offset.
    out.put_i32(-1);
    out.put_i64(-1);
}

fn take_entry(entries: &mut &[u8]) -> (i64, Producer) {
    let id = entries.get_i64();
    let epoch = entries.get_i16();
    let batch = SequencedBatch {
        last_sequence: entries.get_i32(),
        last_offset: entries.get_i64(),
        offset_delta: entries.get_i32(),
        timestamp_ms: entries.get_i64(),
    };
    entries.advance(12);
    let batches = if batch.last_sequence == NO_SEQUENCE { VecDeque::new() } else { VecDeque::from([batch]) };
    (id, Producer { epoch, seen_ms: batch.timestamp_ms, batches })
}

fn put_window(out: &mut Vec<u8>, producer: &Producer) {
    let older = producer.batches.len().saturating_sub(1);
    out.put_i64(producer.seen_ms);
    out.put_u8(u8::try_from(older).unwrap_or(0));
    for batch in producer.batches.iter().take(older) {
        out.put_i32(batch.last_sequence);
        out.put_i64(batch.last_offset);
        out.put_i32(batch.offset_delta);
        out.put_i64(batch.timestamp_ms);
    }
}

fn take_window(windows: &mut &[u8], producer: &mut Producer) -> Option<()> {
    producer.seen_ms = windows.try_get_i64().ok()?;
    let older = usize::from(windows.try_get_u8().ok()?);
    if older >= WINDOW {
        return None;
    }
    for at in 0..older {
        let batch = SequencedBatch {
            last_sequence: windows.try_get_i32().ok()?,
            last_offset: windows.try_get_i64().ok()?,
            offset_delta: windows.try_get_i32().ok()?,
            timestamp_ms: windows.try_get_i64().ok()?,
        };
        producer.batches.insert(at, batch);
    }
    Some(())
}

/// Sequence numbers run 0..=i32::MAX and around.
fn advance(sequence: i32, by: i32) -> i32 {
    let next = (i64::from(sequence) + i64::from(by)) % (i64::from(i32::MAX) + 1);
    i32::try_from(next).unwrap_or(NO_SEQUENCE)
}

fn follows(last: i32, next: i32) -> bool {
    next == advance(last, 1)
}

fn out_of_order(header: &BatchHeader, last: i32) -> LogError {
    LogError::OutOfOrderSequence {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        sequence: header.base_sequence,
        last,
    }
}

/// `<offset>.snapshot`: the state after every batch below the offset.
pub(crate) fn snapshot_path(directory: &Path, offset: i64) -> PathBuf {
    directory.join(format!("{offset:020}.snapshot"))
}

/// Writes and syncs a snapshot.
pub(crate) fn write_snapshot(directory: &Path, offset: i64, bytes: &[u8]) -> Result<(), LogError> {
    super::checkpoint::replace_file(&snapshot_path(directory, offset), bytes)
}

/// The newest intact snapshot at or below `end`, with its offset. Others at fault or beyond `end` are removed.
pub(crate) fn load_snapshot(directory: &Path, offsets: &mut [i64], end: i64) -> io::Result<Option<(i64, Producers)>> {
    offsets.sort_unstable();
    for &offset in offsets.iter().rev() {
        let path = snapshot_path(directory, offset);
        let usable = if offset <= end { Producers::decode(&fs::read(&path)?) } else { None };
        match usable {
            Some(producers) => return Ok(Some((offset, producers))),
            None => fs::remove_file(&path)?,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::tests::BatchSpec;

    fn header(id: i64, epoch: i16, sequence: i32, count: usize, offset: i64) -> BatchHeader {
        let values = vec![&b"v"[..]; count];
        let batch = BatchSpec::values(&values, 5).producer(id, epoch, sequence).bytes();
        BatchHeader { base_offset: offset, ..BatchHeader::parse(&batch).unwrap() }
    }

    fn check(producers: &Producers, header: &BatchHeader) -> Result<Option<Duplicate>, i16> {
        producers.check(std::iter::once(header)).map_err(|error| error.kafka_code())
    }

    #[test]
    fn window_answers_the_last_five_batches_only() {
        let mut producers = Producers::default();
        for i in 0..6 {
            let next = header(1, 0, i * 2, 2, i64::from(i) * 2);
            assert_eq!(check(&producers, &next), Ok(None));
            producers.record(&next, 100);
        }
        for i in 1..6 {
            let again = check(&producers, &header(1, 0, i * 2, 2, 0)).unwrap().unwrap();
            assert_eq!((again.base_offset, again.last_offset), (i64::from(i) * 2, i64::from(i) * 2 + 1));
        }
        assert_eq!(check(&producers, &header(1, 0, 0, 2, 0)), Err(45));
        assert_eq!(check(&producers, &header(1, 0, 13, 1, 0)), Err(45));
        assert_eq!(check(&producers, &header(1, 0, 12, 1, 0)), Ok(None));
    }

    #[test]
    fn sequences_wrap_and_epochs_fence() {
        let mut producers = Producers::default();
        assert_eq!(check(&producers, &header(1, 3, 77, 1, 0)), Ok(None), "unknown producers begin anywhere");
        producers.record(&header(1, 3, i32::MAX - 1, 3, 0), 100);
        assert!(check(&producers, &header(1, 3, i32::MAX - 1, 3, 0)).unwrap().is_some());
        assert_eq!(check(&producers, &header(1, 3, 1, 1, 3)), Ok(None), "MAX-1, MAX, 0 is followed by 1");
        assert_eq!(check(&producers, &header(1, 2, 1, 1, 3)), Err(47));
        assert_eq!(check(&producers, &header(1, 4, 5, 1, 3)), Err(45), "a new epoch begins at 0");
        assert_eq!(check(&producers, &header(1, 4, 0, 1, 3)), Ok(None));
    }

    #[test]
    fn several_batches_of_one_append_are_judged_together() {
        let mut producers = Producers::default();
        let (first, second, gap) = (header(1, 0, 0, 2, 0), header(1, 0, 2, 2, 2), header(1, 0, 5, 1, 4));
        assert!(matches!(producers.check([&first, &second].into_iter()), Ok(None)));
        assert!(producers.check([&first, &gap].into_iter()).is_err());
        producers.record(&first, 1);
        producers.record(&second, 1);
        let both = producers.check([&first, &second].into_iter()).unwrap().unwrap();
        assert_eq!((both.base_offset, both.last_offset), (0, 3));
        assert!(producers.check([&second, &gap].into_iter()).is_err(), "half repeated, half new");
    }

    #[test]
    fn snapshots_keep_windows_and_refuse_damage() {
        let mut producers = Producers::default();
        for id in 0..20 {
            for i in 0..i32::try_from(id % 7).unwrap() + 1 {
                producers.record(&header(id, 1, i, 1, i64::from(i) + id * 10), 1000 + id);
            }
        }
        let bytes = producers.encode();
        assert_eq!(Producers::decode(&bytes).unwrap(), producers);
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            assert_eq!(Producers::decode(&broken), None, "byte {at}");
            assert_eq!(Producers::decode(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_snapshot_of_kafka_without_windows_is_read() {
        let mut producers = Producers::default();
        producers.record(&header(9, 1, 4, 3, 50), 5);
        let mut bytes = producers.encode();
        bytes.truncate(SNAPSHOT_PREFIX_BYTES + 4 + SNAPSHOT_ENTRY_BYTES);
        let crc = crc32c::crc32c(&bytes[SNAPSHOT_PREFIX_BYTES..]);
        bytes[2..SNAPSHOT_PREFIX_BYTES].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(Producers::decode(&bytes).unwrap(), producers);
    }

    #[test]
    fn silent_producers_are_forgotten_and_the_count_is_bounded() {
        let mut producers = Producers::default();
        for id in 0..100 {
            producers.record(&header(id, 0, 0, 1, id), id);
        }
        producers.expire(100, 60, 1000);
        assert_eq!(producers.entries.len(), 60);
        producers.enforce(20);
        assert!(producers.entries.len() <= 20);
        assert!(producers.entries.contains_key(&99) && !producers.entries.contains_key(&50));
    }
}
