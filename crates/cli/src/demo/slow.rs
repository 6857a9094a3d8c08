//! A reader that is too slow on purpose: it skips to the newest keyframe, says so, and disturbs nobody.

use lumenbus_bus::subscriber::{CameraFilter, Event, FrameRole};
use lumenbus_bus::{BusConfig, BusError, Policy, Subscriber, SubscriberConfig};
use lumenbus_frame::{CameraId, FrameId, GapReason, TopicName};
use lumenbus_pipeline::Shutdown;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What it takes over each frame: four a second, of a camera that gives thirty.
const PER_FRAME: Duration = Duration::from_millis(250);
/// Older frames it does not want.
const MAX_AGE: Duration = Duration::from_millis(500);
const BUFFER_BYTES: usize = 8 << 20;
const WAIT: Duration = Duration::from_millis(100);

/// What the slow reader got and what it left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SlowBook {
    pub(crate) camera: String,
    pub(crate) frames: u64,
    /// By reason.
    pub(crate) missing: BTreeMap<GapReason, u64>,
    /// Frames between its first and its last that are neither here nor there.
    pub(crate) unexplained: u64,
    /// What should come next.
    pub(crate) next: Option<FrameId>,
}

impl SlowBook {
    /// Frames left out, such as `lagging 210`.
    pub(crate) fn reasons(&self) -> String {
        let reasons: Vec<String> = self.missing.iter().map(|(reason, frames)| format!("{reason} {frames}")).collect();
        if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Frame(frame) if frame.role != FrameRole::Preroll => {
                self.frames += 1;
                self.expect(frame.id());
                self.next = Some(FrameId { seq: frame.id().seq.next(), ..frame.id() });
            }
            Event::Gap { gap, .. } => {
                // Before the first frame it has not begun.
                let (Some(next), Some(last)) = (self.next, gap.last) else { return };
                let epoch = gap.epoch.unwrap_or(next.epoch);
                self.expect(FrameId { epoch, seq: gap.first });
                *self.missing.entry(gap.reason).or_default() += gap.count().unwrap_or(0);
                self.next = Some(FrameId { epoch, seq: last.next() });
            }
            Event::Repeat { epoch, range, .. } => self.next = Some(FrameId { epoch: *epoch, seq: range.last.next() }),
            _ => {}
        }
    }

    fn expect(&mut self, id: FrameId) {
        if let Some(next) = self.next.filter(|next| next.epoch == id.epoch) {
            self.unexplained += next.seq.0.abs_diff(id.seq.0);
        }
    }
}

/// The thread that reads slowly.
pub(crate) struct SlowReader {
    book: Arc<Mutex<SlowBook>>,
    stop: Arc<Shutdown>,
    thread: JoinHandle<()>,
}

impl SlowReader {
    /// Attaches it to a camera; connecting is done on its own thread.
    pub(crate) fn attach(bus: &BusConfig, topic: TopicName, camera: &CameraId) -> anyhow::Result<Self> {
        let mut config = SubscriberConfig::new(bus.clone(), vec![topic]);
        config.cameras = CameraFilter::new(&[camera.as_str().to_owned()])?;
        config.policy = Policy::Live { max_age: MAX_AGE };
        config.buffer_bytes = BUFFER_BYTES;
        let book = SlowBook { camera: camera.as_str().to_owned(), ..SlowBook::default() };
        let (book, stop) = (Arc::new(Mutex::new(book)), Arc::new(Shutdown::default()));
        let (notes, until) = (Arc::clone(&book), Arc::clone(&stop));
        let read = move || {
            if let Err(error) = read(config, &notes, &until) {
                tracing::warn!(%error, "the slow reader cannot read on");
            }
        };
        let thread = std::thread::Builder::new().name("demo-slow-reader".to_owned()).spawn(read)?;
        Ok(Self { book, stop, thread })
    }

    /// So far.
    pub(crate) fn book(&self) -> SlowBook {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes it off.
    pub(crate) fn detach(self) -> SlowBook {
        self.stop.request();
        if self.thread.join().is_err() {
            tracing::error!("the slow reader panicked");
        }
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(config: SubscriberConfig, book: &Mutex<SlowBook>, stop: &Shutdown) -> Result<(), BusError> {
    let mut subscriber = Subscriber::open(config)?;
    while !stop.is_requested() {
        let Some(event) = subscriber.recv(WAIT)? else { continue };
        book.lock().unwrap_or_else(PoisonError::into_inner).note(&event);
        if matches!(event, Event::Frame(_)) {
            stop.sleep(PER_FRAME);
        }
    }
    subscriber.close();
    Ok(())
}
