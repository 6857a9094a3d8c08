//! The analysis worker: a member of a consumer group that looks at the frames it is given and writes what it found.
//!
//! Two threads beside those of the bus: one takes events and decodes, one detects. Between them is a desk: all pictures in
//! turn (policy `lossless`), or the newest of each stream (`newest`). Results and offsets are committed together
//! ([`lumenbus_bus::results`]); when a transaction is given up, everything begins again from what was committed.
//!
//! ```no_run
//! use lumenbus_bus::BusConfig;
//! use lumenbus_pipeline::Shutdown;
//! use lumenbus_vision::DetectorKind;
//! use lumenbus_vision::worker::{DetectorSource, Worker, WorkerConfig};
//!
//! let config = WorkerConfig::new(BusConfig::new("127.0.0.1:9092"), "guards".to_owned());
//! let detectors = DetectorSource::of(&DetectorKind::Motion)?;
//! let worker = Worker::new(config, detectors)?;
//! let ending = worker.run(&Shutdown::default())?;
//! println!("{ending:?} after {} results", worker.counts().analysed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod analyst;
mod counts;
mod desk;
mod freshness;
mod hold_up;
mod intake;
mod rights;
mod window;

pub use counts::WorkerCounts;
pub use intake::Frames;

use crate::detector::{Detector, DetectorKind, VisionError};
use analyst::{Analyst, Maker, Sights};
use counts::{Counter, Counters};
use desk::{Desk, Keeps};
use hold_up::{HoldUp, Stop};
use intake::Intake;
use lumenbus_bus::results::{MoreTopics, OpenTransaction, ResultStats, ResultWriter, ResultWriterConfig};
use lumenbus_bus::subscriber::{CameraFilter, Horizon, Preroll, Start, Subscriber, SubscriberConfig, SubscriberGauges};
use lumenbus_bus::topics::{ANALYSIS_RESULTS, EVENTS, IMAGE_FEATURES, ensure_topics};
use lumenbus_bus::{BusConfig, BusError, FrameTracer};
use lumenbus_frame::TopicName;
use lumenbus_pipeline::Shutdown;
use lumenbus_wire::{Model, ResultForm};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use window::Windows;

/// How long to wait for an event before looking at everything else.
const WAIT: Duration = Duration::from_millis(50);
/// Rest before everything begins again; doubles up to the longest.
const REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Streams whose partitions are gone are looked for this often.
const SWEEP: Duration = Duration::from_secs(1);
/// How long the picture in work may hold up an orderly end.
const LAST_PICTURE: Duration = Duration::from_secs(30);

/// What to do when the detector is slower than the cameras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The newest picture of each stream; others are passed over.
    #[default]
    Newest,
    /// Every frame has exactly one result.
    Lossless,
}

/// Opens a detector for each stream.
#[derive(Clone)]
pub struct DetectorSource {
    open: Arc<dyn Fn() -> Result<Box<dyn Detector>, VisionError> + Send + Sync>,
}

impl DetectorSource {
    /// One of those that have a name; what they need is read once.
    ///
    /// # Errors
    /// What the detector needs and cannot have.
    pub fn of(kind: &DetectorKind) -> Result<Self, VisionError> {
        let loaded = kind.load()?;
        Ok(Self::new(move || Ok(loaded.open())))
    }

    /// Your own.
    #[must_use]
    pub fn new(open: impl Fn() -> Result<Box<dyn Detector>, VisionError> + Send + Sync + 'static) -> Self {
        Self { open: Arc::new(open) }
    }

    fn open(&self) -> Result<Box<dyn Detector>, VisionError> {
        (self.open)()
    }
}

impl fmt::Debug for DetectorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetectorSource").finish_non_exhaustive()
    }
}

