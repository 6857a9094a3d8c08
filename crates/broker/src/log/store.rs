use std::sync::Arc;
use std::time::Duration;

use super::config::{LogConfig, Overrides, StoreConfig};
use super::error::LogError;
use super::partition::Partition;

/// What opening the store found and mended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The last stop was clean: nothing was scanned.
    pub clean: bool,
    /// Partitions opened.
    pub partitions: usize,
    /// Segments found.
    pub segments: usize,
    /// Log bytes read to check what was written after the last checkpoint.
    pub scanned_bytes: u64,
    /// Bytes cut off as torn or damaged.
    pub truncated_bytes: u64,
    /// Index files written anew.
    pub rebuilt_indexes: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// One line for everything that was not as it should be.
    pub notes: Vec<String>,
}

/// What one housekeeping round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HousekeepingReport {
    /// Segments closed by age.
    pub rolled: usize,
    /// Partitions flushed.
    pub flushed: usize,
    /// Segments deleted by retention or deletion of records.
    pub expired_segments: usize,
    /// Segments deleted to keep space free.
    pub space_segments: usize,
    /// Partitions compacted.
    pub compacted: usize,
    /// What failed; the rest went on.
    pub errors: Vec<String>,
}

/// A topic: its identity, settings and partitions.
#[derive(Debug)]
pub struct Topic {}

impl Topic {
    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        todo!()
    }

    /// Topic id, the UUID's 16 bytes in network order.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        todo!()
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Arc<LogConfig> {
        todo!()
    }

    /// The settings set on the topic itself.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        todo!()
    }

    /// The partitions, in order.
    #[must_use]
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        todo!()
    }
}

/// All logs of one data directory.
#[derive(Debug)]
pub struct LogStore {}

impl LogStore {
    /// Opens (or creates) the data directory, locks it and recovers what the last stop left.
    ///
    /// # Errors
    /// [`LogError::DirectoryInUse`], [`LogError::BadFile`] or a disk failure.
    pub fn open(config: StoreConfig, now_ms: i64) -> Result<(Self, RecoveryReport), LogError> {
        let _ = (config, now_ms);
        todo!()
    }

    /// The cluster id, made when the directory was created (`meta.properties`).
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        todo!()
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// Invalid name, count or settings, [`LogError::TopicExists`], or a disk failure.
    pub fn create_topic(&self, name: &str, partitions: i32, overrides: &Overrides) -> Result<Arc<Topic>, LogError> {
        let _ = (name, partitions, overrides);
        todo!()
    }

    /// Checks what [`LogStore::create_topic`] would check, and creates nothing.
    ///
    /// # Errors
    /// As for [`LogStore::create_topic`].
    pub fn check_topic(&self, name: &str, partitions: i32, overrides: &Overrides) -> Result<LogConfig, LogError> {
        let _ = (name, partitions, overrides);
        todo!()
    }

    /// Raises a topic's partition count to `total`.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::InvalidPartitions`] or a disk failure.
    pub fn create_partitions(&self, name: &str, total: i32) -> Result<Arc<Topic>, LogError> {
        let _ = (name, total);
        todo!()
    }

    /// Deletes a topic and its files.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`] or a disk failure.
    pub fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        let _ = name;
        todo!()
    }

    /// Replaces a topic's own settings.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::InvalidConfig`] or a disk failure.
    pub fn set_config(&self, name: &str, overrides: &Overrides) -> Result<(), LogError> {
        let _ = (name, overrides);
        todo!()
    }

    /// All topics, in name order.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        todo!()
    }

    /// One topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        let _ = name;
        todo!()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let _ = (topic, index);
        todo!()
    }

    /// Moves a partition's start to `offset` (-1: its end) durably; answers the new start.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`], an unknown partition, or a disk failure.
    pub fn delete_records(&self, topic: &str, index: i32, offset: i64) -> Result<i64, LogError> {
        let _ = (topic, index, offset);
        todo!()
    }

    /// Rolls by age, flushes and checkpoints, applies retention, keeps space free, compacts. Call about once a
    /// second from a thread that may block; it never holds a partition's write lock during disk work.
    pub fn run_housekeeping(&self, now_ms: i64) -> HousekeepingReport {
        let _ = now_ms;
        todo!()
    }

    /// Clean stop: flushes, snapshots, checkpoints, marks the directory clean. Later appends answer
    /// [`LogError::Closed`].
    ///
    /// # Errors
    /// A disk failure; the next open then recovers as after a crash.
    pub fn close(&self) -> Result<(), LogError> {
        todo!()
    }
}
