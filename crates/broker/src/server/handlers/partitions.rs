//! CreatePartitions, ElectLeaders and reassignments: everything about where partitions live, on a broker that is alone.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use tokio::task::block_in_place;

use super::{Refusal, log_failure, refusal, text};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::OFFSETS_TOPIC;

/// Raises partition counts, or only checks whether it could.
pub(crate) fn create_partitions(
    server: &Server,
    peer: &Peer,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut times: HashMap<TopicName, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let results = request.topics.into_iter().filter_map(|topic| {
        let grown = match times.remove(&topic.name)? {
            1 => grow(server, peer, &topic, request.validate_only),
            _ => Err(refusal(ResponseError::InvalidRequest, "the topic is named twice")),
        };
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
    if name == OFFSETS_TOPIC {
        return Err(refusal(ResponseError::InvalidTopicException, "this topic belongs to the broker"));
    }
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
