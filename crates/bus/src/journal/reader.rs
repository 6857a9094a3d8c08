//! The reading side: what is committed, in order.

use crate::diagnosis::{Attempt, explain};
use crate::directory::reader_config;
use crate::offsets;
use crate::subscriber::partitions_of;
use crate::{BusConfig, BusError};
use bytes::Bytes;
use lumenbus_frame::TopicName;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use std::time::{Duration, Instant};

/// Longest wait for one answer about a topic.
const ASK: Duration = Duration::from_secs(10);
/// Between two looks at how far transactions have ended.
const LOOK: Duration = Duration::from_millis(20);

/// An entry of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Where it lies.
    pub offset: u64,
    /// When it was appended, Unix time in milliseconds, as the broker says.
    pub unix_millis: i64,
    /// The record's key.
    pub key: Bytes,
    /// The record's value; empty where there is none.
    pub value: Bytes,
}

/// What [`JournalReader::turn`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turned {
    /// The next entry.
    Entry(JournalEntry),
    /// Everything that is committed so far was read; entries may still come.
    AtEnd,
    /// Nothing came in time.
    Nothing,
}

/// Reads the committed entries of a topic's first partition.
pub struct JournalReader {
    committed: BaseConsumer,
    /// Sees what is not committed yet as well.
    all: BaseConsumer,
    topic: TopicName,
    brokers: String,
}

impl JournalReader {
    /// A reader of the topic with this base name.
    ///
    /// # Errors
    /// A missing topic, one of several partitions, and everything that is wrong with the broker.
    pub fn open(bus: &BusConfig, topic: &str) -> Result<Self, BusError> {
        let topic = bus.topic_prefix.topic(topic);
        let open = |isolation: &str| -> Result<BaseConsumer, BusError> {
            let mut config = reader_config(bus);
            // What retention took away while it was read is told by the caller's own count; the rest is read.
            config.set("isolation.level", isolation).set("queued.max.messages.kbytes", "8192");
            config.create().map_err(|error| explain(error, &Attempt::reading(&bus.brokers, topic.as_str())))
        };
        let (committed, all) = (open("read_committed")?, open("read_uncommitted")?);
        let partitions = partitions_of(&all, std::slice::from_ref(&topic), &bus.brokers, ASK)?;
        if partitions.len() != 1 {
            let what =
                format!("it has {} partitions; a journal has one, as its order is that of the log", partitions.len());
            return Err(BusError::TopicUnfit { topic: topic.to_string(), what });
        }
        Ok(Self { committed, all, topic, brokers: bus.brokers.clone() })
    }

    /// The topic's full name.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    fn explained(&self, error: KafkaError) -> BusError {
        explain(error, &Attempt::reading(&self.brokers, self.topic.as_str()))
    }

    fn offset_of(&self, consumer: &BaseConsumer, at: Offset) -> Result<u64, BusError> {
        let place = [(self.topic.to_string(), 0)];
        let found = offsets::ask(consumer, &place, at, ASK).map_err(|error| self.explained(error))?;
        Ok(found.get(&place[0]).and_then(|offset| u64::try_from(*offset).ok()).unwrap_or(0))
    }

    /// Offset of the log's first record, and the one after its last, committed or not.
    ///
    /// # Errors
    /// Everything that is wrong with the broker.
    pub fn bounds(&self) -> Result<(u64, u64), BusError> {
        Ok((self.offset_of(&self.all, Offset::Beginning)?, self.offset_of(&self.all, Offset::End)?))
    }

    /// The first offset whose record was appended at or after this time (Unix milliseconds); the log's end where there is
    /// none.
    ///
    /// # Errors
    /// Everything that is wrong with the broker.
    pub fn offset_at(&self, unix_millis: i64) -> Result<u64, BusError> {
        let place = [(self.topic.to_string(), 0)];
        let at = Offset::Offset(unix_millis.max(0));
        let found = offsets::ask(&self.all, &place, at, ASK).map_err(|error| self.explained(error))?;
        match found.get(&place[0]).and_then(|offset| u64::try_from(*offset).ok()) {
            Some(offset) => Ok(offset),
            None => self.offset_of(&self.all, Offset::End),
        }
    }

    /// Waits until every transaction that lies below this offset has ended.
    ///
    /// # Errors
    /// [`BusError::Timeout`], and everything that is wrong with the broker.
    pub fn wait_for_committed(&self, end: u64, patience: Duration) -> Result<(), BusError> {
        let deadline = Instant::now() + patience;
        while self.offset_of(&self.committed, Offset::End)? < end {
            if Instant::now() >= deadline {
                let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                let operation = "waiting for the transactions of other writers";
                return Err(BusError::Timeout { operation, brokers: self.brokers.clone(), millis });
            }
            // Kafka tells nobody of the end of a transaction: it is asked again.
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Goes to this offset, or to the first one after it that there is.
    ///
    /// # Errors
    /// What the client refuses.
    pub fn go_to(&self, offset: u64) -> Result<(), BusError> {
        let mut assigned = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        assigned
            .add_partition_offset(self.topic.as_str(), 0, offset)
            .and_then(|()| self.committed.assign(&assigned))
            .map_err(|error| self.explained(error))
    }

    /// What comes next.
    ///
    /// # Errors
    /// What reading ends with.
    pub fn turn(&self, wait: Duration) -> Result<Turned, BusError> {
        match self.committed.poll(wait) {
            None => Ok(Turned::Nothing),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Turned::AtEnd),
            Some(Err(error)) => Err(self.explained(error)),
            Some(Ok(message)) => Ok(Turned::Entry(JournalEntry {
                offset: u64::try_from(message.offset()).unwrap_or(0),
                unix_millis: message.timestamp().to_millis().unwrap_or(0),
                key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
                value: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
            })),
        }
    }

    /// Reads from an offset to the end that there is now, as far as transactions were committed; those that are under way
    /// are waited for. Gives the log's bounds.
    ///
    /// # Errors
    /// [`BusError::Timeout`] when no entry comes for so long, or a transaction does not end; everything that is wrong with
    /// the broker.
    pub fn read_to_end(
        &self,
        from: u64,
        patience: Duration,
        mut take: impl FnMut(JournalEntry),
    ) -> Result<(u64, u64), BusError> {
        let (start, end) = self.bounds()?;
        self.wait_for_committed(end, patience)?;
        self.go_to(from.max(start))?;
        let mut last_sign = Instant::now();
        let read = loop {
            match self.turn(LOOK) {
                Ok(Turned::Entry(entry)) => {
                    last_sign = Instant::now();
                    if entry.offset >= end {
                        break Ok(());
                    }
                    take(entry);
                }
                Ok(Turned::AtEnd) => break Ok(()),
                Ok(Turned::Nothing) if last_sign.elapsed() < patience => {}
                Ok(Turned::Nothing) => {
                    let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                    let operation = "reading to the end of the log";
                    break Err(BusError::Timeout { operation, brokers: self.brokers.clone(), millis });
                }
                Err(error) => break Err(error),
            }
        };
        self.committed.unassign().map_err(|error| self.explained(error))?;
        read.map(|()| (start, end))
    }
}

impl fmt::Debug for JournalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}
