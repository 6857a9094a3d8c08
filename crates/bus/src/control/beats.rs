//! Beats of a shared fleet: one small client that sends a node's own and reads everybody's.

use super::CONTROL;
use super::sender::{Reports, producer};
use crate::diagnosis::{Attempt, explain};
use crate::directory::{READ_TIMEOUT, reader_config};
use crate::topics::ensure_topics;
use crate::{BusConfig, BusError};
use lumenbus_frame::FleetName;
use lumenbus_wire::FleetBeat;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use std::time::Duration;

/// Sends and reads the beats of one fleet, without a thread: whoever has it calls [`receive`](Self::receive) all the time.
///
/// It reads the control topic from its end, so that what was said before is not heard. All beats are in one partition:
/// every node reads the same in the same order. Nothing is kept but numbers.
pub struct BeatPort {
    producer: BaseProducer<Reports>,
    consumer: BaseConsumer,
    topic: String,
    fleet: FleetName,
    refused: u64,
}

impl BeatPort {
    /// Opens it at the end of the topic, which is created when it is missing.
    ///
    /// # Errors
    /// An unusable broker, a property that librdkafka refuses, a topic that is missing or may not be read.
    pub fn open(bus: &BusConfig, fleet: FleetName) -> Result<Self, BusError> {
        ensure_topics(bus, &[CONTROL])?;
        let topic = bus.topic_prefix.topic(CONTROL).to_string();
        let failed = |error| explain(error, &Attempt::reading(&bus.brokers, &topic));
        let producer = producer(bus).map_err(|error| explain(error, &Attempt::asking(&bus.brokers)))?;
        let mut config = reader_config(bus);
        // What lies in the topic from before an interruption was said by nodes that may be gone.
        config.set("auto.offset.reset", "latest").set("fetch.wait.max.ms", "500");
        config.set("queued.max.messages.kbytes", "512");
        let consumer: BaseConsumer = config.create().map_err(failed)?;
        let wait = Timeout::After(READ_TIMEOUT);
        // Known before they are used, topics are written to and read from at once; else librdkafka looks after a second.
        producer.client().fetch_metadata(Some(&topic), wait).map_err(failed)?;
        consumer.fetch_metadata(Some(&topic), wait).map_err(failed)?;
        let (_, end) = consumer.fetch_watermarks(&topic, 0, wait).map_err(failed)?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(&topic, 0, Offset::Offset(end)).map_err(failed)?;
        consumer.assign(&partitions).map_err(failed)?;
        Ok(Self { producer, consumer, topic, fleet, refused: 0 })
    }

    /// Hands a beat to the client, which gives up after three seconds; never waits. Whether it was taken.
    pub fn send(&self, beat: &FleetBeat) -> bool {
        let value = beat.encode();
        let record = BaseRecord::to(&self.topic).partition(0).key(self.fleet.as_str()).payload(&value[..]);
        let sent = self.producer.send(record);
        if let Err((error, _)) = &sent {
            tracing::debug!(topic = self.topic, %error, "a beat was not sent");
        }
        self.producer.poll(Timeout::After(Duration::ZERO));
        sent.is_ok()
    }

    /// Waits until what was sent has left, at most so long.
    pub fn flush(&self, wait: Duration) {
        if let Err(error) = self.producer.flush(Timeout::After(wait)) {
            tracing::debug!(topic = self.topic, %error, "the last beats may not have left");
        }
    }

    /// The next record of the topic within `wait`: the fleet's beat that it is, if it is one. `Err` when none came.
    ///
    /// One record a call, so that a flood of records keeps nobody from looking at the time.
    ///
    /// # Errors
    /// [`NothingCame`].
    pub fn receive(&mut self, wait: Duration) -> Result<Option<FleetBeat>, NothingCame> {
        self.producer.poll(Timeout::After(Duration::ZERO));
        let decoded = match self.consumer.poll(Timeout::After(wait)) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => return Err(NothingCame),
            Some(Err(error)) => {
                tracing::debug!(topic = self.topic, %error, "reading beats");
                return Err(NothingCame);
            }
            Some(Ok(message)) => beat_of(&message, &self.fleet),
        };
        if decoded.is_err() {
            self.refused = self.refused.saturating_add(1);
        }
        Ok(decoded.unwrap_or_default())
    }

    /// Records under the fleet's name that are no beats.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// No record arrived in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NothingCame;

struct NoBeat;

/// The fleet's beat; `None`: a record for others.
fn beat_of(message: &BorrowedMessage<'_>, fleet: &FleetName) -> Result<Option<FleetBeat>, NoBeat> {
    if message.key() != Some(fleet.as_str().as_bytes()) {
        return Ok(None);
    }
    let decoded = message.payload().map(FleetBeat::decode);
    match decoded {
        // A request: a camera may be called as the fleet is.
        Some(Ok(beat)) => Ok(beat),
        Some(Err(error)) => {
            tracing::debug!(offset = message.offset(), %error, "not a beat known here");
            Err(NoBeat)
        }
        None => Err(NoBeat),
    }
}

impl fmt::Debug for BeatPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeatPort").field("fleet", &self.fleet).field("refused", &self.refused).finish_non_exhaustive()
    }
}
