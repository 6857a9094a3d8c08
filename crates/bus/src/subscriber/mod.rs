//! The subscriber: each stream's frames in order, each once, every hole explained.
//!
//! A worker thread per consumer reads partitions (`partition`), which keep a state per stream (`stream`); events
//! go through one byte-bounded queue (`queue`) to the caller. What the caller has finished moves the safe offset
//! (`progress`), which is committed together with marks of what was handed over beyond it.

mod event;
mod filter;
mod gauges;
mod horizon;
mod news;
mod partition;
mod places;
mod progress;
mod queue;
mod receipt;
mod start;
mod stream;
#[cfg(test)]
mod tests;
mod worker;

pub use event::{DeliveredFrame, Event, FrameRole, Notice, SubscriberStats};
pub use filter::CameraFilter;
pub use gauges::{SubscriberGauges, SubscriberSample};
pub use horizon::Horizon;
pub use partition::Preroll;
pub(crate) use partition::{Beginning, LogRecord, PartitionConfig, PartitionReader, Passport, Step, raw_record};
pub(crate) use receipt::GroupOffsets;
pub use receipt::{Reading, Receipt};
pub use start::Start;
pub(crate) use start::partitions_of;

use crate::directory::DirectoryWatch;
use crate::results::ResultsLink;
use crate::{BusConfig, BusError, ClientStatistics, Directory, FrameTracer, SystemClock};
use lumenbus_frame::{CameraId, Clock, Codec, StreamId, TopicName};
use lumenbus_wire::{StreamEntry, StreamState};
use news::News;
use queue::{DeliveryQueue, Item, Ticket, lock};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::{Worker, WorkerShared};

/// Longest wait for a commit that the caller asks for.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do when the caller is slower than the cameras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Everything; reading waits for the caller.
    #[default]
    Lossless,
    /// Frames no older than this: when too old, skip to the newest keyframe and say so.
    Live {
        /// Since capture, with 50 ms allowed for what clocks cannot know.
        max_age: Duration,
    },
    /// The newest frame; of inter-coded video the newest GOP, for a slot behind the decoder.
    Newest,
}

