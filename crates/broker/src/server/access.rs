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
    /// Add partitions, delete offsets, elect leaders.
    Alter,
    /// Change settings.
    AlterConfigs,
}

impl Operation {
    /// Kafka's number of the operation (`AclOperation`).
    fn kafka_code(self) -> u32 {
        match self {
            Self::Read => 3,
            Self::Write => 4,
            Self::Create => 5,
            Self::Delete => 6,
            Self::Alter => 7,
            Self::Describe => 8,
            Self::DescribeConfigs => 10,
            Self::AlterConfigs => 11,
            Self::IdempotentWrite => 12,
        }
    }
}

/// What it is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// A consumer group by name.
    Group(&'a str),
    /// A transactional producer by its `transactional.id`.
    TransactionalId(&'a str),
    /// The broker as a whole.
    Cluster,
}

impl Resource<'_> {
    /// What can be done to it at all.
    fn operations(self) -> &'static [Operation] {
        use Operation::{Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read, Write};
        match self {
            Self::Topic(_) => &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs],
            Self::Group(_) => &[Read, Describe, Delete],
            Self::TransactionalId(_) => &[Describe, Write],
            Self::Cluster => &[Create, Alter, Describe, DescribeConfigs, AlterConfigs, IdempotentWrite],
        }
    }
}

/// What responses say where a client has not asked which operations it may do (KIP-430).
pub(crate) const OPERATIONS_NOT_TOLD: i32 = i32::MIN;

/// What a principal may do, one bit for each of Kafka's operations (KIP-430).
pub(crate) fn authorized_operations(authorizer: &dyn Authorizer, principal: &Principal, resource: Resource<'_>) -> i32 {
    let allowed = resource.operations().iter().filter(|operation| authorizer.allows(principal, **operation, resource));
    allowed.fold(0, |bits, operation| bits | 1 << operation.kafka_code())
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
