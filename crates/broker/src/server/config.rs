//! What the broker is told at its start.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::access::{AllowAll, Authorizer};
use crate::log::StoreConfig;

/// Configuration of one broker. [`BrokerConfig::new`] gives the defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// Address to listen on; loopback by default. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Host and port that clients are told to connect to; by default the address listened on.
    pub advertised: Option<(String, u16)>,
    /// The broker's id in the cluster of one.
    pub node_id: i32,
    /// Partitions of a topic created without a number of its own.
    pub default_partitions: i32,
    /// Whether asking for a missing topic creates it.
    pub auto_create_topics: AutoCreate,
    /// The log store: its folder, room to keep free, when to flush, defaults of the topics.
    pub store: StoreConfig,
    /// Limits on connections and requests.
    pub limits: Limits,
    /// Consumer groups.
    pub groups: GroupConfig,
    /// Transactions.
    pub transactions: TransactionConfig,
    /// How often retention, compaction and expired offsets are looked after.
    pub housekeeping_interval: Duration,
    /// How long a clean stop waits for answers that are being written.
    pub drain_timeout: Duration,
    /// Threads that serve connections; by default as many as the machine has processors, at most
    /// four.
    pub worker_threads: Option<usize>,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
}

impl BrokerConfig {
    /// A broker on `data_dir` that listens on `127.0.0.1:9092`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            advertised: None,
            node_id: 1,
            default_partitions: 12,
            auto_create_topics: AutoCreate::Off,
            store: StoreConfig::new(data_dir),
            limits: Limits::default(),
            groups: GroupConfig::default(),
            transactions: TransactionConfig::default(),
            housekeeping_interval: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(5),
            worker_threads: None,
            authorizer: Arc::new(AllowAll),
        }
    }

    /// The same broker on another address.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }
}

/// Whether a topic comes into being when a client asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCreate {
    /// A missing topic is an error; a misspelt name creates nothing.
    Off,
    /// A missing topic is created with the default number of partitions, when the client allows it.
    On,
}

/// Limits on connections and requests, so that no client can exhaust the broker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Connections open at the same time; further ones are closed at once. Never more than half the
    /// files the system lets the process open, so that the log can always open its own.
    pub max_connections: usize,
    /// Largest request (Kafka: `socket.request.max.bytes`).
    pub max_request_bytes: usize,
    /// What requests above 1 MiB may hold together, at least [`Limits::max_request_bytes`] and 8 MiB. Bytes
    /// that have arrived count. What doesn't fit waits, and is dropped after [`Limits::stall_timeout`].
    pub large_request_budget_bytes: usize,
    /// What large answers to fetches may hold together until their readers have taken them; beyond
    /// it an answer holds at most 1 MiB or one batch.
    pub answer_budget_bytes: usize,
    /// Largest answer to a fetch, whatever the client asks for (Kafka: `fetch.max.bytes`).
    pub max_fetch_bytes: usize,
    /// Longest a fetch waits, whatever the client asks for.
    pub max_fetch_wait: Duration,
    /// A connection without a request for this long is closed (Kafka: `connections.max.idle.ms`).
    pub idle_timeout: Duration,
    /// A peer that stops in the middle of a request, or takes nothing of an answer, is dropped
    /// after this long.
    pub stall_timeout: Duration,
    /// A request must come, and an answer be taken, as fast as this; [`Limits::stall_timeout`] is allowed
    /// on top. A slower peer is dropped.
    pub min_bytes_per_second: u64,
}

impl Limits {
    /// How long so many bytes of a request or an answer may take.
    pub(crate) fn time_for(&self, bytes: usize) -> Duration {
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.min_bytes_per_second.max(1);
        self.stall_timeout.saturating_add(Duration::from_micros(micros))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_request_bytes: 100 << 20,
            large_request_budget_bytes: 512 << 20,
            answer_budget_bytes: 512 << 20,
            max_fetch_bytes: 55 << 20,
            max_fetch_wait: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            stall_timeout: Duration::from_secs(30),
            min_bytes_per_second: 64 << 10,
        }
    }
}

/// Limits and timing of consumer groups.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupConfig {
    /// Shortest session timeout a member may ask for (Kafka: `group.min.session.timeout.ms`).
    pub min_session_timeout: Duration,
    /// Longest session timeout a member may ask for (Kafka: `group.max.session.timeout.ms`).
    pub max_session_timeout: Duration,
    /// How long an empty group waits for further members before its first generation (Kafka:
    /// `group.initial.rebalance.delay.ms`, there 3 s; a viewer should not wait that long).
    pub initial_rebalance_delay: Duration,
    /// Members of one group (Kafka: `group.max.size`).
    pub max_members: usize,
    /// Groups with members; as many without members are remembered besides.
    pub max_groups: usize,
    /// Subscription data one member may send with its protocols.
    pub max_member_metadata_bytes: usize,
    /// Subscriptions and assignments kept over all groups.
    pub max_groups_bytes: usize,
    /// Committed offsets kept over all groups.
    pub max_committed_offsets: usize,
    /// Bytes of metadata kept with one committed offset (Kafka: `offset.metadata.max.bytes`).
    pub max_offset_metadata_bytes: usize,
    /// Offsets of a group without members are dropped after this long (Kafka:
    /// `offsets.retention.minutes`).
    pub offsets_retention: Duration,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_secs(1),
            max_session_timeout: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::from_millis(50),
            max_members: 1000,
            max_groups: 10_000,
            max_member_metadata_bytes: 1 << 20,
            max_groups_bytes: 256 << 20,
            max_committed_offsets: 1_000_000,
            max_offset_metadata_bytes: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Limits and timing of transactions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransactionConfig {
    /// Longest timeout a transactional producer may ask for (Kafka: `transaction.max.timeout.ms`).
    pub max_timeout: Duration,
    /// A transactional id that is not used for this long is forgotten (Kafka:
    /// `transactional.id.expiration.ms`).
    pub id_expiration: Duration,
    /// Transactional ids kept; a further one is refused.
    pub max_ids: usize,
    /// Partitions in open transactions, all of them together.
    pub max_partitions: usize,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            max_timeout: Duration::from_secs(15 * 60),
            id_expiration: Duration::from_secs(7 * 24 * 3600),
            max_ids: 10_000,
            max_partitions: 200_000,
        }
    }
}
