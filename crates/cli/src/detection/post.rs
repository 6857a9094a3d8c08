//! One worker that is kept at work: what fails begins again, after rests that grow.

use super::topics::{FrameTopics, NoTopics};
use super::{DetectOptions, Sums};
use lumenbus_bus::results::OpenTransaction;
use lumenbus_bus::{BusConfig, FrameTracer};
use lumenbus_pipeline::Shutdown;
use lumenbus_vision::worker::{DetectorSource, WorkError, Worker};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rest before a worker that failed begins again; doubles up to the longest.
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Who held out for this long rests as after a first failure.
const HELD_OUT: Duration = Duration::from_secs(60);
/// How often somebody who waits for topics looks.
const LOOK: Duration = Duration::from_millis(100);

/// How a worker is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkState {
    /// It connects.
    Starting,
    /// There is nothing to read yet, or somebody's transaction holds its results up.
    Waiting {
        reason: Arc<str>,
    },
    Working,
    /// It begins again after a rest.
    Failed {
        reason: Arc<str>,
    },
    Stopped,
}

impl WorkState {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting { .. } => "waiting",
            Self::Working => "working",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Waiting { reason } | Self::Failed { reason } => Some(reason),
            Self::Starting | Self::Working | Self::Stopped => None,
        }
    }
}

/// A worker at one moment.
#[derive(Debug, Clone)]
pub(crate) struct WorkerStatus {
    pub(crate) state: WorkState,
    /// Times it began again after a failure.
    pub(crate) failures: u64,
    pub(crate) sums: Sums,
}

/// What all workers of this process share.
pub(super) struct Ground {
    pub(super) bus: BusConfig,
    pub(super) tracer: Option<Arc<dyn FrameTracer>>,
    pub(super) topics: FrameTopics,
    /// Ends the look-out for topics.
    pub(super) stop: Shutdown,
}

/// What the workers of one group share: the detector, read once.
pub(super) struct Kit {
    pub(super) options: DetectOptions,
    detectors: Mutex<Option<DetectorSource>>,
}

impl Kit {
    pub(super) fn new(options: DetectOptions) -> Self {
        Self { options, detectors: Mutex::default() }
    }

    fn detectors(&self) -> Result<DetectorSource, WorkError> {
        let mut known = lock(&self.detectors);
        if let Some(detectors) = &*known {
            return Ok(detectors.clone());
        }
        Ok(known.insert(DetectorSource::of(&self.options.detector)?).clone())
    }
}

/// A worker's thread, and what it is told.
pub(super) struct Post {
    place: Arc<Place>,
    thread: JoinHandle<()>,
}

struct Place {
    ground: Arc<Ground>,
    kit: Arc<Kit>,
    stop: Shutdown,
    now: Mutex<Now>,
}

struct Now {
    state: WorkState,
    worker: Option<Arc<Worker>>,
    /// Ends what is under way, for good or to begin again.
    round: Arc<Shutdown>,
    failures: u64,
    /// Of the workers before.
    past: Sums,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Post {
    pub(super) fn start(ground: &Arc<Ground>, kit: &Arc<Kit>) -> std::io::Result<Self> {
        let now =
            Now { state: WorkState::Starting, worker: None, round: Arc::default(), failures: 0, past: Sums::default() };
        let (ground, kit) = (Arc::clone(ground), Arc::clone(kit));
        let place = Arc::new(Place { ground, kit, stop: Shutdown::default(), now: Mutex::new(now) });
        let keeper = Arc::clone(&place);
        let thread = std::thread::Builder::new().name("detect".to_owned()).spawn(move || keeper.keep())?;
        Ok(Self { place, thread })
    }

    pub(super) fn status(&self) -> WorkerStatus {
        let now = lock(&self.place.now);
        let sums = now.worker.iter().fold(now.past, |sums, worker| sums.and(Sums::of(worker)));
        let open = now.worker.as_ref().and_then(|worker| worker.waits_for());
        let state = open.map_or_else(|| now.state.clone(), |open| WorkState::Waiting { reason: held_up_by(&open) });
        WorkerStatus { state, failures: now.failures, sums }
    }

    /// Commits what it has and begins again, with the topics as they are then.
    pub(super) fn renew(&self) {
        lock(&self.place.now).round.request();
    }

    /// Asks it to commit what it has and end; [`join`](Self::join) waits for that.
    pub(super) fn stop(&self) {
        self.place.stop.request();
        self.renew();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// What it did in all; after [`stop`](Self::stop).
    pub(super) fn join(self) -> Sums {
        if self.thread.join().is_err() {
            tracing::error!("the thread that keeps a detector at work panicked");
        }
        let now = lock(&self.place.now);
        now.past
    }
}

fn held_up_by(OpenTransaction { topic, partition, .. }: &OpenTransaction) -> Arc<str> {
    format!("some producer's transaction is open in partition {partition} of {topic}; results wait for its end").into()
}

/// How a round of work ended.
enum Round {
    /// Somebody asked for it.
    Ended,
    /// There was nothing to read.
    Idle(NoTopics),
}

impl Place {
    fn keep(&self) {
        let mut rest = REST;
        loop {
            let round = Arc::<Shutdown>::default();
            // Before topics are read: who finds more of them afterwards ends this round.
            lock(&self.now).round = Arc::clone(&round);
            if self.stop.is_requested() {
                break;
            }
            let began = Instant::now();
            match self.work(&round) {
                Ok(Round::Ended) => {}
                Ok(Round::Idle(why)) => {
                    lock(&self.now).state = match why {
                        NoTopics::Yet(reason) => WorkState::Waiting { reason },
                        NoTopics::Failed(reason) => WorkState::Failed { reason },
                    };
                    self.stop.sleep(LOOK);
                }
                Err(error) => {
                    rest = if began.elapsed() >= HELD_OUT { REST } else { rest };
                    let group = self.kit.options.group();
                    tracing::warn!(group, "a detection worker failed and begins again in {rest:?}: {error:#}");
                    let mut now = lock(&self.now);
                    (now.state, now.failures) =
                        (WorkState::Failed { reason: error.to_string().into() }, now.failures + 1);
                    drop(now);
                    self.stop.sleep(rest);
                    rest = (rest * 2).min(LONGEST_REST);
                }
            }
        }
        lock(&self.now).state = WorkState::Stopped;
    }

    /// Works until it is asked to end, or fails.
    fn work(&self, round: &Shutdown) -> anyhow::Result<Round> {
        let (options, bus) = (&self.kit.options, &self.ground.bus);
        let named = options.topic.iter().map(|topic| bus.topic_prefix.topic(topic.as_str())).collect::<Vec<_>>();
        let mut config = options.worker(bus.clone()).map_err(anyhow::Error::msg)?;
        config.topics = match self.ground.topics.found() {
            _ if !named.is_empty() => named,
            Ok(found) => found,
            Err(reason) => return Ok(Round::Idle(reason)),
        };
        config.tracer.clone_from(&self.ground.tracer);
        let worker = Arc::new(Worker::new(config, self.kit.detectors()?)?);
        {
            let mut now = lock(&self.now);
            (now.state, now.worker) = (WorkState::Working, Some(Arc::clone(&worker)));
        }
        // A thread that dies would be missed by nobody.
        let ended = catch_unwind(AssertUnwindSafe(|| worker.run(round))).unwrap_or(Err(WorkError::Panicked));
        let mut now = lock(&self.now);
        now.past = now.past.and(Sums::of(&worker));
        now.worker = None;
        drop(now);
        ended?;
        Ok(Round::Ended)
    }
}
