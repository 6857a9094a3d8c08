//! What compaction keeps of one batch. Pure: bytes in, bytes out.

use std::collections::HashMap;
use std::io;

use super::aborted::AbortedRanges;
use super::markers::Tombstones;
use crate::log::batch::{self, BatchHeader, HEADER_BYTES};
use crate::log::compression;
use crate::log::record::{self, RecordRef};

/// The newest offset of every key in `..end_offset`, as far as the pass got.
#[derive(Debug, Default)]
pub(super) struct NewestOffsets {
    offsets: HashMap<Box<[u8]>, i64>,
    bytes: usize,
    /// Records at or beyond this offset were not looked at.
    pub(super) end_offset: i64,
}

/// What a map entry costs beside its key.
const MAP_ENTRY_BYTES: usize = 64;

impl NewestOffsets {
    /// Nothing is known yet beyond `offset`.
    pub(super) fn from(offset: i64) -> Self {
        Self { end_offset: offset, ..Self::default() }
    }

    /// Whether another key would go beyond `limit` bytes.
    pub(super) fn is_full(&self, limit: usize) -> bool {
        self.bytes >= limit
    }

    pub(super) fn insert(&mut self, key: &[u8], offset: i64) {
        if let Some(newest) = self.offsets.get_mut(key) {
            *newest = offset;
            return;
        }
        self.bytes += key.len() + MAP_ENTRY_BYTES;
        self.offsets.insert(key.into(), offset);
    }

    fn supersedes(&self, key: &[u8], offset: i64) -> bool {
        self.offsets.get(key).is_some_and(|newest| *newest > offset)
    }
}

/// The rules of one compaction pass.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) newest: &'a NewestOffsets,
    pub(super) aborted: &'a AbortedRanges,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    pub(super) contents_limit: usize,
}

/// The fate of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filtered {
    /// Stays byte for byte.
    Unchanged,
    /// Some records went, or tombstones got their time to live.
    Rewritten(Vec<u8>),
    /// No record is left.
    Empty,
}

impl Filter<'_> {
    /// Judges a whole batch. Errors: contents too large (kept by the caller) or not decodable.
    pub(super) fn apply(&self, header: &BatchHeader, batch: &[u8], tombstones: Tombstones) -> io::Result<Filtered> {
        if header.is_control() || header.base_offset >= self.newest.end_offset {
            return Ok(Filtered::Unchanged);
        }
        if self.aborted.of(header).is_some() {
            return Ok(Filtered::Empty);
        }
        let contents = compression::decompress(header.compression(), &batch[HEADER_BYTES..], self.contents_limit)?;
        let mut kept = Vec::new();
        let mut dropped = 0;
        for parsed in record::records(&contents) {
            let record = parsed.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if self.keeps(header, &record, tombstones) { kept.push(record) } else { dropped += 1 }
        }
        let starts_horizon = header.delete_horizon_ms().is_none() && kept.iter().any(|record| record.is_tombstone);
        if kept.is_empty() {
            Ok(Filtered::Empty)
        } else if dropped == 0 && !starts_horizon {
            Ok(Filtered::Unchanged)
        } else {
            let horizon = starts_horizon.then(|| self.now_ms.saturating_add(self.delete_retention_ms));
            rewrite(header, &kept, horizon).map(Filtered::Rewritten)
        }
    }

    /// Judges the marker of a transaction that left no batch: it stays as long as a tombstone, for readers on their way.
    pub(super) fn apply_spent_marker(&self, header: &BatchHeader, batch: &[u8]) -> io::Result<Filtered> {
        match header.delete_horizon_ms() {
            _ if header.base_offset >= self.newest.end_offset => Ok(Filtered::Unchanged),
            // Emptied before, as the last of its producer.
            _ if header.count == 0 => Ok(Filtered::Empty),
            Some(horizon) if horizon < self.now_ms => Ok(Filtered::Empty),
            Some(_) => Ok(Filtered::Unchanged),
            None => {
                let records: Result<Vec<_>, _> = record::records(&batch[HEADER_BYTES..]).collect();
                let records = records.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                rewrite(header, &records, Some(self.now_ms.saturating_add(self.delete_retention_ms)))
                    .map(Filtered::Rewritten)
            }
        }
    }

    fn keeps(&self, header: &BatchHeader, record: &RecordRef<'_>, tombstones: Tombstones) -> bool {
        let offset = header.base_offset + i64::from(record.offset_delta);
        if offset >= self.newest.end_offset {
            return true;
        }
        let Some(key) = record.key else { return false };
        let tombstone_is_over = record.is_tombstone
            && tombstones == Tombstones::Expire
            && header.delete_horizon_ms().is_some_and(|horizon| horizon < self.now_ms);
        !tombstone_is_over && !self.newest.supersedes(key, offset)
    }
}

/// The same batch with fewer records: offsets, sequence and producer stay; a delete horizon takes the place of the
/// base timestamp (Kafka protocol guide, attribute bit 6), so timestamps are counted from there.
fn rewrite(header: &BatchHeader, kept: &[RecordRef<'_>], horizon_ms: Option<i64>) -> io::Result<Vec<u8>> {
    let mut header = *header;
    let old_base = header.base_timestamp;
    if let Some(horizon_ms) = horizon_ms {
        header.base_timestamp = horizon_ms;
        header.mark_delete_horizon();
    }
    let mut contents = Vec::new();
    let mut newest = i64::MIN;
    for record in kept {
        let timestamp = old_base.wrapping_add(record.timestamp_delta);
        newest = newest.max(timestamp);
        record::put_rebased(&mut contents, record, timestamp.wrapping_sub(header.base_timestamp));
    }
    if !header.is_log_append_time() {
        header.max_timestamp = newest;
    }
    header.count = i32::try_from(kept.len()).map_err(io::Error::other)?;
    Ok(assemble(header, &compression::compress(header.compression(), &contents)?))
}

/// A batch without records that keeps offsets and producer state.
pub(super) fn emptied(header: &BatchHeader) -> Vec<u8> {
    let mut header = *header;
    header.clear_contents_attributes();
    header.base_timestamp = header.max_timestamp;
    header.count = 0;
    assemble(header, &[])
}

fn assemble(mut header: BatchHeader, body: &[u8]) -> Vec<u8> {
    header.size = HEADER_BYTES + body.len();
    let mut batch = Vec::with_capacity(header.size);
    batch.extend_from_slice(&header.encode());
    batch.extend_from_slice(body);
    header.crc = batch::checksum(&batch);
    batch[..HEADER_BYTES].copy_from_slice(&header.encode());
    batch
}
