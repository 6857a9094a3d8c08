//! Everything the viewer knows of the streams, fed by [`feed`](crate::feed) threads, read by client sessions.
//!
//! Nothing here waits for a client: frames go into each stream's bounded ring, and clients take from there at their own
//! pace. Events go into one bounded channel whose oldest entries are overwritten.

mod finds;
mod happened;
mod occurrences;
mod report;
mod ring;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod window;

pub use finds::Analysis;
pub(crate) use finds::Found;
pub(crate) use happened::missed;
pub(crate) use occurrences::{MAX_OFFSETS, Reading};
pub use report::{JpegRatio, StreamSnapshot, Totals, ViewerSnapshot};
pub(crate) use ring::{Cursor, Due, HubFrame, Ring};
pub use state::StreamPhase;
pub(crate) use stream::{KnownGap, Stage, Stream};
pub use window::Percentiles;

use crate::config::{Comparison, ConfiguredCamera, Limits, ViewerConfig};
use axum::extract::ws::Utf8Bytes;
use lumenbus_bus::control::{ControlSender, OLD_KEYFRAME};
use lumenbus_bus::subscriber::{CameraFilter, Event, FrameRole, Notice};
use lumenbus_frame::{CameraId, StreamId, TopicName};
use lumenbus_ops::Stages;
use lumenbus_wire::{AnalysisResult, CameraEntry};
use occurrences::Occurrences;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, broadcast, watch};

/// Most streams shown; what the directory holds beyond is left out, with a line in the log.
pub const MAX_STREAMS: usize = 10_000;
/// Events waiting for the slowest client; older ones are overwritten for it.
const EVENT_BACKLOG: usize = 512;

/// A stream and its stable number.
#[derive(Debug)]
pub(crate) struct HubStream {
    pub(crate) n: u16,
    stream: Mutex<Stream>,
}

impl HubStream {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Stream> {
        lock(&self.stream)
    }
}

#[derive(Debug, Default)]
struct Registry {
    list: Vec<Arc<HubStream>>,
    by_id: HashMap<StreamId, usize>,
    /// Cameras that are configured and have published nothing.
    empty: HashMap<CameraId, usize>,
    /// [`MAX_STREAMS`] was reached, and the log says so: once, not at every frame that is left out.
    is_full: bool,
}

/// Shared by feeds and sessions.
#[derive(Debug)]
pub(crate) struct Hub {
    started: Instant,
    limits: Limits,
    cameras: CameraFilter,
    comparison: Option<Comparison>,
    stages: Stages,
    registry: RwLock<Registry>,
    disconnected: Mutex<Option<String>>,
    trouble: Mutex<HashMap<CameraId, String>>,
    configured: Mutex<HashSet<CameraId>>,
    topics: Mutex<BTreeSet<TopicName>>,
    next_order: AtomicU64,
    viewers: AtomicUsize,
    first_shown: OnceLock<Duration>,
    events: broadcast::Sender<Utf8Bytes>,
    occurrences: Mutex<Occurrences>,
    happened: broadcast::Sender<Utf8Bytes>,
    pub(crate) stats: watch::Sender<Utf8Bytes>,
    pub(crate) streams: watch::Sender<Utf8Bytes>,
    changed: Notify,
    control: OnceLock<ControlSender>,
}

