//! What can be wrong with records, objects and layouts.

use crate::record::ObjectId;

/// Why bytes from a topic are not the object that they say they are, or a layout is no layout.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DicomError {
    /// A plain Kafka record, or one of another system.
    #[error("the record has no `{header}` header: it was not written by lumenbus")]
    Foreign {
        /// The header that is missing.
        header: &'static str,
    },
    /// Written by a future (or broken) writer.
    #[error(
        "version {found} of the record header `lbd` is not known here; this build reads version {supported}: update the reader"
    )]
    HeaderVersion {
        /// Version in the record.
        found: u8,
        /// The version this build reads.
        supported: u8,
    },
    /// A header of the wrong length or kind.
    #[error("the record header `lbd` has kind {kind} and {length} bytes, which no header of version 1 has")]
    HeaderForm {
        /// Its second byte, 0 when there is none.
        kind: u8,
        /// Its bytes.
        length: usize,
    },
    /// A metadata record of another version of the schema.
    #[error(
        "the metadata has the schema with fingerprint {found:016x}, which is not known here; this build reads {supported:016x} (version {version}): update the reader"
    )]
    Schema {
        /// CRC-64-AVRO of the writer's schema.
        found: u64,
        /// The fingerprint this build reads.
        supported: u64,
        /// The version this build reads.
        version: u32,
    },
    /// Neither of the two forms that Avro values have on Kafka.
    #[error("the value is no Avro record: it begins with neither 00 (schema registry) nor C3 01 (single object)")]
    Framing,
    /// Text that is no Avro schema.
    #[error("the text is no Avro schema: {what}")]
    SchemaText {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Avro bytes that end early, have impossible numbers, or go on behind the record.
    #[error("the metadata record cannot be decoded at byte {offset}: {what}")]
    Avro {
        /// Where in the Avro bytes.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// Numbers of a record that contradict each other.
    #[error("the metadata record contradicts itself: {field} is {found}, expected {expected}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What it would have to be.
        expected: u64,
    },
    /// More than a limit allows; nothing was allocated for it.
    #[error("{what} has {found}, more than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large, in its unit.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The record header says something else than the bytes under it.
    #[error("chunk {index} of object {object} is damaged: {what}")]
    Chunk {
        /// Whose chunk.
        object: ObjectId,
        /// Its index.
        index: u32,
        /// What differs.
        what: &'static str,
    },
    /// A chunk of another object, or out of order.
    #[error("expected chunk {expected} of object {object}, got chunk {found} of object {found_object}")]
    WrongChunk {
        /// Whose chunk was expected.
        object: ObjectId,
        /// Which one.
        expected: u32,
        /// Whose chunk came.
        found_object: ObjectId,
        /// Which one.
        found: u32,
    },
    /// The end came before the last chunk.
    #[error("object {object} lacks its chunks from {first_missing} to {last_missing}")]
    MissingChunks {
        /// Whose chunks.
        object: ObjectId,
        /// The first that did not come.
        first_missing: u32,
        /// The last one of the object.
        last_missing: u32,
    },
    /// All bytes are there, and are others than the sender's.
    #[error("object {object} is not what was sent: the SHA-256 of {part} differs")]
    Checksum {
        /// Which object.
        object: ObjectId,
        /// `the file` or `the pixels`.
        part: &'static str,
    },
    /// Parts of one metadata record that contradict each other.
    #[error("part {index} of the metadata of object {object} does not fit: {what}")]
    Part {
        /// Whose metadata.
        object: ObjectId,
        /// Which part.
        index: u32,
        /// What does not fit.
        what: &'static str,
    },
    /// A layout that names no files.
    #[error("the layout `{layout}` cannot be used: {what}")]
    Layout {
        /// As it was given.
        layout: String,
        /// What is wrong, and what would be right.
        what: &'static str,
    },
    /// The output could not be written.
    #[error("cannot write object {object}")]
    Write {
        /// Which object.
        object: ObjectId,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}
