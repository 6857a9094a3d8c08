//! ACLs and quotas: this broker keeps none, and says so as Kafka does without an authorizer.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsResponse,
    DescribeClientQuotasResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

/// Kafka's words.
const NO_AUTHORIZER: StrBytes = StrBytes::from_static_str("No Authorizer is configured on the broker");

pub(crate) fn describe_acls() -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(NO_AUTHORIZER))
}

pub(crate) fn create_acls(request: &CreateAclsRequest) -> CreateAclsResponse {
    let refused = || {
        AclCreationResult::default()
            .with_error_code(ResponseError::SecurityDisabled.code())
            .with_error_message(Some(NO_AUTHORIZER))
    };
    CreateAclsResponse::default().with_results(request.creations.iter().map(|_| refused()).collect())
}

pub(crate) fn delete_acls(request: &DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = || {
        DeleteAclsFilterResult::default()
            .with_error_code(ResponseError::SecurityDisabled.code())
            .with_error_message(Some(NO_AUTHORIZER))
    };
    DeleteAclsResponse::default().with_filter_results(request.filters.iter().map(|_| refused()).collect())
}

/// There are no quotas, so whatever is asked for, nothing is found.
pub(crate) fn describe_client_quotas(server: &Server, peer: &Peer) -> DescribeClientQuotasResponse {
    let response = DescribeClientQuotasResponse::default().with_error_message(None);
    if server.allows(peer, Operation::DescribeConfigs, Resource::Cluster) {
        return response.with_entries(Some(Vec::new()));
    }
    response.with_error_code(ResponseError::ClusterAuthorizationFailed.code()).with_entries(None)
}
