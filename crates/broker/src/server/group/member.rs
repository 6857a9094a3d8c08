//! What goes into a group's state machine, what comes out of it, and its members.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::members::Members;

/// Stands for a request whose answer is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// A request to join.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// The id the member was given before; `None` for a newcomer.
    pub(crate) member_id: Option<String>,
    /// The name of a static member, which outlives its connections (KIP-345).
    pub(crate) instance_id: Option<String>,
    /// What a newcomer is called.
    pub(crate) new_id: String,
    /// How a newcomer is let in.
    pub(crate) admission: Admission,
    /// Without a sign of life for this long a member is removed.
    pub(crate) session_timeout: Duration,
    /// How long the others wait for this member to join again.
    pub(crate) rebalance_timeout: Duration,
    /// The client's name for itself, already cut to a bearable length.
    pub(crate) client_id: String,
    /// Where it comes from.
    pub(crate) client_host: String,
    /// `consumer` for consumers.
    pub(crate) protocol_type: String,
    /// Assignors by preference, each with the member's subscription.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// What a static member that came back as leader is told.
    pub(crate) return_of_leader: ReturnOfLeader,
}

/// What a static member is told that comes back into a settled group as its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReturnOfLeader {
    /// That another leads, so that it assigns nothing anew (JoinGroup before version 9).
    AsFollower,
    /// That it leads and has nothing to assign (KIP-814).
    SkipAssignment,
}

/// Who sends a request, as far as it says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) generation: i32,
}

/// How a newcomer is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// At once (JoinGroup before version 4).
    AtOnce,
    /// It is told its id and has to come back with it, so that a lost answer leaves no ghost
    /// (KIP-394).
    ByIdFirst,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// Whether the leader has nothing to assign.
    pub(crate) skip_assignment: bool,
    /// Every member with its subscription; empty unless this is the leader.
    pub(crate) members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) subscription: Bytes,
}

/// A member's assignment, and what it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// A refused join and the id to come back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) error: ResponseError,
    pub(crate) member_id: String,
}

/// An answer to a request that waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Join(Ticket, Result<Joined, JoinRefused>),
    Sync(Ticket, Result<Synced, ResponseError>),
}

/// A member, and what it waits for.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(crate) session_ends: Instant,
    pub(crate) joining: Option<Ticket>,
    pub(crate) syncing: Option<Ticket>,
    /// It has joined this generation and not asked for its assignment yet.
    pub(crate) owes_sync: bool,
}

impl Member {
    /// Enters a join under `id`.
    pub(crate) fn new(now: Instant, id: String, join: Join) -> Self {
        Self {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            session_ends: now + join.session_timeout,
            joining: None,
            syncing: None,
            owes_sync: false,
        }
    }

    pub(crate) fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(crate) fn bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|(name, data)| name.len() + data.len());
        let names = [&self.id, &self.client_id, &self.client_host].map(String::len).into_iter().sum::<usize>();
        let instance = self.instance_id.as_ref().map_or(0, String::len);
        names + instance + self.assignment.len() + protocols.sum::<usize>()
    }

    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(crate) fn subscription(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    pub(crate) fn alive(&mut self, now: Instant) {
        self.session_ends = now + self.session_timeout;
    }
}

/// A member as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberView {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

/// A group as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupView {
    /// Kafka's word for where it is in its life.
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<MemberView>,
}

/// Every member votes for the first of its assignors that all support; most votes win.
pub(crate) fn elect_protocol(members: &Members) -> String {
    let of_first = members.iter().next().map_or(&[][..], |first| &first.protocols);
    let names = of_first.iter().map(|(name, _)| &**name);
    let shared: Vec<&str> = names.filter(|name| members.iter().all(|m| m.supports(name))).collect();
    let mut votes: Vec<(&str, usize)> = Vec::new();
    for member in members.iter() {
        let Some((vote, _)) = member.protocols.iter().find(|(name, _)| shared.contains(&&**name)) else {
            continue;
        };
        match votes.iter_mut().find(|(name, _)| name == vote) {
            Some((_, count)) => *count += 1,
            None => votes.push((vote, 1)),
        }
    }
    let most = votes.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let elected = votes.iter().find(|(_, count)| *count == most);
    elected.map_or_else(String::new, |(name, _)| (*name).to_owned())
}
