//! Produce: record sets go into the log as they came.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use super::{NO_OFFSET, NO_TIMESTAMP, NO_TRANSACTIONS, log_failure, text};
use crate::log::{AppendOrigin, Appended, transactional_producers};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::OFFSETS_TOPIC;

/// What becomes of a produce request.
#[derive(Debug)]
pub(crate) enum Produced {
    /// The client waits for this.
    Answer(ProduceResponse),
    /// It asked for no answer and everything went well.
    Silence,
    /// It asked for no answer, so closing the connection is the only way to tell it.
    Hangup,
}

type Refusal = (i16, Option<StrBytes>);

/// Appends every partition's records; `acks` 1 and −1 are the same on a single node.
pub(crate) fn produce(server: &Server, peer: &Peer, request: ProduceRequest) -> Produced {
    let refusal = refuse_all(&request);
    let responses: Vec<_> =
        request.topic_data.into_iter().map(|topic| produce_topic(server, peer, topic, refusal.as_ref())).collect();
    if request.acks != 0 {
        return Produced::Answer(ProduceResponse::default().with_responses(responses));
    }
    let mut partitions = responses.iter().flat_map(|topic| &topic.partition_responses);
    match partitions.all(|partition| partition.error_code == 0) {
        true => Produced::Silence,
        false => Produced::Hangup,
    }
}

fn refuse_all(request: &ProduceRequest) -> Option<Refusal> {
    if request.transactional_id.is_some() {
        let error = ResponseError::TransactionalIdAuthorizationFailed;
        return Some((error.code(), Some(NO_TRANSACTIONS.into())));
    }
    let known = (-1..=1).contains(&request.acks);
    (!known).then(|| (ResponseError::InvalidRequiredAcks.code(), None))
}

fn produce_topic(
    server: &Server,
    peer: &Peer,
    topic: TopicProduceData,
    refusal: Option<&Refusal>,
) -> TopicProduceResponse {
    let refusal = refusal.cloned().or_else(|| refuse_topic(server, peer, &topic.name));
    let mut partitions = Vec::with_capacity(topic.partition_data.len());
    for data in topic.partition_data {
        let index = data.index;
        let appended = match &refusal {
            Some(refusal) => Err(refusal.clone()),
            None => append(server, &topic.name, data),
        };
        partitions.push(partition_response(index, appended));
    }
    TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
}

fn refuse_topic(server: &Server, peer: &Peer, name: &str) -> Option<Refusal> {
    if !server.allows(peer, Operation::Write, Resource::Topic(name)) {
        return Some((ResponseError::TopicAuthorizationFailed.code(), None));
    }
    (name == OFFSETS_TOPIC).then(|| {
        let reason = "this topic belongs to the broker";
        (ResponseError::InvalidTopicException.code(), Some(reason.into()))
    })
}

fn append(server: &Server, topic: &str, data: PartitionProduceData) -> Result<Appended, Refusal> {
    let unknown = || (ResponseError::UnknownTopicOrPartition.code(), None);
    let partition = server.store.partition(topic, data.index).ok_or_else(unknown)?;
    let records = data.records.filter(|records| !records.is_empty()).ok_or_else(|| {
        let reason = "the request holds no records for this partition";
        (ResponseError::InvalidRecord.code(), Some(text(reason)))
    })?;
    if transactional_producers(&records).next().is_some() {
        let error = ResponseError::TransactionalIdAuthorizationFailed;
        return Err((error.code(), Some(NO_TRANSACTIONS.into())));
    }
    let appended = partition.append(&records, server.now_ms(), AppendOrigin::Client);
    appended.map_err(|error| {
        tracing::debug!(topic, partition = data.index, %error, "records refused");
        log_failure(&error)
    })
}

fn partition_response(index: i32, appended: Result<Appended, Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match appended {
        Ok(appended) => response
            .with_base_offset(appended.base_offset)
            .with_log_append_time_ms(appended.append_time_ms)
            .with_log_start_offset(appended.log_start_offset),
        Err((code, message)) => response
            .with_error_code(code)
            .with_base_offset(NO_OFFSET)
            .with_log_append_time_ms(NO_TIMESTAMP)
            .with_error_message(message),
    }
}
