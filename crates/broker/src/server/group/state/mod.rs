//! One consumer group of the classic protocol, as a state machine without clock, task or socket.
//!
//! Members that have to wait for each other hand in a [`Ticket`]; the answers come out of
//! [`Group::take_answers`]. Time is an argument. The states are those of Apache Kafka's group
//! coordinator: empty, preparing (members join), completing (waiting for the leader's assignment),
//! stable.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::member::{
    Admission, Answer, GroupView, Join, JoinRefused, Joined, Member, MemberView, Ticket, elect_protocol,
};

/// Kafka's word for a group without members.
pub(crate) const EMPTY: &str = "Empty";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    Preparing { earliest: Instant, latest: Instant },
    Completing { latest: Instant },
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
    /// In the order they first joined.
    members: Vec<Member>,
    /// Newcomers that were told their id, and until when they may come.
    pending: HashMap<String, Instant>,
    answers: Vec<Answer>,
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
            members: Vec::new(),
            pending: HashMap::new(),
            answers: Vec::new(),
        }
    }

    /// Whether nobody is in the group nor on the way into it.
    pub(crate) fn is_vacant(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// Kafka's word for where the group is in its life.
    pub(crate) fn state(&self) -> &'static str {
        match self.phase {
            Phase::Empty => EMPTY,
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing { .. } => "CompletingRebalance",
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
            Phase::Preparing { latest, .. } | Phase::Completing { latest } => Some(latest),
            Phase::Empty | Phase::Stable => None,
        };
        sessions.chain(self.pending.values().copied()).chain(phase).min()
    }

    /// A member joins, or joins again. The answer follows by ticket.
    pub(crate) fn join(&mut self, now: Instant, ticket: Ticket, join: Join) {
        let id = join.member_id.clone();
        match self.admit(now, join) {
            Ok(member_id) => self.joined(now, ticket, &member_id),
            Err(refused) => self.answers.push(Answer::Join(
                ticket,
                Err(JoinRefused { member_id: refused.1.or(id).unwrap_or_default(), error: refused.0 }),
            )),
        }
    }

    /// Enters the member (or its new subscription) and begins a rebalance when that changes
    /// something; gives back its id.
    fn admit(&mut self, now: Instant, join: Join) -> Result<String, (ResponseError, Option<String>)> {
        if !self.compatible(&join) {
            return Err((ResponseError::InconsistentGroupProtocol, None));
        }
        let Some(id) = join.member_id.clone() else {
            return self.admit_newcomer(now, join);
        };
        if self.pending.remove(&id).is_some() {
            self.add_member(now, id.clone(), join);
            return Ok(id);
        }
        let is_leader = id == self.leader;
        let Some(member) = self.members.iter_mut().find(|m| m.id == id) else {
            return Err((ResponseError::UnknownMemberId, None));
        };
        let changed = member.protocols != join.protocols;
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.protocols = join.protocols;
        member.alive(now);
        match self.phase {
            Phase::Stable if changed || is_leader => self.begin_rebalance(now),
            Phase::Completing { .. } if changed => self.begin_rebalance(now),
            _ => {}
        }
        Ok(id)
    }

    fn admit_newcomer(&mut self, now: Instant, join: Join) -> Result<String, (ResponseError, Option<String>)> {
        if self.members.len() + self.pending.len() >= self.rules.max_members {
            return Err((ResponseError::GroupMaxSizeReached, None));
        }
        let id = join.new_id.clone();
        match join.admission {
            Admission::AtOnce => {
                self.add_member(now, id.clone(), join);
                Ok(id)
            }
            Admission::ByIdFirst => {
                self.pending.insert(id.clone(), now + join.session_timeout);
                Err((ResponseError::MemberIdRequired, Some(id)))
            }
        }
    }

    fn add_member(&mut self, now: Instant, id: String, join: Join) {
        if self.members.is_empty() {
            self.protocol_type = join.protocol_type;
        }
        self.members.push(Member {
            id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            session_ends: now + join.session_timeout,
            joining: None,
            syncing: None,
        });
        match self.phase {
            Phase::Preparing { earliest, latest } if earliest > now => {
                let earliest = (now + self.rules.initial_delay).min(latest);
                self.phase = Phase::Preparing { earliest, latest };
            }
            Phase::Preparing { .. } => {}
            Phase::Empty | Phase::Completing { .. } | Phase::Stable => self.begin_rebalance(now),
        }
    }

    /// One assignor at least must be understood by all members.
    fn compatible(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return false;
        }
        let mut others = self.members.iter().filter(|m| Some(&m.id) != join.member_id.as_ref()).peekable();
        if others.peek().is_none() {
            return true;
        }
        let others: Vec<_> = others.collect();
        let shared = |name: &str| others.iter().all(|m| m.supports(name));
        join.protocol_type == self.protocol_type && join.protocols.iter().any(|(n, _)| shared(n))
    }

    fn joined(&mut self, now: Instant, ticket: Ticket, id: &str) {
        if !matches!(self.phase, Phase::Preparing { .. }) {
            let joined = self.describe(id);
            self.answers.push(Answer::Join(ticket, Ok(joined)));
            return;
        }
        let member = self.members.iter_mut().find(|m| m.id == id);
        let member = member.expect("only members that were admitted get here");
        if let Some(former) = member.joining.replace(ticket) {
            self.answers.push(Answer::Join(
                former,
                Err(JoinRefused { error: ResponseError::RebalanceInProgress, member_id: id.to_owned() }),
            ));
        }
        self.complete_when_ready(now);
    }

    fn describe(&self, id: &str) -> Joined {
        let subscriptions = |m: &Member| (m.id.clone(), m.subscription(&self.protocol));
        Joined {
            member_id: id.to_owned(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: if id == self.leader { self.members.iter().map(subscriptions).collect() } else { Vec::new() },
        }
    }

    fn begin_rebalance(&mut self, now: Instant) {
        for member in &mut self.members {
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

    fn complete_when_ready(&mut self, now: Instant) {
        if let Phase::Preparing { earliest, latest } = self.phase
            && (now >= latest || (now >= earliest && self.everybody_joined()))
        {
            self.members.retain(|m| m.joining.is_some());
            self.complete(now);
        }
    }

    /// Begins the next generation with the members that are there.
    fn complete(&mut self, now: Instant) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let Some(first) = self.members.first() else {
            self.phase = Phase::Empty;
            self.leader.clear();
            self.protocol.clear();
            return;
        };
        if !self.members.iter().any(|m| m.id == self.leader) {
            self.leader = first.id.clone();
        }
        self.protocol = elect_protocol(&self.members);
        self.phase = Phase::Completing { latest: now + self.longest_rebalance_timeout() };
        let mut due = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            member.assignment = Bytes::new();
            member.alive(now);
            due.extend(member.joining.take().map(|ticket| (ticket, member.id.clone())));
        }
        for (ticket, id) in due {
            let joined = self.describe(&id);
            self.answers.push(Answer::Join(ticket, Ok(joined)));
        }
    }

    /// A member asks for its assignment; the leader brings those of all. The answer follows by
    /// ticket.
    pub(crate) fn sync(&mut self, now: Instant, ticket: Ticket, from: (&str, i32), assignments: Vec<(String, Bytes)>) {
        let (id, generation) = from;
        if let Err(error) = self.check_member(id, generation) {
            self.answers.push(Answer::Sync(ticket, Err(error)));
            return;
        }
        let is_leader = id == self.leader;
        let member = self.members.iter_mut().find(|m| m.id == id);
        let member = member.expect("the member was checked above");
        member.alive(now);
        match self.phase {
            Phase::Stable => {
                let assignment = Ok(member.assignment.clone());
                self.answers.push(Answer::Sync(ticket, assignment));
            }
            Phase::Completing { .. } => {
                if let Some(former) = member.syncing.replace(ticket) {
                    let refused = Err(ResponseError::RebalanceInProgress);
                    self.answers.push(Answer::Sync(former, refused));
                }
                if is_leader {
                    self.distribute(now, assignments);
                }
            }
            Phase::Preparing { .. } | Phase::Empty => {
                let refused = Err(ResponseError::RebalanceInProgress);
                self.answers.push(Answer::Sync(ticket, refused));
            }
        }
    }

    fn distribute(&mut self, now: Instant, assignments: Vec<(String, Bytes)>) {
        let mut assignments: HashMap<String, Bytes> = assignments.into_iter().collect();
        self.phase = Phase::Stable;
        for member in &mut self.members {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
            if let Some(ticket) = member.syncing.take() {
                member.session_ends = now + member.session_timeout;
                let assignment = Ok(member.assignment.clone());
                self.answers.push(Answer::Sync(ticket, assignment));
            }
        }
    }

    fn check_member(&self, id: &str, generation: i32) -> Result<(), ResponseError> {
        if !self.members.iter().any(|m| m.id == id) {
            return Err(ResponseError::UnknownMemberId);
        }
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(())
    }

    /// A sign of life. During a rebalance the answer tells the member to join again.
    pub(crate) fn heartbeat(&mut self, now: Instant, id: &str, generation: i32) -> Result<(), ResponseError> {
        if self.pending.contains_key(id) {
            return Err(ResponseError::RebalanceInProgress);
        }
        self.check_member(id, generation)?;
        let found = self.members.iter_mut().find(|m| m.id == id);
        found.expect("the member was checked above").alive(now);
        match self.phase {
            Phase::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Completing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// Whether offsets may be committed, which counts as a sign of life. Generation −1 without a
    /// member id is a consumer that assigns its partitions itself.
    pub(crate) fn may_commit(&mut self, now: Instant, id: &str, generation: i32) -> Result<(), ResponseError> {
        if generation < 0 && id.is_empty() && self.members.is_empty() {
            return Ok(());
        }
        self.check_member(id, generation)?;
        if matches!(self.phase, Phase::Completing { .. }) {
            return Err(ResponseError::RebalanceInProgress);
        }
        let found = self.members.iter_mut().find(|m| m.id == id);
        found.expect("the member was checked above").alive(now);
        Ok(())
    }

    /// A member goes; the others divide its partitions.
    pub(crate) fn leave(&mut self, now: Instant, id: &str) -> Result<(), ResponseError> {
        if self.pending.remove(id).is_some() {
            self.complete_when_ready(now);
            return Ok(());
        }
        if !self.members.iter().any(|m| m.id == id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(now, &HashSet::from([id.to_owned()]));
        Ok(())
    }

    /// The request behind a ticket is gone with its connection: its member lives on only as long
    /// as its session.
    pub(crate) fn abandon(&mut self, now: Instant, ticket: Ticket) {
        for member in &mut self.members {
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

    /// Removes members and newcomers whose time is up and ends phases that have lasted too long.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.pending.retain(|_, until| *until > now);
        let mut expired: HashSet<String> =
            self.members.iter().filter(|m| !m.waits() && m.session_ends <= now).map(|m| m.id.clone()).collect();
        if matches!(self.phase, Phase::Completing { latest } if latest <= now) {
            let silent = self.members.iter().filter(|m| m.syncing.is_none());
            expired.extend(silent.map(|m| m.id.clone()));
        }
        if !expired.is_empty() {
            self.remove(now, &expired);
        }
        self.complete_when_ready(now);
    }

    fn remove(&mut self, now: Instant, ids: &HashSet<String>) {
        for member in self.members.iter_mut().filter(|m| ids.contains(&m.id)) {
            let gone = ResponseError::UnknownMemberId;
            if let Some(ticket) = member.joining.take() {
                let member_id = member.id.clone();
                let refused = JoinRefused { error: gone, member_id };
                self.answers.push(Answer::Join(ticket, Err(refused)));
            }
            if let Some(ticket) = member.syncing.take() {
                self.answers.push(Answer::Sync(ticket, Err(gone)));
            }
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
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
