//! Which nodes of a fleet are there, from their beats. No I/O, no clock.

use lumenbus_wire::{FleetBeat, FleetStanding};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// From one beat to the next.
pub const BEAT: Duration = Duration::from_millis(500);
/// A node of which nothing was heard for so long is lost.
pub const LOST_AFTER: Duration = Duration::from_millis(2_500);
/// A node that has come beats so long before it is given cameras: one that comes and goes moves nothing.
pub const JOIN_AFTER: Duration = Duration::from_secs(5);
/// Where no member is heard within this, there is none.
const ALONE_AFTER: Duration = LOST_AFTER;
/// Who was heard for so long while there was no member, and heard us, becomes one with the first.
const FOUNDING: Duration = Duration::from_secs(1);
/// Most nodes of a fleet; beats of others are refused.
pub const MAX_NODES: usize = 64;
/// Own beats that were sent and not read yet: thirty seconds of them.
const MAX_ON_THE_WAY: usize = 60;

/// Another node, or this one, as its beats tell.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) standing: FleetStanding,
    pub(super) revision: u64,
    sequence: u64,
    first_heard: Duration,
    last_heard: Duration,
    /// It said that it joins while there was no member.
    is_founder: bool,
    /// It said that it joins, so that everybody heard when it became a member.
    has_joined: bool,
    /// It is given cameras.
    pub(super) counts: bool,
}

/// What became of a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Taken,
    /// Of a node that was not there.
    New,
    /// Not later than what was heard of the node before.
    Late,
    /// Beyond the number of nodes, or one of ours that we did not send.
    Refused,
}

/// The nodes of a fleet as one of them hears them. Times are its own, from any beginning.
#[derive(Debug)]
pub(super) struct Roll {
    pub(super) own: u64,
    name: Arc<str>,
    started_unix_nanos: i64,
    pub(super) revision: u64,
    standing: FleetStanding,
    sequence: u64,
    on_the_way: VecDeque<(u64, Duration)>,
    /// When the newest own beat that was read had been sent: everything before it was read as well.
    read_up_to: Option<Duration>,
    sighted_since: Option<Duration>,
    nodes: BTreeMap<u64, Node>,
}

impl Roll {
    pub(super) fn new(own: u64, name: &str, started_unix_nanos: i64) -> Self {
        Self {
            own,
            name: shown(name),
            started_unix_nanos,
            revision: 0,
            standing: FleetStanding::Joining,
            sequence: 0,
            on_the_way: VecDeque::new(),
            read_up_to: None,
            sighted_since: None,
            nodes: BTreeMap::new(),
        }
    }

    /// The beat that is due now.
    pub(super) fn beat(&mut self, now: Duration) -> FleetBeat {
        if self.standing == FleetStanding::Joining && self.may_be_member(now) {
            self.standing = FleetStanding::Member;
        }
        self.sequence += 1;
        self.on_the_way.push_back((self.sequence, now));
        if self.on_the_way.len() > MAX_ON_THE_WAY {
            self.on_the_way.pop_front();
        }
        FleetBeat {
            node: self.own,
            sequence: self.sequence,
            standing: self.standing,
            revision: self.revision,
            started_unix_nanos: self.started_unix_nanos,
            by: self.name.to_string(),
        }
    }

    /// From now on its beats say that it goes.
    pub(super) fn drain(&mut self) {
        self.standing = FleetStanding::Draining;
    }

    fn may_be_member(&self, now: Duration) -> bool {
        let Some(since) = self.sighted_since.filter(|_| self.is_sighted(now)) else { return false };
        let sighted = now.saturating_sub(since);
        let others = self.nodes.iter().filter(|(node, _)| **node != self.own);
        let is_alone = !others.map(|(_, node)| node).any(|node| node.standing == FleetStanding::Member);
        let was_founded = self.nodes.get(&self.own).is_some_and(|node| node.counts);
        was_founded || sighted >= JOIN_AFTER || (is_alone && sighted >= ALONE_AFTER)
    }

    /// Whether it knows how the others are: it reads what it sends.
    pub(super) fn is_sighted(&self, now: Duration) -> bool {
        self.read_up_to.is_some_and(|sent| now.saturating_sub(sent) <= LOST_AFTER)
    }

