//! The cameras of a fleet: started, exchanged and stopped.

use super::camera::CameraConfig;
use super::error::FleetError;
use super::shared::{Shared, Wanted, lock};
use super::sharing::{Holder, Sharing};
use super::status::{CameraState, Totals};
use super::worker::Worker;
use super::{Changes, FleetConfig, MAX_FLEET_CAMERAS};
use crate::publish::SnapshotBudget;
use lumenbus_bus::publisher::Publisher;
use lumenbus_frame::{CameraId, StreamName};
use lumenbus_wire::StreamState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A camera's streams run by themselves.
pub(super) type Key = (CameraId, StreamName);

pub(super) struct Camera {
    pub(super) config: CameraConfig,
    pub(super) shared: Arc<Shared>,
    /// `None`: it does not run here.
    pub(super) thread: Option<JoinHandle<()>>,
}

impl Camera {
    fn idle(config: CameraConfig, state: CameraState) -> Self {
        Self { shared: Arc::new(Shared::new(state, config.description())), config, thread: None }
    }

    fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

#[derive(Default)]
pub(super) struct Members {
    pub(super) running: BTreeMap<Key, Camera>,
    /// Removed, or another node's; their streams are being ended.
    pub(super) leaving: Vec<(Key, Camera)>,
    pub(super) is_finished: bool,
}

impl Members {
    /// Takes out the thread that had the camera until a moment ago: its stream has to end first.
    fn take_leaving(&mut self, key: &Key) -> Option<Camera> {
        let position = self.leaving.iter().position(|(leaving, _)| leaving == key);
        position.map(|position| self.leaving.swap_remove(position).1)
    }

    fn keys_of(&self, camera: &CameraId) -> Vec<Key> {
        self.running.keys().filter(|(id, _)| id == camera).cloned().collect()
    }
}

/// What a fleet and, where it is shared, its node's thread work on.
pub(super) struct Core {
    pub(super) publisher: Arc<Publisher>,
    pub(super) config: FleetConfig,
    pub(super) members: Mutex<Members>,
    pub(super) closed: Arc<Mutex<Totals>>,
    pub(super) budget: Arc<SnapshotBudget>,
    pub(super) sharing: Option<Arc<Sharing>>,
}

impl Core {
    pub(super) fn new(publisher: Arc<Publisher>, config: FleetConfig, sharing: Option<Arc<Sharing>>) -> Self {
        let (members, closed, budget) = (Mutex::default(), Arc::default(), Arc::default());
        Self { publisher, config, members, closed, budget, sharing }
    }

    pub(super) fn apply(&self, cameras: Vec<CameraConfig>) -> Changes {
        let mut changes = Changes::default();
        // Before the members, as everywhere; what it says does not change meanwhile.
        let mut claims = self.sharing.as_ref().map(|sharing| sharing.claims());
        let mut members = lock(&self.members);
        if members.is_finished {
            changes.refused.extend(cameras.into_iter().map(|camera| (camera.id, FleetError::Finished)));
            return changes;
        }
        members.leaving.retain(|(_, camera)| !camera.is_over());
        let mut wanted = BTreeSet::new();
        for camera in cameras {
            let id = camera.id.clone();
            let runs_here = claims.as_ref().is_none_or(|claims| claims.holds(&id));
            let is_new = wanted.insert(camera.key());
            let taken = if is_new {
                self.take(&mut members, camera, runs_here, &mut changes)
            } else {
                Err(FleetError::Duplicate { camera: id.clone() })
            };
            if let Err(error) = taken {
                changes.refused.push((id, error));
            }
        }
        let gone: Vec<_> = members.running.keys().filter(|key| !wanted.contains(*key)).cloned().collect();
        for key in gone {
            changes.removed.push(key.0.clone());
            if let Some(camera) = members.running.remove(&key) {
                camera.shared.want(Wanted::Stop(self.config.finish));
                members.leaving.push((key, camera));
            }
        }
        if let Some(claims) = &mut claims {
            let enabled = members.running.values().filter(|camera| camera.config.enabled);
            claims.set_cameras(enabled.map(|camera| camera.config.id.clone()).collect());
        }
        changes
    }

    /// Adds a camera, changes it or leaves it alone.
    fn take(
        &self,
        members: &mut Members,
        config: CameraConfig,
        runs_here: bool,
        changes: &mut Changes,
    ) -> Result<(), FleetError> {
        let (id, key) = (config.id.clone(), config.key());
        if let Some(known) = members.running.get_mut(&key).filter(|known| known.config.feeds_as(&config)) {
            if known.config == config {
                changes.unchanged.push(id);
            } else {
                known.shared.describe(config.description());
                // Whoever runs it tells the directory.
                if runs_here {
                    self.publisher.describe(&id, config.description());
                }
                known.config = config;
                changes.described.push(id);
            }
            return Ok(());
        }
        config.source.check().map_err(|error| FleetError::Source { camera: id.clone(), source: Arc::new(error) })?;
        let is_known = members.running.contains_key(&key);
        if !is_known && members.running.len() >= MAX_FLEET_CAMERAS {
            return Err(FleetError::TooMany { limit: MAX_FLEET_CAMERAS });
        }
        let before = members.running.remove(&key).filter(|camera| camera.thread.is_some());
        let before = before.or_else(|| members.take_leaving(&key));
        if let Some(camera) = &before {
            camera.shared.want(Wanted::Stop(self.config.finish));
        }
        let camera = if config.enabled && runs_here {
            self.spawn(config, before.and_then(|camera| camera.thread))?
        } else {
            members.leaving.extend(before.map(|camera| (key.clone(), camera)));
            let state = if config.enabled { elsewhere(&Holder::Unknown) } else { disabled() };
            Camera::idle(config, state)
        };
        members.running.insert(key, camera);
        if is_known { &mut changes.changed } else { &mut changes.added }.push(id);
        Ok(())
    }

