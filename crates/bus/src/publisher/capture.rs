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

/// A camera whose freshest frame is older than this has a clock that is behind, not a slow way to us.
const MAX_FRESH_AGE_NANOS: i64 = 10 * 1_000_000_000;
/// The freshest frame is looked for in this much time, so that a clock that is set is followed.
const FRESH_WINDOW_NANOS: u64 = 15 * 1_000_000_000;

/// By how much one camera's clock is behind, estimated from the freshest of its last frames.
///
/// Without it every frame of a camera that is an hour behind would be past its deadline, and too old for a live reader.
#[derive(Debug, Default)]
pub(crate) struct CameraClock {
    window_start_nanos: u64,
    /// Least age seen in the window under way and in the one before.
    least: Option<i64>,
    least_before: Option<i64>,
}

impl CameraClock {
    /// Takes note of a frame that arrives now.
    pub(crate) fn observe(&mut self, capture: CaptureTime, now_unix_nanos: i64, monotonic_nanos: u64) {
        if monotonic_nanos.saturating_sub(self.window_start_nanos) >= FRESH_WINDOW_NANOS {
            self.window_start_nanos = monotonic_nanos;
            self.least_before = self.least.take();
        }
        let age = now_unix_nanos.saturating_sub(capture.unix_nanos);
        self.least = Some(self.least.map_or(age, |least| least.min(age)));
    }

    /// How old a frame is now; a camera that is ahead has no age.
    pub(crate) fn age_nanos(&self, capture: CaptureTime, now_unix_nanos: i64) -> u64 {
        let freshest = self.least.into_iter().chain(self.least_before).min().unwrap_or(0);
        let behind = if freshest > MAX_FRESH_AGE_NANOS { freshest } else { 0 };
        let age = now_unix_nanos.saturating_sub(capture.unix_nanos).saturating_sub(behind);
        u64::try_from(age).unwrap_or(0)
    }
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
    fn the_age_of_a_frame_does_not_hang_on_the_cameras_hour() {
        const SECOND: i64 = 1_000_000_000;
        let mut clock = CameraClock::default();
        let mut age = |camera_behind: i64, way: i64, at: i64| {
            let (now, capture) = (NOW + at, CaptureTime::sensor(NOW + at - camera_behind - way));
            clock.observe(capture, now, u64::try_from(at).unwrap());
            i64::try_from(clock.age_nanos(capture, now)).unwrap()
        };
        assert_eq!(age(0, SECOND, 0), SECOND, "a slow way counts");
        assert_eq!(age(-3_600 * SECOND, 0, SECOND), 0, "ahead");
        assert_eq!(age(0, 5 * SECOND, 2 * SECOND), 5 * SECOND, "set right again");
        // Set an hour back: late until the windows have passed, then as before.
        assert!(age(3_600 * SECOND, 0, 3 * SECOND) >= 3_600 * SECOND);
        assert!(age(3_600 * SECOND, 0, 16 * SECOND) >= 3_600 * SECOND);
        assert_eq!(age(3_600 * SECOND, 0, 32 * SECOND), 0);
        assert_eq!(age(3_600 * SECOND, 2 * SECOND, 33 * SECOND), 2 * SECOND);
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