    /// A beat of the fleet, in the order of the log.
    pub(super) fn hear(&mut self, beat: &FleetBeat, now: Duration) -> Heard {
        if beat.node == self.own && !self.own_came_back(beat.sequence, now) {
            return Heard::Refused;
        }
        let is_new = !self.nodes.contains_key(&beat.node);
        if is_new && self.nodes.len() >= MAX_NODES {
            return Heard::Refused;
        }
        let has_member = self.nodes.values().any(|node| node.standing == FleetStanding::Member);
        let node = self.nodes.entry(beat.node).or_insert_with(|| Node::new(beat, now));
        if !is_new && beat.sequence <= node.sequence {
            return Heard::Late;
        }
        node.take(beat, now);
        match beat.standing {
            FleetStanding::Joining => {
                node.has_joined = true;
                node.is_founder |= !has_member;
            }
            // A member that was heard to join when there was no other: it and the founders are the first ones.
            FleetStanding::Member if node.has_joined && !has_member => self.found(now),
            FleetStanding::Member => {
                node.counts |= node.has_joined;
                self.nodes.values_mut().for_each(|node| node.is_founder = false);
            }
            FleetStanding::Draining => node.counts = false,
        }
        if is_new { Heard::New } else { Heard::Taken }
    }

    fn found(&mut self, now: Duration) {
        for node in self.nodes.values_mut() {
            let is_founder = node.is_founder && now.saturating_sub(node.first_heard) >= FOUNDING;
            node.counts |=
                node.standing == FleetStanding::Member || (is_founder && node.standing == FleetStanding::Joining);
            node.is_founder = false;
        }
    }

    /// One of our own was read; whether it was sent and is not read twice.
    fn own_came_back(&mut self, sequence: u64, now: Duration) -> bool {
        let Some(place) = self.on_the_way.iter().position(|(sent, _)| *sent == sequence) else { return false };
        let was_sighted = self.is_sighted(now);
        let sent = self.on_the_way.drain(..=place).next_back().map(|(_, sent)| sent);
        self.read_up_to = sent;
        if !was_sighted && self.is_sighted(now) {
            self.sighted_since = Some(now);
            // What they said meanwhile may still be on its way here.
            self.nodes.values_mut().for_each(|node| node.last_heard = now);
        }
        true
    }

    /// Forgets who is lost; those that were. Nobody is while this node does not know how the others are.
    pub(super) fn look(&mut self, now: Duration) -> Vec<(u64, Node)> {
        if !self.is_sighted(now) {
            self.sighted_since = None;
            return Vec::new();
        }
        // Members that were not heard to join, as those that an interruption hid: all nodes count them after the same time.
        for node in self.nodes.values_mut().filter(|node| node.standing == FleetStanding::Member) {
            node.counts |= now.saturating_sub(node.first_heard) >= JOIN_AFTER;
        }
        let own = self.own;
        let is_lost = |node: &u64, of: &mut Node| *node != own && now.saturating_sub(of.last_heard) > LOST_AFTER;
        self.nodes.extract_if(.., is_lost).collect()
    }

    /// The nodes that are given cameras.
    pub(super) fn members(&self) -> impl Iterator<Item = (u64, &Node)> {
        self.nodes.iter().filter(|(_, node)| node.counts).map(|(node, of)| (*node, of))
    }

    /// Every node that is heard, in the order of their numbers.
    pub(super) fn nodes(&self) -> &BTreeMap<u64, Node> {
        &self.nodes
    }

    /// Whether it is given cameras itself and knows how the others are.
    pub(super) fn is_member(&self, now: Duration) -> bool {
        self.is_sighted(now) && self.nodes.get(&self.own).is_some_and(|node| node.counts)
    }
}

impl Node {
    fn new(beat: &FleetBeat, now: Duration) -> Self {
        Self {
            name: shown(&beat.by),
            standing: beat.standing,
            revision: beat.revision,
            sequence: beat.sequence,
            first_heard: now,
            last_heard: now,
            is_founder: false,
            has_joined: false,
            counts: false,
        }
    }

    fn take(&mut self, beat: &FleetBeat, now: Duration) {
        (self.standing, self.revision, self.sequence) = (beat.standing, beat.revision, beat.sequence);
        self.last_heard = now;
        if *self.name != *beat.by {
            self.name = shown(&beat.by);
        }
    }
}

