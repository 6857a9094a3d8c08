//! The writing side: transactions, each appended whole.

use crate::diagnosis::{Attempt, explain};
use crate::topics::ensure_topics;
use crate::{BusConfig, BusError, Role};
use bytes::Bytes;
use lumenbus_frame::TopicName;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One look at the client's events while something is tried again.
const POLL: Duration = Duration::from_millis(20);
/// How long a transaction of a writer that died may stand in the way of readers.
const TRANSACTION_MILLIS: &str = "10000";

/// Writes entries to a topic's first partition under a name that is its own.
pub struct JournalWriter {
    client: BaseProducer<Reports>,
    topic: TopicName,
    brokers: String,
    patience: Duration,
}

/// Where what was appended lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the last entry.
    pub last_offset: u64,
}

#[derive(Default)]
struct Reports {
    last: Mutex<Option<i64>>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "writing a journal");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(record) => {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                *last = (*last).max(Some(record.offset()));
            }
            // The commit fails with it.
            Err((error, _)) => tracing::debug!(%error, "an entry was not delivered"),
        }
    }
}

impl JournalWriter {
    /// Opens the topic with this base name for the writer of this name, and fences its predecessors; each step takes
    /// `patience` at most. A missing topic is created where that is allowed.
    ///
    /// # Errors
    /// Everything that is wrong with the broker, and a missing right to the transactional id.
    pub fn open(bus: &BusConfig, topic: &str, name: &str, patience: Duration) -> Result<Self, BusError> {
        ensure_topics(bus, &[topic])?;
        let topic = bus.topic_prefix.topic(topic);
        let attempt = Attempt::writing(&bus.brokers, topic.as_str());
        let mut config = bus.client_config(Role::Producer);
        config
            .set("transactional.id", format!("{}-{name}", topic.as_str()))
            .set("transaction.timeout.ms", TRANSACTION_MILLIS)
            .set("message.timeout.ms", TRANSACTION_MILLIS)
            .set("socket.timeout.ms", "5000")
            .set("acks", "all")
            .set("enable.idempotence", "true");
        if !bus.properties.contains_key("compression.type") {
            config.set("compression.type", "zstd");
        }
        let client: BaseProducer<Reports> =
            config.create_with_context(Reports::default()).map_err(|error| explain(error, &attempt))?;
        patiently(&client, patience, |left| client.init_transactions(left))
            .map_err(|error| explain(error, &attempt))?;
        Ok(Self { client, topic, brokers: bus.brokers.clone(), patience })
    }

    /// Appends entries in order, all of them or none. They are committed and acknowledged when this returns.
    ///
    /// # Errors
    /// Whether they were written is unknown then: the writer is of no more use, and the next one under this name finds
    /// out by reading.
    pub fn append(&self, key: &str, content_type: &str, values: &[Bytes]) -> Result<Appended, BusError> {
        let bytes = values.iter().map(Bytes::len).max().unwrap_or(0) + key.len();
        let attempt = Attempt::writing(&self.brokers, self.topic.as_str()).of_bytes(bytes);
        let explained = |error: KafkaError| explain(error, &attempt);
        self.last().take();
        self.client.begin_transaction().map_err(explained)?;
        for value in values {
            self.send(key, content_type, value).map_err(explained)?;
        }
        patiently(&self.client, self.patience, |left| self.client.commit_transaction(left)).map_err(explained)?;
        let last = self.last().take();
        let last_offset = last.and_then(|offset| u64::try_from(offset).ok()).unwrap_or(0);
        Ok(Appended { last_offset })
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<i64>> {
        self.client.context().last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, key: &str, content_type: &str, value: &Bytes) -> Result<(), KafkaError> {
        let deadline = Instant::now() + self.patience;
        let header = Header { key: "content-type", value: Some(content_type) };
        let headers = OwnedHeaders::new_with_capacity(1).insert(header);
        let mut record = BaseRecord::to(self.topic.as_str()).partition(0).key(key).payload(&value[..]).headers(headers);
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !is_full || Instant::now() >= deadline {
                        return Err(error);
                    }
                    record = back;
                    self.client.poll(POLL);
                }
            }
        }
    }
}

impl fmt::Debug for JournalWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalWriter").field("topic", &self.topic).finish_non_exhaustive()
    }
}

fn patiently(
    client: &BaseProducer<Reports>,
    patience: Duration,
    act: impl Fn(Duration) -> Result<(), KafkaError>,
) -> Result<(), KafkaError> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match act(left) {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && !error.is_fatal() && !error.txn_requires_abort() && !left.is_zero() =>
            {
                client.poll(POLL);
            }
            done => return done,
        }
    }
}
