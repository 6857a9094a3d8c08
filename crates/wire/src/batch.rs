//! Several small frames in one record.
//!
//! Value: version byte 1; varint count; count × (varint header length, header, varint payload
//! length); the payloads one after the other. Varints as in Protobuf.

use crate::excerpt::debug_with_excerpts;
use crate::record::{check_crc, check_is_frame, unknown_content_type};
use crate::{Batch, Header, MAX_HEADER_BYTES, WireError};
use bytes::{Bytes, BytesMut};
use lumenbus_frame::Codec;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// Most frames in one batch.
pub const MAX_BATCH_FRAMES: usize = 1024;
/// First byte of a batch's value.
const BATCH_VERSION: u8 = 1;

/// A frame out of a batch.
#[derive(Clone)]
pub struct BatchItem {
    /// The decoded header.
    pub header: Header,
    /// The header as stored.
    pub header_bytes: Bytes,
    /// How the payload is coded.
    pub codec: Codec,
    /// The coded bytes: a slice of the record's value.
    pub payload: Bytes,
}

/// Collects frames of one stream for a batch record.
#[derive(Default)]
pub struct BatchWriter {
    heads: BytesMut,
    payloads: Vec<Bytes>,
    payload_bytes: usize,
    last: Option<(Header, Codec)>,
}

debug_with_excerpts!(BatchItem { header, codec } excerpts { header_bytes, payload });
debug_with_excerpts!(BatchWriter { payload_bytes, last } excerpts { heads });

impl BatchWriter {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame and sets its `payload_crc32c`.
    ///
    /// # Errors
    /// [`WireError::Batch`] when the frame cannot be in this batch, which then stays as it was: finish
    /// it and begin another.
    pub fn push(&mut self, header: &mut Header, codec: Codec, payload: &Bytes) -> Result<(), WireError> {
        check_is_frame(header)?;
        if self.payloads.len() == MAX_BATCH_FRAMES {
            return Err(WireError::Batch { what: "it is full (1024 frames)" });
        }
        if let Some((last, last_codec)) = &self.last {
            check_successor(last, header)?;
            if *last_codec != codec {
                return Err(WireError::Batch { what: "its frames differ in codec" });
            }
        }
        header.payload_crc32c = Some(crc32c::crc32c(payload));
        let message = header.to_bytes();
        encode_varint(message.len() as u64, &mut self.heads);
        self.heads.extend_from_slice(&message);
        encode_varint(payload.len() as u64, &mut self.heads);
        self.payload_bytes += payload.len();
        self.payloads.push(payload.clone());
        self.last = Some((Header { gaps: Vec::new(), ..header.clone() }, codec));
        Ok(())
    }

    /// Frames so far.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.payloads.len()
    }

    /// Bytes of the value as it stands.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        let count = encoded_len_varint(self.payloads.len() as u64);
        1 + count + self.heads.len() + self.payload_bytes
    }

    /// The batch field of the record's header, and the record's value; `None` when nothing was pushed.
    ///
    /// The record's own header has the id and stream of the first frame.
    #[must_use]
    pub fn finish(self) -> Option<(Batch, Bytes)> {
        let mut value = BytesMut::with_capacity(self.value_bytes());
        let (last, codec) = self.last?;
        value.extend_from_slice(&[BATCH_VERSION]);
        encode_varint(self.payloads.len() as u64, &mut value);
        value.extend_from_slice(&self.heads);
        for payload in &self.payloads {
            value.extend_from_slice(payload);
        }
        let batch = Batch {
            count: u32::try_from(self.payloads.len()).expect("at most MAX_BATCH_FRAMES"),
            last_seq: last.id.seq,
            content_type: codec.content_type().to_owned(),
        };
        Some((batch, value.freeze()))
    }
}

