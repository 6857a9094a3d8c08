//! A clock that runs, and can be set.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use lumenbus_bus::SystemClock;
use lumenbus_frame::Clock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The system's clock plus an offset on the wall clock only.
#[derive(Debug, Default)]
pub struct ShiftedClock {
    offset_nanos: AtomicI64,
}

impl ShiftedClock {
    /// The wall clock is put forward.
    pub fn forward(&self, by: Duration) {
        self.offset_nanos.fetch_add(i64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }

    /// The wall clock is put back.
    pub fn back(&self, by: Duration) {
        self.offset_nanos.fetch_sub(i64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn unix_nanos(&self) -> i64 {
        SystemClock.unix_nanos() + self.offset_nanos.load(Ordering::SeqCst)
    }

    fn monotonic_nanos(&self) -> u64 {
        SystemClock.monotonic_nanos()
    }
}
