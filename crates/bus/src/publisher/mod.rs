//! The publisher: frames in, records out, every frame accounted for.
//!
//! Data flow: encode → **lane → record → Kafka client → acknowledgement**.
//!
//! [`StreamHandle::submit`] numbers a frame, puts it into its stream's byte-bounded lane and sends what the windows
//! (bytes on their way, per stream and in all) let through, on the caller's thread. Delivery reports come on the
//! publisher's polling thread; they free the windows, settle gaps and send on. Two further threads: the tick (expiry,
//! silence) and the scribe (directory entries, replacing a failed client).
//!
//! Copies: the Kafka client copies each value once when it takes it. Nothing else is copied in the envelope `native`.
//!
//! ```no_run
//! use bytes::Bytes;
//! use lumenbus_bus::{BusConfig, Publisher, PublisherConfig, StreamOptions};
//! use lumenbus_frame::{CaptureTime, Codec, EncodedFrame};
//! use std::time::Duration;
//!
//! let publisher = Publisher::open(PublisherConfig::new(BusConfig::new("127.0.0.1:9092")))?;
//! let stream = publisher.main_stream("gate-7".parse()?, "raw_images", StreamOptions::new(Codec::Jpeg))?;
//! let picture = Bytes::from(std::fs::read("picture.jpg")?);
//! stream.submit(EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(1_700_000_000_000_000_000), picture))?;
//! let summary = stream.finish(Duration::from_secs(10))?;
//! assert!(summary.is_end_written);
//! publisher.close(Duration::from_secs(10));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod capture;
mod client;
mod compose;
mod core;
mod epoch;
mod event;
mod handle;
pub(crate) mod hub;
mod index;
mod latency;
mod outgoing;
mod run;
mod scribe;
mod settle;
mod slots;
mod stats;
mod stream;
mod topic;
mod traces;
mod window;

pub use compose::BatchLimits;
pub use event::PublisherEvent;
pub use handle::StreamHandle;
pub use latency::LatencySummary;
pub use outgoing::LbJson;
pub use stats::{PublisherStats, StreamStats, StreamSummary};
pub use stream::{CameraDescription, StreamOptions};

use crate::directory::{Directory, DirectoryWatch, first_partition};
use crate::publisher::core::{StreamCore, StreamLimits};
use crate::publisher::epoch::next_epoch;
use crate::publisher::hub::{Hub, lock};
use crate::publisher::outgoing::RecordForm;
use crate::publisher::scribe::Job;
use crate::publisher::stream::Stream;
use crate::publisher::topic::TopicFacts;
use crate::publisher::traces::Traces;
use crate::{BusConfig, BusError, ClientStatistics, FrameTracer, Profile, SystemClock, probe};
use lumenbus_frame::{CameraId, Clock, Epoch, StreamId};
use lumenbus_wire::{Envelope, StreamState};
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often lanes are looked after when nothing else happens.
const TICK: Duration = Duration::from_millis(100);
/// A publisher that is dropped, not closed, gives what is on its way so long.
const DROP_FLUSH: Duration = Duration::from_millis(500);

