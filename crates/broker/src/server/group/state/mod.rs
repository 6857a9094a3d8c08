//! One consumer group of the classic protocol, as a state machine without clock, task or socket.
//!
//! Members that have to wait for each other hand in a [`Ticket`]; the answers come out of
//! [`Group::take_answers`], and what has to outlive the process out of [`Group::take_unsaved`]. Time is
//! an argument. The states are those of Apache Kafka's group coordinator: empty, preparing (members
//! join), completing (waiting for the leader's assignment), stable.

mod join;
mod stored;
mod sync;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::member::{
    Answer, Caller, GroupView, JoinRefused, Joined, JoinedMember, Member, MemberView, Synced, Ticket, elect_protocol,
};
use super::members::Members;
use super::subscription;

pub(crate) use sync::{Commit, Sync};

/// Kafka's word for a group without members.
pub(crate) const EMPTY: &str = "Empty";
/// The protocol type of consumers; only their subscriptions can be read.
const CONSUMER: &str = "consumer";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    Preparing { earliest: Instant, latest: Instant },
    Completing,
    Stable,
}

/// How a group treats its members.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long an empty group waits for further members.
    pub(crate) initial_delay: Duration,
    /// Members a group may have, newcomers on their way included.
    pub(crate) max_members: usize,
}

/// A consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    rules: Rules,
    phase: Phase,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    members: Members,
    /// Newcomers that were told their id, and until when they may come.
    pending: HashMap<String, Instant>,
    /// Until when every member must have asked for its assignment.
    sync_until: Option<Instant>,
    answers: Vec<Answer>,
    is_unsaved: bool,
    /// When it was last saved, Unix milliseconds: for an empty group, since when it is empty.
    saved_ms: i64,
}

