//! ListOffsets and OffsetForLeaderEpoch: where things are in a log.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};

use super::fetch::{check_epoch, isolation};
use super::{NO_OFFSET, NO_TIMESTAMP, log_error};
use crate::log::{Isolation, Partition, TimestampOffset};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// The first offset on the broker's own disk, where older segments are elsewhere (KIP-405). Here none are.
const EARLIEST_LOCAL: i64 = -4;
/// The last offset that is elsewhere as well (KIP-1005): nothing is.
const LATEST_TIERED: i64 = -5;
const UNKNOWN_EPOCH: i32 = -1;

/// Where something was found; all -1 when the log has nothing there.
struct Found {
    offset: i64,
    timestamp_ms: i64,
    leader_epoch: i32,
}

/// Offsets by time, and the ends of the log.
pub(crate) fn list_offsets(
    server: &Server,
    peer: &Peer,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let isolation = isolation(request.isolation_level);
    let mut seen = HashSet::new();
    let topics = request.topics.into_iter().map(|mut topic| {
        // Both ends of a log are asked for in one request, and a search by time reads.
        topic.partitions.retain(|wanted| seen.insert((topic.name.clone(), wanted.partition_index, wanted.timestamp)));
        let partitions = topic.partitions.iter().map(|wanted| {
            let at = (&topic.name, wanted.partition_index, wanted.current_leader_epoch);
            let found = log_of(server, peer, at).and_then(|log| locate(&log, wanted, (version, isolation)));
            list_response(wanted.partition_index, found, version)
        });
        ListOffsetsTopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn log_of(server: &Server, peer: &Peer, at: (&TopicName, i32, i32)) -> Result<Arc<Partition>, ResponseError> {
    let (topic, partition, epoch) = at;
    if !server.allows(peer, Operation::Describe, Resource::Topic(topic)) {
        return Err(ResponseError::TopicAuthorizationFailed);
    }
    let log = server.store.partition(topic, partition);
    let log = log.ok_or(ResponseError::UnknownTopicOrPartition)?;
    log.check_opened().map_err(|error| log_error(&error))?;
    check_epoch(&log, epoch)?;
    Ok(log)
}

fn locate(
    log: &Partition,
    wanted: &ListOffsetsPartition,
    (version, isolation): (i16, Isolation),
) -> Result<Found, ResponseError> {
    // Beyond it a reader of committed records gets nothing yet.
    let fetchable = match isolation {
        Isolation::Uncommitted => log.high_watermark(),
        Isolation::Committed => log.last_stable_offset(),
    };
    let found = match wanted.timestamp {
        LATEST => return Ok(end(fetchable, log.leader_epoch())),
        EARLIEST => return Ok(first(log)),
        MAX_TIMESTAMP if version >= 7 => log.max_timestamp(),
        EARLIEST_LOCAL if version >= 8 => return Ok(first(log)),
        LATEST_TIERED if version >= 9 => Ok(None),
        timestamp if timestamp >= 0 => log.offset_for_timestamp(timestamp),
        _ => return Err(ResponseError::UnsupportedVersion),
    };
    let found = found.map_err(|error| log_error(&error))?;
    let nothing = TimestampOffset { offset: NO_OFFSET, timestamp_ms: NO_TIMESTAMP };
    let found = found.filter(|found| found.offset < fetchable);
    let TimestampOffset { offset, timestamp_ms } = found.unwrap_or(nothing);
    Ok(Found { offset, timestamp_ms, leader_epoch: log.epoch_at(offset).unwrap_or(UNKNOWN_EPOCH) })
}

fn first(log: &Partition) -> Found {
    let offset = log.log_start_offset();
    end(offset, log.epoch_at(offset).unwrap_or(UNKNOWN_EPOCH))
}

fn end(offset: i64, leader_epoch: i32) -> Found {
    Found { offset, timestamp_ms: NO_TIMESTAMP, leader_epoch }
}

fn list_response(index: i32, found: Result<Found, ResponseError>, version: i16) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok(found) => {
            let response = response.with_offset(found.offset).with_timestamp(found.timestamp_ms);
            if version >= 4 { response.with_leader_epoch(found.leader_epoch) } else { response }
        }
        Err(error) => response.with_error_code(error.code()).with_offset(NO_OFFSET).with_timestamp(NO_TIMESTAMP),
    }
}

/// Where a leader epoch ended, so that a reader learns whether what it has read is still there (KIP-320).
pub(crate) fn offset_for_leader_epoch(
    server: &Server,
    peer: &Peer,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let at = (&topic.topic, wanted.partition, wanted.current_leader_epoch);
            epoch_end(wanted, log_of(server, peer, at))
        });
        OffsetForLeaderTopicResult::default().with_partitions(partitions.collect()).with_topic(topic.topic.clone())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn epoch_end(wanted: &OffsetForLeaderPartition, log: Result<Arc<Partition>, ResponseError>) -> EpochEndOffset {
    let response = EpochEndOffset::default().with_partition(wanted.partition);
    match log {
        Err(error) => response.with_error_code(error.code()),
        Ok(log) => {
            let known = log.end_of_epoch(wanted.leader_epoch);
            let (epoch, end_offset) = known.unwrap_or((UNKNOWN_EPOCH, NO_OFFSET));
            response.with_leader_epoch(epoch).with_end_offset(end_offset)
        }
    }
}
