//! The header `lb`: typed on this side, Protobuf on the other.

use crate::fields::{Fields, check_version, check_version_first};
use crate::proto;
use crate::{WireError, content_type};
use bytes::{Bytes, BytesMut};
use lumenbus_frame::{
    CaptureSource, CaptureTime, Codec, Deadline, Dimensions, Epoch, FrameId, FrameRate, Gap,
    GapReason, PixelFormat, Priority, Seq, SeqRange, StreamName, StreamParameters, Timebase,
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
/// Longest seal field (key id, nonce) accepted.
const MAX_SEAL_BYTES: usize = 256;

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
            Self {
                stream,
                ..Self::new(self.id, CaptureTime::arrival(0))
            }
        };
        Self {
            payload_crc32c: Some(crc32c::crc32c(part)),
            chunk: Some(chunk),
            ..base
        }
    }

    /// Checks version, limits and every field. `bytes` stays the place where unknown fields survive.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_HEADER_BYTES {
            let limit = MAX_HEADER_BYTES as u64;
            return Err(WireError::TooLarge {
                what: "the `lb` header",
                bytes: bytes.len() as u64,
                limit,
            });
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
        let message =
            proto::FrameHeader::decode(bytes).map_err(|source| WireError::Header { source })?;
        Self::from_proto(message)
    }

    /// The message, for envelopes.
    pub(crate) fn to_proto(&self) -> proto::FrameHeader {
        let (end, offline, repeat, moved) = control_to_proto(self.control.as_ref());
        let keyframe_distance = self
            .keyframe
            .and_then(|hint| self.id.seq.0.checked_sub(hint.seq.0));
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
            of: self.of.map(|of| proto::FrameRef {
                epoch: of.id.epoch.0,
                seq: of.id.seq.0,
            }),
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
            id: FrameId {
                epoch: Epoch(message.epoch),
                seq: Seq(message.seq),
            },
            stream: stream_from_proto(&message.stream)?,
            capture: CaptureTime {
                unix_nanos: message.capture_unix_nanos,
                source: source_from_proto(message.capture_source),
            },
            pts: message.pts,
            is_keyframe: message.keyframe,
            is_discontinuity: message.discontinuity,
            is_discardable: message.discardable,
            priority: if message.priority == 1 {
                Priority::High
            } else {
                Priority::Normal
            },
            deadline: message
                .deadline_millis
                .map(|after_capture_millis| Deadline {
                    after_capture_millis,
                }),
            keyframe: keyframe_from_proto(&message)?,
            payload_crc32c: message.payload_crc32c,
            submit_micros: message.submit_micros,
            queue_micros: message.queue_micros,
            parameters: message
                .parameters
                .map(parameters_from_proto)
                .transpose()?
                .map(Arc::new),
            gaps: message
                .gaps
                .into_iter()
                .map(gap_from_proto)
                .collect::<Result<_, _>>()?,
            chunk: message.chunk.map(chunk_from_proto),
            batch: message.batch.map(batch_from_proto),
            seal: message.seal.map(seal_from_proto).transpose()?,
            of: message.of.map(|of| FrameRef {
                id: FrameId {
                    epoch: Epoch(of.epoch),
                    seq: Seq(of.seq),
                },
            }),
            control,
        })
    }
}

pub(crate) fn check_gap_count(gaps: usize) -> Result<(), WireError> {
    if gaps > MAX_GAPS {
        let found = gaps.to_string();
        return Err(WireError::Field {
            field: "gaps",
            found,
            expected: "at most 1024 are accepted",
        });
    }
    Ok(())
}

type ControlParts = (
    Option<proto::End>,
    Option<proto::Offline>,
    Option<proto::SeqRange>,
    Option<proto::Moved>,
);

