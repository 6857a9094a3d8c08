//! Log lines that a peer can cause as often as it likes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one kind closer together than this are counted, not written.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line of a kind through per second.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// How many lines were left out since the last one, if another may be written now.
    pub(crate) fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            counted.left_out += 1;
            return None;
        }
        counted.last = Some(now);
        Some(std::mem::take(&mut counted.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_tells_of_those_left_out() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.due_at(start), Some(0));
        for _ in 0..3 {
            assert_eq!(seldom.due_at(start + INTERVAL / 2), None);
        }
        assert_eq!(seldom.due_at(start + INTERVAL), Some(3));
        assert_eq!(seldom.due_at(start + 2 * INTERVAL), Some(0));
    }
}
