//! The APIs of transactional producers, and those that show transactions.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName, TransactionalId,
};

use tokio::task::block_in_place;

use super::repeats::once_each;
use super::{code, text};
use crate::log::Outcome;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::{MAX_NAME_BYTES, TopicPartition};
use crate::server::txn::{ProducerRef, Status};
use crate::server::{Server, is_internal};

const NO_PRODUCER: i64 = -1;
const NO_PRODUCER_EPOCH: i16 = -1;
/// First version of InitProducerId that knows fenced producers.
const INIT_FENCED_VERSION: i16 = 4;
/// The same for AddPartitionsToTxn, AddOffsetsToTxn and EndTxn.
const FENCED_VERSION: i16 = 2;

/// Gives a producer its id and epoch; every call without transactional id gives a new one.
pub(crate) fn init_producer_id(
    server: &Server,
    peer: &Peer,
    request: &InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let given = match &request.transactional_id {
        None => idempotent(server, peer),
        Some(id) => transactional(server, peer, id, request),
    };
    let response = InitProducerIdResponse::default();
    match given {
        Ok(producer) => response.with_producer_id(ProducerId(producer.id)).with_producer_epoch(producer.epoch),
        Err(error) => response
            .with_error_code(told(error, version >= INIT_FENCED_VERSION).code())
            .with_producer_id(ProducerId(NO_PRODUCER))
            .with_producer_epoch(NO_PRODUCER_EPOCH),
    }
}

fn idempotent(server: &Server, peer: &Peer) -> Result<ProducerRef, ResponseError> {
    if !server.allows(peer, Operation::IdempotentWrite, Resource::Cluster) {
        return Err(ResponseError::ClusterAuthorizationFailed);
    }
    let id = server.producer_ids.next().map_err(|error| {
        tracing::error!(%error, "no producer id");
        ResponseError::KafkaStorageError
    })?;
    Ok(ProducerRef { id, epoch: 0 })
}

fn transactional(
    server: &Server,
    peer: &Peer,
    id: &str,
    request: &InitProducerIdRequest,
) -> Result<ProducerRef, ResponseError> {
    may_write(server, peer, id)?;
    let expected = match (*request.producer_id, request.producer_epoch) {
        (NO_PRODUCER, NO_PRODUCER_EPOCH) => None,
        (id @ 0.., epoch @ 0..) => Some(ProducerRef { id, epoch }),
        _ => return Err(ResponseError::InvalidRequest),
    };
    // The first one makes a topic, others may need a block of producer ids: both sync the disk.
    block_in_place(|| server.transactions.init(server.world(), id, request.transaction_timeout_ms, expected))
}

pub(super) fn may_write(server: &Server, peer: &Peer, id: &str) -> Result<(), ResponseError> {
    let allowed = server.allows(peer, Operation::Write, Resource::TransactionalId(id));
    allowed.then_some(()).ok_or(ResponseError::TransactionalIdAuthorizationFailed)
}

/// Older versions know a fenced producer by its epoch only.
fn told(error: ResponseError, knows_fenced: bool) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if !knows_fenced => ResponseError::InvalidProducerEpoch,
        error => error,
    }
}

