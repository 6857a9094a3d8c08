//! Frames larger than a record: cutting the stored value, and putting it together again.

use crate::envelope::open_value;
use crate::excerpt::debug_with_excerpts;
use crate::record::absent;
use crate::{Chunk, FrameRecord, Header, WireError, content_type};
use bytes::Bytes;
use lumenbus_frame::FrameId;

/// Largest frame a reader puts together unless told otherwise, in bytes (an uncompressed 8K RGB
/// frame has 100 MB).
pub const MAX_FRAME_BYTES: usize = 256 << 20;
/// Longest content type accepted inside a chunk or batch header.
const MAX_CONTENT_TYPE_BYTES: usize = 128;

/// Cuts a stored value into parts of at most `part_bytes`, in order, without copying.
#[derive(Clone)]
pub struct ChunkPlan {
    value: Bytes,
    content_type: String,
    part_bytes: usize,
    count: u32,
    next: u32,
}

debug_with_excerpts!(ChunkPlan { content_type, part_bytes, count, next } excerpts { value });

impl ChunkPlan {
    /// `content_type` is that of the whole value. An empty value makes one empty part.
    #[must_use]
    pub fn new(value: Bytes, content_type: &str, part_bytes: usize) -> Self {
        let most_parts = u32::MAX as usize;
        let part_bytes = part_bytes.max(value.len().div_ceil(most_parts)).max(1);
        let count = Self::parts_of(value.len(), part_bytes);
        Self { value, content_type: content_type.to_owned(), part_bytes, count, next: 0 }
    }

    /// How many parts of at most `part_bytes` a value of this length makes.
    #[must_use]
    pub fn parts_of(value_bytes: usize, part_bytes: usize) -> u32 {
        let parts = value_bytes.div_ceil(part_bytes.max(1)).max(1);
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// How many parts there are in all.
    #[must_use]
    pub fn parts(&self) -> u32 {
        self.count
    }

    fn chunk(&self, index: u32) -> Chunk {
        if index > 0 {
            return Chunk { index, ..Chunk::default() };
        }
        Chunk {
            index,
            count: self.count,
            total_bytes: self.value.len() as u64,
            total_crc32c: crc32c::crc32c(&self.value),
            content_type: self.content_type.clone(),
        }
    }
}

impl Iterator for ChunkPlan {
    type Item = (Chunk, Bytes);

