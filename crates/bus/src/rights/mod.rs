//! What this client may do, found out without leaving traces.
//!
//! Kafka tells librdkafka nothing of ACLs, so each operation is tried in a form that the broker must refuse or that
//! changes nothing: topics are created with validate-only, read at their end, written with a record that is too large for
//! them (or that lacks the key a compacted topic needs), and offsets are committed to a partition that cannot exist.
//! Brokers check authorisation before they look at any of that.

mod attempts;

use crate::control::CONTROL;
use crate::diagnosis::{Attempt, explain};
use crate::topics::{CAMERAS, INDEX};
use crate::{BusConfig, BusError};
use attempts::{Attempts, TopicFacts};
use lumenbus_frame::TopicName;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long everything together may take unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// One operation, and whether it is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Right {
    /// Kafka's name of the operation in an ACL, such as `Write`.
    pub operation: &'static str,
    /// On what: `topic raw_video`, `group archive`, `cluster`.
    pub resource: String,
    /// What it is needed for, in words.
    pub needed_for: &'static str,
    /// Whether it is permitted.
    pub verdict: Verdict,
    /// The arguments of `kafka-acls.sh` that permit it.
    pub acl: String,
    /// Frames are published and read without it, too.
    pub is_optional: bool,
}

/// Whether an operation is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The broker let it pass.
    Allowed,
    /// The broker refused it.
    Denied {
        /// The broker's code.
        code: String,
    },
    /// It could not be found out without doing it.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Topics to publish frames to, by their full names.
    pub writes: Vec<TopicName>,
    /// Topics to read frames from.
    pub reads: Vec<TopicName>,
    /// The consumer group to read with.
    pub group: Option<String>,
    /// How long everything together may take.
    pub patience: Duration,
}

impl Default for Needs {
    fn default() -> Self {
        Self { writes: Vec::new(), reads: Vec::new(), group: None, patience: PATIENCE }
    }
}

/// Something that a right is about.
#[derive(Debug, Clone, Copy)]
enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "topic {topic}"),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}

impl Right {
    fn new(operation: &'static str, resource: Resource<'_>, needed_for: &'static str, verdict: Verdict) -> Self {
        let option = match resource {
            Resource::Topic(topic) => format!("--topic {topic}"),
            Resource::Group(group) => format!("--group {group}"),
        };
        let acl = format!("--add --allow-principal User:NAME --operation {operation} {option}");
        Self { operation, resource: resource.to_string(), needed_for, verdict, acl, is_optional: false }
    }

    fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    /// Whether the broker refused it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.verdict, Verdict::Denied { .. })
    }
}

impl Verdict {
    fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// What an answer's code says, when these codes are refusals that come after authorisation.
    fn of(code: Option<RDKafkaErrorCode>, refusals: &[RDKafkaErrorCode]) -> Self {
        use RDKafkaErrorCode as Code;
        match code {
            None => Self::Allowed,
            Some(code) if refusals.contains(&code) => Self::Allowed,
            Some(
                code @ (Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed),
            ) => Self::Denied { code: format!("{code:?}") },
            Some(code) => Self::unknown(format!("the broker answered {code:?}")),
        }
    }
}

/// Tries everything that is needed, and the directory, which every publisher writes and every subscriber reads; then what
/// going back in time and joining need beside ([`Right::is_optional`]).
///
/// Takes seconds at most; what could not be asked in time is [`Verdict::Unknown`].
///
/// # Errors
/// A cluster that cannot be reached at all.
pub fn rights(bus: &BusConfig, needs: &Needs) -> Result<Vec<Right>, BusError> {
    let cameras = bus.topic_prefix.topic(CAMERAS);
    let mut reads = needs.reads.clone();
    let mut writes = needs.writes.clone();
    if !writes.is_empty() {
        writes.push(cameras.clone());
    }
    // A publisher reads the directory too.
    reads.push(cameras.clone());
    let attempts = Attempts::open(bus, needs.patience)?;
    let mut found = Vec::new();
    let mut facts: BTreeMap<&TopicName, TopicFacts> = BTreeMap::new();
    for topic in reads.iter().chain(&writes) {
        if !facts.contains_key(topic) {
            let (verdict, known) = attempts.describe(topic)?;
            facts.insert(topic, known);
            found.push(Right::new("Describe", Resource::Topic(topic.as_str()), "finding the topic", verdict));
        }
    }
    for topic in &writes {
        found.extend(write_rights(&attempts, topic, facts[topic]));
    }
    for topic in &reads {
        let verdict = facts[topic].obstacle().unwrap_or_else(|| attempts.read(topic));
        found.push(Right::new("Read", Resource::Topic(topic.as_str()), "reading frames and the directory", verdict));
    }
    for beside in besides(bus, needs) {
        found.extend(beside_rights(&attempts, &beside)?);
    }
    if let Some(group) = &needs.group {
        let topic = reads.iter().find(|topic| facts[topic].exists).unwrap_or(&cameras);
        found.extend(group_rights(&attempts, group, topic));
    }
    Ok(found)
}

