//! What members do in a generation: get their assignments, give signs of life, commit, leave.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::{Group, Phase};
use crate::server::group::member::{Answer, Caller, Ticket};

/// A member's request for its assignment, with those of all when it leads.
#[derive(Debug)]
pub(crate) struct Sync<'a> {
    pub(crate) caller: Caller<'a>,
    /// Protocol type and assignor the member believes in, where it says (version 5).
    pub(crate) believes: [Option<&'a str>; 2],
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// How offsets are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// By a consumer.
    Plain,
    /// By a producer, within its transaction.
    Transactional,
}

impl Group {
    /// A member asks for its assignment; the leader brings those of all. The answer follows by
    /// ticket.
    pub(crate) fn sync(&mut self, now: Instant, ticket: Ticket, sync: Sync<'_>) {
        if let Err(error) = self.check_sync(&sync) {
            self.answers.push(Answer::Sync(ticket, Err(error)));
            return;
        }
        let id = sync.caller.member_id;
        let member = self.members.get_mut(id).expect("the member was checked above");
        member.alive(now);
        let answer = match self.phase {
            Phase::Stable => {
                member.owes_sync = false;
                let assignment = member.assignment.clone();
                Some(Ok(self.synced(assignment)))
            }
            Phase::Completing => {
                member.owes_sync = false;
                let former = member.syncing.replace(ticket);
                let refused = former.map(|former| Answer::Sync(former, Err(ResponseError::RebalanceInProgress)));
                self.answers.extend(refused);
                None
            }
            Phase::Preparing { .. } | Phase::Empty => Some(Err(ResponseError::RebalanceInProgress)),
        };
        self.answers.extend(answer.map(|answer| Answer::Sync(ticket, answer)));
        if self.phase == Phase::Completing && id == self.leader {
            self.distribute(now, sync.assignments);
        }
        if self.members.iter().all(|m| !m.owes_sync) {
            self.sync_until = None;
        }
    }

    fn check_sync(&self, sync: &Sync<'_>) -> Result<(), ResponseError> {
        self.check_member(sync.caller)?;
        let facts = [&self.protocol_type, &self.protocol];
        let differs = |(believed, fact): (&Option<&str>, &String)| believed.is_some_and(|believed| believed != fact);
        match sync.believes.iter().zip(facts).any(differs) {
            true => Err(ResponseError::InconsistentGroupProtocol),
            false => Ok(()),
        }
    }

    fn distribute(&mut self, now: Instant, assignments: Vec<(String, Bytes)>) {
        let mut assignments: HashMap<String, Bytes> = assignments.into_iter().collect();
        self.phase = Phase::Stable;
        self.is_unsaved = true;
        let mut due = Vec::with_capacity(self.members.len());
        for member in self.members.iter_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
            if let Some(ticket) = member.syncing.take() {
                member.alive(now);
                due.push((ticket, member.assignment.clone()));
            }
        }
        for (ticket, assignment) in due {
            let synced = self.synced(assignment);
            self.answers.push(Answer::Sync(ticket, Ok(synced)));
        }
    }

    /// A sign of life. During a rebalance the answer tells the member to join again.
    pub(crate) fn heartbeat(&mut self, now: Instant, caller: Caller<'_>) -> Result<(), ResponseError> {
        if self.pending.contains_key(caller.member_id) {
            return Err(ResponseError::RebalanceInProgress);
        }
        self.check_member(caller)?;
        self.keep_alive(now, caller);
        match self.phase {
            Phase::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    /// Whether offsets may be committed, which counts as a sign of life. Generation −1 is a consumer
    /// that assigns its partitions itself, or an administrator; they may while the group is empty.
    ///
    /// As in Kafka, a member that has joined and does not yet know its assignment may commit only within a
    /// transaction: that of its producer has to end, and what it read was its own in the generation before.
    pub(crate) fn may_commit(&mut self, now: Instant, caller: Caller<'_>, commit: Commit) -> Result<(), ResponseError> {
        if caller.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_member(caller)?;
        if self.phase == Phase::Completing && commit == Commit::Plain {
            return Err(ResponseError::RebalanceInProgress);
        }
        self.keep_alive(now, caller);
        Ok(())
    }

    fn keep_alive(&mut self, now: Instant, caller: Caller<'_>) {
        let member = self.members.get_mut(caller.member_id);
        member.expect("callers are checked before").alive(now);
    }

    /// A member goes; the others divide its partitions. A static member may be sent away by its name
    /// alone.
    pub(crate) fn leave(&mut self, now: Instant, caller: Caller<'_>) -> Result<(), ResponseError> {
        let id = match caller.instance_id {
            Some(instance_id) if caller.member_id.is_empty() => {
                let member = self.members.of_instance(instance_id).ok_or(ResponseError::UnknownMemberId)?;
                member.id.clone()
            }
            None if self.pending.remove(caller.member_id).is_some() => {
                self.complete_when_ready(now);
                return Ok(());
            }
            _ => {
                self.check_identity(caller)?;
                caller.member_id.to_owned()
            }
        };
        self.remove(now, &HashSet::from([id]));
        Ok(())
    }
}
