//! Index entries: the values of the topic `lumenbus.index`.

use crate::fields::{check_version, check_version_first};
use crate::message::{stream_from_proto, stream_to_proto, topic_from_proto};
use crate::{WIRE_VERSION, WireError, proto};
use bytes::Bytes;
use lumenbus_frame::{Epoch, FrameId, Seq, StreamName, TopicName};
use prost::Message;

/// Longest entry written or read.
pub const MAX_INDEX_ENTRY_BYTES: usize = 1024;

/// Where a keyframe of a stream is. The camera is the record's key.
///
/// A hint: a reader checks it at the record it names and ignores it when camera, stream, epoch or seq differ there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The frame topic's full name.
    pub topic: TopicName,
    /// The stream's name.
    pub stream: StreamName,
    /// Epoch and seq of the keyframe.
    pub id: FrameId,
    /// When it was taken, Unix nanoseconds.
    pub capture_unix_nanos: i64,
    /// Its partition.
    pub partition: u32,
    /// Offset of its first record.
    pub offset: u64,
    /// Bytes of its payload.
    pub bytes: u64,
    /// The stream's entry before this one; `None` where the chain begins.
    pub previous: Option<IndexPosition>,
    /// The run of entries that this one belongs to.
    pub section: IndexSection,
    /// Keyframes between the previous entry and this one may have no entry.
    pub is_thinned: bool,
}

/// A record of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPosition {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
}

/// A run of entries of one stream, epoch and partition without a jump in time: capture times rise within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexSection {
    /// Capture time of its first entry, Unix nanoseconds.
    pub first_capture_unix_nanos: i64,
    /// The stream's last entry before it; `None` where the chain begins.
    pub before: Option<IndexPosition>,
    /// The latest capture time in all sections before, Unix nanoseconds: a later moment does not occur there.
    pub newest_before_unix_nanos: Option<i64>,
}

impl IndexEntry {
    /// The entry as a record value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let section = proto::IndexSection {
            first_capture_unix_nanos: self.section.first_capture_unix_nanos,
            before: self.section.before.map(position_to_proto),
            newest_before_unix_nanos: self.section.newest_before_unix_nanos,
        };
        let message = proto::IndexEntry {
            version: WIRE_VERSION,
            topic: self.topic.as_str().to_owned(),
            stream: stream_to_proto(Some(&self.stream)),
            epoch: self.id.epoch.0,
            seq: self.id.seq.0,
            capture_unix_nanos: self.capture_unix_nanos,
            partition: self.partition,
            offset: self.offset,
            bytes: self.bytes,
            previous: self.previous.map(position_to_proto),
            section: Some(section),
            thinned: self.is_thinned,
        };
        message.encode_to_vec().into()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// An unknown major version, an entry beyond [`MAX_INDEX_ENTRY_BYTES`], or bytes that are no entry.
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        if value.len() > MAX_INDEX_ENTRY_BYTES {
            let limit = MAX_INDEX_ENTRY_BYTES as u64;
            return Err(WireError::TooLarge { what: "an index entry", bytes: value.len() as u64, limit });
        }
        check_version_first(value)?;
        let message = proto::IndexEntry::decode(value).map_err(|source| WireError::Index { source })?;
        check_version(message.version)?;
        let section = message.section.ok_or_else(|| WireError::Field {
            field: "section",
            found: "absent".to_owned(),
            expected: "in every index entry",
        })?;
        Ok(Self {
            topic: topic_from_proto(&message.topic)?,
            stream: stream_from_proto(&message.stream)?.unwrap_or_default(),
            id: FrameId { epoch: Epoch(message.epoch), seq: Seq(message.seq) },
            capture_unix_nanos: message.capture_unix_nanos,
            partition: message.partition,
            offset: message.offset,
            bytes: message.bytes,
            previous: message.previous.map(position_from_proto),
            section: IndexSection {
                first_capture_unix_nanos: section.first_capture_unix_nanos,
                before: section.before.map(position_from_proto),
                newest_before_unix_nanos: section.newest_before_unix_nanos,
            },
            is_thinned: message.thinned,
        })
    }

    /// Whether the entry begins its section.
    #[must_use]
    pub fn begins_section(&self) -> bool {
        self.previous == self.section.before
    }
}

fn position_to_proto(position: IndexPosition) -> proto::IndexPosition {
    proto::IndexPosition { partition: position.partition, offset: position.offset }
}

fn position_from_proto(message: proto::IndexPosition) -> IndexPosition {
    IndexPosition { partition: message.partition, offset: message.offset }
}
