//! Events for one who acts on each: as a member of a consumer group, which goes on where it was.

use super::events::read_event;
use super::reader::{ASK, is_final};
use crate::config::Role;
use crate::diagnosis::{Attempt, explain};
use crate::offsets;
use crate::subscriber::{Start, partitions_of};
use crate::topics::EVENTS;
use crate::{BusConfig, BusError};
use bytes::Bytes;
use lumenbus_wire::{CameraEvent, MAX_EVENT_BYTES};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaRespErr as RespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An event and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// The event; `None` for what is none, or of a kind that is not known here.
    pub event: Option<CameraEvent>,
    /// The record's value as it is; empty where it is longer than an event may be.
    pub value: Bytes,
    partition: i32,
    offset: i64,
    /// Changes with each assignment.
    tenure: u64,
}

/// What [`EventFollower::next`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// The next record.
    Record(Box<LoggedEvent>),
    /// Everything that was there has been handed over; again after more was.
    AtEnd,
    /// Nothing came in time.
    Nothing,
}

/// Reads committed events in order, each until somebody says that it is [`done`](Self::done).
///
/// The members of a group share the topic's partitions (there is one: the others stand by). What is done is committed every
/// half second and at the end. A new group's beginning is committed before anything is handed over, so that nothing that
/// comes after it is missed.
pub struct EventFollower {
    consumer: BaseConsumer<Follower>,
    topic: String,
    brokers: String,
    /// Came while nothing was asked for.
    early: VecDeque<LoggedEvent>,
    /// Partitions read to their end.
    at_end: BTreeSet<i32>,
    is_resting: bool,
}

impl EventFollower {
    /// Joins the group; `start` is where one begins that has committed nothing.
    ///
    /// # Errors
    /// [`BusError::UnknownTopic`] where nobody has written events yet, and everything that is wrong with the broker.
    pub fn open(bus: &BusConfig, group: &str, start: Start) -> Result<Self, BusError> {
        let topic = bus.topic_prefix.topic(EVENTS);
        let attempt = Attempt::reading(&bus.brokers, topic.as_str());
        let as_error = |error| explain(error, &attempt);
        let mut config = bus.client_config(Role::Consumer);
        config.set("group.id", group).set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        config.set("enable.auto.commit", "true").set("auto.commit.interval.ms", "500");
        config.set("enable.auto.offset.store", "false").set("fetch.wait.max.ms", "500");
        // The rebalance callback assigns all at once.
        config.set("partition.assignment.strategy", "range");
        // What the group has not done and retention has taken is passed over: the oldest there is comes next.
        config.set("auto.offset.reset", "earliest").set("queued.max.messages.kbytes", "1024");
        let (brokers, name) = (bus.brokers.clone(), topic.to_string());
        let context = Follower { start, tenure: AtomicU64::new(0), fault: Mutex::default() };
        let consumer: BaseConsumer<Follower> = config.create_with_context(context).map_err(as_error)?;
        partitions_of(&consumer, std::slice::from_ref(&topic), &bus.brokers, ASK)?;
        consumer.subscribe(&[topic.as_str()]).map_err(as_error)?;
        let (early, at_end) = Default::default();
        Ok(Self { consumer, topic: name, brokers, early, at_end, is_resting: false })
    }

    /// What comes next.
    ///
    /// # Errors
    /// What reading ends with; a broker that is away is waited for.
    pub fn next(&mut self, wait: Duration) -> Result<Followed, BusError> {
        while let Some(early) = self.early.pop_front() {
            if self.is_held(&early) {
                return Ok(Followed::Record(Box::new(early)));
            }
        }
        if std::mem::take(&mut self.is_resting) {
            let held = self.consumer.assignment().map_err(|error| self.explain(error))?;
            self.consumer.resume(&held).map_err(|error| self.explain(error))?;
        }
        self.poll(wait)
    }

    /// Waits without taking anything, and stays a member meanwhile.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn rest(&mut self, wait: Duration) -> Result<(), BusError> {
        if !self.is_resting {
            self.pause()?;
        }
        if let Followed::Record(early) = self.poll(wait)? {
            // Of a partition that has just come.
            self.early.push_back(*early);
            self.pause()?;
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), BusError> {
        self.is_resting = true;
        let held = self.consumer.assignment().map_err(|error| self.explain(error))?;
        self.consumer.pause(&held).map_err(|error| self.explain(error))
    }

