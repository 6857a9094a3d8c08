//! Makes the cluster as planned, as far as that is safe.

use super::check::{Drift, DriftKind, check};
use super::cluster::Cluster;
use super::plan::{TopicPlan, plan_of};
use crate::config::BusConfig;
use crate::error::BusError;
use std::collections::BTreeSet;

/// Whether a topic with too few partitions gets more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Growth {
    /// Reported as drift.
    #[default]
    Keep,
    /// Added. A camera whose first partition changes moves when its publisher starts next; other Kafka clients that hash
    /// keys split a camera at that moment.
    Grow,
}

/// What was done and what is left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Topics created.
    pub created: Vec<String>,
    /// Topics whose settings were altered or that got partitions.
    pub altered: Vec<String>,
    /// Differences that remain.
    pub remaining: Vec<Drift>,
}

/// Creates missing topics and, on Apache Kafka, sets settings that differ; other settings of a topic are kept.
///
/// # Errors
/// The first thing that the cluster refuses; what was done before stays.
pub fn apply(cluster: &Cluster, plan: &TopicPlan, growth: Growth) -> Result<Applied, BusError> {
    let names: Vec<&str> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
    let actual = cluster.actual(&names)?;
    let mut applied = Applied::default();
    let drifts = check(plan, &actual, cluster.facts());
    for spec in &plan.topics {
        let kinds: Vec<&DriftKind> =
            drifts.iter().filter(|drift| drift.topic == spec.name).map(|drift| &drift.kind).collect();
        let Some(topic) = actual.get(&spec.name) else {
            cluster.create(spec)?;
            applied.created.push(spec.name.clone());
            continue;
        };
        if cluster.facts().is_embedded {
            continue;
        }
        let mut altered = false;
        if kinds.iter().any(|kind| matches!(kind, DriftKind::Setting { .. })) {
            cluster.alter(spec, topic)?;
            altered = true;
        }
        if growth == Growth::Grow && spec.partitions > topic.partitions {
            cluster.grow(spec)?;
            altered = true;
        }
        if altered {
            applied.altered.push(spec.name.clone());
        }
    }
    applied.remaining = remaining(cluster, plan, &names)?;
    Ok(applied)
}

fn remaining(cluster: &Cluster, plan: &TopicPlan, names: &[&str]) -> Result<Vec<Drift>, BusError> {
    Ok(check(plan, &cluster.actual(names)?, cluster.facts()))
}

/// Sees to it that the topics with these base names exist; one that exists is left as it is.
///
/// # Errors
/// [`BusError::UnknownTopic`] for a missing topic when [`BusConfig::keeps_topics_as_they_are`]; what the cluster refuses.
pub fn ensure_topics(config: &BusConfig, names: &[&str]) -> Result<(), BusError> {
    let cluster = Cluster::open(config)?;
    let names: BTreeSet<&str> = names.iter().copied().collect();
    let plan = plan_of(&Vec::from_iter(names), cluster.facts(), &config.topic_prefix);
    let full: Vec<&str> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
    for name in cluster.missing(&full)? {
        if config.keeps_topics_as_they_are {
            return Err(BusError::UnknownTopic { topic: name.to_owned(), brokers: config.brokers.clone() });
        }
        let spec = plan.get(name).expect("a missing topic is one of the plan");
        cluster.create(spec)?;
        tracing::info!(topic = name, partitions = spec.partitions, replication = spec.replication, "created a topic");
    }
    Ok(())
}
