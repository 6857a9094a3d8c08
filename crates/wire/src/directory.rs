//! The camera directory: the values of the compacted topic `lumenbus.cameras`.

use crate::fields::{Fields, check_version, check_version_first};
use crate::message::{
    check_gap_count, codec_from_proto, codec_to_proto, gap_from_proto, gap_to_proto, parameters_from_proto,
    parameters_to_proto, range_from_proto, range_to_proto, stream_from_proto, stream_to_proto, topic_from_proto,
};
use crate::{WIRE_VERSION, WireError, proto};
use bytes::Bytes;
use lumenbus_frame::{Codec, Epoch, Gap, Seq, SeqRange, StreamName, StreamParameters, TopicName};
use prost::Message;
use std::sync::Arc;

/// Longest entry written or read.
pub const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// Most streams of one camera.
pub const MAX_STREAMS: usize = 64;
/// Most labels of one camera.
pub const MAX_LABELS: usize = 64;

/// Numbers in the `.proto` file.
const LABELS_TAG: u32 = 4;
const STREAMS_TAG: u32 = 5;
const STREAM_GAPS_TAG: u32 = 8;

/// What the directory says of one camera; its id is the record's key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CameraEntry {
    /// Free display name.
    pub name: String,
    /// Group, free text.
    pub group: String,
    /// Key and value.
    pub labels: Vec<(String, String)>,
    /// Its streams, of all topics.
    pub streams: Vec<StreamEntry>,
    /// Streams that this version cannot read; written back as they are.
    pub unread: Vec<UnreadStream>,
}

/// One stream of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Where its records are.
    pub topic: TopicName,
    /// Its name within camera and topic.
    pub name: StreamName,
    /// Its partition.
    pub partition: u32,
    /// The publisher session.
    pub epoch: Epoch,
    /// How its frames are coded.
    pub codec: Codec,
    /// What it is doing.
    pub state: StreamState,
    /// The last seq submitted, once ended.
    pub last_seq: Option<Seq>,
    /// Gaps that no record carried, on topics without control records.
    pub gaps: Vec<Gap>,
    /// State, `last_seq` and gaps hold for a reader that has read the partition up to this offset.
    pub next_offset: Option<u64>,
    /// When this was written, Unix time in nanoseconds.
    pub updated_unix_nanos: i64,
    /// What a decoder must know.
    pub parameters: Option<Arc<StreamParameters>>,
    /// The last idle range, on topics without control records.
    pub repeat: Option<SeqRange>,
    /// The partition of the epoch before, when the stream moved.
    pub moved_from: Option<u32>,
}

/// What a stream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// Frames are coming.
    Live,
    /// The camera is away; the stream stays.
    Offline,
    /// The epoch is complete.
    Ended,
}

impl StreamState {
    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Offline => "offline",
            Self::Ended => "ended",
        }
    }
}

/// A stream of an entry that only a newer version can read (a new codec, a new state).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadStream {
    topic: TopicName,
    name: StreamName,
    epoch: Epoch,
    bytes: Bytes,
}

impl CameraEntry {
    /// The entry as a record value.
    ///
    /// # Errors
    /// [`WireError::Field`] or [`WireError::TooLarge`] beyond [`MAX_STREAMS`], [`MAX_LABELS`] or
    /// [`MAX_ENTRY_BYTES`].
    pub fn encode(&self) -> Result<Bytes, WireError> {
        check_counts(self.labels.len(), self.streams.len() + self.unread.len())?;
        let label = |(key, value): &(String, String)| proto::Label { key: key.clone(), value: value.clone() };
        let message = proto::CameraEntry {
            version: WIRE_VERSION,
            name: self.name.clone(),
            group: self.group.clone(),
            labels: self.labels.iter().map(label).collect(),
            streams: self.streams.iter().map(StreamEntry::to_proto).collect(),
        };
        let mut out = message.encode_to_vec();
        for stream in &self.unread {
            prost::encoding::bytes::encode(STREAMS_TAG, &stream.bytes, &mut out);
        }
        check_entry_bytes(out.len())?;
        Ok(out.into())
    }