fn control_to_proto(control: Option<&Control>) -> ControlParts {
    match control {
        None | Some(Control::Gap) => (None, None, None, None),
        Some(Control::End { last_seq }) => (
            Some(proto::End {
                last_seq: last_seq.map(|seq| seq.0),
            }),
            None,
            None,
            None,
        ),
        Some(Control::Offline {
            since_unix_nanos,
            reason,
        }) => {
            let offline = proto::Offline {
                since_unix_nanos: *since_unix_nanos,
                reason: reason.clone(),
            };
            (None, Some(offline), None, None)
        }
        Some(Control::Repeat(range)) => (None, None, Some(range_to_proto(*range)), None),
        Some(Control::Moved(moved)) => (
            None,
            None,
            None,
            Some(proto::Moved {
                epoch: moved.epoch.0,
                partition: moved.partition,
            }),
        ),
    }
}

fn control_from_proto(message: &proto::FrameHeader) -> Result<Option<Control>, WireError> {
    let present = [
        message.end.is_some(),
        message.offline.is_some(),
        message.repeat.is_some(),
        message.moved.is_some(),
    ];
    if present.into_iter().filter(|is_set| *is_set).count() > 1 {
        return Err(WireError::Field {
            field: "end, offline, repeat, moved",
            found: "several".to_owned(),
            expected: "at most one of them in a header",
        });
    }
    if let Some(end) = &message.end {
        return Ok(Some(Control::End {
            last_seq: end.last_seq.map(Seq),
        }));
    }
    if let Some(offline) = &message.offline {
        let reason = offline.reason.chars().take(256).collect();
        return Ok(Some(Control::Offline {
            since_unix_nanos: offline.since_unix_nanos,
            reason,
        }));
    }
    if let Some(range) = &message.repeat {
        return Ok(Some(Control::Repeat(range_from_proto(range, "repeat")?)));
    }
    let moved = message.moved.as_ref();
    Ok(moved.map(|moved| {
        Control::Moved(Moved {
            epoch: Epoch(moved.epoch),
            partition: moved.partition,
        })
    }))
}

pub(crate) fn range_to_proto(range: SeqRange) -> proto::SeqRange {
    proto::SeqRange {
        first: range.first.0,
        last: range.last.0,
    }
}

pub(crate) fn range_from_proto(
    range: &proto::SeqRange,
    field: &'static str,
) -> Result<SeqRange, WireError> {
    if range.last < range.first {
        let found = format!("{}..={}", range.first, range.last);
        return Err(WireError::Field {
            field,
            found,
            expected: "last must not be below first",
        });
    }
    Ok(SeqRange {
        first: Seq(range.first),
        last: Seq(range.last),
    })
}

fn source_to_proto(source: CaptureSource) -> proto::CaptureSource {
    match source {
        CaptureSource::Arrival => proto::CaptureSource::Arrival,
        CaptureSource::Sensor => proto::CaptureSource::Sensor,
        CaptureSource::Rtcp => proto::CaptureSource::Rtcp,
    }
}

fn source_from_proto(number: i32) -> CaptureSource {
    match proto::CaptureSource::try_from(number) {
        Ok(proto::CaptureSource::Sensor) => CaptureSource::Sensor,
        Ok(proto::CaptureSource::Rtcp) => CaptureSource::Rtcp,
        // A source that a newer version knows is trusted no more than arrival.
        Ok(proto::CaptureSource::Arrival) | Err(_) => CaptureSource::Arrival,
    }
}

pub(crate) fn stream_to_proto(stream: Option<&StreamName>) -> String {
    stream
        .filter(|name| !name.is_main())
        .map_or_else(String::new, |name| name.as_str().to_owned())
}

pub(crate) fn stream_from_proto(name: &str) -> Result<Option<StreamName>, WireError> {
    if name.is_empty() || name == StreamName::MAIN {
        return Ok(None);
    }
    let field = |error: lumenbus_frame::IdError| WireError::Field {
        field: "stream",
        found: error.to_string(),
        expected: "1 to 64 characters of A-Z a-z 0-9 . _ -",
    };
    StreamName::new(name).map(Some).map_err(field)
}