impl TopicFacts {
    /// Why nothing can be tried on it, as the answer to every question about it.
    fn obstacle(self) -> Option<Verdict> {
        if self.is_hidden {
            return Some(Verdict::Denied { code: format!("{:?}", RDKafkaErrorCode::TopicAuthorizationFailed) });
        }
        (!self.exists).then(|| Verdict::unknown("the topic does not exist"))
    }
}

fn write_rights(attempts: &Attempts, topic: &TopicName, facts: TopicFacts) -> Vec<Right> {
    let resource = Resource::Topic(topic.as_str());
    if let Some(obstacle) = facts.obstacle() {
        let create = Right::new("Create", resource, "creating the missing topic", attempts.create(topic));
        return vec![create, Right::new("Write", resource, "publishing", obstacle)];
    }
    let (verdict, settings) = attempts.describe_configs(topic);
    let describe = Right::new("DescribeConfigs", resource, "knowing the largest record", verdict);
    vec![describe, Right::new("Write", resource, "publishing", attempts.write(topic, settings))]
}

/// A topic beside the frames, and what it is read and written for.
struct Beside {
    topic: TopicName,
    reads: Option<&'static str>,
    writes: Option<&'static str>,
}

fn besides(bus: &BusConfig, needs: &Needs) -> Vec<Beside> {
    let (is_writer, is_reader) = (!needs.writes.is_empty(), !needs.reads.is_empty());
    let index = Beside {
        topic: bus.topic_prefix.topic(INDEX),
        reads: (is_writer || is_reader).then_some("finding moments by the index of keyframes"),
        writes: is_writer.then_some("the index of keyframes, by which moments are found"),
    };
    let control = Beside {
        topic: bus.topic_prefix.topic(CONTROL),
        reads: is_writer.then_some("hearing that a reader asks for a keyframe"),
        writes: is_reader.then_some("asking for a keyframe where a reader joins"),
    };
    [index, control].into_iter().filter(|beside| beside.reads.is_some() || beside.writes.is_some()).collect()
}

fn beside_rights(attempts: &Attempts, beside: &Beside) -> Result<Vec<Right>, BusError> {
    let topic = &beside.topic;
    let right = |operation, needed_for, verdict| {
        Right::new(operation, Resource::Topic(topic.as_str()), needed_for, verdict).optional()
    };
    let (verdict, facts) = attempts.describe(topic)?;
    let mut found = vec![right("Describe", "finding the topic", verdict)];
    let obstacle = facts.obstacle();
    if !facts.exists {
        found.push(right("Create", "creating the missing topic", attempts.create(topic)));
    }
    if let Some(needed_for) = beside.writes {
        let tried = || attempts.write(topic, attempts.describe_configs(topic).1);
        found.push(right("Write", needed_for, obstacle.clone().unwrap_or_else(tried)));
    }
    if let Some(needed_for) = beside.reads {
        found.push(right("Read", needed_for, obstacle.unwrap_or_else(|| attempts.read(topic))));
    }
    Ok(found)
}

fn group_rights(attempts: &Attempts, group: &str, topic: &TopicName) -> Vec<Right> {
    let right =
        |operation, verdict| Right::new(operation, Resource::Group(group), "reading as a consumer group", verdict);
    match attempts.describe_group(group, topic) {
        // Whoever may read a group may describe it.
        denied @ Verdict::Denied { .. } => vec![right("Describe", denied.clone()), right("Read", denied)],
        described => vec![right("Describe", described), right("Read", attempts.read_group(group, topic))],
    }
}

fn failed(error: KafkaError, bus: &BusConfig) -> BusError {
    explain(error, &Attempt::asking(&bus.brokers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_after_authorisation_is_a_permission() {
        use RDKafkaErrorCode as Code;
        let refusals = [Code::MessageSizeTooLarge];
        assert_eq!(Verdict::of(Some(Code::MessageSizeTooLarge), &refusals), Verdict::Allowed);
        let denied = Verdict::of(Some(Code::TopicAuthorizationFailed), &refusals);
        assert_eq!(denied, Verdict::Denied { code: "TopicAuthorizationFailed".to_owned() });
        assert!(matches!(Verdict::of(Some(Code::RequestTimedOut), &refusals), Verdict::Unknown { .. }));
        let right = Right::new("Write", Resource::Topic("raw_video"), "publishing", denied);
        assert!(right.is_denied());
        assert_eq!(right.acl, "--add --allow-principal User:NAME --operation Write --topic raw_video");
    }
}
