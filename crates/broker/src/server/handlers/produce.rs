//! Produce: record sets go into the log as they came.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::txn::may_write;
use super::{NO_OFFSET, NO_TIMESTAMP, Refusal, log_failure, refusal, refuse_internal, sent};
use crate::log::{AppendOrigin, Appended, transactional_producers};
use crate::server::access::{Operation, Peer, Resource};
use crate::server::txn::ProducerRef;
use crate::server::{Server, blocking};

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

/// What a request says of all its records.
struct Terms<'a> {
    version: i16,
    acks: i16,
    transactional_id: Option<&'a str>,
}

/// Whether one of the topics is synced before it is acknowledged.
pub(crate) fn syncs(server: &Server, request: &ProduceRequest) -> bool {
    let mut topics = request.topic_data.iter().filter_map(|data| server.store.topic(&data.name));
    topics.any(|topic| blocking::syncs(&topic.config()))
}

/// Appends every partition's records; `acks` 1 and −1 are the same on a single node.
pub(crate) fn produce(server: &Server, peer: &Peer, request: ProduceRequest, version: i16) -> Produced {
    let refusal = refuse_all(server, peer, &request);
    let id = request.transactional_id.as_ref().map(|id| id.0.to_string());
    let terms = Terms { version, acks: request.acks, transactional_id: id.as_deref() };
    let responses: Vec<_> = request
        .topic_data
        .into_iter()
        .map(|topic| produce_topic((server, peer), &terms, topic, refusal.as_ref()))
        .collect();
    if request.acks != 0 {
        return Produced::Answer(ProduceResponse::default().with_responses(responses));
    }
    let mut partitions = responses.iter().flat_map(|topic| &topic.partition_responses);
    match partitions.all(|partition| partition.error_code == 0) {
        true => Produced::Silence,
        false => Produced::Hangup,
    }
}

fn refuse_all(server: &Server, peer: &Peer, request: &ProduceRequest) -> Option<Refusal> {
    let id = request.transactional_id.as_ref()?;
    may_write(server, peer, id).err().map(|error| (error.code(), None))
}

fn produce_topic(
    (server, peer): (&Server, &Peer),
    terms: &Terms<'_>,
    topic: TopicProduceData,
    refusal: Option<&Refusal>,
) -> TopicProduceResponse {
    let refusal = refusal.cloned().or_else(|| refuse_topic(server, peer, &topic.name));
    let mut partitions = Vec::with_capacity(topic.partition_data.len());
    for data in topic.partition_data {
        let index = data.index;
        let appended = match &refusal {
            Some(refusal) => Err(refusal.clone()),
            None => append(server, terms, &topic.name, data),
        };
        partitions.push(partition_response(index, appended));
    }
    TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
}

fn refuse_topic(server: &Server, peer: &Peer, name: &str) -> Option<Refusal> {
    if !server.allows(peer, Operation::Write, Resource::Topic(name)) {
        return Some((ResponseError::TopicAuthorizationFailed.code(), None));
    }
    refuse_internal(name).err()
}

/// The order of these checks is Apache Kafka's.
fn append(server: &Server, terms: &Terms<'_>, topic: &str, data: PartitionProduceData) -> Result<Appended, Refusal> {
    let records = data.records.unwrap_or_default();
    sent::check(terms.version, &records)?;
    let unknown = || (ResponseError::UnknownTopicOrPartition.code(), None);
    let partition = server.store.partition(topic, data.index).ok_or_else(unknown)?;
    if !(-1..=1).contains(&terms.acks) {
        return Err((ResponseError::InvalidRequiredAcks.code(), None));
    }
    let append = || partition.append(&records, server.now_ms(), AppendOrigin::Client);
    let appended = match transactional_producer(&records)? {
        None => append(),
        Some(producer) => {
            let id = terms.transactional_id.ok_or_else(|| {
                let reason = "transactional records need a transactional.id";
                refusal(ResponseError::TransactionalIdAuthorizationFailed, reason)
            })?;
            let at = (topic.to_owned(), data.index);
            server.transactions.write(id, producer, &at, append).map_err(|error| (error.code(), None))?
        }
    };
    appended.map_err(|error| {
        tracing::debug!(topic, partition = data.index, %error, "records refused");
        log_failure(&error)
    })
}

/// Whose transaction the records belong to; one request speaks for one producer.
fn transactional_producer(records: &[u8]) -> Result<Option<ProducerRef>, Refusal> {
    let mut producers = transactional_producers(records).map(|(id, epoch)| ProducerRef { id, epoch });
    let first = producers.next();
    match producers.all(|other| Some(other) == first) {
        true => Ok(first),
        false => Err(refusal(ResponseError::InvalidRecord, "its transactional batches are of several producers")),
    }
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
