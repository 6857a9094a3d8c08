//! What happens to groups with time, and by an administrator's hand.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use tokio::time::sleep_until;

use super::{Coordinator, Group, Groups};
use crate::log::LogError;
use crate::server::blocking::blocking;
use crate::server::group::records::Committed;

/// When the alarm is handled so much too late, nobody was served meanwhile: the machine or the disk
/// stood still. Members get that time back.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Groups that are forgotten by one append; with the longest names it is smaller than the largest batch.
const FORGOTTEN_AT_ONCE: usize = 200;

/// How long a group needs what it has committed.
enum Need {
    /// While it has members, except for topics they do not subscribe to, where that can be told.
    Members(Option<HashSet<String>>),
    /// For some time after it became empty, Unix milliseconds.
    Since(i64),
}

impl Coordinator {
    /// Keeps the groups' time; never ends. One alarm serves all groups: signs of life only put deadlines
    /// off, so it is looked at again when it rings, not with every one of them.
    pub(crate) async fn run(&self) {
        loop {
            let alarm = blocking(self.offsets.syncs(), || self.tick(Instant::now()));
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

    pub(super) fn tick(&self, now: Instant) -> Option<Instant> {
        let mut groups = self.lock();
        let late = groups.alarm.map_or(Duration::ZERO, |alarm| now.saturating_duration_since(alarm));
        if late >= STANDSTILL {
            tracing::warn!(?late, "nobody was served meanwhile; the sessions of group members are longer by this");
            groups.by_name.values_mut().for_each(|group| group.put_off(late));
        }
        let is_due = |group: &Group| group.next_deadline().is_some_and(|at| at <= now);
        let due: Vec<String> =
            groups.by_name.iter().filter(|(_, group)| is_due(group)).map(|(name, _)| name.clone()).collect();
        for name in due {
            groups.change(&name, self.terms(), |group| group.tick(now));
        }
        groups.alarm = groups.by_name.values().filter_map(Group::next_deadline).min();
        groups.alarm
    }

    /// Groups that nobody is in take up room as well, but not for ever.
    pub(super) fn make_room(&self, groups: &mut Groups) {
        if groups.by_name.len() >= groups.occupied + self.config.max_groups {
            // A few, so that not everybody who joins looks for them, and nobody waits for long.
            let few = (self.config.max_groups / 100).clamp(1, FORGOTTEN_AT_ONCE);
            if let Err(error) = self.forget_vacant(groups, few, |_| true) {
                tracing::error!(%error, "empty groups cannot be forgotten");
            }
        }
    }

    /// Forgets groups that nobody is in, those first that have been empty for longest; how many.
    fn forget_vacant(
        &self,
        groups: &mut Groups,
        limit: usize,
        is_over: impl Fn(&str) -> bool,
    ) -> Result<usize, LogError> {
        let vacant = groups.by_name.iter().filter(|(name, group)| group.is_vacant() && is_over(name));
        let mut oldest: Vec<(i64, &String)> = vacant.map(|(name, group)| (group.empty_since_ms(), name)).collect();
        if oldest.len() > limit {
            oldest.select_nth_unstable(limit);
            oldest.truncate(limit);
        }
        let names: Vec<String> = oldest.into_iter().map(|(_, name)| name.clone()).collect();
        self.offsets.forget_groups(&names, crate::server::now_ms())?;
        for name in &names {
            groups.by_name.remove(name);
        }
        Ok(names.len())
    }

    /// Drops offsets that no group has needed since `before_ms`, and groups that have neither members nor
    /// offsets.
    ///
    /// As in Kafka: an empty group's offsets count from the moment it became empty, or from their commit
    /// when that was later; those of a group with members only where it no longer subscribes to the topic;
    /// those of consumers that assign their partitions themselves from their commit.
    pub(crate) fn expire(&self, before_ms: i64, now_ms: i64) -> Result<(), LogError> {
        let needs: HashMap<String, Need> =
            self.lock().by_name.iter().map(|(name, group)| (name.clone(), need(group))).collect();
        self.offsets
            .expire(now_ms, |group, (topic, _), committed| is_over(needs.get(group), topic, committed, before_ms))?;
        // Between two lots whoever waits for the groups is served.
        while self.forget_vacant(&mut self.lock(), FORGOTTEN_AT_ONCE, |name| !self.offsets.has_group(name))? > 0 {}
        Ok(())
    }

    /// Forgets a group that nobody is in.
    pub(crate) fn delete(&self, name: &str, now_ms: i64) -> Result<(), ResponseError> {
        if name.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let mut groups = self.lock();
        let is_known = match groups.by_name.get(name) {
            Some(group) if group.has_members() => return Err(ResponseError::NonEmptyGroup),
            known => known.is_some(),
        };
        if !is_known && !self.offsets.has_group(name) {
            return Err(ResponseError::GroupIdNotFound);
        }
        let forgotten = self.offsets.remove_group(name, now_ms).and_then(|()| match is_known {
            true => self.offsets.forget_groups(&[name.to_owned()], now_ms),
            false => Ok(()),
        });
        forgotten.map_err(|error| {
            tracing::error!(group = name, %error, "a group cannot be deleted");
            ResponseError::KafkaStorageError
        })?;
        if let Some(group) = groups.by_name.remove(name) {
            groups.occupied -= usize::from(!group.is_vacant());
        }
        Ok(())
    }

    /// Of which topics a group's offsets may not be deleted, because its members read them; `None`: of all.
    pub(crate) fn topics_in_use(&self, name: &str) -> Result<Option<HashSet<String>>, ResponseError> {
        match self.lock().by_name.get(name) {
            Some(group) if group.has_members() && !group.is_consumer() => Err(ResponseError::NonEmptyGroup),
            Some(group) => Ok(group.subscribed_topics()),
            None if self.offsets.has_group(name) => Ok(Some(HashSet::new())),
            None => Err(ResponseError::GroupIdNotFound),
        }
    }
}

fn need(group: &Group) -> Need {
    match group.has_members() {
        true => Need::Members(group.subscribed_topics()),
        false => Need::Since(group.empty_since_ms()),
    }
}

fn is_over(need: Option<&Need>, topic: &str, committed: &Committed, before_ms: i64) -> bool {
    let since_ms = match need {
        Some(Need::Members(None)) => return false,
        Some(Need::Members(Some(topics))) if topics.contains(topic) => return false,
        Some(Need::Since(since_ms)) => committed.committed_ms.max(*since_ms),
        Some(Need::Members(Some(_))) | None => committed.committed_ms,
    };
    since_ms < before_ms
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
