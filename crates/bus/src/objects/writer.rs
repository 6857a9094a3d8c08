//! The writing side: acknowledged, in order, within a budget of bytes.

use crate::diagnosis::{Attempt, explain};
use crate::{BusConfig, BusError, Role};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a record is tried: a broker that is restarted is waited for.
const DELIVERY_MILLIS: &str = "120000";
/// librdkafka does not tell when its queue has room again.
const QUEUE_POLL: Duration = Duration::from_millis(5);
const ASK: Duration = Duration::from_secs(10);

/// How a writer compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordCompression {
    /// Values are compressed already.
    None,
    /// LZ4.
    Lz4,
}

impl RecordCompression {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
        }
    }
}

/// How many bytes may be on their way to the brokers; shared by writers.
#[derive(Debug)]
pub struct Budget {
    free_bytes: Mutex<usize>,
    changed: Condvar,
    limit_bytes: usize,
}

impl Budget {
    /// So many bytes.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { free_bytes: Mutex::new(limit_bytes), changed: Condvar::new(), limit_bytes })
    }

    /// Waits for room; more than there can ever be waits for all of it.
    fn take(&self, bytes: usize) -> usize {
        let bytes = bytes.min(self.limit_bytes);
        let mut free = lock(&self.free_bytes);
        while *free < bytes {
            free = self.changed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        bytes
    }

    fn give_back(&self, bytes: usize) {
        *lock(&self.free_bytes) += bytes;
        self.changed.notify_all();
    }
}

/// What became of the records of one object, in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Deliveries {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    offsets: Vec<Option<i64>>,
    outstanding: usize,
    failure: Option<(KafkaError, usize)>,
}

impl Deliveries {
    /// None yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether a record of it failed: no more need be sent.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        lock(&self.state).failure.is_some()
    }

    fn begin(&self) -> usize {
        let mut state = lock(&self.state);
        state.offsets.push(None);
        state.outstanding += 1;
        state.offsets.len() - 1
    }

    fn end(&self, index: usize, result: Result<i64, KafkaError>, record_bytes: usize) {
        let mut state = lock(&self.state);
        state.outstanding -= 1;
        match result {
            Ok(offset) => state.offsets[index] = Some(offset),
            Err(error) => {
                state.failure.get_or_insert((error, record_bytes));
            }
        }
        self.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A record to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The topic's full name.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its key.
    pub key: &'a str,
    /// Its headers in order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
}

impl Outgoing<'_> {
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + headers + self.value.map_or(0, <[u8]>::len)
    }
}

/// Held by librdkafka while a record is on its way.
pub(super) struct Ticket {
    deliveries: Arc<Deliveries>,
    index: usize,
    bytes: usize,
    budgeted: usize,
}

#[derive(Debug)]
pub(super) struct Reports {
    budget: Arc<Budget>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "writing records");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        self.budget.give_back(ticket.budgeted);
        let result = match result {
            Ok(record) => Ok(record.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        ticket.deliveries.end(ticket.index, result, ticket.bytes);
    }
}

/// An idempotent producer, `acks=all`.
pub struct RecordWriter {
    client: ThreadedProducer<Reports>,
    brokers: String,
}

impl RecordWriter {
    /// One that compresses like this; its records on their way count against the budget.
    ///
    /// # Errors
    /// A property that librdkafka does not take.
    pub fn open(bus: &BusConfig, compression: RecordCompression, budget: &Arc<Budget>) -> Result<Self, BusError> {
        let attempt = Attempt::asking(&bus.brokers);
        let mut config = bus.client_config(Role::Producer);
        if !bus.properties.contains_key("compression.type") {
            config.set("compression.type", compression.as_str());
        }
        if !bus.properties.contains_key("message.timeout.ms") {
            config.set("message.timeout.ms", DELIVERY_MILLIS);
        }
        config.set("acks", "all").set("enable.idempotence", "true");
        let reports = Reports { budget: Arc::clone(budget) };
        let client: ThreadedProducer<Reports> =
            config.create_with_context(reports).map_err(|error| explain(error, &attempt))?;
        Ok(Self { client, brokers: bus.brokers.clone() })
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// [`BusError::UnknownTopic`], and everything that is wrong with the broker.
    pub fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        let attempt = Attempt::writing(&self.brokers, topic);
        let metadata =
            self.client.client().fetch_metadata(Some(topic), ASK).map_err(|error| explain(error, &attempt))?;
        match metadata.topics().first().map_or(0, |topic| topic.partitions().len()) {
            0 => Err(BusError::UnknownTopic { topic: topic.to_owned(), brokers: self.brokers.clone() }),
            partitions => Ok(u32::try_from(partitions).unwrap_or(u32::MAX)),
        }
    }

    /// Sends a record, waiting for room in the budget. Records of one writer to one partition are appended in order.
    ///
    /// # Errors
    /// What the client refuses at once; what the brokers say is in `deliveries`.
    pub fn send(&self, record: &Outgoing<'_>, deliveries: &Arc<Deliveries>) -> Result<(), BusError> {
        let bytes = record.bytes();
        let budgeted = self.client.context().budget.take(bytes);
        let index = deliveries.begin();
        let ticket = Box::new(Ticket { deliveries: Arc::clone(deliveries), index, bytes, budgeted });
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let mut outgoing = BaseRecord::with_opaque_to(record.topic, ticket)
            .partition(record.partition)
            .key(record.key)
            .headers(headers);
        if let Some(value) = record.value {
            outgoing = outgoing.payload(value);
        }
        loop {
            match self.client.send(outgoing) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    outgoing = back;
                    std::thread::sleep(QUEUE_POLL);
                }
                Err((error, back)) => {
                    let ticket = back.delivery_opaque;
                    self.client.context().budget.give_back(ticket.budgeted);
                    ticket.deliveries.end(ticket.index, Err(error.clone()), bytes);
                    return Err(explain(error, &Attempt::writing(&self.brokers, record.topic).of_bytes(bytes)));
                }
            }
        }
    }

    /// Waits until every record of an object is acknowledged or given up; offsets in the order of sending.
    ///
    /// # Errors
    /// The first record's that was given up.
    pub fn wait(&self, topic: &str, deliveries: &Deliveries) -> Result<Vec<i64>, BusError> {
        let mut state = lock(&deliveries.state);
        while state.outstanding > 0 {
            state = deliveries.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some((error, bytes)) = state.failure.take() {
            let attempt = Attempt::writing(&self.brokers, topic).of_bytes(bytes);
            return Err(explain(error, &attempt));
        }
        Ok(state.offsets.iter().flatten().copied().collect())
    }
}

impl fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordWriter").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}
