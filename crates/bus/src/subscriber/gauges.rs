//! A subscriber's counters for somebody else than its caller.

use super::SubscriberStats;
use super::worker::WorkerShared;
use crate::ClientStatistics;
use std::fmt;
use std::sync::{Arc, Weak};

/// Reads a subscriber's counters from any thread; does not keep it alive.
#[derive(Clone)]
pub struct SubscriberGauges {
    shared: Weak<WorkerShared>,
}

/// What a subscriber is doing.
#[derive(Debug, Clone, Default)]
pub struct SubscriberSample {
    /// Counters; at most a commit interval old.
    pub stats: SubscriberStats,
    /// What librdkafka counted last, per consumer.
    pub clients: Vec<Arc<ClientStatistics>>,
    /// Bytes waiting for the caller.
    pub buffered_bytes: usize,
    /// Partitions read now.
    pub assigned_partitions: usize,
}

impl SubscriberGauges {
    pub(super) fn new(shared: &Arc<WorkerShared>) -> Self {
        Self { shared: Arc::downgrade(shared) }
    }

    /// The numbers of this moment; `None` once the subscriber is closed.
    #[must_use]
    pub fn read(&self) -> Option<SubscriberSample> {
        let shared = self.shared.upgrade()?;
        Some(SubscriberSample {
            stats: shared.stats(),
            clients: shared.client_statistics(),
            buffered_bytes: shared.queue.bytes(),
            assigned_partitions: shared.assigned_partitions(),
        })
    }
}

impl fmt::Debug for SubscriberGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberGauges").finish_non_exhaustive()
    }
}
