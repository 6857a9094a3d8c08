//! How the topics of a cluster differ from the plan.

use super::plan::{TopicPlan, TopicSpec};
use std::collections::BTreeMap;

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActualTopic {
    /// Number of partitions.
    pub partitions: u32,
    /// The smallest number of replicas of its partitions.
    pub replication: u16,
    /// Every setting in force, defaults included.
    pub configs: BTreeMap<String, String>,
    /// Those settings that are the topic's own.
    pub overrides: BTreeMap<String, String>,
}

/// One difference between plan and cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Full name of the topic.
    pub topic: String,
    /// What differs.
    pub kind: DriftKind,
    /// What to do about it.
    pub remedy: String,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriftKind {
    /// There is no such topic.
    Missing,
    /// Another number of partitions.
    Partitions {
        /// As planned.
        planned: u32,
        /// As it is.
        actual: u32,
    },
    /// Another number of replicas.
    Replication {
        /// As planned.
        planned: u16,
        /// As it is.
        actual: u16,
    },
    /// Another value of a setting.
    Setting {
        /// Kafka's name of it.
        name: &'static str,
        /// As planned.
        planned: String,
        /// As it is; `None` when the broker does not tell.
        actual: Option<String>,
    },
}

impl DriftKind {
    /// What differs, as `partitions`, `retention.ms`, …
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self {
            Self::Missing => "topic",
            Self::Partitions { .. } => "partitions",
            Self::Replication { .. } => "replication.factor",
            Self::Setting { name, .. } => name,
        }
    }

    /// The planned value as text.
    #[must_use]
    pub fn planned(&self) -> String {
        match self {
            Self::Missing => "present".to_owned(),
            Self::Partitions { planned, .. } => planned.to_string(),
            Self::Replication { planned, .. } => planned.to_string(),
            Self::Setting { planned, .. } => planned.clone(),
        }
    }

    /// The actual value as text.
    #[must_use]
    pub fn actual(&self) -> String {
        match self {
            Self::Missing => "missing".to_owned(),
            Self::Partitions { actual, .. } => actual.to_string(),
            Self::Replication { actual, .. } => actual.to_string(),
            Self::Setting { actual, .. } => actual.clone().unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// Every difference, in the plan's order; empty when all is as planned. Topics outside the plan are nobody's business.
#[must_use]
pub fn check(plan: &TopicPlan, actual: &BTreeMap<String, ActualTopic>) -> Vec<Drift> {
    plan.topics
        .iter()
        .flat_map(|spec| match actual.get(&spec.name) {
            None => vec![drift(spec, DriftKind::Missing)],
            Some(topic) => differences(spec, topic).map(|kind| drift(spec, kind)).collect(),
        })
        .collect()
}

fn differences<'a>(spec: &'a TopicSpec, topic: &'a ActualTopic) -> impl Iterator<Item = DriftKind> + 'a {
    let partitions = (spec.partitions != topic.partitions)
        .then_some(DriftKind::Partitions { planned: spec.partitions, actual: topic.partitions });
    let replication = (spec.replication != topic.replication)
        .then_some(DriftKind::Replication { planned: spec.replication, actual: topic.replication });
    let settings = spec.configs.iter().filter_map(|(name, planned)| {
        let actual = topic.configs.get(*name);
        let differs = actual != Some(planned);
        differs.then(|| DriftKind::Setting { name, planned: planned.clone(), actual: actual.cloned() })
    });
    partitions.into_iter().chain(replication).chain(settings)
}

fn drift(spec: &TopicSpec, kind: DriftKind) -> Drift {
    let remedy = match &kind {
        DriftKind::Missing => "`lumenbus topics apply` creates it".to_owned(),
        DriftKind::Partitions { planned, actual } if actual > planned => {
            format!("Kafka cannot remove partitions; plan with `--partitions {actual}`, or move to a new topic prefix")
        }
        DriftKind::Partitions { .. } => {
            "`lumenbus topics apply --grow` adds them; running publishers keep theirs until they restart".to_owned()
        }
        DriftKind::Replication { .. } => {
            "the number of replicas changes by reassignment only: kafka-reassign-partitions.sh, or Cruise Control"
                .to_owned()
        }
        DriftKind::Setting { .. } => "`lumenbus topics apply` sets it".to_owned(),
    };
    Drift { topic: spec.name.clone(), kind, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopicPrefix;
    use crate::diagnosis::{BrokerAddress, ClusterFacts};
    use crate::topics::{PlanOptions, plan};

    fn facts(cluster_id: &str) -> ClusterFacts {
        let broker = BrokerAddress { id: 1, host: "127.0.0.1".to_owned(), port: 9_092 };
        ClusterFacts::new(vec![broker], Some(cluster_id.to_owned()))
    }

    fn as_planned(plan: &TopicPlan) -> BTreeMap<String, ActualTopic> {
        let actual = |spec: &TopicSpec| ActualTopic {
            partitions: spec.partitions,
            replication: spec.replication,
            configs: spec.configs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            overrides: BTreeMap::new(),
        };
        plan.topics.iter().map(|spec| (spec.name.clone(), actual(spec))).collect()
    }

    fn planned() -> TopicPlan {
        plan(&facts("x"), &TopicPrefix::default(), &PlanOptions::default())
    }

    #[test]
    fn a_cluster_as_planned_has_no_drift() {
        let plan = planned();
        let mut actual = as_planned(&plan);
        actual.insert("somebody.elses".to_owned(), ActualTopic::default());
        assert_eq!(check(&plan, &actual), []);
    }

    #[test]
    fn each_difference_is_told_with_what_to_do() {
        let plan = planned();
        let mut actual = as_planned(&plan);
        actual.remove("raw_pixels");
        let video = actual.get_mut("raw_video").unwrap();
        video.partitions = 6;
        video.replication = 2;
        video.configs.insert("retention.ms".to_owned(), "604800000".to_owned());
        video.configs.remove("segment.ms");
        actual.get_mut("raw_images").unwrap().partitions = 96;

        let found = check(&plan, &actual);
        let summary: Vec<_> = found
            .iter()
            .map(|drift| {
                format!("{} {} {} {}", drift.topic, drift.kind.what(), drift.kind.planned(), drift.kind.actual())
            })
            .collect();
        assert_eq!(
            summary,
            [
                "raw_images partitions 48 96",
                "raw_video partitions 48 6",
                "raw_video replication.factor 1 2",
                "raw_video retention.ms 86400000 604800000",
                "raw_video segment.ms 3600000 unknown",
                "raw_pixels topic present missing",
            ]
        );
        assert!(found[0].remedy.contains("--partitions 96"), "{}", found[0].remedy);
        assert!(found[1].remedy.contains("--grow"), "{}", found[1].remedy);
        assert!(found[5].remedy.contains("topics apply"), "{}", found[5].remedy);
    }
}