/// Whether `next` may follow `last` in one batch.
fn check_successor(last: &Header, next: &Header) -> Result<(), WireError> {
    let what = if next.id.epoch != last.id.epoch || next.stream != last.stream {
        "its frames are of several streams or epochs"
    } else if next.id.seq <= last.id.seq {
        "its seqs do not rise"
    } else if next.is_keyframe {
        "only its first frame may be a keyframe"
    } else {
        return Ok(());
    };
    Err(WireError::Batch { what })
}

/// Reads and checks a batch record's value against its header.
pub(crate) fn read(header: &Header, value: &Bytes) -> Result<Vec<BatchItem>, WireError> {
    let batch = header.batch.as_ref().ok_or_else(|| crate::record::absent("batch"))?;
    let codec =
        Codec::from_content_type(&batch.content_type).ok_or_else(|| unknown_content_type(&batch.content_type))?;
    let (heads, payloads_at) = read_heads(header, batch, value)?;
    let mut payloads = value.slice(payloads_at..);
    let mut items = Vec::with_capacity(heads.len());
    for (header, header_bytes, payload_bytes) in heads {
        let payload = payloads.split_to(payload_bytes);
        check_crc("a frame of a batch", header.payload_crc32c, &payload)?;
        items.push(BatchItem { header, header_bytes, codec, payload });
    }
    Ok(items)
}

type Head = (Header, Bytes, usize);

/// The heads, whose payload lengths add up to what follows them, and where that begins.
fn read_heads(header: &Header, batch: &Batch, value: &Bytes) -> Result<(Vec<Head>, usize), WireError> {
    let mut rest = Reader { value, at: 0 };
    if rest.take(1)?[0] != BATCH_VERSION {
        let found = u32::from(value[0]);
        return Err(WireError::Version { found, supported: u32::from(BATCH_VERSION) });
    }
    let count = rest.varint()?;
    if count == 0 || count > MAX_BATCH_FRAMES || count as u64 != u64::from(batch.count) {
        return Err(WireError::Batch { what: "its count is not the header's, or not 1 to 1024" });
    }
    let mut heads: Vec<Head> = Vec::new();
    let mut payload_bytes = 0_usize;
    for _ in 0..count {
        let head = rest.head()?;
        match heads.last() {
            Some(last) => check_successor(&last.0, &head.0)?,
            None => check_first(header, &head.0)?,
        }
        payload_bytes = payload_bytes.saturating_add(head.2);
        heads.push(head);
    }
    if heads.last().is_some_and(|last| last.0.id.seq != batch.last_seq) {
        return Err(WireError::Batch { what: "its last frame is not the header's last_seq" });
    }
    if payload_bytes != value.len() - rest.at {
        return Err(WireError::Batch { what: "its lengths do not add up" });
    }
    Ok((heads, rest.at))
}

fn check_first(record: &Header, first: &Header) -> Result<(), WireError> {
    if record.id == first.id && record.stream == first.stream {
        return Ok(());
    }
    Err(WireError::Batch { what: "its first frame is not the header's" })
}

struct Reader<'a> {
    value: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, bytes: usize) -> Result<Bytes, WireError> {
        if bytes > self.value.len() - self.at {
            return Err(WireError::Batch { what: "it is cut short" });
        }
        self.at += bytes;
        Ok(self.value.slice(self.at - bytes..self.at))
    }

    fn varint(&mut self) -> Result<usize, WireError> {
        let mut rest = &self.value[self.at..];
        let number = decode_varint(&mut rest).ok().and_then(|number| usize::try_from(number).ok());
        self.at = self.value.len() - rest.len();
        number.ok_or(WireError::Batch { what: "a length in it is no number" })
    }

    fn head(&mut self) -> Result<Head, WireError> {
        let header_length = self.varint()?;
        if header_length > MAX_HEADER_BYTES {
            return Err(WireError::Batch { what: "a header in it is longer than 64 KiB" });
        }
        let header_bytes = self.take(header_length)?;
        let header = Header::decode(&header_bytes)?;
        check_is_frame(&header)?;
        Ok((header, header_bytes, self.varint()?))
    }
}
