//! Carries out what the state machine decides: writes it down, then writes markers into the partitions.
//!
//! A transactional id has a lock of its own. It is held from the check of a transactional write until the write is in
//! the log, so no record can come behind the marker that ends its transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::records::{Record, RecordBatchDecoder};

use super::records::{MAX_ID_BYTES, TRANSACTIONS_TOPIC, decode_key, decode_value, encode_key, encode_value};
use super::state::{Init, ProducerRef, Transaction};
use crate::log::{FirstBatch, LogError, LogStore, Outcome, Partition};
use crate::server::config::TransactionConfig;
use crate::server::group::{OFFSETS_TOPIC, OffsetStore, TopicPartition, encode_batch};
use crate::server::internal::OwnLogs;
use crate::server::producer_ids::ProducerIds;

const SETTINGS: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("segment.bytes", "16777216")];
const READ_BYTES: usize = 1 << 20;
/// Ids whose tombstones are in one batch; with the longest names it is smaller than the largest batch.
const FORGOTTEN_AT_ONCE: usize = 200;
/// An epoch may have to be taken away, and the id to be replaced.
const MAX_INIT_STEPS: usize = 3;

/// What the coordinator acts upon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) store: &'a LogStore,
    pub(crate) offsets: &'a OffsetStore,
    pub(crate) producer_ids: &'a ProducerIds,
    /// Unix milliseconds.
    pub(crate) now_ms: i64,
}

impl World<'_> {
    /// Ends a transaction in one partition; a partition that is gone needs no marker.
    fn mark(
        self,
        (topic, index): &TopicPartition,
        producer: ProducerRef,
        outcome: Outcome,
        epoch: i32,
    ) -> Result<(), LogError> {
        let producer = (producer.id, producer.epoch);
        if topic == OFFSETS_TOPIC {
            return self.offsets.end_transaction(*index, producer, outcome, epoch, self.now_ms);
        }
        let Some(partition) = self.store.partition(topic, *index) else { return Ok(()) };
        match partition.end_transaction(producer, outcome, epoch, self.now_ms) {
            Err(LogError::UnknownTopic { .. }) => Ok(()),
            Err(error @ LogError::InvalidProducerEpoch { .. }) => {
                // Nothing of this epoch can be open where a newer one has written.
                tracing::warn!(topic, partition = index, %error, "no marker is needed");
                Ok(())
            }
            marked => marked,
        }
    }
}

/// One transactional id.
#[derive(Debug, Default)]
struct Slot {
    transaction: Option<Transaction>,
    /// Taken out of the map; whoever still holds it looks again.
    retired: bool,
}

impl Slot {
    fn known(&self) -> Result<&Transaction, ResponseError> {
        let transaction = self.transaction.as_ref().filter(|_| !self.retired);
        transaction.ok_or(ResponseError::InvalidProducerIdMapping)
    }
}

type SharedSlot = Arc<Mutex<Slot>>;

/// All transactional ids.
#[derive(Debug)]
pub(crate) struct Transactions {
    config: TransactionConfig,
    /// Made for the first transactional id.
    logs: Mutex<Option<OwnLogs>>,
    ids: Mutex<HashMap<String, SharedSlot>>,
    /// Partitions in open transactions, all ids together.
    partitions: AtomicUsize,
}

impl Transactions {
    /// Reads what was kept, carries out what was decided before the stop, and aborts what nobody will ever decide.
    pub(crate) fn open(config: TransactionConfig, world: World<'_>) -> Result<Self, LogError> {
        let is_there = world.store.topic(TRANSACTIONS_TOPIC).is_some();
        let logs = is_there.then(|| open_logs(world.store)).transpose()?;
        let kept = logs.as_ref().map(load).transpose()?.unwrap_or_default();
        let partitions = kept.values().map(|transaction| transaction.partitions.len()).sum();
        let slot = |transaction| Arc::new(Mutex::new(Slot { transaction: Some(transaction), retired: false }));
        let ids = kept.into_iter().map(|(id, transaction)| (id, slot(transaction))).collect();
        let (logs, ids) = (Mutex::new(logs), Mutex::new(ids));
        let transactions = Self { config, logs, ids, partitions: AtomicUsize::new(partitions) };
        transactions.complete_decided(world);
        transactions.abort_orphans(world);
        Ok(transactions)
    }

