//! Which cameras this node runs: beats, time and what the directory says in, open and close out. No I/O, no clock.

use super::rank::{rank, revision};
use super::roll::{Heard, Node, Roll};
use lumenbus_frame::CameraId;
use lumenbus_wire::{FleetBeat, FleetStanding};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// An heir waits so long for the end of a stream whose owner is there.
pub const END_WAIT: Duration = Duration::from_secs(2);
/// Who was superseded writes again after this at the earliest, if it is the owner still.
pub const YIELD: Duration = Duration::from_secs(5);
/// A camera that its owner, who has another list of cameras, did not open for so long is taken by a node that knows it.
pub const ORPHANED_AFTER: Duration = Duration::from_secs(10);

/// What is to be done with a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Open(CameraId),
    /// End its streams; they are another's.
    Close(CameraId),
}

/// Whose a camera is, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Holder {
    /// Nobody knows yet: the node has just come, or does not hear the others.
    #[default]
    Unknown,
    /// This node runs it.
    Here,
    /// This node is about to, as soon as its streams have ended elsewhere.
    Awaited,
    /// Another node's; what people call it.
    Elsewhere(Arc<str>),
}

#[derive(Debug, Default)]
struct Claim {
    is_held: bool,
    /// Whose it was the last time that this was known.
    last_owner: Option<u64>,
    yields_until: Duration,
    waits_since: Option<Duration>,
    orphaned_since: Option<Duration>,
    holder: Holder,
}

/// Numbers of a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShareCounts {
    /// Cameras opened.
    pub opened: u64,
    /// Of those, the ones of lost nodes.
    pub taken_over: u64,
    /// Cameras given to other nodes.
    pub given: u64,
    /// Cameras that others took while this node ran them.
    pub superseded: u64,
    /// Nodes that were lost.
    pub lost_nodes: u64,
    /// Beats that came late or twice.
    pub late_beats: u64,
    /// Beats of nodes beyond [`MAX_NODES`](super::MAX_NODES), or under this node's number and not its own.
    pub refused_beats: u64,
}

/// A node of a shared fleet. Times are the node's own, from any beginning, and never go back.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(super) roll: Roll,
    cameras: BTreeMap<CameraId, Claim>,
    has_list: bool,
    is_draining: bool,
    pub(super) counts: ShareCounts,
}

impl Claims {
    pub(super) fn new(roll: Roll) -> Self {
        Self { roll, cameras: BTreeMap::new(), has_list: false, is_draining: false, counts: ShareCounts::default() }
    }

    /// The list of cameras from now on. One that is gone is none of ours any more; whoever runs it stops it.
    pub(crate) fn set_cameras(&mut self, cameras: BTreeSet<CameraId>) {
        self.cameras.retain(|camera, _| cameras.contains(camera));
        self.roll.revision = revision(cameras.iter());
        self.has_list = true;
        for camera in cameras {
            self.cameras.entry(camera).or_default();
        }
    }

    /// The beat that is due now; none before there is a list, even an empty one.
    pub(super) fn beat(&mut self, now: Duration) -> Option<FleetBeat> {
        self.has_list.then(|| self.roll.beat(now))
    }

    /// Whether this node has another list than who said this.
    pub(super) fn differs(&self, beat: &FleetBeat) -> bool {
        self.has_list && beat.revision != self.roll.revision
    }

    /// Whether this node runs the camera.
    pub(crate) fn holds(&self, camera: &CameraId) -> bool {
        self.cameras.get(camera).is_some_and(|claim| claim.is_held)
    }

    /// Whose a camera is.
    pub(crate) fn holder(&self, camera: &CameraId) -> Holder {
        self.cameras.get(camera).map(|claim| claim.holder.clone()).unwrap_or_default()
    }

    pub(super) fn held(&self) -> usize {
        self.cameras.values().filter(|claim| claim.is_held).count()
    }

    /// A beat of the fleet, in the order of the log.
    pub(super) fn hear(&mut self, beat: &FleetBeat, now: Duration) -> Heard {
        let heard = self.roll.hear(beat, now);
        match heard {
            Heard::Taken | Heard::New => {}
            Heard::Late => self.counts.late_beats += 1,
            Heard::Refused => self.counts.refused_beats += 1,
        }
        heard
    }