const CODECS: [(Codec, proto::Codec); 8] = [
    (Codec::Jpeg, proto::Codec::Jpeg),
    (Codec::Png, proto::Codec::Png),
    (Codec::Webp, proto::Codec::Webp),
    (Codec::Jpeg2000, proto::Codec::Jpeg2000),
    (Codec::H264, proto::Codec::H264),
    (Codec::H265, proto::Codec::H265),
    (Codec::Av1, proto::Codec::Av1),
    (Codec::Raw, proto::Codec::Raw),
];

const PIXEL_FORMATS: [(PixelFormat, proto::PixelFormat); 4] = [
    (PixelFormat::Gray8, proto::PixelFormat::Gray8),
    (PixelFormat::Gray16Le, proto::PixelFormat::Gray16le),
    (PixelFormat::Rgb8, proto::PixelFormat::Rgb8),
    (PixelFormat::I420, proto::PixelFormat::I420),
];

pub(crate) fn codec_to_proto(codec: Codec) -> i32 {
    CODECS
        .iter()
        .find(|row| row.0 == codec)
        .map_or(0, |row| row.1.into())
}

pub(crate) fn codec_from_proto(number: i32) -> Result<Codec, WireError> {
    let row = CODECS.iter().find(|row| i32::from(row.1) == number);
    row.map(|row| row.0).ok_or_else(|| WireError::Field {
        field: "codec",
        found: number.to_string(),
        expected: "a codec of this version; update the reader",
    })
}

pub(crate) fn parameters_to_proto(parameters: &StreamParameters) -> proto::StreamParameters {
    let format = parameters
        .pixel_format
        .and_then(|format| PIXEL_FORMATS.iter().find(|row| row.0 == format));
    let rate = parameters.frame_rate;
    proto::StreamParameters {
        codec: codec_to_proto(parameters.codec),
        width: parameters.dimensions.width,
        height: parameters.dimensions.height,
        timebase_numerator: parameters.timebase.numerator,
        timebase_denominator: parameters.timebase.denominator,
        pixel_format: format.map_or(0, |row| row.1.into()),
        rate_frames: rate.map_or(0, |rate| rate.frames),
        rate_seconds: rate.map_or(0, |rate| rate.seconds),
        codec_string: parameters.codec_string.clone().unwrap_or_default(),
    }
}

pub(crate) fn parameters_from_proto(
    message: proto::StreamParameters,
) -> Result<StreamParameters, WireError> {
    if message.timebase_denominator == 0 {
        let expected = "must not be 0";
        return Err(WireError::Field {
            field: "timebase_denominator",
            found: "0".to_owned(),
            expected,
        });
    }
    let format = PIXEL_FORMATS
        .iter()
        .find(|row| i32::from(row.1) == message.pixel_format);
    let has_rate = message.rate_frames > 0 && message.rate_seconds > 0;
    Ok(StreamParameters {
        codec: codec_from_proto(message.codec)?,
        dimensions: Dimensions::new(message.width, message.height),
        pixel_format: format.map(|row| row.0),
        timebase: Timebase {
            numerator: message.timebase_numerator,
            denominator: message.timebase_denominator,
        },
        frame_rate: has_rate.then_some(FrameRate {
            frames: message.rate_frames,
            seconds: message.rate_seconds,
        }),
        codec_string: (!message.codec_string.is_empty())
            .then(|| message.codec_string.chars().take(64).collect()),
    })
}

const REASONS: [(GapReason, proto::GapReason); 8] = [
    (GapReason::Overflow, proto::GapReason::Overflow),
    (GapReason::Expired, proto::GapReason::Expired),
    (GapReason::DeliveryFailed, proto::GapReason::DeliveryFailed),
    (GapReason::Oversize, proto::GapReason::Oversize),
    (GapReason::Undecodable, proto::GapReason::Undecodable),
    (GapReason::SourceDamaged, proto::GapReason::SourceDamaged),
    (GapReason::SourceLost, proto::GapReason::SourceLost),
    (GapReason::Stopped, proto::GapReason::Stopped),
];

