//! Hands frames on in the rhythm they were captured in, or a multiple of it.

use super::Ending;
use crate::Shutdown;
use lumenbus_bus::subscriber::{DeliveredFrame, FrameRole};
use lumenbus_frame::StreamId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When everything is later than this, the rhythm begins anew instead of catching up in a burst.
const MAX_LAG_SECONDS: f64 = 1.0;
/// Pictures out of order go back less than this; beyond it, a clock was set.
const MAX_STEP_BACK_NANOS: i64 = 1_000_000_000;
/// So far behind, a stream catches up at once, to be level with those it was captured with; from farther it does not.
const MAX_BEHIND_NANOS: i64 = 10_000_000_000;

/// One clock for all streams: what was captured together is due together, in whatever order the partitions are read.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// A place on the common time line, and when it was due.
    anchor: Option<(i64, Instant)>,
    /// The first place of all.
    beginning_nanos: i64,
    /// The farthest place handed on so far.
    farthest_nanos: i64,
    cameras: HashMap<Arc<StreamId>, CameraClock>,
}

/// Where a stream is, by its camera's clock.
#[derive(Debug, Clone, Copy)]
struct CameraClock {
    capture_nanos: i64,
    /// What the clock is ahead of the broker's.
    ahead_nanos: i64,
    /// How much later than it was recorded the stream is played.
    later_nanos: i64,
}

impl CameraClock {
    /// A stream's first frame, where the common time line began at `beginning` and is at `here`.
    fn first(capture: i64, append: Option<i64>, beginning: i64, here: i64) -> Self {
        let is_behind = |append: &i64| {
            append.saturating_sub(capture) > MAX_BEHIND_NANOS && append.saturating_sub(here) <= MAX_STEP_BACK_NANOS
        };
        let place = append.filter(is_behind).unwrap_or(capture);
        // Behind `here` is also what was read late; that lies behind the beginning.
        let is_older = place < beginning.saturating_sub(MAX_BEHIND_NANOS);
        let later_nanos = if is_older { here.saturating_sub(place) } else { 0 };
        Self { capture_nanos: capture, ahead_nanos: capture.saturating_sub(place), later_nanos }
    }
}

impl Pace {
    /// Waits until the frame is due; says why it is not handed on, where the deadline or a shutdown comes first.
    pub(super) fn wait(
        &mut self,
        frame: &DeliveredFrame,
        speed: f64,
        deadline: Option<Instant>,
        shutdown: &Shutdown,
    ) -> Option<Ending> {
        // Only there to be decoded.
        if frame.role == FrameRole::Preroll {
            return None;
        }
        // The broker cuts off what is less than a millisecond.
        let appended = frame.append_unix_millis.map(|millis| millis.saturating_add(1).saturating_mul(1_000_000));
        let at = (frame.header.capture.unix_nanos, appended);
        sleep(self.due(speed, &frame.stream, at, Instant::now()), deadline, shutdown)
    }

    /// How long a frame with these times of capture and append waits at `now`; in whichever direction time goes.
    pub(super) fn due(
        &mut self,
        speed: f64,
        stream: &Arc<StreamId>,
        (capture_nanos, append_nanos): (i64, Option<i64>),
        now: Instant,
    ) -> Duration {
        let here = self.anchor.map(|(place, since)| place.saturating_add(media_nanos(now, since, speed)));
        let place = self.place(stream, capture_nanos, append_nanos, here);
        let (origin, since) = *self.anchor.get_or_insert_with(|| {
            self.beginning_nanos = place;
            (place, now)
        });
        #[expect(clippy::cast_precision_loss, reason = "a wait")]
        let media = place.saturating_sub(origin) as f64 / 1e9 / speed;
        let wait = media - now.saturating_duration_since(since).as_secs_f64();
        if here.is_none() || place >= self.farthest_nanos {
            self.farthest_nanos = place;
            // No other stream is farther: all are late.
            if wait < -MAX_LAG_SECONDS {
                self.anchor = Some((place, now));
            }
        }
        Duration::try_from_secs_f64(wait.max(0.0)).unwrap_or(Duration::MAX)
    }

