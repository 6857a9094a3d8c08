//! Metadata, CreateTopics and DeleteTopics.

use std::collections::{HashMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest,
    MetadataResponse, TopicName,
};
use tokio::task::block_in_place;

use super::{Refusal, configs, log_failure, refusal, text};
use crate::log::{LogConfig, LogError, Overrides, Topic};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::config::AutoCreate;
use crate::server::group::OFFSETS_TOPIC;

/// The broker and its topics.
pub(crate) fn metadata(server: &Server, peer: &Peer, request: MetadataRequest, version: i16) -> MetadataResponse {
    let auto_create = match request.allow_auto_topic_creation {
        true => server.config.auto_create_topics,
        false => AutoCreate::Off,
    };
    // Version 0 has no null array: an empty one asks for everything.
    let named = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let topics = match named {
        None => all_topics(server, peer),
        Some(named) => {
            let mut seen = HashSet::new();
            let names = named.into_iter().filter_map(|topic| topic.name);
            let names = names.filter(|name| seen.insert(name.clone()));
            names.map(|name| named_topic(server, peer, &name, auto_create)).collect()
        }
    };
    let (host, port) = &server.advertised;
    let broker = MetadataResponseBroker::default()
        .with_node_id(server.node_id())
        .with_host(text(host))
        .with_port(i32::from(*port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(server.store.cluster_id())))
        .with_controller_id(server.node_id())
        .with_topics(topics)
}

fn all_topics(server: &Server, peer: &Peer) -> Vec<MetadataResponseTopic> {
    let topics = server.store.topics();
    let visible = |topic: &Topic| server.allows(peer, Operation::Describe, Resource::Topic(topic.name()));
    let visible = topics.iter().filter(|topic| visible(topic));
    visible.map(|topic| describe(topic, server.node_id())).collect()
}

fn named_topic(server: &Server, peer: &Peer, name: &TopicName, auto_create: AutoCreate) -> MetadataResponseTopic {
    let failed = |code| MetadataResponseTopic::default().with_error_code(code).with_name(Some(name.clone()));
    if !server.allows(peer, Operation::Describe, Resource::Topic(name)) {
        return failed(ResponseError::TopicAuthorizationFailed.code());
    }
    if let Some(topic) = server.store.topic(name) {
        return describe(&topic, server.node_id());
    }
    match check_or_create(server, peer, name, auto_create) {
        Ok(topic) => describe(&topic, server.node_id()),
        Err(code) => failed(code),
    }
}

fn check_or_create(
    server: &Server,
    peer: &Peer,
    name: &str,
    auto_create: AutoCreate,
) -> Result<std::sync::Arc<Topic>, i16> {
    let partitions = server.config.default_partitions;
    let none = Overrides::new();
    let checked = server.store.check_topic(name, partitions, &none);
    if let Err(error @ LogError::InvalidTopic { .. }) = checked {
        return Err(error.kafka_code());
    }
    if auto_create == AutoCreate::Off {
        return Err(ResponseError::UnknownTopicOrPartition.code());
    }
    if !server.allows(peer, Operation::Create, Resource::Topic(name)) {
        return Err(ResponseError::TopicAuthorizationFailed.code());
    }
    let created = block_in_place(|| server.store.create_topic(name, partitions, &none));
    match created {
        Ok(topic) => Ok(topic),
        Err(LogError::TopicExists { .. }) => server.store.topic(name).ok_or(ResponseError::LeaderNotAvailable.code()),
        Err(error) => Err(log_failure(&error).0),
    }
}

fn describe(topic: &Topic, node_id: BrokerId) -> MetadataResponseTopic {
    let partition = |log: &std::sync::Arc<crate::log::Partition>| {
        MetadataResponsePartition::default()
            .with_partition_index(log.index())
            .with_leader_id(node_id)
            .with_leader_epoch(log.leader_epoch())
            .with_replica_nodes(vec![node_id])
            .with_isr_nodes(vec![node_id])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name()))))
        .with_is_internal(topic.name() == OFFSETS_TOPIC)
        .with_partitions(topic.partitions().iter().map(partition).collect())
}

