//! Records of `__consumer_offsets` as Apache Kafka lays them out: `OffsetCommitKey` 1 with
//! `OffsetCommitValue`, `GroupMetadataKey` 2 with `GroupMetadataValue`.
//!
//! Written are the versions that every Kafka since 2.1 reads (values 3); read are also the others.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};

use crate::log::LogError;

/// Longest name these records can hold: group, topic, member, assignor.
pub(crate) const MAX_NAME_BYTES: usize = i16::MAX as usize;
const OFFSET_KEYS: std::ops::RangeInclusive<i16> = 0..=1;
const OFFSET_KEY_VERSION: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
const VALUE_VERSION: i16 = 3;
/// Version 4 of both values has compact lengths and tagged fields.
const FLEXIBLE_VERSION: i16 = 4;

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

/// A group as it is kept: who is in it and what they were assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredGroup {
    pub(crate) protocol_type: String,
    pub(crate) generation: i32,
    /// The assignor; `None` in a group without members.
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    /// Since when it is in its state, Unix milliseconds; −1 when unknown.
    pub(crate) since_ms: i64,
    pub(crate) members: Vec<StoredMember>,
}

/// A member as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredMember {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// What it subscribed to, in the group's protocol.
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Offset(String, TopicPartition),
    Group(String),
}

/// The key of one committed offset.
pub(crate) fn offset_key(group: &str, (topic, partition): &TopicPartition) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(OFFSET_KEY_VERSION);
    put_string(&mut buffer, group);
    put_string(&mut buffer, topic);
    buffer.put_i32(*partition);
    buffer.freeze()
}

/// The key of a group's members.
pub(crate) fn group_key(group: &str) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(GROUP_KEY_VERSION);
    put_string(&mut buffer, group);
    buffer.freeze()
}

/// `None` for the keys of other protocols and for nonsense.
pub(crate) fn decode_key(mut key: Bytes) -> Option<Key> {
    let version = key.try_get_i16().ok()?;
    let mut reader = Reader { rest: key, is_flexible: false };
    if OFFSET_KEYS.contains(&version) {
        let group = reader.string()?;
        let topic = reader.string()?;
        return Some(Key::Offset(group, (topic, reader.rest.try_get_i32().ok()?)));
    }
    (version == GROUP_KEY_VERSION).then(|| reader.string().map(Key::Group)).flatten()
}

pub(crate) fn encode_offset(committed: &Committed) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(VALUE_VERSION);
    buffer.put_i64(committed.offset);
    buffer.put_i32(committed.leader_epoch);
    put_string(&mut buffer, &committed.metadata);
    buffer.put_i64(committed.committed_ms);
    buffer.freeze()
}

pub(crate) fn decode_offset(mut value: Bytes) -> Option<Committed> {
    let version = value.try_get_i16().ok()?;
    if !(0..=FLEXIBLE_VERSION).contains(&version) {
        return None;
    }
    let mut reader = Reader { rest: value, is_flexible: version >= FLEXIBLE_VERSION };
    Some(Committed {
        offset: reader.rest.try_get_i64().ok()?,
        leader_epoch: if version >= VALUE_VERSION { reader.rest.try_get_i32().ok()? } else { -1 },
        metadata: reader.string()?,
        committed_ms: reader.rest.try_get_i64().ok()?,
    })
}

pub(crate) fn encode_group(group: &StoredGroup) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(VALUE_VERSION);
    put_string(&mut buffer, &group.protocol_type);
    buffer.put_i32(group.generation);
    put_nullable(&mut buffer, group.protocol.as_deref());
    put_nullable(&mut buffer, group.leader.as_deref());
    buffer.put_i64(group.since_ms);
    put_length(&mut buffer, group.members.len());
    for member in &group.members {
        put_string(&mut buffer, &member.id);
        put_nullable(&mut buffer, member.instance_id.as_deref());
        put_string(&mut buffer, &member.client_id);
        put_string(&mut buffer, &member.client_host);
        buffer.put_i32(member.rebalance_timeout_ms);
        buffer.put_i32(member.session_timeout_ms);
        put_bytes(&mut buffer, &member.subscription);
        put_bytes(&mut buffer, &member.assignment);
    }
    buffer.freeze()
}