impl Group {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: Members::default(),
            pending: HashMap::new(),
            sync_until: None,
            answers: Vec::new(),
            is_unsaved: false,
            saved_ms: 0,
        }
    }

    /// Whether nobody is in the group nor on the way into it.
    pub(crate) fn is_vacant(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// Whether nobody ever was in the group.
    pub(crate) fn is_unused(&self) -> bool {
        self.is_vacant() && self.generation == 0
    }

    /// Whether it has members; newcomers on their way are none.
    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// Whether its members are consumers.
    pub(crate) fn is_consumer(&self) -> bool {
        self.protocol_type == CONSUMER
    }

    /// Kafka's word for where the group is in its life.
    pub(crate) fn state(&self) -> &'static str {
        match self.phase {
            Phase::Empty => EMPTY,
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The group as others may see it; as in Kafka, subscriptions and assignments are shown once they are settled.
    pub(crate) fn view(&self) -> GroupView {
        let is_settled = self.phase == Phase::Stable;
        let settled = |bytes: Bytes| if is_settled { bytes } else { Bytes::new() };
        let member = |m: &Member| MemberView {
            id: m.id.clone(),
            instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            subscription: settled(m.subscription(&self.protocol)),
            assignment: settled(m.assignment.clone()),
        };
        GroupView {
            state: self.state(),
            protocol_type: self.protocol_type.clone(),
            protocol: if is_settled { self.protocol.clone() } else { String::new() },
            members: self.members.iter().map(member).collect(),
        }
    }

    /// The topics its members subscribed to; `None` when nobody but the members can tell.
    pub(crate) fn subscribed_topics(&self) -> Option<HashSet<String>> {
        if self.members.is_empty() {
            return Some(HashSet::new());
        }
        if !self.is_consumer() {
            return None;
        }
        let mut topics = HashSet::new();
        for member in self.members.iter() {
            let (_, metadata) = member.protocols.first()?;
            topics.extend(subscription::topics(metadata)?);
        }
        Some(topics)
    }

    /// Bytes of ids, subscriptions and assignments held.
    pub(crate) fn bytes(&self) -> usize {
        self.members.iter().map(Member::bytes).sum()
    }

    /// Answers that have become due, in order.
    pub(crate) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// When [`Group::tick`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.iter().filter(|m| !m.waits()).map(|m| m.session_ends);
        let phase = match self.phase {
            Phase::Preparing { earliest, latest } if self.everybody_joined() => Some(earliest.min(latest)),
            Phase::Preparing { latest, .. } => Some(latest),
            Phase::Empty | Phase::Completing | Phase::Stable => None,
        };
        sessions.chain(self.pending.values().copied()).chain(phase).chain(self.sync_until).min()
    }

    /// Removes members and newcomers whose time is up and ends phases that have lasted too long.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.pending.retain(|_, until| *until > now);
        let mut expired: HashSet<String> =
            self.members.iter().filter(|m| !m.waits() && m.session_ends <= now).map(|m| m.id.clone()).collect();
        if self.sync_until.is_some_and(|until| until <= now) {
            self.sync_until = None;
            expired.extend(self.members.iter().filter(|m| m.owes_sync).map(|m| m.id.clone()));
        }
        if !expired.is_empty() {
            self.remove(now, &expired);
        }
        self.complete_when_ready(now);
    }

    /// Puts every deadline off: for so long nobody was served.
    pub(crate) fn put_off(&mut self, by: Duration) {
        self.members.iter_mut().for_each(|member| member.session_ends += by);
        self.pending.values_mut().for_each(|until| *until += by);
        self.sync_until = self.sync_until.map(|until| until + by);
        if let Phase::Preparing { latest, .. } = &mut self.phase {
            *latest += by;
        }
    }

    /// The request behind a ticket is gone with its connection: its member lives on only as long
    /// as its session.
    pub(crate) fn abandon(&mut self, now: Instant, ticket: Ticket) {
        for member in self.members.iter_mut() {
            if member.joining == Some(ticket) {
                member.joining = None;
                member.alive(now);
            }
            if member.syncing == Some(ticket) {
                member.syncing = None;
                member.alive(now);
            }
        }
    }

    fn describe(&self, id: &str) -> Joined {
        let row = |m: &Member| JoinedMember {
            id: m.id.clone(),
            instance_id: m.instance_id.clone(),
            subscription: m.subscription(&self.protocol),
        };
        Joined {
            member_id: id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            skip_assignment: false,
            members: if id == self.leader { self.members.iter().map(row).collect() } else { Vec::new() },
        }
    }

    fn begin_rebalance(&mut self, now: Instant) {
        self.sync_until = None;
        for member in self.members.iter_mut() {
            member.owes_sync = false;
            if let Some(ticket) = member.syncing.take() {
                member.session_ends = now + member.session_timeout;
                let refused = Err(ResponseError::RebalanceInProgress);
                self.answers.push(Answer::Sync(ticket, refused));
            }
        }
        let latest = now + self.longest_rebalance_timeout();
        let earliest = match self.phase {
            Phase::Empty => (now + self.rules.initial_delay).min(latest),
            _ => now,
        };
        self.phase = Phase::Preparing { earliest, latest };
    }

    fn longest_rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.iter().map(|m| m.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    fn everybody_joined(&self) -> bool {
        self.pending.is_empty() && self.members.iter().all(|m| m.joining.is_some())
    }

    /// Ends the preparation when all are there, or when its time is up: then without the members that
    /// did not come. Static ones stay in, they may be restarting; their session decides.
    fn complete_when_ready(&mut self, now: Instant) {
        let Phase::Preparing { earliest, latest } = self.phase else {
            return;
        };
        if now < latest && (now < earliest || !self.everybody_joined()) {
            return;
        }
        self.members.retain(|m| m.joining.is_some() || m.instance_id.is_some());
        if self.members.iter().any(|m| m.joining.is_some()) || self.members.is_empty() {
            self.complete(now);
        } else {
            self.phase = Phase::Preparing { earliest: now, latest: now + self.longest_rebalance_timeout() };
        }
    }

    /// Begins the next generation with the members that are there.
    fn complete(&mut self, now: Instant) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.sync_until = None;
        let first = self.members.iter().find(|m| m.joining.is_some()).map(|m| m.id.clone());
        let Some(first) = first else {
            self.phase = Phase::Empty;
            self.leader.clear();
            self.protocol.clear();
            self.is_unsaved = true;
            return;
        };
        if !self.members.iter().any(|m| m.id == self.leader && m.joining.is_some()) {
            self.leader = first;
        }
        self.protocol = elect_protocol(&self.members);
        self.phase = Phase::Completing;
        self.sync_until = Some(now + self.longest_rebalance_timeout());
        let mut due = Vec::with_capacity(self.members.len());
        for member in self.members.iter_mut() {
            member.assignment = Bytes::new();
            member.owes_sync = true;
            member.alive(now);
            due.extend(member.joining.take().map(|ticket| (ticket, member.id.clone())));
        }
        for (ticket, id) in due {
            let joined = self.describe(&id);
            self.answers.push(Answer::Join(ticket, Ok(joined)));
        }
    }

    /// Whether `caller` is who it says.
    fn check_identity(&self, caller: Caller<'_>) -> Result<(), ResponseError> {
        if let Some(instance_id) = caller.instance_id {
            let known = self.members.of_instance(instance_id).ok_or(ResponseError::UnknownMemberId)?;
            if known.id != caller.member_id {
                return Err(ResponseError::FencedInstanceId);
            }
        }
        match self.members.contains(caller.member_id) {
            true => Ok(()),
            false => Err(ResponseError::UnknownMemberId),
        }
    }

    fn check_member(&self, caller: Caller<'_>) -> Result<(), ResponseError> {
        self.check_identity(caller)?;
        match caller.generation == self.generation {
            true => Ok(()),
            false => Err(ResponseError::IllegalGeneration),
        }
    }

    fn remove(&mut self, now: Instant, ids: &HashSet<String>) {
        for id in ids {
            self.turn_away(id, ResponseError::UnknownMemberId);
        }
        self.members.retain(|m| !ids.contains(&m.id));
        if self.members.is_empty() {
            self.complete(now);
        } else if matches!(self.phase, Phase::Preparing { .. }) {
            self.complete_when_ready(now);
        } else {
            self.begin_rebalance(now);
        }
    }

    /// Answers what a member waits for.
    fn turn_away(&mut self, id: &str, error: ResponseError) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        if let Some(ticket) = member.joining.take() {
            let refused = JoinRefused { error, member_id: id.to_owned() };
            self.answers.push(Answer::Join(ticket, Err(refused)));
        }
        if let Some(ticket) = member.syncing.take() {
            self.answers.push(Answer::Sync(ticket, Err(error)));
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced { protocol_type: self.protocol_type.clone(), protocol: self.protocol.clone(), assignment }
    }
}

#[cfg(test)]
mod tests;
