//! How fast topics grow, and when retention ends it.

use crate::disk::DiskUsage;
use lumenbus_bus::BusConfig;
use lumenbus_bus::status::{ClusterStatus, TopicUsage};
use lumenbus_bus::topics::Cluster;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// A rate is of this time: long enough for the ups and downs of GOPs.
const WINDOW_MILLIS: i64 = 60_000;
const MAX_LOOKS: usize = 256;
/// Settings of topics change rarely.
const SETTINGS_INTERVAL: Duration = Duration::from_secs(300);

/// The ends of topics at some moments.
#[derive(Default)]
pub(crate) struct Rates {
    looks: VecDeque<(i64, BTreeMap<String, i64>)>,
    retention_seconds: BTreeMap<String, f64>,
    asked: Option<(Instant, BTreeSet<String>)>,
}

impl Rates {
    /// Adds rates and retention to what is on the disk.
    pub(crate) fn add(&mut self, bus: &BusConfig, status: &ClusterStatus, usages: &[TopicUsage], disk: &mut DiskUsage) {
        if self.must_ask(status.topics.iter().map(|topic| topic.name.as_str())) {
            self.ask(bus, status);
        }
        self.take(status.at_unix_millis, ends(status));
        for (name, topic) in &mut disk.topics {
            topic.retention_seconds = self.retention_seconds.get(name).copied();
            let usage = usages.iter().find(|usage| usage.topic == *name);
            let record_bytes = usage.map_or(0.0, |usage| usage.mean_record_bytes * copies(usage));
            topic.bytes_per_second = self.records_per_second(name).map(|records| records * record_bytes);
        }
    }

    /// Now and then, and at once when there is a topic that was not there before.
    fn must_ask<'a>(&self, mut topics: impl Iterator<Item = &'a str>) -> bool {
        let Some((at, asked)) = &self.asked else { return true };
        at.elapsed() > SETTINGS_INTERVAL || topics.any(|topic| !asked.contains(topic))
    }

    fn ask(&mut self, bus: &BusConfig, status: &ClusterStatus) {
        let names: Vec<_> = status.topics.iter().map(|topic| topic.name.as_str()).collect();
        match Cluster::open(bus).and_then(|cluster| cluster.actual(&names)) {
            Ok(actual) => {
                let retention = |topic: &lumenbus_bus::topics::ActualTopic| {
                    // A compacted topic keeps one record a key.
                    if topic.configs.get("cleanup.policy").is_some_and(|policy| !policy.contains("delete")) {
                        return Some(0.0);
                    }
                    let millis: f64 = topic.configs.get("retention.ms")?.parse().ok()?;
                    (millis >= 0.0).then_some(millis / 1e3)
                };
                let known = actual.iter().filter_map(|(name, topic)| Some((name.clone(), retention(topic)?)));
                self.retention_seconds = known.collect();
                self.asked = Some((Instant::now(), names.iter().map(|&name| name.to_owned()).collect()));
            }
            // Not permitted, or away: then nobody knows when the growth ends.
            Err(error) => tracing::debug!(%error, "settings of topics"),
        }
    }

    fn take(&mut self, at_millis: i64, ends: BTreeMap<String, i64>) {
        self.looks.push_back((at_millis, ends));
        // The oldest one kept is just outside the window.
        while self.looks.len() > MAX_LOOKS || self.looks.get(1).is_some_and(|look| look.0 < at_millis - WINDOW_MILLIS) {
            self.looks.pop_front();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn records_per_second(&self, topic: &str) -> Option<f64> {
        let (last_at, last) = self.looks.back()?;
        let end = *last.get(topic)?;
        let (first_at, first) = self.looks.iter().find(|look| look.1.contains_key(topic))?;
        let millis = last_at - first_at;
        (millis > 0).then(|| (end - first[topic]).max(0) as f64 * 1e3 / millis as f64)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn copies(usage: &TopicUsage) -> f64 {
    usage.replication.max(1) as f64
}

/// Of the topics of which every partition's end is known.
fn ends(status: &ClusterStatus) -> BTreeMap<String, i64> {
    let end = |topic: &lumenbus_bus::status::TopicStatus| {
        topic.partitions.iter().map(|partition| partition.end_offset).sum::<Option<i64>>()
    };
    status.topics.iter().filter_map(|topic| Some((topic.name.clone(), end(topic)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_topic_is_asked_for_at_once() {
        let mut rates = Rates::default();
        assert!(rates.must_ask([].into_iter()));
        rates.asked = Some((Instant::now(), BTreeSet::from(["raw_video".to_owned()])));
        assert!(!rates.must_ask(["raw_video"].into_iter()));
        assert!(rates.must_ask(["raw_images", "raw_video"].into_iter()));
    }

    #[test]
    fn a_rate_is_of_the_last_minute() {
        let mut rates = Rates::default();
        let ends = |end: i64| BTreeMap::from([("raw_video".to_owned(), end)]);
        rates.take(0, ends(0));
        assert_eq!(rates.records_per_second("raw_video"), None, "one look is no rate");
        for second in 1..=200_i64 {
            rates.take(second * 1_000, ends(if second < 100 { second * 1_000 } else { 100_000 + second * 30 }));
        }
        assert_eq!(rates.records_per_second("raw_video"), Some(30.0));
        assert_eq!(rates.records_per_second("raw_images"), None);
        assert!(rates.looks.len() < 64);
    }
}
