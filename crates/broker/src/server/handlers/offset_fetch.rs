//! OffsetFetch: what groups have committed.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::{NO_OFFSET, text};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::{Committed, TopicPartition};

const UNKNOWN_EPOCH: i32 = -1;
/// First version for several groups.
const GROUPS_VERSION: i16 = 8;
/// First version with leader epochs.
const EPOCHS_VERSION: i16 = 5;
/// First version in which the request as a whole can fail.
const FAILURE_VERSION: i16 = 2;

/// Whether offsets may be told while a transaction is about to change them (KIP-447).
#[derive(Debug, Clone, Copy)]
enum Stability {
    Any,
    Required,
}

/// Groups' offsets: those asked for, or all of them.
pub(crate) fn fetch(server: &Server, peer: &Peer, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let stable = if request.require_stable { Stability::Required } else { Stability::Any };
    if version >= GROUPS_VERSION {
        // Naming a group again and again must not make the answer larger.
        let mut seen = HashSet::new();
        let groups = request.groups.into_iter().filter(|group| seen.insert(group.group_id.clone()));
        let groups = groups.map(|wanted| of_group(server, peer, (wanted.group_id, stable), wanted.topics));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let topics = request.topics.map(|topics| {
        let several = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default().with_partition_indexes(topic.partition_indexes).with_name(topic.name)
        });
        several.collect()
    });
    of_one_group(of_group(server, peer, (request.group_id, stable), topics), version)
}

/// The answer of the versions that name one group.
fn of_one_group(group: OffsetFetchResponseGroup, version: i16) -> OffsetFetchResponse {
    if group.error_code != 0 && version >= FAILURE_VERSION {
        return OffsetFetchResponse::default().with_error_code(group.error_code);
    }
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            let partition = OffsetFetchResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_committed_offset(p.committed_offset)
                .with_metadata(p.metadata)
                .with_error_code(p.error_code);
            match version >= EPOCHS_VERSION {
                true => partition.with_committed_leader_epoch(p.committed_leader_epoch),
                false => partition,
            }
        });
        OffsetFetchResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn of_group(
    server: &Server,
    peer: &Peer,
    (id, stable): (GroupId, Stability),
    topics: Option<Vec<OffsetFetchRequestTopics>>,
) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup::default().with_group_id(id.clone());
    if !server.allows(peer, Operation::Describe, Resource::Group(&id)) {
        let error = ResponseError::GroupAuthorizationFailed.code();
        let refused = topics.unwrap_or_default().into_iter().map(|topic| {
            let partitions = topic.partition_indexes.into_iter().map(|index| none(index).with_error_code(error));
            OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(topic.name)
        });
        return group.with_error_code(error).with_topics(refused.collect());
    }
    // Version 1 has no null array; an empty one asks for nothing there.
    let Some(topics) = topics else {
        return group.with_topics(all(server, peer, &id, stable));
    };
    let mut seen = HashSet::new();
    let mut fresh = |topic: &TopicName, index| seen.insert((topic.clone(), index));
    let topics = topics.into_iter().map(|mut topic| {
        let name = topic.name.clone();
        topic.partition_indexes.retain(|index| fresh(&name, *index));
        named(server, peer, (&id, stable), topic)
    });
    group.with_topics(topics.collect())
}

fn all(server: &Server, peer: &Peer, group: &str, stable: Stability) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: BTreeMap<String, Vec<OffsetFetchResponsePartitions>> = BTreeMap::new();
    let allowed = |topic: &str| server.allows(peer, Operation::Describe, Resource::Topic(topic));
    let mut pending: HashSet<TopicPartition> = match stable {
        Stability::Required => server.offsets.all_pending(group).into_iter().collect(),
        Stability::Any => HashSet::new(),
    };
    for (at, committed) in server.offsets.all(group) {
        if allowed(&at.0) && !pending.contains(&at) {
            topics.entry(at.0).or_default().push(found(at.1, Some(committed)));
        }
    }
    for (topic, index) in pending.drain().filter(|(topic, _)| allowed(topic)) {
        topics.entry(topic).or_default().push(unstable(index));
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        OffsetFetchResponseTopics::default().with_name(TopicName(text(name))).with_partitions(partitions)
    });
    topics.collect()
}

fn named(
    server: &Server,
    peer: &Peer,
    (group, stable): (&str, Stability),
    topic: OffsetFetchRequestTopics,
) -> OffsetFetchResponseTopics {
    let allowed = server.allows(peer, Operation::Describe, Resource::Topic(&topic.name));
    let partitions = topic.partition_indexes.into_iter().map(|index| match allowed {
        true => {
            let at = (topic.name.to_string(), index);
            match stable {
                Stability::Required if server.offsets.is_pending(group, &at) => unstable(index),
                _ => found(index, server.offsets.get(group, &at)),
            }
        }
        false => none(index).with_error_code(ResponseError::TopicAuthorizationFailed.code()),
    });
    OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
}

fn found(index: i32, committed: Option<Committed>) -> OffsetFetchResponsePartitions {
    let Some(committed) = committed else {
        return none(index);
    };
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(committed.offset)
        .with_committed_leader_epoch(committed.leader_epoch)
        .with_metadata(Some(text(committed.metadata)))
}

/// The client asks again: how the transaction ends decides what the offset is.
fn unstable(index: i32) -> OffsetFetchResponsePartitions {
    none(index).with_error_code(ResponseError::UnstableOffsetCommit.code())
}

fn none(index: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(NO_OFFSET)
        .with_committed_leader_epoch(UNKNOWN_EPOCH)
        .with_metadata(Some(text("")))
}
