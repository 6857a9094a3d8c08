//! What a publisher's streams and threads share.
//!
//! Lock order: a stream's core, then the client, the queue of waiting streams, the scribe's jobs or the indexer's state.
//! Never two cores.
//! The Kafka client calls back on its polling thread only, while nothing is locked.

use crate::control::{Asked, Listener};
use crate::diagnosis::{Attempt, explain};
use crate::directory::{Directory, DirectoryEvent};
use crate::publisher::capture::StepWatch;
use crate::publisher::client::{Client, ClientSink};
use crate::publisher::core::{Delivery, Now, Pumped, StreamCore};
use crate::publisher::event::{Events, PublisherEvent};
use crate::publisher::index::Indexer;
use crate::publisher::latency::LatencyBuckets;
use crate::publisher::scribe::Job;
use crate::publisher::stats::{self, PublisherStats};
use crate::publisher::stream::{CameraDescription, Stream};
use crate::publisher::topic::TopicFacts;
use crate::publisher::window::{TotalWindow, cost};
use crate::{BusConfig, BusError, ClientStatistics};
use lumenbus_frame::{CameraId, Clock, Epoch, StreamId};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// Both clocks are read again when the thread was interrupted between them for longer than this.
const CLOCK_PAIR_NANOS: u64 = 10_000_000;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Hub {
    pub(crate) bus: BusConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: Directory,
    pub(crate) total: TotalWindow,
    pub(crate) events: Events,
    pub(crate) steps: StepWatch,
    pub(crate) topics: Mutex<BTreeMap<String, TopicFacts>>,
    pub(crate) replaced_clients: AtomicU64,
    pub(crate) statistics: Mutex<Option<Arc<ClientStatistics>>>,
    /// What cameras were described as and the directory does not have yet.
    pub(crate) descriptions: Mutex<BTreeMap<CameraId, CameraDescription>>,
    /// Reads requests, from the first stream on that answers them.
    pub(crate) listener: Mutex<Option<Listener>>,
    pub(crate) is_closed: AtomicBool,
    pub(crate) indexer: Arc<Indexer>,
    client: RwLock<Option<Arc<Client>>>,
    streams: RwLock<HashMap<u32, Arc<Stream>>>,
    next_stream: AtomicU32,
    /// Streams that had no room; each is in it at most once.
    waiting: Mutex<VecDeque<Arc<Stream>>>,
    waiting_count: AtomicUsize,
    is_connected: AtomicBool,
    pub(crate) is_replacing: AtomicBool,
    jobs: Mutex<VecDeque<Job>>,
    job_arrived: Condvar,
}

impl Hub {
    pub(crate) fn new(bus: BusConfig, clock: Arc<dyn Clock>, directory: Directory, window_bytes: usize) -> Self {
        let steps = StepWatch::new(clock.unix_nanos(), clock.monotonic_nanos());
        Self {
            bus,
            clock,
            directory,
            total: TotalWindow::new(window_bytes),
            events: Events::default(),
            steps,
            topics: Mutex::default(),
            replaced_clients: AtomicU64::new(0),
            statistics: Mutex::default(),
            descriptions: Mutex::default(),
            listener: Mutex::default(),
            is_closed: AtomicBool::new(false),
            indexer: Arc::default(),
            client: RwLock::new(None),
            streams: RwLock::default(),
            next_stream: AtomicU32::new(0),
            waiting: Mutex::default(),
            waiting_count: AtomicUsize::new(0),
            is_connected: AtomicBool::new(false),
            is_replacing: AtomicBool::new(false),
            jobs: Mutex::default(),
            job_arrived: Condvar::new(),
        }
    }

    /// Both clocks at one moment.
    pub(crate) fn now(&self) -> Now {
        let mut before = self.clock.monotonic_nanos();
        loop {
            let unix_nanos = self.clock.unix_nanos();
            let monotonic_nanos = self.clock.monotonic_nanos();
            if monotonic_nanos.saturating_sub(before) < CLOCK_PAIR_NANOS {
                return Now { monotonic_nanos, unix_nanos };
            }
            before = monotonic_nanos;
        }
    }

    /// How many clock steps there were; tells of a new one.
    pub(crate) fn clock_steps(&self, now: Now) -> u64 {
        let (steps, step) = self.steps.check(now.unix_nanos, now.monotonic_nanos);
        if let Some(nanos) = step {
            self.events.tell(PublisherEvent::ClockStep { millis: nanos / 1_000_000 });
        }
        steps
    }