    /// From now on this node goes: it takes nothing, and its beats say so. What it holds is for its user to end.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        self.roll.drain();
    }

    /// Another publisher has taken a camera that this node runs.
    pub(super) fn superseded(&mut self, camera: &CameraId, now: Duration) {
        let Some(claim) = self.cameras.get_mut(camera).filter(|claim| claim.is_held) else { return };
        *claim = Claim { yields_until: now + YIELD, ..Claim::default() };
        self.counts.superseded += 1;
    }

    /// What is to be done now; `has_ended` tells of a camera that nobody publishes it, as far as the directory knows.
    /// Second: nodes that were lost.
    pub(super) fn look(
        &mut self,
        now: Duration,
        has_ended: impl Fn(&CameraId) -> bool,
    ) -> (Vec<Order>, Vec<(u64, Node)>) {
        let lost = self.roll.look(now);
        self.counts.lost_nodes += lost.len() as u64;
        // Who does not know how the others are goes on with what it has.
        if self.is_draining || !self.roll.is_member(now) {
            return (Vec::new(), lost);
        }
        let (roll, counts) = (&self.roll, &mut self.counts);
        let decide = |(camera, claim): (&CameraId, &mut Claim)| claim.decide(camera, roll, counts, now, &has_ended);
        (self.cameras.iter_mut().filter_map(decide).collect(), lost)
    }
}

impl Claim {
    fn decide(
        &mut self,
        camera: &CameraId,
        roll: &Roll,
        counts: &mut ShareCounts,
        now: Duration,
        has_ended: &impl Fn(&CameraId) -> bool,
    ) -> Option<Order> {
        let owner = owner(camera, roll, |_| true)?;
        let is_known_there = owner == roll.own || roll.nodes().get(&owner)?.revision == roll.revision;
        if owner == roll.own || self.is_orphan(camera, roll, now, is_known_there || !has_ended(camera)) {
            return self.claim(camera, roll, counts, now, has_ended);
        }
        self.waits_since = None;
        // One with another list may not have it; when it has, it takes it.
        if self.is_held && !is_known_there {
            return None;
        }
        self.last_owner = Some(owner);
        let name = &roll.nodes().get(&owner)?.name;
        if !matches!(&self.holder, Holder::Elsewhere(known) if known == name) {
            self.holder = Holder::Elsewhere(Arc::clone(name));
        }
        let gives = std::mem::take(&mut self.is_held);
        counts.given += u64::from(gives);
        gives.then(|| Order::Close(camera.clone()))
    }

    fn claim(
        &mut self,
        camera: &CameraId,
        roll: &Roll,
        counts: &mut ShareCounts,
        now: Duration,
        has_ended: &impl Fn(&CameraId) -> bool,
    ) -> Option<Order> {
        if self.is_held {
            return None;
        }
        if now < self.yields_until || self.waits_for_end(camera, roll, now, has_ended) {
            self.holder = Holder::Awaited;
            return None;
        }
        let was_lost = self.last_owner.is_some_and(|owner| owner != roll.own && !roll.nodes().contains_key(&owner));
        counts.opened += 1;
        counts.taken_over += u64::from(was_lost);
        *self = Self { is_held: true, last_owner: Some(roll.own), holder: Holder::Here, ..Self::default() };
        Some(Order::Open(camera.clone()))
    }

    /// Whoever had it is there and ends it.
    fn waits_for_end(
        &mut self,
        camera: &CameraId,
        roll: &Roll,
        now: Duration,
        has_ended: &impl Fn(&CameraId) -> bool,
    ) -> bool {
        let is_other = |node: &u64| *node != roll.own;
        let is_there = match self.last_owner {
            Some(owner) => is_other(&owner) && roll.nodes().contains_key(&owner),
            None => roll.nodes().keys().any(is_other),
        };
        if !is_there || has_ended(camera) {
            return false;
        }
        now.saturating_sub(*self.waits_since.get_or_insert(now)) < END_WAIT
    }

    /// Its owner has another list, nobody opens it, and this node comes next of those that know it.
    fn is_orphan(&mut self, camera: &CameraId, roll: &Roll, now: Duration, is_cared_for: bool) -> bool {
        if is_cared_for {
            self.orphaned_since = None;
            return false;
        }
        let since = *self.orphaned_since.get_or_insert(now);
        let knows = |node: &Node| node.revision == roll.revision;
        now.saturating_sub(since) >= ORPHANED_AFTER && owner(camera, roll, knows) == Some(roll.own)
    }
}

/// The member that has the camera.
fn owner(camera: &CameraId, roll: &Roll, is_meant: impl Fn(&Node) -> bool) -> Option<u64> {
    let members = roll.members().filter(|(_, node)| node.standing != FleetStanding::Draining && is_meant(node));
    members.map(|(node, _)| node).max_by_key(|node| (rank(*node, camera), *node))
}
