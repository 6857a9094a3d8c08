//! When a buffer was taken and when it is to be shown.

use gstreamer as gst;
use lumenbus_frame::{CaptureSource, CaptureTime, Clock};
use std::sync::Arc;
use std::time::Duration;

/// A clock may be so far behind the arrival of its frames,
const MAX_BEHIND_NANOS: i64 = 10_000_000_000;
/// and so far ahead of it; beyond that, arrival is nearer to the truth.
const MAX_AHEAD_NANOS: i64 = 1_000_000_000;
/// From one frame to the next, capture and media time may differ by so much; more is a step of a clock.
const MAX_STEP_NANOS: i64 = 1_000_000_000;
/// From 1900 (NTP) to 1970.
const UNIX_EPOCH_IN_NTP_NANOS: i64 = 2_208_988_800 * 1_000_000_000;

/// What a buffer says of its time; nanoseconds all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// Running time at which it is to be shown; may lie before the beginning.
    pub(super) shown: Option<i64>,
    /// Running time at which it is to be decoded, else shown.
    pub(super) due: Option<i64>,
    /// Unix time, where the buffer carries it, and who said so.
    reference: Option<(i64, CaptureSource)>,
    /// In a live pipeline: time since it was stamped, by the pipeline's clock.
    age: Option<i64>,
}

impl Moment {
    /// `running_now` is the pipeline's running time, in a live one.
    pub(super) fn of(sample: &gst::Sample, buffer: &gst::BufferRef, running_now: Option<gst::ClockTime>) -> Self {
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let running = |time: Option<gst::ClockTime>| {
            let time = segment?.to_running_time_full(time?)?;
            Some(match time {
                gst::Signed::Positive(time) => signed(time),
                gst::Signed::Negative(time) => -signed(time),
            })
        };
        let shown = running(buffer.pts());
        Self {
            shown,
            due: running(buffer.dts()).or(shown),
            reference: buffer.iter_meta::<gst::ReferenceTimestampMeta>().find_map(|meta| reference(&meta)),
            age: shown.zip(running_now).map(|(shown, now)| signed(now).saturating_sub(shown)),
        }
    }

    /// On the 90 kHz clock, rounded.
    pub(super) fn pts(&self) -> Option<i64> {
        let ticks = (i128::from(self.shown?) * 9 + 50_000).div_euclid(100_000);
        i64::try_from(ticks).ok()
    }

    /// When it is due, counted from the pipeline's beginning.
    pub(super) fn media_time(&self) -> Option<Duration> {
        self.due.map(|due| Duration::from_nanos(u64::try_from(due).unwrap_or(0)))
    }
}

fn signed(time: gst::ClockTime) -> i64 {
    i64::try_from(time.nseconds()).unwrap_or(i64::MAX)
}

/// Unix time by the sensor's host (`timestamp/x-unix`), or by sender reports (`timestamp/x-ntp`).
fn reference(meta: &gst::ReferenceTimestampMeta) -> Option<(i64, CaptureSource)> {
    let time = signed(meta.timestamp());
    match meta.reference().structure(0)?.name().as_str() {
        "timestamp/x-unix" => Some((time, CaptureSource::Sensor)),
        "timestamp/x-ntp" => Some((time.checked_sub(UNIX_EPOCH_IN_NTP_NANOS)?, CaptureSource::Rtcp)),
        _ => None,
    }
}

/// Gives frames their capture times: what the buffer says, else when a live source stamped it, else arrival.
pub(super) struct Stamper {
    clock: Arc<dyn Clock>,
    /// Unix time of running time 0, by the frame before.
    origin: Option<i64>,
}

/// A frame's capture time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) capture: CaptureTime,
    /// A clock was set between the frame before and this one.
    pub(super) is_step: bool,
}