    pub(crate) fn check_open(&self) -> Result<(), BusError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(BusError::Closed { what: "publisher" });
        }
        Ok(())
    }

    pub(crate) fn client(&self) -> Option<Arc<Client>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a client in place of the one before, which is given back.
    pub(crate) fn set_client(&self, client: Option<Client>) -> Option<Arc<Client>> {
        let mut place = self.client.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, client.map(Arc::new))
    }

    pub(crate) fn next_stream_number(&self) -> u32 {
        self.next_stream.fetch_add(1, Ordering::AcqRel)
    }

    pub(crate) fn add_stream(&self, stream: Arc<Stream>) {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(stream.number, stream);
    }

    pub(crate) fn remove_stream(&self, number: u32) {
        self.streams.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    pub(crate) fn stream(&self, number: u32) -> Option<Arc<Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    pub(crate) fn streams(&self) -> Vec<Arc<Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Somebody wants a keyframe; `None`: of a stream that is not here.
    pub(crate) fn ask_keyframe(&self, id: &StreamId) -> Option<Asked> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let now_nanos = self.clock.monotonic_nanos();
        streams.values().find(|stream| stream.id == *id).map(|stream| stream.wish.ask(now_nanos))
    }

    /// Sends what the stream may send.
    pub(crate) fn pump(&self, stream: &Arc<Stream>, mut core: MutexGuard<'_, StreamCore>, now: Now) {
        let Some(client) = self.client() else {
            return;
        };
        let sink = ClientSink { hub: self, client: &client, stream: stream.number };
        let pumped = core.pump(now, &sink, &self.total);
        drop(core);
        if pumped == Pumped::NoRoom {
            self.wait_for_room(stream);
            // Room may have come back before the stream stood in the queue.
            if self.total.used_bytes() == 0 {
                self.serve_waiting(1);
            }
        }
    }

    fn wait_for_room(&self, stream: &Arc<Stream>) {
        if !stream.is_waiting.swap(true, Ordering::AcqRel) {
            lock(&self.waiting).push_back(Arc::clone(stream));
            self.waiting_count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Lets up to `most` waiting streams go on, in turn.
    fn serve_waiting(&self, most: usize) {
        for _ in 0..most.min(self.waiting_count.load(Ordering::Acquire)) {
            let Some(stream) = lock(&self.waiting).pop_front() else {
                return;
            };
            self.waiting_count.fetch_sub(1, Ordering::AcqRel);
            stream.is_waiting.store(false, Ordering::Release);
            let Some(client) = self.client() else {
                return;
            };
            let sink = ClientSink { hub: self, client: &client, stream: stream.number };
            let pumped = lock(&stream.core).pump(self.now(), &sink, &self.total);
            if pumped == Pumped::NoRoom {
                self.wait_for_room(&stream);
                return;
            }
        }
    }

    /// A delivery report. Called without a lock held.
    pub(crate) fn delivered(&self, number: u32, slot: u32, delivery: Delivery, value_bytes: usize) {
        let Some(stream) = self.stream(number) else {
            self.total.release(cost(value_bytes));
            return;
        };
        let now = self.now();
        let mut core = lock(&stream.core);
        core.delivered(slot, delivery, value_bytes, now, &self.total);
        if !core.index.is_empty() {
            self.indexer.add(&stream, core.index.take());
        }
        if self.waiting_count.load(Ordering::Acquire) == 0 {
            self.pump(&stream, core, now);
        } else {
            // Who waited longer goes first.
            drop(core);
            self.wait_for_room(&stream);
            self.serve_waiting(usize::MAX);
        }
        stream.progressed();
        if matches!(delivery, Delivery::InLog { .. }) {
            self.connected(&stream);
        }
    }

    fn connected(&self, stream: &Stream) {
        if !self.is_connected.load(Ordering::Relaxed) && !self.is_connected.swap(true, Ordering::AcqRel) {
            self.events.tell(PublisherEvent::Connected);
        }
        if stream.is_in_trouble.load(Ordering::Relaxed) && stream.is_in_trouble.swap(false, Ordering::AcqRel) {
            self.events.tell(PublisherEvent::DeliveryResumed { stream: stream.id.clone() });
        }
    }

    pub(crate) fn disconnected(&self, reason: &str) {
        if self.is_connected.swap(false, Ordering::AcqRel) {
            self.events.tell(PublisherEvent::Disconnected { reason: reason.to_owned() });
        }
    }

    /// A record was given up after the client had taken it.
    pub(crate) fn delivery_failed(&self, number: u32, error: &KafkaError, value_bytes: usize) {
        match error.rdkafka_error_code() {
            // Our own doing, told as `ClientReplaced`.
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {}
            Some(RDKafkaErrorCode::Fatal) => self.client_failed(&error.to_string()),
            _ => self.refused(number, error, value_bytes),
        }
    }

    /// A record cannot be in the log; told once until one of its stream is.
    pub(crate) fn refused(&self, number: u32, error: &KafkaError, value_bytes: usize) {
        let Some(stream) = self.stream(number) else {
            return;
        };
        if stream.is_in_trouble.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut attempt = Attempt::writing(&self.bus.brokers, stream.id.topic.as_str()).of_bytes(value_bytes);
        if let Some(limit) = lock(&self.topics).get(stream.id.topic.as_str()).and_then(|facts| facts.max_message_bytes)
        {
            attempt = attempt.with_limit_bytes(limit);
        }
        let error = Arc::new(explain(error.clone(), &attempt));
        self.events.tell(PublisherEvent::DeliveryProblem { stream: stream.id.clone(), error });
    }

    /// The client is of no further use.
    pub(crate) fn client_failed(&self, reason: &str) {
        if !self.is_replacing.swap(true, Ordering::AcqRel) {
            self.events.tell(PublisherEvent::ClientReplaced { reason: reason.to_owned() });
            self.add_job(Job::ReplaceClient);
        }
    }

    /// Another record of the directory.
    pub(crate) fn directory_changed(&self, event: &DirectoryEvent) {
        for stream in self.streams().into_iter().filter(|stream| stream.id.camera == event.camera) {
            let is_ours =
                |known: &&lumenbus_wire::StreamEntry| known.topic == stream.id.topic && known.name == stream.id.name;
            let announcing = stream.announcing.load(Ordering::Acquire);
            let ours = lock(&stream.core).announced_epoch().max(Epoch(announcing));
            match event.merged.streams.iter().find(is_ours) {
                Some(known) if known.epoch > ours => self.supersede(&stream, known.epoch),
                _ if announcing == 0 && event.stream(&stream.id).is_none_or(|read| read.epoch < ours) => {
                    self.add_entry_job(&stream);
                }
                _ => {}
            }
        }
    }

    pub(crate) fn supersede(&self, stream: &Arc<Stream>, theirs: Epoch) {
        let now = self.now();
        let mut core = lock(&stream.core);
        if core.superseded_by().is_none() {
            core.supersede(theirs, now);
            drop(core);
            self.events.tell(PublisherEvent::Superseded { stream: stream.id.clone(), theirs });
            stream.progressed();
        }
    }

    /// A stream whose handle is gone: what waits goes out while that is possible, then it is forgotten.
    pub(crate) fn abandon(&self, stream: &Arc<Stream>) {
        stream.is_abandoned.store(true, Ordering::Release);
        self.forget_when_drained(stream);
    }

    fn forget_when_drained(&self, stream: &Stream) {
        let core = lock(&stream.core);
        let is_over = core.is_drained() || core.superseded_by().is_some();
        drop(core);
        if is_over {
            self.remove_stream(stream.number);
        }
    }

    /// Expiry, silence, idle ranges and whatever a lost wake-up left behind.
    pub(crate) fn tick(&self) {
        let now = self.now();
        self.clock_steps(now);
        for stream in self.streams() {
            let mut core = lock(&stream.core);
            core.tick(now);
            if core.take_entry_due() {
                self.add_entry_job(&stream);
            }
            self.pump(&stream, core, now);
            if stream.is_abandoned.load(Ordering::Acquire) {
                self.forget_when_drained(&stream);
            }
        }
    }

    pub(crate) fn add_entry_job(&self, stream: &Arc<Stream>) {
        if !stream.is_entry_queued.swap(true, Ordering::AcqRel) {
            self.add_job(Job::Entry(Arc::clone(stream)));
        }
    }

    pub(crate) fn add_job(&self, job: Job) {
        lock(&self.jobs).push_back(job);
        self.job_arrived.notify_all();
    }

    /// The next job of the scribe; `None` after `wait`.
    pub(crate) fn next_job(&self, wait: Duration) -> Option<Job> {
        let jobs = lock(&self.jobs);
        let is_idle = |jobs: &mut VecDeque<Job>| jobs.is_empty() && !self.is_closed.load(Ordering::Acquire);
        let (mut jobs, _) =
            self.job_arrived.wait_timeout_while(jobs, wait, is_idle).unwrap_or_else(PoisonError::into_inner);
        jobs.pop_front()
    }

    /// Waits, less long when the publisher is closed.
    pub(crate) fn pause(&self, wait: Duration) {
        let jobs = lock(&self.jobs);
        let is_open = |_: &mut VecDeque<Job>| !self.is_closed.load(Ordering::Acquire);
        drop(self.job_arrived.wait_timeout_while(jobs, wait, is_open));
    }

    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let jobs = lock(&self.jobs);
        self.job_arrived.notify_all();
        drop(jobs);
        for stream in self.streams() {
            stream.progressed();
        }
    }

    pub(crate) fn stats(&self) -> PublisherStats {
        let mut latency = LatencyBuckets::default();
        let mut stats = PublisherStats {
            in_flight_bytes: self.total.used_bytes(),
            replaced_clients: self.replaced_clients.load(Ordering::Acquire),
            forgotten_events: self.events.forgotten(),
            ..PublisherStats::default()
        };
        for stream in self.streams() {
            stats::add(&mut stats, &mut latency, &lock(&stream.core));
        }
        stats
    }
}
