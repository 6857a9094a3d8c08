//! How header and payload become one record's value.

use crate::excerpt::debug_with_excerpts;
use crate::fields::Fields;
use crate::record::{absent, check_crc, check_is_frame, unknown_content_type};
use crate::{FrameRecord, Header, WireError, content_type, json, proto};
use bytes::Bytes;
use lumenbus_frame::{Codec, UnknownName};
use prost::Message;
use std::fmt;
use std::str::FromStr;

/// What a publisher makes of header and payload; a reader recognises each by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Envelope {
    /// The value is the payload itself; the header travels in the record header `lb`.
    #[default]
    Native,
    /// One Protobuf message, `FrameEnvelope`.
    Protobuf,
    /// One MessagePack map.
    Msgpack,
    /// One JSON object, the payload in Base64.
    Json,
}

/// Where the header of a wrapped frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderPlace {
    /// To be written as the record header `lb`.
    Record,
    /// Inside the value; `lb` is written only when the value is chunked.
    Value,
}

/// A frame as a record's content type and value.
#[derive(Clone)]
pub struct Wrapped {
    /// For the record header `content-type`.
    pub content_type: &'static str,
    /// The record's value.
    pub value: Bytes,
    /// Whether `lb` has to be written beside it.
    pub header_place: HeaderPlace,
}

debug_with_excerpts!(Wrapped { content_type, header_place } excerpts { value });

impl Envelope {
    const NAMES: [(Self, &'static str); 4] =
        [(Self::Native, "native"), (Self::Protobuf, "protobuf"), (Self::Msgpack, "msgpack"), (Self::Json, "json")];

    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|row| row.0 == self).expect("every envelope has a row").1
    }

    /// Sets `header.payload_crc32c` to that of `payload` and puts both together.
    ///
    /// `native` shares the payload; the others copy it once.
    #[must_use]
    pub fn wrap(self, header: &mut Header, codec: Codec, payload: &Bytes) -> Wrapped {
        header.payload_crc32c = Some(crc32c::crc32c(payload));
        let inner = codec.content_type();
        let (content_type, value) = match self {
            Self::Native => {
                let header_place = HeaderPlace::Record;
                return Wrapped { content_type: inner, value: payload.clone(), header_place };
            }
            Self::Protobuf => (content_type::ENVELOPE_PROTOBUF, to_protobuf(header, inner, payload)),
            Self::Msgpack => (content_type::ENVELOPE_MSGPACK, json::to_msgpack(header, inner, payload)),
            Self::Json => (content_type::ENVELOPE_JSON, json::to_json(header, inner, payload)),
        };
        Wrapped { content_type, value, header_place: HeaderPlace::Value }
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Envelope {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let row = Self::NAMES.iter().find(|row| row.1 == name);
        row.map(|row| row.0).ok_or_else(|| UnknownName {
            what: "envelope",
            name: name.chars().take(64).collect(),
            known: Self::NAMES.map(|row| row.1).join(", "),
        })
    }
}

/// Opens a whole value: of a record, or put together from chunks.
///
/// `header` is the decoded record header `lb` with its bytes; envelopes bring their own, and both
/// must then be of the same frame.
///
/// # Errors
/// As [`open_record`](crate::open_record).
pub fn open_value(content_type: &str, header: Option<(Header, Bytes)>, value: Bytes) -> Result<FrameRecord, WireError> {
    let record = match content_type {
        content_type::ENVELOPE_PROTOBUF => from_protobuf(&value)?,
        content_type::ENVELOPE_MSGPACK => json::from_msgpack(&value)?,
        content_type::ENVELOPE_JSON => json::from_json(&value)?,
        content_type::SEALED => return Err(sealed(header)),
        plain => return open_native(plain, header, value),
    };
    check_is_frame(&record.header)?;
    check_same_frame(header.map(|(outer, _)| outer), &record.header)?;
    check_crc("a payload in its envelope", record.header.payload_crc32c, &record.payload)?;
    Ok(record)
}

fn open_native(content_type: &str, header: Option<(Header, Bytes)>, payload: Bytes) -> Result<FrameRecord, WireError> {
    let codec = codec_of(content_type)?;
    let (header, header_bytes) = header.ok_or(WireError::Foreign { header: "lb" })?;
    check_is_frame(&header)?;
    check_crc("a frame", header.payload_crc32c, &payload)?;
    Ok(FrameRecord { header, header_bytes, codec, payload })
}

fn codec_of(content_type: &str) -> Result<Codec, WireError> {
    Codec::from_content_type(content_type).ok_or_else(|| unknown_content_type(content_type))
}

fn sealed(header: Option<(Header, Bytes)>) -> WireError {
    let Some((header, _)) = header else {
        return WireError::Foreign { header: "lb" };
    };
    match header.seal {
        Some(seal) => WireError::Sealed { algorithm: seal.algorithm },
        None => absent("seal"),
    }
}

/// A chunked envelope has the header outside and inside; a value glued to another frame's header
/// must not pass.
fn check_same_frame(outer: Option<Header>, inner: &Header) -> Result<(), WireError> {
    let Some(outer) = outer else { return Ok(()) };
    if outer.id == inner.id && outer.stream == inner.stream {
        return Ok(());
    }
    let found = format!("{}/{}", inner.id.epoch, inner.id.seq);
    let expected = "the same stream, epoch and seq in the envelope as in the record's `lb` header";
    Err(WireError::Field { field: "epoch, seq", found, expected })
}

fn to_protobuf(header: &Header, content_type: &str, payload: &Bytes) -> Bytes {
    let message = proto::FrameEnvelope {
        header: Some(header.to_proto()),
        content_type: content_type.to_owned(),
        payload: payload.clone(),
    };
    message.encode_to_vec().into()
}

/// Takes the message apart without decoding it, so that the header's own bytes stay as they are and
/// the payload is a slice.
fn from_protobuf(value: &Bytes) -> Result<FrameRecord, WireError> {
    let mut parts: [Option<&[u8]>; 3] = [None; 3];
    for field in Fields::new(value) {
        let (tag, content) = field.map_err(|source| WireError::Protobuf { source })?;
        let Some(part) = (tag as usize).checked_sub(1).and_then(|index| parts.get_mut(index)) else {
            continue;
        };
        if content.is_none() || part.is_some() {
            let found = format!("field {tag} twice or not as bytes");
            let expected = "each of header, content_type and payload once";
            return Err(WireError::Field { field: "FrameEnvelope", found, expected });
        }
        *part = content;
    }
    let [header, content_type, payload] = parts;
    let header_bytes = value.slice_ref(header.ok_or_else(|| absent("header"))?);
    let content_type = content_type.and_then(|text| std::str::from_utf8(text).ok());
    let content_type = content_type.ok_or_else(|| absent("content_type"))?;
    Ok(FrameRecord {
        header: Header::decode(&header_bytes)?,
        header_bytes,
        codec: codec_of(content_type)?,
        // Proto3 leaves an empty field out.
        payload: payload.map_or_else(Bytes::new, |payload| value.slice_ref(payload)),
    })
}