    /// InitProducerId of a transactional id.
    pub(crate) fn init(
        &self,
        world: World<'_>,
        id: &str,
        timeout_ms: i32,
        expected: Option<ProducerRef>,
    ) -> Result<ProducerRef, ResponseError> {
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(ResponseError::InvalidRequest);
        }
        let longest = i32::try_from(self.config.max_timeout.as_millis()).unwrap_or(i32::MAX);
        if timeout_ms <= 0 || timeout_ms > longest {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        loop {
            let slot = self.slot_or_new(id)?;
            let mut slot = lock(&slot);
            if !slot.retired {
                return self.init_slot(world, (id, &mut slot), timeout_ms, expected);
            }
        }
    }

    fn init_slot(
        &self,
        world: World<'_>,
        (id, slot): (&str, &mut Slot),
        timeout_ms: i32,
        expected: Option<ProducerRef>,
    ) -> Result<ProducerRef, ResponseError> {
        let fresh_id = || {
            world.producer_ids.next().map_err(|error| {
                tracing::error!(%error, "no producer id");
                ResponseError::CoordinatorNotAvailable
            })
        };
        for _ in 0..MAX_INIT_STEPS {
            let Some(transaction) = &slot.transaction else {
                let next = Transaction::new(fresh_id()?, timeout_ms, world.now_ms);
                return self.adopt(world, (id, slot), next);
            };
            match transaction.init(expected, timeout_ms, world.now_ms)? {
                Init::Next(next) => return self.adopt(world, (id, slot), next),
                Init::Repeat => return Ok(transaction.producer),
                Init::NewId => {
                    let next = transaction.rotated(fresh_id()?, expected, timeout_ms, world.now_ms);
                    return self.adopt(world, (id, slot), next);
                }
                Init::AbortFirst(next) => {
                    self.adopt(world, (id, slot), next)?;
                    self.complete(world, (id, slot));
                }
            }
        }
        Err(ResponseError::ConcurrentTransactions)
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn.
    pub(crate) fn add(
        &self,
        world: World<'_>,
        id: &str,
        producer: ProducerRef,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), ResponseError> {
        self.with(id, |slot| {
            let transaction = slot.known()?;
            let Some(next) = transaction.add(producer, partitions, world.now_ms)? else { return Ok(()) };
            let more = next.partitions.len() - transaction.partitions.len();
            if self.partitions.load(Ordering::Relaxed) + more > self.config.max_partitions {
                tracing::warn!(id, limit = self.config.max_partitions, "too many partitions in open transactions");
                return Err(ResponseError::PolicyViolation);
            }
            self.adopt(world, (id, slot), next).map(drop)
        })
    }

    /// EndTxn. The answer may come before the last marker when a disk fails; [`Self::tick`] goes on then.
    pub(crate) fn end(
        &self,
        world: World<'_>,
        id: &str,
        producer: ProducerRef,
        outcome: Outcome,
    ) -> Result<(), ResponseError> {
        self.with(id, |slot| {
            let Some(next) = slot.known()?.end(producer, outcome, world.now_ms)? else { return Ok(()) };
            self.adopt(world, (id, slot), next)?;
            self.complete(world, (id, slot));
            Ok(())
        })
    }

    /// Appends to a partition under the transaction that it was added to.
    pub(crate) fn write<T>(
        &self,
        id: &str,
        producer: ProducerRef,
        partition: &TopicPartition,
        append: impl FnOnce() -> T,
    ) -> Result<T, ResponseError> {
        self.with(id, |slot| {
            slot.known()?.check_write(producer, partition)?;
            Ok(append())
        })
    }

    /// One transactional id.
    pub(crate) fn get(&self, id: &str) -> Option<Transaction> {
        let slot = self.lock_ids().get(id).cloned()?;
        lock(&slot).transaction.clone()
    }

    /// All transactional ids, in order, without their partitions.
    pub(crate) fn all(&self) -> Vec<(String, Transaction)> {
        let bare = |transaction: &Transaction| Transaction { partitions: Default::default(), ..*transaction };
        let ids = self.slots().into_iter();
        let mut all: Vec<_> =
            ids.filter_map(|(id, slot)| Some((id, bare(lock(&slot).transaction.as_ref()?)))).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Aborts transactions that have been open for too long, and goes on with markers that could not be written.
    pub(crate) fn tick(&self, world: World<'_>) {
        for (id, slot) in self.slots() {
            let mut slot = lock(&slot);
            let Some(transaction) = &slot.transaction else { continue };
            if let Some(next) = transaction.timed_out(world.now_ms) {
                tracing::warn!(id, timeout_ms = transaction.timeout_ms, "transaction timed out; it is aborted");
                if self.adopt(world, (&id, &mut slot), next).is_err() {
                    continue;
                }
            }
            self.complete(world, (&id, &mut slot));
        }
    }

    /// Forgets transactional ids that were not used for a long time.
    pub(crate) fn expire(&self, world: World<'_>) {
        let kept_ms = i64::try_from(self.config.id_expiration.as_millis()).unwrap_or(i64::MAX);
        let before_ms = world.now_ms.saturating_sub(kept_ms);
        let is_over = |slot: &Slot| match &slot.transaction {
            None => true,
            Some(transaction) => transaction.is_idle_since(before_ms),
        };
        let mut over = self.slots();
        over.retain(|(_, slot)| is_over(&lock(slot)));
        for some in over.chunks(FORGOTTEN_AT_ONCE) {
            if let Err(error) = self.forget(world, some, is_over) {
                tracing::error!(%error, "transactional ids cannot be forgotten");
                return;
            }
        }
    }

    /// One append for all of them. They wait for it, nobody else does: nothing that takes several slots is waited for
    /// by who holds one.
    fn forget(
        &self,
        world: World<'_>,
        ids: &[(String, SharedSlot)],
        is_over: impl Fn(&Slot) -> bool,
    ) -> Result<(), LogError> {
        let locked = ids.iter().map(|(id, slot)| (id, lock(slot)));
        let mut locked: Vec<_> = locked.filter(|(_, slot)| is_over(slot)).collect();
        let known = locked.iter().filter(|(_, slot)| slot.transaction.is_some());
        let tombstones: Vec<_> = known.map(|(id, _)| (id.as_str(), None)).collect();
        self.append(world, tombstones)?;
        let mut ids = self.lock_ids();
        for (id, slot) in &mut locked {
            **slot = Slot { transaction: None, retired: true };
            ids.remove(*id);
        }
        Ok(())
    }

    fn with<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Slot) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let slot = self.lock_ids().get(id).cloned();
        let slot = slot.ok_or(ResponseError::InvalidProducerIdMapping)?;
        change(&mut lock(&slot))
    }

