//! Reads stretches of partitions, wherever they are, within a budget.

use super::LookupCost;
use crate::diagnosis::{Attempt, explain};
use crate::offsets;
use crate::status::Quiet;
use crate::subscriber::LogRecord;
use crate::{BusConfig, BusError, Role};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Longest wait for one answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of frames that one lookup goes through, however many looks it takes.
const LOOKUP_BYTES: u64 = 192 << 20;

/// A stretch of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    /// First offset.
    pub(super) from: i64,
    /// Offset after the last one; `i64::MAX`: to the end.
    pub(super) until: i64,
}

/// How much may be read at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// How far a look at frames came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked {
    /// The offset after the last record shown.
    pub(super) next: i64,
    /// The bytes did not suffice.
    pub(super) is_cut: bool,
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) begin: i64,
    pub(super) end: i64,
}

/// One consumer that is given a place, reads a little and lets go of it.
pub(crate) struct LogReader {
    consumer: BaseConsumer<Quiet>,
    brokers: String,
    pub(super) cost: LookupCost,
    /// Bytes of frames that the lookup may still go through.
    left_bytes: u64,
    patience: Duration,
}

impl LogReader {
    pub(crate) fn open(bus: &BusConfig) -> Result<Self, BusError> {
        let mut client = bus.client_config(Role::Consumer);
        client
            // In name only: librdkafka assigns partitions only to a consumer with a group.
            .set("group.id", "lumenbus-index")
            // What is told apart by its offset, instead of an error that names none.
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("fetch.min.bytes", "1")
            // The end of a partition is known after this wait.
            .set("fetch.wait.max.ms", "5")
            .set("fetch.error.backoff.ms", "50")
            .set("fetch.message.max.bytes", "131072")
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "4096");
        let brokers = bus.brokers.clone();
        let consumer = client.create_with_context(Quiet);
        let consumer = consumer.map_err(|error| explain(error, &Attempt::asking(&brokers)))?;
        Ok(Self { consumer, brokers, cost: LookupCost::default(), left_bytes: LOOKUP_BYTES, patience: PATIENCE })
    }

    /// A lookup begins: its cost is counted, and it has a budget of its own.
    pub(super) fn begin_lookup(&mut self) {
        self.cost = LookupCost::default();
        self.renew_budget();
    }

    /// A look that is bounded in another way, as one of a number of samples.
    pub(super) fn renew_budget(&mut self) {
        self.left_bytes = LOOKUP_BYTES;
    }

    /// Goes through frames, as [`read`](Self::read) does, within what is left of the lookup's budget.
    pub(super) fn look_through(
        &mut self,
        stretch: Stretch<'_>,
        limit: Limit,
        visit: impl FnMut(&LogRecord<'_>) -> ControlFlow<()>,
    ) -> Result<Looked, BusError> {
        let bytes = limit.bytes.min(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        if bytes == 0 {
            return Ok(Looked { next: stretch.from, is_cut: true });
        }
        let before = self.cost.bytes;
        let next = self.read(stretch, Limit { bytes, ..limit }, visit)?;
        let read = self.cost.bytes - before;
        self.left_bytes = self.left_bytes.saturating_sub(read);
        Ok(Looked { next, is_cut: read >= bytes as u64 && next < stretch.until })
    }

    /// Answers are waited for so long from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn error(&self, topic: &str, error: KafkaError) -> BusError {
        explain(error, &Attempt::reading(&self.brokers, topic))
    }

    /// How many partitions a topic has; 0 when there is none of that name.
    pub(crate) fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        let metadata =
            self.consumer.fetch_metadata(Some(topic), self.patience).map_err(|error| self.error(topic, error))?;
        let count =
            metadata.topics().iter().find(|found| found.name() == topic).map_or(0, |found| found.partitions().len());
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    pub(super) fn bounds(&mut self, topic: &str, partition: i32) -> Result<Bounds, BusError> {
        self.cost.questions += 1;
        let marks = self.consumer.fetch_watermarks(topic, partition, self.patience);
        marks.map(|(begin, end)| Bounds { begin, end }).map_err(|error| self.error(topic, error))
    }

    /// The first offset appended at or after this moment; `None` when there is none.
    pub(super) fn offset_at(&mut self, topic: &str, partition: i32, unix_millis: i64) -> Result<Option<i64>, BusError> {
        self.cost.questions += 1;
        // Negative numbers would ask for the log's beginning or end.
        let at = Offset::Offset(unix_millis.max(0));
        let places = [(topic.to_owned(), partition)];
        let found =
            offsets::ask(&self.consumer, &places, at, self.patience).map_err(|error| self.error(topic, error))?;
        Ok(found.into_values().next())
    }

    /// Shows the records of a stretch in order, at most as many as the limit says; the offset after the last one shown.
    pub(super) fn read(
        &mut self,
        stretch: Stretch<'_>,
        limit: Limit,
        mut visit: impl FnMut(&LogRecord<'_>) -> ControlFlow<()>,
    ) -> Result<i64, BusError> {
        let mut next = stretch.from;
        if stretch.from >= stretch.until || limit.records == 0 {
            return Ok(next);
        }
        self.assign(stretch)?;
        let mut deadline = Instant::now() + self.patience;
        let (mut records, mut bytes) = (0, 0);
        let outcome = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                Some(Ok(message)) => {
                    let record = LogRecord::of(&message, 0);
                    // Before the stretch: it begins behind the end, and librdkafka went to the log's beginning.
                    if record.offset < next || record.offset >= stretch.until {
                        break Ok(next);
                    }
                    // Many fetches over a long way take longer than one answer; the limit bounds them.
                    deadline = Instant::now() + self.patience;
                    next = record.offset + 1;
                    records += 1;
                    bytes += record.value.map_or(0, <[u8]>::len);
                    let is_over = records >= limit.records || bytes >= limit.bytes || next >= stretch.until;
                    if visit(&record).is_break() || is_over {
                        break Ok(next);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break Ok(next),
                Some(Err(error)) if is_lasting(&error) || left.is_zero() => break Err(self.error(stretch.topic, error)),
                Some(Err(_)) => {}
                None => break Err(self.timeout()),
            }
        };
        self.cost.reads += 1;
        self.cost.records += records as u64;
        self.cost.bytes += bytes as u64;
        // Nothing is fetched between two calls.
        self.consumer.unassign().map_err(|error| self.error(stretch.topic, error))?;
        outcome
    }

    fn assign(&self, stretch: Stretch<'_>) -> Result<(), BusError> {
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(stretch.topic, stretch.partition, Offset::Offset(stretch.from.max(0)));
        added.and_then(|()| self.consumer.assign(&list)).map_err(|error| self.error(stretch.topic, error))
    }

    fn timeout(&self) -> BusError {
        let millis = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
        BusError::Timeout { operation: "reading a record", brokers: self.brokers.clone(), millis }
    }
}

/// What waiting does not mend; a leader that changes and a connection that breaks are tried again.
pub(crate) fn is_lasting(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
        )
    )
}
