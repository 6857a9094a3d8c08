//! For callers that hold several frames at a time, and for offsets that are committed with results.

use super::queue::{PartitionShared, Ticket};
use super::worker::{WorkerShared, add_commit};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What an event was handed over with by [`recv_held`](super::Subscriber::recv_held): says when it is done with.
///
/// Those of one stream are to be done in the order in which they came. One that is dropped is not done: what it belongs to
/// comes again after a restart.
#[derive(Debug)]
#[must_use = "what is not done comes again"]
pub struct Receipt {
    ticket: Option<Ticket>,
}

impl Receipt {
    pub(super) fn new(ticket: Option<Ticket>) -> Self {
        Self { ticket }
    }

    /// Done with, as far as commits are concerned.
    pub fn done(self) {
        if let Some(ticket) = self.ticket {
            ticket.done();
        }
    }

    /// Which reading of a partition it came from; `None` for what moves no offset.
    #[must_use]
    pub fn reading(&self) -> Option<Reading> {
        self.ticket.as_ref().map(|ticket| Reading(Arc::clone(&ticket.partition)))
    }

    /// Whether the partition was given up since.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.partition.is_revoked.load(Ordering::Acquire))
    }
}

/// One reading of a partition, from its assignment to its revocation. After it the partition is read anew, by whomever, from
/// what was committed.
#[derive(Clone)]
pub struct Reading(Arc<PartitionShared>);

impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Reading {}

impl Reading {
    /// Which partition of the topic.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    /// Whether the partition was given up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_revoked.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("topic", &self.0.topic).field("partition", &self.0.partition).finish()
    }
}

/// What a transaction has to know of the group.
pub(crate) struct GroupOffsets {
    shared: Arc<WorkerShared>,
}

impl GroupOffsets {
    pub(super) fn new(shared: &Arc<WorkerShared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// Who we are in the group, as of the last assignment; `None` while nothing is assigned.
    pub(crate) fn metadata(&self) -> Option<Arc<ConsumerGroupMetadata>> {
        super::queue::lock(&self.shared.membership).clone()
    }

    /// Safe offsets with their marks that were not taken yet.
    pub(crate) fn take(&self) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for partition in self.shared.places.held() {
            add_commit(&mut list, &partition)?;
        }
        Ok(list)
    }
}