/// Creates topics, or only checks whether it could.
pub(crate) fn create_topics(server: &Server, peer: &Peer, request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let mode = match request.validate_only {
        true => Mode::CheckOnly,
        false => Mode::Create,
    };
    let mut times: HashMap<TopicName, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let results = request.topics.iter().filter_map(|topic| {
        let created = match times.remove(&topic.name)? {
            1 => create_topic(server, peer, topic, mode),
            _ => Err(refusal(ResponseError::InvalidRequest, "the topic is named twice")),
        };
        Some(created_result(topic.name.clone(), created))
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

/// Whether a topic that could be created is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    CheckOnly,
}

struct Created {
    partitions: i32,
    config: LogConfig,
    overrides: Overrides,
}

fn create_topic(server: &Server, peer: &Peer, topic: &CreatableTopic, mode: Mode) -> Result<Created, Refusal> {
    let name: &str = &topic.name;
    let allowed = server.allows(peer, Operation::Create, Resource::Topic(name))
        || server.allows(peer, Operation::Create, Resource::Cluster);
    if !allowed {
        return Err((ResponseError::TopicAuthorizationFailed.code(), None));
    }
    let partitions = partition_count(server, topic)?;
    let overrides = overrides(topic)?;
    if server.store.topic(name).is_some() {
        let error = LogError::TopicExists { topic: name.to_owned() };
        return Err(log_failure(&error));
    }
    let checked = server.store.check_topic(name, partitions, &overrides);
    let config = checked.map_err(|error| log_failure(&error))?;
    if mode == Mode::Create {
        let created = block_in_place(|| server.store.create_topic(name, partitions, &overrides));
        created.map_err(|error| log_failure(&error))?;
        tracing::info!(topic = name, partitions, ?overrides, by = %peer.address, "topic created");
    }
    Ok(Created { partitions, config, overrides })
}

/// The number asked for, the default, or that of a manual assignment, which may name only us.
fn partition_count(server: &Server, topic: &CreatableTopic) -> Result<i32, Refusal> {
    if topic.assignments.is_empty() {
        if !matches!(topic.replication_factor, -1 | 1) {
            let reason = "this broker is alone: the replication factor can only be 1 (or -1)";
            return Err(refusal(ResponseError::InvalidReplicationFactor, reason));
        }
        return Ok(match topic.num_partitions {
            -1 => server.config.default_partitions,
            partitions => partitions,
        });
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let reason = "an assignment excludes numbers of partitions and replicas";
        return Err(refusal(ResponseError::InvalidRequest, reason));
    }
    let mut indexes: Vec<i32> = topic.assignments.iter().map(|a| a.partition_index).collect();
    indexes.sort_unstable();
    let ours = |ids: &[BrokerId]| ids == [server.node_id()];
    let complete = (0..).zip(&indexes).all(|(expected, index)| expected == *index);
    if !complete || !topic.assignments.iter().all(|a| ours(&a.broker_ids)) {
        let reason = "partitions must count from 0 and be assigned to this broker alone";
        return Err(refusal(ResponseError::InvalidReplicaAssignment, reason));
    }
    i32::try_from(indexes.len()).map_err(|_| (ResponseError::InvalidPartitions.code(), None))
}

fn overrides(topic: &CreatableTopic) -> Result<Overrides, Refusal> {
    let mut overrides = Overrides::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let reason = "a setting without a value";
            return Err(refusal(ResponseError::InvalidConfig, reason));
        };
        if overrides.insert(config.name.to_string(), value.to_string()).is_some() {
            let reason = "a setting is named twice";
            return Err(refusal(ResponseError::InvalidConfig, reason));
        }
    }
    Ok(overrides)
}

fn created_result(name: TopicName, created: Result<Created, Refusal>) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(name);
    match created {
        Ok(created) => result
            .with_error_message(None)
            .with_num_partitions(created.partitions)
            .with_replication_factor(1)
            .with_configs(Some(configs::created(&created.config, &created.overrides))),
        Err((code, message)) => result
            .with_error_code(code)
            .with_error_message(message)
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(None),
    }
}

/// Deletes topics and what groups have committed for them.
pub(crate) fn delete_topics(
    server: &Server,
    peer: &Peer,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let mut seen = HashSet::new();
    let names = request.topic_names.into_iter();
    let names = names.filter(|name| seen.insert(name.clone()));
    let results = names.map(|name| {
        let deleted = delete_topic(server, peer, &name);
        let result = DeletableTopicResult::default().with_name(Some(name));
        match deleted {
            Ok(()) => result,
            Err((code, message)) => result.with_error_code(code).with_error_message(message.filter(|_| version >= 5)),
        }
    });
    DeleteTopicsResponse::default().with_responses(results.collect())
}

fn delete_topic(server: &Server, peer: &Peer, name: &str) -> Result<(), Refusal> {
    if !server.allows(peer, Operation::Delete, Resource::Topic(name)) {
        return Err((ResponseError::TopicAuthorizationFailed.code(), None));
    }
    if name == OFFSETS_TOPIC {
        let reason = "this topic belongs to the broker";
        return Err(refusal(ResponseError::InvalidTopicException, reason));
    }
    block_in_place(|| {
        server.store.delete_topic(name)?;
        server.offsets.forget_topic(name, server.now_ms())
    })
    .map_err(|error| log_failure(&error))?;
    tracing::info!(topic = name, by = %peer.address, "topic deleted");
    Ok(())
}
