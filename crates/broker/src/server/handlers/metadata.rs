//! Metadata and DescribeTopicPartitions: which topics there are, and that their partitions are here.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_request::Cursor as From;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse,
    TopicName,
};
use tokio::task::block_in_place;
use uuid::Uuid;

use super::{log_error, refuse_internal, text};
use crate::log::{LogError, Overrides, Partition, Topic};
use crate::server::access::{OPERATIONS_NOT_TOLD, Operation, Peer, Resource, authorized_operations};
use crate::server::config::AutoCreate;
use crate::server::{Server, is_internal};

/// Partitions in one page of DescribeTopicPartitions (Kafka: `max.request.partition.size.limit`).
const MAX_PAGE: usize = 2000;

/// What a Metadata request wants to know of each topic.
#[derive(Clone, Copy)]
struct Wanted {
    auto_create: AutoCreate,
    version: i16,
}

/// The broker and its topics.
pub(crate) fn metadata(server: &Server, peer: &Peer, request: MetadataRequest, version: i16) -> MetadataResponse {
    let auto_create = match request.allow_auto_topic_creation {
        true => server.config.auto_create_topics,
        false => AutoCreate::Off,
    };
    // Version 0 has no null array: an empty one asks for everything.
    let named = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let mut topics = match named {
        None => all_topics(server, peer),
        Some(named) => named_topics(server, peer, named, Wanted { auto_create, version }),
    };
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
            topic.topic_authorized_operations = operations(server, peer, topic.name.as_ref());
        }
    }
    let (host, port) = &server.advertised;
    let broker = MetadataResponseBroker::default()
        .with_node_id(server.node_id())
        .with_host(text(host))
        .with_port(i32::from(*port));
    let response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(server.store.cluster_id())))
        .with_controller_id(server.node_id())
        .with_topics(topics);
    if request.include_cluster_authorized_operations {
        let bits = authorized_operations(&*server.config.authorizer, &peer.principal, Resource::Cluster);
        return response.with_cluster_authorized_operations(bits);
    }
    response
}

fn operations(server: &Server, peer: &Peer, name: Option<&TopicName>) -> i32 {
    name.map_or(OPERATIONS_NOT_TOLD, |name| {
        authorized_operations(&*server.config.authorizer, &peer.principal, Resource::Topic(name))
    })
}

fn all_topics(server: &Server, peer: &Peer) -> Vec<MetadataResponseTopic> {
    let topics = server.store.topics();
    let visible = topics.iter().filter(|topic| may_see(server, peer, topic.name()));
    visible.map(|topic| describe(topic, server.node_id())).collect()
}

fn may_see(server: &Server, peer: &Peer, name: &str) -> bool {
    server.allows(peer, Operation::Describe, Resource::Topic(name))
}

/// Each topic once, by name or (from version 12 on) by id.
fn named_topics(
    server: &Server,
    peer: &Peer,
    named: Vec<MetadataRequestTopic>,
    wanted: Wanted,
) -> Vec<MetadataResponseTopic> {
    let mut seen = HashSet::new();
    let fresh = named.into_iter().filter(|topic| seen.insert((topic.topic_id, topic.name.clone())));
    let found = fresh.map(|topic| match (&topic.name, topic.topic_id) {
        (Some(name), id) if id.is_nil() => named_topic(server, peer, name, wanted.auto_create),
        (None, id) if wanted.version >= 12 => topic_with_id(server, peer, id),
        // Kafka: versions 10 and 11 carry ids and know nothing to do with them; nobody may give both.
        (name, id) => failed(ResponseError::InvalidRequest, name.clone()).with_topic_id(id),
    });
    found.collect()
}

fn failed(error: ResponseError, name: Option<TopicName>) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(error.code()).with_name(name)
}

fn topic_with_id(server: &Server, peer: &Peer, id: Uuid) -> MetadataResponseTopic {
    match server.store.topic_by_id(*id.as_bytes()) {
        Some(topic) if may_see(server, peer, topic.name()) => describe(&topic, server.node_id()),
        // Not the name: whoever may not see the topic learns nothing of it.
        Some(_) => failed(ResponseError::TopicAuthorizationFailed, None).with_topic_id(id),
        None => failed(ResponseError::UnknownTopicId, None).with_topic_id(id),
    }
}

fn named_topic(server: &Server, peer: &Peer, name: &TopicName, auto_create: AutoCreate) -> MetadataResponseTopic {
    if !may_see(server, peer, name) {
        return failed(ResponseError::TopicAuthorizationFailed, Some(name.clone()));
    }
    if let Some(topic) = server.store.topic(name) {
        return describe(&topic, server.node_id());
    }
    match check_or_create(server, peer, name, auto_create) {
        Ok(topic) => describe(&topic, server.node_id()),
        Err(code) => MetadataResponseTopic::default().with_error_code(code).with_name(Some(name.clone())),
    }
}