impl Stamper {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, origin: None }
    }

    pub(super) fn stamp(&mut self, moment: &Moment) -> Stamp {
        let now = self.clock.unix_nanos();
        let plausible = now.saturating_sub(MAX_BEHIND_NANOS)..=now.saturating_add(MAX_AHEAD_NANOS);
        let by_clock = moment.age.map(|age| (now.saturating_sub(age), CaptureSource::Sensor));
        let told = moment.reference.into_iter().chain(by_clock).find(|(unix, _)| plausible.contains(unix));
        let Some((unix_nanos, source)) = told else {
            return Stamp { capture: CaptureTime::arrival(now), is_step: false };
        };
        let origin = moment.shown.map(|shown| unix_nanos.saturating_sub(shown));
        let moved = self.origin.zip(origin).map_or(0, |(before, origin)| origin.saturating_sub(before));
        self.origin = origin.or(self.origin);
        let is_step = moved.unsigned_abs() > MAX_STEP_NANOS.unsigned_abs();
        Stamp { capture: CaptureTime { unix_nanos, source }, is_step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::ManualClock;

    const NOW: i64 = 1_750_000_000_000_000_000;
    const SECOND: i64 = 1_000_000_000;

    fn stamper() -> (Arc<ManualClock>, Stamper) {
        let clock = Arc::new(ManualClock::at(NOW));
        (Arc::clone(&clock), Stamper::new(clock))
    }

    #[test]
    fn the_best_time_that_can_be_right_counts() {
        let (_, mut stamper) = stamper();
        let sensor = |unix_nanos| CaptureTime::sensor(unix_nanos);
        let told = |unix| Some((unix, CaptureSource::Sensor));
        for (reference, age, capture) in [
            (told(NOW - SECOND), Some(5), sensor(NOW - SECOND)),
            (told(NOW - 11 * SECOND), Some(5), sensor(NOW - 5)),
            (told(NOW + 2 * SECOND), Some(-2 * SECOND), CaptureTime::arrival(NOW)),
            (None, Some(5), sensor(NOW - 5)),
            (None, Some(11 * SECOND), CaptureTime::arrival(NOW)),
            (None, None, CaptureTime::arrival(NOW)),
        ] {
            let stamp = stamper.stamp(&Moment { reference, age, ..Moment::default() });
            assert_eq!(stamp, Stamp { capture, is_step: false });
        }
    }

    #[test]
    fn a_clock_that_is_set_is_told_once() {
        let (clock, mut stamper) = stamper();
        let at = |shown| Moment { shown: Some(shown), age: Some(20_000_000), ..Moment::default() };
        assert!(!stamper.stamp(&at(0)).is_step);
        clock.advance(Duration::from_millis(40));
        assert!(!stamper.stamp(&at(40_000_000)).is_step);
        clock.step_to(NOW - 3_600 * SECOND);
        assert!(stamper.stamp(&at(80_000_000)).is_step);
        clock.advance(Duration::from_millis(40));
        assert!(!stamper.stamp(&at(120_000_000)).is_step);
    }

    #[test]
    fn times_become_ticks() {
        let at = |shown, due| Moment { shown: Some(shown), due: Some(due), ..Moment::default() };
        assert_eq!(at(33_333_333, 0).pts(), Some(3_000));
        assert_eq!(at(-33_333_333, 0).pts(), Some(-3_000));
        assert_eq!(at(0, -1).media_time(), Some(Duration::ZERO));
        assert_eq!(Moment::default().pts(), None);
        assert!(at(i64::MAX, i64::MAX).pts().is_some());
    }

    #[test]
    fn buffers_carry_their_time() {
        gst::init().unwrap();
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        // As x264enc does, so that decoding times before the first picture can be told.
        segment.set_start(gst::ClockTime::from_seconds(3_600_000));
        let mut buffer = gst::Buffer::new();
        let edited = buffer.get_mut().unwrap();
        edited.set_pts(gst::ClockTime::from_seconds(3_600_001));
        edited.set_dts(gst::ClockTime::from_seconds(3_599_999));
        let ntp = gst::Caps::builder("timestamp/x-ntp").build();
        let unix = u64::try_from(NOW + UNIX_EPOCH_IN_NTP_NANOS).unwrap();
        gst::ReferenceTimestampMeta::add(edited, &ntp, gst::ClockTime::from_nseconds(unix), gst::ClockTime::NONE);
        let sample = gst::Sample::builder().buffer(&buffer).segment(&segment).build();
        let moment = Moment::of(&sample, &buffer, Some(gst::ClockTime::from_seconds(3)));
        let reference = Some((NOW, CaptureSource::Rtcp));
        assert_eq!(moment, Moment { shown: Some(SECOND), due: Some(-SECOND), reference, age: Some(2 * SECOND) });
    }
}
