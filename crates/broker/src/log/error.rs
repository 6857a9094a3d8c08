use std::io;
use std::path::PathBuf;

/// Everything that can go wrong in the storage layer.
///
/// [`LogError::kafka_code`] gives the protocol's error code (Kafka protocol guide, "Error Codes").
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk refused an operation; the log was left as it was before the operation.
    #[error("cannot {operation} {path}: {source}{}", io_advice(source))]
    Storage {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// An earlier failure left the partition in an unknown state; it takes no appends until a restart recovers it.
    #[error(
        "{topic}-{partition} is offline since an earlier disk failure ({reason}); mend the disk and restart the broker"
    )]
    Offline {
        /// Topic name.
        topic: String,
        /// Partition number.
        partition: i32,
        /// What happened then.
        reason: String,
    },
    /// The data directory's file system takes no writes, so nothing can start on it.
    #[error(
        "data directory {path} is on a read-only file system ({source}), and a broker writes to it from its start on: check the disk (a file system that met errors goes read-only by itself), remount it writable or choose another --data directory; lumenbus broker inspect can read it as it is"
    )]
    ReadOnlyDirectory {
        /// The data directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// Another process holds the data directory.
    #[error("data directory {path} is in use by another broker; stop it or choose another --data directory")]
    DirectoryInUse {
        /// The data directory.
        path: PathBuf,
    },
    /// A newer version has written the data directory.
    #[error(
        "data directory {path} was written by version {written_by} in a newer format; use version {readable_from} or newer"
    )]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Version that wrote it last.
        written_by: String,
        /// First version that can read it.
        readable_from: String,
    },
    /// A file of the data directory has contents this version cannot interpret.
    #[error("{path} is damaged or of an unknown version: {reason}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The broker's own topic keeps something in another partition than the one where it is looked for.
    #[error(
        "{topic}-{found} keeps {name:?}, which belongs into {topic}-{right} of {partitions}: the data directory lacks partitions of {topic}; copy the directory of a broker that has all of them, or delete all {topic}-* in it, which forgets what they keep"
    )]
    Misplaced {
        /// The topic.
        topic: &'static str,
        /// The group or transactional id.
        name: String,
        /// The partition it was found in.
        found: i32,
        /// The partition it belongs into.
        right: i32,
        /// The topic's partitions.
        partitions: usize,
    },
    /// A transactional id of a taken over directory whose state cannot be known.
    #[error(
        "{topic}-{partition} keeps the state of transactional id {id:?} in a form that this version does not know; let Apache Kafka end its transactions and delete all {topic}-* in the data directory, which forgets transactional ids"
    )]
    UnknownTransaction {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: i32,
        /// The transactional id.
        id: String,
    },
    /// A batch read back from disk contradicts itself or the index; it is not served.
    #[error("{path} at byte {position} holds no valid batch ({reason}); restore the file or delete the segment")]
    CorruptSegment {
        /// The segment file.
        path: PathBuf,
        /// Byte position of the batch.
        position: u64,
        /// Which check failed.
        reason: &'static str,
    },
    /// A producer's batch failed its CRC-32C.
    #[error("batch checksum is {computed:#010x}, its header says {stored:#010x}: damaged on the way")]
    CrcMismatch {
        /// The header's value.
        stored: u32,
        /// The value over the bytes received.
        computed: u32,
    },
    /// A producer's record set is structurally wrong (length, attributes, counts).
    #[error("invalid record batch: {reason}")]
    InvalidRecord {
        /// Which check failed.
        reason: &'static str,
    },
    /// The bytes of a record set end inside a batch, or no batch is in them.
    #[error("record set of {bytes} bytes does not consist of whole batches: {reason}")]
    CorruptMessage {
        /// Size of the record set.
        bytes: usize,
        /// Which check failed.
        reason: &'static str,
    },
    /// Message format before v2.
    #[error("message format v{magic} is not supported; use a client that speaks format v2 (Kafka 0.11 and newer)")]
    UnsupportedMagic {
        /// The batch's magic byte.
        magic: i8,
    },
    /// A batch that the state of its producer's transaction does not allow.
    #[error("producer {producer_id}: {reason}")]
    InvalidTransaction {
        /// Producer id.
        producer_id: i64,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// One batch is larger than the topic allows.
    #[error("batch of {bytes} bytes exceeds max.message.bytes={limit}; raise it on the topic or send smaller batches")]
    MessageTooLarge {
        /// Size of the batch, header included.
        bytes: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// One append is larger than a segment.
    #[error("record set of {bytes} bytes exceeds segment.bytes={limit}; raise it on the topic or send less at once")]
    RecordListTooLarge {
        /// Size of the record set.
        bytes: usize,
        /// The topic's segment size.
        limit: u64,
    },
    /// A create time outside the topic's bounds, or a producer that claims append time.
    #[error("timestamp {timestamp_ms} ms: {reason}")]
    InvalidTimestamp {
        /// The offending time, Unix milliseconds.
        timestamp_ms: i64,
        /// Which bound it breaks.
        reason: &'static str,
    },
    /// The producer was fenced by a newer one with the same id.
    #[error("producer {producer_id} has epoch {current}; this batch carries the older epoch {epoch}")]
    InvalidProducerEpoch {
        /// Producer id.
        producer_id: i64,
        /// The batch's epoch.
        epoch: i16,
        /// The newest epoch seen.
        current: i16,
    },
    /// A gap or an old repeat in an idempotent producer's sequence.
    #[error("producer {producer_id} epoch {epoch}: sequence {sequence} does not follow {last}")]
    OutOfOrderSequence {
        /// Producer id.
        producer_id: i64,
        /// Producer epoch.
        epoch: i16,
        /// The batch's first sequence number.
        sequence: i32,
        /// The last sequence number in the log, -1 when none.
        last: i32,
    },
    /// A read or deletion outside what the log holds.
    #[error("offset {offset} is outside the log, which holds {log_start_offset} up to {end_offset}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// First offset still held.
        log_start_offset: i64,
        /// Next offset to be written.
        end_offset: i64,
    },
    /// No topic of this name, or it was deleted meanwhile.
    #[error("topic {topic} does not exist")]
    UnknownTopic {
        /// Topic name.
        topic: String,
    },
    /// No such partition in the topic.
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// Topic name.
        topic: String,
        /// Partition number.
        partition: i32,
    },
    /// The topic is there already.
    #[error("topic {topic} exists already")]
    TopicExists {
        /// Topic name.
        topic: String,
    },
    /// A name that is another topic's but for dots and underscores, which Kafka refuses as well.
    #[error("the name {topic} collides with that of topic {present}: names must differ in more than '.' and '_'")]
    TopicCollides {
        /// The name asked for.
        topic: String,
        /// The topic that is there.
        present: String,
    },
    /// A name Kafka would refuse as well.
    #[error("topic name {topic:?} is invalid: {reason}")]
    InvalidTopic {
        /// The name.
        topic: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A partition count out of bounds.
    #[error("{topic}: {partitions} partitions: {reason}")]
    InvalidPartitions {
        /// Topic name.
        topic: String,
        /// The count asked for.
        partitions: i32,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// An unknown configuration key or a value out of bounds.
    #[error("topic configuration {key}={value:?}: {reason}")]
    InvalidConfig {
        /// Kafka's name of the setting.
        key: String,
        /// The value given.
        value: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The store was closed.
    #[error("the broker's log store is closed")]
    Closed,
}

fn io_advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (free space, lower retention.ms or retention.bytes, or raise --keep-free)"
        }
        io::ErrorKind::ReadOnlyFilesystem => " (the file system went read-only: check the disk and remount)",
        io::ErrorKind::PermissionDenied => " (the broker's user needs read and write access)",
        _ => "",
    }
}

