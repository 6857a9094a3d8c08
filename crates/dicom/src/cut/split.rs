//! An object as chunks and the metadata that commits them.

use super::chunks::Chunker;
use super::{Cutter, Input, Part, SplitLimits};
use crate::record::{ChunkHeader, ChunkRef, Key, Metadata, ObjectId};
use crate::syntax;
use bytes::Bytes;

/// A record of `dicom_pixels`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// From 0.
    pub index: u32,
    /// Where it begins in the blob, in bytes.
    pub offset: u64,
    /// The record's value: at most [`SplitLimits::chunk_bytes`], never none.
    pub bytes: Bytes,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
    /// The record's key, the same for all records of the object.
    pub key: Key,
    /// Whether compressing the record is worth it.
    pub compressible: bool,
}

impl Chunk {
    /// The value of the record's header `lbd`, as its fields.
    #[must_use]
    pub fn header(&self, object_id: ObjectId) -> ChunkHeader {
        ChunkHeader { object_id, index: self.index, offset: self.offset, crc32c: self.crc32c }
    }
}

/// Makes chunks of an object's blob while it comes, and its metadata at the end.
#[derive(Debug)]
pub struct Splitter {
    object_id: ObjectId,
    cutter: Cutter,
    chunker: Chunker,
    made: Made,
}

/// What the chunks made so far have in common.
#[derive(Debug, Default)]
struct Made {
    key: Option<Key>,
    compressible: bool,
    chunks: Vec<ChunkRef>,
    bytes: u64,
}

impl Made {
    fn take<E>(
        &mut self,
        object_id: ObjectId,
        chunker: &mut Chunker,
        part: Part<'_>,
        sink: &mut impl FnMut(Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Part::Head { identity, transfer_syntax } = part {
            self.key = Some(Key::of(identity.sop_instance.as_deref(), object_id));
            self.compressible = syntax::is_compressible(transfer_syntax);
        }
        chunker.push(part, &mut |bytes| sink(self.chunk(object_id, bytes)))
    }

    fn chunk(&mut self, object_id: ObjectId, bytes: Bytes) -> Chunk {
        let key = self.key.get_or_insert_with(|| Key::of(None, object_id)).clone();
        // A chunk has less than a record's bytes, and nobody sends 2³² of them.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let index = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let crc32c = crc32c::crc32c(&bytes);
        let offset = self.bytes;
        self.bytes += u64::from(length);
        self.chunks.push(ChunkRef { kafka_offset: -1, length, crc32c });
        Chunk { index, offset, bytes, crc32c, key, compressible: self.compressible }
    }
}

impl Splitter {
    /// For one object.
    #[must_use]
    pub fn new(object_id: ObjectId, input: Input, limits: SplitLimits) -> Self {
        let chunker = Chunker::new(limits.checked().chunk_bytes);
        Self { object_id, cutter: Cutter::new(input, limits), chunker, made: Made::default() }
    }

    /// The key of the object's records; known before the first chunk.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.made.key.as_ref()
    }

    /// Whether compressing the chunks is worth it; known with the key.
    #[must_use]
    pub fn is_compressible(&self) -> bool {
        self.made.compressible
    }

    /// Takes the next bytes of the object, as many as there are; each chunk that is full goes to `sink` before the next
    /// is begun.
    ///
    /// # Errors
    /// What `sink` returns; the splitter cannot be used any more then.
    pub fn push<E>(&mut self, piece: &[u8], sink: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        let Self { object_id, cutter, chunker, made } = self;
        cutter.push(piece, &mut |part| made.take(*object_id, chunker, part, sink))
    }

    /// The object is complete: the last chunk goes to `sink`, and what commits the object is returned. Its chunks have
    /// no offsets yet ([`Metadata::set_offsets`]).
    ///
    /// # Errors
    /// What `sink` returns.
    pub fn finish<E>(self, sink: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<Metadata, E> {
        let Self { object_id, cutter, mut chunker, mut made } = self;
        let cut = cutter.finish(&mut |part| made.take(object_id, &mut chunker, part, sink))?;
        chunker.finish(&mut |bytes| sink(made.chunk(object_id, bytes)))?;
        Ok(cut.into_metadata(object_id, made.chunks))
    }
}
