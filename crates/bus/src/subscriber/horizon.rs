//! How far the log goes: what a reader that ends by itself must have read.

use super::queue::PartitionShared;
use super::start::partitions_of;
use super::{Subscriber, SubscriberConfig};
use crate::diagnosis::{Attempt, explain};
use crate::{BusError, Role};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest wait for each answer about offsets.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// An offset per partition of a subscription: everything below is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Horizon {
    offsets: HashMap<(String, i32), i64>,
}

impl Horizon {
    fn of(config: &SubscriberConfig, after_unix_millis: Option<i64>) -> Result<Self, BusError> {
        let brokers = &config.bus.brokers;
        let as_error = |error| explain(error, &Attempt::asking(brokers));
        let consumer: BaseConsumer = config.bus.client_config(Role::Admin).create().map_err(as_error)?;
        let partitions = partitions_of(&consumer, &config.topics, brokers, QUERY_TIMEOUT)?;
        let times = after_unix_millis.map(|millis| first_after(&consumer, &partitions, millis));
        let times = times.transpose().map_err(as_error)?.unwrap_or_default();
        let mut offsets = times;
        for (topic, partition) in partitions {
            if !offsets.contains_key(&(topic.clone(), partition)) {
                let (_, high) = consumer.fetch_watermarks(&topic, partition, QUERY_TIMEOUT).map_err(as_error)?;
                offsets.insert((topic, partition), high);
            }
        }
        Ok(Self { offsets })
    }

    fn is_reached_by(&self, partition: &PartitionShared) -> bool {
        let Some(offset) = self.offsets.get(&(partition.topic.clone(), partition.partition)) else { return true };
        partition.is_revoked.load(Ordering::Acquire) || partition.handed_over.load(Ordering::Acquire) >= *offset
    }
}

/// The first offset appended after the moment, where there is one.
fn first_after(
    consumer: &BaseConsumer,
    partitions: &[(String, i32)],
    unix_millis: i64,
) -> Result<HashMap<(String, i32), i64>, KafkaError> {
    let mut times = TopicPartitionList::new();
    for (topic, partition) in partitions {
        times.add_partition_offset(topic, *partition, Offset::Offset(unix_millis.saturating_add(1)))?;
    }
    let found = consumer.offsets_for_times(times, QUERY_TIMEOUT)?;
    let elements = found.elements();
    let offset = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
        _ => None,
    };
    Ok(elements.iter().filter_map(offset).collect())
}

impl Subscriber {
    /// The end of the log as it is now.
    ///
    /// # Errors
    /// A broker that does not answer.
    pub fn horizon(&self) -> Result<Horizon, BusError> {
        Horizon::of(&self.shared.config, None)
    }

    /// Where records begin that were appended after this Unix time in milliseconds. Ask when it has passed.
    ///
    /// # Errors
    /// A broker that does not answer.
    pub fn horizon_after(&self, unix_millis: i64) -> Result<Horizon, BusError> {
        Horizon::of(&self.shared.config, Some(unix_millis))
    }

    /// Whether every record below the horizon was read, of the partitions held, and nothing waits for the caller.
    #[must_use]
    pub fn has_reached(&self, horizon: &Horizon) -> bool {
        let held = self.shared.places.held();
        // The order matters: what a partition handed over is in the queue before it says so.
        !held.is_empty()
            && held.iter().all(|partition| horizon.is_reached_by(partition))
            && self.shared.queue.is_empty()
    }
}
