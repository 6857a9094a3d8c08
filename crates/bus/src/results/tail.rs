//! What was committed last in a partition: for those who go on where another stopped.

use crate::diagnosis::{Attempt, explain};
use crate::directory::reader_config;
use crate::offsets;
use crate::subscriber::partitions_of;
use crate::{BusConfig, BusError};
use lumenbus_frame::TopicName;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use std::time::{Duration, Instant};

use super::reader::ASK;

/// Between two looks at how far transactions have ended.
const LOOK: Duration = Duration::from_millis(50);

/// Reads the newest committed records of partitions.
pub struct TailReader {
    committed: BaseConsumer,
    /// Sees what is not committed yet as well.
    all: BaseConsumer,
    brokers: String,
    patience: Duration,
}

/// A record that was read.
pub struct TailRecord<'a>(&'a BorrowedMessage<'a>);

impl TailRecord<'_> {
    /// The camera's id.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.0.key().unwrap_or_default()
    }

    /// The record's value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.0.payload().unwrap_or_default()
    }

    /// The record header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.headers()?.iter().find(|header| header.key == name)?.value
    }
}

impl fmt::Debug for TailRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TailRecord").field("offset", &self.0.offset()).finish_non_exhaustive()
    }
}

impl TailReader {
    /// A reader that gives up a question after this time.
    ///
    /// # Errors
    /// A configuration that the client refuses.
    pub fn open(bus: &BusConfig, patience: Duration) -> Result<Self, BusError> {
        let open = |isolation: &str| -> Result<BaseConsumer, BusError> {
            let mut config = reader_config(bus);
            config.set("isolation.level", isolation).set("queued.max.messages.kbytes", "2048");
            config.create().map_err(|error| explain(error, &Attempt::reading(&bus.brokers, "image_features")))
        };
        let (committed, all) = (open("read_committed")?, open("read_uncommitted")?);
        Ok(Self { committed, all, brokers: bus.brokers.clone(), patience })
    }

    /// The last `records` records of the partition that has what belongs to frames of `frame_partition`, in order, as far
    /// as transactions were committed. What was begun when this was called has ended before it is read.
    ///
    /// # Errors
    /// [`BusError::TransactionAborted`] when a transaction of another writer has not ended in time; everything that is
    /// wrong with the broker.
    pub fn read(
        &self,
        topic: &TopicName,
        frame_partition: i32,
        records: i64,
        mut take: impl FnMut(&TailRecord<'_>),
    ) -> Result<(), BusError> {
        let explained = |error: KafkaError| explain(error, &Attempt::reading(&self.brokers, topic.as_str()));
        let deadline = Instant::now() + self.patience;
        let places = partitions_of(&self.all, std::slice::from_ref(topic), &self.brokers, ASK)?;
        let count = i32::try_from(places.len()).unwrap_or(i32::MAX);
        let place = [(topic.to_string(), frame_partition.rem_euclid(count))];
        let end_of = |consumer: &BaseConsumer| {
            let ends = offsets::ask(consumer, &place, Offset::End, ASK).map_err(explained)?;
            Ok::<_, BusError>(ends.get(&place[0]).copied().unwrap_or(0))
        };
        let end = end_of(&self.all)?;
        while end_of(&self.committed)? < end {
            if Instant::now() >= deadline {
                let reason = "a transaction of another writer has not ended".to_owned();
                return Err(BusError::TransactionAborted { topic: topic.to_string(), reason });
            }
            // Kafka tells nobody of the end of a transaction: it is asked again.
            std::thread::sleep(LOOK);
        }
        let [(name, partition)] = &place;
        let mut assigned = TopicPartitionList::new();
        let from = Offset::Offset((end - records).max(0));
        assigned
            .add_partition_offset(name, *partition, from)
            .and_then(|()| self.committed.assign(&assigned))
            .map_err(explained)?;
        let read = self.to_end(deadline, topic, &mut take);
        self.committed.unassign().map_err(explained)?;
        read
    }

    fn to_end(
        &self,
        deadline: Instant,
        topic: &TopicName,
        take: &mut dyn FnMut(&TailRecord<'_>),
    ) -> Result<(), BusError> {
        while Instant::now() < deadline {
            match self.committed.poll(LOOK) {
                Some(Ok(message)) => take(&TailRecord(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                None => {}
                Some(Err(error)) => {
                    return Err(explain(error, &Attempt::reading(&self.brokers, topic.as_str())));
                }
            }
        }
        let reason = "the newest records cannot be read in time".to_owned();
        Err(BusError::TransactionAborted { topic: topic.to_string(), reason })
    }
}

impl fmt::Debug for TailReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TailReader").field("patience", &self.patience).finish_non_exhaustive()
    }
}
