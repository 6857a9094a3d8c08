//! Several processes share one list of cameras: each camera is run by exactly one of them.
//!
//! Each node tells the others through the control topic that it is there ([`BEAT`]). All hear the same beats in the same
//! order, and all come to the same: `roll.rs` says who is there, `claims.rs` who runs what (both pure), `driver.rs` is
//! the thread around them. **Never doubled** needs none of this: a stream belongs to the highest epoch in the directory,
//! whatever nodes believe of each other. Who is wrong about it is superseded, and yields.

mod claims;
mod driver;
#[cfg(test)]
mod model_tests;
mod rank;
mod roll;

pub(super) use driver::Driver;

pub(super) use claims::Holder;

pub use claims::{END_WAIT, ORPHANED_AFTER, ShareCounts, YIELD};
pub use roll::{BEAT, JOIN_AFTER, LOST_AFTER, MAX_NODES};

use super::shared::lock;
use claims::Claims;
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_frame::{Clock as _, FleetName};
use lumenbus_wire::FleetStanding;
use roll::Roll;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How a fleet is shared.
#[derive(Debug, Clone)]
pub struct ShareConfig {
    /// The fleet's name: nodes of one name share one list of cameras.
    pub fleet: FleetName,
    /// Where the beats go.
    pub bus: BusConfig,
    /// What people call this node; at most 128 bytes are told to others. Two of one name get along.
    pub node: String,
}

/// A node of a shared fleet, as another or itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its number, at random.
    pub node: u64,
    /// What people call it. It comes from outside; control characters are left out.
    pub name: Arc<str>,
    /// How it stands, by its own words.
    pub standing: FleetStanding,
    /// Whether it is this process.
    pub is_own: bool,
    /// Whether cameras are given to it.
    pub is_counted: bool,
    /// Whether it has the same list of cameras as this node.
    pub has_same_cameras: bool,
}

/// A shared fleet at this moment, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareStatus {
    /// The fleet's name.
    pub fleet: FleetName,
    /// Whether this node reads what it sends. While it does not, it takes nothing and goes on with what it has.
    pub is_sighted: bool,
    /// Every node that is heard, this one included, in the order of their numbers.
    pub nodes: Vec<NodeStatus>,
    /// Cameras that run here.
    pub held_cameras: usize,
    /// What happened so far.
    pub counts: ShareCounts,
    /// Records under the fleet's name that are no beats.
    pub foreign_records: u64,
}

/// What the fleet and the thread share. Lock order: this before the fleet's members.
#[derive(Debug)]
pub(super) struct Sharing {
    fleet: FleetName,
    began: Instant,
    claims: Mutex<Claims>,
    foreign_records: AtomicU64,
}

impl Sharing {
    fn new(config: &ShareConfig) -> Self {
        let number = RandomState::new().hash_one(std::process::id());
        let roll = Roll::new(number, &config.node, SystemClock.unix_nanos());
        Self {
            fleet: config.fleet.clone(),
            began: Instant::now(),
            claims: Mutex::new(Claims::new(roll)),
            foreign_records: AtomicU64::new(0),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn claims(&self) -> MutexGuard<'_, Claims> {
        lock(&self.claims)
    }

    pub(super) fn status(&self) -> ShareStatus {
        let claims = self.claims();
        let roll = &claims.roll;
        let node = |(number, node): (&u64, &roll::Node)| NodeStatus {
            node: *number,
            name: Arc::clone(&node.name),
            standing: node.standing,
            is_own: *number == roll.own,
            is_counted: node.counts,
            has_same_cameras: node.revision == roll.revision,
        };
        ShareStatus {
            fleet: self.fleet.clone(),
            is_sighted: roll.is_sighted(self.now()),
            nodes: roll.nodes().iter().map(node).collect(),
            held_cameras: claims.held(),
            counts: claims.counts,
            foreign_records: self.foreign_records.load(Ordering::Relaxed),
        }
    }
}
