//! What lies in a data directory: topics, partitions, segments, producers, groups. Reads only, so it works
//! on the directory of a stopped broker and under a running one alike; what is damaged is named, and the
//! rest is told all the same.
//!
//! ```
//! use lumenbus_broker::inspect::{InspectOptions, inspect};
//! use lumenbus_broker::log::{LogStore, Overrides, StoreConfig};
//!
//! # fn main() -> Result<(), lumenbus_broker::log::LogError> {
//! # let data_dir = std::env::temp_dir().join(format!("inspect-example-{}", std::process::id()));
//! let (store, _) = LogStore::open(StoreConfig::new(&data_dir), 0)?;
//! store.create_topic("frames", 3, &Overrides::new())?;
//! let found = inspect(&data_dir, &InspectOptions::default())?;
//! assert_eq!((&*found.topics[0].name, found.topics[0].partitions.len()), ("frames", 3));
//! assert!(found.faults.is_empty());
//! # drop(store);
//! # std::fs::remove_dir_all(data_dir).ok();
//! # Ok(())
//! # }
//! ```

mod directory;
mod groups;
mod partition;
mod producers;
mod segment;

use std::path::{Path, PathBuf};

pub use directory::inspect;

use crate::log::{LogError, Overrides};

/// How much is looked at.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct InspectOptions {
    /// Only these topics; all when empty.
    pub topics: Vec<String>,
    /// How deep.
    pub depth: Depth,
}

/// How deep a look goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The first and the last segment of each partition: quick, whatever the directory holds.
    #[default]
    Ends,
    /// A look at both ends of every segment.
    Segments,
    /// Every batch of every segment, with its checksum.
    Everything,
}

/// Whether a broker uses the directory, or how the last one stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A broker runs on it: what it has not written to files yet is not seen.
    Running,
    /// The last broker stopped cleanly.
    Stopped,
    /// The last broker did not stop cleanly; the next start recovers.
    Crashed,
}

/// What lies in a data directory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// The cluster id.
    pub cluster_id: String,
    /// Who uses it.
    pub usage: Usage,
    /// Free bytes of the file system, and its size.
    pub disk: Option<(u64, u64)>,
    /// The topics, by name.
    pub topics: Vec<TopicInspection>,
    /// The groups, by name.
    pub groups: Vec<GroupInspection>,
    /// What is damaged or cannot be read.
    pub faults: Vec<Fault>,
}

/// Something damaged or unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl Fault {
    fn new(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into() }
    }

    /// The path stands in the error's words as well.
    fn of(path: &Path, error: &LogError) -> Self {
        Self::new(path, error.to_string())
    }
}

/// One topic.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TopicInspection {
    /// Its name.
    pub name: String,
    /// Its id in Kafka's text form; `None` without a topic file.
    pub id: Option<String>,
    /// Whether its deletion was decided and is to be finished.
    pub is_deleting: bool,
    /// The settings it has of its own.
    pub settings: Overrides,
    /// Its partitions.
    pub partitions: Vec<PartitionInspection>,
}

/// One partition.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PartitionInspection {
    /// Its number.
    pub index: i32,
    /// Its first offset.
    pub start_offset: i64,
    /// The offset of the next record.
    pub end_offset: i64,
    /// The newest leader epoch that has records.
    pub leader_epoch: Option<i32>,
    /// Synced up to here.
    pub recovery_point: Option<i64>,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Number of segments.
    pub segment_count: usize,
    /// Smallest timestamp of its first batch, Unix milliseconds.
    pub first_timestamp_ms: Option<i64>,
    /// Largest timestamp of its last segment that has one, Unix milliseconds.
    pub last_timestamp_ms: Option<i64>,
    /// The segments, oldest first; only from [`Depth::Segments`] on.
    pub segments: Vec<SegmentInspection>,
    /// Its producers with ids, by id.
    pub producers: Vec<ProducerInspection>,
    /// Producers are told as they were at this offset: looking further would have meant reading too much.
    pub producers_as_of: Option<i64>,
}

/// One segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInspection {
    /// Its first offset, and its name.
    pub base_offset: i64,
    /// The offset behind its last batch.
    pub next_offset: i64,
    /// Bytes of its records.
    pub bytes: u64,
    /// Bytes of its indexes.
    pub index_bytes: u64,
    /// Smallest timestamp of its first batch, Unix milliseconds.
    pub first_timestamp_ms: Option<i64>,
    /// Largest timestamp, Unix milliseconds.
    pub last_timestamp_ms: Option<i64>,
    /// Batches; only at [`Depth::Everything`].
    pub batches: Option<u64>,
    /// Records; only at [`Depth::Everything`].
    pub records: Option<u64>,
}

/// A producer that numbers its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerInspection {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence number of its last record, −1 when none is known.
    pub last_sequence: i32,
    /// When it was last heard of, Unix milliseconds.
    pub last_timestamp_ms: i64,
    /// Where its open transaction begins.
    pub transaction_start_offset: Option<i64>,
}

/// One group.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct GroupInspection {
    /// Its name.
    pub name: String,
    /// `consumer` for consumers; empty where nobody ever joined.
    pub protocol_type: String,
    /// The assignor its members agreed upon.
    pub protocol: Option<String>,
    /// Its generation, 0 where nobody ever joined.
    pub generation: i32,
    /// Its members when they last agreed, which is what is kept.
    pub members: Vec<MemberInspection>,
    /// What it has committed.
    pub offsets: Vec<OffsetInspection>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberInspection {
    /// Its id.
    pub id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetInspection {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The next offset to be read.
    pub offset: i64,
    /// Records from there to the end; `None` where the partition is missing.
    pub lag: Option<i64>,
    /// When it was committed, Unix milliseconds.
    pub committed_ms: i64,
    /// The client's own note.
    pub metadata: String,
}