    /// Whether it is this reader's to act on: a partition that went to another member comes again there.
    #[must_use]
    pub fn is_held(&self, event: &LoggedEvent) -> bool {
        event.tenure == self.consumer.context().tenure.load(Ordering::Acquire)
    }

    /// Nobody of the group is to get this one, or one before it, again.
    pub fn done(&self, event: &LoggedEvent) {
        if !self.is_held(event) {
            return;
        }
        if let Err(error) = self.consumer.store_offset(&self.topic, event.partition, event.offset) {
            // It has just been revoked.
            tracing::debug!(topic = self.topic, offset = event.offset, %error, "an offset is not kept");
        }
    }

    fn poll(&mut self, wait: Duration) -> Result<Followed, BusError> {
        let polled = self.consumer.poll(wait);
        if let Some(error) = self.consumer.context().take_fault() {
            return Err(self.explain(error));
        }
        match polled {
            None => Ok(Followed::Nothing),
            Some(Ok(message)) => {
                self.at_end.remove(&message.partition());
                Ok(Followed::Record(Box::new(self.logged(&message))))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.at_end.insert(partition);
                let held = self.consumer.assignment().map_err(|error| self.explain(error))?;
                let is_read = held.elements().iter().all(|element| self.at_end.contains(&element.partition()));
                Ok(if is_read { Followed::AtEnd } else { Followed::Nothing })
            }
            Some(Err(error)) if is_final(&error) => Err(self.explain(error)),
            Some(Err(error)) => {
                tracing::debug!(topic = self.topic, %error, "following events");
                Ok(Followed::Nothing)
            }
        }
    }

    fn logged(&self, message: &BorrowedMessage<'_>) -> LoggedEvent {
        let value = message.payload().unwrap_or_default();
        let event = read_event(message);
        LoggedEvent {
            event,
            value: if value.len() <= MAX_EVENT_BYTES { Bytes::copy_from_slice(value) } else { Bytes::new() },
            partition: message.partition(),
            offset: message.offset(),
            tenure: self.consumer.context().tenure.load(Ordering::Acquire),
        }
    }

    fn explain(&self, error: KafkaError) -> BusError {
        explain(error, &Attempt::reading(&self.brokers, &self.topic))
    }
}

impl fmt::Debug for EventFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFollower").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// What the rebalance callback needs and leaves.
struct Follower {
    start: Start,
    tenure: AtomicU64,
    fault: Mutex<Option<KafkaError>>,
}

impl Follower {
    fn take_fault(&self) -> Option<KafkaError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<(), KafkaError> {
        let mut assigned = consumer.committed_offsets(partitions.clone(), ASK)?;
        let all = assigned.elements();
        let fresh = all.iter().filter(|element| !matches!(element.offset(), Offset::Offset(_)));
        let fresh: Vec<_> = fresh.map(|element| (element.topic().to_owned(), element.partition())).collect();
        drop(all);
        let mut starts = TopicPartitionList::new();
        if !fresh.is_empty() {
            let at = match self.start {
                Start::Live => Offset::End,
                Start::Earliest => Offset::Beginning,
                Start::At { unix_millis } => Offset::Offset(unix_millis),
            };
            let found = offsets::ask(consumer, &fresh, at, ASK)?;
            // No record is that young.
            let ends = offsets::ask(consumer, &fresh, Offset::End, ASK)?;
            for place in &fresh {
                let Some(offset) = found.get(place).or_else(|| ends.get(place)) else { continue };
                starts.add_partition_offset(&place.0, place.1, Offset::Offset(*offset))?;
                assigned.set_partition_offset(&place.0, place.1, Offset::Offset(*offset))?;
            }
        }
        consumer.assign(&assigned)?;
        if starts.count() > 0 {
            consumer.commit(&starts, CommitMode::Sync)?;
        }
        Ok(())
    }
}

impl ClientContext for Follower {}

impl ConsumerContext for Follower {
    fn commit_callback(&self, result: Result<(), KafkaError>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets of events could not be committed; they go with the next commit");
        }
    }

    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RespErr, partitions: &mut TopicPartitionList) {
        self.tenure.fetch_add(1, Ordering::AcqRel);
        let outcome = match err {
            RespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            // What is stored is committed with it.
            RespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => consumer.unassign(),
            other => Err(KafkaError::Rebalance(other.into())),
        };
        if let Err(error) = outcome {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}
