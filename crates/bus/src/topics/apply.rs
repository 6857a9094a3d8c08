//! Makes the cluster as planned, as far as that is safe.

use super::check::{ActualTopic, Drift, DriftKind, check};
use super::cluster::Cluster;
use super::plan::{TopicPlan, TopicSpec, plan_of};
use crate::config::BusConfig;
use crate::error::BusError;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

/// How long all brokers of a cluster may take to learn of a change.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Kafka tells no client when all brokers know of a change: they are asked again.
const SETTLE_POLL: Duration = Duration::from_millis(50);

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

/// Creates missing topics and sets settings that differ; other settings of a topic are kept.
///
/// # Errors
/// The first thing that the cluster refuses; what was done before stays.
pub fn apply(cluster: &Cluster, plan: &TopicPlan, growth: Growth) -> Result<Applied, BusError> {
    let names: Vec<&str> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
    let actual = cluster.actual(&names)?;
    let mut applied = Applied::default();
    for spec in &plan.topics {
        let Some(topic) = actual.get(&spec.name) else {
            cluster.create(spec)?;
            applied.created.push(spec.name.clone());
            continue;
        };
        if mend(cluster, spec, topic, growth)? == Mended::Yes {
            applied.altered.push(spec.name.clone());
        }
    }
    applied.remaining = remaining(cluster, plan, (&applied, growth))?;
    Ok(applied)
}

/// What differs once every broker knows what was done: one that is asked may hear of it later than the one that did it.
fn remaining(
    cluster: &Cluster,
    plan: &TopicPlan,
    (applied, growth): (&Applied, Growth),
) -> Result<Vec<Drift>, BusError> {
    let names: Vec<&str> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let is_on_its_way = |drift: &Drift| {
        let may_change = match drift.kind {
            DriftKind::Setting { .. } => true,
            DriftKind::Partitions { planned, actual } => growth == Growth::Grow && planned > actual,
            _ => false,
        };
        (may_change && applied.altered.contains(&drift.topic)) || applied.created.contains(&drift.topic)
    };
    loop {
        let remaining = check(plan, &cluster.actual(&names)?);
        if !remaining.iter().any(is_on_its_way) || Instant::now() >= deadline {
            return Ok(remaining);
        }
        thread::sleep(SETTLE_POLL);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mended {
    Yes,
    NothingToDo,
}

fn mend(cluster: &Cluster, spec: &TopicSpec, topic: &ActualTopic, growth: Growth) -> Result<Mended, BusError> {
    let differs = spec.configs.iter().any(|(name, planned)| topic.configs.get(*name) != Some(planned));
    let grows = growth == Growth::Grow && spec.partitions > topic.partitions;
    if differs {
        cluster.alter(spec, topic)?;
    }
    if grows {
        cluster.grow(spec)?;
    }
    Ok(if differs || grows { Mended::Yes } else { Mended::NothingToDo })
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
