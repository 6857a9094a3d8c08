//! One partition's log: a list of segments, of which the last one grows.
//!
//! Locks: `writer` orders appends and is never taken by a read; `segments` guards the list only; `maintenance` lets
//! one of flush, retention and compaction work on a partition at a time. No lock of one partition is held for another.

mod aborted;
mod append;
mod check;
mod compact;
mod damaged;
mod epochs;
mod filter;
mod listing;
mod maintain;
mod markers;
mod producers;
mod read;
mod recover;
mod swap;
mod times;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use super::aborted::AbortedTransaction;
use super::config::LogConfig;
use super::control::Outcome;
use super::epochs::Epochs;
use super::error::LogError;
use super::indexer::Indexer;
use super::producer::Producers;
use super::segment::{Segment, Shared};
use super::waiter::{Waiter, Waiters, Watch};

use damaged::Damaged;
pub(crate) use maintain::Expired;
pub(crate) use recover::{OpenPartition, recover_bytes};

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: every check applies, control batches are refused.
    Client,
    /// One of the broker's own coordinators: writes markers, and needs no sequence.
    Coordinator,
}

/// Which records a reader wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Also those of open and aborted transactions.
    Uncommitted,
    /// Those below the last stable offset, and with them a list of the aborted transactions to be skipped.
    Committed,
}

/// What a read does with a first batch larger than its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBatch {
    /// Return it whole all the same (the first partition with data in a fetch).
    Whole,
    /// Keep to the budget; the result may be empty.
    WithinBudget,
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
    /// Below this every transaction is committed or aborted.
    pub last_stable_offset: i64,
    /// Aborted transactions among `records`, when committed records were asked for.
    pub aborted: Vec<AbortedTransaction>,
}

/// A record found by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const DELETED: u8 = 2;

/// One partition's log. All methods are synchronous; reads and appends of page-cached data take microseconds.
#[derive(Debug)]
pub struct Partition {
    topic: Arc<str>,
    index: i32,
    directory: Arc<Path>,
    shared: Arc<Shared>,
    config: RwLock<Arc<LogConfig>>,
    leader_epoch: AtomicI32,
    epochs: Mutex<Epochs>,
    writer: Mutex<Writer>,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    maintenance: Mutex<Maintenance>,
    log_start_offset: AtomicI64,
    end_offset: AtomicI64,
    /// Where the oldest open transaction begins, else the end. Stored after the end, so read before it.
    stable_offset: AtomicI64,
    /// Everything below is on the disk for certain.
    recovery_point: AtomicI64,
    /// Everything below was compacted. Only what is behind damage may be so beyond it.
    clean_offset: AtomicI64,
    flush_due: AtomicBool,
    state: AtomicU8,
    /// Why its files could not be opened; it then has no segments, and answers nothing but this.
    unreadable: Option<String>,
    waiters: Arc<Waiters>,
    /// Fetches that want committed records only.
    stable_waiters: Arc<Waiters>,
}

/// What only the appending thread touches.
#[derive(Debug)]
struct Writer {
    segment: Arc<Segment>,
    file: Arc<File>,
    indexer: Indexer,
    size: u64,
    next_offset: i64,
    producers: Producers,
    /// When the growing segment got its first batch.
    segment_since_ms: i64,
    unflushed_records: i64,
    /// The growing segment's file was made since the last sync by an append, so its name may not be on the disk yet.
    has_new_file: bool,
    last_flush_ms: i64,
    offline: Option<String>,
}

/// What flushes remember.
#[derive(Debug, Default)]
struct Maintenance {
    /// Offsets of the snapshot files, ascending.
    snapshots: Vec<i64>,
    /// The recovery point moved and the checkpoint does not say so yet.
    flushed: bool,
    /// What compaction leaves alone.
    damaged: Damaged,
}