    /// Reads an entry. Streams that cannot be read do not hurt the others.
    ///
    /// # Errors
    /// An unknown major version, an entry beyond the limits, or bytes that are no entry.
    pub fn decode(value: &[u8]) -> Result<Self, WireError> {
        check_entry_bytes(value.len())?;
        check_version_first(value)?;
        let (mut labels, mut streams) = (0, Vec::new());
        for field in Fields::new(value) {
            let (tag, content) = field.map_err(directory_error)?;
            labels += usize::from(tag == LABELS_TAG);
            if let (STREAMS_TAG, Some(stream)) = (tag, content) {
                streams.push(stream);
            }
            check_counts(labels, streams.len())?;
        }
        let head = EntryHead::decode(value).map_err(directory_error)?;
        check_version(head.version)?;
        let labels = head.labels.into_iter().map(|label| (label.key, label.value)).collect();
        let mut entry = Self { name: head.name, group: head.group, labels, ..Self::default() };
        for stream in streams {
            entry.add_encoded(stream);
        }
        Ok(entry)
    }

    fn add_encoded(&mut self, stream: &[u8]) {
        let Ok(message) = decode_stream(stream) else {
            return;
        };
        match StreamEntry::from_proto(&message) {
            Ok(stream) => self.merge_stream(stream),
            Err(_) => UnreadStream::new(&message, stream).into_iter().for_each(|unread| self.merge_unread(unread)),
        }
    }

    /// Takes in a newer record of the same camera: per stream the highest epoch wins (of equals the
    /// newer record), and name, group and labels are the newer record's.
    ///
    /// Beyond [`MAX_STREAMS`] those with the lowest epoch are dropped.
    pub fn merge(&mut self, newer: Self) {
        self.name = newer.name;
        self.group = newer.group;
        self.labels = newer.labels;
        for stream in newer.streams {
            self.merge_stream(stream);
        }
        for stream in newer.unread {
            self.merge_unread(stream);
        }
    }

    fn merge_stream(&mut self, stream: StreamEntry) {
        let is_newer_unread =
            |unread: &UnreadStream| unread.is(&stream.topic, &stream.name) && unread.epoch > stream.epoch;
        if self.unread.iter().any(is_newer_unread) {
            return;
        }
        self.unread.retain(|unread| !unread.is(&stream.topic, &stream.name));
        let same = |known: &&mut StreamEntry| known.is(&stream.topic, &stream.name);
        match self.streams.iter_mut().find(same) {
            Some(known) if known.epoch > stream.epoch => {}
            Some(known) => *known = stream,
            None => self.streams.push(stream),
        }
        self.drop_oldest();
    }

    fn merge_unread(&mut self, stream: UnreadStream) {
        let known = self.streams.iter().filter(|known| known.is(&stream.topic, &stream.name));
        let unread = self.unread.iter().filter(|known| known.is(&stream.topic, &stream.name));
        let newest = known.map(|known| known.epoch).chain(unread.map(|known| known.epoch)).max();
        if newest.is_some_and(|newest| newest > stream.epoch) {
            return;
        }
        self.streams.retain(|known| !known.is(&stream.topic, &stream.name));
        self.unread.retain(|known| !known.is(&stream.topic, &stream.name));
        self.unread.push(stream);
        self.drop_oldest();
    }

    /// Keeps to [`MAX_STREAMS`], whatever is merged: the oldest session goes.
    fn drop_oldest(&mut self) {
        if self.streams.len() + self.unread.len() <= MAX_STREAMS {
            return;
        }
        let read = self.streams.iter().map(|stream| stream.epoch);
        let unread = self.unread.iter().map(|stream| stream.epoch);
        let oldest = read.chain(unread).min();
        self.streams.retain(|stream| Some(stream.epoch) != oldest);
        self.unread.retain(|stream| Some(stream.epoch) != oldest);
    }
}

/// A [`proto::CameraEntry`] without its streams, which are decoded one by one.
#[derive(Clone, PartialEq, Message)]
struct EntryHead {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(message, repeated, tag = "4")]
    labels: Vec<proto::Label>,
}

fn directory_error(source: prost::DecodeError) -> WireError {
    WireError::Directory { source }
}