    fn slot_or_new(&self, id: &str) -> Result<SharedSlot, ResponseError> {
        let mut ids = self.lock_ids();
        if let Some(slot) = ids.get(id) {
            return Ok(Arc::clone(slot));
        }
        if ids.len() >= self.config.max_ids {
            tracing::warn!(id, limit = self.config.max_ids, "too many transactional ids");
            return Err(ResponseError::PolicyViolation);
        }
        Ok(Arc::clone(ids.entry(id.to_owned()).or_default()))
    }

    fn slots(&self) -> Vec<(String, SharedSlot)> {
        self.lock_ids().iter().map(|(id, slot)| (id.clone(), Arc::clone(slot))).collect()
    }

    /// Writes the next state down, then lets it take effect.
    fn adopt(
        &self,
        world: World<'_>,
        (id, slot): (&str, &mut Slot),
        next: Transaction,
    ) -> Result<ProducerRef, ResponseError> {
        self.append(world, vec![(id, Some(encode_value(&next)))]).map_err(|error| {
            tracing::error!(id, %error, "the transaction log refused a change");
            // Clients ask again, which is right for a disk that is full or a broker that stops.
            ResponseError::CoordinatorNotAvailable
        })?;
        let producer = next.producer;
        self.replace(slot, next);
        Ok(producer)
    }

    fn replace(&self, slot: &mut Slot, next: Transaction) {
        let before = slot.transaction.as_ref().map_or(0, |transaction| transaction.partitions.len());
        self.partitions.fetch_add(next.partitions.len(), Ordering::Relaxed);
        self.partitions.fetch_sub(before, Ordering::Relaxed);
        slot.transaction = Some(next);
    }

    /// One append for each partition that keeps some of the ids.
    fn append(&self, world: World<'_>, entries: Vec<(&str, Option<Bytes>)>) -> Result<(), LogError> {
        if entries.is_empty() {
            return Ok(());
        }
        let logs = self.logs(world)?;
        let mut by_place: BTreeMap<i32, (&str, Vec<_>)> = BTreeMap::new();
        for (id, value) in entries {
            let (_, entries) = by_place.entry(logs.index_of(id)).or_insert((id, Vec::new()));
            entries.push((encode_key(id), value));
        }
        for (id, entries) in by_place.into_values() {
            logs.append(id, &encode_batch(entries, world.now_ms)?, world.now_ms)?;
        }
        Ok(())
    }

