//! Metadata to Avro bytes, in the order of the schema.

use super::avro::{write_array, write_bytes, write_long, write_optional, write_unsigned};
use super::{Framing, Grouping, MAX_METADATA_BYTES, Metadata, Pixels, at_most};
use crate::DicomError;
use crate::attributes::Attribute;
use crate::element::ByteOrder;
use bytes::Bytes;

pub(super) fn encode(metadata: &Metadata, framing: Framing) -> Result<Bytes, DicomError> {
    metadata.check()?;
    metadata.check_offsets()?;
    // The two long fields need not be moved while the rest grows.
    let fixed = metadata.header.len() + metadata.tail.len() + metadata.chunks.len() * 9 + 4096;
    let mut out = Vec::with_capacity(fixed);
    framing.write(&mut out);
    write_metadata(&mut out, metadata);
    at_most("the encoded metadata", out.len(), MAX_METADATA_BYTES)?;
    Ok(Bytes::from(out))
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    out.extend_from_slice(metadata.object_id.as_bytes());
    write_unsigned(out, metadata.file_length);
    out.extend_from_slice(&metadata.file_sha256);
    write_bytes(out, &metadata.header);
    write_bytes(out, &metadata.tail);
    let mut before = 0;
    write_array(out, &metadata.chunks, |out, chunk| {
        write_long(out, chunk.kafka_offset - before);
        write_long(out, chunk.length.into());
        write_long(out, chunk.crc32c.into());
        before = chunk.kafka_offset;
    });
    write_optional(out, metadata.opaque.as_ref(), |out, opaque| {
        write_text(out, &opaque.code);
        write_unsigned(out, opaque.offset);
    });
    let identity = &metadata.identity;
    let uids =
        [&metadata.transfer_syntax, &identity.sop_class, &identity.sop_instance, &identity.study, &identity.series];
    for uid in uids {
        write_optional(out, uid.as_deref(), write_text);
    }
    write_optional(out, metadata.pixels.as_ref(), write_pixels);
    let attributes = &metadata.attributes;
    write_array(out, &attributes.list, write_attribute);
    for flag in [attributes.complete, attributes.inflated, attributes.byte_order == ByteOrder::Big] {
        out.push(u8::from(flag));
    }
    write_array(out, &metadata.findings, |out, finding| write_text(out, finding));
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_bytes(out, text.as_bytes());
}

fn write_pixels(out: &mut Vec<u8>, pixels: &Pixels) {
    write_long(out, pixels.tag.0.into());
    write_text(out, pixels.vr.as_str());
    write_unsigned(out, pixels.offset);
    write_unsigned(out, pixels.length);
    write_optional(out, pixels.declared_length, |out, length| write_long(out, length.into()));
    out.extend_from_slice(&pixels.sha256);
    write_unsigned(out, pixels.frames);
    let (symbol, frame_length, counts) = match &pixels.grouping {
        Grouping::Native(length) => (0, *length, &[][..]),
        Grouping::Single => (1, None, &[][..]),
        Grouping::OnePerFrame => (2, None, &[][..]),
        Grouping::Counts(counts) => (3, None, &counts[..]),
        Grouping::Unknown => (4, None, &[][..]),
    };
    write_long(out, symbol);
    write_optional(out, frame_length, write_unsigned);
    write_array(out, counts, |out, &count| write_long(out, count.into()));
    write_optional(out, pixels.offset_table_length, |out, length| write_long(out, length.into()));
    write_unsigned(out, pixels.fragments);
    write_array(out, &pixels.fragment_lengths, |out, &length| write_long(out, length.into()));
}

fn write_attribute(out: &mut Vec<u8>, attribute: &Attribute) {
    write_long(out, attribute.tag.0.into());
    write_text(out, attribute.vr.as_str());
    write_unsigned(out, attribute.offset);
    write_unsigned(out, attribute.length);
    write_optional(out, attribute.value.as_ref(), |out, value| write_bytes(out, value));
    write_array(out, &attribute.items, |out, item| write_array(out, item, write_attribute));
}