impl Partition {
    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition's number.
    #[must_use]
    pub fn index(&self) -> i32 {
        self.index
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// First offset the log still holds.
    #[must_use]
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset.load(Ordering::Acquire)
    }

    /// Next offset to be written; on a single node also the high watermark.
    #[must_use]
    pub fn high_watermark(&self) -> i64 {
        self.end_offset.load(Ordering::Acquire)
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.size()).sum()
    }

    /// Number of segments, the growing one included.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments().len()
    }

    /// Below this every transaction is committed or aborted.
    #[must_use]
    pub fn last_stable_offset(&self) -> i64 {
        self.stable_offset.load(Ordering::Acquire).max(self.log_start_offset())
    }

    /// Registers a waiting fetch: register first, then read, then wait on the waiter.
    pub fn watch(&self, waiter: &Arc<Waiter>, isolation: Isolation) -> Watch {
        match isolation {
            Isolation::Uncommitted => self.waiters.register(waiter),
            Isolation::Committed => self.stable_waiters.register(waiter),
        }
    }

    /// Everybody who waits for this partition looks again.
    fn wake_all(&self) {
        self.waiters.wake_all();
        self.stable_waiters.wake_all();
    }

    pub(crate) fn set_config(&self, config: Arc<LogConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(crate) fn recovery_point(&self) -> i64 {
        self.recovery_point.load(Ordering::Acquire)
    }

    /// The recovery point for the checkpoint; `None` where a start knew none and could not open the files either.
    pub(crate) fn known_recovery_point(&self) -> Option<i64> {
        Some(self.recovery_point()).filter(|point| *point >= 0)
    }

    pub(crate) fn clean_offset(&self) -> i64 {
        self.clean_offset.load(Ordering::Acquire)
    }

    /// Whether the log begins later than its first segment, which a restart could not know from the files.
    pub(crate) fn explicit_log_start(&self) -> Option<i64> {
        let start = self.log_start_offset();
        let first = self.segments().first().map_or(0, |segment| segment.base_offset);
        (start > first).then_some(start)
    }

    /// Refuses appends from now on and wakes whoever waits.
    pub(crate) fn shut(&self) {
        self.state.store(CLOSED, Ordering::SeqCst);
        // An append that saw the partition open is over once its lock is free.
        drop(self.lock_writer());
        self.wake_all();
    }

    /// As [`Self::shut`], and reads find the topic gone. The caller removes the directory.
    pub(crate) fn mark_deleted(&self) {
        self.state.store(DELETED, Ordering::SeqCst);
        drop(self.lock_writer());
        for segment in self.segments().iter() {
            segment.retire(&self.shared);
        }
        self.wake_all();
    }

    fn check_readable(&self) -> Result<(), LogError> {
        match self.state.load(Ordering::SeqCst) {
            DELETED => Err(LogError::UnknownTopic { topic: self.topic.to_string() }),
            _ => self.check_opened(),
        }
    }

    /// Whether its files could be opened; where not, nobody knows its offsets.
    pub(crate) fn check_opened(&self) -> Result<(), LogError> {
        self.unreadable.as_ref().map_or(Ok(()), |reason| Err(self.offline(reason)))
    }

    /// Whether it takes no appends since its disk failed.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.lock_writer().offline.is_some()
    }

    fn offline(&self, reason: &str) -> LogError {
        LogError::Offline { topic: self.topic.to_string(), partition: self.index, reason: reason.to_owned() }
    }

    fn check_writable(&self, writer: &Writer) -> Result<(), LogError> {
        self.check_readable()?;
        if self.state.load(Ordering::SeqCst) == CLOSED {
            return Err(LogError::Closed);
        }
        match &writer.offline {
            Some(reason) => Err(self.offline(reason)),
            None => Ok(()),
        }
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_maintenance(&self) -> MutexGuard<'_, Maintenance> {
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_segments(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut list = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = list.as_ref().clone();
        change(&mut changed);
        *list = Arc::new(changed);
    }
}