/// How a publisher works.
#[derive(Clone)]
#[non_exhaustive]
pub struct PublisherConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Payload and bookkeeping that may wait, per stream, in bytes; the oldest GOPs go when it is full.
    pub lane_bytes: usize,
    /// Record bytes of one stream that may be on their way.
    pub stream_window_bytes: usize,
    /// Record bytes of all streams that may be on their way.
    pub window_bytes: usize,
    /// How header and payload are put together.
    pub envelope: Envelope,
    /// Whether the header is repeated as JSON.
    pub lb_json: LbJson,
    /// Key + headers + value of the largest record, in bytes; `None`: 900 KiB. Never beyond the topic's
    /// `max.message.bytes` − 16 KiB.
    pub record_limit_bytes: Option<usize>,
    /// Several small frames in one record; envelope `native` only. On by default in the profile `throughput`.
    pub batching: Option<BatchLimits>,
    /// Whether keyframes are entered into `lumenbus.index`, by which readers find moments.
    pub index: bool,
    /// Who follows frames through traces; `None`: nobody, which costs nothing.
    pub tracer: Option<Arc<dyn FrameTracer>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl PublisherConfig {
    /// The defaults: 64 MiB a lane; 4 MiB on their way a stream and 32 MiB in all, 16 and 64 MiB with `throughput`.
    #[must_use]
    pub fn new(bus: BusConfig) -> Self {
        // Measured: 4 MiB is more than a round trip of one camera needs; at full speed 16 MiB keep the sender sending.
        let is_throughput = bus.profile == Profile::Throughput;
        let (stream_window_bytes, window_bytes) =
            if is_throughput { (16 << 20, 64 << 20) } else { (4 << 20, 32 << 20) };
        Self {
            bus,
            lane_bytes: 64 << 20,
            stream_window_bytes,
            window_bytes,
            envelope: Envelope::Native,
            lb_json: LbJson::Off,
            record_limit_bytes: None,
            batching: is_throughput.then_some(BatchLimits::THROUGHPUT),
            index: true,
            tracer: None,
            clock: Arc::new(SystemClock),
        }
    }

    fn tick(&self) -> Duration {
        let wait = self.batching.map_or(TICK, |limits| limits.wait / 2);
        wait.clamp(Duration::from_millis(1), TICK)
    }

    fn limits(&self, facts: TopicFacts) -> StreamLimits {
        StreamLimits {
            lane_bytes: self.lane_bytes,
            window_bytes: self.stream_window_bytes,
            form: RecordForm { limit_bytes: facts.record_limit_bytes(self.record_limit_bytes), lb_json: self.lb_json },
            envelope: self.envelope,
            batching: self.batching,
            kind: facts.kind,
        }
    }
}

impl fmt::Debug for PublisherConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherConfig")
            .field("brokers", &self.bus.brokers)
            .field("lane_bytes", &self.lane_bytes)
            .field("stream_window_bytes", &self.stream_window_bytes)
            .field("window_bytes", &self.window_bytes)
            .field("envelope", &self.envelope)
            .finish_non_exhaustive()
    }
}

/// Publishes streams through one Kafka client.
///
/// Dropping it without [`close`](Self::close) is like a crash, but for a short flush.
pub struct Publisher {
    hub: Arc<Hub>,
    config: PublisherConfig,
    watch: Option<DirectoryWatch>,
    threads: Vec<JoinHandle<()>>,
}

impl Publisher {
    /// Reaches the broker, reads the directory and starts the publisher's threads.
    ///
    /// # Errors
    /// An unusable broker, a property that librdkafka refuses, a directory that cannot be read.
    pub fn open(config: PublisherConfig) -> Result<Self, BusError> {
        probe(&config.bus)?;
        let directory = Directory::open(&config.bus)?;
        let clock = Arc::clone(&config.clock);
        let hub = Arc::new(Hub::new(config.bus.clone(), clock, directory, config.window_bytes));
        let client = client::connect(&config.bus, Arc::downgrade(&hub))?;
        hub.set_client(Some(client));
        let weak = Arc::downgrade(&hub);
        let watch = hub.directory.on_change(Arc::new(move |event| {
            if let Some(hub) = weak.upgrade() {
                hub.directory_changed(event);
            }
        }));
        let mut threads = scribe::start(&hub, config.tick())?;
        if config.index {
            threads.push(scribe::start_index(&hub)?);
        }
        Ok(Self { hub, config, watch: Some(watch), threads })
    }

