//! Which topics there should be, with which settings.

use super::{ANALYSIS_RESULTS, CAMERAS, DESTINATIONS, EVENTS, IMAGE_FEATURES, INDEX};
use crate::config::TopicPrefix;
use crate::diagnosis::ClusterFacts;
use lumenbus_frame::UnknownName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

const HOUR_MILLIS: i64 = 3_600_000;
const DAY_MILLIS: i64 = 24 * HOUR_MILLIS;
const FOREVER: i64 = -1;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// Spreads cameras over many brokers; each partition costs a cluster little.
const CLUSTER_FRAME_PARTITIONS: u32 = 48;
/// On one machine each partition costs open files and smaller writes.
const EMBEDDED_FRAME_PARTITIONS: u32 = 12;
const MAX_REPLICATION: u16 = 3;

/// Topics that come and go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicGroup {
    /// `raw_images`, `raw_video`, `raw_pixels`.
    Frames,
    /// `lumenbus.cameras`, `lumenbus.control`, `lumenbus.index`.
    Bus,
    /// `analysis_results`, `image_features`, `analysis_snapshots`, `lumenbus.events`.
    Derived,
    /// `dicom_*`, `lumenbus.destinations`; only where DICOM objects are moved.
    Dicom,
    /// `lumenbus.keys`; only where payloads are encrypted.
    Keys,
    /// `lumenbus.audit`; only where an audit trail is kept.
    Audit,
}

impl TopicGroup {
    /// What is planned when nothing else is said: everything a site with cameras uses.
    pub const DEFAULT: [Self; 3] = [Self::Frames, Self::Bus, Self::Derived];
    const ALL: [Self; 6] = [Self::Frames, Self::Bus, Self::Derived, Self::Dicom, Self::Keys, Self::Audit];

    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Bus => "bus",
            Self::Derived => "derived",
            Self::Dicom => "dicom",
            Self::Keys => "keys",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for TopicGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TopicGroup {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|group| group.as_str() == name).ok_or_else(|| UnknownName {
            what: "topic group",
            name: name.chars().take(64).collect(),
            known: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

/// What may differ from site to site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanOptions {
    /// Which groups.
    pub groups: BTreeSet<TopicGroup>,
    /// Partitions of each frame topic and of the index; by default 48, on the embedded broker 12.
    pub frame_partitions: Option<u32>,
    /// Retention of frames and index in milliseconds; by default 24 h.
    pub frame_retention_millis: Option<i64>,
    /// Replicas of each partition; by default min(3, brokers).
    pub replication: Option<u16>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        let groups = TopicGroup::DEFAULT.into_iter().collect();
        Self { groups, frame_partitions: None, frame_retention_millis: None, replication: None }
    }
}

/// One topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name, prefix included.
    pub name: String,
    /// What it belongs to.
    pub group: TopicGroup,
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of each partition.
    pub replication: u16,
    /// Settings under Kafka's names.
    pub configs: BTreeMap<&'static str, String>,
}

/// All topics as they should be, in the order of the table in the design.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicPlan {
    /// The topics.
    pub topics: Vec<TopicSpec>,
}

