//! The storage half of the broker: segmented logs in Apache Kafka's own on-disk layout.
//!
//! ```text
//! <data>/meta.properties                        cluster id
//!        <topic>.topic                          topic id, partition count, the topic's own settings (ours)
//!        leader-epoch                           leader epoch of the last start (ours)
//!        recovery-point-offset-checkpoint       synced up to here; a crash costs a scan of what follows
//!        log-start-offset-checkpoint, cleaner-offset-checkpoint, .kafka_cleanshutdown, .lock, .running
//!        .reserve                               room for what must be written on a full disk (ours)
//!        <topic>-<partition>/00000000000000000000.log, .index, .timeindex, .snapshot
//!                            leader-epoch-checkpoint, partition.metadata
//! ```
//!
//! Batches are format v2 and are never decompressed on append or read. Index entries of the growing segment live in
//! memory and reach their files at checkpoints, rolls and stops; recovery rebuilds what a crash lost of them.
//!
//! ```
//! use lumenbus_broker::log::{FirstBatch, LogStore, Overrides, StoreConfig};
//!
//! # fn main() -> Result<(), lumenbus_broker::log::LogError> {
//! # let data_dir = std::env::temp_dir().join(format!("log-example-{}", std::process::id()));
//! let (store, report) = LogStore::open(StoreConfig::new(&data_dir), 0)?;
//! assert!(report.notes.is_empty());
//! let topic = store.create_topic("frames", 1, &Overrides::new())?;
//! let log = &topic.partitions()[0];
//! assert!(log.read(0, 1024, FirstBatch::Whole)?.records.is_empty());
//! store.close()?;
//! # std::fs::remove_dir_all(data_dir).ok();
//! # Ok(())
//! # }
//! ```

mod aborted;
mod batch;
mod blocking;
mod checkpoint;
mod compression;
mod config;
mod control;
mod crc;
mod data_dir;
mod disk;
mod epochs;
mod error;
mod format;
mod handles;
mod housekeeping;
mod index;
mod indexer;
mod partition;
mod producer;
mod record;
mod reserve;
mod segment;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod topic;
mod validate;
mod waiter;
mod walk;

/// The files' formats, for those who only look at them.
pub(crate) mod files {
    pub(crate) use super::checkpoint::{CLEAN_SHUTDOWN, LOG_STARTS, Offsets, RECOVERY_POINTS, read_offsets};
    pub(crate) use super::data_dir::{disk_space, existing_cluster_id, is_running};
    pub(crate) use super::epochs::Epochs;
    pub(crate) use super::index::{IndexFile, OffsetEntry, TimeEntry};
    pub(crate) use super::producer::{Producers, snapshot_path};
    pub(crate) use super::segment::segment_path;
    pub(crate) use super::topic::{TopicRecord, TopicState, encode_id, name_of_file, parse_directory_name};
    pub(crate) use super::walk::Walker;
}

pub use aborted::AbortedTransaction;
pub(crate) use batch::{last_offset, transactional_producers, within_transaction};
pub use config::{CleanupPolicy, KeepFree, LogConfig, Overrides, StoreConfig, TimestampType};
pub use control::Outcome;
pub(crate) use control::outcome;
pub use error::LogError;
pub use housekeeping::HousekeepingReport;
pub use partition::{AppendOrigin, Appended, FirstBatch, Isolation, Partition, ReadSlice, TimestampOffset};
pub(crate) use producer::ProducerView;
pub use settings::{Setting, SettingKind, setting};
pub use store::{Apply, LogStore, RecoveryReport};
pub use topic::Topic;
pub use waiter::{Waiter, Watch};

/// Recovers one segment of arbitrary bytes in an empty `directory`; answers the log's end and the bytes kept.
///
/// Entry point for fuzzing: whatever the bytes are, recovery must end, keep only whole valid batches and say so.
///
/// # Errors
/// A disk failure; never one about the bytes themselves.
pub fn recover_segment(directory: &std::path::Path, bytes: &[u8]) -> Result<(i64, u64), LogError> {
    partition::recover_bytes(directory, bytes)
}

/// A store on a disk of a test's own making.
#[cfg(test)]
pub(crate) mod on_disk {
    use std::sync::Arc;

    pub(crate) use super::disk::Disk;
    use super::segment::Shared;
    use super::{LogError, LogStore, RecoveryReport, StoreConfig};

    pub(crate) fn open(config: &StoreConfig, disk: Arc<dyn Disk>) -> Result<(LogStore, RecoveryReport), LogError> {
        let shared = Shared { disk, ..Shared::new(config) };
        LogStore::open_with(config.clone(), Arc::new(shared), 0)
    }
}
