//! Who asks, and whether they may.

use std::fmt;
use std::net::SocketAddr;

/// Who a connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// Nobody has proved anything (Kafka: `User:ANONYMOUS`).
    Anonymous,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Read records or a group's offsets, take part in a group.
    Read,
    /// Append records.
    Write,
    /// Create topics.
    Create,
    /// Delete topics.
    Delete,
    /// See that something exists.
    Describe,
    /// See how something is configured.
    DescribeConfigs,
    /// Append with idempotence.
    IdempotentWrite,
}

/// What it is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// A consumer group by name.
    Group(&'a str),
    /// The broker as a whole.
    Cluster,
}

/// Decides whether a principal may do something. Asked for every topic of every request, so the
/// answer must come from memory.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Whether `principal` may do `operation` to `resource`.
    fn allows(&self, principal: &Principal, operation: Operation, resource: Resource<'_>) -> bool;
}

/// Everybody may do everything: right for a broker that only listens on loopback.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _: &Principal, _: Operation, _: Resource<'_>) -> bool {
        true
    }
}

/// What is known of the connection a request came on.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// Whom it belongs to.
    pub(crate) principal: Principal,
}
