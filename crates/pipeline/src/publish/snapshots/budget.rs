//! Whose turn it is to make a still.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tells one maker to leave out whatever it has not begun.
#[derive(Debug, Default)]
pub(super) struct Stop {
    is_requested: AtomicBool,
    /// Its own, so that a stop or a turn wakes nobody else; goes with the budget's mutex.
    woken: Condvar,
}

impl Stop {
    pub(super) fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::Acquire)
    }
}

/// What making stills may cost: one at a time, and as long a rest after each.
#[derive(Debug, Default)]
pub struct SnapshotBudget {
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    is_taken: bool,
    /// Who comes next, each maker at most once.
    waiting: VecDeque<Arc<Stop>>,
}

impl Turns {
    fn wake_next(&self) {
        if let (Some(next), false) = (self.waiting.front(), self.is_taken) {
            next.woken.notify_one();
        }
    }
}

impl SnapshotBudget {
    /// Works when it is this maker's turn, and rests; `None` when it is stopped before.
    pub(super) fn spend<T>(&self, stop: &Arc<Stop>, work: impl FnOnce() -> T) -> Option<T> {
        let turn = self.turn(stop)?;
        let began = Instant::now();
        let done = work();
        // Whoever waits for the turn waits for the rest as well: this is what bounds the processor time.
        self.rest(stop, began.elapsed());
        drop(turn);
        Some(done)
    }

    /// Ends every wait of this maker, now and later.
    pub(super) fn stop(&self, stop: &Stop) {
        let turns = self.lock();
        stop.is_requested.store(true, Ordering::Release);
        stop.woken.notify_one();
        drop(turns);
    }

    fn turn(&self, stop: &Arc<Stop>) -> Option<Turn<'_>> {
        let mut turns = self.lock();
        turns.waiting.push_back(Arc::clone(stop));
        let is_mine =
            |turns: &Turns| !turns.is_taken && turns.waiting.front().is_some_and(|next| Arc::ptr_eq(next, stop));
        while !stop.is_requested() && !is_mine(&turns) {
            turns = stop.woken.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        turns.waiting.retain(|waiting| !Arc::ptr_eq(waiting, stop));
        if stop.is_requested() {
            // It may have been woken for its turn, which is the next one's then.
            turns.wake_next();
            return None;
        }
        turns.is_taken = true;
        Some(Turn { budget: self })
    }

    fn rest(&self, stop: &Stop, rest: Duration) {
        let rested = stop.woken.wait_timeout_while(self.lock(), rest, |_| !stop.is_requested());
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Given on when it is dropped, by a panic in a codec too.
struct Turn<'a> {
    budget: &'a SnapshotBudget,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.budget.lock();
        turns.is_taken = false;
        turns.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    /// Ends only what hangs.
    const PATIENCE: Duration = Duration::from_secs(120);

    fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        let (sender, done) = channel();
        thread::spawn(move || sender.send(work()));
        done
    }

    fn spend(budget: &Arc<SnapshotBudget>, stop: &Arc<Stop>) -> Receiver<Option<&'static str>> {
        let (budget, stop) = (Arc::clone(budget), Arc::clone(stop));
        in_thread(move || budget.spend(&stop, || "made"))
    }

    #[test]
    fn who_is_stopped_does_not_wait_for_its_turn_and_the_next_gets_it() {
        let (budget, [first, second, third]) = (Arc::<SnapshotBudget>::default(), <[Arc<Stop>; 3]>::default());
        let turn = budget.turn(&first).unwrap();
        let (stopped, next) = (spend(&budget, &second), spend(&budget, &third));
        budget.stop(&second);
        assert_eq!(stopped.recv_timeout(PATIENCE), Ok(None), "while the turn is another's");
        drop(turn);
        assert_eq!(next.recv_timeout(PATIENCE), Ok(Some("made")));
        assert_eq!(budget.spend(&second, || "made"), None);
        assert!(budget.lock().waiting.is_empty());
    }

    #[test]
    fn a_stop_ends_the_rest() {
        let (budget, stop) = (Arc::<SnapshotBudget>::default(), Arc::<Stop>::default());
        let resting = {
            let (budget, stop) = (Arc::clone(&budget), Arc::clone(&stop));
            in_thread(move || budget.rest(&stop, Duration::from_secs(86_400)))
        };
        budget.stop(&stop);
        assert_eq!(resting.recv_timeout(PATIENCE), Ok(()));
    }

    #[test]
    fn a_panic_gives_the_turn_on() {
        let (budget, [first, second]) = (Arc::<SnapshotBudget>::default(), <[Arc<Stop>; 2]>::default());
        let panicked = catch_unwind(AssertUnwindSafe(|| budget.spend(&first, || panic!("on purpose"))));
        assert!(panicked.is_err());
        assert_eq!(spend(&budget, &second).recv_timeout(PATIENCE), Ok(Some("made")));
    }
}
