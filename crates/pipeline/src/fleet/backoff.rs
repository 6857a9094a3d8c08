//! How long to wait before a camera that failed is tried again.

use std::time::Duration;

/// A camera that ran so long begins with the shortest wait again.
const STEADY: Duration = Duration::from_secs(10);

/// Waits between attempts: doubling from the first to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// After the first failure.
    pub first: Duration,
    /// Never longer.
    pub longest: Duration,
}

impl Default for Retry {
    /// From one second to half a minute.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

/// Counts failures in a row.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    retry: Retry,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(retry: Retry) -> Self {
        Self { retry, failures: 0 }
    }

    /// The wait after an attempt that lasted `ran`. Three quarters to all of the step, by `random`: cameras that lost
    /// the same switch do not all come back in the same moment.
    pub(super) fn wait(&mut self, ran: Duration, random: u64) -> Duration {
        if ran >= STEADY {
            self.failures = 0;
        }
        let step = self.retry.first.saturating_mul(1 << self.failures.min(20)).min(self.retry.longest);
        self.failures = self.failures.saturating_add(1);
        jittered(step, random)
    }

    /// The longest wait at once: where each attempt may do harm.
    pub(super) fn longest(&mut self, random: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        jittered(self.retry.longest, random)
    }
}

fn jittered(step: Duration, random: u64) -> Duration {
    let part = u32::try_from(random % 251).unwrap_or(0);
    step / 4 * 3 + step / 4 * part / 250
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_limit_and_begin_again_after_a_steady_run() {
        let mut backoff = Backoff::new(Retry { first: Duration::from_millis(400), longest: Duration::from_secs(2) });
        let waits: Vec<_> = (0..5).map(|_| backoff.wait(Duration::ZERO, 250).as_millis()).collect();
        assert_eq!(waits, [400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(backoff.wait(Duration::from_secs(60), 0).as_millis(), 300);
    }

    #[test]
    fn the_longest_wait_comes_at_once_and_counts_as_one_failure() {
        let mut backoff = Backoff::new(Retry { first: Duration::from_millis(400), longest: Duration::from_secs(2) });
        let waits = [backoff.longest(250), backoff.longest(0), backoff.wait(Duration::ZERO, 250)];
        assert_eq!(waits.map(|wait| wait.as_millis()), [2_000, 1_500, 1_600]);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        for random in [0, 1, 250, 251, u64::MAX] {
            let wait = Backoff::new(Retry::default()).wait(Duration::ZERO, random);
            assert!((Duration::from_millis(750)..=Duration::from_secs(1)).contains(&wait), "{wait:?}");
        }
    }
}
