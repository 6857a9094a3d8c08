//! Records of `dicom_metadata` and `dicom_pixels` as bytes, and back, checked.
//!
//! [`Metadata`] is the record that commits an object, in Avro (`schema/dicom_metadata.avsc`). [`ChunkHeader`] and
//! [`PartHeader`] are the values of the record header [`HEADER`]; [`parts`] cuts encoded metadata that is too large for a
//! record, [`PartCollector`] puts it together. docs/reference/dicom-records.md describes the bytes.

mod avro;
mod decode;
mod encode;
mod header;
mod ids;
mod part;
mod schema;

pub use header::{ChunkHeader, HEADER, HEADER_VERSION, PartHeader, RecordHeader};
pub use ids::{Key, ObjectId};
pub use part::{MAX_OPEN_BYTES, MAX_OPEN_OBJECTS, Part, PartCollector, parts};
pub use schema::{FINGERPRINT, Framing, SCHEMA, SCHEMA_VERSION, fingerprint_of};

use crate::DicomError;
use crate::attributes::{Attributes, Identity};
use crate::element::{Tag, Vr};
use bytes::Bytes;

/// Topic of metadata records.
pub const METADATA_TOPIC: &str = "dicom_metadata";
/// Topic of chunks.
pub const PIXELS_TOPIC: &str = "dicom_pixels";
/// Most bytes of a record: value, key and headers.
pub const MAX_RECORD_BYTES: usize = 900 << 10;
/// Most bytes of a record's value: what key, `lbd` and a trace's header take is left free.
pub const MAX_VALUE_BYTES: usize = MAX_RECORD_BYTES - 1024;
/// Most bytes of encoded metadata.
pub const MAX_METADATA_BYTES: usize = 48 << 20;
/// Most bytes of an object's header.
pub const MAX_HEADER_BYTES: usize = 32 << 20;
/// Most bytes of an object's tail.
pub const MAX_TAIL_BYTES: usize = 4 << 20;
/// Most chunks of an object: 241 GB in full chunks.
pub const MAX_CHUNKS: usize = 1 << 18;
/// Most fragments whose lengths a record lists.
pub const MAX_FRAGMENTS: usize = 1 << 18;

/// One chunk of an object's blob, as its metadata record lists it. Its place in the blob is the sum of the lengths
/// before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// Offset of its record in the partition of [`PIXELS_TOPIC`] that has the number of the metadata's partition.
    pub kafka_offset: i64,
    /// Bytes, 1 to [`MAX_VALUE_BYTES`].
    pub length: u32,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
}

/// Why an object was not cut: all its bytes are the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// A stable code: `empty`, `not-dicom`, `header-too-large`, `too-deep`, `unparseable`; readers take others as well.
    pub code: String,
    /// Where the reason is in the file.
    pub offset: u64,
}

/// Which fragments make which frame, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// Not encapsulated: frames of equal length follow each other. The length of one in bytes; absent when the
    /// image's attributes and the value's length disagree.
    Native(Option<u64>),
    /// One frame: all fragments are its.
    Single,
    /// As many fragments as frames.
    OnePerFrame,
    /// Number of fragments of each frame, from the extended or the basic offset table.
    Counts(Vec<u32>),
    /// Several frames, and nothing says which fragments are whose.
    Unknown,
}

/// The top-level pixel element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// One of the three elements with pixels.
    pub tag: Tag,
    /// As the encoding says it.
    pub vr: Vr,
    /// Where its value begins in the file: the length of the header.
    pub offset: u64,
    /// Bytes of its value that the file has, without a sequence delimiter.
    pub length: u64,
    /// Length field of the element, absent when undefined.
    pub declared_length: Option<u32>,
    /// SHA-256 of the value.
    pub sha256: [u8; 32],
    /// Number of Frames (0028,0008), 1 where absent.
    pub frames: u64,
    /// Which bytes are which frame's.
    pub grouping: Grouping,
    /// Length of the basic offset table's value; absent when the value is not encapsulated.
    pub offset_table_length: Option<u32>,
    /// Lengths of the fragments' values in order; the first [`MAX_FRAGMENTS`] ones.
    pub fragment_lengths: Vec<u32>,
    /// How many fragments there are.
    pub fragments: u64,
}

impl Pixels {
    /// Whether the value is a sequence of fragments.
    #[must_use]
    pub fn is_encapsulated(&self) -> bool {
        self.offset_table_length.is_some()
    }

    /// Where the listed fragments' values are in the blob, as (offset, length).
    pub fn fragment_ranges(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        const ITEM: u64 = 8;
        let mut next = ITEM + u64::from(self.offset_table_length.unwrap_or(0));
        self.fragment_lengths.iter().map(move |&length| {
            let start = next + ITEM;
            next = start + u64::from(length);
            (start, length)
        })
    }
}

/// What commits an object: all its bytes but the blob, where the blob is, and the proof of both.
///
/// The file is header ‖ blob ‖ tail. The blob begins with the pixel element's value; behind the value it holds the rest
/// of the file when that is too large to be the record's tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Of this transmission.
    pub object_id: ObjectId,
    /// Bytes of the file.
    pub file_length: u64,
    /// SHA-256 of the file.
    pub file_sha256: [u8; 32],
    /// Every byte before the pixel element's value.
    pub header: Bytes,
    /// Every byte behind the blob.
    pub tail: Bytes,
    /// Where the blob is, in order.
    pub chunks: Vec<ChunkRef>,
    /// Why nothing was cut.
    pub opaque: Option<Opaque>,
    /// Of the file meta information, or what the sender was told.
    pub transfer_syntax: Option<String>,
    /// What the object calls itself.
    pub identity: Identity,
    /// The pixel element, where there is one to cut at.
    pub pixels: Option<Pixels>,
    /// The attributes of the header, or of the inflated data set.
    pub attributes: Attributes,
    /// What is irregular about the object, as stable codes (`no-preamble`, `truncated`, …).
    pub findings: Vec<String>,
}

