//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the classic group protocol.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{code, text};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::group::{Admission, Caller, Join, JoinRefused, Joined, ReturnOfLeader, Sync};

const NO_GENERATION: i32 = -1;
/// First version whose newcomers are told their id before they are let in (KIP-394).
const ID_FIRST_VERSION: i16 = 4;
/// First version of JoinGroup with the protocol type in the answer, and null for no protocol.
const PROTOCOL_TYPE_VERSION: i16 = 7;
/// First version of JoinGroup whose leaders can be told to assign nothing (KIP-814).
const SKIP_VERSION: i16 = 9;
/// First version of SyncGroup with the protocol in request and answer.
const SYNC_PROTOCOL_VERSION: i16 = 5;
/// First version of LeaveGroup for several members.
const BATCH_VERSION: i16 = 3;
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
            let reason = request.reason.as_ref().map(|reason| excerpt(reason));
            tracing::debug!(group, member = %request.member_id.as_str(), reason = reason.unwrap_or_default(), "joins");
            let join = join_of(server, peer, request, version, client_id);
            server.groups.join(&group, join).await
        }
        Err(error) => Err(JoinRefused { error, member_id: request.member_id.to_string() }),
    };
    match joined {
        Ok(joined) => {
            tracing::debug!(group, member = joined.member_id, generation = joined.generation, "joined");
            accepted(joined, version)
        }
        Err(refused) => JoinGroupResponse::default()
            .with_error_code(refused.error.code())
            .with_generation_id(NO_GENERATION)
            .with_protocol_name((version < PROTOCOL_TYPE_VERSION).then(|| text("")))
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
    let client_id = excerpt(&client_id.unwrap_or_default()).to_owned();
    let instance_id = request.group_instance_id.map(|id| id.to_string());
    let name = instance_id.as_deref().map_or(&*client_id, excerpt);
    let protocols = request.protocols.into_iter();
    Join {
        member_id: Some(request.member_id.to_string()).filter(|id| !id.is_empty()),
        new_id: format!("{name}-{}", server.unique_suffix()),
        // A lost answer leaves no ghost of a static member: it comes back under its name.
        admission: match version >= ID_FIRST_VERSION && instance_id.is_none() {
            true => Admission::ByIdFirst,
            false => Admission::AtOnce,
        },
        instance_id,
        session_timeout,
        // Version 0 knows only one timeout.
        rebalance_timeout: match version {
            0 => session_timeout,
            _ => millis(request.rebalance_timeout_ms),
        },
        client_id,
        // As Java prints an address.
        client_host: format!("/{}", peer.address.ip()),
        protocol_type: request.protocol_type.to_string(),
        // Copied: a slice would keep the whole request alive as long as the member.
        protocols: protocols.map(|p| (p.name.to_string(), Bytes::copy_from_slice(&p.metadata))).collect(),
        return_of_leader: match version >= SKIP_VERSION {
            true => ReturnOfLeader::SkipAssignment,
            false => ReturnOfLeader::AsFollower,
        },
    }
}

/// A bearable part of what a client calls itself or says.
fn excerpt(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_CLIENT_ID_BYTES)).unwrap_or_default()
}

fn millis(number: i32) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

fn accepted(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.id))
            .with_group_instance_id(member.instance_id.map(text))
            .with_metadata(member.subscription)
    });
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(members.collect());
    let response = match version >= PROTOCOL_TYPE_VERSION {
        true => response.with_protocol_type(Some(text(joined.protocol_type))),
        false => response,
    };
    match version >= SKIP_VERSION {
        true => response.with_skip_assignment(joined.skip_assignment),
        false => response,
    }
}

fn caller<'a>(member_id: &'a str, instance_id: &'a Option<StrBytes>, generation: i32) -> Caller<'a> {
    Caller { member_id, instance_id: instance_id.as_deref(), generation }
}

/// Gets a member its assignment once the leader has brought it.
pub(crate) async fn sync(server: &Server, peer: &Peer, request: SyncGroupRequest, version: i16) -> SyncGroupResponse {
    let group: &str = &request.group_id;
    let synced = match may_read(server, peer, group) {
        Err(error) => Err(error),
        Ok(()) => {
            let assignments = request.assignments.iter();
            let assignments =
                assignments.map(|a| (a.member_id.to_string(), Bytes::copy_from_slice(&a.assignment))).collect();
            let sync = Sync {
                caller: caller(&request.member_id, &request.group_instance_id, request.generation_id),
                believes: [request.protocol_type.as_deref(), request.protocol_name.as_deref()],
                assignments,
            };
            server.groups.sync(group, sync).await
        }
    };
    match synced {
        Ok(synced) => {
            let response = SyncGroupResponse::default().with_assignment(synced.assignment);
            match version >= SYNC_PROTOCOL_VERSION {
                true => response
                    .with_protocol_type(Some(text(synced.protocol_type)))
                    .with_protocol_name(Some(text(synced.protocol))),
                false => response,
            }
        }
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

/// A member's sign of life.
pub(crate) fn heartbeat(server: &Server, peer: &Peer, request: &HeartbeatRequest) -> HeartbeatResponse {
    let group: &str = &request.group_id;
    let caller = caller(&request.member_id, &request.group_instance_id, request.generation_id);
    let alive = may_read(server, peer, group).and_then(|()| server.groups.heartbeat(group, caller));
    HeartbeatResponse::default().with_error_code(code(alive))
}

/// Members go.
pub(crate) fn leave(server: &Server, peer: &Peer, request: LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let group: &str = &request.group_id;
    let may = may_read(server, peer, group);
    if version < BATCH_VERSION {
        let left = may.and_then(|()| server.groups.leave(group, caller(&request.member_id, &None, NO_GENERATION)));
        return LeaveGroupResponse::default().with_error_code(code(left));
    }
    if let Err(error) = may {
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let members = request.members.into_iter().map(|member| {
        let reason = member.reason.as_ref().map(|reason| excerpt(reason)).unwrap_or_default();
        tracing::debug!(group, member = %member.member_id.as_str(), instance = member.group_instance_id.as_deref(), reason, "leaves");
        let who = caller(&member.member_id, &member.group_instance_id, NO_GENERATION);
        let left = server.groups.leave(group, who);
        MemberResponse::default()
            .with_error_code(code(left))
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
