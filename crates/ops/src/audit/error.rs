//! What can go wrong with the trail.

use lumenbus_bus::BusError;
use lumenbus_wire::WireError;
use std::path::PathBuf;

/// Why something was not written down, or cannot be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Kafka.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Something that a record cannot hold.
    #[error("this cannot be an audit record: {0}")]
    Record(#[source] WireError),
    /// A file of keys or of the chain's state.
    #[error("cannot use the audit trail's file {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A key file that holds no key, or is open to others.
    #[error("{}: {what}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Another process writes under this name.
    #[error(
        "another process writes the audit trail as {instance} ({} is locked); give each process an instance name of its own",
        path.display()
    )]
    Locked {
        /// The instance.
        instance: String,
        /// The lock file.
        path: PathBuf,
    },
    /// A name that is none of an instance.
    #[error("{name:?} cannot be the name of an audit instance; write 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    Instance {
        /// The name.
        name: String,
    },
    /// The record is not in the trail and will not be.
    #[error(
        "the audit trail could not be written within {millis} ms ({reason}): the record was given up, and what needs it must not be done"
    )]
    NotWritten {
        /// How long was waited, in milliseconds.
        millis: u64,
        /// What is in the way.
        reason: String,
    },
    /// The record was sent, and nobody knows whether it was taken.
    #[error(
        "the audit trail did not confirm a record within {millis} ms ({reason}): it may be in the trail or come into it"
    )]
    Unconfirmed {
        /// How long was waited, in milliseconds.
        millis: u64,
        /// What is in the way.
        reason: String,
    },
    /// After closing.
    #[error("the audit trail is closed")]
    Closed,
    /// The cryptography failed.
    #[error("cannot {operation}: {source}")]
    Crypto {
        /// What was tried.
        operation: &'static str,
        /// What OpenSSL says.
        #[source]
        source: openssl::error::ErrorStack,
    },
    /// A checkpoint that cannot be used.
    #[error("{}: not a checkpoint that can be used: {what}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The system gave no thread.
    #[error("cannot start the audit trail's thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl AuditError {
    /// The stable code that the reference explains.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bus(error) => error.code(),
            Self::Record(_) => "LB-E0401",
            Self::File { .. } => "LB-E0402",
            Self::Key { .. } => "LB-E0403",
            Self::Locked { .. } => "LB-E0404",
            Self::Instance { .. } => "LB-E0405",
            Self::NotWritten { .. } => "LB-E0406",
            Self::Unconfirmed { .. } => "LB-E0407",
            Self::Closed => "LB-E0408",
            Self::Crypto { .. } => "LB-E0409",
            Self::Checkpoint { .. } => "LB-E0410",
            Self::Thread(_) => "LB-E0411",
        }
    }
}

pub(super) fn crypto(operation: &'static str) -> impl FnOnce(openssl::error::ErrorStack) -> AuditError {
    move |source| AuditError::Crypto { operation, source }
}
