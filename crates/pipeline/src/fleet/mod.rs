//! Many cameras through one publisher.
//!
//! Each camera has a thread of its own, which opens the source, feeds its stream and, when something fails, tries
//! again after a wait that grows. Nothing that happens to one camera, a panic in its codec included, reaches another.
//! [`Fleet::apply`] makes the fleet as a new configuration says and leaves alone what did not change.
//!
//! Memory: what the publisher's lanes hold (bounded per stream), and one source and encoder a camera.
//!
//! ```no_run
//! use lumenbus_bus::{BusConfig, Publisher, PublisherConfig};
//! use lumenbus_pipeline::fleet::{CameraConfig, CameraSource, Fleet, FleetConfig};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! let bus = BusConfig::new("127.0.0.1:9092");
//! let publisher = Arc::new(Publisher::open(PublisherConfig::new(bus.clone()))?);
//! let fleet = Fleet::start(publisher, FleetConfig::new(bus.topic_prefix));
//! let mut gate = CameraConfig::new("gate".parse()?, CameraSource::Spec("gate.mp4".to_owned()));
//! gate.is_looped = true;
//! fleet.apply(vec![gate]);
//! std::thread::sleep(Duration::from_secs(60));
//! for (camera, ended) in fleet.finish(Duration::from_secs(10)) {
//!     println!("{camera}: {} frames", ended?.stats.submitted_frames);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backoff;
mod camera;
mod error;
#[cfg(test)]
mod live_tests;
mod shared;
mod status;
mod worker;

pub use backoff::Retry;
pub use camera::{CameraCodec, CameraConfig, CameraSource, default_topic};
pub use error::FleetError;
pub use status::{CameraState, CameraStatus, Totals};

use crate::publish::{FeedReport, SnapshotBudget};
use lumenbus_bus::TopicPrefix;
use lumenbus_bus::publisher::{Publisher, StreamSummary};
use lumenbus_frame::{CameraId, StreamName};
use shared::{Shared, Wanted, lock};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use worker::Worker;

/// Most cameras of one fleet; each has a thread.
pub const MAX_FLEET_CAMERAS: usize = 1_000;
/// A camera's thread may take so much longer than its stream's end.
const GRACE: Duration = Duration::from_secs(5);
/// A fleet that is dropped gives its streams so long to end.
const DROP_FINISH: Duration = Duration::from_millis(500);

/// How a fleet works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FleetConfig {
    /// Goes before every topic.
    pub topic_prefix: TopicPrefix,
    /// Waits between attempts.
    pub retry: Retry,
    /// How long the end of a stream may take when a camera is removed, changed or at its end.
    pub finish: Duration,
}

impl FleetConfig {
    /// The defaults: 1 to 30 s between attempts, 10 s to end a stream.
    #[must_use]
    pub fn new(topic_prefix: TopicPrefix) -> Self {
        Self { topic_prefix, retry: Retry::default(), finish: Duration::from_secs(10) }
    }
}

/// What [`Fleet::apply`] did.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Cameras that are new.
    pub added: Vec<CameraId>,
    /// Cameras that were started again with other settings: a new epoch.
    pub changed: Vec<CameraId>,
    /// Cameras that go on as they are, under another name, in another group or with other labels.
    pub described: Vec<CameraId>,
    /// Cameras that are gone; their streams are being ended.
    pub removed: Vec<CameraId>,
    /// Cameras that nothing happened to.
    pub unchanged: Vec<CameraId>,
    /// Settings that were not taken; a camera that ran before runs on as it was.
    pub refused: Vec<(CameraId, FleetError)>,
}

impl Changes {
    /// Whether everything is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let lists = [&self.added, &self.changed, &self.described, &self.removed];
        lists.iter().all(|list| list.is_empty()) && self.refused.is_empty()
    }
}

/// A camera's streams run by themselves.
type Key = (CameraId, StreamName);