/// What to look at, and how.
#[derive(Clone)]
pub struct WorkerConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Full names of the frame topics.
    pub topics: Vec<TopicName>,
    /// Which cameras.
    pub cameras: CameraFilter,
    /// The group that shares the work.
    pub group: String,
    /// Where to begin what the group has not committed.
    pub start: Start,
    /// When the detector is slower than the cameras.
    pub policy: Policy,
    /// Which frames are decoded.
    pub frames: Frames,
    /// How results are written.
    pub form: ResultForm,
    /// Whether seconds have feature records, and what happens has events.
    pub features: bool,
    /// Coded bytes that may wait.
    pub buffer_bytes: usize,
    /// Bytes of pictures that may wait for the detector, under `lossless`; one always may.
    pub picture_bytes: usize,
    /// End after this time.
    pub duration: Option<Duration>,
    /// End when everything that was in the log at the beginning is done and every stream seen has ended.
    pub until_end: bool,
    /// Who follows frames through traces.
    pub tracer: Option<Arc<dyn FrameTracer>>,
}

impl WorkerConfig {
    /// `raw_video`, live, all cameras, the newest pictures, JSON, with features.
    #[must_use]
    pub fn new(bus: BusConfig, group: String) -> Self {
        Self {
            topics: vec![bus.topic_prefix.topic("raw_video")],
            bus,
            cameras: CameraFilter::default(),
            group,
            start: Start::Live,
            policy: Policy::Newest,
            frames: Frames::All,
            form: ResultForm::Json,
            features: true,
            buffer_bytes: 16 << 20,
            picture_bytes: 64 << 20,
            duration: None,
            until_end: false,
            tracer: None,
        }
    }

    fn subscriber(&self, writer: &ResultWriter) -> SubscriberConfig {
        let mut config = SubscriberConfig::new(self.bus.clone(), self.topics.clone());
        config.cameras = self.cameras.clone();
        config.start = self.start;
        config.policy = match self.policy {
            Policy::Newest => lumenbus_bus::Policy::Newest,
            Policy::Lossless => lumenbus_bus::Policy::Lossless,
        };
        config.preroll = Preroll::Deliver;
        config.buffer_bytes = self.buffer_bytes;
        config.tracer.clone_from(&self.tracer);
        config.results = Some(writer.link());
        config
    }
}

impl fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerConfig")
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("policy", &self.policy)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// Reading or writing failed in a way that does not pass.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A topic that only feature records and events need is missing or not permitted.
    #[error(
        "{0}; only feature records and events need it: --no-features (`features = false` in the settings file) goes without"
    )]
    Features(BusError),
    /// No detector.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The detector's thread ended by itself.
    #[error("the detector gave up (it panicked); the frames that it had are looked at again by the next worker")]
    Panicked,
}

/// Why a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its time was over.
    Limit,
    /// Everything was done.
    StreamsEnded,
    /// Somebody asked for it.
    Interrupted,
}

/// Looks at frames; see the [module](self).
pub struct Worker {
    config: WorkerConfig,
    detectors: DetectorSource,
    maker: Maker,
    writer: ResultWriter,
    gauges: Mutex<Option<SubscriberGauges>>,
    hold_up: HoldUp,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Worker {
    /// Opens a detector to see that it can, sees to the results' topic and connects.
    ///
    /// # Errors
    /// When there is no such detector, or brokers are out of reach or refuse.
    pub fn new(config: WorkerConfig, detectors: DetectorSource) -> Result<Self, WorkError> {
        let model: Model = detectors.open()?.model().clone();
        lumenbus_bus::probe(&config.bus).map_err(BusError::from)?;
        let prefix = &config.bus.topic_prefix;
        let mut results =
            ResultWriterConfig::new(config.bus.clone(), prefix.topic(ANALYSIS_RESULTS), config.group.clone());
        if config.features {
            ensure_topics(&config.bus, &[ANALYSIS_RESULTS, IMAGE_FEATURES, EVENTS])
                .map_err(|error| rights::told(&config, error))?;
            results.more = Some(MoreTopics { features: prefix.topic(IMAGE_FEATURES), events: prefix.topic(EVENTS) });
        } else {
            ensure_topics(&config.bus, &[ANALYSIS_RESULTS])?;
        }
        let writer = ResultWriter::open(results).map_err(|error| rights::told(&config, error))?;
        let counters = Arc::<Counters>::default();
        let maker = Maker { model, form: config.form, policy: config.policy, counters };
        Ok(Self { config, detectors, maker, writer, gauges: Mutex::default(), hold_up: HoldUp::default() })
    }

    /// What became of the frames so far.
    #[must_use]
    pub fn counts(&self) -> WorkerCounts {
        self.maker.counters.read()
    }

    /// What was committed so far.
    #[must_use]
    pub fn written(&self) -> ResultStats {
        self.writer.stats()
    }

    /// Somebody's transaction whose end it has waited for, for a second or longer: so long nothing of that partition's
    /// cameras is written.
    #[must_use]
    pub fn waits_for(&self) -> Option<OpenTransaction> {
        self.hold_up.transaction()
    }

    /// Which model it works with.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.maker.model
    }

