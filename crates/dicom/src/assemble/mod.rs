//! Puts an object together again: header, chunks, tail, each checked, and all of it against both checksums.
//!
//! Nothing is written for a record that contradicts itself. What was written is the object only when
//! [`Assembly::finish`] says so: a file gets its name then.

use crate::DicomError;
use crate::record::{ChunkHeader, Metadata, ObjectId, Pixels};
use lumenbus_sha256::Sha256;
use std::io::Write;

/// One object while its chunks come, in order.
#[derive(Debug)]
pub struct Assembly<'a, W> {
    metadata: &'a Metadata,
    out: W,
    next: usize,
    /// Where the next chunk begins in the blob.
    offset: u64,
    file: Sha256,
    pixels: Sha256,
}

impl<'a, W: Write> Assembly<'a, W> {
    /// Checks the record and writes the header.
    ///
    /// # Errors
    /// What [`Metadata::check`] says, with nothing written; [`DicomError::Write`].
    pub fn begin(metadata: &'a Metadata, out: W) -> Result<Self, DicomError> {
        metadata.check()?;
        let mut assembly = Self { metadata, out, next: 0, offset: 0, file: Sha256::new(), pixels: Sha256::new() };
        assembly.file.update(&metadata.header);
        assembly.write(&metadata.header)?;
        Ok(assembly)
    }

    /// Index of the chunk that is expected next; none when all came.
    #[must_use]
    pub fn next_chunk(&self) -> Option<u32> {
        (self.next < self.metadata.chunks.len()).then(|| index(self.next))
    }

    /// Takes the next chunk. False for one that came before: it is ignored.
    ///
    /// # Errors
    /// [`DicomError::WrongChunk`] for a later one or another object's, [`DicomError::Chunk`] for one that is not what
    /// the metadata says; nothing of it was written then, and the right one may still come. [`DicomError::Write`].
    pub fn push(&mut self, header: &ChunkHeader, value: &[u8]) -> Result<bool, DicomError> {
        let object = self.metadata.object_id;
        let expected = index(self.next);
        let is_mine = header.object_id == object;
        if is_mine && header.index < expected {
            return Ok(false);
        }
        let wrong = |what| DicomError::Chunk { object, index: header.index, what };
        let Some(listed) = self.metadata.chunks.get(self.next).filter(|_| is_mine && header.index == expected) else {
            let (found_object, found) = (header.object_id, header.index);
            return Err(DicomError::WrongChunk { object, expected, found_object, found });
        };
        if header.offset != self.offset {
            return Err(wrong("it belongs elsewhere in the object"));
        }
        if value.len() != listed.length as usize {
            return Err(wrong("its length is not the one in the metadata"));
        }
        let crc32c = crc32c::crc32c(value);
        if crc32c != listed.crc32c || crc32c != header.crc32c {
            return Err(wrong("the CRC-32C of its bytes differs"));
        }
        let pixels = self.metadata.pixels.as_ref();
        let (pixels, tail) = value.split_at(pixels.map_or(0, |pixels| pixels_in(pixels, self.offset, value)));
        self.file.update_both(&mut self.pixels, pixels);
        self.file.update(tail);
        self.next += 1;
        self.offset += u64::from(listed.length);
        self.write(value)?;
        Ok(true)
    }

    /// Writes the tail and compares both checksums; returns the output, not flushed.
    ///
    /// # Errors
    /// [`DicomError::MissingChunks`], [`DicomError::Checksum`] or [`DicomError::Write`]: what was written is not the
    /// object.
    pub fn finish(mut self) -> Result<W, DicomError> {
        let object = self.metadata.object_id;
        if let Some(first_missing) = self.next_chunk() {
            let last_missing = index(self.metadata.chunks.len() - 1);
            return Err(DicomError::MissingChunks { object, first_missing, last_missing });
        }
        self.file.update(&self.metadata.tail);
        self.write(&self.metadata.tail)?;
        let Self { metadata, out, file, pixels, .. } = self;
        compare(file, &metadata.file_sha256, "the file", object)?;
        if let Some(expected) = &metadata.pixels {
            compare(pixels, &expected.sha256, "the pixels", object)?;
        }
        Ok(out)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DicomError> {
        self.out.write_all(bytes).map_err(|source| DicomError::Write { object: self.metadata.object_id, source })
    }
}

/// How much of a chunk is the pixel element's value; the rest is a large tail.
fn pixels_in(pixels: &Pixels, offset: u64, value: &[u8]) -> usize {
    let left = usize::try_from(pixels.length.saturating_sub(offset)).unwrap_or(usize::MAX);
    value.len().min(left)
}

fn compare(hash: Sha256, expected: &[u8; 32], part: &'static str, object: ObjectId) -> Result<(), DicomError> {
    if hash.finalize() == *expected { Ok(()) } else { Err(DicomError::Checksum { object, part }) }
}

/// A record lists at most 2¹⁸ chunks.
fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
