//! Capture times by what cameras say of their clocks, checked.

use lumenbus_frame::{CaptureSource, CaptureTime};

/// A camera's clock may be so far behind the arrival of its frames, network and buffers included,
const MAX_BEHIND_NANOS: i64 = 10_000_000_000;
/// and so far ahead of it; beyond that, arrival is nearer to the truth.
const MAX_AHEAD_NANOS: i64 = 1_000_000_000;
/// From one frame to the next, capture and media time may differ by so much; more is a step of a clock.
const MAX_STEP_NANOS: i64 = 1_000_000_000;
/// From 1900 (NTP) to 1970.
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// Turns timestamps of a camera into capture times.
#[derive(Debug, Default)]
pub(crate) struct CaptureClock {
    /// Ticks and Unix nanoseconds of what the camera said last about its clock, and how it said it.
    report: Option<(i64, i64, CaptureSource)>,
    /// Of the newest frame in presentation order.
    last: Option<(i64, CaptureTime)>,
}

/// A frame's capture time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) capture: CaptureTime,
    /// A clock was set between the frame before and this one.
    pub(crate) is_step: bool,
}

impl CaptureClock {
    /// A sender report (RFC 3550, section 6.4.1): `ntp` is when the camera's clock stood at `ticks`.
    pub(super) fn report(&mut self, ticks: i64, ntp: u64) {
        let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
        let nanos = (fraction * 1_000_000_000) >> 32;
        let unix = seconds
            .checked_sub(UNIX_EPOCH_IN_NTP)
            .and_then(|seconds| i64::try_from(seconds * 1_000_000_000 + nanos).ok());
        // A camera without a clock sends 0.
        self.report = unix.map(|unix| (ticks, unix, CaptureSource::Rtcp));
    }

    /// The camera says by itself when the frame of `ticks` was taken, in Unix nanoseconds, or does not say it.
    pub(crate) fn state(&mut self, ticks: i64, unix_nanos: Option<i64>) {
        self.report = unix_nanos.map(|unix| (ticks, unix, CaptureSource::Sensor));
    }

    /// When the frame of `ticks` that arrives at `arrival` was taken.
    pub(crate) fn stamp(&mut self, ticks: i64, clock_rate: u32, arrival: i64) -> Stamp {
        let nanos = |ticks: i64| {
            let nanos = i128::from(ticks) * 1_000_000_000 / i128::from(clock_rate.max(1));
            i64::try_from(nanos).unwrap_or(i64::MAX)
        };
        let reported = self.report.map(|(at, unix, source)| CaptureTime {
            unix_nanos: unix.saturating_add(nanos(ticks.saturating_sub(at))),
            source,
        });
        let plausible = arrival.saturating_sub(MAX_BEHIND_NANOS)..=arrival.saturating_add(MAX_AHEAD_NANOS);
        let reported = reported.filter(|capture| plausible.contains(&capture.unix_nanos));
        let mut capture = reported.unwrap_or_else(|| CaptureTime::arrival(arrival));
        let mut is_step = false;
        if let Some((last_ticks, last)) = self.last {
            let media = nanos(ticks.saturating_sub(last_ticks));
            let passed = capture.unix_nanos.saturating_sub(last.unix_nanos);
            let ahead = passed.saturating_sub(media);
            // Arrival jumps ahead when the network has stood still, too.
            is_step = ahead < -MAX_STEP_NANOS || (ahead > MAX_STEP_NANOS && last.source != CaptureSource::Arrival);
            // The first report says by how much arrival was late; time stands until it has made up for that.
            if media > 0 && passed <= 0 && !is_step {
                capture.unix_nanos = last.unix_nanos + 1;
            }
        }
        if is_step || self.last.is_none_or(|(last, _)| ticks > last) {
            self.last = Some((ticks, capture));
        }
        Stamp { capture, is_step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_750_000_000_000_000_000;
    const FRAME: i64 = 3_600;
    const FRAME_NANOS: i64 = 40_000_000;

    fn ntp(unix_nanos: i64) -> u64 {
        let unix_nanos = u64::try_from(unix_nanos).unwrap();
        let (seconds, nanos) = (unix_nanos / 1_000_000_000, unix_nanos % 1_000_000_000);
        (seconds + UNIX_EPOCH_IN_NTP) << 32 | ((nanos << 32) / 1_000_000_000)
    }

    fn near(stamp: Stamp, unix_nanos: i64, source: CaptureSource) {
        let off = (stamp.capture.unix_nanos - unix_nanos).abs();
        assert!(off < 1_000 && stamp.capture.source == source && !stamp.is_step, "{stamp:?}, {off} ns off");
    }

    #[test]
    fn a_report_dates_the_frames_around_it() {
        let mut clock = CaptureClock::default();
        clock.report(0, ntp(NOW));
        near(clock.stamp(FRAME, 90_000, NOW + 5 * FRAME_NANOS), NOW + FRAME_NANOS, CaptureSource::Rtcp);
        near(clock.stamp(-FRAME, 90_000, NOW), NOW - FRAME_NANOS, CaptureSource::Rtcp);
    }

    #[test]
    fn a_wrong_clock_does_not_count() {
        for wrong in [NOW - 3_600_000_000_000, NOW + 3_600_000_000_000] {
            let mut clock = CaptureClock::default();
            clock.report(0, ntp(wrong));
            near(clock.stamp(0, 90_000, NOW), NOW, CaptureSource::Arrival);
        }
        let mut clock = CaptureClock::default();
        clock.report(0, 0);
        near(clock.stamp(0, 90_000, NOW), NOW, CaptureSource::Arrival);
    }

    #[test]
    fn time_does_not_go_back_when_the_first_report_comes() {
        let mut clock = CaptureClock::default();
        near(clock.stamp(0, 90_000, NOW), NOW, CaptureSource::Arrival);
        clock.report(0, ntp(NOW - 90_000_000));
        let times: Vec<_> = (1..5)
            .map(|frame| clock.stamp(frame * FRAME, 90_000, NOW + frame * FRAME_NANOS).capture.unix_nanos - NOW)
            .collect();
        assert_eq!(times[..2], [1, 2]);
        assert!((times[2] - 30_000_000).abs() < 1_000 && (times[3] - 70_000_000).abs() < 1_000, "{times:?}");
    }

    #[test]
    fn a_network_that_stood_still_is_no_step_and_a_clock_set_back_is() {
        let mut clock = CaptureClock::default();
        near(clock.stamp(0, 90_000, NOW), NOW, CaptureSource::Arrival);
        let late = NOW + 5_000_000_000;
        near(clock.stamp(FRAME, 90_000, late), late, CaptureSource::Arrival);
        let back = clock.stamp(2 * FRAME, 90_000, NOW - 3_600_000_000_000);
        assert!(back.is_step && back.capture.unix_nanos < NOW, "{back:?}");
        let after = NOW - 3_600_000_000_000 + FRAME_NANOS;
        near(clock.stamp(3 * FRAME, 90_000, after), after, CaptureSource::Arrival);
    }

    #[test]
    fn a_step_of_the_clock_is_told_once() {
        let mut clock = CaptureClock::default();
        clock.report(0, ntp(NOW));
        assert!(!clock.stamp(0, 90_000, NOW).is_step);
        clock.report(0, ntp(NOW - 5_000_000_000));
        let steps: Vec<_> =
            (1..4).map(|frame| clock.stamp(frame * FRAME, 90_000, NOW + frame * FRAME_NANOS).is_step).collect();
        assert_eq!(steps, [true, false, false]);
    }
}
