//! Which frames are traced.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SECOND_NANOS: u64 = 1_000_000_000;
/// Frames of so long a time may be traced at once: streams that begin together, a group of pictures.
const BURST_NANOS: u64 = SECOND_NANOS / 10;

/// A share of the frames, each with the same chance.
#[derive(Debug)]
pub(super) struct Turns {
    ratio: f64,
    /// Logarithm of the chance that a frame is not sampled.
    ln_miss: f64,
}

impl Turns {
    /// `ratio` is 0 to 1.
    pub(super) fn new(ratio: f64) -> Self {
        Self { ratio, ln_miss: (-ratio).ln_1p() }
    }

    /// Whether a frame is sampled, decided on its own.
    pub(super) fn is_now(&self) -> bool {
        rand::random::<f64>() < self.ratio
    }

    /// How many frames are not sampled before the next one that is: as many as if each were decided on its own.
    pub(super) fn left(&self) -> u64 {
        self.left_for(1.0 - rand::random::<f64>())
    }

    /// For a random number above 0, up to 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    fn left_for(&self, random: f64) -> u64 {
        if self.ln_miss < 0.0 { (random.ln() / self.ln_miss) as u64 } else { u64::MAX }
    }
}

/// So many in a second, spread over it.
#[derive(Debug)]
pub(super) struct Budget {
    began: Instant,
    /// From one to the next; `None` when there are none.
    interval_nanos: Option<u64>,
    /// When the next one is due, in nanoseconds since the beginning.
    due_nanos: AtomicU64,
}

impl Budget {
    pub(super) fn new(most_per_second: u32) -> Self {
        let interval_nanos = SECOND_NANOS.checked_div(u64::from(most_per_second));
        Self { began: Instant::now(), interval_nanos, due_nanos: AtomicU64::new(0) }
    }

    /// Whether there is one to be had now.
    pub(super) fn take(&self) -> bool {
        self.take_at(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn take_at(&self, now_nanos: u64) -> bool {
        let Some(interval_nanos) = self.interval_nanos else { return false };
        // It may be taken so long before it is due.
        let early_nanos = BURST_NANOS.saturating_sub(interval_nanos);
        let next = |due: u64| {
            let due = due.max(now_nanos);
            (due - now_nanos <= early_nanos).then(|| due.saturating_add(interval_nanos))
        };
        self.due_nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_as_often_as_if_each_frame_were_decided_on_its_own() {
        let tenth = Turns::new(0.1);
        // P(left = 0) = 0.1, P(left ≤ 1) = 0.19: the random number is the chance that it is more.
        assert_eq!([1.0, 0.901, 0.899, 0.811, 0.809].map(|random| tenth.left_for(random)), [0, 0, 1, 1, 2]);
        let (never, always) = (Turns::new(0.0), Turns::new(1.0));
        for random in [f64::MIN_POSITIVE, 0.5, 1.0] {
            assert_eq!((never.left_for(random), always.left_for(random)), (u64::MAX, 0));
        }
    }

    #[test]
    fn a_budget_is_spread_over_the_second() {
        let budget = Budget::new(100);
        let taken = |from: u64, to: u64| (from..to).filter(|millis| budget.take_at(millis * 1_000_000)).count();
        assert_eq!(taken(0, 1), 1);
        assert_eq!((0..50).filter(|_| budget.take_at(0)).count(), 9, "a tenth of a second at once");
        assert_eq!(taken(0, 500), 49);
        assert_eq!(taken(500, 1_000), 50);
        assert_eq!((0..50).filter(|_| budget.take_at(3_600 * SECOND_NANOS)).count(), 10, "rest is not saved up");
    }

    #[test]
    fn budgets_of_none_one_and_any() {
        let taken = |most: u32| {
            let budget = Budget::new(most);
            (0..1_000).filter(|_| budget.take_at(5)).count()
        };
        assert_eq!((taken(0), taken(1), taken(u32::MAX)), (0, 1, 1_000));
    }
}
