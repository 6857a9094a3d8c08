//! Lets connections wait on the group state machines and keeps their time.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

use super::member::{Answer, GroupView, Join, JoinRefused, Joined, Ticket};
use super::state::{Group, Rules};
use crate::server::config::GroupConfig;

type JoinAnswer = Result<Joined, JoinRefused>;
type SyncAnswer = Result<Bytes, ResponseError>;

/// All groups of the broker.
#[derive(Debug)]
pub(crate) struct Coordinator {
    config: GroupConfig,
    groups: Mutex<Groups>,
    /// A deadline came up before the one that [`Coordinator::run`] sleeps for.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Groups {
    by_name: HashMap<String, Group>,
    joins: HashMap<Ticket, oneshot::Sender<JoinAnswer>>,
    syncs: HashMap<Ticket, oneshot::Sender<SyncAnswer>>,
    last_ticket: u64,
    bytes: usize,
    /// What [`Coordinator::run`] sleeps for.
    alarm: Option<Instant>,
}

impl Groups {
    fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    fn deliver(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            // A receiver that is gone has lost its connection; the session timeout sees to it.
            match answer {
                Answer::Join(ticket, joined) => {
                    let _ = self.joins.remove(&ticket).map(|waiting| waiting.send(joined));
                }
                Answer::Sync(ticket, assignment) => {
                    let _ = self.syncs.remove(&ticket).map(|waiting| waiting.send(assignment));
                }
            }
        }
    }

    /// Applies a change to a group, which comes into being for it, and carries out what follows.
    fn change<T>(&mut self, name: &str, rules: Rules, change: impl FnOnce(&mut Group) -> T) -> T {
        let group = match self.by_name.get_mut(name) {
            Some(group) => group,
            None => self.by_name.entry(name.to_owned()).or_insert_with(|| Group::new(rules)),
        };
        let bytes_before = group.bytes();
        let result = change(group);
        self.bytes = self.bytes + group.bytes() - bytes_before;
        let answers = group.take_answers();
        if group.is_vacant() {
            self.by_name.remove(name);
            tracing::debug!(group = name, "group is empty");
        }
        self.deliver(answers);
        result
    }
}

impl Coordinator {
    pub(crate) fn new(config: GroupConfig) -> Self {
        Self { config, groups: Mutex::default(), sooner: Notify::new() }
    }

    /// Joins a group; the answer comes when its next generation begins.
    pub(crate) async fn join(&self, name: &str, join: Join) -> JoinAnswer {
        let member_id = join.member_id.clone().unwrap_or_default();
        let refused = |error| JoinRefused { error, member_id };
        if name.is_empty() {
            return Err(refused(ResponseError::InvalidGroupId));
        }
        let timeouts = self.config.min_session_timeout..=self.config.max_session_timeout;
        if !timeouts.contains(&join.session_timeout) {
            return Err(refused(ResponseError::InvalidSessionTimeout));
        }
        let (answer, guard) = {
            let mut groups = self.lock();
            if !self.has_room(&groups, name, &join) {
                return Err(refused(ResponseError::GroupMaxSizeReached));
            }
            let (sender, receiver) = oneshot::channel();
            let ticket = groups.ticket();
            groups.joins.insert(ticket, sender);
            self.change(&mut groups, name, |group| group.join(Instant::now(), ticket, join));
            (receiver, self.guard(name, ticket))
        };
        let answer = answer.await;
        guard.disarm();
        answer.unwrap_or_else(|_| Err(refused(ResponseError::CoordinatorNotAvailable)))
    }

    fn has_room(&self, groups: &Groups, name: &str, join: &Join) -> bool {
        let metadata = join.protocols.iter().map(|(name, data)| name.len() + data.len());
        let bytes: usize = metadata.sum();
        bytes <= self.config.max_member_metadata_bytes
            && groups.bytes + bytes <= self.config.max_groups_bytes
            && (groups.by_name.len() < self.config.max_groups || groups.by_name.contains_key(name))
    }

    /// Brings the leader's assignments, or waits for them.
    pub(crate) async fn sync(&self, name: &str, from: (&str, i32), assignments: Vec<(String, Bytes)>) -> SyncAnswer {
        let (answer, guard) = {
            let mut groups = self.lock();
            if !groups.by_name.contains_key(name) {
                return Err(ResponseError::UnknownMemberId);
            }
            let bytes: usize = assignments.iter().map(|(_, data)| data.len()).sum();
            if groups.bytes + bytes > self.config.max_groups_bytes {
                return Err(ResponseError::GroupMaxSizeReached);
            }
            let (sender, receiver) = oneshot::channel();
            let ticket = groups.ticket();
            groups.syncs.insert(ticket, sender);
            self.change(&mut groups, name, |group| {
                group.sync(Instant::now(), ticket, from, assignments);
            });
            (receiver, self.guard(name, ticket))
        };
        let answer = answer.await;
        guard.disarm();
        answer.unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
    }

