use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::error::LogError;

/// Kafka's `cleanup.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments go by time and size.
    pub delete: bool,
    /// Only the newest record of each key is kept.
    pub compact: bool,
}

/// Kafka's `message.timestamp.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's time is kept.
    CreateTime,
    /// The broker stamps every batch at append.
    LogAppendTime,
}

/// The settings of one topic, under Kafka's names in [`LogConfig::entries`] and [`LogConfig::with_overrides`].
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it grows beyond this.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is closed at this age.
    pub segment_ms: i64,
    /// `segment.index.bytes`: a segment is closed when its offset index reaches this.
    pub segment_index_bytes: u64,
    /// `retention.ms`; `None` (-1): for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes` per partition; `None` (-1): unlimited.
    pub retention_bytes: Option<u64>,
    /// `max.message.bytes`: largest batch, header included.
    pub max_message_bytes: usize,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a create time may lie in the past.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a create time may lie in the future.
    pub message_timestamp_after_max_ms: i64,
    /// `index.interval.bytes`: bytes between index entries.
    pub index_interval_bytes: u64,
    /// `delete.retention.ms`: how long compaction keeps tombstones.
    pub delete_retention_ms: i64,
    /// `min.cleanable.dirty.ratio`: share of uncompacted bytes that starts a compaction, 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: records younger than this are not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: records older than this are compacted whatever the ratio.
    pub max_compaction_lag_ms: i64,
    /// `flush.messages`: fsync after this many records.
    pub flush_messages: i64,
    /// `flush.ms`: fsync at the latest this long after an append.
    pub flush_ms: i64,
    /// `min.insync.replicas`: always 1 on a single node.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`: kept for clients; a single node elects nobody.
    pub unclean_leader_election_enable: bool,
}

/// A topic's own settings by Kafka's names; what is absent follows the broker's defaults.
pub type Overrides = BTreeMap<String, String>;

/// How much of the disk is kept free by deleting the oldest closed segments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeepFree {
    /// Nothing is deleted for space.
    Off,
    /// At least this many bytes.
    Bytes(u64),
    /// At least this share of the file system, 0 to 1.
    Share(f64),
}

/// Where and how the store keeps its logs.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data directory; created when missing.
    pub data_dir: PathBuf,
    /// Settings of topics that do not override them.
    pub defaults: LogConfig,
    /// How often written data is flushed and the recovery point moved.
    pub flush_interval: Duration,
    /// What [`crate::log::LogStore::run_housekeeping`] keeps free.
    pub keep_free: KeepFree,
    /// Closed segments held open for readers, over all partitions.
    pub max_open_segments: usize,
    /// Idempotent producers remembered per partition; beyond it the longest silent are forgotten.
    pub max_producers_per_partition: usize,
    /// `producer.id.expiration.ms`: a silent producer is forgotten after this.
    pub producer_expiry_ms: i64,
    /// Largest key table of one compaction pass.
    pub compaction_map_bytes: usize,
    /// Largest batch after decompression in a compaction; what exceeds it is kept as it is.
    pub compaction_batch_bytes: usize,
}

impl StoreConfig {
    /// The defaults for a data directory: flush every 10 s, nothing kept free, Kafka's topic defaults.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let _ = data_dir.into();
        todo!()
    }
}

impl Default for LogConfig {
    /// Kafka 4's defaults.
    fn default() -> Self {
        todo!()
    }
}

impl LogConfig {
    /// These settings with a topic's own on top.
    ///
    /// # Errors
    /// [`LogError::InvalidConfig`] for an unknown key, a value that does not parse or is out of bounds.
    pub fn with_overrides(&self, overrides: &Overrides) -> Result<Self, LogError> {
        let _ = overrides;
        todo!()
    }

    /// Every setting under Kafka's name, in name order.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        todo!()
    }
}
