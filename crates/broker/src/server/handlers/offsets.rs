//! OffsetCommit and OffsetFetch.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};

use super::{NO_OFFSET, code, log_failure, text};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::{CommitError, Committed, TopicPartition};

const UNKNOWN_EPOCH: i32 = -1;

type Checked = Vec<(TopicName, Vec<(i32, Result<(), ResponseError>)>)>;

/// Keeps a group's offsets. What cannot be kept is refused by partition; the rest is kept.
pub(crate) fn commit(server: &Server, peer: &Peer, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let group = &*request.group_id;
    let member = &*request.member_id;
    let allowed = match server.allows(peer, Operation::Read, Resource::Group(group)) {
        true => server.groups.may_commit(group, member, request.generation_id_or_member_epoch),
        false => Err(ResponseError::GroupAuthorizationFailed),
    };
    let now_ms = server.now_ms();
    let mut accepted = Vec::new();
    let mut checked: Checked = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let check = allowed.and_then(|()| check(server, peer, &topic.name, &partition));
            if check.is_ok() {
                let at = (topic.name.to_string(), index);
                accepted.push((at, committed(partition, now_ms)));
            }
            partitions.push((index, check));
        }
        checked.push((topic.name, partitions));
    }
    let kept = keep(server, group, accepted, now_ms);
    commit_response(checked, kept)
}

fn check(
    server: &Server,
    peer: &Peer,
    topic: &str,
    partition: &OffsetCommitRequestPartition,
) -> Result<(), ResponseError> {
    if !server.allows(peer, Operation::Read, Resource::Topic(topic)) {
        return Err(ResponseError::TopicAuthorizationFailed);
    }
    let log = server.store.partition(topic, partition.partition_index);
    log.ok_or(ResponseError::UnknownTopicOrPartition)?;
    let metadata = partition.committed_metadata.as_ref().map_or(0, |metadata| metadata.len());
    if metadata > server.config.groups.max_offset_metadata_bytes {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(())
}

fn committed(partition: OffsetCommitRequestPartition, now_ms: i64) -> Committed {
    Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.map_or_else(String::new, |m| m.to_string()),
        committed_ms: now_ms,
    }
}

fn keep(
    server: &Server,
    group: &str,
    offsets: Vec<(TopicPartition, Committed)>,
    now_ms: i64,
) -> Result<(), ResponseError> {
    if offsets.is_empty() {
        return Ok(());
    }
    server.offsets.commit(group, offsets, now_ms).map_err(|error| match error {
        CommitError::Full => {
            tracing::warn!(group, "too many committed offsets; raise max_committed_offsets");
            ResponseError::PolicyViolation
        }
        CommitError::Log(error) => {
            let (code, _) = log_failure(&error);
            ResponseError::try_from_code(code).unwrap_or(ResponseError::UnknownServerError)
        }
    })
}

fn commit_response(checked: Checked, kept: Result<(), ResponseError>) -> OffsetCommitResponse {
    let topics = checked.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, check)| {
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code(check.and(kept)))
        });
        OffsetCommitResponseTopic::default().with_partitions(partitions.collect()).with_name(name)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// A group's offsets: those asked for, or all of them.
pub(crate) fn fetch(server: &Server, peer: &Peer, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let group = &*request.group_id;
    if !server.allows(peer, Operation::Describe, Resource::Group(group)) {
        let error = ResponseError::GroupAuthorizationFailed;
        return fetch_refused(request.topics.unwrap_or_default(), error, version);
    }
    // Version 1 has no null array; an empty one asks for nothing there.
    let topics = match request.topics {
        None => all(server, peer, group, version),
        Some(topics) => {
            let mut seen = HashSet::new();
            let mut fresh = |topic: &TopicName, index| seen.insert((topic.clone(), index));
            let topics = topics.into_iter().map(|mut topic| {
                let name = topic.name.clone();
                topic.partition_indexes.retain(|index| fresh(&name, *index));
                named(server, peer, group, topic, version)
            });
            topics.collect()
        }
    };
    OffsetFetchResponse::default().with_topics(topics)
}

/// From version 2 on the request as a whole can fail.
fn fetch_refused(topics: Vec<OffsetFetchRequestTopic>, error: ResponseError, version: i16) -> OffsetFetchResponse {
    if version >= 2 {
        return OffsetFetchResponse::default().with_error_code(error.code());
    }
    let topics = topics.into_iter().map(|topic| {
        let indexes = topic.partition_indexes.into_iter();
        let partitions = indexes.map(|index| none(index).with_error_code(error.code()));
        OffsetFetchResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn all(server: &Server, peer: &Peer, group: &str, version: i16) -> Vec<OffsetFetchResponseTopic> {
    let mut topics: BTreeMap<String, Vec<OffsetFetchResponsePartition>> = BTreeMap::new();
    for ((topic, index), committed) in server.offsets.all(group) {
        if server.allows(peer, Operation::Describe, Resource::Topic(&topic)) {
            let partition = found(index, Some(committed), version);
            topics.entry(topic).or_default().push(partition);
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        OffsetFetchResponseTopic::default().with_name(TopicName(text(name))).with_partitions(partitions)
    });
    topics.collect()
}

fn named(
    server: &Server,
    peer: &Peer,
    group: &str,
    topic: OffsetFetchRequestTopic,
    version: i16,
) -> OffsetFetchResponseTopic {
    let allowed = server.allows(peer, Operation::Describe, Resource::Topic(&topic.name));
    let partitions = topic.partition_indexes.into_iter().map(|index| match allowed {
        true => {
            let at = (topic.name.to_string(), index);
            found(index, server.offsets.get(group, &at), version)
        }
        false => none(index).with_error_code(ResponseError::TopicAuthorizationFailed.code()),
    });
    OffsetFetchResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
}

fn found(index: i32, committed: Option<Committed>, version: i16) -> OffsetFetchResponsePartition {
    let Some(committed) = committed else {
        return none(index);
    };
    let partition = OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(committed.offset)
        .with_metadata(Some(text(committed.metadata)));
    if version >= 5 { partition.with_committed_leader_epoch(committed.leader_epoch) } else { partition }
}

fn none(index: i32) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(NO_OFFSET)
        .with_committed_leader_epoch(UNKNOWN_EPOCH)
        .with_metadata(Some(text("")))
}