fn check_entry_bytes(bytes: usize) -> Result<(), WireError> {
    if bytes > MAX_ENTRY_BYTES {
        let (bytes, limit) = (bytes as u64, MAX_ENTRY_BYTES as u64);
        return Err(WireError::TooLarge { what: "a directory entry", bytes, limit });
    }
    Ok(())
}

fn check_counts(labels: usize, streams: usize) -> Result<(), WireError> {
    let over = |field, found: usize| WireError::Field {
        field,
        found: found.to_string(),
        expected: "at most 64 of them on one camera",
    };
    if labels > MAX_LABELS {
        return Err(over("labels", labels));
    }
    if streams > MAX_STREAMS { Err(over("streams", streams)) } else { Ok(()) }
}

fn decode_stream(bytes: &[u8]) -> Result<proto::StreamEntry, WireError> {
    let mut gaps = 0;
    for field in Fields::new(bytes) {
        gaps += usize::from(field.map_err(directory_error)?.0 == STREAM_GAPS_TAG);
    }
    check_gap_count(gaps)?;
    proto::StreamEntry::decode(bytes).map_err(directory_error)
}

impl UnreadStream {
    /// `None` when not even the stream's name can be read.
    fn new(message: &proto::StreamEntry, bytes: &[u8]) -> Option<Self> {
        Some(Self {
            topic: topic_from_proto(&message.topic).ok()?,
            name: stream_from_proto(&message.name).ok()?.unwrap_or_default(),
            epoch: Epoch(message.epoch),
            bytes: Bytes::copy_from_slice(bytes),
        })
    }

    fn is(&self, topic: &TopicName, name: &StreamName) -> bool {
        self.topic == *topic && self.name == *name
    }
}

impl StreamEntry {
    fn is(&self, topic: &TopicName, name: &StreamName) -> bool {
        self.topic == *topic && self.name == *name
    }

    fn to_proto(&self) -> proto::StreamEntry {
        let state = match self.state {
            StreamState::Live => proto::StreamState::Live,
            StreamState::Offline => proto::StreamState::Offline,
            StreamState::Ended => proto::StreamState::Ended,
        };
        proto::StreamEntry {
            topic: self.topic.as_str().to_owned(),
            name: stream_to_proto(Some(&self.name)),
            partition: self.partition,
            epoch: self.epoch.0,
            codec: codec_to_proto(self.codec),
            state: state.into(),
            last_seq: self.last_seq.map(|seq| seq.0),
            gaps: self.gaps.iter().map(gap_to_proto).collect(),
            next_offset: self.next_offset,
            updated_unix_nanos: self.updated_unix_nanos,
            parameters: self.parameters.as_deref().map(parameters_to_proto),
            repeat: self.repeat.map(range_to_proto),
            moved_from: self.moved_from,
        }
    }

    fn from_proto(message: &proto::StreamEntry) -> Result<Self, WireError> {
        let state = match proto::StreamState::try_from(message.state) {
            Ok(proto::StreamState::Live) => StreamState::Live,
            Ok(proto::StreamState::Offline) => StreamState::Offline,
            Ok(proto::StreamState::Ended) => StreamState::Ended,
            Ok(proto::StreamState::Unspecified) | Err(_) => {
                let (found, expected) = (message.state.to_string(), "a state of this version");
                return Err(WireError::Field { field: "state", found, expected });
            }
        };
        let parameters = message.parameters.as_ref().map(parameters_from_proto).transpose()?;
        let repeat = message.repeat.as_ref();
        Ok(Self {
            topic: topic_from_proto(&message.topic)?,
            name: stream_from_proto(&message.name)?.unwrap_or_default(),
            partition: message.partition,
            epoch: Epoch(message.epoch),
            codec: codec_from_proto(message.codec)?,
            state,
            last_seq: message.last_seq.map(Seq),
            gaps: message.gaps.iter().copied().map(gap_from_proto).collect::<Result<_, _>>()?,
            next_offset: message.next_offset,
            updated_unix_nanos: message.updated_unix_nanos,
            parameters: parameters.map(Arc::new),
            repeat: repeat.map(|range| range_from_proto(range, "repeat")).transpose()?,
            moved_from: message.moved_from,
        })
    }
}
