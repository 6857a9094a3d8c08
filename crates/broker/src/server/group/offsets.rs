//! Committed offsets: in memory for reading, in a compacted topic for keeping. The same topic keeps
//! who is in which group, so that a restart costs no rebalance.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use kafka_protocol::records::{Record, RecordBatchDecoder};

use super::pending::Pending;
use super::records::{
    Committed, Key, StoredGroup, TopicPartition, decode_group, decode_key, decode_offset, encode_batch, encode_group,
    encode_offset, group_key, offset_key,
};
use crate::log::{FirstBatch, LogError, LogStore, Outcome, Partition, last_offset, outcome, within_transaction};

use crate::server::blocking::syncs;
use crate::server::internal::OwnLogs;

/// The topic that keeps committed offsets and groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Room for a group of a thousand members in one record.
const SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "16777216"), ("max.message.bytes", "10485760")];
/// A batch is appended before it grows much beyond this.
const BATCH_BYTES: usize = 256 << 10;
/// Offsets of a transaction in one batch, so that their notes fit as well.
const TRANSACTION_CHUNK: usize = 50;
const READ_BYTES: usize = 1 << 20;

/// Groups as they were kept.
pub(crate) type StoredGroups = HashMap<String, StoredGroup>;

/// All committed offsets.
#[derive(Debug)]
pub(crate) struct OffsetStore {
    logs: OwnLogs,
    max_offsets: usize,
    offsets: Mutex<Offsets>,
}

#[derive(Debug, Default)]
struct Offsets {
    groups: HashMap<String, BTreeMap<TopicPartition, Committed>>,
    count: usize,
    /// Those of open transactions.
    pending: Pending,
}

impl Offsets {
    /// The keys of `kept` and pending offsets of which `gone` is true, by group.
    fn matching(
        &self,
        gone: impl Fn(&str, &TopicPartition, &Committed) -> bool,
    ) -> BTreeMap<String, Vec<TopicPartition>> {
        let kept =
            self.groups.iter().flat_map(|(group, all)| all.iter().map(move |(at, value)| (group.as_str(), at, value)));
        let mut found: BTreeMap<String, Vec<TopicPartition>> = BTreeMap::new();
        for (group, at, value) in kept.chain(self.pending.iter()) {
            if gone(group, at, value) {
                found.entry(group.to_owned()).or_default().push(at.clone());
            }
        }
        found
    }

    fn matching_pending(&self, group: &str) -> Vec<TopicPartition> {
        self.pending.iter().filter(|(name, _, _)| *name == group).map(|(_, at, _)| at.clone()).collect()
    }

    /// Ends a producer's transaction.
    fn end(&mut self, producer_id: i64, outcome: Outcome, is_here: impl Fn(&str) -> bool) {
        match outcome {
            Outcome::Abort => self.pending.discard(producer_id, is_here),
            Outcome::Commit => {
                for ((group, partition), committed) in self.pending.take(producer_id, is_here) {
                    let offsets = self.groups.entry(group).or_default();
                    self.count += usize::from(offsets.insert(partition, committed).is_none());
                }
            }
        }
    }

    fn set(&mut self, group: String, partition: TopicPartition, value: Option<Committed>) {
        self.pending.forget(&group, &partition);
        let offsets = self.groups.entry(group).or_default();
        let before = offsets.len();
        match value {
            Some(committed) => drop(offsets.insert(partition, committed)),
            None => drop(offsets.remove(&partition)),
        }
        self.count = self.count + offsets.len() - before;
    }

    fn drop_empty_groups(&mut self) {
        self.groups.retain(|_, offsets| !offsets.is_empty());
    }
}

/// Why a commit was not kept.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// The broker keeps as many offsets as it may.
    Full,
    /// The log refused.
    Log(LogError),
}

