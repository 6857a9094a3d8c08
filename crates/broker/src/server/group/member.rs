//! What goes into a group's state machine, what comes out of it, and its members.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;

/// Stands for a request whose answer is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// A request to join.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// The id the member was given before; `None` for a newcomer.
    pub(crate) member_id: Option<String>,
    /// What a newcomer is called.
    pub(crate) new_id: String,
    /// How a newcomer is let in.
    pub(crate) admission: Admission,
    /// Without a sign of life for this long a member is removed.
    pub(crate) session_timeout: Duration,
    /// How long the others wait for this member to join again.
    pub(crate) rebalance_timeout: Duration,
    /// `consumer` for consumers.
    /// The client's name for itself, already cut to a bearable length.
    pub(crate) client_id: String,
    /// Where it comes from.
    pub(crate) client_host: String,
    pub(crate) protocol_type: String,
    /// Assignors by preference, each with the member's subscription.
    pub(crate) protocols: Vec<(String, Bytes)>,
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
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// Every member with its subscription; empty unless this is the leader.
    pub(crate) members: Vec<(String, Bytes)>,
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
    Sync(Ticket, Result<Bytes, ResponseError>),
}

/// A member, and what it waits for.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(crate) session_ends: Instant,
    pub(crate) joining: Option<Ticket>,
    pub(crate) syncing: Option<Ticket>,
}

impl Member {
    pub(crate) fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(crate) fn bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|(name, data)| name.len() + data.len());
        self.id.len() + self.client_id.len() + self.client_host.len() + self.assignment.len() + protocols.sum::<usize>()
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
pub(crate) fn elect_protocol(members: &[Member]) -> String {
    let shared = |name: &str| members.iter().all(|m| m.supports(name));
    let mut votes: Vec<(&str, usize)> = Vec::new();
    for member in members {
        let Some((vote, _)) = member.protocols.iter().find(|(name, _)| shared(name)) else {
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
