//! The thread of a node: beats out, beats in, and what follows from them for the cameras.

use super::claims::Order;
use super::roll::{BEAT, Heard};
use super::{ShareConfig, Sharing};
use crate::fleet::FleetError;
use crate::fleet::core::Core;
use crate::fleet::shared::lock;
use lumenbus_bus::control::BeatPort;
use lumenbus_wire::FleetBeat;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often what was heard is made into what is done.
const LOOK: Duration = Duration::from_millis(250);
/// Longest wait for a record: also how long stopping may take.
const POLL: Duration = Duration::from_millis(50);
/// That this node goes shall leave within this.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What is asked of the thread.
#[derive(Debug, Default)]
struct Wishes {
    drain: AtomicBool,
    stop: AtomicBool,
    has_drained: Mutex<bool>,
    drained: Condvar,
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Driver {
    wishes: Arc<Wishes>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    /// What a fleet shares with the thread that [`start`](Self::start) is to begin.
    ///
    /// # Errors
    /// A control topic that cannot be used.
    pub(crate) fn open(config: &ShareConfig) -> Result<(Arc<Sharing>, BeatPort), FleetError> {
        let port = BeatPort::open(&config.bus, config.fleet.clone());
        let port = port.map_err(|error| FleetError::Share { fleet: config.fleet.clone(), source: Arc::new(error) })?;
        Ok((Arc::new(Sharing::new(config)), port))
    }

    pub(crate) fn start(core: Arc<Core>, sharing: Arc<Sharing>, port: BeatPort) -> Result<Self, FleetError> {
        let wishes = Arc::<Wishes>::default();
        let fleet = sharing.fleet.clone();
        let node = Node { core, sharing, port, wishes: Arc::clone(&wishes), differing: BTreeSet::new() };
        let thread = thread::Builder::new().name("fleet-share".to_owned()).spawn(move || node.run());
        let thread = thread.map_err(|source| FleetError::ShareThread { fleet, source: Arc::new(source) })?;
        Ok(Self { wishes, thread: Some(thread) })
    }

    /// Tells the others that this node goes, and takes nothing any more. Waits a moment for it to leave.
    pub(crate) fn drain(&self) {
        self.wishes.drain.store(true, Ordering::Release);
        let drained = lock(&self.wishes.has_drained);
        let waited = self.wishes.drained.wait_timeout_while(drained, 2 * LAST_WORDS, |drained| !*drained);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.wishes.stop.store(true, Ordering::Release);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a shared fleet panicked");
        }
    }
}

struct Node {
    core: Arc<Core>,
    sharing: Arc<Sharing>,
    port: BeatPort,
    wishes: Arc<Wishes>,
    /// Nodes that were told to have another list of cameras; at most as many as there are nodes.
    differing: BTreeSet<u64>,
}

impl Node {
    fn run(mut self) {
        let (mut beat_due, mut look_due) = (Duration::ZERO, Duration::ZERO);
        while !self.wishes.stop.load(Ordering::Acquire) {
            let now = self.sharing.now();
            if self.wishes.drain.swap(false, Ordering::AcqRel) {
                self.go();
            }
            if now >= beat_due {
                self.beat(now);
                beat_due = now + BEAT;
            }
            if now >= look_due {
                self.look(now);
                look_due = now + LOOK;
            }
            let wait = beat_due.min(look_due).saturating_sub(self.sharing.now()).min(POLL);
            if let Ok(Some(beat)) = self.port.receive(wait) {
                self.hear(&beat);
            }
            self.sharing.foreign_records.store(self.port.refused(), Ordering::Relaxed);
        }
        self.port.flush(LAST_WORDS);
    }

    fn beat(&self, now: Duration) {
        let beat = self.sharing.claims().beat(now);
        if let Some(beat) = beat {
            self.port.send(&beat);
        }
    }

    fn go(&self) {
        self.sharing.claims().drain();
        self.beat(self.sharing.now());
        self.port.flush(LAST_WORDS);
        *lock(&self.wishes.has_drained) = true;
        self.wishes.drained.notify_all();
    }

    fn hear(&mut self, beat: &FleetBeat) {
        let fleet = &self.sharing.fleet;
        let mut claims = self.sharing.claims();
        let heard = claims.hear(beat, self.sharing.now());
        if matches!(heard, Heard::Late | Heard::Refused) {
            tracing::debug!(%fleet, node = beat.node, sequence = beat.sequence, ?heard, "a beat does not count");
            return;
        }
        let Some(name) = claims.roll.nodes().get(&beat.node).map(|node| Arc::clone(&node.name)) else { return };
        let is_different = claims.differs(beat);
        drop(claims);
        if heard == Heard::New {
            tracing::info!(%fleet, %name, "a node has come");
        }
        if !is_different {
            self.differing.remove(&beat.node);
        } else if self.differing.insert(beat.node) {
            tracing::warn!(
                %fleet,
                "node {name} has another list of cameras; a camera that is in one list only is not taken over by the other"
            );
        }
    }

    fn look(&mut self, now: Duration) {
        for camera in self.core.superseded() {
            self.sharing.claims().superseded(&camera, now);
            self.core.close(&camera);
        }
        let (orders, lost) = self.sharing.claims().look(now, |camera| self.core.has_ended(camera));
        let fleet = &self.sharing.fleet;
        for (number, node) in lost {
            self.differing.remove(&number);
            // Who said that it goes has gone.
            if node.counts {
                tracing::warn!(%fleet, "node {} is lost; others take its cameras over", node.name);
            }
        }
        for order in orders {
            match order {
                Order::Open(camera) => {
                    tracing::info!(%fleet, %camera, "the camera runs here from now on");
                    self.core.open(&camera);
                }
                Order::Close(camera) => {
                    tracing::info!(%fleet, %camera, "the camera goes to another node");
                    self.core.close(&camera);
                }
            }
        }
        self.core.show_holders();
    }
}
