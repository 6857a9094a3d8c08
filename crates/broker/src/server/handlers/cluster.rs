//! ApiVersions, DescribeCluster and FindCoordinator.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource, authorized_operations};
use crate::server::api::APIS;

const GROUP_KEY: i8 = 0;
const TRANSACTION_KEY: i8 = 1;
const BROKERS: i8 = 1;
const NO_NODE: i32 = -1;

/// What this broker speaks.
pub(crate) fn api_versions() -> ApiVersionsResponse {
    let ranges = APIS.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.advertised_min)
            .with_max_version(api.max)
    });
    ApiVersionsResponse::default().with_api_keys(ranges.collect())
}

/// The answer to an ApiVersions request of a version from the future (KIP-511): the client asks
/// again with one of these.
pub(crate) fn unsupported_api_versions() -> ApiVersionsResponse {
    api_versions().with_error_code(ResponseError::UnsupportedVersion.code())
}

/// The cluster: this broker.
pub(crate) fn describe_cluster(
    server: &Server,
    peer: &Peer,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let mut response = DescribeClusterResponse::default()
        .with_endpoint_type(request.endpoint_type)
        .with_cluster_id(text(server.store.cluster_id()));
    if request.endpoint_type != BROKERS {
        return response
            .with_error_code(ResponseError::MismatchedEndpointType.code())
            .with_error_message(Some("this listener is for clients of the broker".into()))
            .with_endpoint_type(BROKERS);
    }
    if request.include_cluster_authorized_operations {
        let bits = authorized_operations(&*server.config.authorizer, &peer.principal, Resource::Cluster);
        response = response.with_cluster_authorized_operations(bits);
    }
    let (host, port) = &server.advertised;
    let broker = DescribeClusterBroker::default()
        .with_broker_id(server.node_id())
        .with_host(text(host))
        .with_port(i32::from(*port));
    response.with_controller_id(server.node_id()).with_brokers(vec![broker])
}

/// This broker coordinates every group and every transaction.
pub(crate) fn find_coordinator(
    server: &Server,
    peer: &Peer,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    if version >= 4 {
        let keys = request.coordinator_keys.into_iter();
        let found = keys.map(|key| coordinator(server, peer, request.key_type, key));
        return FindCoordinatorResponse::default().with_coordinators(found.collect());
    }
    let found = coordinator(server, peer, request.key_type, request.key);
    let response = FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port);
    if version >= 1 { response.with_error_message(found.error_message) } else { response }
}

fn coordinator(server: &Server, peer: &Peer, key_type: i8, key: StrBytes) -> Coordinator {
    let refusal = match key_type {
        GROUP_KEY if !server.allows(peer, Operation::Describe, Resource::Group(&key)) => {
            Some((ResponseError::GroupAuthorizationFailed, None))
        }
        GROUP_KEY => None,
        TRANSACTION_KEY if !server.allows(peer, Operation::Describe, Resource::TransactionalId(&key)) => {
            Some((ResponseError::TransactionalIdAuthorizationFailed, None))
        }
        TRANSACTION_KEY => None,
        _ => Some((ResponseError::InvalidRequest, None)),
    };
    let coordinator = Coordinator::default().with_key(key);
    match refusal {
        None => {
            let (host, port) = &server.advertised;
            coordinator
                .with_error_message(None)
                .with_node_id(server.node_id())
                .with_host(text(host))
                .with_port(i32::from(*port))
        }
        Some((error, message)) => coordinator
            .with_node_id(NO_NODE.into())
            .with_port(NO_NODE)
            .with_error_code(error.code())
            .with_error_message(message),
    }
}
