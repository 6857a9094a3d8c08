use std::sync::Arc;

use bytes::Bytes;

use super::error::LogError;
use super::waiter::{Waiter, Watch};

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: every check applies, control batches are refused.
    Client,
    /// The broker's own coordinator (group state): may write what clients may not.
    Coordinator,
}

/// Where an append landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// The broker's time on LogAppendTime topics, -1 otherwise (as in ProduceResponse).
    pub append_time_ms: i64,
    /// First offset the log still holds.
    pub log_start_offset: i64,
    /// The batch was in the log already; the offsets are those of its first append.
    pub duplicate: bool,
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct ReadSlice {
    /// Whole batches in offset order; the first may begin below the offset asked for. Empty at the end of the log.
    pub records: Bytes,
    /// Next offset to be written.
    pub high_watermark: i64,
    /// First offset the log still holds.
    pub log_start_offset: i64,
}

/// A record found by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
}

/// One partition's log. All methods are synchronous; reads and appends of page-cached data take microseconds.
#[derive(Debug)]
pub struct Partition {}

impl Partition {
    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        todo!()
    }

    /// The partition's number.
    #[must_use]
    pub fn index(&self) -> i32 {
        todo!()
    }

    /// Appends one or more v2 batches, all or none; assigns offsets.
    ///
    /// # Errors
    /// What is wrong with the batches, the producer's sequence, or the disk; nothing was appended then.
    pub fn append(&self, records: Bytes, now_ms: i64, origin: AppendOrigin) -> Result<Appended, LogError> {
        let _ = (records, now_ms, origin);
        todo!()
    }

    /// Reads whole batches from the one that holds `offset`, at most `max_bytes`.
    ///
    /// `first` says what happens when the first batch alone is larger than `max_bytes`.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`], or a disk failure.
    pub fn read(&self, offset: i64, max_bytes: usize, first: FirstBatch) -> Result<ReadSlice, LogError> {
        let _ = (offset, max_bytes, first);
        todo!()
    }

    /// First offset the log still holds.
    #[must_use]
    pub fn log_start_offset(&self) -> i64 {
        todo!()
    }

    /// Next offset to be written; on a single node also the high watermark and the last stable offset.
    #[must_use]
    pub fn high_watermark(&self) -> i64 {
        todo!()
    }

    /// The leader epoch that appended batches carry.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        todo!()
    }

    /// The first record whose timestamp is at least `timestamp_ms`; `None` when there is none.
    ///
    /// # Errors
    /// A disk failure.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampOffset>, LogError> {
        let _ = timestamp_ms;
        todo!()
    }

    /// The record with the largest timestamp; `None` in an empty log.
    ///
    /// # Errors
    /// A disk failure.
    pub fn max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        todo!()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }

    /// Registers a waiting fetch: register first, then read, then wait on the waiter.
    pub fn watch(&self, waiter: &Arc<Waiter>) -> Watch {
        let _ = waiter;
        todo!()
    }
}

/// What a read does with a first batch larger than its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBatch {
    /// Return it whole all the same (the first partition with data in a fetch).
    Whole,
    /// Keep to the budget; the result may be empty.
    WithinBudget,
}
