//! ListGroups, DescribeGroups and DeleteGroups: which groups there are, and who is in them.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::repeats::once_each;
use super::{code, text};
use crate::server::Server;
use crate::server::access::{OPERATIONS_NOT_TOLD, Operation, Peer, Resource, authorized_operations};
use crate::server::group::{EMPTY, GroupView};

/// What nobody is in and nothing is committed for.
const DEAD: &str = "Dead";
/// The group protocol spoken here; the other one is `consumer` (KIP-848).
const CLASSIC: &str = "classic";
/// First version with each group's state, and with a filter by it.
const STATES_VERSION: i16 = 4;
/// First version with each group's type, and with a filter by it.
const TYPES_VERSION: i16 = 5;
/// First version of DescribeGroups in which a group may be missing; before, it is dead.
const MISSING_VERSION: i16 = 6;

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
    let may_see = |name: &str| {
        server.allows(peer, Operation::Describe, Resource::Cluster)
            || server.allows(peer, Operation::Describe, Resource::Group(name))
    };
    let states = Filter::of(&request.states_filter);
    let types = Filter::of(&request.types_filter);
    let wanted = |state: &str| states.lets_through(state) && types.lets_through(CLASSIC);
    let shown = groups.into_iter().filter(|(name, (state, _))| wanted(state) && may_see(name));
    let listed = shown.map(|(name, (state, protocol_type))| {
        let group = ListedGroup::default().with_group_id(GroupId(text(name))).with_protocol_type(text(protocol_type));
        let group = if version >= STATES_VERSION { group.with_group_state(text(state)) } else { group };
        if version >= TYPES_VERSION { group.with_group_type(text(CLASSIC)) } else { group }
    });
    ListGroupsResponse::default().with_groups(listed.collect())
}

/// Words in lower case; an empty filter lets everything through.
struct Filter(HashSet<String>);

impl Filter {
    fn of(words: &[StrBytes]) -> Self {
        Self(words.iter().map(|word| word.to_ascii_lowercase()).collect())
    }

    fn lets_through(&self, what: &str) -> bool {
        self.0.is_empty() || self.0.contains(&what.to_ascii_lowercase())
    }
}

/// The named groups with their members.
pub(crate) fn describe_groups(
    server: &Server,
    peer: &Peer,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let tells_operations = request.include_authorized_operations;
    let groups = once_each(request.groups).map(|id| {
        let resource = Resource::Group(&id);
        if !server.allows(peer, Operation::Describe, resource) {
            return DescribedGroup::default()
                .with_error_code(ResponseError::GroupAuthorizationFailed.code())
                .with_group_id(id)
                .with_authorized_operations(OPERATIONS_NOT_TOLD);
        }
        let operations = match tells_operations {
            true => authorized_operations(&*server.config.authorizer, &peer.principal, resource),
            false => OPERATIONS_NOT_TOLD,
        };
        let view = server.groups.view(&id).or_else(|| committed_only(server, &id));
        let group = match view {
            Some(view) => described(view),
            None => missing(&id, version),
        };
        group.with_group_id(id).with_authorized_operations(operations)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

/// A group that nobody ever joined: consumers that assign their partitions themselves.
fn committed_only(server: &Server, id: &str) -> Option<GroupView> {
    let view = GroupView { state: EMPTY, protocol_type: String::new(), protocol: String::new(), members: Vec::new() };
    server.offsets.has_group(id).then_some(view)
}

fn missing(id: &GroupId, version: i16) -> DescribedGroup {
    let group = DescribedGroup::default().with_group_state(text(DEAD));
    match version >= MISSING_VERSION {
        true => group
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_error_message(Some(text(format!("Group {} not found.", id.as_str())))),
        false => group,
    }
}

fn described(view: GroupView) -> DescribedGroup {
    let members = view.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(member.id))
            .with_group_instance_id(member.instance_id.map(text))
            .with_client_id(text(member.client_id))
            .with_client_host(text(member.client_host))
            .with_member_metadata(member.subscription)
            .with_member_assignment(member.assignment)
    });
    DescribedGroup::default()
        .with_group_state(text(view.state))
        .with_protocol_type(text(view.protocol_type))
        .with_protocol_data(text(view.protocol))
        .with_members(members.collect())
}

/// Forgets groups that nobody is in, with what they have committed.
pub(crate) fn delete_groups(server: &Server, peer: &Peer, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = once_each(request.groups_names).map(|id| {
        let deleted = match server.allows(peer, Operation::Delete, Resource::Group(&id)) {
            true => server.groups.delete(&id, server.now_ms()),
            false => Err(ResponseError::GroupAuthorizationFailed),
        };
        if deleted.is_ok() {
            tracing::info!(group = %id.as_str(), "group deleted");
        }
        DeletableGroupResult::default().with_error_code(code(deleted)).with_group_id(id)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
