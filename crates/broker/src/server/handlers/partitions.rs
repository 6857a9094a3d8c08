//! CreatePartitions, ElectLeaders and reassignments: everything about where partitions live, on a broker that is alone.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId, CreatePartitionsRequest,
    CreatePartitionsResponse, ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsResponse,
};
use tokio::task::block_in_place;

use super::repeats::Mentions;
use super::{Refusal, log_failure, refusal, refuse_internal, text};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

/// Raises partition counts, or only checks whether it could.
pub(crate) fn create_partitions(
    server: &Server,
    peer: &Peer,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut mentions: Mentions<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let results = request.topics.into_iter().filter_map(|topic| {
        let grown = mentions.take(&topic.name)?.and_then(|()| grow(server, peer, &topic, request.validate_only));
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        Some(match grown {
            Ok(()) => result.with_error_message(None),
            Err((code, message)) => result.with_error_code(code).with_error_message(message),
        })
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn grow(server: &Server, peer: &Peer, topic: &CreatePartitionsTopic, check_only: bool) -> Result<(), Refusal> {
    let name: &str = &topic.name;
    if !server.allows(peer, Operation::Alter, Resource::Topic(name)) {
        return Err((ResponseError::TopicAuthorizationFailed.code(), None));
    }
    refuse_internal(name)?;
    let present = server.store.check_growth(name, topic.count).map_err(|error| log_failure(&error))?;
    if let Some(assignments) = &topic.assignments {
        let added = usize::try_from(topic.count - present).unwrap_or(0);
        let ours = assignments.iter().all(|a| is_ours(server, &a.broker_ids));
        if assignments.len() != added || !ours {
            let reason = format!("an assignment must name this broker (id {}) for each of {added}", *server.node_id());
            return Err((ResponseError::InvalidReplicaAssignment.code(), Some(text(reason))));
        }
    }
    if check_only {
        return Ok(());
    }
    block_in_place(|| server.store.create_partitions(name, topic.count)).map_err(|error| log_failure(&error))?;
    tracing::info!(topic = name, partitions = topic.count, by = %peer.address, "partitions added");
    Ok(())
}

fn is_ours(server: &Server, replicas: &[BrokerId]) -> bool {
    replicas == [server.node_id()]
}

/// Preferred leader, the only kind of election that makes sense here; and the other.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

/// Every partition is led by its only replica, so nothing is ever to be elected.
pub(crate) fn elect_leaders(server: &Server, peer: &Peer, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let response = ElectLeadersResponse::default();
    if !server.allows(peer, Operation::Alter, Resource::Cluster) {
        return response.with_error_code(ResponseError::ClusterAuthorizationFailed.code());
    }
    if !ELECTION_TYPES.contains(&request.election_type) {
        return response.with_error_code(ResponseError::InvalidRequest.code());
    }
    // Asked for all, Kafka names those only in which something changed.
    let named = request.topic_partitions.unwrap_or_default();
    let results = named.into_iter().map(|topic| {
        let results = topic.partitions.iter().map(|index| {
            let result = PartitionResult::default().with_partition_id(*index);
            match server.store.partition(&topic.topic, *index) {
                Some(_) => result
                    .with_error_code(ResponseError::ElectionNotNeeded.code())
                    .with_error_message(Some("its only replica leads it".into())),
                None => result
                    .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                    .with_error_message(Some("no such partition".into())),
            }
        });
        ReplicaElectionResult::default().with_partition_result(results.collect()).with_topic(topic.topic)
    });
    response.with_replica_election_results(results.collect())
}

/// A partition can be assigned to this broker, where it is, and nowhere else.
pub(crate) fn alter_reassignments(
    server: &Server,
    peer: &Peer,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let response = AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_allow_replication_factor_change(request.allow_replication_factor_change);
    if !server.allows(peer, Operation::Alter, Resource::Cluster) {
        return response.with_error_code(ResponseError::ClusterAuthorizationFailed.code());
    }
    let topics = request.topics.into_iter().map(|topic| {
        let results = topic.partitions.iter().map(|wanted| {
            let result = ReassignablePartitionResponse::default().with_partition_index(wanted.partition_index);
            match reassign(server, &topic.name, wanted) {
                Ok(()) => result.with_error_message(None),
                Err((code, message)) => result.with_error_code(code).with_error_message(message),
            }
        });
        ReassignableTopicResponse::default().with_partitions(results.collect()).with_name(topic.name)
    });
    response.with_responses(topics.collect())
}

fn reassign(server: &Server, topic: &str, wanted: &ReassignablePartition) -> Result<(), Refusal> {
    if server.store.partition(topic, wanted.partition_index).is_none() {
        return Err(refusal(ResponseError::UnknownTopicOrPartition, "no such partition"));
    }
    match &wanted.replicas {
        None => Err(refusal(ResponseError::NoReassignmentInProgress, "no partition ever moves here")),
        Some(replicas) if is_ours(server, replicas) => Ok(()),
        Some(_) => {
            let reason = format!("this broker (id {}) is alone: no partition can be elsewhere", *server.node_id());
            Err((ResponseError::InvalidReplicaAssignment.code(), Some(text(reason))))
        }
    }
}

/// No partition is ever on its way.
pub(crate) fn list_reassignments(server: &Server, peer: &Peer) -> ListPartitionReassignmentsResponse {
    let response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    if server.allows(peer, Operation::Describe, Resource::Cluster) {
        return response;
    }
    response.with_error_code(ResponseError::ClusterAuthorizationFailed.code())
}