fn check_or_create(server: &Server, peer: &Peer, name: &str, auto_create: AutoCreate) -> Result<Arc<Topic>, i16> {
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
    refuse_internal(name).map_err(|(code, _)| code)?;
    let created = block_in_place(|| server.store.create_topic(name, partitions, &none));
    match created {
        Ok(topic) => Ok(topic),
        Err(LogError::TopicExists { .. }) => server.store.topic(name).ok_or(ResponseError::LeaderNotAvailable.code()),
        Err(error) => Err(log_error(&error).code()),
    }
}

fn describe(topic: &Topic, node_id: BrokerId) -> MetadataResponseTopic {
    let partition = |log: &Arc<Partition>| {
        MetadataResponsePartition::default()
            .with_partition_index(log.index())
            .with_leader_id(node_id)
            .with_leader_epoch(log.leader_epoch())
            .with_replica_nodes(vec![node_id])
            .with_isr_nodes(vec![node_id])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name()))))
        .with_topic_id(Uuid::from_bytes(topic.id()))
        .with_is_internal(is_internal(topic.name()))
        .with_partitions(topic.partitions().iter().map(partition).collect())
}

/// The same as Metadata, page by page (KIP-966): topics in name order, from the cursor on.
pub(crate) fn describe_topic_partitions(
    server: &Server,
    peer: &Peer,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let asked_for_all = request.topics.is_empty();
    let names: BTreeSet<String> = match asked_for_all {
        true => server.store.topics().iter().map(|topic| topic.name().to_owned()).collect(),
        false => request.topics.into_iter().map(|topic| topic.name.to_string()).collect(),
    };
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut page = Page { room: limit.clamp(1, MAX_PAGE), topics: Vec::new(), next: None };
    let from = request.cursor;
    let begins_behind = |name: &str| from.as_ref().is_some_and(|from| name < from.topic_name.as_str());
    for name in names.iter().filter(|name| !begins_behind(name)) {
        if page.room == 0 {
            page.next = Some((name.clone(), 0));
            break;
        }
        match (may_see(server, peer, name), server.store.topic(name)) {
            (true, Some(topic)) => page.add(server, peer, &topic, first_partition(from.as_ref(), name)),
            _ if asked_for_all => {}
            (true, None) => page.topics.push(missing(name, ResponseError::UnknownTopicOrPartition)),
            (false, _) => page.topics.push(missing(name, ResponseError::TopicAuthorizationFailed)),
        }
        if page.next.is_some() {
            break;
        }
    }
    let cursor = page
        .next
        .map(|(name, index)| Cursor::default().with_topic_name(TopicName(text(name))).with_partition_index(index));
    DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(cursor)
}

fn first_partition(from: Option<&From>, name: &str) -> usize {
    let from = from.filter(|from| from.topic_name.as_str() == name);
    from.and_then(|from| usize::try_from(from.partition_index).ok()).unwrap_or(0)
}

fn missing(name: &str, error: ResponseError) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default().with_name(Some(TopicName(text(name)))).with_error_code(error.code())
}

/// An answer that is being filled.
struct Page {
    room: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<(String, i32)>,
}

impl Page {
    fn add(&mut self, server: &Server, peer: &Peer, topic: &Topic, first: usize) {
        let logs = topic.partitions();
        let rest = logs.get(first..).unwrap_or_default();
        let taken = &rest[..rest.len().min(self.room)];
        self.room -= taken.len();
        if let Some(log) = rest.get(taken.len()) {
            self.next = Some((topic.name().to_owned(), log.index()));
        }
        let us = || vec![server.node_id()];
        let partition = |log: &Arc<Partition>| {
            DescribeTopicPartitionsResponsePartition::default()
                .with_partition_index(log.index())
                .with_leader_id(server.node_id())
                .with_leader_epoch(log.leader_epoch())
                .with_replica_nodes(us())
                .with_isr_nodes(us())
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
        };
        let name = TopicName(text(topic.name()));
        let described = DescribeTopicPartitionsResponseTopic::default()
            .with_topic_authorized_operations(operations(server, peer, Some(&name)))
            .with_name(Some(name))
            .with_topic_id(Uuid::from_bytes(topic.id()))
            .with_is_internal(is_internal(topic.name()))
            .with_partitions(taken.iter().map(partition).collect());
        self.topics.push(described);
    }
}