    fn logs(&self, world: World<'_>) -> Result<OwnLogs, LogError> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(logs) = &*logs {
            return Ok(logs.clone());
        }
        Ok(logs.insert(open_logs(world.store)?).clone())
    }

    /// Kafka's coordinators are told apart by the leader epoch of their log, which is the same for all here.
    fn epoch(&self) -> i32 {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.as_ref().and_then(|logs| logs.iter().next()).map_or(0, |log| log.leader_epoch())
    }

    /// The largest producer id that a transactional id has.
    pub(crate) fn largest_producer_id(&self) -> Option<i64> {
        self.all().into_iter().map(|(_, transaction)| transaction.producer.id).max()
    }

    /// Writes the markers of what was decided. Those that cannot be written now are left for later.
    fn complete(&self, world: World<'_>, (id, slot): (&str, &mut Slot)) {
        let Some(transaction) = &slot.transaction else { return };
        let Some(outcome) = transaction.decided() else { return };
        let mut left = transaction.clone();
        left.partitions.retain(|partition| {
            let marked = world.mark(partition, left.producer, outcome, self.epoch());
            if let Err(error) = &marked {
                let (topic, index) = partition;
                tracing::error!(id, topic, partition = index, %error, "a transaction cannot be ended here yet");
            }
            marked.is_err()
        });
        let done = left.partitions.is_empty();
        let completed = left.completed(outcome, world.now_ms);
        self.replace(slot, left);
        if done {
            // What could not be written down now will be by the next tick; markers are not written twice.
            let _ = self.adopt(world, (id, slot), completed);
        }
    }

    fn complete_decided(&self, world: World<'_>) {
        for (id, slot) in self.slots() {
            self.complete(world, (&id, &mut lock(&slot)));
        }
    }

    /// Transactions in the logs that no transactional id knows: the machine died before the broker's own log was on
    /// the disk. Nobody would ever end them, and committed readers would wait for ever.
    fn abort_orphans(&self, world: World<'_>) {
        let mut known: HashMap<i64, Transaction> = HashMap::new();
        for (_, slot) in self.slots() {
            known.extend(lock(&slot).transaction.clone().map(|transaction| (transaction.producer.id, transaction)));
        }
        for topic in world.store.topics() {
            for log in topic.partitions() {
                let partition = (topic.name().to_owned(), log.index());
                for open in log.open_transactions() {
                    let producer = ProducerRef { id: open.producer_id, epoch: open.producer_epoch };
                    if known.get(&producer.id).is_some_and(|known| known.partitions.contains(&partition)) {
                        continue;
                    }
                    tracing::warn!(
                        topic = topic.name(),
                        partition = log.index(),
                        producer = producer.id,
                        "a transaction that nobody knows is aborted"
                    );
                    if let Err(error) = world.mark(&partition, producer, Outcome::Abort, self.epoch()) {
                        tracing::error!(topic = topic.name(), partition = log.index(), %error, "it stays open");
                    }
                }
            }
        }
    }

    fn lock_ids(&self) -> MutexGuard<'_, HashMap<String, SharedSlot>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_logs(store: &LogStore) -> Result<OwnLogs, LogError> {
    OwnLogs::open(store, TRANSACTIONS_TOPIC, &SETTINGS)
}

fn load(logs: &OwnLogs) -> Result<HashMap<String, Transaction>, LogError> {
    let mut all = HashMap::new();
    for log in logs.iter() {
        let mut kept = HashMap::new();
        read(log, &mut kept)?;
        for (id, transaction) in kept {
            logs.check_place(&id, log)?;
            // Left alone it would be aborted, whatever was decided.
            let unknown =
                || LogError::UnknownTransaction { topic: TRANSACTIONS_TOPIC, partition: log.index(), id: id.clone() };
            let transaction = transaction.ok_or_else(unknown)?;
            all.insert(id, transaction);
        }
    }
    Ok(all)
}

/// The newest state of every id; `None` where it is of an unknown form.
fn read(log: &Partition, kept: &mut HashMap<String, Option<Transaction>>) -> Result<(), LogError> {
    let mut next = log.log_start_offset();
    let end = log.high_watermark();
    while next < end {
        let mut read = log.read(next, READ_BYTES, FirstBatch::Whole)?.records;
        if read.is_empty() {
            break;
        }
        while read.has_remaining() {
            let last_offset = crate::log::last_offset(&read).ok_or_else(|| damaged(read.len()))?;
            let batch = RecordBatchDecoder::decode(&mut read).map_err(|_| damaged(read.len()))?;
            batch.records.into_iter().for_each(|record| apply(kept, record));
            next = next.max(last_offset + 1);
        }
    }
    Ok(())
}

fn damaged(bytes: usize) -> LogError {
    LogError::CorruptMessage { bytes, reason: "a batch of transactions cannot be decoded" }
}

fn apply(kept: &mut HashMap<String, Option<Transaction>>, record: Record) {
    let Some(id) = record.key.and_then(decode_key) else { return };
    match record.value.map(decode_value) {
        None => drop(kept.remove(&id)),
        Some(transaction) => drop(kept.insert(id, transaction)),
    }
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