    /// On the common time line, where it is `here` now.
    fn place(&mut self, stream: &Arc<StreamId>, capture: i64, append: Option<i64>, here: Option<i64>) -> i64 {
        let (beginning, reached) = here.map_or((capture, capture), |here| (self.beginning_nanos, here));
        let clock = self.cameras.entry(Arc::clone(stream));
        let clock = clock.or_insert_with(|| CameraClock::first(capture, append, beginning, reached));
        if capture < clock.capture_nanos.saturating_sub(MAX_STEP_BACK_NANOS) {
            // Set back: it goes on from here.
            clock.ahead_nanos = capture.saturating_add(clock.later_nanos).saturating_sub(self.farthest_nanos);
        }
        clock.capture_nanos = capture;
        let place = capture.saturating_sub(clock.ahead_nanos).saturating_add(clock.later_nanos);
        // Nothing is appended before it was captured: a camera's clock that says so is ahead.
        let append = append.map(|append| append.saturating_add(clock.later_nanos));
        let latest = append.map_or(place, |append| append.max(here.unwrap_or(append)));
        clock.ahead_nanos = clock.ahead_nanos.saturating_add(place.saturating_sub(latest).max(0));
        place.min(latest)
    }
}

/// Media time since a moment.
#[expect(clippy::cast_possible_truncation, reason = "a place on a time line, saturating")]
fn media_nanos(now: Instant, since: Instant, speed: f64) -> i64 {
    (now.saturating_duration_since(since).as_secs_f64() * speed * 1e9) as i64
}

