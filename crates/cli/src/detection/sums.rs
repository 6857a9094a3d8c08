//! What several workers did, together.

use lumenbus_bus::results::ResultStats;
use lumenbus_vision::worker::{Worker, WorkerCounts};

/// All workers together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) counts: WorkerCounts,
    pub(crate) written: ResultStats,
}

impl Sums {
    /// What one did so far.
    pub(crate) fn of(worker: &Worker) -> Self {
        Self { counts: worker.counts(), written: worker.written() }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        let (mine, more) = (self.written, other.written);
        Self {
            counts: self.counts.and(other.counts),
            written: ResultStats {
                results: mine.results + more.results,
                features: mine.features + more.features,
                events: mine.events + more.events,
                transactions: mine.transactions + more.transactions,
                aborted: mine.aborted + more.aborted,
                given_away: mine.given_away + more.given_away,
            },
        }
    }
}
