//! How the cluster, our topics and their readers are.
//!
//! A [`StatusReader`] keeps its clients and is asked every few seconds. What a client cannot know is `None`, and what it
//! can only estimate says so.

mod groups;
mod reader;
mod sample;
mod usage;

pub(crate) use reader::{Quiet, Until, client_config, connect};
pub use reader::{StatusConfig, StatusReader};

/// A cluster and our topics in it, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// When it was read, Unix milliseconds of this machine.
    pub at_unix_millis: i64,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// Whether it is an embedded broker.
    pub is_embedded: bool,
    /// Brokers, by id.
    pub brokers: Vec<BrokerStatus>,
    /// Those of our topics that exist, by name.
    pub topics: Vec<TopicStatus>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStatus {
    /// `node.id`
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// Whether it is the active controller; `None` where the cluster does not tell clients.
    pub is_controller: Option<bool>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStatus {
    /// Full name.
    pub name: String,
    /// Partitions, by number.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStatus {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it; `None`: nobody does, it is offline.
    pub leader: Option<i32>,
    /// Brokers that should hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
    /// Offset of the oldest record; `None` when the broker did not say.
    pub begin_offset: Option<i64>,
    /// Offset that the next record gets.
    pub end_offset: Option<i64>,
}

/// One consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStatus {
    /// Its name.
    pub group: String,
    /// Kafka's word, such as `Stable` or `Empty`; `None` where the broker does not list groups.
    pub state: Option<String>,
    /// Members; `None` where the broker does not list groups.
    pub members: Option<usize>,
    /// Partitions of our topics that it has committed.
    pub partitions: Vec<GroupPartition>,
}

/// What a group has done of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset it goes on at.
    pub committed: i64,
    /// Offset that the next record gets; `None` when the broker did not say.
    pub end: Option<i64>,
    /// Records in between.
    pub lag: Option<i64>,
    /// How long ago the record at the committed offset was appended; 0 when there is none; `None` when it was not read.
    pub age_millis: Option<i64>,
}

/// How much a topic holds: an estimate, because a client cannot ask for it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TopicUsage {
    /// The topic.
    pub topic: String,
    /// Records from the oldest to the newest offset.
    pub records: u64,
    /// Those times the mean size of the records looked at, without replication.
    pub estimated_bytes: u64,
    /// Mean size of the records looked at, with Kafka's own fields.
    pub mean_record_bytes: f64,
    /// How many were looked at.
    pub sampled_records: usize,
    /// Always: nothing here was counted by the broker.
    pub is_estimate: bool,
    /// Copies of each record in the cluster.
    pub replication: usize,
    /// Time between the oldest and the newest record seen, in milliseconds.
    pub append_span_millis: Option<i64>,
}

impl ClusterStatus {
    /// Partitions of our topics with fewer replicas in sync than they should have.
    #[must_use]
    pub fn under_replicated_partitions(&self) -> usize {
        self.topics.iter().map(TopicStatus::under_replicated_partitions).sum()
    }

    /// Partitions of our topics that nobody leads.
    #[must_use]
    pub fn offline_partitions(&self) -> usize {
        self.topics.iter().map(TopicStatus::offline_partitions).sum()
    }
}

impl TopicStatus {
    /// Partitions with fewer replicas in sync than they should have.
    #[must_use]
    pub fn under_replicated_partitions(&self) -> usize {
        self.partitions.iter().filter(|partition| partition.in_sync.len() < partition.replicas.len()).count()
    }

    /// Partitions that nobody leads.
    #[must_use]
    pub fn offline_partitions(&self) -> usize {
        self.partitions.iter().filter(|partition| partition.leader.is_none()).count()
    }

    /// Records from the oldest to the newest offset, where the broker said.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.partitions.iter().map(PartitionStatus::records).sum()
    }

    /// Copies of each record: the least of all partitions.
    #[must_use]
    pub fn replication(&self) -> usize {
        self.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or(0)
    }
}

impl PartitionStatus {
    /// Records from the oldest to the newest offset.
    #[must_use]
    pub fn records(&self) -> u64 {
        let count = self.begin_offset.zip(self.end_offset).map_or(0, |(begin, end)| end.saturating_sub(begin));
        u64::try_from(count).unwrap_or(0)
    }
}

impl GroupStatus {
    /// Records of our topics that wait for the group, where known.
    #[must_use]
    pub fn lag_records(&self) -> i64 {
        self.partitions.iter().filter_map(|partition| partition.lag).sum()
    }

    /// Age of the oldest record that waits for it; `None` when no age is known.
    #[must_use]
    pub fn age_millis(&self) -> Option<i64> {
        self.partitions.iter().filter_map(|partition| partition.age_millis).max()
    }
}
