//! How far the log goes: what a reader that ends by itself must have read.

use super::queue::PartitionShared;
use super::start::{QUERY_TIMEOUT, bounds, partitions_of};
use super::{Subscriber, SubscriberConfig};
use crate::diagnosis::{Attempt, explain};
use crate::offsets::{self, Place};
use crate::{BusError, Role};
use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// An offset per partition of a subscription: everything below is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Horizon {
    offsets: HashMap<Place, i64>,
}

impl Horizon {
    fn of(config: &SubscriberConfig, after_unix_millis: Option<i64>) -> Result<Self, BusError> {
        let brokers = &config.bus.brokers;
        let as_error = |error| explain(error, &Attempt::asking(brokers));
        let consumer: BaseConsumer = config.bus.client_config(Role::Admin).create().map_err(as_error)?;
        let partitions = partitions_of(&consumer, &config.topics, brokers, QUERY_TIMEOUT)?;
        let mut offsets = match after_unix_millis {
            Some(millis) => {
                let after = Offset::Offset(millis.saturating_add(1));
                offsets::ask(&consumer, &partitions, after, QUERY_TIMEOUT).map_err(as_error)?
            }
            None => HashMap::new(),
        };
        let others: Vec<_> = partitions.into_iter().filter(|partition| !offsets.contains_key(partition)).collect();
        offsets.extend(bounds(&consumer, &others, Offset::End).map_err(as_error)?);
        Ok(Self { offsets })
    }

    fn is_reached_by(&self, partition: &PartitionShared) -> bool {
        let Some(offset) = self.offsets.get(&(partition.topic.clone(), partition.partition)) else { return true };
        partition.is_revoked.load(Ordering::Acquire) || partition.handed_over.load(Ordering::Acquire) >= *offset
    }
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
