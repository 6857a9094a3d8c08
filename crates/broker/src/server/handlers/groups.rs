//! ListGroups and DescribeGroups: which groups there are, and who is in them.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsRequest, ListGroupsResponse,
};

use super::text;
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::{EMPTY, GroupView};

/// What nobody is in and nothing is committed for.
const DEAD: &str = "Dead";
/// First version with each group's state, and with a filter by it.
const STATES_VERSION: i16 = 4;
/// Operations are not told.
const NO_OPERATIONS: i32 = i32::MIN;

/// Groups with members, and those that have committed offsets; the ones that the peer may see.
pub(crate) fn list_groups(
    server: &Server,
    peer: &Peer,
    request: &ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let mut groups: BTreeMap<String, (&str, String)> =
        server.offsets.groups().into_iter().map(|name| (name, (EMPTY, String::new()))).collect();
    groups.extend(server.groups.list().into_iter().map(|(name, state, protocol_type)| (name, (state, protocol_type))));
    let wanted = &request.states_filter;
    let is_wanted = |state: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(state));
    let may_see = |name: &str| {
        server.allows(peer, Operation::Describe, Resource::Cluster)
            || server.allows(peer, Operation::Describe, Resource::Group(name))
    };
    let shown = groups.into_iter().filter(|(name, (state, _))| is_wanted(state) && may_see(name));
    let listed = shown.map(|(name, (state, protocol_type))| {
        let group = ListedGroup::default().with_group_id(GroupId(text(name))).with_protocol_type(text(protocol_type));
        if version >= STATES_VERSION { group.with_group_state(text(state)) } else { group }
    });
    ListGroupsResponse::default().with_groups(listed.collect())
}

/// The named groups with their members.
pub(crate) fn describe_groups(server: &Server, peer: &Peer, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        if !server.allows(peer, Operation::Describe, Resource::Group(&id)) {
            return DescribedGroup::default()
                .with_error_code(ResponseError::GroupAuthorizationFailed.code())
                .with_group_id(id)
                .with_authorized_operations(NO_OPERATIONS);
        }
        let view = server.groups.view(&id).unwrap_or_else(|| {
            let state = if server.offsets.all(&id).is_empty() { DEAD } else { EMPTY };
            GroupView { state, protocol_type: String::new(), protocol: String::new(), members: Vec::new() }
        });
        described(id, view)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn described(id: GroupId, view: GroupView) -> DescribedGroup {
    let members = view.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(member.id))
            .with_client_id(text(member.client_id))
            .with_client_host(text(member.client_host))
            .with_member_metadata(member.subscription)
            .with_member_assignment(member.assignment)
    });
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(text(view.state))
        .with_protocol_type(text(view.protocol_type))
        .with_protocol_data(text(view.protocol))
        .with_members(members.collect())
        .with_authorized_operations(NO_OPERATIONS)
}