pub(crate) fn gap_to_proto(gap: &Gap) -> proto::Gap {
    let known = REASONS
        .iter()
        .find(|row| row.0 == gap.reason)
        .map(|row| i32::from(row.1));
    let reason = match gap.reason {
        GapReason::Other(number) => i32::try_from(number).unwrap_or(0),
        _ => known.unwrap_or(0),
    };
    proto::Gap {
        epoch: gap.epoch.map(|epoch| epoch.0),
        first: gap.first.0,
        last: gap.last.map(|last| last.0),
        reason,
        discardable: gap.is_discardable,
    }
}

pub(crate) fn gap_from_proto(message: proto::Gap) -> Result<Gap, WireError> {
    if message.last.is_some_and(|last| last < message.first) {
        let found = format!("{}..={}", message.first, message.last.unwrap_or_default());
        return Err(WireError::Field {
            field: "gaps",
            found,
            expected: "last must not be below first",
        });
    }
    let known = REASONS
        .iter()
        .find(|row| i32::from(row.1) == message.reason)
        .map(|row| row.0);
    Ok(Gap {
        epoch: message.epoch.map(Epoch),
        first: Seq(message.first),
        last: message.last.map(Seq),
        reason: known.unwrap_or(GapReason::Other(u32::try_from(message.reason).unwrap_or(0))),
        is_discardable: message.discardable,
    })
}

fn keyframe_from_proto(message: &proto::FrameHeader) -> Result<Option<KeyframeHint>, WireError> {
    let (Some(distance), Some(offset)) = (message.keyframe_distance, message.keyframe_offset)
    else {
        return Ok(None);
    };
    let seq = message
        .seq
        .checked_sub(distance)
        .ok_or_else(|| WireError::Field {
            field: "keyframe_distance",
            found: distance.to_string(),
            expected: "at most the seq",
        })?;
    Ok(Some(KeyframeHint {
        seq: Seq(seq),
        offset,
    }))
}

fn batch_to_proto(batch: &Batch) -> proto::Batch {
    proto::Batch {
        count: batch.count,
        last_seq: batch.last_seq.0,
        content_type: batch.content_type.clone(),
    }
}

fn batch_from_proto(message: proto::Batch) -> Batch {
    Batch {
        count: message.count,
        last_seq: Seq(message.last_seq),
        content_type: message.content_type,
    }
}

fn chunk_to_proto(chunk: &Chunk) -> proto::Chunk {
    proto::Chunk {
        index: chunk.index,
        count: chunk.count,
        total_bytes: chunk.total_bytes,
        total_crc32c: chunk.total_crc32c,
        content_type: chunk.content_type.clone(),
    }
}

fn chunk_from_proto(message: proto::Chunk) -> Chunk {
    Chunk {
        index: message.index,
        count: message.count,
        total_bytes: message.total_bytes,
        total_crc32c: message.total_crc32c,
        content_type: message.content_type,
    }
}

fn seal_to_proto(seal: &Seal) -> proto::Seal {
    proto::Seal {
        algorithm: seal.algorithm,
        key_id: seal.key_id.clone(),
        nonce: seal.nonce.clone(),
        content_type: seal.content_type.clone(),
    }
}

fn seal_from_proto(message: proto::Seal) -> Result<Seal, WireError> {
    let longest = message.key_id.len().max(message.nonce.len());
    if longest > MAX_SEAL_BYTES {
        let limit = MAX_SEAL_BYTES as u64;
        return Err(WireError::TooLarge {
            what: "a seal field",
            bytes: longest as u64,
            limit,
        });
    }
    Ok(Seal {
        algorithm: message.algorithm,
        key_id: message.key_id,
        nonce: message.nonce,
        content_type: message.content_type,
    })
}
