//! Results of an analysis: written in one transaction with the offsets they come from, and read as they come.
//!
//! A [`ResultWriter`] has a thread and a transactional producer. What is [`submit`](ResultWriter::submit)ted goes into a
//! transaction that ends a tenth of a second after its first result, together with the group's safe offsets as they are
//! with these results. So a reader of committed records finds exactly one result of each frame, whoever died when: a
//! frame's result and the offset behind it are there together or not at all. The one exception: offset metadata holds the
//! marks of 124 streams of a partition; beyond that, frames that were done out of turn come again to the next owner.
//!
//! The transaction of a writer that was killed stays open until its timeout. For so long, and until the broker has looked,
//! nothing that was written after it in its partitions is seen by readers of committed records, whoever wrote it.
//!
//! ```no_run
//! # use lumenbus_bus::results::{Output, ResultRecord, ResultWriter, ResultWriterConfig};
//! # use lumenbus_bus::subscriber::{Event, Subscriber, SubscriberConfig};
//! # use lumenbus_bus::BusConfig;
//! # use std::time::Duration;
//! # let bus = BusConfig::new("127.0.0.1:9092");
//! let topic = bus.topic_prefix.topic("analysis_results");
//! let writer = ResultWriter::open(ResultWriterConfig::new(bus.clone(), topic, "counters".to_owned()))?;
//! let mut config = SubscriberConfig::new(bus.clone(), vec![bus.topic_prefix.topic("raw_images")]);
//! config.results = Some(writer.link());
//! let mut subscriber = Subscriber::open(config)?;
//! while let Some((event, receipt)) = subscriber.recv_held(Duration::from_secs(10))? {
//!     let result = match event {
//!         Event::Frame(frame) => Some(ResultRecord {
//!             output: Output::Results,
//!             header: None,
//!             key: frame.stream.camera.as_str().to_owned(),
//!             frame_partition: frame.partition,
//!             content_type: "text/plain",
//!             value: frame.payload.len().to_string().into(),
//!         }),
//!         _ => None,
//!     };
//!     writer.submit(result, receipt)?;
//! }
//! # Ok::<(), lumenbus_bus::BusError>(())
//! ```

mod events;
mod follower;
mod inbox;
mod producer;
mod reader;
mod scan;
mod tail;
mod thread;

pub use events::{EventRead, EventReader};
pub use follower::{EventFollower, Followed, LoggedEvent};
pub use reader::ResultReader;
pub use scan::{ResultScan, Scanned};
pub use tail::{OpenTransaction, TailEnd, TailReader, TailRecord, TailWaiter};

use crate::subscriber::{GroupOffsets, Receipt};
use crate::{BusConfig, BusError};
use bytes::Bytes;
use inbox::{Command, Inbox, Item};
use lumenbus_frame::TopicName;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use thread::Transactions;

/// Where results go and how long a transaction lives.
#[derive(Debug, Clone)]
pub struct ResultWriterConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Full name of the results' topic, which exists.
    pub topic: TopicName,
    /// Full names of the topics of features and events, which exist; `None`: there will be none.
    pub more: Option<MoreTopics>,
    /// The group whose offsets are committed with the results.
    pub group: String,
    /// A transaction ends this long after its first result.
    pub batch: Duration,
    /// After this time brokers abort a transaction whose writer is gone: until then others wait for what it held.
    pub transaction_timeout: Duration,
    /// Bytes of results that may wait.
    pub buffer_bytes: usize,
}

impl ResultWriterConfig {
    /// Batches of 100 ms, a timeout of 10 s, 8 MiB.
    #[must_use]
    pub fn new(bus: BusConfig, topic: TopicName, group: String) -> Self {
        Self {
            bus,
            topic,
            more: None,
            group,
            batch: Duration::from_millis(100),
            transaction_timeout: Duration::from_secs(10),
            buffer_bytes: 8 << 20,
        }
    }
}

/// What goes into the same transactions as results.
#[derive(Debug, Clone)]
pub struct MoreTopics {
    /// One record of each second of a stream.
    pub features: TopicName,
    /// What happened at cameras.
    pub events: TopicName,
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The topic of results.
    Results,
    /// [`MoreTopics::features`].
    Features,
    /// [`MoreTopics::events`].
    Events,
}

