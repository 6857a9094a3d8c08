//! What happened at cameras: the newest events of the log, and then each as it comes.

use super::reader::{ASK, is_final};
use crate::diagnosis::{Attempt, explain};
use crate::directory::reader_config;
use crate::offsets;
use crate::subscriber::{Start, partitions_of};
use crate::topics::EVENTS;
use crate::{BusConfig, BusError};
use lumenbus_wire::CameraEvent;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

/// What [`EventReader::next`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum EventRead {
    /// An event.
    Event(Box<CameraEvent>),
    /// A record that is no event, or of a kind that is not known here.
    Other,
    /// Everything was read that was committed when this reader came to the end; told once.
    AtEnd,
    /// Nothing came in time.
    Nothing,
}

/// Reads committed events in the order in which they were written.
pub struct EventReader {
    consumer: BaseConsumer,
    topic: String,
    brokers: String,
    /// Partitions whose end was not reached yet.
    ahead: HashSet<i32>,
    is_cut: bool,
}

/// Where reading begins.
#[derive(Clone, Copy)]
enum From {
    /// So many offsets before the end.
    Newest(u32),
    /// Unix time in milliseconds.
    Moment(i64),
}

/// What is no event, or of a kind that is not known, is left out; the former with a line in the log.
pub(super) fn read_event(message: &BorrowedMessage<'_>) -> Option<CameraEvent> {
    CameraEvent::decode_json(message.payload().unwrap_or_default()).unwrap_or_else(|error| {
        tracing::debug!(topic = message.topic(), offset = message.offset(), %error, "no event");
        None
    })
}

impl fmt::Debug for EventReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl EventReader {
    /// Begins so many offsets before the end of each partition; transactions take offsets, too.
    ///
    /// # Errors
    /// [`BusError::UnknownTopic`] where nobody has written events yet, and everything that is wrong with the broker.
    pub fn open(bus: &BusConfig, newest: u32) -> Result<Self, BusError> {
        Self::begin(bus, From::Newest(newest))
    }

    /// Begins at the end, at the beginning, or with what was written at a moment or after it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_at(bus: &BusConfig, start: Start) -> Result<Self, BusError> {
        Self::begin(
            bus,
            match start {
                Start::Live => From::Newest(0),
                Start::Earliest => From::Newest(u32::MAX),
                Start::At { unix_millis } => From::Moment(unix_millis),
            },
        )
    }

    fn begin(bus: &BusConfig, from: From) -> Result<Self, BusError> {
        let topic = bus.topic_prefix.topic(EVENTS);
        let attempt = Attempt::reading(&bus.brokers, topic.as_str());
        let as_error = |error| explain(error, &attempt);
        let mut config = reader_config(bus);
        config.set("isolation.level", "read_committed").set("fetch.wait.max.ms", "500");
        config.set("queued.max.messages.kbytes", "1024");
        let consumer: BaseConsumer = config.create().map_err(as_error)?;
        let places = partitions_of(&consumer, std::slice::from_ref(&topic), &bus.brokers, ASK)?;
        let begins = offsets::ask(&consumer, &places, Offset::Beginning, ASK).map_err(as_error)?;
        let ends = offsets::ask(&consumer, &places, Offset::End, ASK).map_err(as_error)?;
        let at = match from {
            From::Newest(_) => HashMap::new(),
            From::Moment(moment) => offsets::ask(&consumer, &places, Offset::Offset(moment), ASK).map_err(as_error)?,
        };
        let (mut assigned, mut is_cut) = (TopicPartitionList::new(), false);
        for place in &places {
            let begin = begins.get(place).copied().unwrap_or(0);
            let end = ends.get(place).copied().unwrap_or(begin);
            let from = match from {
                From::Newest(newest) => end.saturating_sub(i64::from(newest)).max(begin),
                // No record is that young where there is no offset.
                From::Moment(_) => at.get(place).copied().unwrap_or(end),
            };
            is_cut |= from > 0;
            assigned.add_partition_offset(&place.0, place.1, Offset::Offset(from)).map_err(as_error)?;
        }
        consumer.assign(&assigned).map_err(as_error)?;
        let ahead = places.into_iter().map(|(_, partition)| partition).collect();
        Ok(Self { consumer, topic: topic.to_string(), brokers: bus.brokers.clone(), ahead, is_cut })
    }

    /// Whether there are, or were, events before those that it began with.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What comes next.
    ///
    /// # Errors
    /// What reading ends with; a broker that is away is waited for.
    pub fn next(&mut self, wait: Duration) -> Result<EventRead, BusError> {
        match self.consumer.poll(wait) {
            None => Ok(EventRead::Nothing),
            Some(Ok(message)) => {
                Ok(read_event(&message).map_or(EventRead::Other, |event| EventRead::Event(Box::new(event))))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let is_last = self.ahead.remove(&partition) && self.ahead.is_empty();
                Ok(if is_last { EventRead::AtEnd } else { EventRead::Nothing })
            }
            Some(Err(error)) if is_final(&error) => Err(explain(error, &Attempt::reading(&self.brokers, &self.topic))),
            Some(Err(error)) => {
                tracing::debug!(topic = self.topic, %error, "reading events");
                Ok(EventRead::Nothing)
            }
        }
    }
}