impl LogError {
    /// The protocol's error code for this failure (Kafka protocol guide, "Error Codes").
    #[must_use]
    pub fn kafka_code(&self) -> i16 {
        match self {
            Self::OffsetOutOfRange { .. } => 1,
            Self::CrcMismatch { .. } | Self::CorruptMessage { .. } => 2,
            Self::UnknownTopic { .. } | Self::UnknownPartition { .. } => 3,
            Self::MessageTooLarge { .. } => 10,
            Self::InvalidTopic { .. } | Self::TopicCollides { .. } => 17,
            Self::RecordListTooLarge { .. } => 18,
            Self::InvalidTimestamp { .. } => 32,
            Self::TopicExists { .. } => 36,
            Self::InvalidPartitions { .. } => 37,
            Self::InvalidConfig { .. } => 40,
            Self::UnsupportedMagic { .. } => 43,
            Self::OutOfOrderSequence { .. } => 45,
            Self::InvalidProducerEpoch { .. } => 47,
            Self::InvalidTransaction { .. } => 48,
            Self::Storage { .. }
            | Self::Offline { .. }
            | Self::ReadOnlyDirectory { .. }
            | Self::DirectoryInUse { .. }
            | Self::NewerFormat { .. }
            | Self::BadFile { .. }
            | Self::Misplaced { .. }
            | Self::UnknownTransaction { .. }
            | Self::CorruptSegment { .. }
            | Self::Closed => 56,
            Self::InvalidRecord { .. } => 87,
        }
    }

    /// Whether more room on the disk would have helped.
    pub(crate) fn is_disk_full(&self) -> bool {
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Storage { source, .. } if kinds.contains(&source.kind()))
    }

    pub(crate) fn storage(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Storage { operation, path, source }
    }
}