/// Adds partitions to a transaction: all of them, or none when one of them cannot be.
pub(crate) fn add_partitions(
    server: &Server,
    peer: &Peer,
    request: &AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let id = &request.v3_and_below_transactional_id;
    let producer = ProducerRef { id: *request.v3_and_below_producer_id, epoch: request.v3_and_below_producer_epoch };
    let wanted = &request.v3_and_below_topics;
    let faults: Vec<Vec<Option<ResponseError>>> = wanted.iter().map(|topic| faults_of(server, peer, topic)).collect();
    let is_faulty = faults.iter().flatten().any(Option::is_some);
    let added = match may_write(server, peer, id) {
        Err(error) => Err(error),
        Ok(()) if is_faulty => Err(ResponseError::OperationNotAttempted),
        Ok(()) => server.transactions.add(server.world(), id, producer, partitions_of(wanted)),
    };
    let added = added.map_err(|error| told(error, version >= FENCED_VERSION));
    let is_refused = added == Err(ResponseError::TransactionalIdAuthorizationFailed);
    let topics = wanted.iter().zip(faults).map(|(topic, faults)| {
        let results = topic.partitions.iter().zip(faults).map(|(index, fault)| {
            let fault = fault.filter(|_| !is_refused).map_or(added, Err);
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(fault))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect())
}

fn faults_of(server: &Server, peer: &Peer, topic: &AddPartitionsToTxnTopic) -> Vec<Option<ResponseError>> {
    let of_topic = if !server.allows(peer, Operation::Write, Resource::Topic(&topic.name)) {
        Some(ResponseError::TopicAuthorizationFailed)
    } else if is_internal(&topic.name) {
        Some(ResponseError::InvalidTopicException)
    } else {
        None
    };
    let unknown = |index: i32| match server.store.partition(&topic.name, index) {
        Some(_) => None,
        None => Some(ResponseError::UnknownTopicOrPartition),
    };
    topic.partitions.iter().map(|index| of_topic.or_else(|| unknown(*index))).collect()
}

fn partitions_of(topics: &[AddPartitionsToTxnTopic]) -> Vec<TopicPartition> {
    let each = |topic: &AddPartitionsToTxnTopic| {
        let name = topic.name.to_string();
        topic.partitions.iter().map(move |index| (name.clone(), *index)).collect::<Vec<_>>()
    };
    topics.iter().flat_map(each).collect()
}

/// Adds a group's offsets to a transaction.
pub(crate) fn add_offsets(
    server: &Server,
    peer: &Peer,
    request: &AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let producer = ProducerRef { id: *request.producer_id, epoch: request.producer_epoch };
    let added = may_write(server, peer, &request.transactional_id).and_then(|()| {
        if !server.allows(peer, Operation::Read, Resource::Group(&request.group_id)) {
            return Err(ResponseError::GroupAuthorizationFailed);
        }
        if request.group_id.is_empty() || request.group_id.len() > MAX_NAME_BYTES {
            return Err(ResponseError::InvalidGroupId);
        }
        let partition = server.offsets.partition_of(&request.group_id);
        server.transactions.add(server.world(), &request.transactional_id, producer, vec![partition])
    });
    let added = added.map_err(|error| told(error, version >= FENCED_VERSION));
    AddOffsetsToTxnResponse::default().with_error_code(code(added))
}

/// Commits or aborts a transaction.
pub(crate) fn end(server: &Server, peer: &Peer, request: &EndTxnRequest, version: i16) -> EndTxnResponse {
    let producer = ProducerRef { id: *request.producer_id, epoch: request.producer_epoch };
    let outcome = if request.committed { Outcome::Commit } else { Outcome::Abort };
    let ended = may_write(server, peer, &request.transactional_id)
        .and_then(|()| server.transactions.end(server.world(), &request.transactional_id, producer, outcome));
    let ended = ended.map_err(|error| told(error, version >= FENCED_VERSION));
    EndTxnResponse::default().with_error_code(code(ended))
}

fn may_describe(server: &Server, peer: &Peer, id: &str) -> bool {
    server.allows(peer, Operation::Describe, Resource::TransactionalId(id))
}

/// Transactional ids in full.
pub(crate) fn describe(
    server: &Server,
    peer: &Peer,
    request: &DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    // What ids hold is bounded by `max_partitions`, as long as each is described once.
    let states = once_each(&request.transactional_ids).map(|id| describe_one(server, peer, id));
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn describe_one(server: &Server, peer: &Peer, id: &TransactionalId) -> TransactionState {
    let state = TransactionState::default().with_transactional_id(id.clone());
    if !may_describe(server, peer, id) {
        return state.with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code());
    }
    let Some(transaction) = server.transactions.get(id) else {
        return state.with_error_code(ResponseError::TransactionalIdNotFound.code());
    };
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, index) in transaction.partitions {
        if server.allows(peer, Operation::Describe, Resource::Topic(&topic)) {
            topics.entry(topic).or_default().push(index);
        }
    }
    let topics = topics
        .into_iter()
        .map(|(topic, indexes)| TopicData::default().with_topic(TopicName(text(topic))).with_partitions(indexes));
    state
        .with_transaction_state(text(transaction.status.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(ProducerId(transaction.producer.id))
        .with_producer_epoch(transaction.producer.epoch)
        .with_topics(topics.collect())
}

/// Transactional ids in short, all or filtered.
pub(crate) fn list(server: &Server, peer: &Peer, request: &ListTransactionsRequest) -> ListTransactionsResponse {
    let known = |name: &str| Status::ALL.iter().any(|status| status.name() == name);
    let states: HashSet<&str> = request.state_filters.iter().map(|name| &**name).collect();
    let producers: HashSet<ProducerId> = request.producer_id_filters.iter().copied().collect();
    let unknown = once_each(&request.state_filters).filter(|name| !known(name)).cloned().collect();
    let now_ms = server.now_ms();
    let is_old = |started_ms: i64| started_ms >= 0 && now_ms.saturating_sub(started_ms) > request.duration_filter;
    let found = server.transactions.all().into_iter().filter(|(id, transaction)| {
        (states.is_empty() || states.contains(transaction.status.name()))
            && (producers.is_empty() || producers.contains(&ProducerId(transaction.producer.id)))
            && (request.duration_filter < 0 || is_old(transaction.started_ms))
            && may_describe(server, peer, id)
    });
    let states = found.map(|(id, transaction)| {
        ListedTransaction::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(ProducerId(transaction.producer.id))
            .with_transaction_state(text(transaction.status.name()))
    });
    ListTransactionsResponse::default().with_transaction_states(states.collect()).with_unknown_state_filters(unknown)
}
