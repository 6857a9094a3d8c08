//! Lets connections wait on the group state machines and keeps their time.

mod upkeep;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kafka_protocol::ResponseError;
use tokio::sync::{Notify, oneshot};

use super::member::{Answer, Caller, GroupView, Join, JoinRefused, Joined, Synced, Ticket};
use super::offsets::{OffsetStore, StoredGroups};
use super::records::{MAX_NAME_BYTES, StoredGroup};
use super::state::{Commit, Group, Rules, Sync};
use crate::server::blocking::blocking;
use crate::server::config::GroupConfig;
use crate::server::now_ms;

/// Assignors one member may offer; clients have up to three.
const MAX_PROTOCOLS: usize = 64;

type JoinAnswer = Result<Joined, JoinRefused>;
type SyncAnswer = Result<Synced, ResponseError>;
/// The answer to come, and what tells the group when nobody waits for it any more.
type Waiting<'a, T> = (oneshot::Receiver<T>, Abandoned<'a>);

/// All groups of the broker.
#[derive(Debug)]
pub(crate) struct Coordinator {
    config: GroupConfig,
    /// Keeps the groups, and what they have committed.
    offsets: Arc<OffsetStore>,
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
    /// Groups with somebody in them or on the way.
    occupied: usize,
    /// What [`Coordinator::run`] sleeps for.
    alarm: Option<Instant>,
}

impl Groups {
    fn is_occupied(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|group| !group.is_vacant())
    }

    fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    fn deliver(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            // A receiver that is gone has lost its connection; the session timeout sees to it.
            match answer {
                Answer::Join(ticket, joined) => {
                    if let Some(waiting) = self.joins.remove(&ticket) {
                        let _ = waiting.send(joined);
                    }
                }
                Answer::Sync(ticket, assignment) => {
                    if let Some(waiting) = self.syncs.remove(&ticket) {
                        let _ = waiting.send(assignment);
                    }
                }
            }
        }
    }

    /// Applies a change to a group, which comes into being for it, and carries out what follows.
    fn change<T>(&mut self, name: &str, terms: Terms<'_>, change: impl FnOnce(&mut Group) -> T) -> T {
        let group = match self.by_name.get_mut(name) {
            Some(group) => group,
            None => self.by_name.entry(name.to_owned()).or_insert_with(|| Group::new(terms.rules)),
        };
        let (bytes_before, was_vacant) = (group.bytes(), group.is_vacant());
        let result = change(group);
        self.bytes = self.bytes + group.bytes() - bytes_before;
        self.occupied = self.occupied + usize::from(was_vacant) - usize::from(group.is_vacant());
        let answers = group.take_answers();
        if let Some(unsaved) = group.take_unsaved(now_ms()) {
            keep(terms.offsets, name, &unsaved);
        }
        if group.is_unused() {
            self.by_name.remove(name);
        }
        self.deliver(answers);
        result
    }
}

/// What a change to any group needs.
#[derive(Clone, Copy)]
struct Terms<'a> {
    rules: Rules,
    offsets: &'a OffsetStore,
}

/// Members are told only what is kept, unless it cannot be kept: then the group works on, and a restart
/// costs it a rebalance.
fn keep(offsets: &OffsetStore, name: &str, group: &StoredGroup) {
    if let Err(error) = offsets.keep_group(name, group, now_ms()) {
        tracing::warn!(group = name, %error, "the group's members cannot be kept; a restart will make them join again");
    }
    if group.members.is_empty() {
        tracing::debug!(group = name, "group is empty");
    }
}

impl Coordinator {
    /// Goes on with the groups there were at the last stop.
    pub(crate) fn new(config: GroupConfig, offsets: Arc<OffsetStore>, kept: StoredGroups) -> Self {
        let coordinator = Self { config, offsets, groups: Mutex::default(), sooner: Notify::new() };
        let mut groups = coordinator.lock();
        let now = Instant::now();
        for (name, kept) in kept {
            let group = Group::restore(coordinator.rules(), kept, now, coordinator.config.max_session_timeout);
            groups.bytes += group.bytes();
            groups.occupied += usize::from(!group.is_vacant());
            groups.by_name.insert(name, group);
        }
        drop(groups);
        coordinator
    }

