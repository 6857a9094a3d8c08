//! Producer snapshots: Kafka's file, with our own part behind its entries.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};

use super::{NO_SEQUENCE, Producer, Producers, SequencedBatch, WINDOW};
use crate::log::checkpoint::replace_file;
use crate::log::disk::Disk;
use crate::log::error::LogError;

const SNAPSHOT_VERSION: i16 = 1;
/// Version and checksum in front of the entries.
const SNAPSHOT_PREFIX_BYTES: usize = 6;
const SNAPSHOT_ENTRY_BYTES: usize = 46;
/// Begins our own part behind Kafka's entries, which Kafka does not read: the older batches of each window.
const WINDOW_MAGIC: [u8; 4] = *b"LBW1";
/// No batch, or no open transaction.
const NO_OFFSET: i64 = -1;

impl Producers {
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
            producers.open.extend(producer.open_from.map(|first| (first, id)));
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
    out.put_i64(last.map_or(NO_OFFSET, |batch| batch.last_offset));
    out.put_i32(last.map_or(0, |batch| batch.offset_delta));
    out.put_i64(last.map_or(producer.seen_ms, |batch| batch.timestamp_ms));
    out.put_i32(producer.coordinator_epoch);
    out.put_i64(producer.open_from.unwrap_or(NO_OFFSET));
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
    let coordinator_epoch = entries.get_i32();
    let open_from = Some(entries.get_i64()).filter(|first| *first >= 0);
    let batches = if batch.last_sequence == NO_SEQUENCE { VecDeque::new() } else { VecDeque::from([batch]) };
    (id, Producer { epoch, seen_ms: batch.timestamp_ms, batches, coordinator_epoch, open_from })
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

/// `<offset>.snapshot`: the state after every batch below the offset.
pub(crate) fn snapshot_path(directory: &Path, offset: i64) -> PathBuf {
    directory.join(format!("{offset:020}.snapshot"))
}

/// Writes and syncs a snapshot.
pub(crate) fn write_snapshot(disk: &dyn Disk, directory: &Path, offset: i64, bytes: &[u8]) -> Result<(), LogError> {
    replace_file(disk, &snapshot_path(directory, offset), bytes)
}

/// The newest intact snapshot at or below `end`, with its offset. Others at fault or beyond `end` are removed.
pub(crate) fn load_snapshot(
    disk: &dyn Disk,
    directory: &Path,
    offsets: &mut [i64],
    end: i64,
) -> io::Result<Option<(i64, Producers)>> {
    offsets.sort_unstable();
    for &offset in offsets.iter().rev() {
        let path = snapshot_path(directory, offset);
        let usable = if offset <= end { Producers::decode(&fs::read(&path)?) } else { None };
        match usable {
            Some(producers) => return Ok(Some((offset, producers))),
            None => disk.remove(&path)?,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::tests::header;
    use super::*;
    use crate::log::batch::{self, BatchHeader};

    #[test]
    fn snapshots_keep_windows_and_refuse_damage() {
        let mut producers = Producers::default();
        for id in 0..20 {
            for i in 0..i32::try_from(id % 7).unwrap() + 1 {
                producers.record(&header(id, 1, i, 1, i64::from(i) + id * 10), None, 1000 + id);
            }
        }
        let open = BatchHeader { attributes: batch::ATTRIBUTE_TRANSACTIONAL, ..header(30, 2, 0, 3, 500) };
        producers.record(&open, None, 1100);
        producers.record(&BatchHeader { base_offset: 400, producer_id: 31, ..open }, None, 1100);
        let bytes = producers.encode();
        assert_eq!(Producers::decode(&bytes).unwrap(), producers);
        assert_eq!(producers.first_open_offset(), Some(400));
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
        producers.record(&header(9, 1, 4, 3, 50), None, 5);
        let mut bytes = producers.encode();
        bytes.truncate(SNAPSHOT_PREFIX_BYTES + 4 + SNAPSHOT_ENTRY_BYTES);
        let crc = crc32c::crc32c(&bytes[SNAPSHOT_PREFIX_BYTES..]);
        bytes[2..SNAPSHOT_PREFIX_BYTES].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(Producers::decode(&bytes).unwrap(), producers);
    }
}
