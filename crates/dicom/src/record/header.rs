//! The record header `lbd`: fixed fields, big endian, so that one line of any language reads it.

use super::ObjectId;
use crate::DicomError;

/// Name of the record header.
pub const HEADER: &str = "lbd";
/// The version that this build writes and reads.
pub const HEADER_VERSION: u8 = 1;
const CHUNK_KIND: u8 = 1;
const PART_KIND: u8 = 2;

/// `lbd` of a record of `dicom_pixels`: `>BB16sIQI` in Python's `struct`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Whose chunk.
    pub object_id: ObjectId,
    /// From 0.
    pub index: u32,
    /// Where the chunk begins in the blob, in bytes.
    pub offset: u64,
    /// CRC-32C of the record's value.
    pub crc32c: u32,
}

/// `lbd` of a record of `dicom_metadata`: `>BB16sIIIIQ`. A record that is not cut is part 0 of 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartHeader {
    /// Whose metadata.
    pub object_id: ObjectId,
    /// From 0; the last part commits the object.
    pub index: u32,
    /// How many parts there are.
    pub count: u32,
    /// Bytes of all parts together.
    pub total_bytes: u32,
    /// CRC-32C of this record's value.
    pub crc32c: u32,
    /// CRC-64-AVRO of the schema.
    pub fingerprint: u64,
}

/// What the header of a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordHeader {
    /// Of `dicom_pixels`.
    Chunk(ChunkHeader),
    /// Of `dicom_metadata`.
    Part(PartHeader),
}

impl ChunkHeader {
    /// Length in bytes.
    pub const BYTES: usize = 34;

    /// The header's value.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = HEADER_VERSION;
        bytes[1] = CHUNK_KIND;
        bytes[2..18].copy_from_slice(self.object_id.as_bytes());
        bytes[18..22].copy_from_slice(&self.index.to_be_bytes());
        bytes[22..30].copy_from_slice(&self.offset.to_be_bytes());
        bytes[30..34].copy_from_slice(&self.crc32c.to_be_bytes());
        bytes
    }

    /// Whether these bytes are the chunk's.
    ///
    /// # Errors
    /// [`DicomError::Chunk`].
    pub fn check(&self, value: &[u8]) -> Result<(), DicomError> {
        if crc32c::crc32c(value) == self.crc32c {
            return Ok(());
        }
        Err(DicomError::Chunk { object: self.object_id, index: self.index, what: "the CRC-32C of its bytes differs" })
    }
}

impl PartHeader {
    /// Length in bytes.
    pub const BYTES: usize = 42;

    /// The header's value.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = HEADER_VERSION;
        bytes[1] = PART_KIND;
        bytes[2..18].copy_from_slice(self.object_id.as_bytes());
        for (place, number) in [self.index, self.count, self.total_bytes, self.crc32c].into_iter().enumerate() {
            let at = 18 + 4 * place;
            bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        bytes[34..42].copy_from_slice(&self.fingerprint.to_be_bytes());
        bytes
    }
}

impl RecordHeader {
    /// Reads the value of `lbd`.
    ///
    /// # Errors
    /// [`DicomError::HeaderVersion`] for another version, [`DicomError::HeaderForm`] for what no version-1 header is.
    pub fn decode(bytes: &[u8]) -> Result<Self, DicomError> {
        let form = DicomError::HeaderForm { kind: bytes.get(1).copied().unwrap_or(0), length: bytes.len() };
        match *bytes {
            [HEADER_VERSION, CHUNK_KIND, ref fields @ ..] => chunk(fields).ok_or(form),
            [HEADER_VERSION, PART_KIND, ref fields @ ..] => part(fields).ok_or(form),
            [] | [HEADER_VERSION, ..] => Err(form),
            [found, ..] => Err(DicomError::HeaderVersion { found, supported: HEADER_VERSION }),
        }
    }

    /// Whose record it is.
    #[must_use]
    pub fn object_id(&self) -> ObjectId {
        match self {
            Self::Chunk(chunk) => chunk.object_id,
            Self::Part(part) => part.object_id,
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (&taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(taken)
}

fn chunk(mut bytes: &[u8]) -> Option<RecordHeader> {
    let bytes = &mut bytes;
    let header = ChunkHeader {
        object_id: ObjectId::from_bytes(take(bytes)?),
        index: u32::from_be_bytes(take(bytes)?),
        offset: u64::from_be_bytes(take(bytes)?),
        crc32c: u32::from_be_bytes(take(bytes)?),
    };
    bytes.is_empty().then_some(RecordHeader::Chunk(header))
}

fn part(mut bytes: &[u8]) -> Option<RecordHeader> {
    let bytes = &mut bytes;
    let header = PartHeader {
        object_id: ObjectId::from_bytes(take(bytes)?),
        index: u32::from_be_bytes(take(bytes)?),
        count: u32::from_be_bytes(take(bytes)?),
        total_bytes: u32::from_be_bytes(take(bytes)?),
        crc32c: u32::from_be_bytes(take(bytes)?),
        fingerprint: u64::from_be_bytes(take(bytes)?),
    };
    bytes.is_empty().then_some(RecordHeader::Part(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: ChunkHeader =
        ChunkHeader { object_id: ObjectId::from_bytes([9; 16]), index: 3, offset: 1 << 40, crc32c: 0xDEAD_BEEF };
    const PART: PartHeader = PartHeader {
        object_id: ObjectId::from_bytes([8; 16]),
        index: 1,
        count: 2,
        total_bytes: 1 << 20,
        crc32c: 7,
        fingerprint: u64::MAX,
    };

    #[test]
    fn headers_come_back() {
        assert_eq!(RecordHeader::decode(&CHUNK.to_bytes()).unwrap(), RecordHeader::Chunk(CHUNK));
        assert_eq!(RecordHeader::decode(&PART.to_bytes()).unwrap(), RecordHeader::Part(PART));
    }

    #[test]
    fn other_versions_and_forms_are_told_apart() {
        let mut newer = CHUNK.to_bytes();
        newer[0] = 2;
        let version = RecordHeader::decode(&newer).unwrap_err();
        assert!(matches!(version, DicomError::HeaderVersion { found: 2, supported: 1 }), "{version}");
        for form in [&CHUNK.to_bytes()[..33], &[&CHUNK.to_bytes()[..], &[0]].concat(), &[1, 3], &[1], &[]] {
            let error = RecordHeader::decode(form).unwrap_err();
            assert!(matches!(error, DicomError::HeaderForm { .. }), "{form:?}: {error}");
        }
    }
}
