//! Asks a cluster about its topics and changes them.

use super::block_on::block_on;
use super::check::ActualTopic;
use super::plan::TopicSpec;
use crate::config::{BusConfig, Role};
use crate::diagnosis::{Attempt, ClusterFacts, explain, prefer_diagnosis, probe};
use crate::error::BusError;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic,
    OwnedResourceSpecifier, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::util::Timeout;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a created topic may take until every partition has a leader.
const CREATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Kafka tells no client of a new leader: it is asked again.
const CREATION_POLL: Duration = Duration::from_millis(50);

/// A connection to a cluster for asking about topics and changing them. Each call blocks for at most some seconds.
pub struct Cluster {
    admin: AdminClient<DefaultClientContext>,
    config: BusConfig,
    facts: ClusterFacts,
}

impl Cluster {
    /// Connects.
    ///
    /// # Errors
    /// A property that librdkafka refuses, or the reason why the cluster cannot be used.
    pub fn open(config: &BusConfig) -> Result<Self, BusError> {
        let facts = probe(config)?;
        let asking = Attempt::asking(&config.brokers);
        let admin = config.client_config(Role::Admin).create().map_err(|error| explain(error, &asking))?;
        Ok(Self { admin, config: config.clone(), facts })
    }

    /// What the cluster said about itself when this was opened.
    #[must_use]
    pub fn facts(&self) -> &ClusterFacts {
        &self.facts
    }

    /// Those of the named topics that exist, with their settings.
    ///
    /// # Errors
    /// When the cluster does not answer or does not permit to see a topic or its settings.
    pub fn actual(&self, names: &[&str]) -> Result<BTreeMap<String, ActualTopic>, BusError> {
        let mut topics = self.shapes(names)?;
        let existing: Vec<String> = topics.keys().cloned().collect();
        let specifiers: Vec<_> = existing.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        if specifiers.is_empty() {
            return Ok(topics);
        }
        let results = block_on(self.admin.describe_configs(&specifiers, &options()));
        let results = results.map_err(|error| self.failed(error, &Attempt::asking(&self.config.brokers)))?;
        for (name, result) in existing.iter().zip(results) {
            let attempt = Attempt::describing(&self.config.brokers, name);
            let resource = result.map_err(|code| explain(KafkaError::AdminOp(code), &attempt))?;
            add_settings(&mut topics, &resource);
        }
        Ok(topics)
    }

    /// Whether there is such a topic; needs no right to see its settings.
    ///
    /// # Errors
    /// [`BusError::NotAuthorised`] where it may not be seen, and when the cluster does not answer.
    pub fn has(&self, name: &str) -> Result<bool, BusError> {
        let attempt = Attempt::reading(&self.config.brokers, name);
        let metadata = self.metadata(name).map_err(|error| self.failed(error, &attempt))?;
        existing(&metadata, name).map(|topic| topic.is_some()).map_err(|error| explain(error, &attempt))
    }