/// One result on its way into the topic.
#[derive(Debug, Clone)]
pub struct ResultRecord {
    /// Which topic.
    pub output: Output,
    /// A record header beside `content-type`: name and value.
    pub header: Option<(&'static str, Bytes)>,
    /// Record key: the camera's id.
    pub key: String,
    /// Partition of the frame; the result's is this modulo the number of its topic's partitions, so that the results of a
    /// stream are in order in one.
    pub frame_partition: i32,
    /// The record header `content-type`.
    pub content_type: &'static str,
    /// The record's value.
    pub value: Bytes,
}

impl ResultRecord {
    pub(crate) fn bytes(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |(name, value)| name.len() + value.len());
        size_of::<Self>() + self.key.len() + self.value.len() + header
    }
}

/// What a writer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResultStats {
    /// Results in committed transactions.
    pub results: u64,
    /// Feature records in committed transactions.
    pub features: u64,
    /// Events in committed transactions.
    pub events: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Transactions given up; what they held is done again.
    pub aborted: u64,
    /// Results that were not written because another member has their partition now.
    pub given_away: u64,
}

/// Writes results; see the [module](self).
pub struct ResultWriter {
    inbox: Arc<Inbox>,
    group: Arc<str>,
    thread: Option<JoinHandle<()>>,
}

impl ResultWriter {
    /// Connects and makes itself known as a transactional producer.
    ///
    /// # Errors
    /// When brokers cannot be reached, or refuse.
    pub fn open(config: ResultWriterConfig) -> Result<Self, BusError> {
        crate::probe(&config.bus)?;
        let inbox = Arc::new(Inbox::new(config.buffer_bytes, config.topic.clone()));
        let group = Arc::from(config.group.as_str());
        let transactions = Transactions::open(config, Arc::clone(&inbox))?;
        let thread = std::thread::Builder::new()
            .name("lumenbus-results".to_owned())
            .spawn(move || transactions.run())
            .map_err(|source| BusError::Thread { what: "results", source })?;
        Ok(Self { inbox, group, thread: Some(thread) })
    }

    /// For [`SubscriberConfig::results`](crate::SubscriberConfig::results).
    #[must_use]
    pub fn link(&self) -> ResultsLink {
        ResultsLink { inbox: Arc::clone(&self.inbox), group: Arc::clone(&self.group) }
    }

    /// Takes what became of a frame: its result and what goes with it, or that it has none; together or not at all. Waits
    /// while there is no room.
    ///
    /// Those of one stream come in the order of its frames; events without a frame come here as well, in their place.
    ///
    /// # Errors
    /// [`BusError::TransactionAborted`] after a transaction was given up: nothing is taken until another subscriber is
    /// opened with [`link`](Self::link); it goes on where the last committed transaction ended.
    pub fn submit(&self, records: impl IntoIterator<Item = ResultRecord>, receipt: Receipt) -> Result<(), BusError> {
        self.inbox.put(Item { records: records.into_iter().collect(), receipt })
    }

    /// Ends the transaction under way, with everything that was submitted.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn flush(&self) -> Result<(), BusError> {
        self.inbox.end_transaction();
        self.check()
    }

    /// Whether results are taken.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn check(&self) -> Result<(), BusError> {
        self.inbox.check()
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ResultStats {
        self.inbox.stats()
    }
}

impl Drop for ResultWriter {
    /// What was not committed is given up.
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of results panicked");
        }
    }
}

impl fmt::Debug for ResultWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultWriter").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Ties a subscriber's offsets to a writer's transactions.
#[derive(Clone)]
pub struct ResultsLink {
    inbox: Arc<Inbox>,
    group: Arc<str>,
}

impl ResultsLink {
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// From now on this subscriber's offsets are committed.
    pub(crate) fn attach(&self, offsets: GroupOffsets) -> Result<(), BusError> {
        let (answer, answered) = sync_channel(1);
        self.inbox.command(Command::Attach(offsets, answer));
        answered.recv().unwrap_or(Err(BusError::Closed { what: "writer of results" }))
    }

    /// Commits or aborts what is under way; returns when that is over.
    pub(crate) fn end_transaction(&self) {
        self.inbox.end_transaction();
    }
}

impl fmt::Debug for ResultsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultsLink").field("group", &self.group).finish_non_exhaustive()
    }
}