    /// The directory of cameras as this publisher reads it.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.hub.directory
    }

    /// Opens the camera's `main` stream on one of our topics (its base name, without the prefix).
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub fn main_stream(&self, camera: CameraId, topic: &str, options: StreamOptions) -> Result<StreamHandle, BusError> {
        let topic = self.config.bus.topic_prefix.topic(topic);
        self.stream(StreamId::main(camera, topic), options)
    }

    /// Opens a stream under a new epoch and enters it into the directory. `id.topic` is the full name.
    ///
    /// Whoever published the stream before is superseded. Blocks until the directory has the entry.
    ///
    /// # Errors
    /// A topic that is missing and may not be created, a directory that cannot be written, [`BusError::Closed`].
    pub fn stream(&self, id: StreamId, options: StreamOptions) -> Result<StreamHandle, BusError> {
        self.hub.check_open()?;
        let facts = topic::facts(&self.hub, &id.topic)?;
        self.hub.directory.sync()?;
        let known = self.hub.directory.stream(&id);
        let past_partition = known.as_ref().map(|known| known.partition);
        let partition = self.partition(&id, &options, facts, known.as_ref().map(|known| known.partition))?;
        let now = self.hub.now();
        let epoch = next_epoch(known.map(|known| known.epoch), now);
        let mut core = StreamCore::new(id, epoch, partition, self.config.limits(facts));
        if let Some(tracer) = &self.config.tracer {
            core.traces = Traces::new(tracer, &core.id);
        }
        core.index.is_wanted = self.config.index;
        let number = self.hub.next_stream_number();
        let steps = self.hub.clock_steps(now);
        let mut stream = Stream::new(number, core, options, facts.partitions, steps);
        stream.past_partition = past_partition;
        let stream = Arc::new(stream);
        let entry = lock(&stream.core).entry_facts();
        scribe::write_entry(&self.hub, &stream, entry, StreamState::Live)?;
        self.hub.add_stream(Arc::clone(&stream));
        self.check_still_ours(&stream, epoch);
        Ok(StreamHandle::new(Arc::clone(&self.hub), stream))
    }

    /// Somebody may have taken the stream over before it was watched.
    fn check_still_ours(&self, stream: &Arc<Stream>, ours: Epoch) {
        let known = self.hub.directory.stream(&stream.id);
        if let Some(theirs) = known.map(|known| known.epoch).filter(|theirs| *theirs > ours) {
            self.hub.supersede(stream, theirs);
        }
    }

    fn partition(
        &self,
        id: &StreamId,
        options: &StreamOptions,
        facts: TopicFacts,
        known: Option<u32>,
    ) -> Result<u32, BusError> {
        if let Some(wanted) = options.partition {
            if wanted < facts.partitions {
                return Ok(wanted);
            }
            let what = format!("it has {} partitions, no number {wanted}", facts.partitions);
            return Err(BusError::TopicUnfit { topic: id.topic.as_str().to_owned(), what });
        }
        let known = known.filter(|partition| *partition < facts.partitions);
        Ok(known.unwrap_or_else(|| first_partition(&id.camera, facts.partitions)))
    }

    /// What people are told of a camera from now on: its streams here go on as they are, and its directory entry is
    /// written soon, also when its streams have ended. A camera that the directory does not know stays unknown to it;
    /// a stream that is opened later brings a description of its own.
    pub fn describe(&self, camera: &CameraId, description: CameraDescription) {
        for stream in self.hub.streams().into_iter().filter(|stream| stream.id.camera == *camera) {
            lock(&stream.description).clone_from(&description);
        }
        lock(&self.hub.descriptions).insert(camera.clone(), description);
        self.hub.add_job(Job::Describe(camera.clone()));
    }

    /// The numbers of this moment.
    #[must_use]
    pub fn stats(&self) -> PublisherStats {
        self.hub.stats()
    }

    /// What librdkafka counted last; `None` without [`BusConfig::statistics_interval`] and before the first interval.
    #[must_use]
    pub fn client_statistics(&self) -> Option<Arc<ClientStatistics>> {
        lock(&self.hub.statistics).clone()
    }

    /// The next event, waiting for it at most so long.
    #[must_use]
    pub fn next_event(&self, wait: Duration) -> Option<PublisherEvent> {
        self.hub.events.next(wait)
    }

    /// Ends every stream that is still open, within `deadline` in all, and stops.
    #[must_use]
    pub fn close(mut self, deadline: Duration) -> Vec<StreamSummary> {
        let end = Instant::now() + deadline;
        let streams = self.hub.streams();
        for stream in &streams {
            handle::begin_finish(&self.hub, stream);
        }
        let left = || end.saturating_duration_since(Instant::now());
        let summaries = streams.iter().filter_map(|stream| handle::finish(&self.hub, stream, left()).ok()).collect();
        self.hub.indexer.close(left());
        self.stop();
        summaries
    }

    fn stop(&mut self) {
        self.watch = None;
        self.hub.indexer.close(Duration::ZERO);
        self.hub.close();
        drop(lock(&self.hub.listener).take());
        let client = self.hub.set_client(None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the publisher panicked");
            }
        }
        drop(client);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        let end = Instant::now() + DROP_FLUSH;
        for stream in self.hub.streams() {
            stream.wait_until(end.saturating_duration_since(Instant::now()), StreamCore::is_drained);
        }
        self.stop();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod live_tests;
