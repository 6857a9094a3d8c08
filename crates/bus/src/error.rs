//! What can go wrong between us and Kafka.

use crate::diagnosis::BrokerProblem;
use lumenbus_frame::{CameraId, Epoch, StreamId};
use lumenbus_wire::WireError;
use rdkafka::error::KafkaError;

/// Why something on the bus failed. Every message says what, on what, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The broker cannot be used as it is.
    #[error(transparent)]
    Broker(#[from] BrokerProblem),
    /// A property that librdkafka does not take.
    #[error("cannot set the Kafka property {name}={value}: {reason}")]
    Property {
        /// Property name.
        name: String,
        /// Its value; secrets are shown as `***`.
        value: String,
        /// What librdkafka says.
        reason: String,
    },
    /// The topic does not exist.
    #[error("topic {topic} does not exist at {brokers}; create it with `lumenbus topics apply`")]
    UnknownTopic {
        /// The topic.
        topic: String,
        /// Bootstrap servers.
        brokers: String,
    },
    /// Not permitted.
    #[error("not authorised to {operation} {resource} at {brokers}; ask the operator for an ACL: {acl}")]
    NotAuthorised {
        /// What was tried.
        operation: &'static str,
        /// On what.
        resource: String,
        /// Bootstrap servers.
        brokers: String,
        /// The ACL that would permit it.
        acl: String,
    },
    /// A call to Kafka failed.
    #[error("cannot {operation} {resource} at {brokers}: {source}")]
    Kafka {
        /// What was tried.
        operation: &'static str,
        /// On what.
        resource: String,
        /// Bootstrap servers.
        brokers: String,
        /// What librdkafka says.
        #[source]
        source: Box<KafkaError>,
    },
    /// Another publisher took the stream over.
    #[error("stream {stream} was taken over by a publisher with epoch {theirs} (ours is {ours}); this one stops")]
    Superseded {
        /// The stream.
        stream: StreamId,
        /// Our epoch.
        ours: Epoch,
        /// The higher one in the directory.
        theirs: Epoch,
    },
    /// The publisher or subscriber was closed.
    #[error("the {what} is closed")]
    Closed {
        /// `publisher` or `subscriber`.
        what: &'static str,
    },
    /// Something did not happen in time.
    #[error(
        "{operation} at {brokers} took longer than {millis} ms; is the broker reachable and healthy? (`lumenbus topics check`)"
    )]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// Bootstrap servers.
        brokers: String,
        /// How long was waited, in milliseconds.
        millis: u64,
    },
    /// A topic exists but is not as it should be.
    #[error("topic {topic}: {what}")]
    TopicUnfit {
        /// The topic.
        topic: String,
        /// What is wrong and the knob that mends it.
        what: String,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A record beyond the limit of the topic or of this client.
    #[error(
        "a record of {record_bytes} bytes is too large for topic {topic} at {brokers} (limit: {}); lower the record limit \
         of the publisher, or raise the topic's max.message.bytes (kafka-configs.sh) and the client's -X message.max.bytes",
        limit_text(.limit_bytes.as_ref())
    )]
    RecordTooLarge {
        /// The topic.
        topic: String,
        /// Bootstrap servers.
        brokers: String,
        /// Size of what was sent, in bytes.
        record_bytes: usize,
        /// The limit in bytes, where it is known.
        limit_bytes: Option<usize>,
    },
    /// An entry that the directory cannot hold.
    #[error("the directory entry of camera {camera} cannot be written: {source}")]
    DirectoryEntry {
        /// The camera.
        camera: CameraId,
        /// Which limit it is beyond.
        #[source]
        source: WireError,
    },
    /// A callback did what would wait for itself.
    #[error("{operation} was called from a callback of the same directory; hand it to another thread")]
    WithinCallback {
        /// What was called.
        operation: &'static str,
    },
    /// Results were not committed, and neither were their offsets.
    #[error("a transaction with results for topic {topic} was given up: {reason}; its frames are to be read again")]
    TransactionAborted {
        /// The results' topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// The system gave no thread.
    #[error("cannot start the {what} thread; check the limits of processes and memory")]
    Thread {
        /// What it is for.
        what: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl BusError {
    /// The stable code that the reference explains.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Broker(problem) => problem.code(),
            Self::Property { .. } => "LB-E0201",
            Self::UnknownTopic { .. } => "LB-E0202",
            Self::NotAuthorised { .. } => "LB-E0203",
            Self::Kafka { .. } => "LB-E0204",
            Self::Superseded { .. } => "LB-E0205",
            Self::Closed { .. } => "LB-E0206",
            Self::Timeout { .. } => "LB-E0207",
            Self::TopicUnfit { .. } => "LB-E0208",
            Self::File { .. } => "LB-E0209",
            Self::RecordTooLarge { .. } => "LB-E0210",
            Self::DirectoryEntry { .. } => "LB-E0211",
            Self::WithinCallback { .. } => "LB-E0212",
            Self::Thread { .. } => "LB-E0213",
            Self::TransactionAborted { .. } => "LB-E0214",
        }
    }

    /// Whether a broker was unreachable or refused us: exit code 4 of the command line.
    #[must_use]
    pub fn is_broker_trouble(&self) -> bool {
        matches!(self, Self::Broker(_) | Self::NotAuthorised { .. } | Self::Kafka { .. } | Self::Timeout { .. })
    }
}

fn limit_text(limit_bytes: Option<&usize>) -> String {
    limit_bytes.map_or_else(|| "unknown, by default 1048588 bytes".to_owned(), |bytes| format!("{bytes} bytes"))
}