    fn next(&mut self) -> Option<(Chunk, Bytes)> {
        if self.next == self.count {
            return None;
        }
        let start = self.next as usize * self.part_bytes;
        let end = self.value.len().min(start.saturating_add(self.part_bytes));
        let chunk = self.chunk(self.next);
        self.next += 1;
        Some((chunk, self.value.slice(start..end)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.count - self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for ChunkPlan {}

impl Chunk {
    /// What can be checked of one chunk alone.
    pub(crate) fn check(&self) -> Result<(), WireError> {
        let wrong = |field, found: String, expected| Err(WireError::Field { field, found, expected });
        if self.index == 0 && self.count == 0 {
            return wrong("chunk.count", "0".to_owned(), "at least 1 on chunk 0");
        }
        if self.count > 0 && self.index >= self.count {
            return wrong("chunk.index", self.index.to_string(), "below chunk.count");
        }
        if u64::from(self.count) > self.total_bytes.max(1) {
            let expected = "at most chunk.total_bytes: no part is empty";
            return wrong("chunk.count", self.count.to_string(), expected);
        }
        if self.index == 0 { check_inner_content_type(&self.content_type) } else { Ok(()) }
    }
}

/// What may be chunked: frames in any envelope, sealed or not.
fn check_inner_content_type(found: &str) -> Result<(), WireError> {
    let is_record_kind = found.starts_with(content_type::PREFIX)
        && ![
            content_type::SEALED,
            content_type::ENVELOPE_PROTOBUF,
            content_type::ENVELOPE_MSGPACK,
            content_type::ENVELOPE_JSON,
        ]
        .contains(&found);
    if found.is_empty() || found.len() > MAX_CONTENT_TYPE_BYTES || is_record_kind {
        let found = found.chars().take(64).collect();
        let expected = "the content type of a frame";
        return Err(WireError::Field { field: "chunk.content_type", found, expected });
    }
    Ok(())
}

/// Puts the chunks of one stream's frames together, one frame at a time.
///
/// Memory grows with the bytes received (at most twice them), never with the totals a header claims.
#[derive(Debug)]
pub struct ChunkAssembler {
    max_frame_bytes: usize,
    open: Option<Open>,
}

struct Open {
    header: Header,
    header_bytes: Bytes,
    chunk: Chunk,
    total_bytes: usize,
    first_offset: u64,
    next_index: u32,
    held: Vec<u8>,
}

debug_with_excerpts!(Open { header, chunk, first_offset, next_index } excerpts { held });

/// A frame of which chunks are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFrame {
    /// Which frame.
    pub id: FrameId,
    /// Offset of its chunk 0.
    pub first_offset: u64,
    /// Bytes received of it so far.
    pub bytes_held: usize,
}

/// What a chunk led to.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an answer, taken apart at once and never stored; a box would be an allocation per frame"
)]
pub enum Assembled {
    /// More are to come.
    Pending,
    /// This chunk is already held; nothing changed.
    Repeated,
    /// Its frame's chunk 0 was not seen; nothing changed.
    Orphan,
    /// The frame is whole, and no longer held here.
    Complete {
        /// The frame; its `header_bytes` are those of chunk 0, or of the envelope.
        record: FrameRecord,
        /// Offset of its chunk 0.
        first_offset: u64,
    },
    /// The frame cannot become whole; what was held of it is gone.
    Broken {
        /// Which frame.
        id: FrameId,
        /// Why.
        error: WireError,
    },
}

impl ChunkAssembler {
    /// An assembler for one stream; a frame of more than `max_frame_bytes` is refused at its chunk 0.
    #[must_use]
    pub fn new(max_frame_bytes: usize) -> Self {
        Self { max_frame_bytes, open: None }
    }

    /// The frame under way.
    #[must_use]
    pub fn open(&self) -> Option<OpenFrame> {
        self.open.as_ref().map(Open::summary)
    }

    /// Gives the frame under way up; to be called at the stream's next record that is not one of its
    /// chunks.
    pub fn close(&mut self) -> Option<OpenFrame> {
        self.open.take().map(|open| open.summary())
    }

    /// Takes the next chunk of the stream in log order; `offset` is that of its record.
    ///
    /// A chunk 0 of another frame than the one under way replaces it: [`close`](Self::close) first,
    /// to learn what was lost.
    #[expect(clippy::needless_pass_by_value, reason = "the part is copied and must not be held any longer")]
    pub fn push(&mut self, header: Header, header_bytes: Bytes, offset: u64, part: Bytes) -> Assembled {
        let id = header.id;
        let Some(index) = header.chunk.as_ref().map(|chunk| chunk.index) else {
            return Assembled::Broken { id, error: absent("chunk") };
        };
        match &mut self.open {
            Some(open) if open.header.id == id && index < open.next_index => Assembled::Repeated,
            Some(open) if open.header.id == id => match open.append(&header, &part) {
                Ok(()) => self.finish_when_whole(),
                Err(error) => self.give_up(id, error),
            },
            _ if index > 0 => Assembled::Orphan,
            _ => match Open::begin(header, header_bytes, offset, self.max_frame_bytes) {
                Ok(open) => self.first_part(open, &part),
                Err(error) => self.give_up(id, error),
            },
        }
    }

    fn first_part(&mut self, mut open: Open, part: &Bytes) -> Assembled {
        let id = open.header.id;
        match open.take(part) {
            Ok(()) => {
                self.open = Some(open);
                self.finish_when_whole()
            }
            Err(error) => self.give_up(id, error),
        }
    }

    fn give_up(&mut self, id: FrameId, error: WireError) -> Assembled {
        self.open = None;
        Assembled::Broken { id, error }
    }

