//! Whether a capture time can be true, and whether this machine's clock was set.

use lumenbus_frame::CaptureTime;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A capture time further than this from arrival is taken for a camera with a wrong clock.
pub(crate) const MAX_CAPTURE_OFFSET_NANOS: i64 = 24 * 3_600 * 1_000_000_000;
/// 2000-01-01T00:00:00Z: no camera that still works has a true time before it.
const EARLIEST_CAPTURE_NANOS: i64 = 946_684_800 * 1_000_000_000;
/// The wall clock was set when it differs from the monotonic one by more than this.
const STEP_NANOS: i64 = 500_000_000;

/// The capture time to publish, and by how much the camera's own was off when it is replaced by arrival.
pub(crate) fn plausible(capture: CaptureTime, now_unix_nanos: i64) -> (CaptureTime, Option<i64>) {
    let offset = capture.unix_nanos.saturating_sub(now_unix_nanos);
    let is_plausible =
        capture.unix_nanos >= EARLIEST_CAPTURE_NANOS && offset.saturating_abs() <= MAX_CAPTURE_OFFSET_NANOS;
    if is_plausible { (capture, None) } else { (CaptureTime::arrival(now_unix_nanos), Some(offset)) }
}

/// Compares wall clock and monotonic clock; shared by all streams.
#[derive(Debug)]
pub(crate) struct StepWatch {
    /// Wall minus monotonic clock, nanoseconds.
    offset_nanos: AtomicI64,
    steps: AtomicU64,
}

impl StepWatch {
    pub(crate) fn new(unix_nanos: i64, monotonic_nanos: u64) -> Self {
        Self { offset_nanos: AtomicI64::new(offset(unix_nanos, monotonic_nanos)), steps: AtomicU64::new(0) }
    }

    /// How many steps there were, and the size in nanoseconds of one that is noticed now.
    pub(crate) fn check(&self, unix_nanos: i64, monotonic_nanos: u64) -> (u64, Option<i64>) {
        let now = offset(unix_nanos, monotonic_nanos);
        let before = self.offset_nanos.load(Ordering::Acquire);
        let step = now.saturating_sub(before);
        if step == 0 {
            return (self.steps.load(Ordering::Acquire), None);
        }
        let is_ours = self.offset_nanos.compare_exchange(before, now, Ordering::AcqRel, Ordering::Acquire).is_ok();
        // What is smaller is drift, which the new offset follows.
        if is_ours && step.saturating_abs() > STEP_NANOS {
            return (self.steps.fetch_add(1, Ordering::AcqRel) + 1, Some(step));
        }
        (self.steps.load(Ordering::Acquire), None)
    }
}

fn offset(unix_nanos: i64, monotonic_nanos: u64) -> i64 {
    unix_nanos.saturating_sub(i64::try_from(monotonic_nanos).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::CaptureSource;

    const NOW: i64 = 1_700_000_000_000_000_000;

    #[test]
    fn an_impossible_time_is_replaced_by_arrival() {
        for (nanos, off) in [
            (NOW, None),
            (NOW - 3_600_000_000_000, None),
            (NOW + 3_600_000_000_000, None),
            (0, Some(-NOW)),
            (NOW + 25 * 3_600_000_000_000, Some(25 * 3_600_000_000_000)),
            (i64::MIN, Some(i64::MIN)),
        ] {
            let (capture, offset) = plausible(CaptureTime::sensor(nanos), NOW);
            assert_eq!(offset, off, "{nanos}");
            let expected = if off.is_none() { (nanos, CaptureSource::Sensor) } else { (NOW, CaptureSource::Arrival) };
            assert_eq!((capture.unix_nanos, capture.source), expected);
        }
    }

    #[test]
    fn a_step_is_told_once_and_drift_is_not() {
        let watch = StepWatch::new(NOW, 0);
        assert_eq!(watch.check(NOW + 1_000, 1_000), (0, None));
        for n in 1..100 {
            let drift = i64::from(n) * 400_000_000;
            assert_eq!(watch.check(NOW + drift, 0).1, None, "drift");
        }
        let base = NOW + 99 * 400_000_000;
        assert_eq!(watch.check(base - 3_600_000_000_000, 0), (1, Some(-3_600_000_000_000)));
        assert_eq!(watch.check(base - 3_600_000_000_000, 0), (1, None));
    }
}
