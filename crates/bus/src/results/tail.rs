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

/// What holds up whoever reads a tail: some producer's transaction that is open, before the end of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Full name of the topic.
    pub topic: TopicName,
    /// The partition in it.
    pub partition: i32,
    /// The first offset that is not readable yet.
    pub from_offset: i64,
    /// Since when it is waited for.
    pub since: Instant,
}

/// Who waits for a tail.
pub trait TailWaiter {
    /// Whether it is not wanted any more; asked several times a second.
    fn gives_up(&self) -> bool;

    /// A transaction is still open; told at each look.
    fn waits(&self, held_up_by: OpenTransaction);
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum TailEnd {
    /// Everything was read from this offset on; none before it where that is the log's beginning.
    Read {
        /// What lies before has not been read.
        before: Option<i64>,
    },
    /// The waiter gave up.
    GivenUp,
}

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
    /// A reader that gives up records that do not come after this time. Transactions of others are waited for as long as they
    /// are open.
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

    /// `records` records of the partition that has what belongs to frames of `frame_partition`, in order, as far as
    /// transactions were committed: the last before this offset, or before the end. What was begun when the end was asked
    /// for has ended before it is read: a transaction that stays open is waited for until `waiter` gives up.
    ///
    /// # Errors
    /// [`BusError::TransactionAborted`] when the records themselves do not come in time; everything that is wrong with the
    /// broker.
    pub fn read(
        &self,
        topic: &TopicName,
        frame_partition: i32,
        (before, records): (Option<i64>, i64),
        waiter: &dyn TailWaiter,
        mut take: impl FnMut(&TailRecord<'_>),
    ) -> Result<TailEnd, BusError> {
        let explained = |error: KafkaError| explain(error, &Attempt::reading(&self.brokers, topic.as_str()));
        let places = partitions_of(&self.all, std::slice::from_ref(topic), &self.brokers, ASK)?;
        let count = i32::try_from(places.len()).unwrap_or(i32::MAX);
        let place = [(topic.to_string(), frame_partition.rem_euclid(count))];
        let end = match before {
            Some(before) => before,
            None => match self.await_end(topic, &place, waiter)? {
                Some(end) => end,
                None => return Ok(TailEnd::GivenUp),
            },
        };
        let begins = offsets::ask(&self.committed, &place, Offset::Beginning, ASK).map_err(explained)?;
        let begin = begins.get(&place[0]).copied().unwrap_or(0);
        let from = end.saturating_sub(records).max(begin);
        if from >= end {
            return Ok(TailEnd::Read { before: None });
        }
        let [(name, partition)] = &place;
        let mut assigned = TopicPartitionList::new();
        assigned
            .add_partition_offset(name, *partition, Offset::Offset(from))
            .and_then(|()| self.committed.assign(&assigned))
            .map_err(explained)?;
        let is_read = self.up_to(end, topic, waiter, &mut take);
        self.committed.unassign().map_err(explained)?;
        let before = (from > begin).then_some(from);
        Ok(if is_read? { TailEnd::Read { before } } else { TailEnd::GivenUp })
    }

    /// The partition's end as it is now, once everything before it is readable; none when the waiter gave up.
    fn await_end(
        &self,
        topic: &TopicName,
        place: &[(String, i32); 1],
        waiter: &dyn TailWaiter,
    ) -> Result<Option<i64>, BusError> {
        let end_of = |consumer: &BaseConsumer| {
            let ends = offsets::ask(consumer, place, Offset::End, ASK)
                .map_err(|error| explain(error, &Attempt::reading(&self.brokers, topic.as_str())))?;
            Ok::<_, BusError>(ends.get(&place[0]).copied().unwrap_or(0))
        };
        let (since, end) = (Instant::now(), end_of(&self.all)?);
        loop {
            let readable = end_of(&self.committed)?;
            if readable >= end {
                return Ok(Some(end));
            }
            if waiter.gives_up() {
                return Ok(None);
            }
            let partition = place[0].1;
            waiter.waits(OpenTransaction { topic: topic.clone(), partition, from_offset: readable, since });
            // Kafka tells nobody of the end of a transaction: it is asked again.
            std::thread::sleep(LOOK);
        }
    }

    /// `false` when the waiter gave up.
    fn up_to(
        &self,
        end: i64,
        topic: &TopicName,
        waiter: &dyn TailWaiter,
        take: &mut dyn FnMut(&TailRecord<'_>),
    ) -> Result<bool, BusError> {
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            if waiter.gives_up() {
                return Ok(false);
            }
            match self.committed.poll(LOOK) {
                Some(Ok(message)) if message.offset() >= end => return Ok(true),
                Some(Ok(message)) => {
                    let is_last = message.offset() + 1 == end;
                    take(&TailRecord(&message));
                    if is_last {
                        return Ok(true);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
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
