//! The cluster at a glance, as the viewer's health page shows it.

use crate::disk::{DiskSource, DiskUsage};
use crate::size::bytes;
use lumenbus_bus::status::{ClusterStatus, GroupPartition, GroupStatus, TopicStatus};
use serde::Serialize;

/// Less than this many days of disk are worth telling.
const FEW_DAYS: f64 = 2.0;
/// Groups that are told one by one.
pub(super) const MAX_GROUPS: usize = 200;

/// A cluster, its topics, its readers and its disk at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Overview {
    /// When it was read, Unix milliseconds; what follows may be older when nothing could be reached.
    pub at_ms: i64,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// Whether it is an embedded broker.
    pub is_embedded: bool,
    /// Whether the cluster answered.
    pub is_reachable: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Brokers, by id.
    pub brokers: Vec<OverviewBroker>,
    /// Our topics, by name.
    pub topics: Vec<OverviewTopic>,
    /// Groups that read them.
    pub groups: Vec<OverviewGroup>,
    /// The disks.
    pub disk: OverviewDisk,
    /// What somebody should look after, worst first.
    pub problems: Vec<Problem>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverviewBroker {
    /// `node.id`
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// `None` where the cluster does not tell clients.
    pub is_controller: Option<bool>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverviewTopic {
    /// Full name.
    pub name: String,
    /// Number of partitions.
    pub partitions: usize,
    /// Copies of each.
    pub replication: usize,
    /// Partitions with fewer copies in sync.
    pub under_replicated: usize,
    /// Partitions that nobody leads.
    pub offline: usize,
    /// From the oldest to the newest offset.
    pub records: u64,
    /// On all disks.
    pub bytes: u64,
    /// Whether `bytes` is an estimate.
    pub is_estimate: bool,
}

/// One consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverviewGroup {
    /// Its name.
    pub group: String,
    /// Kafka's word, such as `Stable` or `Empty`.
    pub state: Option<String>,
    /// Members.
    pub members: Option<usize>,
    /// Records that wait for it.
    pub lag_records: i64,
    /// Age of the oldest of them.
    pub age_ms: Option<i64>,
    /// By partition.
    pub partitions: Vec<OverviewGroupPartition>,
}

/// A group's place in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverviewGroupPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset it goes on at.
    pub committed: i64,
    /// The offset that the next record gets.
    pub end: Option<i64>,
    /// Records in between.
    pub lag: Option<i64>,
}

/// The disks.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct OverviewDisk {
    /// Whether the figures are estimates from offsets and mean record sizes.
    pub is_estimate: bool,
    /// Of our topics, all copies.
    pub used_bytes: u64,
    /// `None` for a cluster, which does not tell its clients.
    pub free_bytes: Option<u64>,
    /// What is appended, all copies.
    pub bytes_per_second: Option<f64>,
    /// Until it is full; `None` when unknown, or when retention ends the growth before.
    pub days_left: Option<f64>,
    /// Whether retention ends the growth before the disk is full; `None` when unknown.
    pub fits: Option<bool>,
}

/// Something to look after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable name, such as `offline-partitions`.
    pub code: &'static str,
    /// What it is.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Overview {
    pub(super) fn of(status: &ClusterStatus, groups: &[GroupStatus], disk: &DiskUsage) -> Self {
        let mut overview = Self {
            at_ms: status.at_unix_millis,
            cluster_id: status.cluster_id.clone(),
            is_embedded: status.is_embedded,
            is_reachable: true,
            reason: None,
            brokers: brokers(status),
            topics: status.topics.iter().map(|topic| topic_row(topic, disk)).collect(),
            groups: groups.iter().take(MAX_GROUPS).map(group_row).collect(),
            disk: disk_row(disk),
            problems: Vec::new(),
        };
        overview.problems = problems(&overview);
        overview
    }

    /// What was known before, now that nobody answers.
    pub(super) fn unreachable(mut self, at_ms: i64, reason: String) -> Self {
        self.at_ms = at_ms;
        self.is_reachable = false;
        let what = reason.clone();
        let remedy = "start the broker, or mend the network; publishers keep what fits their buffers".to_owned();
        self.problems = vec![Problem { code: "unreachable", what, remedy }];
        self.reason = Some(reason);
        self
    }
}

fn brokers(status: &ClusterStatus) -> Vec<OverviewBroker> {
    let row = |broker: &lumenbus_bus::status::BrokerStatus| OverviewBroker {
        id: broker.id,
        host: broker.host.clone(),
        port: broker.port,
        is_controller: broker.is_controller,
    };
    status.brokers.iter().map(row).collect()
}

fn topic_row(topic: &TopicStatus, disk: &DiskUsage) -> OverviewTopic {
    OverviewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.len(),
        replication: topic.replication(),
        under_replicated: topic.under_replicated_partitions(),
        offline: topic.offline_partitions(),
        records: topic.records(),
        bytes: disk.topics.get(&topic.name).map_or(0, |topic| topic.used_bytes),
        is_estimate: disk.source == DiskSource::Estimate,
    }
}

fn group_row(group: &GroupStatus) -> OverviewGroup {
    let place = |place: &GroupPartition| OverviewGroupPartition {
        topic: place.topic.clone(),
        partition: place.partition,
        committed: place.committed,
        end: place.end,
        lag: place.lag,
    };
    OverviewGroup {
        group: group.group.clone(),
        state: group.state.clone(),
        members: group.members,
        lag_records: group.lag_records(),
        age_ms: group.age_millis(),
        partitions: group.partitions.iter().map(place).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes for people")]
fn disk_row(disk: &DiskUsage) -> OverviewDisk {
    let fits = disk.free_bytes.zip(disk.growth_bytes()).map(|(free, growth)| growth <= free as f64);
    OverviewDisk {
        is_estimate: disk.source == DiskSource::Estimate,
        used_bytes: disk.used_bytes(),
        free_bytes: disk.free_bytes,
        bytes_per_second: disk.bytes_per_second(),
        days_left: disk.days_left(),
        fits,
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes for people")]
fn problems(overview: &Overview) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |code, what: String, remedy: &str| problems.push(Problem { code, what, remedy: remedy.to_owned() });
    for topic in overview.topics.iter().filter(|topic| topic.offline > 0) {
        let what = format!("{} of {} partitions of {} have no leader", topic.offline, topic.partitions, topic.name);
        add(
            "offline-partitions",
            what,
            "start the brokers that hold them; their cameras wait in the publishers' buffers",
        );
    }
    for topic in overview.topics.iter().filter(|topic| topic.under_replicated > 0) {
        let what =
            format!("{} of {} partitions of {} lack copies", topic.under_replicated, topic.partitions, topic.name);
        add("under-replicated", what, "look for a broker that is away, slow or out of disk");
    }
    if let Some(days) = overview.disk.days_left.filter(|days| *days < FEW_DAYS) {
        let what = format!(
            "the disk is full in {days:.1} days ({} free)",
            bytes(overview.disk.free_bytes.unwrap_or(0) as f64)
        );
        add("disk", what, "keep less long (`lumenbus topics plan --retention`), or add disk; see `lumenbus size`");
    }
    for group in overview.groups.iter().filter(|group| group.members == Some(0) && group.lag_records > 0) {
        let what = format!("group {} has no member and {} records wait for it", group.group, group.lag_records);
        add("group-without-members", what, "start its workers, or delete the group when it is not used any more");
    }
    problems
}
