//! Waiting for the end of somebody's transaction: told while it lasts, and given up when the worker is to end.

use super::Ending;
use lumenbus_bus::results::{OpenTransaction, TailWaiter};
use lumenbus_bus::subscriber::Receipt;
use lumenbus_pipeline::Shutdown;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What ends sooner is not told.
const TOLD_AFTER: Duration = Duration::from_secs(1);
/// Told again this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// When a worker is to end.
#[derive(Clone, Copy)]
pub(super) struct Stop<'a> {
    pub(super) shutdown: &'a Shutdown,
    pub(super) deadline: Option<Instant>,
}

impl Stop<'_> {
    /// Why it is to end now.
    pub(super) fn ending(&self) -> Option<Ending> {
        if self.shutdown.is_requested() {
            return Some(Ending::Interrupted);
        }
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline).then_some(Ending::Limit)
    }
}

/// What a worker waits for, for those who ask it.
#[derive(Debug, Default)]
pub(super) struct HoldUp(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    transaction: Option<OpenTransaction>,
    told: Option<Instant>,
}

impl HoldUp {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction that is waited for, when that was long enough to be told.
    pub(super) fn transaction(&self) -> Option<OpenTransaction> {
        let state = self.lock();
        state.told.and_then(|_| state.transaction.clone())
    }

    fn set(&self, transaction: OpenTransaction, now: Instant) {
        let mut state = self.lock();
        let waited = now.saturating_duration_since(transaction.since);
        let is_due = match state.told {
            None => waited >= TOLD_AFTER,
            Some(told) => now.saturating_duration_since(told) >= TOLD_EVERY,
        };
        if is_due {
            state.told = Some(now);
            tracing::warn!(
                "some producer's transaction is open in partition {} of {} from offset {} on; results of this partition's \
                 cameras wait for its end, {} s by now. A worker that was killed leaves one for some 20 s; others end at \
                 their producer's transaction.timeout.ms",
                transaction.partition,
                transaction.topic,
                transaction.from_offset,
                waited.as_secs(),
            );
        }
        state.transaction = Some(transaction);
    }

    fn clear(&self) {
        let State { transaction, told } = std::mem::take(&mut *self.lock());
        if let (Some(OpenTransaction { topic, partition, since, .. }), Some(_)) = (transaction, told) {
            let waited = since.elapsed();
            tracing::info!(
                "partition {partition} of {topic} is waited for no longer, after {:.1} s",
                waited.as_secs_f64()
            );
        }
    }
}

/// A wait of one worker at one frame.
pub(super) struct Wait<'a> {
    pub(super) hold_up: &'a HoldUp,
    pub(super) stop: Stop<'a>,
    /// Whether nothing is written any more.
    pub(super) is_closed: &'a dyn Fn() -> bool,
    /// Of what is waited with.
    pub(super) receipt: &'a Receipt,
}

impl TailWaiter for Wait<'_> {
    fn gives_up(&self) -> bool {
        self.receipt.is_stale() || (self.is_closed)() || self.stop.ending().is_some()
    }

    fn waits(&self, held_up_by: OpenTransaction) {
        self.hold_up.set(held_up_by, Instant::now());
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.hold_up.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::TopicName;

    #[test]
    fn a_wait_is_told_when_it_is_long_and_forgotten_when_it_is_over() {
        let (hold_up, since) = (HoldUp::default(), Instant::now());
        let topic = TopicName::new("analysis_results").unwrap();
        let open = OpenTransaction { topic, partition: 3, from_offset: 7, since };
        hold_up.set(open.clone(), since + TOLD_AFTER / 2);
        assert_eq!(hold_up.transaction(), None);
        hold_up.set(open.clone(), since + TOLD_AFTER);
        assert_eq!(hold_up.transaction(), Some(open));
        hold_up.clear();
        assert_eq!(hold_up.transaction(), None);
    }

    #[test]
    fn a_request_goes_before_a_limit() {
        let shutdown = Shutdown::default();
        let mut stop = Stop { shutdown: &shutdown, deadline: None };
        assert_eq!(stop.ending(), None);
        stop.deadline = Some(Instant::now());
        assert_eq!(stop.ending(), Some(Ending::Limit));
        shutdown.request();
        let stop = Stop { shutdown: &shutdown, ..stop };
        assert_eq!(stop.ending(), Some(Ending::Interrupted));
    }
}