/// What to read and how.
#[derive(Clone)]
pub struct SubscriberConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Full topic names.
    pub topics: Vec<TopicName>,
    /// Which cameras.
    pub cameras: CameraFilter,
    /// Consumer group; `None` reads all partitions and commits nothing.
    pub group: Option<String>,
    /// Where to begin when the group has not committed.
    pub start: Start,
    /// What to do when falling behind.
    pub policy: Policy,
    /// What a group's reader does about the beginning of a GOP under way.
    pub preroll: Preroll,
    /// Bytes that may wait for the caller.
    pub buffer_bytes: usize,
    /// Consumers, each with its thread.
    pub consumers: usize,
    /// How often the safe offset is committed.
    pub commit_interval: Duration,
    /// Largest frame accepted.
    pub max_frame_bytes: usize,
    /// Offsets are committed in this writer's transactions and in no other way; its group is ours, and one consumer reads.
    pub results: Option<ResultsLink>,
    /// Who follows frames through traces; `None`: nobody, which costs nothing.
    pub tracer: Option<Arc<dyn FrameTracer>>,
    /// For ages and receive times.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for SubscriberConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberConfig")
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("start", &self.start)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl SubscriberConfig {
    /// Every camera of these topics, live, lossless, without a group.
    #[must_use]
    pub fn new(bus: BusConfig, topics: Vec<TopicName>) -> Self {
        Self {
            bus,
            topics,
            cameras: CameraFilter::default(),
            group: None,
            start: Start::Live,
            policy: Policy::Lossless,
            preroll: Preroll::Skip,
            buffer_bytes: 64 * 1024 * 1024,
            consumers: 1,
            commit_interval: Duration::from_secs(1),
            max_frame_bytes: lumenbus_wire::MAX_FRAME_BYTES,
            results: None,
            tracer: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Reads frames; see the [module](self).
pub struct Subscriber {
    shared: Arc<WorkerShared>,
    threads: Vec<JoinHandle<()>>,
    /// The last frame handed over: done when the caller asks for the next.
    in_hand: Option<Ticket>,
    directory: Directory,
    _watch: DirectoryWatch,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Subscriber {
    /// Connects, finds the partitions' starts (or joins the group) and begins to read.
    pub fn open(mut config: SubscriberConfig) -> Result<Self, BusError> {
        if let Some(link) = &config.results {
            config.group = Some(link.group().to_owned());
            config.consumers = 1;
        }
        crate::probe(&config.bus)?;
        // It is read while the workers connect.
        let directory = Directory::begin(&config.bus)?;
        let shared = Arc::new(WorkerShared {
            filter: Arc::new(config.cameras.clone()),
            queue: DeliveryQueue::new(config.buffer_bytes, config.policy),
            places: places::Places::new(directory.clone()),
            stop: AtomicBool::new(false),
            commit_now: AtomicU32::new(0),
            commits_done: Mutex::default(),
            commit_done: Condvar::new(),
            commit_error: Mutex::default(),
            stats: Mutex::default(),
            news: News::default(),
            assigned: AtomicI64::new(0),
            statistics: Mutex::default(),
            membership: Mutex::default(),
            config,
        });
        let watch = watch(&directory, &shared);
        let workers = begin(&shared);
        // What is wrong with the directory goes before what is wrong with the topics.
        directory.wait_for_beginning(&shared.config.bus)?;
        let workers = workers?;
        if let Some(link) = &shared.config.results {
            link.attach(GroupOffsets::new(&shared))?;
        }
        let mut subscriber = Self { shared, threads: Vec::new(), in_hand: None, directory, _watch: watch };
        for (index, worker) in workers.into_iter().enumerate() {
            let thread = std::thread::Builder::new()
                .name(format!("lumenbus-read-{index}"))
                .spawn(move || worker.run())
                .map_err(|source| BusError::Thread { what: "read", source })?;
            subscriber.threads.push(thread);
        }
        Ok(subscriber)
    }

    /// The next event, waiting at most this long; `None` when nothing came.
    ///
    /// Asking for the next event says that the frame before it is done with, as far as commits are concerned.
    pub fn recv(&mut self, wait: Duration) -> Result<Option<Event>, BusError> {
        self.finish_frame();
        let item = self.take(wait)?;
        Ok(item.map(|item| {
            self.in_hand = item.ticket;
            item.event
        }))
    }

    /// As [`recv`](Self::recv), for who is done with a frame later than when asking for the next one: the receipt says when.
    pub fn recv_held(&mut self, wait: Duration) -> Result<Option<(Event, Receipt)>, BusError> {
        let item = self.take(wait)?;
        Ok(item.map(|item| (item.event, Receipt::new(item.ticket))))
    }

    fn take(&self, wait: Duration) -> Result<Option<Item>, BusError> {
        let clock = &self.shared.config.clock;
        let item = self.shared.queue.pop(wait, || clock.unix_nanos())?;
        if let (Some(tracer), Some(Item { event: Event::Frame(frame), .. })) = (&self.shared.config.tracer, &item) {
            tracer.received(frame);
        }
        Ok(item)
    }

    /// Says that the last frame is done with and commits what is safe; waits for Kafka. With
    /// [`SubscriberConfig::results`] nothing is committed here.
    pub fn commit(&mut self) -> Result<(), BusError> {
        self.finish_frame();
        drop(lock(&self.shared.commit_error).take());
        let asked = self.shared.commit_now.fetch_add(1, Ordering::AcqRel) + 1;
        let workers = self.shared.config.consumers.max(1);
        let is_open = |done: &mut HashMap<usize, u32>| done.len() < workers || done.values().any(|done| *done < asked);
        let done = lock(&self.shared.commits_done);
        let (done, waited) = self
            .shared
            .commit_done
            .wait_timeout_while(done, COMMIT_TIMEOUT, is_open)
            .unwrap_or_else(PoisonError::into_inner);
        drop(done);
        if waited.timed_out() {
            let brokers = self.shared.config.bus.brokers.clone();
            let millis = u64::try_from(COMMIT_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
            return Err(BusError::Timeout { operation: "commit", brokers, millis });
        }
        match lock(&self.shared.commit_error).take() {
            Some(error) => Err(self.shared.explain(error)),
            None => Ok(()),
        }
    }

    /// [`commit`](Self::commit), where there is a group to commit for.
    pub fn commit_if_grouped(&mut self) -> Result<(), BusError> {
        if self.shared.config.group.is_some() { self.commit() } else { Ok(()) }
    }

    /// What the directory says of all cameras.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What this subscription would deliver of what the directory says is live, and how it is coded.
    pub(crate) fn live_streams(&self) -> Vec<(StreamId, Codec)> {
        let SubscriberConfig { topics, cameras, .. } = &self.shared.config;
        let entries = self.shared.places.entries().into_iter();
        let is_ours = |(camera, entry): &(CameraId, StreamEntry)| {
            entry.state == StreamState::Live && topics.contains(&entry.topic) && cameras.matches(camera.as_str())
        };
        let stream = |(camera, entry): (CameraId, StreamEntry)| {
            (StreamId { camera, topic: entry.topic, name: entry.name }, entry.codec)
        };
        entries.filter(is_ours).map(stream).collect()
    }

    /// Counters; at most a commit interval old.
    #[must_use]
    pub fn stats(&self) -> SubscriberStats {
        self.shared.stats()
    }

    /// What librdkafka counted last, per consumer; empty without [`BusConfig::statistics_interval`] and before the first
    /// interval.
    #[must_use]
    pub fn client_statistics(&self) -> Vec<Arc<ClientStatistics>> {
        self.shared.client_statistics()
    }

    /// Partitions read now; changes with the group.
    #[must_use]
    pub fn assigned_partitions(&self) -> usize {
        self.shared.assigned_partitions()
    }

    /// Bytes waiting for the caller.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.shared.queue.bytes()
    }

    /// The counters for another thread, such as one that serves metrics.
    #[must_use]
    pub fn gauges(&self) -> SubscriberGauges {
        SubscriberGauges::new(&self.shared)
    }

    /// Commits, leaves the group and stops the threads.
    pub fn close(self) {
        self.into_stats();
    }

    /// [`close`](Self::close), and the last state of the counters.
    pub fn into_stats(mut self) -> SubscriberStats {
        self.finish_frame();
        self.stop();
        self.stats()
    }

    fn finish_frame(&mut self) {
        if let Some(ticket) = self.in_hand.take() {
            ticket.done();
        }
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.queue.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reading thread panicked");
            }
        }
        for partition in self.shared.places.held() {
            partition.is_revoked.store(true, Ordering::Release);
        }
    }
}

impl Drop for Subscriber {
    /// The frame in hand counts as not done.
    fn drop(&mut self) {
        self.stop();
    }
}

/// Connects the workers and gives each its partitions.
fn begin(shared: &Arc<WorkerShared>) -> Result<Vec<Worker>, BusError> {
    let consumers = shared.config.consumers.max(1);
    let mut workers =
        (0..consumers).map(|index| Worker::new(index, Arc::clone(shared))).collect::<Result<Vec<_>, _>>()?;
    let partitions = workers[0].partitions(start::QUERY_TIMEOUT)?;
    // A stream that moved is read in order only where all of them know who holds its old partition.
    for (index, worker) in workers.iter_mut().enumerate() {
        let share: Vec<_> = partitions.iter().skip(index).step_by(consumers).cloned().collect();
        worker.begin(&share, &partitions)?;
    }
    Ok(workers)
}

fn watch(directory: &Directory, shared: &Arc<WorkerShared>) -> DirectoryWatch {
    let weak = Arc::downgrade(shared);
    directory.on_change(Arc::new(move |event: &crate::DirectoryEvent| {
        if let Some(shared) = weak.upgrade() {
            for stream in &event.merged.streams {
                shared.places.remember_move(&event.camera, stream);
                shared.news.add(&event.camera, stream);
            }
        }
    }))
}