/// Wall clock, Unix microseconds.
pub(crate) fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Milliseconds as messages have them.
#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 53 bits for 285 years")]
pub(crate) fn millis(micros: i64) -> f64 {
    micros as f64 / 1_000.0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message as text; the types are ours and cannot fail.
pub(crate) fn text(message: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(message).unwrap_or_default().into()
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum EventMessage<'a> {
    Gap { n: u16, epoch: String, first: u64, last: Option<u64>, reason: &'a str, at_ms: f64 },
    Event { n: u16, kind: &'a str, reason: &'a str, at_ms: f64 },
    Notice { kind: &'a str, text: &'a str, at_ms: f64 },
}

impl Hub {
    pub(crate) fn new(config: &ViewerConfig) -> Self {
        Self {
            started: Instant::now(),
            limits: config.limits,
            cameras: config.cameras.clone(),
            comparison: config.comparison.clone(),
            stages: config.stages.clone(),
            registry: RwLock::default(),
            disconnected: Mutex::default(),
            trouble: Mutex::default(),
            configured: Mutex::default(),
            topics: Mutex::default(),
            next_order: AtomicU64::new(0),
            viewers: AtomicUsize::new(0),
            first_shown: OnceLock::new(),
            events: broadcast::channel(EVENT_BACKLOG).0,
            occurrences: Mutex::default(),
            happened: broadcast::channel(EVENT_BACKLOG).0,
            stats: watch::Sender::new(Utf8Bytes::default()),
            streams: watch::Sender::new(Utf8Bytes::default()),
            changed: Notify::new(),
            control: OnceLock::new(),
        }
    }

    fn registry(&self) -> std::sync::RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn registry_mut(&self) -> std::sync::RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream with this number.
    pub(crate) fn by_number(&self, n: u16) -> Option<Arc<HubStream>> {
        self.registry().list.get(usize::from(n)).cloned()
    }

    /// All streams in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<HubStream>> {
        self.registry().list.clone()
    }

    /// The streams of a camera.
    pub(crate) fn of_camera(&self, camera: &CameraId) -> Vec<Arc<HubStream>> {
        self.all().into_iter().filter(|stream| stream.lock().camera == *camera).collect()
    }

    /// The stream with this identity, made when it is new; `None` beyond [`MAX_STREAMS`] and for unwanted cameras.
    fn stream(&self, id: &Arc<StreamId>) -> Option<Arc<HubStream>> {
        let known = self.registry().find(id);
        if known.is_some() || !self.cameras.matches(id.camera.as_str()) {
            return known;
        }
        let stream = self.registry_mut().find_or_add(id)?;
        self.changed.notify_one();
        Some(stream)
    }

    /// How publishers are asked for keyframes from now on.
    pub(crate) fn set_control(&self, control: ControlSender) {
        // A second one is dropped: nothing was asked through it.
        drop(self.control.set(control));
    }

    /// Somebody begins to watch a stream: where its newest keyframe is old, its publisher is asked for another one.
    pub(crate) fn ask_keyframe(&self, stream: &Stream) {
        let (Some(control), Some(id)) = (self.control.get(), &stream.id) else { return };
        let Some(newest) = stream.ring.newest() else { return };
        let limit = i64::try_from(OLD_KEYFRAME.as_micros()).unwrap_or(i64::MAX);
        let is_old = |key: &Arc<HubFrame>| newest.capture_micros.saturating_sub(key.capture_micros) > limit;
        if stream.ring.keyframe().is_none_or(is_old) {
            control.request_keyframe(id);
        }
    }

    /// What one stream's ring may hold now.
    fn ring_limit(&self) -> usize {
        let streams = self.registry().list.len().max(1);
        (self.limits.ring_bytes / streams).min(self.limits.ring_bytes_per_stream)
    }

    /// Takes what the bus says.
    pub(crate) fn take(&self, event: &Event) {
        match event {
            Event::Frame(frame) => {
                self.set_connected();
                let Some(stream) = self.stream(&frame.stream).filter(|_| frame.role != FrameRole::Preroll) else {
                    return;
                };
                self.stages.received(frame);
                let order = self.next_order.fetch_add(1, Ordering::Relaxed);
                let limit = self.ring_limit();
                let (has_changed, is_back) = {
                    let mut stream = stream.lock();
                    (stream.frame(frame, order, limit), stream.is_back(frame.role))
                };
                if is_back {
                    self.tell_event(stream.n, "online", "");
                }
                if has_changed {
                    self.changed.notify_one();
                }
            }
            Event::Gap { stream, gap } => {
                let Some(stream) = self.stream(stream) else { return };
                stream.lock().gap(gap, now_micros());
                self.tell(&EventMessage::Gap {
                    n: stream.n,
                    epoch: gap.epoch.unwrap_or_default().to_string(),
                    first: gap.first.0,
                    last: gap.last.map(|last| last.0),
                    reason: gap.reason.as_str(),
                    at_ms: millis(now_micros()),
                });
            }
            Event::Repeat { stream, range, .. } => {
                let Some(stream) = self.stream(stream) else { return };
                stream.lock().repeat(*range, now_micros() / 1_000);
            }
            Event::Offline { stream, reason, .. } => {
                let Some(stream) = self.stream(stream) else { return };
                stream.lock().goes_away(reason);
                self.tell_event(stream.n, "offline", reason);
            }
            Event::End { stream, epoch, .. } => {
                let Some(stream) = self.stream(stream) else { return };
                stream.lock().end(*epoch);
                self.tell_event(stream.n, "end", "");
            }
            Event::Notice(notice) => self.notice(notice),
            _ => {}
        }
    }

    /// Takes what analysis found; of a stream that is not shown it says nothing here.
    pub(crate) fn found(&self, result: &AnalysisResult) {
        let Some(stream) = self.registry().find(&result.stream) else { return };
        let found = Found::new(stream.n, result);
        stream.lock().found(found, now_micros());
    }

    fn tell_event(&self, n: u16, kind: &str, reason: &str) {
        self.tell(&EventMessage::Event { n, kind, reason, at_ms: millis(now_micros()) });
    }

    fn tell(&self, message: &EventMessage<'_>) {
        // Nobody may be listening.
        drop(self.events.send(text(message)));
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Utf8Bytes> {
        self.events.subscribe()
    }

    pub(crate) fn tell_notice(&self, kind: &str, text: &str) {
        self.tell(&EventMessage::Notice { kind, text, at_ms: millis(now_micros()) });
    }

    fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Disconnected { reason } => self.set_disconnected(reason),
            Notice::RetentionPassed { topic, partition, lost_records } => {
                let text =
                    format!("retention deleted {lost_records} records of {topic}-{partition} before they were read");
                self.tell_notice("retention", &text);
            }
            Notice::UnreadableRecord { topic, partition, offset, reason } => {
                self.tell_notice("unreadable", &format!("record {offset} of {topic}-{partition}: {reason}"));
            }
            Notice::KeyframeNotFound { stream, offset } => {
                self.tell_notice("unreadable", &format!("{stream}: no keyframe at offset {offset} any more"));
            }
            _ => {}
        }
    }

    /// Kafka does not answer.
    pub(crate) fn set_disconnected(&self, reason: &str) {
        let was_connected = lock(&self.disconnected).replace(reason.to_owned()).is_none();
        if was_connected {
            self.tell_notice("disconnected", reason);
        }
    }

    /// Kafka answers.
    pub(crate) fn set_connected(&self) {
        let was_disconnected = lock(&self.disconnected).take().is_some();
        if was_disconnected {
            self.tell_notice("connected", "");
        }
    }

    /// Frames of this topic are read from now on.
    pub(crate) fn reads(&self, topic: &TopicName) {
        lock(&self.topics).insert(topic.clone());
    }

    pub(crate) fn disconnected(&self) -> Option<String> {
        lock(&self.disconnected).clone()
    }

    /// Takes what the directory says of a camera; answers the topics it names.
    pub(crate) fn directory(&self, camera: &CameraId, entry: &CameraEntry) -> Vec<TopicName> {
        if !self.cameras.matches(camera.as_str()) {
            return Vec::new();
        }
        let mut topics = Vec::new();
        for known in &entry.streams {
            let (topic, name) = (known.topic.clone(), known.name.clone());
            topics.push(topic.clone());
            let id = Arc::new(StreamId { camera: camera.clone(), topic, name });
            if self.stream(&id).is_some_and(|stream| stream.lock().directory(entry, known)) {
                self.changed.notify_one();
            }
        }
        topics
    }

    /// Takes the cameras of the settings: those without a stream get a tile, too, as long as they are in the settings.
    pub(crate) fn configured(&self, cameras: &[ConfiguredCamera]) {
        let trouble = cameras.iter().filter_map(|camera| Some((camera.id.clone(), camera.trouble.clone()?)));
        *lock(&self.trouble) = trouble.collect();
        let ids: HashSet<CameraId> = cameras.iter().map(|camera| camera.id.clone()).collect();
        let shown: HashSet<CameraId> = self.all().iter().map(|stream| stream.lock().camera.clone()).collect();
        let is_wanted =
            |camera: &&ConfiguredCamera| self.cameras.matches(camera.id.as_str()) && !shown.contains(&camera.id);
        for camera in cameras.iter().filter(is_wanted) {
            self.registry_mut().add_empty(camera);
        }
        let has_changed = std::mem::replace(&mut *lock(&self.configured), ids.clone()) != ids;
        if has_changed {
            self.changed.notify_one();
        }
    }

    /// Whether a tile stands for a camera that has published nothing and is no longer in the settings.
    fn is_gone(&self, stream: &Stream) -> bool {
        stream.id.is_none() && !lock(&self.configured).contains(&stream.camera)
    }

    /// Resolves when the list of streams must be told again.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A page has shown a frame.
    pub(crate) fn shown(&self) {
        self.first_shown.get_or_init(|| self.started.elapsed());
    }

    /// Counts a client in and out.
    pub(crate) fn viewer(self: &Arc<Self>) -> ViewerTicket {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        ViewerTicket(Arc::clone(self))
    }

    /// Where durations are counted for `/metrics`.
    pub(crate) fn stages(&self) -> &Stages {
        &self.stages
    }

    pub(crate) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The first stream numbers of the compared cameras.
    pub(crate) fn comparison(&self) -> Option<(Option<u16>, Option<u16>)> {
        let comparison = self.comparison.as_ref()?;
        let first = |camera| self.of_camera(camera).first().map(|stream| stream.n);
        Some((first(&comparison.coded), first(&comparison.jpeg)))
    }
}

