//! TxnOffsetCommit: offsets that count when their transaction is committed.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::code;
use super::offsets::{Checked, commit_error, sort_out};
use super::txn::may_write;
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::{Caller, Commit, Committed, MAX_NAME_BYTES, TopicPartition};
use crate::server::txn::ProducerRef;

/// Keeps a group's offsets within a transaction. What cannot be kept is refused by partition.
pub(crate) fn commit(server: &Server, peer: &Peer, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let allowed = may_commit(server, peer, &request);
    let producer = ProducerRef { id: *request.producer_id, epoch: request.producer_epoch };
    let now_ms = server.now_ms();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter();
        (topic.name, partitions.map(|one| (one.partition_index, committed(one, now_ms))).collect())
    });
    let (accepted, checked) = sort_out(server, peer, allowed, topics);
    let kept = match accepted.is_empty() {
        true => Ok(()),
        false => keep(server, (&request.transactional_id, producer), &request.group_id, &accepted),
    };
    response(checked, kept)
}

fn may_commit(server: &Server, peer: &Peer, request: &TxnOffsetCommitRequest) -> Result<(), ResponseError> {
    let group = &*request.group_id;
    may_write(server, peer, &request.transactional_id)?;
    if !server.allows(peer, Operation::Read, Resource::Group(group)) {
        return Err(ResponseError::GroupAuthorizationFailed);
    }
    if group.is_empty() || group.len() > MAX_NAME_BYTES {
        return Err(ResponseError::InvalidGroupId);
    }
    let caller = Caller {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    // Producers of before version 3, and those that only name the group, are fenced by their epoch alone.
    if caller.generation < 0 && caller.member_id.is_empty() && caller.instance_id.is_none() {
        return Ok(());
    }
    server.groups.may_commit(group, caller, Commit::Transactional).map_err(|error| match error {
        ResponseError::GroupIdNotFound => ResponseError::IllegalGeneration,
        error => error,
    })
}

fn committed(partition: TxnOffsetCommitRequestPartition, now_ms: i64) -> Committed {
    Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.map_or_else(String::new, |m| m.to_string()),
        committed_ms: now_ms,
    }
}

fn keep(
    server: &Server,
    (id, producer): (&str, ProducerRef),
    group: &str,
    offsets: &[(TopicPartition, Committed)],
) -> Result<(), ResponseError> {
    let now_ms = server.now_ms();
    let append = || server.offsets.commit_within((producer.id, producer.epoch), group, offsets, now_ms);
    let kept = server.transactions.write(id, producer, &server.offsets.partition_of(group), append)?;
    kept.map_err(|error| commit_error(group, error))
}

fn response(checked: Checked, kept: Result<(), ResponseError>) -> TxnOffsetCommitResponse {
    let topics = checked.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, check)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code(check.and(kept)))
        });
        TxnOffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}
