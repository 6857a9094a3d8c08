//! The overview as metrics.

use super::Shared;
use super::overview::OverviewGroup;
use crate::metrics::{Families, Row};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::Arc;

pub(super) struct ClusterCollector {
    shared: Arc<Shared>,
}

impl ClusterCollector {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl fmt::Debug for ClusterCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCollector").finish_non_exhaustive()
    }
}

impl Collector for ClusterCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let overview = self.shared.overview();
        if overview.at_ms == 0 {
            return Ok(());
        }
        let up = Row::count(u64::from(overview.is_reachable));
        families.gauges("lumenbus_cluster_up", "Whether the cluster answered when it was last asked.", [up])?;
        if !overview.is_reachable {
            // What was true a while ago would look as if it were true now.
            return Ok(());
        }
        let brokers = [Row::count(overview.brokers.len() as u64)];
        families.gauges("lumenbus_cluster_brokers", "Brokers of the cluster.", brokers)?;
        let topics = |value: fn(&super::OverviewTopic) -> u64| {
            overview.topics.iter().map(move |topic| Row::count(value(topic)).label("topic", topic.name.as_str()))
        };
        let help = "Partitions with fewer copies in sync than they should have.";
        let rows = topics(|topic| topic.under_replicated as u64);
        families.gauges("lumenbus_cluster_under_replicated_partitions", help, rows)?;
        let help = "Partitions that nobody leads.";
        families.gauges("lumenbus_cluster_offline_partitions", help, topics(|topic| topic.offline as u64))?;
        families.gauges("lumenbus_topic_partitions", "Partitions.", topics(|topic| topic.partitions as u64))?;
        let help = "Records from the oldest to the newest offset.";
        families.gauges("lumenbus_topic_records", help, topics(|topic| topic.records))?;
        disk(&mut families, &overview)?;
        groups(&mut families, &overview.groups)
    }
}

fn disk(families: &mut Families<'_>, overview: &super::Overview) -> fmt::Result {
    let estimate = if overview.disk.is_estimate { "true" } else { "false" };
    let used = overview
        .topics
        .iter()
        // Of a topic of which nothing is known yet nothing is said.
        .filter(|topic| topic.bytes > 0 || topic.records == 0)
        .map(|topic| Row::count(topic.bytes).label("topic", topic.name.as_str()).label("estimate", estimate));
    let help =
        "Bytes of a topic on all disks: the embedded broker's own files, else an estimate from offsets and sizes.";
    families.gauges("lumenbus_disk_used_bytes", help, used)?;
    let free = overview.disk.free_bytes.map(Row::count);
    families.gauges("lumenbus_disk_free_bytes", "Bytes free on the embedded broker's file system.", free)?;
    let growth = overview.disk.bytes_per_second.map(|rate| Row::new(rate).label("estimate", "true"));
    families.gauges("lumenbus_disk_append_rate_bytes", "Bytes appended per second, all copies.", growth)?;
    let left = overview.disk.days_left.map(|days| Row::new(days * 86_400.0));
    let help = "Time until the disk is full at the present rate; absent when retention ends the growth before.";
    families.gauges("lumenbus_disk_left_seconds", help, left)
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
fn groups(families: &mut Families<'_>, groups: &[OverviewGroup]) -> fmt::Result {
    let row = |group: &OverviewGroup, value: f64| Row::new(value).label("group", group.group.as_str());
    let lag = groups.iter().map(|group| row(group, group.lag_records as f64));
    families.gauges("lumenbus_group_lag_records", "Records that wait for a consumer group.", lag)?;
    let age = groups.iter().filter_map(|group| Some(row(group, group.age_ms? as f64 / 1e3)));
    families.gauges("lumenbus_group_age_seconds", "Age of the oldest record that waits for a consumer group.", age)?;
    let members = groups.iter().filter_map(|group| Some(row(group, group.members? as f64)));
    families.gauges("lumenbus_group_members", "Members of a consumer group.", members)
}
