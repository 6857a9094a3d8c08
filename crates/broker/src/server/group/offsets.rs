//! Committed offsets: in memory for reading, in a compacted topic for keeping.
//!
//! Records have the format of Apache Kafka's own `__consumer_offsets` (`OffsetCommitKey` version 1,
//! `OffsetCommitValue` version 3), so tools that read it can read this one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record, RecordBatchDecoder,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::log::{AppendOrigin, FirstBatch, LogError, LogStore, Partition};

/// The topic that keeps committed offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
const KEY_VERSION: i16 = 1;
const VALUE_VERSION: i16 = 3;
/// A batch is appended before it grows much beyond this.
const BATCH_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 1 << 20;

/// A topic's partition by name.
pub(crate) type TopicPartition = (String, i32);

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Next offset to be read.
    pub(crate) offset: i64,
    /// Leader epoch of the record before it, −1 when unknown.
    pub(crate) leader_epoch: i32,
    /// The client's own note.
    pub(crate) metadata: String,
    /// When it was committed, Unix milliseconds.
    pub(crate) committed_ms: i64,
}

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
    /// Reads what was committed before; makes the topic on the first start.
    pub(crate) fn open(store: &LogStore, max_offsets: usize) -> Result<Self, LogError> {
        let topic = match store.topic(OFFSETS_TOPIC) {
            Some(topic) => topic,
            None => {
                let settings = [("cleanup.policy", "compact"), ("segment.bytes", "16777216")];
                let settings = settings.map(|(k, v)| (k.to_owned(), v.to_owned()));
                store.create_topic(OFFSETS_TOPIC, 1, &settings.into())?
            }
        };
        let log = topic.partitions().into_iter().next();
        let log = log.ok_or_else(|| LogError::UnknownPartition { topic: OFFSETS_TOPIC.to_owned(), partition: 0 })?;
        let offsets = Mutex::new(load(&log)?);
        Ok(Self { log, max_offsets, offsets })
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

    /// Drops what was committed before `before_ms` by groups that are not `occupied`.
    pub(crate) fn expire(&self, before_ms: i64, now_ms: i64, occupied: impl Fn(&str) -> bool) -> Result<(), LogError> {
        self.forget(now_ms, |group, _, committed| committed.committed_ms < before_ms && !occupied(group))
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
            let key = encode_key(group, &at);
            let payload = value.as_ref().map(encode_value);
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

fn load(log: &Partition) -> Result<Offsets, LogError> {
    let mut offsets = Offsets::default();
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
            for record in batch.records {
                apply(&mut offsets, record);
            }
            next = next.max(last_offset + 1);
        }
    }
    offsets.drop_empty_groups();
    Ok(offsets)
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

fn apply(offsets: &mut Offsets, record: Record) {
    let key = record.key.and_then(decode_key);
    let Some((group, partition)) = key else {
        return;
    };
    match record.value {
        None => offsets.set(group, partition, None),
        Some(value) => {
            if let Some(committed) = decode_value(value) {
                offsets.set(group, partition, Some(committed));
            }
        }
    }
}

fn put_string(buffer: &mut BytesMut, text: &str) {
    let length = i16::try_from(text.len()).expect("names and notes come from 16-bit strings");
    buffer.put_i16(length);
    buffer.put_slice(text.as_bytes());
}

fn take_string(buffer: &mut Bytes) -> Option<String> {
    let length = usize::try_from(buffer.try_get_i16().ok()?).ok()?;
    if buffer.len() < length {
        return None;
    }
    String::from_utf8(buffer.split_to(length).to_vec()).ok()
}

fn encode_key(group: &str, (topic, partition): &TopicPartition) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(KEY_VERSION);
    put_string(&mut buffer, group);
    put_string(&mut buffer, topic);
    buffer.put_i32(*partition);
    buffer.freeze()
}

fn decode_key(mut key: Bytes) -> Option<(String, TopicPartition)> {
    if key.try_get_i16().ok()? != KEY_VERSION {
        return None;
    }
    let group = take_string(&mut key)?;
    let topic = take_string(&mut key)?;
    Some((group, (topic, key.try_get_i32().ok()?)))
}

fn encode_value(committed: &Committed) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(VALUE_VERSION);
    buffer.put_i64(committed.offset);
    buffer.put_i32(committed.leader_epoch);
    put_string(&mut buffer, &committed.metadata);
    buffer.put_i64(committed.committed_ms);
    buffer.freeze()
}

fn decode_value(mut value: Bytes) -> Option<Committed> {
    if value.try_get_i16().ok()? != VALUE_VERSION {
        return None;
    }
    Some(Committed {
        offset: value.try_get_i64().ok()?,
        leader_epoch: value.try_get_i32().ok()?,
        metadata: take_string(&mut value)?,
        committed_ms: value.try_get_i64().ok()?,
    })
}

fn encode_batch(entries: Vec<(Bytes, Option<Bytes>)>, now_ms: i64) -> Result<Bytes, LogError> {
    let records: Vec<Record> =
        (0..).zip(entries).map(|(index, (key, value))| record(index, key, value, now_ms)).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut buffer = BytesMut::new();
    RecordBatchEncoder::encode(&mut buffer, &records, &options)
        .map_err(|_| LogError::InvalidRecord { reason: "committed offsets do not fit into a batch" })?;
    Ok(buffer.freeze())
}

fn record(index: i32, key: Bytes, value: Option<Bytes>, now_ms: i64) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(index),
        // The encoder keeps records in one batch only while offset and sequence advance together;
        // this makes the batch's base sequence −1, "none".
        sequence: index - 1,
        timestamp: now_ms,
        key: Some(key),
        value,
        headers: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_survive_and_strangers_are_ignored() {
        let at = ("raw_video".to_owned(), 7);
        let key = encode_key("viewers", &at);
        assert_eq!(decode_key(key), Some(("viewers".to_owned(), at)));
        let committed = Committed {
            offset: 1 << 40,
            leader_epoch: -1,
            metadata: "μ".repeat(2048),
            committed_ms: 1_700_000_000_000,
        };
        assert_eq!(decode_value(encode_value(&committed)), Some(committed));
        assert_eq!(decode_key(Bytes::from_static(&[0, 2, 0, 1, b'g'])), None);
        assert_eq!(decode_value(Bytes::from_static(&[0, 3, 0])), None);
        assert_eq!(decode_key(Bytes::from_static(&[0, 1, 0x7f, 0xff])), None);
    }

    #[test]
    fn a_batch_of_offsets_is_one_batch_without_sequence() {
        let entries = (0..5_u8).map(|n| (Bytes::from(vec![n]), None)).collect();
        let batch = encode_batch(entries, 5).unwrap();
        let info = RecordBatchDecoder::decode_batch_info(&mut batch.clone()).unwrap();
        assert_eq!(info.len(), 1);
        assert_eq!((info[0].record_count, info[0].base_sequence), (5, -1));
        assert_eq!(last_offset(&batch).unwrap(), 4);
    }
}
