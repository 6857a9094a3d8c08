//! What the broker counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{ApiRequests, Server};
use crate::log::HousekeepingReport;

/// How the broker is doing: gauges of this moment, and counts since its start.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BrokerStatistics {
    /// Connections that are open.
    pub connections: u64,
    /// Connections closed at once because as many as may be were open.
    pub refused_connections: u64,
    /// Bytes that requests above 1 MiB under way, and large answers not yet taken, hold of their budgets.
    pub held_bytes: u64,
    /// Bytes of requests.
    pub received_bytes: u64,
    /// Bytes of answers.
    pub sent_bytes: u64,
    /// Well-formed requests by API and version.
    pub requests: Vec<ApiRequests>,
    /// Requests that ended their connection: unknown, misshapen, undecodable.
    pub bad_requests: u64,
    /// Topics, the broker's own among them.
    pub topics: u64,
    /// Partitions.
    pub partitions: u64,
    /// Those of them that take no appends since their disk failed.
    pub offline_partitions: u64,
    /// Bytes of all segments.
    pub log_bytes: u64,
    /// Size of the data directory's file system and what is free of it; `None` when it cannot be asked.
    pub disk_bytes: Option<(u64, u64)>,
    /// Consumer groups.
    pub groups: u64,
    /// Partitions' transactions that are neither committed nor aborted.
    pub open_transactions: u64,
    /// Partitions flushed to disk in the background, and how long that took altogether.
    pub flushes: (u64, Duration),
    /// Failures of retention, flushes and compaction.
    pub housekeeping_errors: u64,
}

/// Counters of all connections and of housekeeping.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) refused_connections: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) bad_requests: AtomicU64,
    flushes: AtomicU64,
    flush_micros: AtomicU64,
    housekeeping_errors: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

/// Counts a connection for as long as it is there.
#[derive(Debug)]
pub(crate) struct Connected<'a>(&'a Counters);

impl<'a> Connected<'a> {
    pub(crate) fn new(counters: &'a Counters) -> Self {
        add(&counters.connections, 1);
        Self(counters)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn kept_house(&self, report: &HousekeepingReport) {
        add(&self.flushes, report.flushed);
        add(&self.flush_micros, usize::try_from(report.flush_time.as_micros()).unwrap_or(usize::MAX));
        add(&self.housekeeping_errors, report.errors.len());
    }
}

/// Looks at every partition, which may wait for an append that is on its way.
pub(crate) fn statistics(server: &Server) -> BrokerStatistics {
    let counters = &server.counters;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let topics = server.store.topics();
    let mut statistics = BrokerStatistics {
        connections: count(&counters.connections),
        refused_connections: count(&counters.refused_connections),
        held_bytes: server.held_bytes(),
        received_bytes: count(&counters.received_bytes),
        sent_bytes: count(&counters.sent_bytes),
        requests: server.requests.snapshot(),
        bad_requests: count(&counters.bad_requests),
        topics: topics.len() as u64,
        disk_bytes: server.store.disk_space().ok(),
        groups: server.groups.list().len() as u64,
        flushes: (count(&counters.flushes), Duration::from_micros(count(&counters.flush_micros))),
        housekeeping_errors: count(&counters.housekeeping_errors),
        ..BrokerStatistics::default()
    };
    for partition in topics.iter().flat_map(|topic| topic.partitions()) {
        statistics.partitions += 1;
        statistics.offline_partitions += u64::from(partition.is_offline());
        statistics.log_bytes += partition.size_bytes();
        statistics.open_transactions += partition.open_transactions().len() as u64;
    }
    statistics
}