impl OffsetStore {
    /// Reads what was committed before, and which groups there were; makes the topic on the first start.
    pub(crate) fn open(store: &LogStore, max_offsets: usize) -> Result<(Self, StoredGroups), LogError> {
        let logs = OwnLogs::open(store, OFFSETS_TOPIC, &SETTINGS)?;
        let mut all = Loaded::default();
        for log in logs.iter() {
            let loaded = load(log)?;
            let kept = loaded.offsets.groups.iter().filter(|(_, offsets)| !offsets.is_empty());
            let mut names = loaded.groups.keys().chain(kept.map(|(name, _)| name));
            names.try_for_each(|name| logs.check_place(name, log))?;
            all.absorb(loaded);
        }
        let Loaded { mut offsets, groups, strange } = all;
        if strange > 0 {
            tracing::warn!(
                strange,
                "records of {OFFSETS_TOPIC} are of kinds that this version does not know (groups of newer protocols); what they say is not used"
            );
        }
        offsets.drop_empty_groups();
        Ok((Self { logs, max_offsets, offsets: Mutex::new(offsets) }, groups))
    }

    /// Where a group's offsets and members are kept.
    pub(crate) fn partition_of(&self, group: &str) -> TopicPartition {
        (OFFSETS_TOPIC.to_owned(), self.logs.index_of(group))
    }

    /// Drops what was committed for topics that are gone: the process may have died between their deletion and this.
    pub(crate) fn forget_missing(&self, store: &LogStore, now_ms: i64) -> Result<(), LogError> {
        self.forget(now_ms, |_, (topic, _), _| store.topic(topic).is_none())
    }

    /// Whether what is kept is synced before it is told.
    pub(crate) fn syncs(&self) -> bool {
        self.logs.config().is_some_and(|config| syncs(&config))
    }

    /// Keeps who is in a group.
    pub(crate) fn keep_group(&self, name: &str, group: &StoredGroup, now_ms: i64) -> Result<(), LogError> {
        self.append(name, vec![(group_key(name), Some(encode_group(group)))], now_ms)
    }

    /// Forgets groups, all of them or none where they are in one partition.
    pub(crate) fn forget_groups(&self, names: &[String], now_ms: i64) -> Result<(), LogError> {
        let mut by_place: BTreeMap<i32, Vec<&str>> = BTreeMap::new();
        for name in names {
            by_place.entry(self.logs.index_of(name)).or_default().push(name);
        }
        for names in by_place.into_values() {
            let tombstones = names.iter().map(|name| (group_key(name), None)).collect();
            self.append(names[0], tombstones, now_ms)?;
        }
        Ok(())
    }

    /// Appends to the partition of `group`.
    fn append(&self, group: &str, entries: Vec<(Bytes, Option<Bytes>)>, now_ms: i64) -> Result<(), LogError> {
        self.logs.append(group, &encode_batch(entries, now_ms)?, now_ms)
    }