    /// Joins a group; the answer comes when its next generation begins.
    pub(crate) async fn join(&self, name: &str, join: Join) -> JoinAnswer {
        let member_id = join.member_id.clone().unwrap_or_default();
        let refused = |error| JoinRefused { error, member_id: member_id.clone() };
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(refused(ResponseError::InvalidGroupId));
        }
        if !has_bearable_names(&join) {
            return Err(refused(ResponseError::InvalidRequest));
        }
        let timeouts = self.config.min_session_timeout..=self.config.max_session_timeout;
        if !timeouts.contains(&join.session_timeout) {
            return Err(refused(ResponseError::InvalidSessionTimeout));
        }
        let begun = blocking(self.offsets.syncs(), || self.begin_join(name, join));
        let (answer, guard) = begun.map_err(refused)?;
        let answer = answer.await;
        guard.disarm();
        answer.unwrap_or_else(|_| Err(refused(ResponseError::CoordinatorNotAvailable)))
    }

    fn begin_join(&self, name: &str, join: Join) -> Result<Waiting<'_, JoinAnswer>, ResponseError> {
        let mut groups = self.lock();
        if !self.has_room(&groups, name, &join) {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        self.make_room(&mut groups);
        let (sender, receiver) = oneshot::channel();
        let ticket = groups.ticket();
        groups.joins.insert(ticket, sender);
        self.change(&mut groups, name, |group| group.join(Instant::now(), ticket, join));
        Ok((receiver, self.guard(name, ticket)))
    }

    fn has_room(&self, groups: &Groups, name: &str, join: &Join) -> bool {
        let metadata = join.protocols.iter().map(|(name, data)| name.len() + data.len());
        let bytes: usize = metadata.sum();
        bytes <= self.config.max_member_metadata_bytes
            && groups.bytes + bytes <= self.config.max_groups_bytes
            && (groups.occupied < self.config.max_groups || groups.is_occupied(name))
    }

    /// Brings the leader's assignments, or waits for them.
    pub(crate) async fn sync(&self, name: &str, sync: Sync<'_>) -> SyncAnswer {
        let (answer, guard) = blocking(self.offsets.syncs(), || self.begin_sync(name, sync))?;
        let answer = answer.await;
        guard.disarm();
        answer.unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
    }

    fn begin_sync(&self, name: &str, sync: Sync<'_>) -> Result<Waiting<'_, SyncAnswer>, ResponseError> {
        let mut groups = self.lock();
        if !groups.by_name.contains_key(name) {
            return Err(ResponseError::UnknownMemberId);
        }
        let bytes: usize = sync.assignments.iter().map(|(_, data)| data.len()).sum();
        if groups.bytes + bytes > self.config.max_groups_bytes {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = groups.ticket();
        groups.syncs.insert(ticket, sender);
        self.change(&mut groups, name, |group| group.sync(Instant::now(), ticket, sync));
        Ok((receiver, self.guard(name, ticket)))
    }

    pub(crate) fn heartbeat(&self, name: &str, caller: Caller<'_>) -> Result<(), ResponseError> {
        // This only puts a deadline off, so nothing else has to be looked at; `tick` finds out.
        let mut groups = self.lock();
        let group = groups.by_name.get_mut(name).ok_or(ResponseError::UnknownMemberId)?;
        group.heartbeat(Instant::now(), caller)
    }

    pub(crate) fn leave(&self, name: &str, caller: Caller<'_>) -> Result<(), ResponseError> {
        let mut groups = self.lock();
        if !groups.by_name.contains_key(name) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.change(&mut groups, name, |group| group.leave(Instant::now(), caller))
    }

    /// Whether offsets may be committed by `caller`.
    pub(crate) fn may_commit(&self, name: &str, caller: Caller<'_>, commit: Commit) -> Result<(), ResponseError> {
        let mut groups = self.lock();
        match groups.by_name.get_mut(name) {
            Some(group) => group.may_commit(Instant::now(), caller, commit),
            None if caller.generation < 0 => Ok(()),
            None if self.offsets.has_group(name) => Err(ResponseError::UnknownMemberId),
            None => Err(ResponseError::GroupIdNotFound),
        }
    }

    /// Every group that was ever joined: name, state, protocol type.
    pub(crate) fn list(&self) -> Vec<(String, &'static str, String)> {
        let groups = self.lock();
        let row = |(name, group): (&String, &Group)| (name.clone(), group.state(), group.protocol_type().to_owned());
        groups.by_name.iter().map(row).collect()
    }

    /// A group that was ever joined.
    pub(crate) fn view(&self, name: &str) -> Option<GroupView> {
        self.lock().by_name.get(name).map(Group::view)
    }

    fn change<T>(&self, groups: &mut Groups, name: &str, change: impl FnOnce(&mut Group) -> T) -> T {
        let result = groups.change(name, self.terms(), change);
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

    fn terms(&self) -> Terms<'_> {
        Terms { rules: self.rules(), offsets: &self.offsets }
    }

    fn guard(&self, name: &str, ticket: Ticket) -> Abandoned<'_> {
        Abandoned { coordinator: self, name: name.to_owned(), ticket: Some(ticket) }
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

/// Whether all names fit into the records that keep them.
fn has_bearable_names(join: &Join) -> bool {
    let names = join.protocols.iter().map(|(name, _)| name);
    let mut names = names.chain(&join.member_id).chain(&join.instance_id).chain([&join.protocol_type, &join.new_id]);
    join.protocols.len() <= MAX_PROTOCOLS && names.all(|name| name.len() <= MAX_NAME_BYTES)
}

/// Tells the group when a waiting connection is closed.
struct Abandoned<'a> {
    coordinator: &'a Coordinator,
    name: String,
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
            self.coordinator.abandon(&self.name, ticket);
        }
    }
}
