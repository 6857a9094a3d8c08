//! Committed offsets: in memory for reading, in a compacted topic for keeping. The same topic keeps
//! who is in which group, so that a restart costs no rebalance.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use kafka_protocol::records::{Record, RecordBatchDecoder};

use super::records::{
    Committed, Key, StoredGroup, TopicPartition, decode_group, decode_key, decode_offset, encode_batch, encode_group,
    encode_offset, group_key, offset_key,
};
use crate::log::{AppendOrigin, FirstBatch, LogError, LogStore, Partition};

/// The topic that keeps committed offsets and groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Room for a group of a thousand members in one record.
const SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "16777216"), ("max.message.bytes", "10485760")];
/// A batch is appended before it grows much beyond this.
const BATCH_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 1 << 20;

/// Groups as they were kept.
pub(crate) type StoredGroups = HashMap<String, StoredGroup>;

/// All committed offsets.
#[derive(Debug)]
pub(crate) struct OffsetStore {
    log: Arc<Partition>,
    max_offsets: usize,
    offsets: Mutex<Offsets>,
}

#[derive(Debug, Default)]
struct Offsets {
    groups: HashMap<String, BTreeMap<TopicPartition, Committed>>,
    count: usize,
}

impl Offsets {
    fn set(&mut self, group: String, partition: TopicPartition, value: Option<Committed>) {
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
        let topic = match store.topic(OFFSETS_TOPIC) {
            Some(topic) => topic,
            None => {
                let settings = SETTINGS.map(|(k, v)| (k.to_owned(), v.to_owned()));
                store.create_topic(OFFSETS_TOPIC, 1, &settings.into())?
            }
        };
        let log = topic.partitions().into_iter().next();
        let log = log.ok_or_else(|| LogError::UnknownPartition { topic: OFFSETS_TOPIC.to_owned(), partition: 0 })?;
        let Loaded { mut offsets, groups } = load(&log)?;
        offsets.drop_empty_groups();
        Ok((Self { log, max_offsets, offsets: Mutex::new(offsets) }, groups))
    }

    /// Keeps who is in a group; `None` forgets the group.
    pub(crate) fn keep_group(&self, name: &str, group: Option<&StoredGroup>, now_ms: i64) -> Result<(), LogError> {
        let records = encode_batch(vec![(group_key(name), group.map(encode_group))], now_ms)?;
        self.log.append(&records, now_ms, AppendOrigin::Coordinator).map(drop)
    }

    /// Keeps offsets of a group, all or none of what one batch holds.
    pub(crate) fn commit(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, Committed)>,
        now_ms: i64,
    ) -> Result<(), CommitError> {
        let mut kept = self.lock();
        if kept.count + offsets.len() > self.max_offsets {
            let known = kept.groups.get(group);
            let is_new = |at: &TopicPartition| known.is_none_or(|known| !known.contains_key(at));
            let added = offsets.iter().filter(|(at, _)| is_new(at)).count();
            if kept.count + added > self.max_offsets {
                return Err(CommitError::Full);
            }
        }
        let changes = offsets.into_iter().map(|(at, committed)| (at, Some(committed)));
        self.write(&mut kept, group, changes, now_ms).map_err(CommitError::Log)
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
        let is_known = |at: &TopicPartition| known.is_some_and(|known| known.contains_key(at));
        let tombstones: Vec<_> = partitions.into_iter().filter(is_known).map(|at| (at, None)).collect();
        self.write(&mut kept, group, tombstones.into_iter(), now_ms)?;
        kept.drop_empty_groups();
        Ok(())
    }

    /// Drops all that a group has committed.
    pub(crate) fn remove_group(&self, group: &str, now_ms: i64) -> Result<(), LogError> {
        let partitions = self.all(group).into_iter().map(|(at, _)| at).collect();
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
        let mut changes: Vec<(String, Vec<TopicPartition>)> = Vec::new();
        for (group, offsets) in &kept.groups {
            let gone = offsets.iter().filter(|(at, committed)| gone(group, at, committed));
            let gone: Vec<_> = gone.map(|(at, _)| at.clone()).collect();
            if !gone.is_empty() {
                changes.push((group.clone(), gone));
            }
        }
        for (group, partitions) in changes {
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
            bytes += key.len() + payload.as_ref().map_or(0, Bytes::len);
            batch.push(((at, value), (key, payload)));
            if bytes >= BATCH_BYTES || changes.peek().is_none() {
                let (applied, records): (Vec<_>, Vec<_>) = std::mem::take(&mut batch).into_iter().unzip();
                bytes = 0;
                let records = encode_batch(records, now_ms)?;
                self.log.append(&records, now_ms, AppendOrigin::Coordinator)?;
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

#[derive(Debug, Default)]
struct Loaded {
    offsets: Offsets,
    groups: StoredGroups,
}

fn load(log: &Partition) -> Result<Loaded, LogError> {
    let mut loaded = Loaded::default();
    let mut next = log.log_start_offset();
    let end = log.high_watermark();
    while next < end {
        let mut read = log.read(next, READ_BYTES, FirstBatch::Whole)?.records;
        if read.is_empty() {
            break;
        }
        while read.has_remaining() {
            let last_offset = last_offset(&read)?;
            let batch = RecordBatchDecoder::decode(&mut read).map_err(|_| damaged(read.len()))?;
            for record in batch.records.into_iter().filter(|record| !record.control) {
                loaded.apply(record);
            }
            next = next.max(last_offset + 1);
        }
    }
    Ok(loaded)
}

/// The batch's last offset by its header: compaction may have removed the records at its end.
fn last_offset(batch: &Bytes) -> Result<i64, LogError> {
    const LAST_OFFSET_DELTA: usize = 23;
    let read = || {
        let base = batch.clone().try_get_i64().ok()?;
        let mut delta = batch.get(LAST_OFFSET_DELTA..)?;
        Some(base + i64::from(delta.try_get_i32().ok()?))
    };
    read().ok_or_else(|| damaged(batch.len()))
}

fn damaged(bytes: usize) -> LogError {
    LogError::CorruptMessage { bytes, reason: "a batch of committed offsets cannot be decoded" }
}

impl Loaded {
    /// What cannot be understood was written by something newer; it is left alone.
    fn apply(&mut self, record: Record) {
        match (record.key.and_then(decode_key), record.value) {
            (Some(Key::Offset(group, partition)), None) => self.offsets.set(group, partition, None),
            (Some(Key::Offset(group, partition)), Some(value)) => {
                if let Some(committed) = decode_offset(value) {
                    self.offsets.set(group, partition, Some(committed));
                }
            }
            (Some(Key::Group(name)), None) => drop(self.groups.remove(&name)),
            (Some(Key::Group(name)), Some(value)) => {
                if let Some(group) = decode_group(value) {
                    self.groups.insert(name, group);
                }
            }
            (None, _) => {}
        }
    }
}
