//! A group as it is kept, and back.

use std::time::{Duration, Instant};

use super::{Group, Phase, Rules};
use crate::server::group::member::Member;
use crate::server::group::records::{StoredGroup, StoredMember};

impl Group {
    /// What has to be kept since it was last asked for.
    pub(crate) fn take_unsaved(&mut self, now_ms: i64) -> Option<StoredGroup> {
        if !std::mem::take(&mut self.is_unsaved) {
            return None;
        }
        self.saved_ms = now_ms;
        let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
        Some(StoredGroup {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: named(&self.protocol),
            leader: named(&self.leader),
            since_ms: now_ms,
            members: self.members.iter().map(|member| stored(member, &self.protocol)).collect(),
        })
    }

    /// Since when a group without members is empty, Unix milliseconds.
    pub(crate) fn empty_since_ms(&self) -> i64 {
        self.saved_ms
    }

    /// A group as it was before the restart. Its members' sessions begin anew, at most `max_session`
    /// long.
    pub(crate) fn restore(rules: Rules, kept: StoredGroup, now: Instant, max_session: Duration) -> Self {
        let mut group = Self::new(rules);
        group.phase = if kept.members.is_empty() { Phase::Empty } else { Phase::Stable };
        group.generation = kept.generation.max(1);
        group.protocol_type = kept.protocol_type;
        group.protocol = kept.protocol.unwrap_or_default();
        group.leader = kept.leader.unwrap_or_default();
        group.saved_ms = kept.since_ms;
        for member in kept.members {
            if !group.members.contains(&member.id) {
                group.members.push(restored(member, &group.protocol, now, max_session));
            }
        }
        if !group.members.contains(&group.leader) {
            group.leader = group.members.iter().next().map(|first| first.id.clone()).unwrap_or_default();
        }
        group
    }
}

fn stored(member: &Member, protocol: &str) -> StoredMember {
    let millis = |timeout: Duration| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    StoredMember {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: millis(member.rebalance_timeout),
        session_timeout_ms: millis(member.session_timeout),
        subscription: member.subscription(protocol),
        assignment: member.assignment.clone(),
    }
}

fn restored(kept: StoredMember, protocol: &str, now: Instant, max_session: Duration) -> Member {
    let timeout = |millis: i32| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let session_timeout = timeout(kept.session_timeout_ms).min(max_session);
    Member {
        id: kept.id,
        instance_id: kept.instance_id,
        client_id: kept.client_id,
        client_host: kept.client_host,
        session_timeout,
        rebalance_timeout: timeout(kept.rebalance_timeout_ms),
        protocols: vec![(protocol.to_owned(), kept.subscription)],
        assignment: kept.assignment,
        session_ends: now + session_timeout,
        joining: None,
        syncing: None,
        owes_sync: false,
    }
}