    /// The counters of a subscriber that was opened since this was asked last: there is another after each new beginning.
    #[must_use]
    pub fn take_gauges(&self) -> Option<SubscriberGauges> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Works until a limit, an end or a shutdown.
    ///
    /// Brokers that go away are waited for once work has begun.
    ///
    /// # Errors
    /// What does not pass: no right to a topic, a topic that is missing, a detector that panics.
    pub fn run(&self, shutdown: &Shutdown) -> Result<Ending, WorkError> {
        let deadline = self.config.duration.map(|duration| Instant::now() + duration);
        let stop = Stop { shutdown, deadline };
        let mut rest = REST;
        let mut has_worked = false;
        loop {
            let began = Instant::now();
            let error = match Subscriber::open(self.config.subscriber(&self.writer)) {
                Ok(subscriber) => match self.session(subscriber, stop) {
                    Err(WorkError::Bus(error)) => error,
                    ended => return ended,
                },
                Err(error) if !has_worked => return Err(error.into()),
                Err(error) => error,
            };
            has_worked = true;
            if !passes(&error) {
                return Err(rights::told(&self.config, error));
            }
            self.maker.counters.add(Counter::Restarts, 1);
            rest = if began.elapsed() > LONGEST_REST { REST } else { (rest * 2).min(LONGEST_REST) };
            tracing::warn!(%error, "the worker begins again from what was committed");
            let left = deadline.map_or(rest, |deadline| deadline.saturating_duration_since(Instant::now()));
            shutdown.sleep(rest.min(left));
            if let Some(ending) = stop.ending() {
                return Ok(ending);
            }
        }
    }

