//! Stills of a camera's video, on a stream of their own.
//!
//! The video's thread hands frames over and never waits; a thread of the camera's own decodes and codes. All cameras
//! that share a [`SnapshotBudget`] take turns and use half a processor at most: who comes too late for a still leaves it
//! out, and the next one is of a later frame. Only what a still needs is decoded: the keyframe where keyframes come often
//! enough, otherwise each frame once.
//!
//! A still is a JPEG and its header's `of` names the video frame that it shows.

mod budget;
mod maker;
mod plan;

pub use budget::SnapshotBudget;

use crate::fleet::default_topic;
use budget::Stop;
use lumenbus_bus::publisher::{Publisher, StreamHandle, StreamOptions, StreamSummary};
use lumenbus_bus::{BusError, SystemClock, TopicPrefix};
use lumenbus_frame::{Clock as _, Codec, EncodedFrame, FrameId, IdError, StreamId, StreamName};
use maker::{Maker, Slot};
use plan::{Held, Job, Plan};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The name of the stream that holds stills of a camera's `main` stream.
pub const SNAPSHOTS: &str = "snapshots";
/// Jobs that wait while one is being done.
const WAITING_JOBS: usize = 1;

/// The stream for the stills of this video stream.
///
/// # Errors
/// A name that is too long for the ending.
pub fn snapshot_stream(video: &StreamId, prefix: &TopicPrefix) -> Result<StreamId, IdError> {
    let name = if video.name.is_main() { SNAPSHOTS.to_owned() } else { format!("{}-{SNAPSHOTS}", video.name) };
    let topic = prefix.topic(default_topic(Codec::Jpeg));
    Ok(StreamId { camera: video.camera.clone(), topic, name: name.parse::<StreamName>()? })
}

/// Why there are no stills.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Their stream would have no proper name.
    #[error(transparent)]
    Name(#[from] IdError),
    /// Their stream cannot be opened.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The system gave no thread.
    #[error("cannot start a thread for stills; check the limits of processes and memory")]
    Thread(#[from] std::io::Error),
}

/// Makes the stills of one camera.
///
/// Dropping it without [`finish`](Self::finish) leaves their stream without an end.
pub struct Snapshots {
    plan: Plan,
    jobs: SyncSender<Job>,
    slot: Arc<Slot>,
    stop: Arc<Stop>,
    budget: Arc<SnapshotBudget>,
    /// Disconnected when the thread is at its end, by a panic too.
    over: Receiver<Infallible>,
    thread: JoinHandle<()>,
}

impl Snapshots {
    /// Opens the stream for stills of `video` and makes them, at this distance from each other.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn open(
        publisher: &Publisher,
        video: &StreamId,
        prefix: &TopicPrefix,
        options: StreamOptions,
        interval: Duration,
        budget: Arc<SnapshotBudget>,
    ) -> Result<Self, SnapshotError> {
        let stream = publisher.stream(snapshot_stream(video, prefix)?, options)?;
        Self::start(stream, interval, budget, |maker, jobs| maker.run(&jobs))
    }

    fn start(
        stream: StreamHandle,
        interval: Duration,
        budget: Arc<SnapshotBudget>,
        work: impl FnOnce(Maker, Receiver<Job>) + Send + 'static,
    ) -> Result<Self, SnapshotError> {
        let name = format!("stills-{}", stream.id().camera);
        let (slot, stop) = (Arc::new(Slot::new(stream)), Arc::default());
        let maker = Maker::new(Arc::clone(&slot), Arc::clone(&budget), Arc::clone(&stop));
        let (jobs, received) = sync_channel(WAITING_JOBS);
        let (alive, over) = channel();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let _alive = alive;
            work(maker, received);
        });
        Ok(Self { plan: Plan::new(interval), jobs, slot, stop, budget, over, thread: thread? })
    }

    /// One whose thread is in the middle of a picture until nobody holds the other side of `end`.
    #[cfg(test)]
    pub(crate) fn busy(stream: StreamHandle, end: Receiver<()>) -> Self {
        let work = move |_, _| end.iter().for_each(|()| {});
        Self::start(stream, Duration::from_secs(1), Arc::default(), work).unwrap()
    }

    /// A frame of the video as it was sent. Never waits.
    pub(super) fn frame(&mut self, id: FrameId, frame: EncodedFrame) {
        let now = SystemClock.monotonic_nanos();
        let Some(job) = self.plan.take(Held { id, frame }, now) else { return };
        match self.jobs.try_send(job) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(job)) => self.plan.put_back(job, now),
        }
    }

    /// Frames of the video are missing here.
    pub(super) fn cut(&mut self) {
        self.plan.cut();
    }

    /// No more stills: one that waits is left out, and nobody rests. Never waits.
    pub fn stop(&self) {
        self.budget.stop(&self.stop);
    }

    /// Ends the stills' stream within `deadline`. Stills under way get half of it; none after [`stop`](Self::stop), when
    /// the end waits for no codec. To be called when the video has ended: it waits for Kafka.
    ///
    /// # Errors
    /// As [`StreamHandle::finish`]; [`BusError::Closed`] when the thread is gone by a defect of a codec.
    pub fn finish(self, deadline: Duration) -> Result<StreamSummary, BusError> {
        let began = Instant::now();
        drop(self.jobs);
        let wait = if self.stop.is_requested() { Duration::ZERO } else { deadline / 2 };
        let is_over = matches!(self.over.recv_timeout(wait), Err(RecvTimeoutError::Disconnected));
        self.budget.stop(&self.stop);
        let stream = self.slot.take().ok_or(BusError::Closed { what: "publisher" })?;
        let summary = stream.finish(deadline.saturating_sub(began.elapsed()));
        // One that is in the middle of a picture is not waited for: it ends behind it.
        if is_over && self.thread.join().is_err() {
            return Err(BusError::Closed { what: "publisher" });
        }
        summary
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots").field("plan", &self.plan).finish_non_exhaustive()
    }
}
