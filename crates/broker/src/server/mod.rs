//! The protocol half of the broker: connections, requests, groups.
//!
//! A connection's bytes are cut into requests (`wire`), checked against the layout of their API
//! (`shape`, `api`), decoded and answered (`dispatch`, `handlers`). Groups and transactions are state
//! machines without I/O (`group`, `txn`).

mod access;
mod api;
mod blocking;
mod config;
mod connection;
mod descriptors;
mod dispatch;
mod error;
mod failure;
mod group;
mod handlers;
mod internal;
mod producer_ids;
mod requests;
mod run;
mod seldom;
mod shape;
mod statistics;
mod txn;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::BrokerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use access::{AllowAll, Authorizer, Operation, Principal, Resource};
pub use config::{AutoCreate, BrokerConfig, GroupConfig, Limits, TransactionConfig};
pub use error::BrokerError;
pub(crate) use group::{KeptGroups, OFFSETS_TOPIC, StoredGroup, StoredMember};
pub(crate) use internal::is_internal;
pub use requests::{ApiRequests, RequestTimes};
pub use run::{Broker, RunningBroker};
pub use statistics::BrokerStatistics;

use crate::log::{LogStore, RecoveryReport};
use access::Peer;
use blocking::syncs;
use group::{Coordinator, OffsetStore};
use producer_ids::ProducerIds;
use requests::Requests;
use statistics::Counters;
use txn::{Transactions, World};
use wire::RequestBudget;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: BrokerConfig,
    pub(crate) limits: Arc<Limits>,
    pub(crate) store: LogStore,
    pub(crate) offsets: Arc<OffsetStore>,
    pub(crate) groups: Coordinator,
    pub(crate) transactions: Transactions,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) requests: Requests,
    pub(crate) counters: Counters,
    /// Where clients find this broker.
    pub(crate) advertised: (String, u16),
    pub(crate) request_budget: Arc<RequestBudget>,
    answer_budget: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    /// Whether what the broker keeps of groups and transactions is synced with each change.
    syncs: bool,
    started_nanos: u128,
    last_suffix: AtomicU64,
}

impl Server {
    /// Opens what lies in the data directory.
    pub(crate) fn open(config: BrokerConfig, advertised: (String, u16)) -> Result<Self, BrokerError> {
        let opened = LogStore::open(config.store.clone(), now_ms())?;
        Self::open_on(opened, config, advertised)
    }

    /// Goes on with a store that is open.
    fn open_on(
        (store, recovery): (LogStore, RecoveryReport),
        config: BrokerConfig,
        advertised: (String, u16),
    ) -> Result<Self, BrokerError> {
        let is_new = recovery.partitions == 0 && recovery.notes.is_empty();
        if recovery.clean || is_new {
            tracing::info!(partitions = recovery.partitions, elapsed = ?recovery.elapsed, "logs opened");
        } else {
            tracing::warn!(?recovery, "logs recovered after an unclean stop");
        }
        let (offsets, kept_groups) = OffsetStore::open(&store, config.groups.max_committed_offsets)?;
        let offsets = Arc::new(offsets);
        if let Err(error) = offsets.forget_missing(&store, now_ms()) {
            tracing::error!(%error, "offsets of deleted topics are kept; a new topic of the same name would inherit them");
        }
        let producer_ids = ProducerIds::open(&config.store.data_dir)?;
        let world = World { store: &store, offsets: &offsets, producer_ids: &producer_ids, now_ms: now_ms() };
        let transactions = Transactions::open(config.transactions.clone(), world)?;
        producer_ids.begin_above(|| Ok(store.largest_producer_id()?.max(transactions.largest_producer_id())))?;
        Ok(Self {
            limits: Arc::new(config.limits.clone()),
            groups: Coordinator::new(config.groups.clone(), Arc::clone(&offsets), kept_groups),
            offsets,
            transactions,
            producer_ids,
            requests: Requests::default(),
            counters: Counters::default(),
            advertised,
            request_budget: Arc::new(RequestBudget::new(&config.limits)),
            answer_budget: wire::answer_budget(&config.limits),
            stop: watch::Sender::new(false),
            syncs: syncs(&config.store.defaults),
            started_nanos: since_epoch().as_nanos(),
            last_suffix: AtomicU64::new(0),
            config,
            store,
        })
    }

    pub(crate) fn allows(&self, peer: &Peer, operation: Operation, resource: Resource<'_>) -> bool {
        self.config.authorizer.allows(&peer.principal, operation, resource)
    }

    /// Bytes the next answer may hold.
    pub(crate) fn room_for_answer(&self) -> usize {
        wire::room_for_answer(&self.answer_budget)
    }

    /// An answer's share of what all answers may hold.
    pub(crate) fn hold_for_answer(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        wire::hold_for_answer(&self.answer_budget, bytes)
    }

    /// Bytes that large requests and large answers hold.
    pub(crate) fn held_bytes(&self) -> u64 {
        let answers = wire::held_by_answers(&self.answer_budget, &self.limits);
        (self.request_budget.held_bytes() + answers) as u64
    }

    /// What the transaction coordinator acts upon.
    pub(crate) fn world(&self) -> World<'_> {
        let (store, offsets, producer_ids) = (&self.store, &*self.offsets, &self.producer_ids);
        World { store, offsets, producer_ids, now_ms: now_ms() }
    }

    pub(crate) fn node_id(&self) -> BrokerId {
        BrokerId(self.config.node_id)
    }

    /// Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        now_ms()
    }

    /// Part of a member id that no other member has had, also before the last restart.
    pub(crate) fn unique_suffix(&self) -> String {
        let counter = self.last_suffix.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{counter:x}", self.started_nanos)
    }

    /// Completes when the broker is told to stop.
    pub(crate) async fn stopping(&self) {
        let mut stop = self.stop.subscribe();
        // An error means that the sender is gone, which is a stop as well.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) fn tell_to_stop(&self) {
        self.stop.send_replace(true);
    }
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Decodes one request (header and body, without the length in front) as a connection would, and
/// throws it away; whether it was a request this broker understands. Made for fuzzing: whatever
/// the bytes, it neither panics nor allocates more than a small multiple of their number.
pub fn check_request(bytes: &[u8]) -> bool {
    dispatch::decode_only(Bytes::copy_from_slice(bytes)).is_ok()
}

#[cfg(test)]
#[path = "takeover_tests.rs"]
mod takeover_tests;
