//! Many cameras through one publisher.
//!
//! Each camera has a thread of its own, which opens the source, feeds its stream and, when something fails, tries
//! again after a wait that grows. Nothing that happens to one camera, a panic in its codec included, reaches another.
//! [`Fleet::apply`] makes the fleet as a new configuration says and leaves alone what did not change.
//!
//! Several processes may share one list of cameras ([`Fleet::start_shared`]): each camera is run by one of them, and those of
//! a process that is lost by the others.
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
mod core;
mod error;
#[cfg(test)]
mod live_tests;
mod shared;
mod sharing;
mod status;
mod worker;

pub use backoff::Retry;
pub use camera::{CameraCodec, CameraConfig, CameraSource, default_topic};
pub use error::FleetError;
pub use sharing::{
    BEAT, END_WAIT, JOIN_AFTER, LOST_AFTER, MAX_NODES, NodeStatus, ORPHANED_AFTER, ShareConfig, ShareCounts,
    ShareStatus, YIELD,
};
pub use status::{CameraState, CameraStatus, Totals};

use self::core::{Camera, Core, Key};
use crate::publish::FeedReport;
use lumenbus_bus::TopicPrefix;
use lumenbus_bus::publisher::{Publisher, StreamSummary};
use lumenbus_frame::CameraId;
use shared::{Wanted, lock};
use sharing::Driver;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Cameras that publish.
///
/// Dropping it without [`finish`](Self::finish) gives the streams half a second to end.
pub struct Fleet {
    core: Arc<Core>,
    /// The thread of a shared fleet.
    driver: Option<Driver>,
}

impl Fleet {
    /// A fleet without cameras.
    #[must_use]
    pub fn start(publisher: Arc<Publisher>, config: FleetConfig) -> Self {
        Self { core: Arc::new(Core::new(publisher, config, None)), driver: None }
    }

    /// A node of a shared fleet: of the cameras that [`apply`](Self::apply) names, those run here that are this node's.
    ///
    /// Each camera is run by one node. Those of a node that is lost are opened by the others, at a keyframe and under a new
    /// epoch; those of one that [finishes](Self::finish) as their streams end. The others wait in
    /// [`CameraState::Elsewhere`]. It takes some seconds until a node that has come is given cameras.
    ///
    /// # Errors
    /// [`FleetError::Share`] when the control topic cannot be used; [`FleetError::ShareThread`].
    pub fn start_shared(
        publisher: Arc<Publisher>,
        config: FleetConfig,
        share: &ShareConfig,
    ) -> Result<Self, FleetError> {
        let (sharing, port) = Driver::open(share)?;
        let core = Arc::new(Core::new(publisher, config, Some(Arc::clone(&sharing))));
        let driver = Driver::start(Arc::clone(&core), sharing, port)?;
        Ok(Self { core, driver: Some(driver) })
    }

    /// The fleet that this one is a node of, where it is shared.
    #[must_use]
    pub fn sharing(&self) -> Option<ShareStatus> {
        self.core.sharing.as_ref().map(|sharing| sharing.status())
    }

    /// Makes the fleet as `cameras` say: starts, restarts and stops what differs, by id and stream, and returns at once.
    ///
    /// What did not change runs on: same epoch, no frame lost. So does a camera of which only name, group or labels
    /// changed; the directory hears of it. One that changed otherwise is ended and comes back under a new epoch. Order
    /// does not matter. In a shared fleet a new camera runs, here or elsewhere, as soon as it is known whose it is.
    pub fn apply(&self, cameras: Vec<CameraConfig>) -> Changes {
        self.core.apply(cameras)
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
        let members = lock(&self.core.members);
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
            self.core.publisher.stats().streams.into_iter().map(|stats| (stats.stream.clone(), stats)).collect();
        let members = lock(&self.core.members);
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
        let mut totals = lock(&self.core.closed).clone();
        let members = lock(&self.core.members);
        let ours: BTreeSet<_> = members
            .running
            .values()
            .chain(members.leaving.iter().map(|(_, camera)| camera))
            .filter_map(|camera| camera.shared.progress().stream.clone())
            .collect();
        drop(members);
        for stats in self.core.publisher.stats().streams {
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
        self.drain();
        let end = Instant::now() + deadline + GRACE;
        let all = self.core.stop(deadline);
        all.into_iter().filter_map(|((id, _), camera)| collect(id, camera, end)).collect()
    }

    /// In a shared fleet: the others take what ends here from now on.
    fn drain(&self) {
        if let Some(driver) = &self.driver {
            driver.drain();
        }
    }
}

/// Waits for a camera's thread and tells how its stream ended.
fn collect(id: CameraId, camera: Camera, end: Instant) -> Option<(CameraId, Result<StreamSummary, FleetError>)> {
    let Camera { config, shared, thread } = camera;
    if !config.enabled || thread.is_none() {
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
        if !lock(&self.core.members).is_finished {
            self.drain();
        }
        let end = Instant::now() + DROP_FINISH + GRACE;
        for ((id, _), camera) in self.core.stop(DROP_FINISH) {
            drop(collect(id, camera, end));
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("config", &self.core.config).finish_non_exhaustive()
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
