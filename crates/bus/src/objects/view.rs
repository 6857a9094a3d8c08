//! A topic's offsets and contents, without a group.

use super::fetcher::is_passing;
use super::{Quiet, RecordView};
use crate::diagnosis::{Attempt, explain};
use crate::offsets::{ask, known, list_of};
use crate::subscriber::partitions_of;
use crate::topics::block_on;
use crate::{BusConfig, BusError, Role};
use lumenbus_frame::TopicName;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const ASK: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);

/// Offsets of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of the first record that is kept.
    pub start: i64,
    /// Behind the last one.
    pub end: i64,
}

/// Looks at a topic.
pub struct TopicView {
    consumer: BaseConsumer<Quiet>,
    bus: BusConfig,
    topic: TopicName,
    places: Vec<(String, i32)>,
}

impl TopicView {
    /// The topic with this full name.
    ///
    /// # Errors
    /// [`BusError::UnknownTopic`], and everything that is wrong with the broker.
    pub fn open(bus: &BusConfig, topic: TopicName) -> Result<Self, BusError> {
        let attempt = Attempt::reading(&bus.brokers, topic.as_str());
        let mut config = bus.client_config(Role::Consumer);
        config
            .set("group.id", "lumenbus-view")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "4096");
        let consumer: BaseConsumer<Quiet> =
            config.create_with_context(Quiet).map_err(|error| explain(error, &attempt))?;
        let places = partitions_of(&consumer, std::slice::from_ref(&topic), &bus.brokers, ASK)?;
        Ok(Self { consumer, bus: bus.clone(), topic, places })
    }

    fn explained(&self, error: KafkaError) -> BusError {
        explain(error, &Attempt::reading(&self.bus.brokers, self.topic.as_str()))
    }

    /// The partitions' numbers.
    pub fn partitions(&self) -> impl Iterator<Item = i32> + '_ {
        self.places.iter().map(|(_, partition)| *partition)
    }

    fn ask(&self, at: Offset) -> Result<BTreeMap<i32, i64>, BusError> {
        let found = ask(&self.consumer, &self.places, at, ASK).map_err(|error| self.explained(error))?;
        Ok(found.into_iter().map(|((_, partition), offset)| (partition, offset)).collect())
    }

    /// The bounds of every partition.
    ///
    /// # Errors
    /// Everything that is wrong with the broker.
    pub fn bounds(&self) -> Result<BTreeMap<i32, Bounds>, BusError> {
        let (starts, ends) = (self.ask(Offset::Beginning)?, self.ask(Offset::End)?);
        let bounds = |partition: i32| {
            let start = starts.get(&partition).copied().unwrap_or(0);
            Bounds { start, end: ends.get(&partition).copied().unwrap_or(start).max(start) }
        };
        Ok(self.partitions().map(|partition| (partition, bounds(partition))).collect())
    }

    /// Per partition the first offset with a timestamp at or after this Unix time in milliseconds; the log's end where
    /// there is none.
    ///
    /// # Errors
    /// Everything that is wrong with the broker.
    pub fn offsets_at(&self, unix_millis: i64) -> Result<BTreeMap<i32, i64>, BusError> {
        let (mut found, ends) = (self.ask(Offset::Offset(unix_millis.max(0)))?, self.ask(Offset::End)?);
        for (partition, end) in ends {
            found.entry(partition).or_insert(end);
        }
        Ok(found)
    }

    /// Reads, in each of these partitions, from the first offset to before the second; records of different partitions
    /// come in any order. Ranges are cut to what the log has.
    ///
    /// # Errors
    /// [`BusError::Timeout`] when nothing comes for `patience`; everything that is wrong with the broker.
    pub fn read(
        &self,
        ranges: &BTreeMap<i32, Bounds>,
        patience: Duration,
        mut take: impl FnMut(&RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<(), BusError> {
        let bounds = self.bounds()?;
        let mut open = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for (&partition, range) in ranges {
            let Some(log) = bounds.get(&partition) else { continue };
            let (start, end) = (range.start.max(log.start), range.end.min(log.end));
            if start < end {
                open.insert(partition, end);
                list.add_partition_offset(self.topic.as_str(), partition, Offset::Offset(start))
                    .map_err(|error| self.explained(error))?;
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        self.consumer.assign(&list).map_err(|error| self.explained(error))?;
        let read = self.read_open(open, patience, &mut take);
        let left = self.consumer.unassign().map_err(|error| self.explained(error));
        read.and(left)
    }

    fn read_open(
        &self,
        mut open: BTreeMap<i32, i64>,
        patience: Duration,
        take: &mut impl FnMut(&RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<(), BusError> {
        let mut last_sign = Instant::now();
        while !open.is_empty() {
            match self.consumer.poll(LOOK) {
                Some(Ok(message)) => {
                    last_sign = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(&end) = open.get(&partition) else { continue };
                    if offset < end && take(&RecordView::new(&message)).is_break() {
                        return Ok(());
                    }
                    if offset + 1 >= end {
                        open.remove(&partition);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) if !is_passing(&error) => return Err(self.explained(error)),
                Some(Err(_)) | None if last_sign.elapsed() < patience => {}
                Some(Err(_)) | None => {
                    let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                    let operation = "reading a topic to its end";
                    return Err(BusError::Timeout { operation, brokers: self.bus.brokers.clone(), millis });
                }
            }
        }
        Ok(())
    }

    /// Removes the records below these offsets.
    ///
    /// # Errors
    /// What the cluster refuses of any partition; what went before is gone.
    pub fn delete_below(&self, offsets: &BTreeMap<i32, i64>) -> Result<(), BusError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let attempt = Attempt::writing(&self.bus.brokers, self.topic.as_str());
        let explained = |error| explain(error, &attempt);
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (&partition, &offset) in offsets {
            list.add_partition_offset(self.topic.as_str(), partition, Offset::Offset(offset)).map_err(explained)?;
        }
        let admin: AdminClient<Quiet> =
            self.bus.client_config(Role::Admin).create_with_context(Quiet).map_err(explained)?;
        let options = AdminOptions::new().request_timeout(Some(ASK)).operation_timeout(Some(ASK));
        let done = block_on(admin.delete_records(&list, &options)).map_err(explained)?;
        done.elements().iter().try_for_each(TopicPartitionListElem::error).map_err(explained)
    }
}

impl fmt::Debug for TopicView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicView").field("topic", &self.topic).finish_non_exhaustive()
    }
}

fn of_group(bus: &BusConfig, group: &str) -> Result<BaseConsumer<Quiet>, BusError> {
    let mut config = bus.client_config(Role::Consumer);
    config.set("group.id", group).set("enable.auto.commit", "false");
    config.create_with_context(Quiet).map_err(|error| explain(error, &Attempt::joining(&bus.brokers, group)))
}

/// What a group has committed of a topic's partitions; those without a commit are left out.
///
/// # Errors
/// Everything that is wrong with the broker: then nothing is known of the group.
pub fn committed_offsets(bus: &BusConfig, group: &str, view: &TopicView) -> Result<BTreeMap<i32, i64>, BusError> {
    let explained = |error| explain(error, &Attempt::joining(&bus.brokers, group));
    let consumer = of_group(bus, group)?;
    let list = list_of(&view.places, Offset::Invalid).map_err(explained)?;
    let found = consumer.committed_offsets(list, ASK).map_err(explained)?;
    found.elements().iter().try_for_each(TopicPartitionListElem::error).map_err(explained)?;
    Ok(known(&found).into_iter().map(|((_, partition), offset)| (partition, offset)).collect())
}

/// Sets what a group without members has committed.
///
/// # Errors
/// A group that has members; everything that is wrong with the broker.
pub fn set_committed_offsets(
    bus: &BusConfig,
    group: &str,
    view: &TopicView,
    offsets: &BTreeMap<i32, i64>,
) -> Result<(), BusError> {
    if offsets.is_empty() {
        return Ok(());
    }
    let explained = |error| explain(error, &Attempt::joining(&bus.brokers, group));
    let consumer = of_group(bus, group)?;
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (&partition, &offset) in offsets {
        list.add_partition_offset(view.topic.as_str(), partition, Offset::Offset(offset)).map_err(explained)?;
    }
    consumer.commit(&list, CommitMode::Sync).map_err(explained)
}