impl TopicPlan {
    /// A topic by its full name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TopicSpec> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

#[derive(Clone, Copy)]
enum Partitions {
    One,
    AsFrames,
}

/// A kind of topic: what its settings follow from.
#[derive(Clone, Copy)]
enum Kind {
    /// Deleted after the frames' retention; stamped by the broker.
    Frames,
    /// Deleted after so many milliseconds, in segments of so many.
    Deleted { retention_millis: i64, segment_millis: i64 },
    /// Nothing goes by itself.
    Kept,
    /// The newest record of each key.
    Compacted,
    /// The same, and every record that was superseded is gone in a day.
    CompactedInADay,
}

const FRAMES: Kind = Kind::Frames;
const DERIVED: Kind = Kind::Deleted { retention_millis: 7 * DAY_MILLIS, segment_millis: DAY_MILLIS };
/// A request to a publisher is of no use an hour later.
const REQUESTS: Kind = Kind::Deleted { retention_millis: HOUR_MILLIS, segment_millis: HOUR_MILLIS };

/// The table "Topics" of the design.
const TABLE: &[(&str, TopicGroup, Partitions, Kind)] = &[
    ("raw_images", TopicGroup::Frames, Partitions::AsFrames, FRAMES),
    ("raw_video", TopicGroup::Frames, Partitions::AsFrames, FRAMES),
    ("raw_pixels", TopicGroup::Frames, Partitions::AsFrames, FRAMES),
    (ANALYSIS_RESULTS, TopicGroup::Derived, Partitions::AsFrames, DERIVED),
    (IMAGE_FEATURES, TopicGroup::Derived, Partitions::AsFrames, DERIVED),
    ("analysis_snapshots", TopicGroup::Derived, Partitions::AsFrames, DERIVED),
    (EVENTS, TopicGroup::Derived, Partitions::One, DERIVED),
    (INDEX, TopicGroup::Bus, Partitions::AsFrames, FRAMES),
    ("lumenbus.control", TopicGroup::Bus, Partitions::One, REQUESTS),
    (CAMERAS, TopicGroup::Bus, Partitions::One, Kind::Compacted),
    ("dicom_metadata", TopicGroup::Dicom, Partitions::AsFrames, Kind::Kept),
    ("dicom_pixels", TopicGroup::Dicom, Partitions::AsFrames, Kind::Kept),
    ("dicom_failed", TopicGroup::Dicom, Partitions::AsFrames, Kind::Kept),
    ("dicom_deid_metadata", TopicGroup::Dicom, Partitions::AsFrames, Kind::Kept),
    ("dicom_deid_pixels", TopicGroup::Dicom, Partitions::AsFrames, Kind::Kept),
    (DESTINATIONS, TopicGroup::Dicom, Partitions::One, Kind::Compacted),
    ("lumenbus.keys", TopicGroup::Keys, Partitions::One, Kind::CompactedInADay),
    ("lumenbus.audit", TopicGroup::Audit, Partitions::One, Kind::Kept),
];

/// The base names of all topics of the project.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.0)
}

/// The topics of a cluster like this one.
#[must_use]
pub fn plan(facts: &ClusterFacts, prefix: &TopicPrefix, options: &PlanOptions) -> TopicPlan {
    let chosen = TABLE.iter().filter(|(_, group, ..)| options.groups.contains(group));
    let topics = chosen.map(|row| spec(row, facts, prefix, options)).collect();
    TopicPlan { topics }
}

/// The plan of single topics by their base names; a name outside the table is planned as a frame topic.
pub(super) fn plan_of(names: &[&str], facts: &ClusterFacts, prefix: &TopicPrefix) -> TopicPlan {
    let options = PlanOptions::default();
    let row = |name: &&str| TABLE.iter().find(|(base, ..)| base == name).copied();
    let topics = names
        .iter()
        .map(|name| {
            let row = row(name).unwrap_or((name, TopicGroup::Frames, Partitions::AsFrames, FRAMES));
            spec(&row, facts, prefix, &options)
        })
        .collect();
    TopicPlan { topics }
}

fn spec(
    (base, group, partitions, kind): &(&str, TopicGroup, Partitions, Kind),
    facts: &ClusterFacts,
    prefix: &TopicPrefix,
    options: &PlanOptions,
) -> TopicSpec {
    let default = if facts.is_embedded { EMBEDDED_FRAME_PARTITIONS } else { CLUSTER_FRAME_PARTITIONS };
    let partitions = match partitions {
        Partitions::One => 1,
        Partitions::AsFrames => options.frame_partitions.unwrap_or(default).max(1),
    };
    let replication = options.replication.unwrap_or_else(|| replicas(facts.brokers.len()));
    let mut configs = kind_configs(*kind, options);
    configs.insert("compression.type", "producer".to_owned());
    configs.insert("min.insync.replicas", replication.saturating_sub(1).max(1).to_string());
    configs.insert("unclean.leader.election.enable", "false".to_owned());
    TopicSpec { name: prefix.topic(base).as_str().to_owned(), group: *group, partitions, replication, configs }
}

fn replicas(brokers: usize) -> u16 {
    u16::try_from(brokers).map_or(MAX_REPLICATION, |brokers| brokers.clamp(1, MAX_REPLICATION))
}