/// Sleeps; says why it was not for as long as asked.
pub(super) fn sleep(wait: Duration, deadline: Option<Instant>, shutdown: &Shutdown) -> Option<Ending> {
    let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
    if !wait.is_zero() {
        shutdown.sleep(wait.min(left));
    }
    match shutdown.is_requested() {
        true => Some(Ending::Interrupted),
        false => (left < wait).then_some(Ending::Limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn stream(camera: &str) -> Arc<StreamId> {
        Arc::new(StreamId::main(camera.parse().unwrap(), "raw_video".parse().unwrap()))
    }

    /// A test's clock: it goes on only while something waits.
    struct Bench {
        pace: Pace,
        speed: f64,
        began: Instant,
        now: Instant,
    }

    impl Bench {
        fn new(speed: f64) -> Self {
            let now = Instant::now();
            Self { pace: Pace::default(), speed, began: now, now }
        }

        fn pass(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        /// When a frame is handed on, in milliseconds since the beginning.
        fn hand_on(&mut self, camera: &str, capture_millis: i64, append_millis: Option<i64>) -> u128 {
            let at = (capture_millis * 1_000_000, append_millis.map(|millis| millis * 1_000_000));
            self.now += self.pace.due(self.speed, &stream(camera), at, self.now);
            (self.now - self.began).as_millis()
        }
    }

    #[test]
    fn frames_are_due_at_their_capture_time_over_the_speed() {
        let mut bench = Bench::new(4.0);
        assert_eq!(bench.hand_on("gate", 5_000, None), 0);
        assert_eq!(bench.hand_on("gate", 7_000, None), 500);
        // Slow, but not so slow as to begin anew; then too slow.
        bench.pass(1_000);
        assert_eq!(bench.hand_on("gate", 9_000, None), 1_500);
        assert_eq!(bench.hand_on("gate", 13_000, None), 2_000);
        bench.pass(7_000);
        assert_eq!(bench.hand_on("gate", 13_000, None), 9_000);
        assert_eq!(bench.hand_on("gate", 17_000, None), 10_000);
        // A clock that was set back does not wait, and goes on from there.
        assert_eq!(bench.hand_on("gate", 0, None), 10_000);
        assert_eq!(bench.hand_on("gate", 2_000, None), 10_500);
    }

    /// What was read of each partition at once: two seconds.
    #[test]
    fn cameras_in_several_partitions_take_no_longer_than_one() {
        let mut bench = Bench::new(1.0);
        let mut last = 0;
        for second in (0..20).step_by(2) {
            for camera in ["gate", "door", "yard"] {
                for at in (second * 1_000..(second + 2) * 1_000).step_by(100) {
                    last = bench.hand_on(camera, at, Some(at + 20));
                }
            }
        }
        assert_eq!(last, 19_900);
    }

    #[test]
    fn a_clock_that_is_ahead_makes_nobody_wait() {
        let mut bench = Bench::new(1.0);
        assert_eq!(bench.hand_on("gate", 0, Some(10)), 0);
        assert_eq!(bench.hand_on("ahead", HOUR + 500, Some(500)), 500);
        assert_eq!(bench.hand_on("gate", 1_000, Some(1_010)), 1_000);
        assert_eq!(bench.hand_on("ahead", HOUR + 1_500, Some(1_500)), 1_500);
        // Set right, then ahead again.
        assert_eq!(bench.hand_on("ahead", 2_500, Some(2_510)), 1_500);
        assert_eq!(bench.hand_on("ahead", 3_500, Some(3_510)), 2_500);
        assert_eq!(bench.hand_on("ahead", HOUR + 4_500, Some(4_510)), 4_510);
        // Of what was appended late, the clock may be right.
        assert_eq!(bench.hand_on("late", 4_600, Some(HOUR)), 4_600);
    }

    #[test]
    fn what_is_older_than_the_beginning_is_paced_from_where_the_others_are() {
        let mut bench = Bench::new(1.0);
        for at in (0..=2_000).step_by(100) {
            bench.hand_on("gate", at, Some(at + 20));
        }
        // Recorded since two hours before.
        let before = -2 * HOUR;
        for at in (0..=2_000).step_by(100) {
            assert_eq!(
                bench.hand_on("door", before + at, Some(before + at + 20)),
                u128::from(at.unsigned_abs()) + 2_000
            );
        }
        assert_eq!(bench.hand_on("gate", 5_000, Some(5_020)), 5_000);
        assert_eq!(bench.hand_on("door", before + 5_000, Some(before + 5_020)), 7_000);
        // A little older: level with the others as soon as may be.
        assert_eq!(bench.hand_on("yard", -3_000, Some(-2_980)), 7_000);
        assert_eq!(bench.hand_on("yard", 8_000, Some(8_020)), 8_000);
    }

    #[test]
    fn a_clock_that_is_behind_is_paced_like_the_others() {
        let mut bench = Bench::new(1.0);
        for second in (0..20).step_by(2) {
            for (camera, behind) in [("gate", 0), ("behind", HOUR), ("unknown", 2 * HOUR)] {
                for at in (second * 1_000..(second + 2) * 1_000).step_by(100) {
                    let append = (camera != "unknown").then_some(at + 20);
                    let (handed_on, at) = (bench.hand_on(camera, at - behind, append), u128::from(at.unsigned_abs()));
                    assert!((at..at + 2_000).contains(&handed_on), "{camera} {at}: {handed_on}");
                }
            }
        }
        // Set right: at its append time still.
        assert_eq!(bench.hand_on("behind", 30_000, Some(30_020)), 30_020);
        assert_eq!(bench.hand_on("behind", 31_000, Some(31_020)), 31_020);
    }

    #[test]
    fn absences_last_and_what_stalled_for_all_goes_on_from_there() {
        let mut bench = Bench::new(1.0);
        for camera in ["gate", "door"] {
            assert_eq!(bench.hand_on(camera, 0, Some(0)), 0);
        }
        assert_eq!(bench.hand_on("gate", 60_000, Some(60_000)), 60_000);
        assert_eq!(bench.hand_on("door", 30_000, Some(30_000)), 60_000);
        bench.pass(9_000);
        assert_eq!(bench.hand_on("gate", 61_000, Some(61_000)), 69_000);
        assert_eq!(bench.hand_on("door", 61_500, Some(61_500)), 69_500);
    }

    #[test]
    fn a_wait_ends_with_the_deadline_and_with_a_shutdown() {
        let (shutdown, now) = (Shutdown::default(), Instant::now());
        assert_eq!(sleep(Duration::MAX, Some(now), &shutdown), Some(Ending::Limit));
        assert_eq!(sleep(Duration::ZERO, Some(now), &shutdown), None, "it is due");
        assert_eq!(sleep(Duration::from_nanos(1), None, &shutdown), None);
        shutdown.request();
        assert_eq!(sleep(Duration::MAX, None, &shutdown), Some(Ending::Interrupted));
    }
}
