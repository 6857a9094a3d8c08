//! From a Kafka record to what it means.

use crate::envelope::open_value;
use crate::excerpt::{Excerpt, debug_with_excerpts};
use crate::{BatchItem, Control, Header, WireError, content_type};
use bytes::Bytes;
use lumenbus_frame::Codec;
use std::fmt;

/// Record header with the content type.
pub const CONTENT_TYPE_HEADER: &str = "content-type";
/// Record header with the [`Header`] in Protobuf.
pub const FRAME_HEADER: &str = "lb";
/// Record header with the [`Header`] as JSON, when asked for.
pub const JSON_HEADER: &str = "lb-json";

/// Record header with a frame's trace ([`TraceContext`](lumenbus_frame::TraceContext)), beside everything here: a reader
/// that knows nothing of traces loses nothing.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// What a consumer hands over: the two headers and the value of one record.
#[derive(Clone)]
pub struct RawRecord<'a> {
    /// Value of the header `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// Value of the header `lb`; kept as it is in [`FrameRecord::header_bytes`].
    pub header: Option<Bytes>,
    /// The record's value.
    pub value: Option<Bytes>,
}

/// A whole frame.
#[derive(Clone)]
pub struct FrameRecord {
    /// The decoded header.
    pub header: Header,
    /// The header as stored, with the fields this version does not know; empty where an envelope without the
    /// Protobuf form (msgpack, json) carried it.
    pub header_bytes: Bytes,
    /// How the payload is coded.
    pub codec: Codec,
    /// The coded bytes.
    pub payload: Bytes,
}

/// A record that carries no frame.
#[derive(Debug, Clone)]
pub struct ControlRecord {
    /// The decoded header; `header.control` is set.
    pub header: Header,
    /// What it says.
    pub control: Control,
}

/// What a record is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Opened {
    /// A frame in one record.
    Frame(FrameRecord),
    /// A part of a frame: for the [`ChunkAssembler`](crate::ChunkAssembler).
    Chunk {
        /// The decoded header; `header.chunk` is set.
        header: Header,
        /// The header as stored.
        header_bytes: Bytes,
        /// The part.
        part: Bytes,
    },
    /// Several frames in seq order.
    Batch {
        /// The batch record's own header.
        header: Header,
        /// The frames.
        items: Vec<BatchItem>,
    },
    /// Gap, end, offline, repeat or moved.
    Control(ControlRecord),
}

debug_with_excerpts!(FrameRecord { header, codec } excerpts { header_bytes, payload });

impl fmt::Debug for RawRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecord")
            .field("content_type", &self.content_type.map(Excerpt))
            .field("header", &self.header.as_deref().map(Excerpt))
            .field("value", &self.value.as_deref().map(Excerpt))
            .finish()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => f.debug_tuple("Frame").field(frame).finish(),
            Self::Chunk { header, part, .. } => {
                f.debug_struct("Chunk").field("header", header).field("part", &Excerpt(part)).finish_non_exhaustive()
            }
            Self::Batch { header, items } => {
                f.debug_struct("Batch").field("header", header).field("items", items).finish()
            }
            Self::Control(control) => f.debug_tuple("Control").field(control).finish(),
        }
    }
}

/// What a content type announces.
enum Kind {
    Plain,
    Enveloped,
    Chunk,
    Batch,
    Control,
    Sealed,
    /// Ours by its prefix, but not of this version.
    Unknown,
    Foreign,
}

fn kind_of(content_type: &str) -> Kind {
    if Codec::from_content_type(content_type).is_some() {
        return Kind::Plain;
    }
    match content_type {
        content_type::CHUNK => Kind::Chunk,
        content_type::BATCH => Kind::Batch,
        content_type::SEALED => Kind::Sealed,
        content_type::GAP | content_type::END | content_type::OFFLINE | content_type::REPEAT | content_type::MOVED => {
            Kind::Control
        }
        content_type::ENVELOPE_PROTOBUF | content_type::ENVELOPE_MSGPACK | content_type::ENVELOPE_JSON => {
            Kind::Enveloped
        }
        other if other.starts_with(content_type::PREFIX) => Kind::Unknown,
        _ => Kind::Foreign,
    }
}

