//! What can be done to the demo while it runs: kill its broker, read slowly, unplug a camera.

use crate::demo::broker::BrokerChild;
use crate::demo::slow::{SlowBook, SlowReader};
use lumenbus_bus::BusConfig;
use lumenbus_frame::{CameraId, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::fleet::Fleet;
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the broker stays away after it was killed: long enough to be seen.
const AWAY: Duration = Duration::from_secs(2);
/// After a start that failed.
const RETRY: Duration = Duration::from_secs(1);
/// What happened and was not fetched; the oldest go.
const MAX_JOURNAL: usize = 256;
/// Books of slow readers that are gone; the oldest go.
const MAX_SLOW_BOOKS: usize = 64;

/// The demo's broker, cameras and slow reader.
pub(crate) struct Stage {
    bus: BusConfig,
    /// From the first camera on until the last one has ended.
    fleet: Mutex<Option<Arc<Fleet>>>,
    broker: Mutex<BrokerChild>,
    is_broker_up: AtomicBool,
    restart_at: Mutex<Option<Instant>>,
    slow_camera: (CameraId, TopicName),
    slow: Mutex<Slow>,
    unplugged: Mutex<BTreeSet<CameraId>>,
    journal: Mutex<VecDeque<String>>,
}

#[derive(Default)]
struct Slow {
    reader: Option<SlowReader>,
    books: VecDeque<SlowBook>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// `slow_camera` is the one that the slow reader reads.
    pub(crate) fn new(bus: BusConfig, broker: BrokerChild, slow_camera: (CameraId, TopicName)) -> Self {
        Self {
            bus,
            fleet: Mutex::default(),
            broker: Mutex::new(broker),
            is_broker_up: AtomicBool::new(true),
            restart_at: Mutex::default(),
            slow_camera,
            slow: Mutex::default(),
            unplugged: Mutex::default(),
            journal: Mutex::default(),
        }
    }

    /// The cameras begin.
    pub(crate) fn set_fleet(&self, fleet: Fleet) {
        *lock(&self.fleet) = Some(Arc::new(fleet));
    }

    /// The cameras; `None` before they begin and when they are being stopped.
    pub(crate) fn fleet(&self) -> Option<Arc<Fleet>> {
        lock(&self.fleet).clone()
    }

    /// The cameras, for whoever stops them.
    pub(crate) fn take_fleet(&self) -> Option<Arc<Fleet>> {
        lock(&self.fleet).take()
    }

    /// SIGKILL; it is started again a moment later.
    pub(crate) fn kill_broker(&self) -> Result<String, String> {
        let mut broker = lock(&self.broker);
        if !broker.is_running() {
            return Err("the broker is away already; it is being started again".to_owned());
        }
        broker.kill().map_err(|error| format!("the broker could not be killed: {error}"))?;
        self.is_broker_up.store(false, Ordering::Release);
        *lock(&self.restart_at) = Some(Instant::now() + AWAY);
        self.note("the broker was killed (SIGKILL); frames wait in memory until it is back");
        Ok(format!("the broker is gone; it comes back in {} s", AWAY.as_secs()))
    }

    /// Whether it serves.
    pub(crate) fn is_broker_up(&self) -> bool {
        self.is_broker_up.load(Ordering::Acquire)
    }

    /// Where its data is.
    pub(crate) fn folder(&self) -> PathBuf {
        lock(&self.broker).folder().to_owned()
    }

    /// How often it was killed.
    pub(crate) fn kills(&self) -> u64 {
        lock(&self.broker).kills()
    }

    /// How long it took at most until it served again, from the start of its process.
    pub(crate) fn slowest_recovery(&self) -> Option<Duration> {
        lock(&self.broker).slowest_recovery()
    }

    /// Starts the broker when it is away and its time has come, or at once; when to look again, if it is still away.
    fn tend_broker(&self, urgency: Urgency) -> Option<Instant> {
        let mut broker = lock(&self.broker);
        if broker.is_running() {
            return None;
        }
        if self.is_broker_up.swap(false, Ordering::AcqRel) {
            self.note("the broker ended by itself; it is started again");
        }
        let mut restart_at = lock(&self.restart_at);
        if urgency == Urgency::Later && restart_at.is_some_and(|at| Instant::now() < at) {
            return *restart_at;
        }
        match broker.restart() {
            Ok(()) => {
                *restart_at = None;
                self.is_broker_up.store(true, Ordering::Release);
                self.note("the broker is back, on the same data");
            }
            Err(error) => {
                *restart_at = Some(Instant::now() + RETRY);
                self.note(&format!("the broker does not come back: {error:#}"));
            }
        }
        *restart_at
    }

    /// The camera that the slow reader reads.
    pub(crate) fn slow_camera(&self) -> &CameraId {
        &self.slow_camera.0
    }

    /// Attaches the slow reader, or takes it off.
    pub(crate) fn toggle_slow_reader(&self) -> Result<String, String> {
        let mut slow = lock(&self.slow);
        if slow.reader.is_some() {
            drop(slow);
            let book = self.detach_slow_reader();
            return Ok(book.map_or_else(|| "no slow reader is attached".to_owned(), |book| describe(&book)));
        }
        let (camera, topic) = &self.slow_camera;
        let reader = SlowReader::attach(&self.bus, topic.clone(), camera);
        slow.reader = Some(reader.map_err(|error| format!("the slow reader could not be attached: {error:#}"))?);
        self.note(&format!("a slow reader of {camera} is attached: it takes four frames a second"));
        Ok(format!("a slow reader of {camera} is attached; it skips to the newest keyframe and tells what it left out"))
    }

    /// Takes the slow reader off, when there is one.
    pub(crate) fn detach_slow_reader(&self) -> Option<SlowBook> {
        // Not under the lock: its thread may be in the middle of a wait for the broker.
        let reader = lock(&self.slow).reader.take()?;
        let book = reader.detach();
        let mut slow = lock(&self.slow);
        if slow.books.len() == MAX_SLOW_BOOKS {
            slow.books.pop_front();
        }
        slow.books.push_back(book.clone());
        drop(slow);
        self.note(&format!("detached: {}", describe(&book)));
        Some(book)
    }

    /// What the slow reader that is attached has got so far.
    pub(crate) fn slow_book(&self) -> Option<SlowBook> {
        lock(&self.slow).reader.as_ref().map(SlowReader::book)
    }

    /// The books of the slow readers that are gone.
    pub(crate) fn slow_books(&self) -> Vec<SlowBook> {
        lock(&self.slow).books.iter().cloned().collect()
    }

    /// Whether a camera is unplugged.
    pub(crate) fn is_unplugged(&self, camera: &CameraId) -> bool {
        lock(&self.unplugged).contains(camera)
    }

    /// Pulls a camera's cable, or plugs it in again.
    pub(crate) fn toggle_cable(&self, camera: &CameraId) -> Result<String, String> {
        let fleet = self.fleet().ok_or("no camera runs at this moment")?;
        let mut unplugged = lock(&self.unplugged);
        let text = if unplugged.contains(camera) {
            fleet.plug(camera).map_err(|error| error.to_string())?;
            unplugged.remove(camera);
            format!("{camera} is plugged in again; it goes on at a keyframe")
        } else {
            fleet.unplug(camera).map_err(|error| error.to_string())?;
            unplugged.insert(camera.clone());
            format!("{camera} is unplugged; what it would have sent is counted as lost")
        };
        self.note(&text);
        Ok(text)
    }

    fn note(&self, what: &str) {
        let mut journal = lock(&self.journal);
        if journal.len() == MAX_JOURNAL {
            journal.pop_front();
        }
        journal.push_back(what.to_owned());
    }

    /// What happened since this was last asked.
    pub(crate) fn take_journal(&self) -> Vec<String> {
        lock(&self.journal).drain(..).collect()
    }

    /// Brings the broker back if it is away: the cameras have frames for it.
    pub(crate) fn ensure_broker(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while let Some(next) = self.tend_broker(Urgency::AtOnce).filter(|next| *next < deadline) {
            // It failed a moment ago: at once it would fail again.
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Stops the broker and removes its data.
    pub(crate) fn stop_broker(&self) {
        lock(&self.broker).stop();
    }
}

fn describe(book: &SlowBook) -> String {
    let (reasons, SlowBook { camera, frames, unexplained, .. }) = (book.reasons(), book);
    format!("the slow reader of {camera} took {frames} frames; left out: {reasons}; unexplained: {unexplained}")
}

/// Whether the broker may stay away for the time that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Later,
    AtOnce,
}

/// Looks after the broker until it is dropped.
pub(crate) struct Tender {
    stop: Arc<Shutdown>,
    wake: SyncSender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Tender {
    /// On a thread of its own, because a start takes a while. What comes in on `woken` says that the broker has ended;
    /// `wake` is the other end.
    pub(crate) fn start(stage: &Arc<Stage>, wake: SyncSender<()>, woken: Receiver<()>) -> anyhow::Result<Self> {
        let (stage, stop) = (Arc::clone(stage), Arc::new(Shutdown::default()));
        let until = Arc::clone(&stop);
        let tend = move || {
            while !until.is_requested() {
                let next = stage.tend_broker(Urgency::Later);
                let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
                if woken.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("demo-broker".to_owned()).spawn(tend)?;
        Ok(Self { stop, wake, thread: Some(thread) })
    }
}

impl Drop for Tender {
    fn drop(&mut self) {
        self.stop.request();
        // Full: it is being woken anyway.
        let _ = self.wake.try_send(());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that looks after the broker panicked");
        }
    }
}
