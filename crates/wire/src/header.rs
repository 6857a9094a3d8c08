//! The header `lb`: typed on this side, Protobuf on the other.

use crate::fields::{Fields, check_version, check_version_first};
use crate::message::{
    batch_from_proto, batch_to_proto, check_gap_count, chunk_from_proto, chunk_to_proto, control_from_proto,
    control_to_proto, gap_from_proto, gap_to_proto, keyframe_from_proto, parameters_from_proto, parameters_to_proto,
    seal_from_proto, seal_to_proto, source_from_proto, source_to_proto, stream_from_proto, stream_to_proto,
};
use crate::{WireError, content_type, proto};
use bytes::{Bytes, BytesMut};
use lumenbus_frame::{
    CaptureTime, Deadline, Epoch, FrameId, Gap, Priority, Seq, SeqRange, StreamName, StreamParameters,
};
use prost::Message;
use std::sync::Arc;

/// The major version written and read.
pub const WIRE_VERSION: u32 = 1;
/// Longest header accepted from a topic.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Most gaps accepted in one header; a writer merges before it gets there.
pub const MAX_GAPS: usize = 1024;
/// Number of `gaps` in the `.proto` file.
const GAPS_TAG: u32 = 20;

/// Everything about a frame but its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Epoch and seq. In a control record the seq is that of the stream's next frame.
    pub id: FrameId,
    /// Name within camera and topic; `None` is `main`.
    pub stream: Option<StreamName>,
    /// When the picture was taken; in a control record, when that was written.
    pub capture: CaptureTime,
    /// Presentation time in ticks of the timebase of the last keyframe's parameters.
    pub pts: Option<i64>,
    /// Decoding can begin here.
    pub is_keyframe: bool,
    /// Time or content jumped before this frame.
    pub is_discontinuity: bool,
    /// No later frame refers to this one.
    pub is_discardable: bool,
    /// Lane.
    pub priority: Priority,
    /// How long it is worth having.
    pub deadline: Option<Deadline>,
    /// The newest acknowledged keyframe of this epoch and partition.
    pub keyframe: Option<KeyframeHint>,
    /// CRC-32C of the stored bytes.
    pub payload_crc32c: Option<u32>,
    /// Microseconds from capture to submission, encoding included.
    pub submit_micros: Option<u32>,
    /// Microseconds from submission to the hand-over to the Kafka client.
    pub queue_micros: Option<u32>,
    /// On keyframes.
    pub parameters: Option<Arc<StreamParameters>>,
    /// Holes before this record, oldest first.
    pub gaps: Vec<Gap>,
    /// This record is a part of a frame.
    pub chunk: Option<Chunk>,
    /// This record holds several frames.
    pub batch: Option<Batch>,
    /// The payload is sealed.
    pub seal: Option<Seal>,
    /// The video frame that this still was taken from.
    pub of: Option<FrameRef>,
    /// What a control record says.
    pub control: Option<Control>,
}

/// Where to find a keyframe; to be checked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyframeHint {
    /// Its seq; a hint after the header's own seq is not written.
    pub seq: Seq,
    /// Offset of its first record in the same partition.
    pub offset: u64,
}

/// One part of a stored value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// From 0.
    pub index: u32,
    /// How many there are; on chunk 0 only, else 0.
    pub count: u32,
    /// Bytes of the whole value; on chunk 0 only, else 0.
    pub total_bytes: u64,
    /// CRC-32C of the whole value; on chunk 0 only, else 0.
    pub total_crc32c: u32,
    /// Content type of the whole value; on chunk 0 only, else empty.
    pub content_type: String,
}

/// The record holds frames `header.id.seq` to `last_seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of frames in it.
    pub count: u32,
    /// Seq of the last one.
    pub last_seq: Seq,
    /// Content type of every payload in it.
    pub content_type: String,
}

/// How a payload was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Algorithm number.
    pub algorithm: u32,
    /// Which key.
    pub key_id: Bytes,
    /// Nonce.
    pub nonce: Bytes,
    /// Content type of the value once opened.
    pub content_type: String,
}

/// The video frame a still was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
    /// Its identity in the camera's video stream.
    pub id: FrameId,
}

/// What a control record says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Nothing but the gaps in the header.
    Gap,
    /// The epoch is complete; `None` when it had no frame.
    End {
        /// The last seq submitted.
        last_seq: Option<Seq>,
    },
    /// The camera is away.
    Offline {
        /// Since when, Unix time in nanoseconds.
        since_unix_nanos: i64,
        /// Free text.
        reason: String,
    },
    /// These frames equal the last one sent.
    Repeat(SeqRange),
    /// The stream goes on elsewhere.
    Moved(Moved),
}

/// Where a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Under this epoch.
    pub epoch: Epoch,
    /// In this partition.
    pub partition: u32,
}

impl Control {
    /// The content type of the record.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Gap => content_type::GAP,
            Self::End { .. } => content_type::END,
            Self::Offline { .. } => content_type::OFFLINE,
            Self::Repeat(_) => content_type::REPEAT,
            Self::Moved(_) => content_type::MOVED,
        }
    }
}