/// Tells what a record is and checks it: version, lengths, checksums, and that content type and
/// header agree.
///
/// The payload is a slice of the value (JSON's is decoded from Base64). A record of another system
/// is [`WireError::Foreign`].
///
/// # Errors
/// Everything in [`WireError`]; a hostile record costs no more memory than a small multiple of its size.
pub fn open_record(record: RawRecord<'_>) -> Result<Opened, WireError> {
    let content_type = record.content_type.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let content_type = content_type.ok_or(WireError::Foreign { header: "content-type" })?;
    let kind = kind_of(content_type);
    if matches!(kind, Kind::Foreign) && record.header.is_none() {
        return Err(WireError::Foreign { header: "content-type" });
    }
    let decode = |bytes: Bytes| Header::decode(&bytes).map(|header| (header, bytes));
    let header = record.header.map(decode).transpose()?;
    let value = record.value.ok_or_else(null_value)?;
    match kind {
        Kind::Plain | Kind::Enveloped | Kind::Sealed => open_value(content_type, header, value).map(Opened::Frame),
        Kind::Unknown | Kind::Foreign => Err(unknown_content_type(content_type)),
        Kind::Chunk => open_chunk(required(header)?, value),
        Kind::Batch => open_batch(required(header)?.0, &value),
        Kind::Control => open_control(content_type, required(header)?.0, &value),
    }
}

fn null_value() -> WireError {
    let expected = "bytes, if only none: a null value would delete a key, and frames are not deleted so";
    WireError::Field { field: "value", found: "null".to_owned(), expected }
}

pub(crate) fn unknown_content_type(content_type: &str) -> WireError {
    WireError::ContentType { found: content_type.chars().take(64).collect() }
}

fn required(header: Option<(Header, Bytes)>) -> Result<(Header, Bytes), WireError> {
    header.ok_or(WireError::Foreign { header: "lb" })
}

pub(crate) fn check_crc(what: &'static str, expected: Option<u32>, bytes: &[u8]) -> Result<(), WireError> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let found = crc32c::crc32c(bytes);
    if found == expected { Ok(()) } else { Err(WireError::Checksum { what, found, expected }) }
}

/// A frame's own header says nothing of chunks, batches or control.
pub(crate) fn check_is_frame(header: &Header) -> Result<(), WireError> {
    let field = match header {
        Header { chunk: Some(_), .. } => "chunk",
        Header { batch: Some(_), .. } => "batch",
        Header { control: Some(_), .. } => "end, offline, repeat or moved",
        Header { seal: Some(_), .. } => "seal",
        _ => return Ok(()),
    };
    let expected = "absent where the content type is that of a frame";
    Err(WireError::Field { field, found: "present".to_owned(), expected })
}

fn open_chunk((header, header_bytes): (Header, Bytes), part: Bytes) -> Result<Opened, WireError> {
    let chunk = header.chunk.as_ref().ok_or_else(|| absent("chunk"))?;
    chunk.check()?;
    if header.batch.is_some() || header.control.is_some() {
        return Err(WireError::Field {
            field: "batch, end, offline, repeat or moved",
            found: "present".to_owned(),
            expected: "absent in chunks: batches and control records are never chunked",
        });
    }
    check_crc("a chunk", header.payload_crc32c, &part)?;
    Ok(Opened::Chunk { header, header_bytes, part })
}

fn open_batch(header: Header, value: &Bytes) -> Result<Opened, WireError> {
    if header.chunk.is_some() || header.control.is_some() {
        return Err(WireError::Batch { what: "its header is that of another kind of record" });
    }
    check_crc("a batch", header.payload_crc32c, value)?;
    let items = crate::batch::read(&header, value)?;
    Ok(Opened::Batch { header, items })
}

fn open_control(content_type: &str, mut header: Header, value: &Bytes) -> Result<Opened, WireError> {
    if !value.is_empty() {
        let found = format!("{} bytes", value.len());
        return Err(WireError::Field { field: "value", found, expected: "empty in a control record" });
    }
    if header.chunk.is_some() || header.batch.is_some() {
        let expected = "absent in a control record";
        return Err(WireError::Field { field: "chunk, batch", found: "present".to_owned(), expected });
    }
    let control = header.control.get_or_insert(Control::Gap).clone();
    if control.content_type() != content_type {
        return Err(WireError::Field {
            field: "content-type",
            found: content_type.to_owned(),
            expected: "the one of the header's control field",
        });
    }
    Ok(Opened::Control(ControlRecord { header, control }))
}

pub(crate) fn absent(field: &'static str) -> WireError {
    let expected = "in the header of a record with this content type";
    WireError::Field { field, found: "absent".to_owned(), expected }
}