fn kind_configs(kind: Kind, options: &PlanOptions) -> BTreeMap<&'static str, String> {
    let text = |pairs: &[(&'static str, &dyn fmt::Display)]| -> BTreeMap<&'static str, String> {
        pairs.iter().map(|(name, value)| (*name, value.to_string())).collect()
    };
    match kind {
        Kind::Frames => text(&[
            ("cleanup.policy", &"delete"),
            ("message.timestamp.type", &"LogAppendTime"),
            ("retention.ms", &options.frame_retention_millis.unwrap_or(DAY_MILLIS)),
            ("segment.bytes", &GIB),
            ("segment.ms", &HOUR_MILLIS),
        ]),
        Kind::Deleted { retention_millis, segment_millis } => {
            text(&[("cleanup.policy", &"delete"), ("retention.ms", &retention_millis), ("segment.ms", &segment_millis)])
        }
        Kind::Kept => text(&[("cleanup.policy", &"delete"), ("retention.bytes", &FOREVER), ("retention.ms", &FOREVER)]),
        Kind::Compacted => text(&[
            ("cleanup.policy", &"compact"),
            // Small segments that close soon: a reader starts at the beginning and only closed ones are compacted.
            ("segment.bytes", &(16 * MIB)),
            ("segment.ms", &HOUR_MILLIS),
        ]),
        Kind::CompactedInADay => text(&[("cleanup.policy", &"compact"), ("max.compaction.lag.ms", &DAY_MILLIS)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::BrokerAddress;

    fn facts(brokers: usize, cluster_id: &str) -> ClusterFacts {
        let broker = |id| BrokerAddress { id, host: "127.0.0.1".to_owned(), port: 9_092 };
        let brokers = (1..=i32::try_from(brokers).unwrap()).map(broker).collect();
        ClusterFacts::new(brokers, Some(cluster_id.to_owned()))
    }

    fn check(brokers: usize, expected: (u16, &str)) {
        let plan = plan(&facts(brokers, "x"), &TopicPrefix::default(), &PlanOptions::default());
        for topic in &plan.topics {
            let found = (topic.replication, topic.configs["min.insync.replicas"].as_str());
            assert_eq!(found, expected, "{} on {brokers}", topic.name);
        }
    }

    #[test]
    fn replication_follows_the_number_of_brokers() {
        check(0, (1, "1"));
        check(1, (1, "1"));
        check(2, (2, "1"));
        check(3, (3, "2"));
        check(100_000, (3, "2"));
    }

    #[test]
    fn frame_topics_are_stamped_by_the_broker_and_have_the_partitions_of_their_cluster() {
        for (cluster_id, partitions) in [("lumenbus-ab12", 12), ("MkU3OEVBNTcwNTJENDM2Qg", 48)] {
            let plan = plan(&facts(1, cluster_id), &TopicPrefix::new("a.").unwrap(), &PlanOptions::default());
            for name in ["a.raw_images", "a.raw_video", "a.raw_pixels", "a.lumenbus.index"] {
                let topic = plan.get(name).unwrap();
                assert_eq!(topic.partitions, partitions, "{name}");
                assert_eq!(topic.configs["message.timestamp.type"], "LogAppendTime");
                assert_eq!(topic.configs["retention.ms"], "86400000");
            }
            assert_eq!(plan.get("a.lumenbus.cameras").unwrap().partitions, 1);
            assert_eq!(plan.get("a.lumenbus.cameras").unwrap().configs["cleanup.policy"], "compact");
        }
    }

    #[test]
    fn groups_that_nobody_asked_for_are_not_planned() {
        let mut options = PlanOptions::default();
        let names = |options: &PlanOptions| {
            plan(&facts(1, "x"), &TopicPrefix::default(), options)
                .topics
                .into_iter()
                .map(|t| t.name)
                .collect::<Vec<_>>()
        };
        assert!(!names(&options).iter().any(|name| name.starts_with("dicom") || name == "lumenbus.keys"));
        options.groups.insert("dicom".parse().unwrap());
        options.groups.insert("keys".parse().unwrap());
        options.groups.insert("audit".parse().unwrap());
        assert_eq!(names(&options).len(), TABLE.len());
        assert!("dicoms".parse::<TopicGroup>().is_err());
    }

    #[test]
    fn what_must_never_go_is_bounded_neither_by_time_nor_by_size() {
        let options = PlanOptions { groups: [TopicGroup::Audit].into(), ..PlanOptions::default() };
        let plan = plan(&facts(3, "x"), &TopicPrefix::default(), &options);
        let audit = &plan.topics[0].configs;
        assert_eq!((audit["retention.ms"].as_str(), audit["retention.bytes"].as_str()), ("-1", "-1"));
    }
}
