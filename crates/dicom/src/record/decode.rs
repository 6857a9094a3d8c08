//! Metadata from Avro bytes.

use super::avro::Reader;
use super::{
    ChunkRef, Framing, Grouping, MAX_CHUNKS, MAX_FRAGMENTS, MAX_METADATA_BYTES, Metadata, ObjectId, Opaque, Pixels,
    at_most,
};
use crate::DicomError;
use crate::attributes::{Attribute, Attributes, Identity, MAX_ATTRIBUTES, MAX_DEPTH};
use crate::element::{ByteOrder, Tag, Vr};
use bytes::Bytes;

const MAX_UID_BYTES: usize = 64;
const MAX_CODE_BYTES: usize = 64;
const MAX_FINDINGS: usize = 64;

pub(super) fn decode(value: &Bytes) -> Result<Metadata, DicomError> {
    at_most("the encoded metadata", value.len(), MAX_METADATA_BYTES)?;
    let (_, at) = Framing::read(value)?;
    let mut reader = Reader::new(value, at);
    let metadata = read_metadata(&mut reader)?;
    reader.end()?;
    metadata.check()?;
    metadata.check_offsets()?;
    Ok(metadata)
}

fn read_metadata(reader: &mut Reader<'_>) -> Result<Metadata, DicomError> {
    let object_id = ObjectId::from_bytes(reader.fixed()?);
    let file_length = reader.unsigned()?;
    let file_sha256 = reader.fixed()?;
    let header = reader.bytes()?;
    let tail = reader.bytes()?;
    let chunks = read_chunks(reader)?;
    let opaque =
        reader.optional(|reader| Ok(Opaque { code: reader.string(MAX_CODE_BYTES)?, offset: reader.unsigned()? }))?;
    let mut uid = || reader.optional(|reader| reader.string(MAX_UID_BYTES));
    let transfer_syntax = uid()?;
    let identity = Identity { sop_class: uid()?, sop_instance: uid()?, study: uid()?, series: uid()? };
    let pixels = reader.optional(read_pixels)?;
    let mut left = MAX_ATTRIBUTES;
    let list = reader.array(MAX_ATTRIBUTES, |reader| read_attribute(reader, &mut left, 0))?;
    let (complete, inflated) = (reader.boolean()?, reader.boolean()?);
    let byte_order = if reader.boolean()? { ByteOrder::Big } else { ByteOrder::Little };
    let attributes = Attributes { list, complete, inflated, byte_order };
    let findings = reader.array(MAX_FINDINGS, |reader| reader.string(MAX_CODE_BYTES))?;
    Ok(Metadata {
        object_id,
        file_length,
        file_sha256,
        header,
        tail,
        chunks,
        opaque,
        transfer_syntax,
        identity,
        pixels,
        attributes,
        findings,
    })
}

fn read_chunks(reader: &mut Reader<'_>) -> Result<Vec<ChunkRef>, DicomError> {
    let mut kafka_offset = 0_i64;
    reader.array(MAX_CHUNKS, |reader| {
        kafka_offset = kafka_offset
            .checked_add(reader.long()?)
            .ok_or_else(|| reader.wrong("an offset in Kafka has more than 64 bits"))?;
        Ok(ChunkRef { kafka_offset, length: reader.u32()?, crc32c: reader.u32()? })
    })
}

fn read_vr(reader: &mut Reader<'_>) -> Result<Vr, DicomError> {
    let text = reader.string(2)?;
    match text.as_bytes() {
        [] => Ok(Vr::IMPLICIT),
        &[first, second] => Vr::from_letters([first, second]).ok_or_else(|| reader.wrong("a VR is not two letters")),
        _ => Err(reader.wrong("a VR is not two letters")),
    }
}

fn read_pixels(reader: &mut Reader<'_>) -> Result<Pixels, DicomError> {
    let tag = Tag(reader.u32()?);
    if !tag.is_pixels() {
        return Err(reader.wrong("the pixels' tag is none of the three"));
    }
    let vr = read_vr(reader)?;
    let (offset, length) = (reader.unsigned()?, reader.unsigned()?);
    let declared_length = reader.optional(Reader::u32)?;
    let sha256 = reader.fixed()?;
    let frames = reader.unsigned()?;
    let symbol = reader.long()?;
    let frame_length = reader.optional(Reader::unsigned)?;
    let counts = reader.array(MAX_FRAGMENTS, Reader::u32)?;
    let grouping = match symbol {
        0 => Grouping::Native(frame_length),
        1 => Grouping::Single,
        2 => Grouping::OnePerFrame,
        3 => Grouping::Counts(counts),
        4 => Grouping::Unknown,
        _ => return Err(reader.wrong("an enumeration has no such symbol")),
    };
    let offset_table_length = reader.optional(Reader::u32)?;
    let fragments = reader.unsigned()?;
    let fragment_lengths = reader.array(MAX_FRAGMENTS, Reader::u32)?;
    Ok(Pixels {
        tag,
        vr,
        offset,
        length,
        declared_length,
        sha256,
        frames,
        grouping,
        offset_table_length,
        fragment_lengths,
        fragments,
    })
}

/// `left` counts attributes and items of the whole record: an empty item takes one byte, and more in memory.
fn read_attribute(reader: &mut Reader<'_>, left: &mut usize, depth: usize) -> Result<Attribute, DicomError> {
    if depth > MAX_DEPTH {
        return Err(reader.wrong("attributes are deeper than any writer writes"));
    }
    spend(reader, left)?;
    let tag = Tag(reader.u32()?);
    let vr = read_vr(reader)?;
    let (offset, length) = (reader.unsigned()?, reader.unsigned()?);
    let value = reader.optional(Reader::bytes)?;
    let items = reader.array(MAX_ATTRIBUTES, |reader| {
        spend(reader, left)?;
        reader.array(MAX_ATTRIBUTES, |reader| read_attribute(reader, left, depth + 1))
    })?;
    Ok(Attribute { tag, vr, offset, length, value, items })
}

fn spend(reader: &Reader<'_>, left: &mut usize) -> Result<(), DicomError> {
    *left = left.checked_sub(1).ok_or_else(|| reader.wrong("more attributes than any writer writes"))?;
    Ok(())
}