    fn spawn(&self, config: CameraConfig, predecessor: Option<JoinHandle<()>>) -> Result<Camera, FleetError> {
        let shared = Arc::new(Shared::new(CameraState::Starting, config.description()));
        let worker = Worker {
            config: config.clone(),
            fleet: self.config.clone(),
            publisher: Arc::clone(&self.publisher),
            shared: Arc::clone(&shared),
            closed: Arc::clone(&self.closed),
            predecessor,
            source: None,
            stream: None,
            snapshots: None,
            budget: Arc::clone(&self.budget),
            away_since: None,
            told: None,
        };
        let builder = thread::Builder::new().name(format!("camera-{}", config.id));
        let thread = builder.spawn(move || worker.run());
        let thread =
            thread.map_err(|source| FleetError::Thread { camera: config.id.clone(), source: Arc::new(source) })?;
        Ok(Camera { config, shared, thread: Some(thread) })
    }

    /// Everything is told to stop, and nothing can be added any more.
    pub(super) fn stop(&self, deadline: Duration) -> Vec<(Key, Camera)> {
        let mut members = lock(&self.members);
        members.is_finished = true;
        let running = std::mem::take(&mut members.running);
        let all: Vec<_> = running.into_iter().chain(std::mem::take(&mut members.leaving)).collect();
        for (_, camera) in &all {
            camera.shared.want(Wanted::Stop(deadline));
        }
        all
    }
}

/// A shared fleet: what its node's thread asks for.
impl Core {
    /// Runs a camera of the list here from now on.
    pub(super) fn open(&self, camera: &CameraId) {
        let mut members = lock(&self.members);
        for key in members.keys_of(camera) {
            let Some(known) = members.running.get(&key).filter(|known| known.config.enabled && known.thread.is_none())
            else {
                continue;
            };
            let config = known.config.clone();
            let before = members.take_leaving(&key);
            match self.spawn(config, before.and_then(|camera| camera.thread)) {
                Ok(camera) => drop(members.running.insert(key, camera)),
                Err(error) => {
                    tracing::error!(%camera, "{error}");
                    known_state(&members, &key, CameraState::Failed { reason: Arc::from(error.to_string()) });
                }
            }
        }
    }

    /// Ends the streams of a camera that is another's.
    pub(super) fn close(&self, camera: &CameraId) {
        let mut members = lock(&self.members);
        members.leaving.retain(|(_, camera)| !camera.is_over());
        for key in members.keys_of(camera) {
            let Some(known) = members.running.get_mut(&key).filter(|known| known.thread.is_some()) else { continue };
            let idle = Camera::idle(known.config.clone(), elsewhere(&Holder::Unknown));
            let before = std::mem::replace(known, idle);
            before.shared.want(Wanted::Stop(self.config.finish));
            members.leaving.push((key, before));
        }
    }

    /// Cameras that another publisher has taken while they ran here.
    pub(super) fn superseded(&self) -> BTreeSet<CameraId> {
        let members = lock(&self.members);
        let lost = members.running.values().filter(|camera| camera.shared.progress().is_superseded);
        lost.map(|camera| camera.config.id.clone()).collect()
    }

    /// Whether nobody publishes the camera's streams, as far as the directory knows.
    pub(super) fn has_ended(&self, camera: &CameraId) -> bool {
        let Some(entry) = self.publisher.directory().entry(camera) else { return true };
        let members = lock(&self.members);
        let is_ours = |name: &StreamName| members.running.contains_key(&(camera.clone(), name.clone()));
        entry.streams.iter().filter(|stream| is_ours(&stream.name)).all(|stream| stream.state == StreamState::Ended)
    }

    /// Cameras that do not run here say whose they are.
    pub(super) fn show_holders(&self) {
        let Some(sharing) = &self.sharing else { return };
        let claims = sharing.claims();
        let members = lock(&self.members);
        for ((id, _), camera) in &members.running {
            if camera.thread.is_none() && camera.config.enabled {
                let state = elsewhere(&claims.holder(id));
                let mut progress = camera.shared.progress();
                if progress.state != state {
                    progress.state = state;
                }
            }
        }
    }
}

fn known_state(members: &Members, key: &Key, state: CameraState) {
    if let Some(camera) = members.running.get(key) {
        camera.shared.set_state(state);
    }
}

fn disabled() -> CameraState {
    CameraState::Stopped { reason: Arc::from("not enabled") }
}

fn elsewhere(holder: &Holder) -> CameraState {
    let reason = match holder {
        Holder::Unknown | Holder::Here => Arc::from("nobody's yet: the nodes of the fleet are being heard"),
        Holder::Awaited => Arc::from("comes here as soon as it has ended elsewhere"),
        Holder::Elsewhere(name) => format!("owned elsewhere: {name}").into(),
    };
    CameraState::Elsewhere { reason }
}
