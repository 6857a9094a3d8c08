//! What this client may do, found out without leaving traces.

/// One operation, and whether it is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Right {
    /// Kafka's name of the operation in an ACL, such as `Write`.
    pub operation: &'static str,
    /// On what: `topic raw_video`, `group archive`, `cluster`.
    pub resource: String,
    /// What it is needed for, in words.
    pub needed_for: &'static str,
    /// Whether it is permitted.
    pub verdict: Verdict,
    /// The arguments of `kafka-acls.sh` that permit it.
    pub acl: String,
}

/// Whether an operation is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The broker let it pass.
    Allowed,
    /// The broker refused it.
    Denied {
        /// The broker's code.
        code: String,
    },
    /// It could not be found out without doing it.
    Unknown {
        /// Why.
        why: String,
    },
}