struct Camera {
    config: CameraConfig,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    fn disabled(config: CameraConfig) -> Self {
        let state = CameraState::Stopped { reason: Arc::from("not enabled") };
        Self { shared: Arc::new(Shared::new(state, config.description())), config, thread: None }
    }

    fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

#[derive(Default)]
struct Members {
    running: BTreeMap<Key, Camera>,
    /// Removed; their streams are being ended.
    leaving: Vec<(Key, Camera)>,
    is_finished: bool,
}

/// Cameras that publish.
///
/// Dropping it without [`finish`](Self::finish) gives the streams half a second to end.
pub struct Fleet {
    publisher: Arc<Publisher>,
    config: FleetConfig,
    members: Mutex<Members>,
    closed: Arc<Mutex<Totals>>,
    budget: Arc<SnapshotBudget>,
}

impl Fleet {
    /// A fleet without cameras.
    #[must_use]
    pub fn start(publisher: Arc<Publisher>, config: FleetConfig) -> Self {
        Self { publisher, config, members: Mutex::default(), closed: Arc::default(), budget: Arc::default() }
    }

    /// Makes the fleet as `cameras` say: starts, restarts and stops what differs, by id and stream, and returns at once.
    ///
    /// What did not change runs on: same epoch, no frame lost. So does a camera of which only name, group or labels
    /// changed; the directory hears of it. One that changed otherwise is ended and comes back under a new epoch. Order
    /// does not matter.
    pub fn apply(&self, cameras: Vec<CameraConfig>) -> Changes {
        let mut changes = Changes::default();
        let mut members = lock(&self.members);
        if members.is_finished {
            changes.refused.extend(cameras.into_iter().map(|camera| (camera.id, FleetError::Finished)));
            return changes;
        }
        members.leaving.retain(|(_, camera)| !camera.is_over());
        let mut wanted = BTreeSet::new();
        for camera in cameras {
            let id = camera.id.clone();
            let is_new = wanted.insert(camera.key());
            let taken = if is_new {
                self.take(&mut members, camera, &mut changes)
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
        changes
    }

    /// Adds a camera, changes it or leaves it alone.
    fn take(&self, members: &mut Members, config: CameraConfig, changes: &mut Changes) -> Result<(), FleetError> {
        let (id, key) = (config.id.clone(), config.key());
        if let Some(known) = members.running.get_mut(&key).filter(|known| known.config.feeds_as(&config)) {
            if known.config == config {
                changes.unchanged.push(id);
            } else {
                known.shared.describe(config.description());
                self.publisher.describe(&id, config.description());
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
        let mut before = members.running.remove(&key).filter(|camera| camera.thread.is_some());
        if before.is_none() {
            // Removed or disabled a moment ago: its stream has to end first.
            let position = members.leaving.iter().position(|(leaving, _)| *leaving == key);
            before = position.map(|position| members.leaving.swap_remove(position).1);
        }
        if let Some(camera) = &before {
            camera.shared.want(Wanted::Stop(self.config.finish));
        }
        let camera = if config.enabled {
            self.spawn(config, before.and_then(|camera| camera.thread))?
        } else {
            members.leaving.extend(before.map(|camera| (key.clone(), camera)));
            Camera::disabled(config)
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

    /// As if somebody pulled the cable: the source stops, readers are told, and the frames that would have come are
    /// numbered and explained.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn unplug(&self, camera: &CameraId) -> Result<(), FleetError> {
        self.want(camera, Wanted::Unplugged)
    }

    /// Ends [`unplug`](Self::unplug): the same stream goes on, at a keyframe and marked as after a jump.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn plug(&self, camera: &CameraId) -> Result<(), FleetError> {
        self.want(camera, Wanted::Run)
    }

    fn want(&self, id: &CameraId, wanted: Wanted) -> Result<(), FleetError> {
        let members = lock(&self.members);
        let mut streams = members.running.values().filter(|camera| camera.config.id == *id && camera.config.enabled);
        let first = streams.next().ok_or_else(|| FleetError::Unknown { camera: id.clone() })?;
        for stream in [first].into_iter().chain(streams) {
            stream.shared.want(wanted);
        }
        Ok(())
    }

    /// Every camera of this moment, in the order of their ids; one with several streams has a row for each.
    #[must_use]
    pub fn status(&self) -> Vec<CameraStatus> {
        let open: BTreeMap<_, _> =
            self.publisher.stats().streams.into_iter().map(|stats| (stats.stream.clone(), stats)).collect();
        let members = lock(&self.members);
        let status = |((id, stream_name), camera): (&Key, &Camera)| {
            let progress = camera.shared.progress();
            let ended = || match &progress.outcome {
                Some(Ok(summary)) => Some(summary.stats.clone()),
                _ => None,
            };
            CameraStatus {
                id: id.clone(),
                stream_name: stream_name.clone(),
                name: camera.config.name.clone(),
                group: camera.config.group.clone(),
                source: camera.config.source.to_string(),
                codec: progress.codec,
                stream: progress.stream.clone(),
                state: progress.state.clone(),
                restarts: progress.restarts,
                retry_in: progress.retry_at.map(|at| at.saturating_duration_since(Instant::now())),
                report: progress.report(),
                stats: progress.stream.as_ref().and_then(|stream| open.get(stream).cloned()).or_else(ended),
            }
        };
        members.running.iter().map(status).collect()
    }

    /// Sums over every stream this fleet ever had; streams of stills once they have ended.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = lock(&self.closed).clone();
        let members = lock(&self.members);
        let ours: BTreeSet<_> = members
            .running
            .values()
            .chain(members.leaving.iter().map(|(_, camera)| camera))
            .filter_map(|camera| camera.shared.progress().stream.clone())
            .collect();
        drop(members);
        for stats in self.publisher.stats().streams {
            if ours.contains(&stats.stream) {
                totals.add_stats(&stats);
            }
        }
        totals
    }

    /// Ends every stream, all at once, within `deadline`; how each ended. Cameras that never gave a frame are in the
    /// list with what kept them from it; disabled ones are not. After that nothing can be applied.
    ///
    /// After a clean end `submitted = acknowledged + repeated + dropped` for each.
    pub fn finish(&self, deadline: Duration) -> Vec<(CameraId, Result<StreamSummary, FleetError>)> {
        let end = Instant::now() + deadline + GRACE;
        let all = self.stop(deadline);
        all.into_iter().filter_map(|((id, _), camera)| collect(id, camera, end)).collect()
    }

    fn stop(&self, deadline: Duration) -> Vec<(Key, Camera)> {
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

/// Waits for a camera's thread and tells how its stream ended.
fn collect(id: CameraId, camera: Camera, end: Instant) -> Option<(CameraId, Result<StreamSummary, FleetError>)> {
    let Camera { config, shared, thread } = camera;
    if !config.enabled {
        return None;
    }
    if !shared.wait_until_over(end) {
        // A thread that a source holds up cannot be joined; it ends with the process.
        return Some((id.clone(), Err(FleetError::Stuck { camera: id })));
    }
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!(camera = %id, "the camera's thread panicked");
    }
    let mut progress = shared.progress();
    let outcome = progress.outcome.take();
    let reason = progress.state.reason().cloned().unwrap_or_else(|| Arc::from("stopped"));
    Some((id.clone(), outcome.unwrap_or(Err(FleetError::NeverLive { camera: id, reason }))))
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let end = Instant::now() + DROP_FINISH + GRACE;
        for ((id, _), camera) in self.stop(DROP_FINISH) {
            drop(collect(id, camera, end));
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("config", &self.config).finish_non_exhaustive()
    }
}

impl FeedReport {
    /// Adds what another attempt did; its ending counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.repeated += other.repeated;
        self.lost += other.lost;
        self.undecodable += other.undecodable;
        self.ending = other.ending;
    }
}
