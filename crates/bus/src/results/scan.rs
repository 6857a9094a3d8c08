//! Results of the past, read from a moment on.

use super::reader::{ASK, read_result};
use crate::diagnosis::{Attempt, explain};
use crate::directory::reader_config;
use crate::offsets;
use crate::subscriber::partitions_of;
use crate::topics::ANALYSIS_RESULTS;
use crate::{BusConfig, BusError};
use lumenbus_frame::TopicName;
use lumenbus_wire::AnalysisResult;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use std::time::Duration;

/// What [`ResultScan::next`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Scanned {
    /// A result, of whichever stream, and when it was written, Unix milliseconds.
    Result(Box<AnalysisResult>, i64),
    /// Something else that was written then.
    Other(i64),
    /// Everything that is committed so far was read.
    AtEnd,
    /// Nothing came in time.
    Nothing,
}

/// Reads the results of one partition's streams from a moment on, committed ones only.
pub struct ResultScan {
    consumer: BaseConsumer,
    topic: TopicName,
    brokers: String,
}

impl fmt::Debug for ResultScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultScan").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl ResultScan {
    /// Begins with the first result written at or after this time (Unix milliseconds) about streams whose frames are in
    /// this partition.
    ///
    /// # Errors
    /// [`BusError::UnknownTopic`] where nobody has ever written results, and everything that is wrong with the broker.
    pub fn open(bus: &BusConfig, frame_partition: i32, from_unix_millis: i64) -> Result<Self, BusError> {
        let topic = bus.topic_prefix.topic(ANALYSIS_RESULTS);
        let attempt = Attempt::reading(&bus.brokers, topic.as_str());
        let mut config = reader_config(bus);
        config.set("isolation.level", "read_committed").set("queued.max.messages.kbytes", "2048");
        let consumer: BaseConsumer = config.create().map_err(|error| explain(error, &attempt))?;
        let places = partitions_of(&consumer, std::slice::from_ref(&topic), &bus.brokers, ASK)?;
        let count = i32::try_from(places.len()).unwrap_or(i32::MAX);
        let place = [(topic.to_string(), frame_partition.rem_euclid(count))];
        // A time after the last record has no offset: then from the end on.
        let at = Offset::Offset(from_unix_millis.max(0));
        let found = offsets::ask(&consumer, &place, at, ASK).map_err(|error| explain(error, &attempt))?;
        let offset = found.get(&place[0]).map_or(Offset::End, |offset| Offset::Offset(*offset));
        let mut assigned = TopicPartitionList::new();
        assigned
            .add_partition_offset(&place[0].0, place[0].1, offset)
            .and_then(|()| consumer.assign(&assigned))
            .map_err(|error| explain(error, &attempt))?;
        Ok(Self { consumer, topic, brokers: bus.brokers.clone() })
    }

    /// What comes next.
    ///
    /// # Errors
    /// What reading ends with.
    pub fn next(&self, wait: Duration) -> Result<Scanned, BusError> {
        match self.consumer.poll(wait) {
            None => Ok(Scanned::Nothing),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Scanned::AtEnd),
            Some(Err(error)) => Err(explain(error, &Attempt::reading(&self.brokers, self.topic.as_str()))),
            Some(Ok(message)) => {
                let written = message.timestamp().to_millis().unwrap_or(0);
                Ok(match read_result(&message) {
                    Some(result) => Scanned::Result(Box::new(result), written),
                    None => Scanned::Other(written),
                })
            }
        }
    }
}
