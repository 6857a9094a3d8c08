//! The Kafka client of the index.

use super::Indexer;
use super::chain::Written;
use crate::diagnosis::{Attempt, explain};
use crate::index::{LogReader, last_entry};
use crate::topics::{INDEX, ensure_topics};
use crate::{BusConfig, BusError, Role};
use lumenbus_frame::StreamId;
use lumenbus_wire::{IndexEntry, IndexPosition};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// What became of handing an entry to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Queued,
    Refused,
}

struct Reports {
    indexer: Weak<Indexer>,
    error: Mutex<Option<KafkaError>>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The frames' own client tells of brokers that are away.
        tracing::debug!(%error, reason, "index");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let Some(indexer) = self.indexer.upgrade() else { return };
        let stream = u32::try_from(opaque).unwrap_or(u32::MAX);
        match result {
            Ok(message) => {
                let at = u32::try_from(message.partition()).ok().zip(u64::try_from(message.offset()).ok());
                indexer.settled(stream, Some(at.map(|(partition, offset)| IndexPosition { partition, offset })));
            }
            Err((error, _)) => {
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                indexer.settled(stream, None);
            }
        }
    }
}

pub(super) struct Client {
    producer: BaseProducer<Reports>,
    reader: LogReader,
    topic: String,
    partitions: u32,
    brokers: String,
}

impl Client {
    /// Sees to the topic and connects.
    pub(super) fn open(bus: &BusConfig, indexer: &Arc<Indexer>) -> Result<Self, BusError> {
        ensure_topics(bus, &[INDEX])?;
        let topic = bus.topic_prefix.topic(INDEX).to_string();
        let brokers = bus.brokers.clone();
        let mut config = bus.client_config(Role::Producer);
        config
            // A codec is a client's, not a topic's, in this binding: hence a client beside the frames' own.
            .set("compression.type", "zstd")
            // Entries that come twice are harmless, and no error of this client is fatal.
            .set("enable.idempotence", "false")
            // Entries of several cameras in one batch; each stream waits for its last one.
            .set("linger.ms", "1")
            // It is there, as was seen to: one that is missing was deleted.
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("queue.buffering.max.kbytes", "4096");
        let reports = Reports { indexer: Arc::downgrade(indexer), error: Mutex::default() };
        let producer = config.create_with_context(reports);
        let producer = producer.map_err(|error| explain(error, &Attempt::writing(&brokers, &topic)))?;
        let reader = LogReader::open(bus)?;
        let partitions = reader.partitions(&topic)?;
        if partitions == 0 {
            return Err(BusError::UnknownTopic { topic, brokers });
        }
        Ok(Self { producer, reader, topic, partitions, brokers })
    }

    pub(super) fn send(&self, stream: u32, camera: &str, entry: &IndexEntry) -> Sent {
        // An index with fewer partitions than the frames takes several of theirs in each.
        let partition = i32::try_from(entry.partition % self.partitions).unwrap_or(0);
        let value = entry.encode();
        let opaque = usize::try_from(stream).unwrap_or(usize::MAX);
        let record =
            BaseRecord::with_opaque_to(&self.topic, opaque).partition(partition).key(camera).payload(&value[..]);
        match self.producer.send(record) {
            Ok(()) => Sent::Queued,
            Err((error, _)) => {
                *self.producer.context().error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Sent::Refused
            }
        }
    }

    pub(super) fn poll(&self, wait: Duration) {
        self.producer.poll(wait);
    }

    /// Why entries did not get through since the last call.
    pub(super) fn take_error(&self) -> Option<BusError> {
        let error = self.producer.context().error.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(explain(error, &Attempt::writing(&self.brokers, &self.topic)))
    }

    /// The last entry of a stream that was in this partition; a chain begins anew where it is not found.
    pub(super) fn last_entry(&mut self, stream: &StreamId, partition: u32, patience: Duration) -> Option<Written> {
        self.reader.set_patience(patience);
        let found = last_entry(&mut self.reader, &self.topic, stream, partition % self.partitions);
        let found = found.unwrap_or_else(|error| {
            tracing::debug!(%stream, %error, "the stream's last index entry");
            None
        });
        found.map(|(entry, at)| Written { entry, at: Some(at) })
    }
}
