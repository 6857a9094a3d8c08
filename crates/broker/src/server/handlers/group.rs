//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the classic group protocol.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use super::{code, text};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::{Admission, Join, JoinRefused, Joined};

const NO_GENERATION: i32 = -1;
/// First version whose newcomers are told their id before they are let in (KIP-394).
const ID_FIRST_VERSION: i16 = 4;
/// Bytes of a client's name that become part of its member id.
const MAX_CLIENT_ID_BYTES: usize = 128;

/// Joins a group; the answer comes with the next generation.
pub(crate) async fn join(
    server: &Server,
    peer: &Peer,
    request: JoinGroupRequest,
    from: (i16, Option<String>),
) -> JoinGroupResponse {
    let (version, client_id) = from;
    let group = request.group_id.to_string();
    let joined = match may_read(server, peer, &group) {
        Ok(()) => {
            let join = join_of(server, peer, request, version, client_id);
            server.groups.join(&group, join).await
        }
        Err(error) => Err(JoinRefused { error, member_id: request.member_id.to_string() }),
    };
    match joined {
        Ok(joined) => {
            tracing::debug!(group, member = joined.member_id, generation = joined.generation, "joined");
            accepted(joined)
        }
        Err(refused) => JoinGroupResponse::default()
            .with_error_code(refused.error.code())
            .with_generation_id(NO_GENERATION)
            .with_protocol_name(Some(text("")))
            .with_member_id(text(refused.member_id)),
    }
}

fn may_read(server: &Server, peer: &Peer, group: &str) -> Result<(), ResponseError> {
    match server.allows(peer, Operation::Read, Resource::Group(group)) {
        true => Ok(()),
        false => Err(ResponseError::GroupAuthorizationFailed),
    }
}

fn join_of(server: &Server, peer: &Peer, request: JoinGroupRequest, version: i16, client_id: Option<String>) -> Join {
    let session_timeout = millis(request.session_timeout_ms);
    let name: String = client_id.unwrap_or_default();
    let name = name.get(..name.floor_char_boundary(MAX_CLIENT_ID_BYTES)).unwrap_or_default();
    let protocols = request.protocols.into_iter();
    Join {
        member_id: Some(request.member_id.to_string()).filter(|id| !id.is_empty()),
        new_id: format!("{name}-{}", server.unique_suffix()),
        admission: match version >= ID_FIRST_VERSION {
            true => Admission::ByIdFirst,
            false => Admission::AtOnce,
        },
        session_timeout,
        // Version 0 knows only one timeout.
        rebalance_timeout: match version {
            0 => session_timeout,
            _ => millis(request.rebalance_timeout_ms),
        },
        client_id: name.to_owned(),
        // As Java prints an address.
        client_host: format!("/{}", peer.address.ip()),
        protocol_type: request.protocol_type.to_string(),
        // Copied: a slice would keep the whole request alive as long as the member.
        protocols: protocols.map(|p| (p.name.to_string(), Bytes::copy_from_slice(&p.metadata))).collect(),
    }
}

fn millis(number: i32) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

fn accepted(joined: Joined) -> JoinGroupResponse {
    let members = joined
        .members
        .into_iter()
        .map(|(id, metadata)| JoinGroupResponseMember::default().with_member_id(text(id)).with_metadata(metadata));
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(members.collect())
}

/// Gets a member its assignment once the leader has brought it.
pub(crate) async fn sync(server: &Server, peer: &Peer, request: SyncGroupRequest) -> SyncGroupResponse {
    let group = request.group_id.to_string();
    let synced = match may_read(server, peer, &group) {
        Err(error) => Err(error),
        Ok(()) => {
            let assignments = request.assignments.into_iter();
            let assignments =
                assignments.map(|a| (a.member_id.to_string(), Bytes::copy_from_slice(&a.assignment))).collect();
            let from = (&*request.member_id, request.generation_id);
            server.groups.sync(&group, from, assignments).await
        }
    };
    match synced {
        Ok(assignment) => SyncGroupResponse::default().with_assignment(assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

/// A member's sign of life.
pub(crate) fn heartbeat(server: &Server, peer: &Peer, request: &HeartbeatRequest) -> HeartbeatResponse {
    let group = &*request.group_id;
    let alive = may_read(server, peer, group)
        .and_then(|()| server.groups.heartbeat(group, &request.member_id, request.generation_id));
    HeartbeatResponse::default().with_error_code(code(alive))
}

/// A member goes.
pub(crate) fn leave(server: &Server, peer: &Peer, request: &LeaveGroupRequest) -> LeaveGroupResponse {
    let group = &*request.group_id;
    let left = may_read(server, peer, group).and_then(|()| server.groups.leave(group, &request.member_id));
    LeaveGroupResponse::default().with_error_code(code(left))
}
