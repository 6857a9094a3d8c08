//! Which batches get index entries, decided alike on append, in recovery and in compaction.

use super::batch::{BatchHeader, NO_TIMESTAMP};
use super::index::{LiveIndex, OffsetEntry, TimeEntry};

/// Decides which batches get index entries.
#[derive(Debug, Clone)]
pub(crate) struct Indexer {
    base_offset: i64,
    bytes_since_entry: u64,
    max_timestamp: i64,
    max_timestamp_relative: u32,
}

impl Indexer {
    pub(crate) fn new(base_offset: i64) -> Self {
        Self { base_offset, bytes_since_entry: 0, max_timestamp: NO_TIMESTAMP, max_timestamp_relative: 0 }
    }

    /// Goes on after what an index holds already.
    pub(crate) fn resume(base_offset: i64, last: Option<TimeEntry>) -> Self {
        let mut indexer = Self::new(base_offset);
        if let Some(last) = last {
            indexer.max_timestamp = last.timestamp_ms;
            indexer.max_timestamp_relative = last.relative;
        }
        indexer
    }

    /// Takes note of a batch; answers the entries due for it.
    pub(crate) fn observe(
        &mut self,
        position: u64,
        header: &BatchHeader,
        interval_bytes: u64,
    ) -> Option<(OffsetEntry, TimeEntry)> {
        let relative = u32::try_from(header.last_offset() - self.base_offset).unwrap_or(u32::MAX);
        // A batch that compaction emptied has no record with its timestamp (as Kafka's cleaner has it).
        if header.count > 0 && header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_relative = relative;
        }
        let due = self.bytes_since_entry > interval_bytes;
        self.bytes_since_entry = if due { 0 } else { self.bytes_since_entry } + header.size_u64();
        let position = u32::try_from(position).ok().filter(|_| due)?;
        Some((OffsetEntry { relative, position }, self.last_time()))
    }

    pub(crate) fn observe_into(
        &mut self,
        index: &mut LiveIndex,
        position: u64,
        header: &BatchHeader,
        interval_bytes: u64,
    ) {
        if let Some((offset, time)) = self.observe(position, header, interval_bytes) {
            index.push_offset(offset);
            index.push_time(time);
        }
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub(crate) fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The largest timestamp so far.
    pub(crate) fn last_time(&self) -> TimeEntry {
        TimeEntry { timestamp_ms: self.max_timestamp, relative: self.max_timestamp_relative }
    }
}
