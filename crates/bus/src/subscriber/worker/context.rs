//! What workers share, and librdkafka's callbacks.

use super::super::news::News;
use super::super::places::Places;
use super::super::queue::{DeliveryQueue, PartitionShared, lock};
use super::super::start::{PartitionStart, starts};
use super::super::{CameraFilter, SubscriberConfig, SubscriberStats};
use crate::diagnosis::{Attempt, explain};
use crate::{BusError, ClientStatistics};
use lumenbus_frame::TopicName;
use rdkafka::bindings::rd_kafka_resp_err_t as RespErr;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// What the rebalance callback leaves for the thread.
pub(crate) enum Change {
    Assigned(Vec<PartitionStart>),
    Revoked(Vec<(String, i32)>),
}

/// librdkafka's callbacks; they run on the worker's thread, inside `poll`.
pub(crate) struct Context {
    index: usize,
    /// Times the worker came for records.
    pub(super) polls: AtomicU64,
    shared: Arc<WorkerShared>,
    pub(super) changes: Mutex<Vec<Change>>,
    pub(super) has_changes: AtomicBool,
}

/// What workers and the subscriber share.
pub(crate) struct WorkerShared {
    pub(crate) config: SubscriberConfig,
    pub(crate) filter: Arc<CameraFilter>,
    pub(crate) queue: DeliveryQueue,
    pub(crate) places: Places,
    pub(crate) stop: AtomicBool,
    pub(crate) commit_now: AtomicU32,
    /// Per worker, the last request it has carried out.
    pub(crate) commits_done: Mutex<HashMap<usize, u32>>,
    /// Signalled with it.
    pub(crate) commit_done: Condvar,
    pub(crate) commit_error: Mutex<Option<KafkaError>>,
    pub(crate) stats: Mutex<HashMap<usize, SubscriberStats>>,
    pub(crate) news: News,
    pub(crate) assigned: AtomicI64,
    /// Per worker, what librdkafka counted last.
    pub(crate) statistics: Mutex<BTreeMap<usize, Arc<ClientStatistics>>>,
    /// Who the consumer is in its group since the last assignment.
    pub(crate) membership: Mutex<Option<Arc<ConsumerGroupMetadata>>>,
}

impl WorkerShared {
    pub(crate) fn stats(&self) -> SubscriberStats {
        let mut sum = SubscriberStats::default();
        lock(&self.stats).values().for_each(|stats| sum.add(stats));
        sum
    }

    pub(crate) fn client_statistics(&self) -> Vec<Arc<ClientStatistics>> {
        lock(&self.statistics).values().cloned().collect()
    }

    pub(crate) fn assigned_partitions(&self) -> usize {
        usize::try_from(self.assigned.load(Ordering::Acquire)).unwrap_or(0)
    }

    pub(crate) fn explain(&self, error: KafkaError) -> BusError {
        let brokers = &self.config.bus.brokers;
        let is_about_group = error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed);
        match &self.config.group {
            Some(group) if is_about_group => explain(error, &Attempt::joining(brokers, group)),
            _ => {
                let topics = self.config.topics.iter().map(TopicName::as_str).collect::<Vec<_>>().join(", ");
                explain(error, &Attempt::reading(brokers, &topics))
            }
        }
    }
}

impl Context {
    pub(super) fn new(index: usize, shared: Arc<WorkerShared>) -> Self {
        Self { index, polls: AtomicU64::new(0), shared, changes: Mutex::default(), has_changes: AtomicBool::new(false) }
    }

    fn leave(&self, change: Change) {
        lock(&self.changes).push(change);
        self.has_changes.store(true, Ordering::Release);
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) -> Result<(), KafkaError> {
        let config = &self.shared.config;
        let is_stopped = || self.shared.stop.load(Ordering::Acquire);
        let found = starts(consumer, partitions, (config.start, config.group.is_some()), &is_stopped)?;
        for start in &found {
            partitions.set_partition_offset(&start.topic, start.partition, Offset::Offset(start.offset))?;
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions)?,
            _ => consumer.assign(partitions)?,
        }
        *lock(&self.shared.membership) = consumer.group_metadata().map(Arc::new);
        self.leave(Change::Assigned(found));
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<(), KafkaError> {
        let names: Vec<_> =
            partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let mut commits = TopicPartitionList::new();
        let is_linked = self.shared.config.results.is_some();
        for shared in self.shared.places.held() {
            if names.iter().any(|(topic, partition)| *topic == shared.topic && *partition == shared.partition) {
                shared.is_revoked.store(true, Ordering::Release);
                if !is_linked {
                    add_commit(&mut commits, &shared)?;
                }
            }
        }
        if let Some(link) = &self.shared.config.results {
            // Who gets them reads what was committed: nothing of ours may come after that.
            link.end_transaction();
            *lock(&self.shared.membership) = None;
        }
        if commits.count() > 0 && !consumer.assignment_lost() {
            // Losing this commit costs repeats, which the next owner's marks catch only in part.
            if let Err(error) = consumer.commit(&commits, CommitMode::Sync) {
                tracing::warn!(%error, "offsets could not be committed on revocation");
            }
        }
        self.leave(Change::Revoked(names));
        // librdkafka keeps the pause of a partition that goes: it would bring nothing when it comes back.
        consumer.resume(partitions)?;
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        }
    }
}

impl ClientContext for Context {
    fn stats_raw(&self, statistics: &[u8]) {
        if let Some(found) = ClientStatistics::from_callback(statistics, self.polls.load(Ordering::Relaxed)) {
            lock(&self.shared.statistics).insert(self.index, found);
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: Result<(), KafkaError>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets could not be committed; they go with the next commit");
            for partition in self.shared.places.held() {
                lock(&partition.progress).retry_commit();
            }
        }
    }

    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RespErr, partitions: &mut TopicPartitionList) {
        let outcome = match err {
            RespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            RespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, partitions),
            other => Err(KafkaError::Rebalance(other.into())),
        };
        if let Err(error) = outcome {
            self.shared.queue.fail(self.shared.explain(error));
        }
    }
}

pub(crate) fn add_commit(list: &mut TopicPartitionList, shared: &PartitionShared) -> Result<(), KafkaError> {
    let Some((offset, metadata)) = lock(&shared.progress).take_commit() else { return Ok(()) };
    let mut element = list.add_partition(&shared.topic, shared.partition);
    element.set_offset(Offset::Offset(offset))?;
    element.set_metadata(metadata);
    Ok(())
}
