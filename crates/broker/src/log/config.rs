use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::error::LogError;
use super::settings;

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
    /// Settings that Kafka has a use for and this broker has none, where they were set.
    pub without_effect: BTreeMap<&'static str, String>,
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
        Self {
            data_dir: data_dir.into(),
            defaults: LogConfig::default(),
            flush_interval: Duration::from_secs(10),
            keep_free: KeepFree::Off,
            max_open_segments: 256,
            max_producers_per_partition: 4096,
            producer_expiry_ms: 24 * HOUR_MS,
            compaction_map_bytes: 128 << 20,
            compaction_batch_bytes: 64 << 20,
        }
    }
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Positions in `.index` files are 32-bit signed (Kafka's limit as well).
const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

impl Default for LogConfig {
    /// Kafka 4's defaults.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_index_bytes: 10 << 20,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            max_message_bytes: (1 << 20) + 12,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: HOUR_MS,
            index_interval_bytes: 4096,
            delete_retention_ms: DAY_MS,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            min_insync_replicas: 1,
            unclean_leader_election_enable: false,
            without_effect: BTreeMap::new(),
        }
    }
}

impl LogConfig {
    /// These settings with a topic's own on top.
    ///
    /// # Errors
    /// [`LogError::InvalidConfig`] for an unknown key, a value that does not parse or is out of bounds.
    pub fn with_overrides(&self, overrides: &Overrides) -> Result<Self, LogError> {
        let mut config = self.clone();
        for (key, value) in overrides {
            config.set(key, value.trim()).map_err(|reason| LogError::InvalidConfig {
                key: key.clone(),
                value: value.clone(),
                reason,
            })?;
        }
        Ok(config)
    }

    /// `segment.ms`, or less where `max.compaction.lag.ms` needs records out of the growing segment earlier.
    #[must_use]
    pub fn effective_segment_ms(&self) -> i64 {
        if self.cleanup_policy.compact { self.segment_ms.min(self.max_compaction_lag_ms) } else { self.segment_ms }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "segment.bytes" => self.segment_bytes = within(value, 1024, MAX_SEGMENT_BYTES)?,
            "segment.ms" => self.segment_ms = within(value, 1, i64::MAX)?,
            "segment.index.bytes" => self.segment_index_bytes = within(value, 32, 1 << 30)?,
            "retention.ms" => self.retention_ms = unlimited(value)?,
            "retention.bytes" => {
                self.retention_bytes = unlimited(value)?.map(|bytes| u64::try_from(bytes).unwrap_or(0));
            }
            "max.message.bytes" => self.max_message_bytes = within(value, 0, i32::MAX as usize)?,
            "cleanup.policy" => self.cleanup_policy = cleanup_policy(value)?,
            "message.timestamp.type" => self.message_timestamp_type = timestamp_type(value)?,
            "message.timestamp.before.max.ms" => self.message_timestamp_before_max_ms = within(value, 0, i64::MAX)?,
            "message.timestamp.after.max.ms" => self.message_timestamp_after_max_ms = within(value, 0, i64::MAX)?,
            "index.interval.bytes" => self.index_interval_bytes = within(value, 0, MAX_SEGMENT_BYTES)?,
            "delete.retention.ms" => self.delete_retention_ms = within(value, 0, i64::MAX)?,
            "min.cleanable.dirty.ratio" => self.min_cleanable_dirty_ratio = within(value, 0.0, 1.0)?,
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = within(value, 0, i64::MAX)?,
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = within(value, 1, i64::MAX)?,
            "flush.messages" => self.flush_messages = within(value, 1, i64::MAX)?,
            "flush.ms" => self.flush_ms = within(value, 0, i64::MAX)?,
            "min.insync.replicas" => self.min_insync_replicas = single_replica(value)?,
            "unclean.leader.election.enable" => self.unclean_leader_election_enable = boolean(value)?,
            "compression.type" => producer_compression(value)?,
            "preallocate" => not_preallocated(value)?,
            _ => drop(self.without_effect.insert(settings::check_idle(key, value)?, value.to_owned())),
        }
        Ok(())
    }

    /// Every setting under Kafka's name, in name order.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let unlimited = |limit: Option<String>| limit.unwrap_or_else(|| "-1".to_owned());
        let mut entries = vec![
            ("cleanup.policy", self.cleanup_policy.to_string()),
            ("compression.type", "producer".to_owned()),
            ("delete.retention.ms", self.delete_retention_ms.to_string()),
            ("flush.messages", self.flush_messages.to_string()),
            ("flush.ms", self.flush_ms.to_string()),
            ("index.interval.bytes", self.index_interval_bytes.to_string()),
            ("max.compaction.lag.ms", self.max_compaction_lag_ms.to_string()),
            ("max.message.bytes", self.max_message_bytes.to_string()),
            ("message.timestamp.after.max.ms", self.message_timestamp_after_max_ms.to_string()),
            ("message.timestamp.before.max.ms", self.message_timestamp_before_max_ms.to_string()),
            ("message.timestamp.type", self.message_timestamp_type.to_string()),
            ("min.cleanable.dirty.ratio", self.min_cleanable_dirty_ratio.to_string()),
            ("min.compaction.lag.ms", self.min_compaction_lag_ms.to_string()),
            ("min.insync.replicas", self.min_insync_replicas.to_string()),
            ("preallocate", "false".to_owned()),
            ("retention.bytes", unlimited(self.retention_bytes.map(|bytes| bytes.to_string()))),
            ("retention.ms", unlimited(self.retention_ms.map(|ms| ms.to_string()))),
            ("segment.bytes", self.segment_bytes.to_string()),
            ("segment.index.bytes", self.segment_index_bytes.to_string()),
            ("segment.ms", self.segment_ms.to_string()),
            ("unclean.leader.election.enable", self.unclean_leader_election_enable.to_string()),
        ];
        let idle = |(name, default): (&'static str, &str)| {
            (name, self.without_effect.get(name).map_or_else(|| default.to_owned(), Clone::clone))
        };
        entries.extend(settings::idle_settings().map(idle));
        entries.sort_unstable_by_key(|(name, _)| *name);
        entries
    }
}

impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.compact, self.delete) {
            (true, true) => "compact,delete",
            (true, false) => "compact",
            (false, _) => "delete",
        })
    }
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        })
    }
}

fn within<T: FromStr + PartialOrd + Copy>(value: &str, low: T, high: T) -> Result<T, &'static str> {
    let number: T = value.parse().map_err(|_| "not a number of this setting's kind")?;
    if number >= low && number <= high { Ok(number) } else { Err("out of the range Kafka allows") }
}

fn unlimited(value: &str) -> Result<Option<i64>, &'static str> {
    let number = within(value, -1, i64::MAX)?;
    Ok((number >= 0).then_some(number))
}

fn cleanup_policy(value: &str) -> Result<CleanupPolicy, &'static str> {
    let mut policy = CleanupPolicy { delete: false, compact: false };
    for part in value.split(',') {
        match part.trim() {
            "delete" => policy.delete = true,
            "compact" => policy.compact = true,
            _ => return Err("expected delete, compact, or both with a comma"),
        }
    }
    Ok(policy)
}

fn timestamp_type(value: &str) -> Result<TimestampType, &'static str> {
    match value {
        "CreateTime" => Ok(TimestampType::CreateTime),
        "LogAppendTime" => Ok(TimestampType::LogAppendTime),
        _ => Err("expected CreateTime or LogAppendTime"),
    }
}

fn single_replica(value: &str) -> Result<i32, &'static str> {
    match value {
        "1" => Ok(1),
        _ => Err("a single node keeps one replica; only 1 can be met"),
    }
}

fn producer_compression(value: &str) -> Result<(), &'static str> {
    match value {
        "producer" => Ok(()),
        _ => Err("this broker stores batches as producers compress them; only producer is supported"),
    }
}

fn boolean(value: &str) -> Result<bool, &'static str> {
    value.parse().map_err(|_| "expected true or false")
}

fn not_preallocated(value: &str) -> Result<(), &'static str> {
    match value {
        "false" => Ok(()),
        _ => Err("segments are not preallocated; only false is supported"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Result<LogConfig, LogError> {
        LogConfig::default().with_overrides(&Overrides::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn entries_parse_back_to_the_same_settings() {
        let config = LogConfig {
            retention_bytes: Some(77),
            retention_ms: None,
            cleanup_policy: CleanupPolicy { delete: true, compact: true },
            message_timestamp_type: TimestampType::LogAppendTime,
            min_cleanable_dirty_ratio: 0.25,
            ..LogConfig::default()
        };
        let overrides = config.entries().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let parsed = LogConfig::default().with_overrides(&overrides).unwrap();
        assert_eq!(parsed.entries(), config.entries());
        assert_eq!(LogConfig { without_effect: BTreeMap::new(), ..parsed }, config);
        let names: Vec<&str> = config.entries().iter().map(|(name, _)| *name).collect();
        let known: Vec<&str> = settings::SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names, known, "the table and the parser know the same settings");
        assert!(known.is_sorted());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (key, value) in [
            ("retention.mss", "1"),
            ("retention.ms", "-2"),
            ("retention.ms", "ten"),
            ("segment.bytes", "2147483648"),
            ("cleanup.policy", "shred"),
            ("cleanup.policy", ""),
            ("compression.type", "zstd"),
            ("min.insync.replicas", "2"),
            ("remote.storage.enable", "true"),
            ("segment.jitter.ms", "5"),
            ("compression.zstd.level", "23"),
            ("compression.gzip.level", "best"),
            ("min.cleanable.dirty.ratio", "NaN"),
        ] {
            let error = one(key, value).unwrap_err();
            assert_eq!(error.kafka_code(), 40, "{key}={value}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
