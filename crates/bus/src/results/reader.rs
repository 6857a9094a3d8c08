//! What analysis workers write, as it comes.

use crate::diagnosis::{Attempt, explain};
use crate::directory::reader_config;
use crate::offsets;
use crate::subscriber::partitions_of;
use crate::topics::ANALYSIS_RESULTS;
use crate::{BusConfig, BusError};
use lumenbus_wire::AnalysisResult;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use std::time::Duration;

/// One question before reading begins takes at most so long.
pub(super) const ASK: Duration = Duration::from_secs(5);

/// Reads results from the end of the topic on: for showing them, not for keeping them.
///
/// Results are given as they are written, before their transaction is committed: a worker that dies then makes the same
/// results again, and what is shown with its picture would otherwise come a whole batch later.
pub struct ResultReader {
    consumer: BaseConsumer,
    topic: String,
    brokers: String,
}

impl fmt::Debug for ResultReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl ResultReader {
    /// Begins at the end of every partition.
    ///
    /// # Errors
    /// [`BusError::UnknownTopic`] while nobody has written results yet, and everything that is wrong with the broker.
    pub fn open(bus: &BusConfig) -> Result<Self, BusError> {
        let topic = bus.topic_prefix.topic(ANALYSIS_RESULTS);
        let attempt = Attempt::reading(&bus.brokers, topic.as_str());
        let mut config = reader_config(bus);
        // Nothing but results is asked on this connection, and a result ends the wait.
        config.set("fetch.wait.max.ms", "500").set("queued.max.messages.kbytes", "2048");
        let consumer: BaseConsumer = config.create().map_err(|error| explain(error, &attempt))?;
        let places = partitions_of(&consumer, std::slice::from_ref(&topic), &bus.brokers, ASK)?;
        let ends = offsets::ask(&consumer, &places, Offset::End, ASK).map_err(|error| explain(error, &attempt))?;
        let mut assigned = TopicPartitionList::new();
        for ((topic, partition), end) in ends {
            assigned
                .add_partition_offset(&topic, partition, Offset::Offset(end))
                .map_err(|error| explain(error, &attempt))?;
        }
        consumer.assign(&assigned).map_err(|error| explain(error, &attempt))?;
        Ok(Self { consumer, topic: topic.to_string(), brokers: bus.brokers.clone() })
    }

    /// The next result; `None` when none comes in time. What is no result is left out, with a line in the log.
    ///
    /// # Errors
    /// What reading ends with; a broker that is away is waited for.
    pub fn recv(&self, wait: Duration) -> Result<Option<AnalysisResult>, BusError> {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => Ok(read_result(&message)),
            None | Some(Err(KafkaError::PartitionEOF(_))) => Ok(None),
            Some(Err(error)) if is_final(&error) => Err(explain(error, &Attempt::reading(&self.brokers, &self.topic))),
            Some(Err(error)) => {
                tracing::debug!(topic = self.topic, %error, "reading results");
                Ok(None)
            }
        }
    }
}

/// What is no result is left out, with a line in the log.
pub(super) fn read_result(message: &BorrowedMessage<'_>) -> Option<AnalysisResult> {
    match AnalysisResult::decode(content_type_of(message), message.payload().unwrap_or_default()) {
        Ok(result) => Some(result),
        Err(error) => {
            let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
            tracing::debug!(topic, partition, offset, %error, "no result");
            None
        }
    }
}

/// Reading does not go on by itself after these.
pub(super) fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{Fatal, TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition};
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| [Fatal, TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition].contains(&code))
}

fn content_type_of<'a>(message: &'a BorrowedMessage<'_>) -> Option<&'a [u8]> {
    message.headers()?.iter().find(|header| header.key == "content-type")?.value
}