    /// Those of the named topics that do not exist.
    pub(super) fn missing<'a>(&self, names: &[&'a str]) -> Result<Vec<&'a str>, BusError> {
        let existing = self.shapes(names)?;
        Ok(names.iter().copied().filter(|name| !existing.contains_key(*name)).collect())
    }

    fn shapes(&self, names: &[&str]) -> Result<BTreeMap<String, ActualTopic>, BusError> {
        let mut topics = BTreeMap::new();
        for name in names {
            let attempt = Attempt::describing(&self.config.brokers, name);
            let metadata = self.metadata(name).map_err(|error| self.failed(error, &attempt))?;
            if let Some(topic) = existing(&metadata, name).map_err(|error| explain(error, &attempt))? {
                topics.insert((*name).to_owned(), shape(topic));
            }
        }
        Ok(topics)
    }

    /// Of one topic: asking for all would be dear in a large cluster. `allow.auto.create.topics` is off.
    fn metadata(&self, name: &str) -> Result<Metadata, KafkaError> {
        self.admin.inner().fetch_metadata(Some(name), Timeout::After(REQUEST_TIMEOUT))
    }

    /// Creates a topic and waits until each partition has a leader; one that exists by now is fine.
    pub(super) fn create(&self, spec: &TopicSpec) -> Result<(), BusError> {
        let attempt = Attempt::creating(&self.config.brokers, &spec.name);
        let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
        let replication = TopicReplication::Fixed(i32::from(spec.replication));
        let topic = spec
            .configs
            .iter()
            .fold(NewTopic::new(&spec.name, partitions, replication), |topic, (name, value)| topic.set(name, value));
        let results = block_on(self.admin.create_topics([&topic], &options()));
        match only(results.map_err(|error| self.failed(error, &attempt))?) {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => self.wait_for_leaders(spec),
            Err((_, code)) => Err(refused(code, spec, &attempt)),
        }
    }

    fn wait_for_leaders(&self, spec: &TopicSpec) -> Result<(), BusError> {
        let attempt = Attempt::creating(&self.config.brokers, &spec.name);
        let deadline = Instant::now() + CREATION_TIMEOUT;
        loop {
            let metadata = self.metadata(&spec.name).map_err(|error| self.failed(error, &attempt))?;
            let topic = existing(&metadata, &spec.name).map_err(|error| explain(error, &attempt))?;
            if topic.is_some_and(|topic| topic.partitions().iter().all(|partition| partition.leader() >= 0)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let millis = u64::try_from(CREATION_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
                let brokers = self.config.brokers.clone();
                return Err(BusError::Timeout { operation: "creating a topic", brokers, millis });
            }
            thread::sleep(CREATION_POLL);
        }
    }

    /// Sets the planned settings of a topic and keeps its other ones.
    ///
    /// AlterConfigs replaces them all, so they are sent together with those that the topic has.
    pub(super) fn alter(&self, spec: &TopicSpec, actual: &ActualTopic) -> Result<(), BusError> {
        let attempt = Attempt::altering(&self.config.brokers, &spec.name);
        let kept = actual.overrides.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let planned = spec.configs.iter().map(|(name, value)| (*name, value.as_str()));
        let alter =
            kept.chain(planned).fold(AlterConfig::new(ResourceSpecifier::Topic(&spec.name)), |alter, (name, value)| {
                alter.set(name, value)
            });
        let results = block_on(self.admin.alter_configs([&alter], &options()));
        for result in results.map_err(|error| self.failed(error, &attempt))? {
            result.map_err(|(_, code)| explain(KafkaError::AdminOp(code), &attempt))?;
        }
        Ok(())
    }

    /// Adds partitions up to the planned number.
    pub(super) fn grow(&self, spec: &TopicSpec) -> Result<(), BusError> {
        let attempt = Attempt::altering(&self.config.brokers, &spec.name);
        let count = usize::try_from(spec.partitions).unwrap_or(usize::MAX);
        let results = block_on(self.admin.create_partitions([&NewPartitions::new(&spec.name, count)], &options()));
        let result = only(results.map_err(|error| self.failed(error, &attempt))?);
        result.map_err(|(_, code)| explain(KafkaError::AdminOp(code), &attempt))?;
        self.wait_for_leaders(spec)
    }

    fn failed(&self, error: KafkaError, attempt: &Attempt<'_>) -> BusError {
        prefer_diagnosis(explain(error, attempt), &self.config)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT + Duration::from_secs(5)))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

fn only(results: Vec<TopicResult>) -> TopicResult {
    results.into_iter().next().unwrap_or_else(|| Err((String::new(), RDKafkaErrorCode::UnknownTopicOrPartition)))
}

fn existing<'a>(metadata: &'a Metadata, name: &str) -> Result<Option<&'a MetadataTopic>, KafkaError> {
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
    match topic.error().map(RDKafkaErrorCode::from) {
        None | Some(RDKafkaErrorCode::LeaderNotAvailable) if !topic.partitions().is_empty() => Ok(Some(topic)),
        None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => Ok(None),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

fn shape(topic: &MetadataTopic) -> ActualTopic {
    let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
    ActualTopic {
        partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
        replication: u16::try_from(replicas).unwrap_or(u16::MAX),
        ..ActualTopic::default()
    }
}

fn add_settings(topics: &mut BTreeMap<String, ActualTopic>, resource: &ConfigResource) {
    let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { return };
    let Some(topic) = topics.get_mut(name) else { return };
    for entry in &resource.entries {
        let Some(value) = &entry.value else { continue };
        topic.configs.insert(entry.name.clone(), value.clone());
        if entry.source == ConfigSource::DynamicTopic {
            topic.overrides.insert(entry.name.clone(), value.clone());
        }
    }
}

/// Codes of CreateTopics that mean something about the plan.
fn refused(code: RDKafkaErrorCode, spec: &TopicSpec, attempt: &Attempt<'_>) -> BusError {
    let what = match code {
        RDKafkaErrorCode::InvalidReplicationFactor => {
            format!("the cluster cannot keep {} replicas of it now; are all brokers up?", spec.replication)
        }
        RDKafkaErrorCode::InvalidConfig => "the broker does not take one of its settings (`lumenbus topics plan`)".to_owned(),
        RDKafkaErrorCode::PolicyViolation => {
            "the cluster's create.topic.policy forbids it; give `lumenbus topics plan --format kafka-topics` to the operator"
                .to_owned()
        }
        RDKafkaErrorCode::InvalidPartitions => format!("the broker does not take {} partitions", spec.partitions),
        other => return explain(KafkaError::AdminOp(other), attempt),
    };
    BusError::TopicUnfit { topic: spec.name.clone(), what }
}
