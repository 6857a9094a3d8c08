//! ListOffsets and OffsetForLeaderEpoch: where things are in a log.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};

use super::fetch::check_epoch;
use super::{NO_OFFSET, NO_TIMESTAMP};
use crate::log::{LogError, Partition};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const UNKNOWN_EPOCH: i32 = -1;

/// Offsets by time, and the ends of the log.
pub(crate) fn list_offsets(
    server: &Server,
    peer: &Peer,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let at = (&topic.name, wanted.partition_index, wanted.current_leader_epoch);
            let found = log_of(server, peer, at).and_then(|log| {
                let (offset, timestamp) = locate(&log, wanted, version)?;
                Ok((offset, timestamp, log.leader_epoch()))
            });
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
    check_epoch(&log, epoch)?;
    Ok(log)
}

/// Offset and time; −1 and −1 when the log has nothing there.
fn locate(log: &Partition, wanted: &ListOffsetsPartition, version: i16) -> Result<(i64, i64), ResponseError> {
    let found = match wanted.timestamp {
        LATEST => return Ok((log.high_watermark(), NO_TIMESTAMP)),
        EARLIEST => return Ok((log.log_start_offset(), NO_TIMESTAMP)),
        MAX_TIMESTAMP if version >= 7 => log.max_timestamp(),
        timestamp if timestamp >= 0 => log.offset_for_timestamp(timestamp),
        _ => return Err(ResponseError::UnsupportedVersion),
    };
    let found = found.map_err(|error| storage(&error))?;
    Ok(found.map_or((NO_OFFSET, NO_TIMESTAMP), |at| (at.offset, at.timestamp_ms)))
}

fn storage(error: &LogError) -> ResponseError {
    let (code, _) = super::log_failure(error);
    ResponseError::try_from_code(code).unwrap_or(ResponseError::UnknownServerError)
}

fn list_response(
    index: i32,
    found: Result<(i64, i64, i32), ResponseError>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok((offset, timestamp, epoch)) => {
            let response = response.with_offset(offset).with_timestamp(timestamp);
            if version >= 4 { response.with_leader_epoch(epoch) } else { response }
        }
        Err(error) => response.with_error_code(error.code()).with_offset(NO_OFFSET).with_timestamp(NO_TIMESTAMP),
    }
}

/// Where a leader epoch ended: with one leader for ever, the current one ends where the log does.
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
        Ok(log) if wanted.leader_epoch == log.leader_epoch() => {
            response.with_leader_epoch(log.leader_epoch()).with_end_offset(log.high_watermark())
        }
        Ok(_) => response.with_leader_epoch(UNKNOWN_EPOCH).with_end_offset(NO_OFFSET),
    }
}
