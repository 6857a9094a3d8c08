//! Records by their offsets.

use super::{Quiet, RecordView};
use crate::diagnosis::{Attempt, explain};
use crate::{BusConfig, BusError, Role};
use lumenbus_frame::TopicName;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use std::time::{Duration, Instant};

/// Records in between that are read over: what was fetched ahead is thrown away by a jump.
const NEARBY: i64 = 16;
/// One look at what came.
const LOOK: Duration = Duration::from_millis(100);
/// What a fetch brings and what waits, at most; one record more where that is larger.
const FETCH_BYTES: &str = "2097152";
const QUEUED_KIB: &str = "3072";

/// What is read is there already. A fetch that waited at a log's end would hold up the next jump to another partition.
const WAIT_MILLIS: &str = "5";

/// Reads single records; those that follow each other are fetched ahead.
pub struct RecordFetcher {
    consumer: BaseConsumer<Quiet>,
    topic: TopicName,
    brokers: String,
    /// Partition that is read, and the offset that comes next.
    at: Option<(i32, i64)>,
    is_assigned: bool,
}

impl RecordFetcher {
    /// For the topic with this full name.
    ///
    /// # Errors
    /// A property that librdkafka does not take.
    pub fn open(bus: &BusConfig, topic: TopicName) -> Result<Self, BusError> {
        let attempt = Attempt::reading(&bus.brokers, topic.as_str());
        let mut config = bus.client_config(Role::Consumer);
        config
            .set("group.id", "lumenbus-fetch")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_uncommitted")
            .set("fetch.error.backoff.ms", "50");
        for (name, value) in [
            ("max.partition.fetch.bytes", FETCH_BYTES),
            ("fetch.max.bytes", FETCH_BYTES),
            ("queued.max.messages.kbytes", QUEUED_KIB),
            ("fetch.wait.max.ms", WAIT_MILLIS),
        ] {
            if !bus.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        let consumer = config.create_with_context(Quiet).map_err(|error| explain(error, &attempt))?;
        Ok(Self { consumer, topic, brokers: bus.brokers.clone(), at: None, is_assigned: false })
    }

    fn go_to(&mut self, partition: i32, offset: i64) -> Result<(), KafkaError> {
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(self.topic.as_str(), partition, Offset::Offset(offset))?;
        self.at = None;
        self.is_assigned = true;
        self.consumer.assign(&assigned)?;
        self.at = Some((partition, offset));
        Ok(())
    }

    /// Reads nothing ahead until the next record is asked for: brokers are left alone meanwhile.
    ///
    /// # Errors
    /// What the client refuses.
    pub fn rest(&mut self) -> Result<(), BusError> {
        self.at = None;
        if std::mem::take(&mut self.is_assigned) {
            let attempt = Attempt::reading(&self.brokers, self.topic.as_str());
            self.consumer.unassign().map_err(|error| explain(error, &attempt))?;
        }
        Ok(())
    }

    /// The record at an offset; `None` when there is none: deleted, beyond the log's end, or never written.
    ///
    /// # Errors
    /// [`BusError::Timeout`] when nothing is heard for `patience`; everything that is wrong with the broker.
    pub fn fetch<T>(
        &mut self,
        (partition, offset): (i32, i64),
        patience: Duration,
        take: impl FnOnce(&RecordView<'_>) -> T,
    ) -> Result<Option<T>, BusError> {
        let is_near = |(at, next): (i32, i64)| at == partition && next <= offset && offset - next <= NEARBY;
        if !self.at.is_some_and(is_near) {
            let (topic, brokers) = (self.topic.clone(), self.brokers.clone());
            self.go_to(partition, offset).map_err(|e| explain(e, &Attempt::reading(&brokers, topic.as_str())))?;
        }
        let began = Instant::now();
        loop {
            match self.consumer.poll(LOOK) {
                // Left over from where the reader was before.
                Some(Ok(message)) if message.partition() != partition => {}
                Some(Ok(message)) if message.offset() < offset => self.at = Some((partition, message.offset() + 1)),
                Some(Ok(message)) if message.offset() == offset => {
                    self.at = Some((partition, offset + 1));
                    return Ok(Some(take(&RecordView::new(&message))));
                }
                // Others are there, but it is not.
                Some(Ok(_)) => {
                    self.at = None;
                    return Ok(None);
                }
                Some(Err(KafkaError::PartitionEOF(of))) if of != partition => {}
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at = None;
                    return Ok(None);
                }
                Some(Err(error)) if is_out_of_range(&error) => {
                    self.at = None;
                    return Ok(None);
                }
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => {
                    self.at = None;
                    return Err(explain(error, &Attempt::reading(&self.brokers, self.topic.as_str())));
                }
                None => {}
            }
            if began.elapsed() >= patience {
                self.at = None;
                let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                let operation = "reading a record by its offset";
                return Err(BusError::Timeout { operation, brokers: self.brokers.clone(), millis });
            }
        }
    }
}

fn is_out_of_range(error: &KafkaError) -> bool {
    let codes = [RDKafkaErrorCode::OffsetOutOfRange, RDKafkaErrorCode::AutoOffsetReset];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}

/// The client goes on by itself after these.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::CoordinatorLoadInProgress
                | Code::NetworkException
        )
    )
}

impl fmt::Debug for RecordFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordFetcher").field("topic", &self.topic).field("at", &self.at).finish_non_exhaustive()
    }
}