/// One client, for the count.
#[derive(Debug)]
pub(crate) struct ViewerTicket(Arc<Hub>);

impl Drop for ViewerTicket {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Registry {
    fn find(&self, id: &StreamId) -> Option<Arc<HubStream>> {
        self.by_id.get(id).and_then(|at| self.list.get(*at)).cloned()
    }

    /// The directory and a topic may bring the same stream at the same time: who comes second finds it.
    fn find_or_add(&mut self, id: &Arc<StreamId>) -> Option<Arc<HubStream>> {
        if let Some(known) = self.find(id) {
            return Some(known);
        }
        let at = match self.empty.remove(&id.camera) {
            Some(at) => {
                self.list[at].lock().id = Some(Arc::clone(id));
                at
            }
            None => self.add(id.camera.clone(), Some(Arc::clone(id)))?,
        };
        self.by_id.insert((**id).clone(), at);
        self.list.get(at).cloned()
    }

    fn add(&mut self, camera: CameraId, id: Option<Arc<StreamId>>) -> Option<usize> {
        let at = self.list.len();
        if at >= MAX_STREAMS {
            if !std::mem::replace(&mut self.is_full, true) {
                tracing::warn!(%camera, "more than {MAX_STREAMS} streams: this one and later ones are not shown");
            }
            return None;
        }
        let n = u16::try_from(at).ok()?;
        let stream = Mutex::new(Stream::new(camera, id, now_micros() / 1_000));
        self.list.push(Arc::new(HubStream { n, stream }));
        Some(at)
    }

    /// A tile for a camera whose stream has not come, unless it came meanwhile.
    fn add_empty(&mut self, camera: &ConfiguredCamera) {
        if self.by_id.keys().any(|id| id.camera == camera.id) {
            return;
        }
        let Some(at) = self.add(camera.id.clone(), None) else { return };
        self.empty.insert(camera.id.clone(), at);
        let mut stream = self.list[at].lock();
        stream.info.name = camera.name.clone().unwrap_or_default();
        stream.info.group = camera.group.clone().unwrap_or_default();
    }
}