/// Text from outside as it may stand in a terminal.
fn shown(name: &str) -> Arc<str> {
    name.chars().filter(|c| !c.is_control()).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn other(node: u64, sequence: u64, standing: FleetStanding) -> FleetBeat {
        FleetBeat { node, sequence, standing, revision: 0, started_unix_nanos: 0, by: "\u{1b}[31mbox".to_owned() }
    }

    fn says(roll: &mut Roll, node: u64, first: u64, standing: FleetStanding, now: u64) {
        roll.hear(&other(node, first + now, standing), at(now));
    }

    fn members(roll: &Roll) -> Vec<u64> {
        roll.members().map(|(node, _)| node).collect()
    }

    /// Own beats come back at once; the others' are made by `others`.
    fn run(roll: &mut Roll, from: u64, to: u64, mut others: impl FnMut(&mut Roll, u64)) {
        for now in (from..to).step_by(500) {
            let beat = roll.beat(at(now));
            roll.hear(&beat, at(now));
            others(roll, now);
            roll.look(at(now));
        }
    }

    #[test]
    fn alone_it_waits_until_nobody_else_is_heard() {
        let mut roll = Roll::new(1, "here", 0);
        run(&mut roll, 0, 2_500, |_, _| {});
        assert!(members(&roll).is_empty());
        run(&mut roll, 2_500, 3_000, |_, _| {});
        assert_eq!(members(&roll), [1]);
        assert!(roll.is_member(at(4_900)) && !roll.is_member(at(5_100)), "it has read nothing of its own since");
    }

    #[test]
    fn one_that_comes_to_members_beats_for_five_seconds() {
        let mut roll = Roll::new(1, "here", 0);
        let member = |roll: &mut Roll, now: u64| says(roll, 2, 900, FleetStanding::Member, now);
        run(&mut roll, 0, 5_000, member);
        assert!(members(&roll).is_empty());
        run(&mut roll, 5_000, 5_500, member);
        assert_eq!(members(&roll), [1, 2]);
    }

    #[test]
    fn founders_become_members_together() {
        let mut roll = Roll::new(1, "here", 0);
        let joining = |roll: &mut Roll, now: u64| says(roll, 2, 1, FleetStanding::Joining, now);
        run(&mut roll, 0, 3_000, joining);
        assert_eq!(members(&roll), [1, 2]);
        // A third one, that came a moment before, is no founder: it did not hear the others join.
        let mut roll = Roll::new(1, "here", 0);
        let late = |roll: &mut Roll, now: u64| {
            if now >= 2_000 {
                roll.hear(&other(3, 1 + now, FleetStanding::Joining), at(now));
            }
        };
        run(&mut roll, 0, 3_000, late);
        assert_eq!(members(&roll), [1]);
    }

    #[test]
    fn lost_ones_are_forgotten_and_come_back_after_five_seconds() {
        let mut roll = Roll::new(1, "here", 0);
        let member = |roll: &mut Roll, now: u64| says(roll, 2, 900, FleetStanding::Member, now);
        run(&mut roll, 0, 6_000, member);
        run(&mut roll, 6_000, 9_000, |_, _| {});
        assert_eq!(members(&roll), [1]);
        run(&mut roll, 9_000, 14_000, member);
        assert_eq!(members(&roll), [1]);
        run(&mut roll, 14_000, 14_500, member);
        assert_eq!(members(&roll), [1, 2]);
    }

    #[test]
    fn who_does_not_read_its_own_beats_loses_nobody() {
        let mut roll = Roll::new(1, "here", 0);
        let member = |roll: &mut Roll, now: u64| says(roll, 2, 900, FleetStanding::Member, now);
        run(&mut roll, 0, 6_000, member);
        assert!(roll.look(at(20_000)).is_empty() && !roll.is_member(at(20_000)));
        let beat = roll.beat(at(20_000));
        assert_eq!(roll.hear(&beat, at(20_100)), Heard::Taken);
        assert!(roll.is_member(at(20_100)) && roll.look(at(22_500)).is_empty());
        assert_eq!(members(&roll), [1, 2]);
    }

    #[test]
    fn late_and_forged_beats_change_nothing() {
        let mut roll = Roll::new(1, "here", 0);
        run(&mut roll, 0, 3_000, |_, _| {});
        assert_eq!(roll.hear(&other(1, 77, FleetStanding::Draining), at(3_000)), Heard::Refused);
        assert_eq!(roll.hear(&other(1, 1, FleetStanding::Draining), at(3_000)), Heard::Refused);
        assert_eq!(roll.hear(&other(2, 7, FleetStanding::Joining), at(3_000)), Heard::New);
        assert_eq!(roll.hear(&other(2, 7, FleetStanding::Draining), at(3_000)), Heard::Late);
        assert_eq!(&*roll.nodes()[&2].name, "[31mbox");
        for node in 10..100 {
            roll.hear(&other(node, 1, FleetStanding::Joining), at(3_000));
        }
        assert_eq!(roll.nodes().len(), MAX_NODES);
        assert_eq!(members(&roll), [1]);
    }
}
