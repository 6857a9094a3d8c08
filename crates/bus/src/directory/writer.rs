//! Writes directory entries, one at a time.

use crate::config::{BusConfig, Role};
use crate::diagnosis::{Attempt, explain};
use crate::error::BusError;
use crate::topics::CAMERAS;
use lumenbus_frame::CameraId;
use lumenbus_wire::CameraEntry;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A write is given up after this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// librdkafka reports its own timeout a little late.
const REPORT_ALLOWANCE: Duration = Duration::from_secs(2);

type Acknowledgement = Result<i64, KafkaError>;

struct Context;

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<SyncSender<Acknowledgement>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody waits any more: the write was given up.
        let _ = waiting.try_send(outcome);
    }
}

/// Holds the right to write; the next writer waits.
pub(super) struct Turn<'a>(#[expect(dead_code, reason = "held, not used")] MutexGuard<'a, ()>);

pub(super) struct Writer {
    client_config: ClientConfig,
    brokers: String,
    topic: String,
    turn: Mutex<()>,
    /// Made at the first write: a subscriber never writes.
    producer: OnceLock<ThreadedProducer<Context>>,
}

impl Writer {
    pub(super) fn new(config: &BusConfig) -> Self {
        let mut client_config = config.client_config(Role::Producer);
        client_config
            .set("acks", "all")
            // One record at a time, each waited for: its order is kept, and written twice it says the same. It spares the
            // first write half a second for a producer id.
            .set("enable.idempotence", "false")
            .set("max.in.flight.requests.per.connection", "1")
            .set("linger.ms", "0")
            .set("message.timeout.ms", WRITE_TIMEOUT.as_millis().to_string())
            .set("queue.buffering.max.kbytes", "16384");
        Self {
            client_config,
            brokers: config.brokers.clone(),
            topic: config.topic_prefix.topic(CAMERAS).as_str().to_owned(),
            turn: Mutex::new(()),
            producer: OnceLock::new(),
        }
    }

    pub(super) fn turn(&self) -> Turn<'_> {
        Turn(self.turn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes an entry and waits for its acknowledgement; the record's offset.
    pub(super) fn write(&self, _turn: &Turn<'_>, camera: &CameraId, entry: &CameraEntry) -> Result<i64, BusError> {
        let value = entry.encode().map_err(|source| BusError::DirectoryEntry { camera: camera.clone(), source })?;
        let producer = self.producer()?;
        let (sender, receiver) = sync_channel(1);
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(sender))
            .partition(0)
            .key(camera.as_str())
            .payload(value.as_ref());
        producer.send(record).map_err(|(error, _)| self.explained(error, value.len()))?;
        match receiver.recv_timeout(WRITE_TIMEOUT + REPORT_ALLOWANCE) {
            Ok(outcome) => outcome.map_err(|error| self.explained(error, value.len())),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(self.too_late()),
        }
    }

    fn producer(&self) -> Result<&ThreadedProducer<Context>, BusError> {
        if self.producer.get().is_none() {
            let made: ThreadedProducer<Context> =
                self.client_config.create_with_context(Context).map_err(|error| self.explained(error, 0))?;
            // Known before it is written to, a topic takes the record at once; else librdkafka looks after a second.
            let _ = made.client().fetch_metadata(Some(&self.topic), Timeout::After(WRITE_TIMEOUT));
            // Only the holder of the turn gets here, so nobody else has set it meanwhile.
            let _ = self.producer.set(made);
        }
        Ok(self.producer.get().expect("set above"))
    }

    fn explained(&self, error: KafkaError, record_bytes: usize) -> BusError {
        let attempt = Attempt::writing(&self.brokers, &self.topic).of_bytes(record_bytes);
        explain(error, &attempt)
    }

    fn too_late(&self) -> BusError {
        let millis = u64::try_from(WRITE_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        BusError::Timeout { operation: "writing the directory", brokers: self.brokers.clone(), millis }
    }
}
