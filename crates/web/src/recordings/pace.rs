//! How slowly a client may take what is made for it.

use std::time::Duration;

/// Least average rate: slower than a telephone line keeps others waiting.
pub(super) const LEAST_BYTES_PER_SECOND: u64 = 64 << 10;
/// Over so much waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Counts the time that was waited for the client, and nothing else: a log that is read slowly is not its fault.
#[derive(Debug)]
pub(super) struct Pace {
    longest: Duration,
    waited: Duration,
    taken: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self::with(LONGEST_WAIT)
    }
}

impl Pace {
    pub(super) fn with(longest: Duration) -> Self {
        Self { longest, waited: Duration::ZERO, taken: 0 }
    }

    /// How much longer the client may keep others waiting.
    pub(super) fn left(&self) -> Duration {
        self.longest.saturating_sub(self.waited)
    }

    /// The client took this many bytes after so long; it begins anew once that was as much as it has to take.
    pub(super) fn took(&mut self, bytes: u64, waited: Duration) {
        self.waited += waited;
        self.taken += bytes;
        if self.taken >= LEAST_BYTES_PER_SECOND * self.longest.as_secs().max(1) {
            (self.waited, self.taken) = (Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until a client with this rate has used up its patience; `None` while it keeps on for an hour.
    fn lasts(bytes_per_second: u64) -> Option<u64> {
        let mut pace = Pace::default();
        (1..=3_600).find(|_| {
            pace.took(bytes_per_second, SECOND);
            pace.left().is_zero()
        })
    }

    #[test]
    fn a_steady_reader_goes_on_and_a_trickle_does_not() {
        assert_eq!(lasts(LEAST_BYTES_PER_SECOND), None);
        assert_eq!(lasts(1 << 30), None);
        assert_eq!(lasts(LEAST_BYTES_PER_SECOND - 1_024), Some(60));
        assert_eq!(lasts(1), Some(60));
    }

    #[test]
    fn a_pause_is_made_up_for_by_what_was_taken_before() {
        let mut pace = Pace::default();
        pace.took(LEAST_BYTES_PER_SECOND * 59, SECOND);
        pace.took(LEAST_BYTES_PER_SECOND, 50 * SECOND);
        assert_eq!(pace.left(), Duration::from_secs(60));
        // Time in which nobody waits for the client is not counted.
        (0..1_000).for_each(|_| pace.took(10, Duration::ZERO));
        assert_eq!(pace.left(), Duration::from_secs(60));
    }
}
