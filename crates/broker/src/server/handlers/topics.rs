//! CreateTopics and DeleteTopics.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use tokio::task::block_in_place;
use uuid::Uuid;

use super::repeats::Mentions;
use super::{Refusal, configs, log_failure, refusal, refuse_internal};
use crate::log::{LogConfig, LogError, Overrides};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

/// Creates topics, or only checks whether it could.
pub(crate) fn create_topics(server: &Server, peer: &Peer, request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let mode = match request.validate_only {
        true => Mode::CheckOnly,
        false => Mode::Create,
    };
    let mut mentions: Mentions<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let results = request.topics.iter().filter_map(|topic| {
        let created = mentions.take(&topic.name)?.and_then(|()| create_topic(server, peer, topic, mode));
        Some(created_result(server, topic.name.clone(), created))
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
    /// Nil where the topic was only checked.
    id: Uuid,
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
    refuse_internal(name)?;
    let partitions = partition_count(server, topic)?;
    let overrides = overrides(topic)?;
    if server.store.topic(name).is_some() {
        let error = LogError::TopicExists { topic: name.to_owned() };
        return Err(log_failure(&error));
    }
    let checked = server.store.check_topic(name, partitions, &overrides);
    let config = checked.map_err(|error| log_failure(&error))?;
    let mut id = Uuid::nil();
    if mode == Mode::Create {
        let created = block_in_place(|| server.store.create_topic(name, partitions, &overrides));
        id = Uuid::from_bytes(created.map_err(|error| log_failure(&error))?.id());
        tracing::info!(topic = name, partitions, ?overrides, by = %peer.address, "topic created");
    }
    Ok(Created { id, partitions, config, overrides })
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

fn created_result(server: &Server, name: TopicName, created: Result<Created, Refusal>) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(name);
    match created {
        Ok(created) => result
            .with_error_message(None)
            .with_topic_id(created.id)
            .with_num_partitions(created.partitions)
            .with_replication_factor(1)
            .with_configs(Some(configs::created(server, &created.config, &created.overrides))),
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
    // Before version 6 there were names only.
    let by_name = request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let mut wanted: Vec<DeleteTopicState> = by_name.collect();
    wanted.extend(request.topics);
    let mut mentions: Mentions<_> = wanted.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect();
    let results = wanted.into_iter().filter_map(|topic| {
        let result = DeletableTopicResult::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id);
        let deleted = mentions.take(&(topic.name.clone(), topic.topic_id))?.and_then(|()| {
            let (name, id) = find_deletable(server, peer, &topic)?;
            delete_topic(server, peer, &name, topic.name.is_none().then_some(id))?;
            Ok(result.clone().with_name(Some(name)).with_topic_id(id))
        });
        Some(deleted.map_or_else(
            |(code, message)| result.with_error_code(code).with_error_message(message.filter(|_| version >= 5)),
            |deleted| deleted.with_error_message(None),
        ))
    });
    DeleteTopicsResponse::default().with_responses(results.collect())
}

/// The topic that a name or an id stands for.
fn find_deletable(server: &Server, peer: &Peer, wanted: &DeleteTopicState) -> Result<(TopicName, Uuid), Refusal> {
    match &wanted.name {
        Some(_) if !wanted.topic_id.is_nil() => {
            Err(refusal(ResponseError::InvalidRequest, "a topic is named by its name or by its id"))
        }
        Some(name) => {
            let id = server.store.topic(name).map_or(Uuid::nil(), |topic| Uuid::from_bytes(topic.id()));
            Ok((name.clone(), id))
        }
        None => {
            let topic = server.store.topic_by_id(*wanted.topic_id.as_bytes());
            let topic = topic.ok_or_else(|| refusal(ResponseError::UnknownTopicId, "no topic has this id"))?;
            if !server.allows(peer, Operation::Describe, Resource::Topic(topic.name())) {
                return Err((ResponseError::TopicAuthorizationFailed.code(), None));
            }
            Ok((TopicName(super::text(topic.name())), wanted.topic_id))
        }
    }
}

fn delete_topic(server: &Server, peer: &Peer, name: &str, id: Option<Uuid>) -> Result<(), Refusal> {
    if !server.allows(peer, Operation::Delete, Resource::Topic(name)) {
        return Err((ResponseError::TopicAuthorizationFailed.code(), None));
    }
    refuse_internal(name)?;
    block_in_place(|| {
        match id {
            Some(id) => server.store.delete_topic_by_id(*id.as_bytes())?,
            None => server.store.delete_topic(name)?,
        }
        server.offsets.forget_topic(name, server.now_ms())
    })
    .map_err(|error| log_failure(&error))?;
    tracing::info!(topic = name, by = %peer.address, "topic deleted");
    Ok(())
}
