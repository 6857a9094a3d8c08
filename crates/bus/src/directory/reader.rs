//! Reads the directory's topic on a thread of its own.

use super::READ_TIMEOUT;
use super::state::{Cameras, DirectoryEvent, Refused};
use crate::config::BusConfig;
use crate::diagnosis::{Attempt, explain};
use crate::error::BusError;
use crate::topics::CAMERAS;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::metadata::MetadataTopic;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long one poll waits: also how long a drop may take.
const POLL: Duration = Duration::from_millis(50);
/// A wait that got nowhere for this long asks the reader to look again.
const STALL: Duration = Duration::from_millis(300);
/// At most this many refused records are logged one by one.
const REFUSALS_LOGGED: u64 = 20;

type Callback = Arc<dyn Fn(&DirectoryEvent) + Send + Sync>;

/// Ends a callback of [`super::Directory::on_change`] when dropped.
pub struct DirectoryWatch {
    shared: Weak<Shared>,
    number: u64,
}

impl Drop for DirectoryWatch {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            lock(&shared.callbacks).remove(&self.number);
        }
    }
}

impl fmt::Debug for DirectoryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryWatch").field("number", &self.number).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    cameras: Cameras,
    /// Everything below this offset has been read.
    next_offset: i64,
    /// Somebody waits for this offset and the log may have a hole there (a transaction's marker, compaction).
    look_again_until: Option<i64>,
    /// The end that the running second look is for.
    looking_until: Option<i64>,
    /// Why nothing can be read, until something was.
    fault: Option<KafkaError>,
}

struct Shared {
    consumer: BaseConsumer,
    topic: String,
    brokers: String,
    state: Mutex<State>,
    progress: Condvar,
    callbacks: Mutex<BTreeMap<u64, Callback>>,
    next_callback: AtomicU64,
    foreign: AtomicU64,
    topic_exists: AtomicBool,
    stop: AtomicBool,
}

pub(super) struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The topic's end when reading began.
    first_end: i64,
}

