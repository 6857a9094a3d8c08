//! Looks at the cluster every few seconds, for the health page and the metrics.

mod collector;
mod overview;
mod rates;

pub(crate) use rates::Rates;

pub use overview::{
    Overview, OverviewBroker, OverviewDisk, OverviewGroup, OverviewGroupPartition, OverviewTopic, Problem,
};

use crate::disk::{DiskUsage, OwnDisk};
use crate::metrics::Metrics;
use lumenbus_bus::status::{ClusterStatus, StatusConfig, StatusReader};
use lumenbus_bus::{BusConfig, BusError, SystemClock, probe};
use lumenbus_frame::Clock as _;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// A question to a cluster that does not answer by then is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the embedded broker's data folder.
pub type OwnDiskSource = Arc<dyn Fn() -> OwnDisk + Send + Sync>;

/// A thread that looks at a cluster; it ends when this is dropped.
pub struct ClusterWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    overview: RwLock<Arc<Overview>>,
    /// Looks so far, and whether to end.
    state: Mutex<(u64, bool)>,
    changed: Condvar,
}

impl Shared {
    fn overview(&self) -> Arc<Overview> {
        Arc::clone(&self.overview.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, (u64, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, overview: Overview) {
        *self.overview.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(overview);
        self.lock().0 += 1;
        self.changed.notify_all();
    }

    /// Waits for the next look; whether there is to be one.
    fn pause(&self, interval: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), interval, |state| !state.1);
        !waited.unwrap_or_else(PoisonError::into_inner).0.1
    }
}

impl ClusterWatch {
    /// Begins to look, every `interval`. `own_disk` is given where the embedded broker is this machine's own.
    ///
    /// # Errors
    /// A property that librdkafka refuses; no thread. A broker that is away is no error: it is in the overview.
    pub fn start(
        bus: BusConfig,
        interval: Duration,
        own_disk: Option<OwnDiskSource>,
        metrics: &Metrics,
    ) -> Result<Self, BusError> {
        Self::start_with(bus, interval, own_disk, metrics, |_| {})
    }

    /// As [`start`](Self::start); `on_look` hears each overview on the watch's thread.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(
        bus: BusConfig,
        interval: Duration,
        own_disk: Option<OwnDiskSource>,
        metrics: &Metrics,
        on_look: impl Fn(&Overview) + Send + 'static,
    ) -> Result<Self, BusError> {
        let mut config = StatusConfig::new(bus.clone());
        config.patience = PATIENCE;
        let reader = StatusReader::open(config)?;
        let shared = Arc::new(Shared::default());
        metrics.register(Box::new(collector::ClusterCollector::new(Arc::clone(&shared))));
        let looking = Arc::clone(&shared);
        let mut look = Look { bus, reader, own_disk, rates: Rates::default() };
        let run = move || loop {
            let overview = look.once(&looking.overview());
            on_look(&overview);
            looking.publish(overview);
            if !looking.pause(interval) {
                return;
            }
        };
        let thread = std::thread::Builder::new().name("lumenbus-watch".to_owned()).spawn(run);
        let thread = thread.map_err(|source| BusError::Thread { what: "watch", source })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What was seen last; empty before the first look.
    #[must_use]
    pub fn overview(&self) -> Arc<Overview> {
        self.shared.overview()
    }

    /// Waits until so many looks were taken; whether they were in time.
    #[must_use]
    pub fn wait_for_looks(&self, looks: u64, patience: Duration) -> bool {
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), patience, |state| state.0 < looks);
        waited.unwrap_or_else(PoisonError::into_inner).0.0 >= looks
    }

    /// Looks taken so far.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.shared.lock().0
    }
}

impl fmt::Debug for ClusterWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterWatch").field("looks", &self.looks()).finish_non_exhaustive()
    }
}

impl Drop for ClusterWatch {
    fn drop(&mut self) {
        self.shared.lock().1 = true;
        self.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that looks at the cluster panicked");
        }
    }
}

struct Look {
    bus: BusConfig,
    reader: StatusReader,
    own_disk: Option<OwnDiskSource>,
    rates: Rates,
}

impl Look {
    fn once(&mut self, before: &Overview) -> Overview {
        match self.reader.cluster() {
            Ok(status) => self.reached(&status),
            Err(error) => {
                let now = SystemClock.unix_nanos() / 1_000_000;
                // What was asked failed; by hand it shows why.
                let reason = probe(&self.bus).map_or_else(|problem| problem.to_string(), |_| error.to_string());
                before.clone().unreachable(now, reason)
            }
        }
    }

    fn reached(&mut self, status: &ClusterStatus) -> Overview {
        let groups = self.reader.groups(status).unwrap_or_else(|error| {
            tracing::debug!(%error, "groups");
            Vec::new()
        });
        let usages = self.reader.usage(status);
        let mut disk = match &self.own_disk {
            Some(own_disk) => DiskUsage::own(&own_disk()),
            None => DiskUsage::estimate(&usages),
        };
        self.rates.add(&self.bus, status, &usages, &mut disk);
        Overview::of(status, &groups, &disk)
    }
}

#[cfg(test)]
mod tests;
