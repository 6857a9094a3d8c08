//! What can be wrong with a record.

/// Why bytes from a topic are not what this crate writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A plain Kafka record, or one of another system.
    #[error("the record has no `{header}` header: it was not written by lumenbus")]
    Foreign {
        /// The header that is missing or not text.
        header: &'static str,
    },
    /// Written by a future (or broken) writer.
    #[error("wire version {found} is not known here; this build reads version {supported}: update the reader")]
    Version {
        /// Version in the record.
        found: u32,
        /// The version this build reads.
        supported: u32,
    },
    /// Header bytes that are not the header's Protobuf message.
    #[error("the `lb` header cannot be decoded")]
    Header {
        /// What Protobuf says.
        #[source]
        source: prost::DecodeError,
    },
    /// A directory entry that is not its Protobuf message.
    #[error("the directory entry cannot be decoded")]
    Directory {
        /// What Protobuf says.
        #[source]
        source: prost::DecodeError,
    },
    /// A control request that is not its Protobuf message.
    #[error("the control request cannot be decoded")]
    Request {
        /// What Protobuf says.
        #[source]
        source: prost::DecodeError,
    },
    /// An index entry that is not its Protobuf message.
    #[error("the index entry cannot be decoded")]
    Index {
        /// What Protobuf says.
        #[source]
        source: prost::DecodeError,
    },
    /// An audit record or checkpoint that is not its Protobuf message.
    #[error("the {what} cannot be decoded")]
    Audit {
        /// Which of them.
        what: &'static str,
        /// What Protobuf says.
        #[source]
        source: prost::DecodeError,
    },
    /// An analysis result that is not its Protobuf message.
    #[error("the analysis result cannot be decoded")]
    Result {
        /// What Protobuf says.
        #[source]
        source: prost::DecodeError,
    },
    /// An analysis result that is not its JSON object.
    #[error("the analysis result is not the JSON object that it should be")]
    ResultJson {
        /// What JSON says.
        #[source]
        source: serde_json::Error,
    },
    /// A feature record that is not its JSON object.
    #[error("the feature record is not the JSON object that it should be")]
    Features {
        /// What JSON says.
        #[source]
        source: serde_json::Error,
    },
    /// An event that is not its JSON object.
    #[error("the event is not the JSON object that it should be")]
    Event {
        /// What JSON says.
        #[source]
        source: serde_json::Error,
    },
    /// A Protobuf envelope that is not one.
    #[error("the protobuf envelope cannot be decoded")]
    Protobuf {
        /// What Protobuf says.
        #[source]
        source: prost::DecodeError,
    },
    /// A MessagePack envelope that is not one.
    #[error("the msgpack envelope cannot be decoded")]
    Msgpack {
        /// What MessagePack says.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// A JSON envelope that is not one.
    #[error("the json envelope cannot be decoded")]
    Json {
        /// What JSON says.
        #[source]
        source: serde_json::Error,
    },
    /// A content type nobody here knows.
    #[error("content type {found:?} is not known here: update the reader, or leave the topic to lumenbus")]
    ContentType {
        /// At most 64 characters of it.
        found: String,
    },
    /// A sealed payload, and nothing here that could open it.
    #[error("the record is sealed (algorithm {algorithm}): it needs a key, and this build opens no seals")]
    Sealed {
        /// Algorithm number in the header.
        algorithm: u32,
    },
    /// A field that must be there or within limits is not.
    #[error("{field} is {found}; {expected}")]
    Field {
        /// The field's name in the `.proto` file.
        field: &'static str,
        /// What was found.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A length beyond a limit.
    #[error("{what} has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its claimed length in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The stored bytes are not those that were written.
    #[error("{what}: CRC-32C is {found:08x}, the header says {expected:08x}")]
    Checksum {
        /// What was checked.
        what: &'static str,
        /// Computed over the bytes.
        found: u32,
        /// From the header.
        expected: u32,
    },
    /// A batch that does not add up.
    #[error("the batch is damaged: {what}")]
    Batch {
        /// In which way.
        what: &'static str,
    },
}