impl Reader {
    pub(super) fn start(config: &BusConfig) -> Result<Self, BusError> {
        let topic = config.topic_prefix.topic(CAMERAS).as_str().to_owned();
        let failed = |error| explain(error, &Attempt::reading(&config.brokers, &topic));
        let consumer: BaseConsumer = super::reader_config(config).create().map_err(failed)?;
        let shared = Arc::new(Shared {
            consumer,
            topic,
            brokers: config.brokers.clone(),
            state: Mutex::default(),
            progress: Condvar::new(),
            callbacks: Mutex::default(),
            next_callback: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            topic_exists: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        // Asked before anything is fetched: the answer would wait behind the fetch on its connection. And a topic that is
        // known before it is assigned is fetched from at once; else librdkafka looks for it after a second.
        let first_end = shared.end(READ_TIMEOUT).map_err(|error| crate::diagnosis::prefer_diagnosis(error, config))?;
        let failed = |error| explain(error, &Attempt::reading(&shared.brokers, &shared.topic));
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(&shared.topic, 0, Offset::Beginning).map_err(failed)?;
        shared.consumer.assign(&partitions).map_err(failed)?;
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("lb-directory".to_owned())
            .spawn(move || of_thread.run())
            .map_err(|source| BusError::Thread { what: "directory reader", source })?;
        Ok(Self { shared, thread: Some(thread), first_end })
    }

    pub(super) fn look<T>(&self, question: impl FnOnce(&Cameras) -> T) -> T {
        question(&self.shared.state().cameras)
    }

    pub(super) fn watch(&self, callback: Callback) -> DirectoryWatch {
        let number = self.shared.next_callback.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.callbacks).insert(number, callback);
        DirectoryWatch { shared: Arc::downgrade(&self.shared), number }
    }

    pub(super) fn foreign_records(&self) -> u64 {
        self.shared.foreign.load(Ordering::Relaxed)
    }

    /// A callback that waits for the thread it runs on would wait for ever.
    pub(super) fn refuse_in_callback(&self, operation: &'static str) -> Result<(), BusError> {
        if self.is_own_thread() { Err(BusError::WithinCallback { operation }) } else { Ok(()) }
    }

    fn is_own_thread(&self) -> bool {
        self.thread.as_ref().is_some_and(|reader| reader.thread().id() == thread::current().id())
    }

    /// Waits until what was there when reading began has been read.
    pub(super) fn wait_for_beginning(&self, timeout: Duration) -> Result<(), BusError> {
        self.wait_for(self.first_end, Instant::now() + timeout, timeout)
    }

    /// Waits until everything before the topic's present end has been read.
    pub(super) fn sync(&self, timeout: Duration) -> Result<(), BusError> {
        self.refuse_in_callback("directory sync")?;
        let deadline = Instant::now() + timeout;
        let end = self.shared.end(timeout)?;
        self.wait_for(end, deadline, timeout)
    }

    /// Waits until the record at this offset has been read.
    pub(super) fn wait_past(&self, offset: i64, timeout: Duration) -> Result<(), BusError> {
        self.wait_for(offset.saturating_add(1), Instant::now() + timeout, timeout)
    }

    fn wait_for(&self, end: i64, deadline: Instant, timeout: Duration) -> Result<(), BusError> {
        let mut state = self.shared.state();
        let mut asked_at = Instant::now();
        while state.next_offset < end {
            let now = Instant::now();
            if now >= deadline {
                return Err(self.shared.stuck(state.fault.clone(), timeout));
            }
            if now.duration_since(asked_at) >= STALL {
                state.look_again_until = Some(end.max(state.look_again_until.unwrap_or(0)));
                asked_at = now;
            }
            let step = STALL.min(deadline - now);
            state = self.shared.progress.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // The last handle may go in a callback; the thread then ends by itself.
        if !self.is_own_thread()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(topic = %self.shared.topic, "the directory reader ended with a panic");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn run(&self) {
        while !self.stop.load(Ordering::Acquire) {
            self.look_again();
            match self.consumer.poll(Timeout::After(POLL)) {
                None => {}
                Some(Ok(message)) => self.take(&message),
                Some(Err(KafkaError::PartitionEOF(_))) => self.reached_end(),
                Some(Err(error)) => self.trouble(error),
            }
        }
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let outcome = self.state().cameras.apply(message.key(), message.payload(), message.offset());
        match outcome {
            Ok(event) => self.call_back(&event),
            Err(refused) => self.refuse(&refused, message.offset()),
        }
        // After the callbacks, so that whoever synced finds their effect.
        let mut state = self.state();
        state.fault = None;
        // Not a maximum: after the topic was made anew its offsets begin again.
        state.next_offset = message.offset() + 1;
        drop(state);
        self.progress.notify_all();
    }

    fn call_back(&self, event: &DirectoryEvent) {
        let callbacks: Vec<Callback> = lock(&self.callbacks).values().cloned().collect();
        for callback in callbacks {
            if catch_unwind(AssertUnwindSafe(|| callback(event))).is_err() {
                tracing::error!(camera = %event.camera, "a directory callback panicked; it stays registered");
            }
        }
    }

    fn refuse(&self, refused: &Refused, offset: i64) {
        let count = self.foreign.fetch_add(1, Ordering::Relaxed);
        if count < REFUSALS_LOGGED {
            tracing::warn!(topic = %self.topic, offset, %refused, "a directory record was left out");
        }
    }

    fn reached_end(&self) {
        let mut state = self.state();
        state.fault = None;
        if let Some(end) = state.looking_until.take() {
            // Asked after `end` was learnt, the broker has nothing more below it.
            state.next_offset = state.next_offset.max(end);
        }
        drop(state);
        self.progress.notify_all();
    }

    fn trouble(&self, error: KafkaError) {
        tracing::debug!(topic = %self.topic, %error, "reading the directory");
        match error.rdkafka_error_code() {
            Some(code) if is_missing(code) => self.topic_exists.store(false, Ordering::Relaxed),
            // The group is in name only; nobody needs a right to it.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {}
            _ => self.state().fault = Some(error),
        }
    }

    /// Reads on from where it is; librdkafka reports the end of a partition only once, a seek makes it report again.
    fn look_again(&self) {
        let mut state = self.state();
        let Some(end) = state.look_again_until.take() else { return };
        if state.next_offset >= end {
            return;
        }
        let offset = Offset::Offset(state.next_offset);
        state.looking_until = Some(end);
        drop(state);
        if let Err(error) = self.consumer.seek(&self.topic, 0, offset, Timeout::After(POLL)) {
            tracing::debug!(topic = %self.topic, %error, "looking again");
            self.state().looking_until = None;
        }
    }

    /// The offset the next record will get; 0 when there is no topic.
    fn end(&self, timeout: Duration) -> Result<i64, BusError> {
        let failed = |error| explain(error, &Attempt::reading(&self.brokers, &self.topic));
        if !self.topic_exists.load(Ordering::Relaxed) && !self.finds_topic(timeout).map_err(failed)? {
            return Ok(0);
        }
        // Before the question: what is read while the answer is on its way may lie behind it.
        let read = self.state().next_offset;
        match self.consumer.fetch_watermarks(&self.topic, 0, Timeout::After(timeout)) {
            Ok((_, end)) => Ok(self.past_recreation(end, read)),
            Err(error) if error.rdkafka_error_code().is_some_and(is_missing) => Ok(0),
            Err(error) => Err(failed(error)),
        }
    }

    /// An end below what had been read: the topic was made anew (or lost records); start over.
    fn past_recreation(&self, end: i64, read: i64) -> i64 {
        if end < read {
            tracing::warn!(topic = %self.topic, end, read, "the directory was made anew");
            let mut state = self.state();
            state.next_offset = 0;
            state.look_again_until = Some(end);
        }
        end
    }

    fn finds_topic(&self, timeout: Duration) -> Result<bool, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), Timeout::After(timeout))?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let error = found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from);
        let exists = match error {
            None => found.is_some_and(|topic| !topic.partitions().is_empty()),
            Some(code) if is_missing(code) => false,
            Some(code) => return Err(KafkaError::MetadataFetch(code)),
        };
        self.topic_exists.store(exists, Ordering::Relaxed);
        Ok(exists)
    }

    fn stuck(&self, fault: Option<KafkaError>, timeout: Duration) -> BusError {
        match fault {
            Some(error) => explain(error, &Attempt::reading(&self.brokers, &self.topic)),
            None => BusError::Timeout {
                operation: "reading the directory",
                brokers: self.brokers.clone(),
                millis: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            },
        }
    }
}

fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
