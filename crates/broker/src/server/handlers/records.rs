//! DeleteRecords: what lies in front of an offset goes.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tokio::task::block_in_place;

use super::{NO_OFFSET, log_error};
use crate::server::access::{Operation, Peer, Resource};
use crate::server::{Server, is_internal};

/// Moves log starts. All new starts are on the disk before the first of them is told; the files go a moment later.
pub(crate) fn delete_records(server: &Server, peer: &Peer, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    block_in_place(|| {
        let mut topics = Vec::with_capacity(request.topics.len());
        let mut moved = 0_usize;
        for topic in request.topics {
            let mut results = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let at = (topic.name.as_str(), wanted.partition_index);
                let result = delete(server, peer, at, wanted.offset);
                moved += usize::from(result.is_ok());
                results.push((wanted.partition_index, result));
            }
            topics.push((topic.name, results));
        }
        let saved = if moved == 0 { Ok(()) } else { server.store.save_log_starts() };
        let unsaved = saved.err().map(|error| log_error(&error).code());
        if unsaved.is_none() && moved > 0 {
            tracing::info!(partitions = moved, by = %peer.address, "records deleted");
        }
        let topics = topics.into_iter().map(|(name, results)| {
            let results = results.into_iter().map(|(index, result)| match (result, unsaved) {
                (Ok(start), None) => response(index).with_low_watermark(start),
                (Ok(_), Some(code)) | (Err(code), _) => response(index).with_error_code(code),
            });
            DeleteRecordsTopicResult::default().with_name(name).with_partitions(results.collect())
        });
        DeleteRecordsResponse::default().with_topics(topics.collect())
    })
}

fn response(index: i32) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult::default().with_partition_index(index).with_low_watermark(NO_OFFSET)
}

fn delete(server: &Server, peer: &Peer, (topic, index): (&str, i32), offset: i64) -> Result<i64, i16> {
    if !server.allows(peer, Operation::Delete, Resource::Topic(topic)) {
        return Err(ResponseError::TopicAuthorizationFailed.code());
    }
    if is_internal(topic) {
        return Err(ResponseError::InvalidTopicException.code());
    }
    let log = server.store.partition(topic, index);
    let log = log.ok_or(ResponseError::UnknownTopicOrPartition.code())?;
    // Of a compacted topic every key's newest record is wanted, however old (as in Kafka).
    if !log.config().cleanup_policy.delete {
        return Err(ResponseError::PolicyViolation.code());
    }
    server.store.move_log_start(topic, index, offset).map_err(|error| log_error(&error).code())
}
