//! DescribeProducers: who writes to a partition, and which transactions are open there.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use super::{Refusal, refusal};
use crate::log::ProducerView;
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

/// Producers in one answer, so that a small request cannot ask for all the memory there is.
const MAX_PRODUCERS: usize = 200_000;

/// The producers that partitions remember: idempotent and transactional ones.
pub(crate) fn describe_producers(
    server: &Server,
    peer: &Peer,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut room = MAX_PRODUCERS;
    let mut seen = HashSet::new();
    let topics = request.topics.into_iter().map(|topic| {
        let is_new = |index: &&i32| seen.insert((topic.name.clone(), **index));
        let indexes: Vec<i32> = topic.partition_indexes.iter().filter(is_new).copied().collect();
        let partitions = indexes.iter().map(|index| {
            let response = PartitionResponse::default().with_partition_index(*index);
            match producers(server, peer, (topic.name.as_str(), *index), &mut room) {
                Ok(producers) => {
                    response.with_error_message(None).with_active_producers(producers.into_iter().map(state).collect())
                }
                Err((code, message)) => response.with_error_code(code).with_error_message(message),
            }
        });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producers(
    server: &Server,
    peer: &Peer,
    (topic, index): (&str, i32),
    room: &mut usize,
) -> Result<Vec<ProducerView>, Refusal> {
    if !server.allows(peer, Operation::Read, Resource::Topic(topic)) {
        return Err((ResponseError::TopicAuthorizationFailed.code(), None));
    }
    let log = server.store.partition(topic, index);
    let log = log.ok_or_else(|| refusal(ResponseError::UnknownTopicOrPartition, "no such partition"))?;
    let producers = log.producers();
    let left = room.checked_sub(producers.len());
    *room = left.ok_or_else(|| {
        refusal(ResponseError::InvalidRequest, "too many producers for one answer; ask for fewer partitions at once")
    })?;
    Ok(producers)
}

fn state(producer: ProducerView) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.producer_epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.transaction_start_offset)
}