impl Metadata {
    /// Bytes in all chunks together.
    #[must_use]
    pub fn blob_length(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.length)).sum()
    }

    /// Kafka key of all records of the object.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::of(self.identity.sop_instance.as_deref(), self.object_id)
    }

    /// Whether compressing the chunks is worth it.
    #[must_use]
    pub fn is_compressible(&self) -> bool {
        crate::syntax::is_compressible(self.transfer_syntax.as_deref())
    }

    /// Enters where Kafka has stored the chunks, in their order.
    ///
    /// # Errors
    /// [`DicomError::Field`] when there are not as many offsets as chunks.
    pub fn set_offsets(&mut self, kafka_offsets: &[i64]) -> Result<(), DicomError> {
        expect("chunk offsets", kafka_offsets.len() as u64, self.chunks.len() as u64)?;
        for (chunk, &offset) in self.chunks.iter_mut().zip(kafka_offsets) {
            chunk.kafka_offset = offset;
        }
        Ok(())
    }

    /// As single-object encoding: `C3 01`, the schema's fingerprint, the record.
    ///
    /// # Errors
    /// As [`Self::encode_as`].
    pub fn encode(&self) -> Result<Bytes, DicomError> {
        self.encode_as(Framing::SingleObject)
    }

    /// As Avro bytes in this frame; larger than a record perhaps: then [`parts`] cuts them.
    ///
    /// # Errors
    /// A record that [`Self::check`] refuses, or [`DicomError::TooLarge`] above [`MAX_METADATA_BYTES`].
    pub fn encode_as(&self, framing: Framing) -> Result<Bytes, DicomError> {
        encode::encode(self, framing)
    }

    /// Reads either frame; header, tail and values are slices of `value`. A schema id is not looked at: who has a
    /// registry compares with [`fingerprint_of`] what it says with [`FINGERPRINT`] first, or relies on the fingerprint in
    /// [`PartHeader`].
    ///
    /// # Errors
    /// [`DicomError::Framing`] and [`DicomError::Schema`] for what others wrote, [`DicomError::Avro`] for damaged bytes,
    /// and what [`Self::check`] says.
    pub fn decode(value: &Bytes) -> Result<Self, DicomError> {
        decode::decode(value)
    }

    /// Whether the numbers agree with each other; what is decoded has passed it, and has offsets in Kafka that ascend.
    ///
    /// # Errors
    /// [`DicomError::Field`] or [`DicomError::TooLarge`].
    pub fn check(&self) -> Result<(), DicomError> {
        at_most("the header", self.header.len(), MAX_HEADER_BYTES)?;
        at_most("the tail", self.tail.len(), MAX_TAIL_BYTES)?;
        at_most("the list of chunks", self.chunks.len(), MAX_CHUNKS)?;
        for chunk in &self.chunks {
            at_most("a chunk", chunk.length as usize, MAX_VALUE_BYTES)?;
            expect("an empty chunk's length", u64::from(chunk.length == 0), 0)?;
        }
        let stored = (self.header.len() + self.tail.len()) as u64 + self.blob_length();
        expect("file_length", self.file_length, stored)?;
        if self.opaque.is_some() {
            expect("length of an opaque object's header", self.header.len() as u64, 0)?;
            expect("pixels of an opaque object", u64::from(self.pixels.is_some()), 0)?;
        }
        self.pixels.as_ref().map_or(Ok(()), |pixels| self.check_pixels(pixels))
    }

    /// Chunks have ascending offsets in Kafka.
    fn check_offsets(&self) -> Result<(), DicomError> {
        let mut lowest = 0_i64;
        for chunk in &self.chunks {
            if chunk.kafka_offset < lowest || chunk.kafka_offset == i64::MAX {
                expect("a chunk's offset in Kafka", chunk.kafka_offset.cast_unsigned(), lowest.cast_unsigned())?;
            }
            lowest = chunk.kafka_offset + 1;
        }
        Ok(())
    }

    fn check_pixels(&self, pixels: &Pixels) -> Result<(), DicomError> {
        expect("offset of the pixels", pixels.offset, self.header.len() as u64)?;
        let blob = self.blob_length();
        if pixels.length > blob {
            expect("length of the pixels", pixels.length, blob)?;
        }
        at_most("the list of fragments", pixels.fragment_lengths.len(), MAX_FRAGMENTS)?;
        let listed = pixels.fragment_lengths.len() as u64;
        expect("number of listed fragments", listed, pixels.fragments.min(MAX_FRAGMENTS as u64))?;
        if pixels.is_encapsulated() {
            // The last fragment may be cut short by the file's end.
            let (last_start, _) = pixels.fragment_ranges().last().unwrap_or((0, 0));
            if last_start > pixels.length {
                expect("end of the fragments", last_start, pixels.length)?;
            }
        }
        if let Grouping::Counts(counts) = &pixels.grouping {
            expect("fragments of all frames", counts.iter().map(|&count| u64::from(count)).sum(), pixels.fragments)?;
        }
        Ok(())
    }
}

fn expect(field: &'static str, found: u64, expected: u64) -> Result<(), DicomError> {
    if found == expected { Ok(()) } else { Err(DicomError::Field { field, found, expected }) }
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), DicomError> {
    let (found, limit) = (found as u64, limit as u64);
    if found <= limit { Ok(()) } else { Err(DicomError::TooLarge { what, found, limit }) }
}
