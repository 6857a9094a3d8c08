//! OffsetCommit and OffsetDelete.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, TopicName,
};

use super::{code, log_error};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::{Caller, Commit, CommitError, Committed, MAX_NAME_BYTES, TopicPartition};

/// First version in which a group may be missing; before, it is of another generation.
const MISSING_VERSION: i16 = 9;

/// What became of each partition of a request, by topic.
pub(super) type Checked = Vec<(TopicName, Vec<(i32, Result<(), ResponseError>)>)>;

/// Keeps a group's offsets. What cannot be kept is refused by partition; the rest is kept.
pub(crate) fn commit(server: &Server, peer: &Peer, request: OffsetCommitRequest, version: i16) -> OffsetCommitResponse {
    let group = &*request.group_id;
    let caller = Caller {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    let allowed = match server.allows(peer, Operation::Read, Resource::Group(group)) {
        true if group.len() > MAX_NAME_BYTES => Err(ResponseError::InvalidGroupId),
        true => server.groups.may_commit(group, caller, Commit::Plain),
        false => Err(ResponseError::GroupAuthorizationFailed),
    };
    let allowed = allowed.map_err(|error| match error {
        ResponseError::GroupIdNotFound if version < MISSING_VERSION => ResponseError::IllegalGeneration,
        error => error,
    });
    let now_ms = server.now_ms();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter();
        (topic.name, partitions.map(|one| (one.partition_index, committed(one, now_ms))).collect())
    });
    let (accepted, checked) = sort_out(server, peer, allowed, topics);
    let kept = keep(server, group, accepted, now_ms);
    commit_response(checked, kept)
}

/// What of a request may be kept, and what is said of each partition.
pub(super) fn sort_out(
    server: &Server,
    peer: &Peer,
    allowed: Result<(), ResponseError>,
    topics: impl Iterator<Item = (TopicName, Vec<(i32, Committed)>)>,
) -> (Vec<(TopicPartition, Committed)>, Checked) {
    let (mut accepted, mut checked) = (Vec::new(), Checked::new());
    for (name, wanted) in topics {
        let mut partitions = Vec::with_capacity(wanted.len());
        for (index, committed) in wanted {
            let check = allowed.and_then(|()| check(server, peer, (&name, index), committed.metadata.len()));
            if check.is_ok() {
                accepted.push(((name.to_string(), index), committed));
            }
            partitions.push((index, check));
        }
        checked.push((name, partitions));
    }
    (accepted, checked)
}

fn check(
    server: &Server,
    peer: &Peer,
    (topic, index): (&str, i32),
    metadata_bytes: usize,
) -> Result<(), ResponseError> {
    if !server.allows(peer, Operation::Read, Resource::Topic(topic)) {
        return Err(ResponseError::TopicAuthorizationFailed);
    }
    let log = server.store.partition(topic, index);
    log.ok_or(ResponseError::UnknownTopicOrPartition)?;
    if metadata_bytes > server.config.groups.max_offset_metadata_bytes.min(MAX_NAME_BYTES) {
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
    server.offsets.commit(group, offsets, now_ms).map_err(|error| commit_error(group, error))
}

pub(super) fn commit_error(group: &str, error: CommitError) -> ResponseError {
    match error {
        CommitError::Full => {
            tracing::warn!(group, "too many committed offsets; raise max_committed_offsets");
            ResponseError::PolicyViolation
        }
        CommitError::Log(error) => log_error(&error),
    }
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

/// Drops some of what a group has committed, except for topics its members read.
pub(crate) fn delete(server: &Server, peer: &Peer, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = &*request.group_id;
    let in_use = match server.allows(peer, Operation::Delete, Resource::Group(group)) {
        true => server.groups.topics_in_use(group),
        false => Err(ResponseError::GroupAuthorizationFailed),
    };
    let in_use = match in_use {
        Ok(in_use) => in_use,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let is_in_use = |topic: &str| in_use.as_ref().is_none_or(|topics| topics.contains(topic));
    let mut gone = Vec::new();
    let mut checked: Checked = Vec::new();
    for topic in request.topics {
        let may = match server.allows(peer, Operation::Read, Resource::Topic(&topic.name)) {
            false => Err(ResponseError::TopicAuthorizationFailed),
            true if is_in_use(&topic.name) => Err(ResponseError::GroupSubscribedToTopic),
            true => Ok(()),
        };
        let check = |index| {
            let is_there = server.store.partition(&topic.name, index).is_some();
            may.and(is_there.then_some(()).ok_or(ResponseError::UnknownTopicOrPartition))
        };
        let partitions: Vec<_> =
            topic.partitions.iter().map(|p| (p.partition_index, check(p.partition_index))).collect();
        let accepted = partitions.iter().filter(|(_, check)| check.is_ok());
        gone.extend(accepted.map(|(index, _)| (topic.name.to_string(), *index)));
        checked.push((topic.name, partitions));
    }
    match server.offsets.remove(group, gone, server.now_ms()) {
        Ok(()) => delete_response(checked),
        Err(error) => OffsetDeleteResponse::default().with_error_code(log_error(&error).code()),
    }
}

fn delete_response(checked: Checked) -> OffsetDeleteResponse {
    let topics = checked.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, check)| {
            OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code(check))
        });
        OffsetDeleteResponseTopic::default().with_partitions(partitions.collect()).with_name(name)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