pub(crate) fn decode_group(mut value: Bytes) -> Option<StoredGroup> {
    let version = value.try_get_i16().ok()?;
    if !(0..=FLEXIBLE_VERSION).contains(&version) {
        return None;
    }
    let mut reader = Reader { rest: value, is_flexible: version >= FLEXIBLE_VERSION };
    let mut group = StoredGroup {
        protocol_type: reader.string()?,
        generation: reader.rest.try_get_i32().ok()?,
        protocol: reader.nullable()?,
        leader: reader.nullable()?,
        since_ms: if version >= 2 { reader.rest.try_get_i64().ok()? } else { -1 },
        members: Vec::new(),
    };
    // Nothing is reserved by the claimed number: a member that is not there ends the loop.
    for _ in 0..reader.length()?? {
        group.members.push(decode_member(&mut reader, version)?);
    }
    Some(group)
}

fn decode_member(reader: &mut Reader, version: i16) -> Option<StoredMember> {
    let id = reader.string()?;
    let instance_id = if version >= 3 { reader.nullable()? } else { None };
    let (client_id, client_host) = (reader.string()?, reader.string()?);
    let mut timeouts = [0; 2];
    let known = if version == 0 { &mut timeouts[1..] } else { &mut timeouts[..] };
    for timeout in known {
        *timeout = reader.rest.try_get_i32().ok()?;
    }
    let [rebalance_timeout_ms, session_timeout_ms] = match (version, timeouts) {
        (0, [_, session]) => [session; 2],
        (_, both) => both,
    };
    let (subscription, assignment) = (reader.bytes()?, reader.bytes()?);
    if reader.is_flexible {
        reader.skip_tags()?;
    }
    Some(StoredMember {
        id,
        instance_id,
        client_id,
        client_host,
        rebalance_timeout_ms,
        session_timeout_ms,
        subscription,
        assignment,
    })
}

fn put_string(buffer: &mut BytesMut, text: &str) {
    let length = i16::try_from(text.len()).expect("names are checked against MAX_NAME_BYTES when they come in");
    buffer.put_i16(length);
    buffer.put_slice(text.as_bytes());
}

fn put_nullable(buffer: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(buffer, text),
        None => buffer.put_i16(-1),
    }
}

fn put_length(buffer: &mut BytesMut, length: usize) {
    buffer.put_i32(i32::try_from(length).expect("groups are bounded far below 2 GiB"));
}

fn put_bytes(buffer: &mut BytesMut, bytes: &[u8]) {
    put_length(buffer, bytes.len());
    buffer.put_slice(bytes);
}

/// Takes fields off a value; `None` when they are not there.
struct Reader {
    rest: Bytes,
    is_flexible: bool,
}

impl Reader {
    fn string(&mut self) -> Option<String> {
        self.nullable()?
    }

    /// `Some(None)` is null.
    #[expect(clippy::option_option, reason = "missing bytes and a null are different")]
    fn nullable(&mut self) -> Option<Option<String>> {
        let length = match self.is_flexible {
            true => self.compact_length()?,
            false => nullable_length(i32::from(self.rest.try_get_i16().ok()?))?,
        };
        match length {
            None => Some(None),
            Some(length) => String::from_utf8(self.take(length)?.to_vec()).ok().map(Some),
        }
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = self.length()??;
        self.take(length)
    }

    /// The length of an array or of bytes.
    #[expect(clippy::option_option, reason = "missing bytes and a null are different")]
    fn length(&mut self) -> Option<Option<usize>> {
        match self.is_flexible {
            true => self.compact_length(),
            false => nullable_length(self.rest.try_get_i32().ok()?),
        }
    }

    #[expect(clippy::option_option, reason = "missing bytes and a null are different")]
    fn compact_length(&mut self) -> Option<Option<usize>> {
        Some(self.varint()?.checked_sub(1))
    }

    fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length)?;
        }
        Some(())
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.rest.try_get_u8().ok()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.rest.len()).then(|| self.rest.split_to(length))
    }
}

#[expect(clippy::option_option, reason = "a wrong length and a null are different")]
fn nullable_length(length: i32) -> Option<Option<usize>> {
    match length {
        -1 => Some(None),
        length => usize::try_from(length).ok().map(Some),
    }
}

/// Keys and values (`None`: a tombstone) as one batch.
pub(crate) fn encode_batch(entries: Vec<(Bytes, Option<Bytes>)>, now_ms: i64) -> Result<Bytes, LogError> {
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
#[path = "records_tests.rs"]
mod tests;