    /// Keeps offsets of a group, all or none of what one batch holds.
    pub(crate) fn commit(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, Committed)>,
        now_ms: i64,
    ) -> Result<(), CommitError> {
        let mut kept = self.lock();
        if kept.count + kept.pending.count() + offsets.len() > self.max_offsets {
            let known = kept.groups.get(group);
            let is_new = |at: &TopicPartition| known.is_none_or(|known| !known.contains_key(at));
            let added = offsets.iter().filter(|(at, _)| is_new(at)).count();
            if kept.count + kept.pending.count() + added > self.max_offsets {
                return Err(CommitError::Full);
            }
        }
        let changes = offsets.into_iter().map(|(at, committed)| (at, Some(committed)));
        self.write(&mut kept, group, changes, now_ms).map_err(CommitError::Log)
    }

    /// Keeps offsets of a group within a producer's transaction.
    pub(crate) fn commit_within(
        &self,
        producer: (i64, i16),
        group: &str,
        offsets: &[(TopicPartition, Committed)],
        now_ms: i64,
    ) -> Result<(), CommitError> {
        let mut kept = self.lock();
        if kept.count + kept.pending.count() + offsets.len() > self.max_offsets {
            return Err(CommitError::Full);
        }
        for offsets in offsets.chunks(TRANSACTION_CHUNK) {
            let records = offsets.iter().map(|(at, value)| (offset_key(group, at), Some(encode_offset(value))));
            let batch = encode_batch(records.collect(), now_ms).map_err(CommitError::Log)?;
            let unreadable = || CommitError::Log(damaged(batch.len()));
            let batch = within_transaction(&batch, producer).ok_or_else(unreadable)?;
            self.logs.append(group, &batch.into(), now_ms).map_err(CommitError::Log)?;
            for (at, committed) in offsets {
                kept.pending.add(producer.0, group, at.clone(), committed.clone());
            }
        }
        Ok(())
    }

    /// Ends a producer's transaction in one partition: what it committed is seen from now on, or gone.
    pub(crate) fn end_transaction(
        &self,
        index: i32,
        producer: (i64, i16),
        outcome: Outcome,
        coordinator_epoch: i32,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let mut kept = self.lock();
        self.logs.at(index)?.end_transaction(producer, outcome, coordinator_epoch, now_ms)?;
        kept.end(producer.0, outcome, |group| self.logs.index_of(group) == index);
        kept.drop_empty_groups();
        Ok(())
    }

    /// Whether a partition's offset waits for the end of a transaction.
    pub(crate) fn is_pending(&self, group: &str, partition: &TopicPartition) -> bool {
        self.lock().pending.contains(group, partition)
    }

    /// Partitions of a group whose offsets wait for the end of a transaction.
    pub(crate) fn all_pending(&self, group: &str) -> Vec<TopicPartition> {
        self.lock().matching_pending(group)
    }

    /// One committed offset.
    pub(crate) fn get(&self, group: &str, partition: &TopicPartition) -> Option<Committed> {
        self.lock().groups.get(group)?.get(partition).cloned()
    }

    /// Everything a group has committed, by topic and partition.
    pub(crate) fn all(&self, group: &str) -> Vec<(TopicPartition, Committed)> {
        let offsets = self.lock();
        let group = offsets.groups.get(group);
        group.map_or_else(Vec::new, |g| g.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// Every group that has committed something.
    pub(crate) fn groups(&self) -> Vec<String> {
        self.lock().groups.keys().cloned().collect()
    }

    /// Drops what was committed for a deleted topic.
    pub(crate) fn forget_topic(&self, topic: &str, now_ms: i64) -> Result<(), LogError> {
        self.forget(now_ms, |_, (name, _), _| name == topic)
    }

    /// Whether a group has committed something.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.lock().groups.contains_key(group)
    }

    /// Drops some of what a group has committed.
    pub(crate) fn remove(&self, group: &str, partitions: Vec<TopicPartition>, now_ms: i64) -> Result<(), LogError> {
        let mut kept = self.lock();
        let known = kept.groups.get(group);
        let is_known =
            |at: &TopicPartition| known.is_some_and(|known| known.contains_key(at)) || kept.pending.contains(group, at);
        let tombstones: Vec<_> = partitions.into_iter().filter(is_known).map(|at| (at, None)).collect();
        self.write(&mut kept, group, tombstones.into_iter(), now_ms)?;
        kept.drop_empty_groups();
        Ok(())
    }

    /// Drops all that a group has committed.
    pub(crate) fn remove_group(&self, group: &str, now_ms: i64) -> Result<(), LogError> {
        let mut partitions: Vec<_> = self.all(group).into_iter().map(|(at, _)| at).collect();
        partitions.extend(self.all_pending(group));
        self.remove(group, partitions, now_ms)
    }

    /// Drops what `is_over` says of a group, partition and offset.
    pub(crate) fn expire(
        &self,
        now_ms: i64,
        is_over: impl Fn(&str, &TopicPartition, &Committed) -> bool,
    ) -> Result<(), LogError> {
        self.forget(now_ms, is_over)
    }

    fn forget(&self, now_ms: i64, gone: impl Fn(&str, &TopicPartition, &Committed) -> bool) -> Result<(), LogError> {
        let mut kept = self.lock();
        for (group, partitions) in kept.matching(gone) {
            let tombstones = partitions.into_iter().map(|at| (at, None));
            self.write(&mut kept, &group, tombstones, now_ms)?;
        }
        kept.drop_empty_groups();
        Ok(())
    }

    /// Appends changes, then makes them visible.
    fn write(
        &self,
        kept: &mut Offsets,
        group: &str,
        changes: impl Iterator<Item = (TopicPartition, Option<Committed>)>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut changes = changes.peekable();
        while let Some((at, value)) = changes.next() {
            let key = offset_key(group, &at);
            let payload = value.as_ref().map(encode_offset);
            bytes += key.len() + payload.as_ref().map_or(0, bytes::Bytes::len);
            batch.push(((at, value), (key, payload)));
            if bytes >= BATCH_BYTES || changes.peek().is_none() {
                let (applied, records): (Vec<_>, Vec<_>) = std::mem::take(&mut batch).into_iter().unzip();
                bytes = 0;
                self.append(group, records, now_ms)?;
                for (at, value) in applied {
                    kept.set(group.to_owned(), at, value);
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the topic's records say, read from the first to the last.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    offsets: Offsets,
    groups: StoredGroups,
    /// Records of unknown kinds.
    strange: u64,
}

/// What a group has committed, by partition.
pub(crate) type CommittedOffsets = BTreeMap<TopicPartition, Committed>;

fn load(log: &Partition) -> Result<Loaded, LogError> {
    let mut loaded = Loaded::default();
    let mut next = log.log_start_offset();
    let end = log.high_watermark();
    while next < end {
        let read = log.read(next, READ_BYTES, FirstBatch::Whole)?.records;
        if read.is_empty() {
            break;
        }
        next = next.max(loaded.apply_batches(read)?);
    }
    Ok(loaded)
}

fn damaged(bytes: usize) -> LogError {
    LogError::CorruptMessage { bytes, reason: "a batch of committed offsets cannot be decoded" }
}

impl Loaded {
    /// Applies whole batches; the offset behind them.
    pub(crate) fn apply_batches(&mut self, mut batches: Bytes) -> Result<i64, LogError> {
        let mut next = 0;
        while batches.has_remaining() {
            let last_offset = last_offset(&batches).ok_or_else(|| damaged(batches.len()))?;
            let batch = RecordBatchDecoder::decode(&mut batches).map_err(|_| damaged(batches.len()))?;
            batch.records.into_iter().for_each(|record| self.apply(record));
            next = last_offset + 1;
        }
        Ok(next)
    }

    /// Adds what another partition keeps, which is of other groups.
    fn absorb(&mut self, other: Self) {
        self.offsets.groups.extend(other.offsets.groups);
        self.offsets.count += other.offsets.count;
        self.offsets.pending.absorb(other.offsets.pending);
        self.groups.extend(other.groups);
        self.strange += other.strange;
    }

    /// Groups, and what was committed, without what is still in open transactions.
    pub(crate) fn into_parts(mut self) -> (StoredGroups, HashMap<String, CommittedOffsets>) {
        self.offsets.drop_empty_groups();
        (self.groups, self.offsets.groups)
    }

    /// What cannot be understood was written by something newer; it is left alone.
    fn apply(&mut self, record: Record) {
        if record.control {
            let outcome = record.key.as_deref().and_then(outcome);
            outcome.into_iter().for_each(|outcome| self.offsets.end(record.producer_id, outcome, |_| true));
            return;
        }
        match (record.key.and_then(decode_key), record.value) {
            (Some(Key::Offset(group, partition)), None) => self.offsets.set(group, partition, None),
            (Some(Key::Offset(group, partition)), Some(value)) => {
                let Some(committed) = decode_offset(value) else {
                    self.strange += 1;
                    return;
                };
                match record.transactional {
                    true => self.offsets.pending.add(record.producer_id, &group, partition, committed),
                    false => self.offsets.set(group, partition, Some(committed)),
                }
            }
            (Some(Key::Group(name)), None) => drop(self.groups.remove(&name)),
            (Some(Key::Group(name)), Some(value)) => match decode_group(value) {
                Some(group) => drop(self.groups.insert(name, group)),
                None => self.strange += 1,
            },
            (None, _) => self.strange += 1,
        }
    }
}