    /// From opening a subscriber to its end; an error of the bus begins another.
    fn session(&self, mut subscriber: Subscriber, stop: Stop<'_>) -> Result<Ending, WorkError> {
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner) = Some(subscriber.gauges());
        let keeps = match self.config.policy {
            Policy::Newest => Keeps::Newest,
            Policy::Lossless => Keeps::All { bytes: self.config.picture_bytes },
        };
        let desk = Desk::new(keeps, Arc::clone(&self.maker.counters));
        std::thread::scope(|scope| {
            let analyst = Analyst {
                desk: &desk,
                writer: &self.writer,
                detectors: &self.detectors,
                maker: self.maker.clone(),
                sights: Sights::default(),
                windows: self.windows(),
                hold_up: &self.hold_up,
                stop,
            };
            let closing = Closing(&desk);
            let spawned = std::thread::Builder::new().name("lumenbus-detect".to_owned());
            let thread = spawned
                .spawn_scoped(scope, move || {
                    let _closing = Closing(analyst.desk);
                    analyst.run();
                })
                .map_err(|source| BusError::Thread { what: "detect", source })?;
            let ended = self.read(&mut subscriber, &desk, stop);
            drop(closing);
            let detected = thread.join();
            let ended = match detected {
                Err(_) => Err(WorkError::Panicked),
                Ok(()) => ended,
            };
            if ended.is_ok() {
                self.writer.flush()?;
            }
            subscriber.close();
            ended
        })
    }

    fn windows(&self) -> Option<Windows> {
        let WorkerConfig { bus, group, features, .. } = &self.config;
        let topic = |base| bus.topic_prefix.topic(base);
        features.then(|| Windows::new(bus.clone(), topic(ANALYSIS_RESULTS), topic(IMAGE_FEATURES), group))
    }

    fn read(&self, subscriber: &mut Subscriber, desk: &Desk, stop: Stop<'_>) -> Result<Ending, WorkError> {
        let mut intake = Intake::new(desk, self.maker.clone(), self.config.frames);
        let horizon = self.config.until_end.then(|| subscriber.horizon()).transpose()?;
        // Where the log ended when streams had fallen silent.
        let mut silent_until: Option<Horizon> = None;
        let mut last_sweep = Instant::now();
        loop {
            if let Some(ending) = stop.ending() {
                return Ok(ending);
            }
            match subscriber.recv_held(WAIT)? {
                Some((event, receipt)) => intake.take(event, receipt, subscriber.buffered_bytes() > 0),
                None => {
                    if horizon.as_ref().is_some_and(|horizon| has_all(subscriber, horizon, &intake)) {
                        intake.finish_all();
                        if self.drain(desk, stop.shutdown)? {
                            return Ok(Ending::StreamsEnded);
                        }
                    }
                }
            }
            if last_sweep.elapsed() >= SWEEP {
                intake.sweep();
                silent_until = finish_silent(subscriber, &mut intake, silent_until);
                last_sweep = Instant::now();
            }
            self.writer.check()?;
            if desk.is_closed() {
                // The analyst closes it where it waits for somebody else while the worker is to end.
                if let Some(ending) = stop.ending() {
                    return Ok(ending);
                }
                if let Some(error) = desk.take_failure() {
                    return Err(error.into());
                }
                // Whoever closes it for the writer's sake does so after the writer has said why. Else: a panic.
                self.writer.check()?;
                return Err(WorkError::Panicked);
            }
        }
    }

    /// Waits until everything on the desk is done; `false` when it was left.
    fn drain(&self, desk: &Desk, shutdown: &Shutdown) -> Result<bool, WorkError> {
        let deadline = Instant::now() + LAST_PICTURE;
        while !desk.is_idle(WAIT) {
            self.writer.check()?;
            if shutdown.is_requested() || desk.is_closed() || Instant::now() >= deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn has_all(subscriber: &Subscriber, horizon: &Horizon, intake: &Intake<'_>) -> bool {
    intake.have_all_ended() && subscriber.has_reached(horizon)
}

/// A stream that stopped without an end gets its last pictures, once everything that was in the log is read. `until`: where
/// that ends, if it was asked for.
fn finish_silent(subscriber: &Subscriber, intake: &mut Intake<'_>, until: Option<Horizon>) -> Option<Horizon> {
    match until {
        Some(until) if subscriber.has_reached(&until) => {
            intake.finish_silent();
            None
        }
        Some(until) => Some(until),
        None if !intake.doubts_silent() => None,
        None => {
            let horizon = subscriber.horizon();
            if let Err(error) = &horizon {
                tracing::debug!(%error, "whether streams have stopped is not known");
                intake.trusts_silent();
            }
            horizon.ok()
        }
    }
}

/// Whether it is worth another try.
fn passes(error: &BusError) -> bool {
    !matches!(
        error,
        BusError::NotAuthorised { .. }
            | BusError::UnknownTopic { .. }
            | BusError::Property { .. }
            | BusError::RecordTooLarge { .. }
            | BusError::Closed { .. }
    )
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Lets nobody wait at a desk whose other side is gone.
struct Closing<'a>(&'a Desk);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_as_it_is_begins_no_other_session() {
        let aborted = BusError::TransactionAborted { topic: "t".to_owned(), reason: "a broker died".to_owned() };
        assert!(passes(&aborted));
        assert!(!passes(&BusError::Closed { what: "writer of results" }));
        let (topic, brokers) = ("t".to_owned(), "b".to_owned());
        assert!(!passes(&BusError::RecordTooLarge { topic, brokers, record_bytes: 2, limit_bytes: Some(1) }));
    }
}