impl Header {
    /// A header with nothing but identity and capture time.
    #[must_use]
    pub fn new(id: FrameId, capture: CaptureTime) -> Self {
        Self {
            id,
            stream: None,
            capture,
            pts: None,
            is_keyframe: false,
            is_discontinuity: false,
            is_discardable: false,
            priority: Priority::Normal,
            deadline: None,
            keyframe: None,
            payload_crc32c: None,
            submit_micros: None,
            queue_micros: None,
            parameters: None,
            gaps: Vec::new(),
            chunk: None,
            batch: None,
            seal: None,
            of: None,
            control: None,
        }
    }

    /// Appends the Protobuf form to `out`; allocates only for parts that ordinary delta frames lack.
    pub fn encode(&self, out: &mut BytesMut) {
        let message = self.to_proto();
        out.reserve(message.encoded_len());
        message.encode(out).expect("BytesMut grows");
    }

    /// The Protobuf form on its own.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }

    /// The header of one chunk of the value that `self` describes.
    ///
    /// Chunk 0 carries everything; the others what tells whose part they are. `payload_crc32c` is over `part`.
    #[must_use]
    pub fn for_chunk(&self, chunk: Chunk, part: &[u8]) -> Self {
        let base = if chunk.index == 0 {
            self.clone()
        } else {
            let stream = self.stream.clone();
            Self { stream, ..Self::new(self.id, CaptureTime::arrival(0)) }
        };
        Self { payload_crc32c: Some(crc32c::crc32c(part)), chunk: Some(chunk), ..base }
    }

    /// Checks version, limits and every field. `bytes` stays the place where unknown fields survive.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_HEADER_BYTES {
            let limit = MAX_HEADER_BYTES as u64;
            return Err(WireError::TooLarge { what: "the `lb` header", bytes: bytes.len() as u64, limit });
        }
        check_version_first(bytes)?;
        // Many empty messages are far larger decoded than encoded, so they are counted first.
        if bytes.len() > MAX_GAPS {
            let mut gaps = 0_usize;
            for field in Fields::new(bytes) {
                let (tag, _) = field.map_err(|source| WireError::Header { source })?;
                gaps += usize::from(tag == GAPS_TAG);
            }
            check_gap_count(gaps)?;
        }
        let message = proto::FrameHeader::decode(bytes).map_err(|source| WireError::Header { source })?;
        Self::from_proto(message)
    }

    /// The message, for envelopes.
    pub(crate) fn to_proto(&self) -> proto::FrameHeader {
        let (end, offline, repeat, moved) = control_to_proto(self.control.as_ref());
        let keyframe_distance = self.keyframe.and_then(|hint| self.id.seq.0.checked_sub(hint.seq.0));
        proto::FrameHeader {
            version: WIRE_VERSION,
            epoch: self.id.epoch.0,
            seq: self.id.seq.0,
            capture_unix_nanos: self.capture.unix_nanos,
            capture_source: source_to_proto(self.capture.source).into(),
            pts: self.pts,
            keyframe: self.is_keyframe,
            keyframe_distance,
            keyframe_offset: keyframe_distance.and(self.keyframe).map(|hint| hint.offset),
            payload_crc32c: self.payload_crc32c,
            deadline_millis: self.deadline.map(|deadline| deadline.after_capture_millis),
            submit_micros: self.submit_micros,
            queue_micros: self.queue_micros,
            discardable: self.is_discardable,
            chunk: self.chunk.as_ref().map(chunk_to_proto),
            priority: i32::from(self.priority == Priority::High),
            discontinuity: self.is_discontinuity,
            stream: stream_to_proto(self.stream.as_ref()),
            parameters: self.parameters.as_deref().map(parameters_to_proto),
            gaps: self.gaps.iter().map(gap_to_proto).collect(),
            batch: self.batch.as_ref().map(batch_to_proto),
            seal: self.seal.as_ref().map(seal_to_proto),
            of: self.of.map(|of| proto::FrameRef { epoch: of.id.epoch.0, seq: of.id.seq.0 }),
            end,
            offline,
            repeat,
            moved,
        }
    }

    /// Checks a decoded message.
    pub(crate) fn from_proto(message: proto::FrameHeader) -> Result<Self, WireError> {
        check_version(message.version)?;
        check_gap_count(message.gaps.len())?;
        let control = control_from_proto(&message)?;
        Ok(Self {
            id: FrameId { epoch: Epoch(message.epoch), seq: Seq(message.seq) },
            stream: stream_from_proto(&message.stream)?,
            capture: CaptureTime {
                unix_nanos: message.capture_unix_nanos,
                source: source_from_proto(message.capture_source),
            },
            pts: message.pts,
            is_keyframe: message.keyframe,
            is_discontinuity: message.discontinuity,
            is_discardable: message.discardable,
            priority: if message.priority == 1 { Priority::High } else { Priority::Normal },
            deadline: message.deadline_millis.map(|after_capture_millis| Deadline { after_capture_millis }),
            keyframe: keyframe_from_proto(&message)?,
            payload_crc32c: message.payload_crc32c,
            submit_micros: message.submit_micros,
            queue_micros: message.queue_micros,
            parameters: message.parameters.as_ref().map(parameters_from_proto).transpose()?.map(Arc::new),
            gaps: message.gaps.into_iter().map(gap_from_proto).collect::<Result<_, _>>()?,
            chunk: message.chunk.map(chunk_from_proto),
            batch: message.batch.map(batch_from_proto),
            seal: message.seal.map(seal_from_proto).transpose()?,
            of: message.of.map(|of| FrameRef { id: FrameId { epoch: Epoch(of.epoch), seq: Seq(of.seq) } }),
            control,
        })
    }
}
