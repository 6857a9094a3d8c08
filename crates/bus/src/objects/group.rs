//! One member of a consumer group, which commits what its caller calls safe.

use super::fetcher::is_passing;
use crate::diagnosis::{Attempt, explain};
use crate::{BusConfig, BusError, Role};
use bytes::Bytes;
use lumenbus_frame::TopicName;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A record as the group's member got it.
#[derive(Debug, Clone)]
pub struct GroupRecord {
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Unix time in milliseconds; 0 where the record has none.
    pub unix_millis: i64,
    /// The header that was asked for.
    pub header: Option<Bytes>,
    /// The value; empty for a tombstone.
    pub value: Bytes,
}

/// What a member of a group meets.
#[derive(Debug)]
pub enum GroupEvent {
    /// A record of a partition that is this member's.
    Record(GroupRecord),
    /// These partitions are this member's from now on.
    Assigned(Vec<i32>),
    /// These are no longer; what was safe of them is committed.
    Revoked(Vec<i32>),
}

#[derive(Default)]
struct Shared {
    /// Per partition of this member, up to where everything is safe.
    safe: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
    changes: VecDeque<GroupEvent>,
}

struct Context {
    topic: String,
    shared: Mutex<Shared>,
}

impl Context {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn numbers(&self, list: &TopicPartitionList) -> Vec<i32> {
        let own = list.elements();
        own.iter().filter(|element| element.topic() == self.topic).map(TopicPartitionListElem::partition).collect()
    }

    fn due(&self, only: Option<&[i32]>) -> TopicPartitionList {
        let shared = self.lock();
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in &shared.safe {
            let is_meant = only.is_none_or(|only| only.contains(&partition));
            if is_meant && shared.committed.get(&partition) != Some(&offset) {
                // It refuses offsets that are none only, and these are.
                drop(list.add_partition_offset(&self.topic, partition, Offset::Offset(offset)));
            }
        }
        list
    }

    fn note_committed(&self, list: &TopicPartitionList) {
        let mut shared = self.lock();
        for element in list.elements() {
            if let Offset::Offset(offset) = element.offset() {
                shared.committed.insert(element.partition(), offset);
            }
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "reading as a group");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        let numbers = self.numbers(list);
        let due = self.due(Some(&numbers));
        if due.count() > 0
            && let Err(error) = consumer.commit(&due, CommitMode::Sync)
        {
            // Whoever has them next does what was not committed again, and finds it done.
            tracing::debug!(%error, "commit before partitions go");
        }
        // librdkafka keeps the pause of a partition that goes: it would bring nothing when it comes back.
        if let Err(error) = consumer.resume(list) {
            tracing::debug!(%error, "resuming partitions that go");
        }
        let mut shared = self.lock();
        for number in &numbers {
            shared.safe.remove(number);
            shared.committed.remove(number);
        }
        shared.changes.push_back(GroupEvent::Revoked(numbers));
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            self.lock().changes.push_back(GroupEvent::Assigned(self.numbers(list)));
        }
    }
}

/// A member of a consumer group on one topic.
pub struct GroupReader {
    consumer: BaseConsumer<Context>,
    topic: TopicName,
    group: String,
    header: &'static str,
    brokers: String,
}

impl GroupReader {
    /// Joins the group on the topic with this full name; of each record's headers, `header` is kept. Begins where the group
    /// has committed, else at the log's beginning.
    ///
    /// # Errors
    /// A property that librdkafka does not take.
    pub fn join(bus: &BusConfig, topic: TopicName, group: &str, header: &'static str) -> Result<Self, BusError> {
        let attempt = Attempt::joining(&bus.brokers, group);
        let mut config = bus.client_config(Role::Consumer);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest");
        for (name, value) in [
            ("max.partition.fetch.bytes", "1048576"),
            ("fetch.max.bytes", "2097152"),
            ("queued.max.messages.kbytes", "2048"),
        ] {
            if !bus.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        let context = Context { topic: topic.as_str().to_owned(), shared: Mutex::default() };
        let consumer: BaseConsumer<Context> =
            config.create_with_context(context).map_err(|error| explain(error, &attempt))?;
        consumer.subscribe(&[topic.as_str()]).map_err(|error| explain(error, &attempt))?;
        Ok(Self { consumer, topic, group: group.to_owned(), header, brokers: bus.brokers.clone() })
    }

    fn explained(&self, error: KafkaError) -> BusError {
        explain(error, &Attempt::joining(&self.brokers, &self.group))
    }

    /// What comes next; nothing within `wait` is `None`. Has to be called every few seconds, as the group takes a member
    /// that does not for dead.
    ///
    /// # Errors
    /// What the client does not get over by itself.
    pub fn turn(&self, wait: Duration) -> Result<Option<GroupEvent>, BusError> {
        if let Some(change) = self.consumer.context().lock().changes.pop_front() {
            return Ok(Some(change));
        }
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                // A rebalance in this very call comes first; the record is none of a partition that went.
                let header = message.headers().and_then(|headers| {
                    headers.iter().find(|header| header.key == self.header).and_then(|header| header.value)
                });
                let record = GroupRecord {
                    partition: message.partition(),
                    offset: message.offset(),
                    unix_millis: message.timestamp().to_millis().unwrap_or(0),
                    header: header.map(Bytes::copy_from_slice),
                    value: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
                };
                let mut shared = self.consumer.context().lock();
                shared.changes.push_back(GroupEvent::Record(record));
                Ok(shared.changes.pop_front())
            }
            Some(Err(error)) if is_passing(&error) => {
                tracing::debug!(%error, group = self.group, "reading as a group");
                Ok(None)
            }
            Some(Err(error)) => Err(self.explained(error)),
            None => Ok(self.consumer.context().lock().changes.pop_front()),
        }
    }

    /// Everything of a partition below this offset is safe: the next commit says so.
    pub fn set_safe(&self, partition: i32, offset: i64) {
        let mut shared = self.consumer.context().lock();
        let safe = shared.safe.entry(partition).or_insert(offset);
        *safe = (*safe).max(offset);
    }

    /// Commits what is safe and waits for the answer; whether there was anything to commit.
    ///
    /// # Errors
    /// What the coordinator refuses, such as a member that is not one any more.
    pub fn commit(&self) -> Result<bool, BusError> {
        let due = self.consumer.context().due(None);
        if due.count() == 0 {
            return Ok(false);
        }
        self.consumer.commit(&due, CommitMode::Sync).map_err(|error| self.explained(error))?;
        self.consumer.context().note_committed(&due);
        Ok(true)
    }

    /// Up to where everything is safe, per partition of this member.
    #[must_use]
    pub fn safe(&self) -> BTreeMap<i32, i64> {
        self.consumer.context().lock().safe.clone()
    }

    /// Reads no further for now, or goes on. Partitions that come later are not paused.
    ///
    /// # Errors
    /// What the client refuses.
    pub fn set_paused(&self, is_paused: bool) -> Result<(), BusError> {
        let assigned = self.consumer.assignment().map_err(|error| self.explained(error))?;
        let done = if is_paused { self.consumer.pause(&assigned) } else { self.consumer.resume(&assigned) };
        done.map_err(|error| self.explained(error))
    }

    /// The topic's full name.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }
}

impl fmt::Debug for GroupReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupReader").field("topic", &self.topic).field("group", &self.group).finish_non_exhaustive()
    }
}