    pub(crate) fn heartbeat(&self, name: &str, member: &str, generation: i32) -> Result<(), ResponseError> {
        self.change_existing(name, |group| group.heartbeat(Instant::now(), member, generation))
    }

    pub(crate) fn leave(&self, name: &str, member: &str) -> Result<(), ResponseError> {
        self.change_existing(name, |group| group.leave(Instant::now(), member))
    }

    /// Whether offsets may be committed by `member`.
    pub(crate) fn may_commit(&self, name: &str, member: &str, generation: i32) -> Result<(), ResponseError> {
        let mut groups = self.lock();
        if !groups.by_name.contains_key(name) {
            return match (generation < 0, member.is_empty()) {
                (true, true) => Ok(()),
                _ => Err(ResponseError::IllegalGeneration),
            };
        }
        self.change(&mut groups, name, |group| group.may_commit(Instant::now(), member, generation))
    }

    /// Every group that somebody is in: name, state, protocol type.
    pub(crate) fn list(&self) -> Vec<(String, &'static str, String)> {
        let groups = self.lock();
        let row = |(name, group): (&String, &Group)| (name.clone(), group.state(), group.protocol_type().to_owned());
        groups.by_name.iter().map(row).collect()
    }

    /// A group that somebody is in.
    pub(crate) fn view(&self, name: &str) -> Option<GroupView> {
        self.lock().by_name.get(name).map(Group::view)
    }

    /// Whether somebody is in the group.
    pub(crate) fn is_occupied(&self, name: &str) -> bool {
        self.lock().by_name.contains_key(name)
    }

    /// Keeps the groups' time; never ends.
    pub(crate) async fn run(&self) {
        loop {
            let alarm = self.tick(Instant::now());
            let rings = async {
                match alarm {
                    Some(at) => sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = rings => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    fn tick(&self, now: Instant) -> Option<Instant> {
        let mut groups = self.lock();
        let is_due = |group: &Group| group.next_deadline().is_some_and(|at| at <= now);
        let due: Vec<String> =
            groups.by_name.iter().filter(|(_, group)| is_due(group)).map(|(name, _)| name.clone()).collect();
        for name in due {
            groups.change(&name, self.rules(), |group| group.tick(now));
        }
        groups.alarm = groups.by_name.values().filter_map(Group::next_deadline).min();
        groups.alarm
    }

    fn change_existing(
        &self,
        name: &str,
        change: impl FnOnce(&mut Group) -> Result<(), ResponseError>,
    ) -> Result<(), ResponseError> {
        let mut groups = self.lock();
        if !groups.by_name.contains_key(name) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.change(&mut groups, name, change)
    }

    fn change<T>(&self, groups: &mut Groups, name: &str, change: impl FnOnce(&mut Group) -> T) -> T {
        let result = groups.change(name, self.rules(), change);
        let next = groups.by_name.get(name).and_then(Group::next_deadline);
        if let Some(next) = next
            && groups.alarm.is_none_or(|alarm| next < alarm)
        {
            groups.alarm = Some(next);
            self.sooner.notify_one();
        }
        result
    }

    fn rules(&self) -> Rules {
        Rules { initial_delay: self.config.initial_rebalance_delay, max_members: self.config.max_members }
    }

    fn guard<'a>(&'a self, name: &'a str, ticket: Ticket) -> Abandoned<'a> {
        Abandoned { coordinator: self, name, ticket: Some(ticket) }
    }

    fn abandon(&self, name: &str, ticket: Ticket) {
        let mut groups = self.lock();
        groups.joins.remove(&ticket);
        groups.syncs.remove(&ticket);
        if groups.by_name.contains_key(name) {
            self.change(&mut groups, name, |group| group.abandon(Instant::now(), ticket));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the group when a waiting connection is closed.
struct Abandoned<'a> {
    coordinator: &'a Coordinator,
    name: &'a str,
    ticket: Option<Ticket>,
}

impl Abandoned<'_> {
    fn disarm(mut self) {
        self.ticket = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.coordinator.abandon(self.name, ticket);
        }
    }
}
