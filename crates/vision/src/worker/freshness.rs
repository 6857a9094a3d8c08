//! Policy `newest` with a slow detector: which picture is too old to begin with, while newer ones are on their way.
//!
//! A result is at most two of the detector's periods old when its picture was at most one period old, less what writing
//! takes, as the detector began with it. While decoding keeps pace every picture is. Where it lags behind, pictures come to
//! the desk old already, and more so towards the end of a GOP: the next keyframe then takes the place of all that waits.

use std::time::Duration;

/// From the end of a look to where readers have its result: the transaction, and its commit.
const WRITING: Duration = Duration::from_millis(150);
/// Of a quicker detector the way of a frame takes longer than its periods: all its pictures are looked at.
const SLOW: Duration = Duration::from_millis(300);
/// A stream of which nothing was looked at for so long has an old picture looked at: better than none.
const STARVED: Duration = Duration::from_secs(10);
/// Decoding that has been behind for so long does not catch up by itself.
const BEHIND: Duration = Duration::from_secs(2);

/// How long the detector takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Freshness {
    period: Option<Duration>,
}

impl Freshness {
    /// A look took so long.
    pub(super) fn looked(&mut self, took: Duration) {
        self.period = Some(self.period.map_or(took, |period| (period * 3 + took) / 4));
    }

    /// How long a picture may have been on its way here when the detector begins with it; no bound for a quick detector.
    pub(super) fn allowance(&self) -> Option<Duration> {
        self.period.filter(|period| *period >= SLOW).map(|period| period - WRITING)
    }

    /// Whether a picture that was on its way for so long is passed over for the one that comes behind it. `starved`: since the
    /// last picture of its stream was looked at.
    pub(super) fn passes_over(&self, lag: Duration, starved: Duration) -> bool {
        starved < STARVED && self.allowance().is_some_and(|allowance| lag > allowance)
    }
}

/// How far decoding of one stream is behind.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backlog {
    /// How long frames have come too late by now, and since which.
    late_for: Option<Duration>,
    waits_for_keyframe: bool,
}

impl Backlog {
    /// Whether a frame that waited so long to be decoded is not to be. `elapsed`: since the frame before.
    pub(super) fn skips(
        &mut self,
        is_keyframe: bool,
        waited: Duration,
        elapsed: Duration,
        allowance: Option<Duration>,
    ) -> bool {
        if is_keyframe {
            *self = Self::default();
            return false;
        }
        if self.waits_for_keyframe {
            return true;
        }
        self.late_for = match allowance {
            Some(allowance) if waited > allowance => Some(self.late_for.map_or(Duration::ZERO, |late| late + elapsed)),
            _ => None,
        };
        self.waits_for_keyframe = self.late_for.is_some_and(|late| late >= BEHIND);
        self.waits_for_keyframe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const PERIOD: u64 = 500;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// What a camera, a decoder and a detector do, millisecond by millisecond.
    struct Course {
        /// A frame each 33 ms is decoded in so many.
        decode: u64,
        frames_per_gop: u64,
        keeps_fresh: bool,
    }

    impl Course {
        /// Ages of results in two minutes, in milliseconds.
        fn run(&self) -> Vec<u64> {
            let (mut freshness, mut backlog) = (Freshness::default(), Backlog::default());
            freshness.looked(millis(PERIOD));
            // Number and arrival.
            let mut queue: VecDeque<(u64, u64)> = VecDeque::new();
            let (mut decoding, mut slot, mut look) = (None::<(u64, u64)>, None::<u64>, None::<(u64, u64)>);
            let (mut taken, mut last_look, mut ages) = (0, 0, Vec::new());
            for now in 0..120_000 {
                if now % 33 == 0 {
                    let number = now / 33;
                    if number % self.frames_per_gop == 0 {
                        queue.clear();
                    }
                    queue.push_back((number, now));
                }
                if let Some((arrived, _)) = decoding.filter(|(_, done)| *done <= now) {
                    (slot, decoding) = (Some(arrived), None);
                }
                while decoding.is_none() {
                    let Some((number, arrived)) = queue.pop_front() else { break };
                    let is_keyframe = number % self.frames_per_gop == 0;
                    let (waited, elapsed) = (millis(now - arrived), millis(now - taken));
                    taken = now;
                    let skips = backlog.skips(is_keyframe, waited, elapsed, freshness.allowance());
                    if self.keeps_fresh && skips {
                        slot = None;
                    } else {
                        decoding = Some((arrived, now + self.decode));
                    }
                }
                if let Some((arrived, _)) = look.filter(|(_, done)| *done <= now) {
                    ages.push(now - arrived);
                    look = None;
                }
                let Some(arrived) = slot.filter(|_| look.is_none()) else { continue };
                let (lag, starved) = (millis(now - arrived), millis(now - last_look));
                slot = None;
                if self.keeps_fresh && decoding.is_some() && freshness.passes_over(lag, starved) {
                    continue;
                }
                (look, last_look) = (Some((arrived, now + PERIOD)), now);
            }
            ages
        }
    }

    fn oldest(course: &Course) -> u64 {
        course.run().into_iter().max().unwrap()
    }

    #[test]
    fn results_are_at_most_two_periods_old_where_decoding_lags_behind() {
        for (decode, frames_per_gop) in
            [(10, 60), (30, 60), (36, 60), (45, 60), (66, 60), (120, 60), (45, 300), (100, 300)]
        {
            let fresh = Course { decode, frames_per_gop, keeps_fresh: true };
            let old = oldest(&fresh) + u64::try_from(WRITING.as_millis()).unwrap();
            assert!(old <= 2 * PERIOD, "{decode} ms a frame: {old} ms");
            // And there are some: as many as there are GOPs at the least, half of them where a GOP is skipped to its end.
            let gops = 120_000 / 33 / frames_per_gop;
            let count = u64::try_from(fresh.run().len()).unwrap();
            assert!(count >= gops / 2, "{decode} ms a frame: {count} results of {gops} GOPs");
        }
    }

    #[test]
    fn without_the_rule_they_are_as_old_as_decoding_is_behind() {
        assert!(oldest(&Course { decode: 66, frames_per_gop: 60, keeps_fresh: false }) > 3 * PERIOD);
        // Where decoding keeps pace the rule changes nothing.
        let with = Course { decode: 10, frames_per_gop: 60, keeps_fresh: true }.run();
        assert_eq!(with, Course { decode: 10, frames_per_gop: 60, keeps_fresh: false }.run());
    }

    #[test]
    fn a_quick_detector_and_one_that_starves_pass_nothing_over() {
        let mut freshness = Freshness::default();
        assert!(!freshness.passes_over(millis(5_000), Duration::ZERO), "nothing is known yet");
        freshness.looked(millis(20));
        assert!(!freshness.passes_over(millis(5_000), Duration::ZERO));
        freshness = Freshness { period: Some(millis(500)) };
        assert!(!freshness.passes_over(millis(350), Duration::ZERO));
        assert!(freshness.passes_over(millis(351), Duration::ZERO));
        assert!(!freshness.passes_over(millis(351), STARVED));
    }
}
