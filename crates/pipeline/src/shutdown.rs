//! Stopping in two steps: the first request finishes what is begun, the second is the caller's to act on.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by everything that must stop; cheap to ask.
#[derive(Debug, Default)]
pub struct Shutdown {
    requests: AtomicU32,
    sleepers: Mutex<()>,
    wake: Condvar,
}

impl Shutdown {
    /// Asks to stop and wakes every sleeper; answers how many requests there have been.
    pub fn request(&self) -> u32 {
        let requests = self.requests.fetch_add(1, Ordering::AcqRel) + 1;
        drop(self.sleepers.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
        requests
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// Sleeps, but not beyond a request.
    pub fn sleep(&self, duration: Duration) {
        let sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(sleepers, duration, |()| !self.is_requested());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn a_request_ends_a_sleep_of_an_hour() {
        let shutdown = Arc::new(Shutdown::default());
        let other = Arc::clone(&shutdown);
        let since = Instant::now();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(3_600)));
        assert_eq!(shutdown.request(), 1);
        sleeper.join().unwrap();
        assert!(since.elapsed() < Duration::from_secs(3_600));
        assert_eq!(shutdown.request(), 2);
        assert!(shutdown.is_requested());
    }
}