    fn finish_when_whole(&mut self) -> Assembled {
        let Some(open) = self.open.take_if(|open| open.next_index == open.chunk.count) else {
            return Assembled::Pending;
        };
        let (id, first_offset) = (open.header.id, open.first_offset);
        match open.finish() {
            Ok(record) => Assembled::Complete { record, first_offset },
            Err(error) => Assembled::Broken { id, error },
        }
    }
}

impl Open {
    fn begin(
        mut header: Header,
        header_bytes: Bytes,
        first_offset: u64,
        max_frame_bytes: usize,
    ) -> Result<Self, WireError> {
        let chunk = header.chunk.take().ok_or_else(|| absent("chunk"))?;
        chunk.check()?;
        let (bytes, limit) = (chunk.total_bytes, max_frame_bytes as u64);
        let total_bytes = usize::try_from(bytes).ok().filter(|total| *total <= max_frame_bytes);
        let too_large = || WireError::TooLarge { what: "a chunked frame", bytes, limit };
        Ok(Self {
            total_bytes: total_bytes.ok_or_else(too_large)?,
            header,
            header_bytes,
            chunk,
            first_offset,
            next_index: 0,
            held: Vec::new(),
        })
    }

    fn summary(&self) -> OpenFrame {
        OpenFrame { id: self.header.id, first_offset: self.first_offset, bytes_held: self.held.len() }
    }

    /// A later chunk: its index must be the next, and what it repeats of chunk 0 must be the same.
    fn append(&mut self, header: &Header, part: &Bytes) -> Result<(), WireError> {
        let chunk = header.chunk.as_ref().ok_or_else(|| absent("chunk"))?;
        if chunk.index != self.next_index || header.stream != self.header.stream {
            let found = format!("{} after {} parts", chunk.index, self.next_index);
            let expected = "the next index of the same stream";
            return Err(WireError::Field { field: "chunk.index", found, expected });
        }
        let repeats = |own: u64, first: u64| own == 0 || own == first;
        let is_same = repeats(chunk.count.into(), self.chunk.count.into())
            && repeats(chunk.total_bytes, self.chunk.total_bytes)
            && repeats(chunk.total_crc32c.into(), self.chunk.total_crc32c.into())
            && (chunk.content_type.is_empty() || chunk.content_type == self.chunk.content_type);
        if !is_same {
            let found = format!("different on chunk {}", chunk.index);
            let expected = "absent, or the same as on chunk 0";
            return Err(WireError::Field { field: "chunk", found, expected });
        }
        self.take(part)
    }

    fn take(&mut self, part: &Bytes) -> Result<(), WireError> {
        let left = self.total_bytes - self.held.len();
        let is_last = self.next_index + 1 == self.chunk.count;
        let fits = if is_last { part.len() == left } else { part.len() < left && !part.is_empty() };
        if !fits {
            let found = format!("{} bytes in part {}", part.len(), self.next_index);
            let expected = "parts that are not empty and together have chunk.total_bytes";
            return Err(WireError::Field { field: "chunk.total_bytes", found, expected });
        }
        // Doubling up to the total: never more than twice what has arrived.
        let needed = part.len().max(self.held.len()).min(left);
        if self.held.capacity() - self.held.len() < part.len() {
            self.held.reserve_exact(needed);
        }
        self.held.extend_from_slice(part);
        self.next_index += 1;
        Ok(())
    }

    fn finish(self) -> Result<FrameRecord, WireError> {
        let mut header = self.header;
        let whole_crc32c = Some(self.chunk.total_crc32c);
        crate::record::check_crc("a frame put together from chunks", whole_crc32c, &self.held)?;
        // Chunk 0's own checksum is over its part.
        header.payload_crc32c = None;
        let opened = (header, self.header_bytes);
        let mut record = open_value(&self.chunk.content_type, Some(opened), self.held.into())?;
        record.header.payload_crc32c = record.header.payload_crc32c.or(whole_crc32c);
        Ok(record)
    }
}
