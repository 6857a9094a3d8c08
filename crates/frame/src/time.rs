//! When: capture time, deadlines and the injected clock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Where a capture time comes from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CaptureSource {
    /// The sensor's or the file's own clock.
    Sensor,
    /// RTCP sender reports (RFC 3550, section 6.4.1).
    Rtcp,
    /// The moment the frame reached the publisher.
    #[default]
    Arrival,
}

/// When the picture was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CaptureTime {
    /// Nanoseconds since the Unix epoch.
    pub unix_nanos: i64,
    /// Who said so.
    pub source: CaptureSource,
}

impl CaptureTime {
    /// A time taken when the frame arrived.
    #[must_use]
    pub fn arrival(unix_nanos: i64) -> Self {
        Self { unix_nanos, source: CaptureSource::Arrival }
    }

    /// A time the sensor reported.
    #[must_use]
    pub fn sensor(unix_nanos: i64) -> Self {
        Self { unix_nanos, source: CaptureSource::Sensor }
    }
}

/// How long after capture a frame is still worth having.
///
/// Milliseconds on the wire; checked on enqueue, on send and at the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline {
    /// Milliseconds after capture.
    pub after_capture_millis: u32,
}

impl Deadline {
    /// The deadline `after` capture, at most about 49 days.
    #[must_use]
    pub fn after_capture(after: Duration) -> Self {
        Self { after_capture_millis: u32::try_from(after.as_millis()).unwrap_or(u32::MAX) }
    }

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.after_capture_millis))
    }
}

/// The time, injected so that tests own it.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch; may step.
    fn unix_nanos(&self) -> i64;
    /// Nanoseconds since some fixed moment; never steps back.
    fn monotonic_nanos(&self) -> u64;
}

/// A clock that stands still until told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock {
    unix_nanos: AtomicI64,
    monotonic_nanos: AtomicU64,
}

impl ManualClock {
    /// A clock standing at this Unix time.
    #[must_use]
    pub fn at(unix_nanos: i64) -> Self {
        Self { unix_nanos: AtomicI64::new(unix_nanos), monotonic_nanos: AtomicU64::new(0) }
    }

    /// Both clocks go on.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.monotonic_nanos.fetch_add(nanos, Ordering::SeqCst);
        self.unix_nanos.fetch_add(i64::try_from(nanos).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// The wall clock is set; the monotonic one does not notice.
    pub fn step_to(&self, unix_nanos: i64) {
        self.unix_nanos.store(unix_nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_nanos(&self) -> i64 {
        self.unix_nanos.load(Ordering::SeqCst)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.monotonic_nanos.load(Ordering::SeqCst)
    }
}
