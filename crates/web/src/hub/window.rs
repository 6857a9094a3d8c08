//! Figures over a sliding window; time is an argument.

use std::collections::VecDeque;

/// Samples older than this are left out.
const WINDOW_MILLIS: i64 = 10_000;
/// Most samples kept of one figure: 10 s at 50 a second.
const MAX_SAMPLES: usize = 512;
/// Rates are taken over this many whole seconds.
const RATE_SECONDS: i64 = 5;

/// Two percentiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Percentiles {
    /// Half is below.
    pub p50_ms: f64,
    /// 99 of 100 are below.
    pub p99_ms: f64,
}

/// Durations of the last ten seconds, at most 512 of them.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    samples: VecDeque<(i64, u32)>,
}

impl Durations {
    /// Adds a duration; a negative one (clocks disagree by less than they can know) counts as 0.
    pub(crate) fn add(&mut self, now_millis: i64, micros: i64) {
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now_millis, u32::try_from(micros.max(0)).unwrap_or(u32::MAX)));
    }

    /// Values within the window.
    pub(crate) fn values(&mut self, now_millis: i64) -> impl Iterator<Item = u32> {
        while self.samples.front().is_some_and(|(at, _)| now_millis.saturating_sub(*at) > WINDOW_MILLIS) {
            self.samples.pop_front();
        }
        self.samples.iter().map(|(_, micros)| *micros)
    }

    /// `None` without samples.
    pub(crate) fn percentiles(&mut self, now_millis: i64) -> Option<Percentiles> {
        percentiles(&mut self.values(now_millis).collect::<Vec<_>>())
    }
}

/// Nearest rank; reorders the values.
pub(crate) fn percentiles(values: &mut [u32]) -> Option<Percentiles> {
    let last = values.len().checked_sub(1)?;
    let mut at = |percent: usize| {
        let rank = (values.len() * percent).div_ceil(100).saturating_sub(1).min(last);
        f64::from(*values.select_nth_unstable(rank).1) / 1_000.0
    };
    Some(Percentiles { p50_ms: at(50), p99_ms: at(99) })
}

/// Frames and bytes per second.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// (second, frames, bytes)
    seconds: VecDeque<(i64, u64, u64)>,
    since_millis: Option<i64>,
}

impl Rate {
    pub(crate) fn add(&mut self, now_millis: i64, bytes: usize) {
        let second = now_millis.div_euclid(1_000);
        self.since_millis.get_or_insert(now_millis);
        match self.seconds.back_mut() {
            Some((last, frames, sum)) if *last >= second => {
                *frames += 1;
                *sum += bytes as u64;
            }
            _ => self.seconds.push_back((second, 1, bytes as u64)),
        }
        self.forget(second);
    }

    fn forget(&mut self, second: i64) {
        while self.seconds.front().is_some_and(|(at, ..)| *at < second - RATE_SECONDS) {
            self.seconds.pop_front();
        }
        if self.seconds.is_empty() {
            self.since_millis = None;
        }
    }

    /// Frames per second and megabits per second, of the whole seconds before this one.
    #[expect(clippy::cast_precision_loss, reason = "a display")]
    pub(crate) fn per_second(&mut self, now_millis: i64) -> (f64, f64) {
        let second = now_millis.div_euclid(1_000);
        self.forget(second);
        let Some(since) = self.since_millis else { return (0.0, 0.0) };
        let begin = since.max((second - RATE_SECONDS) * 1_000);
        let span = (second * 1_000 - begin) as f64 / 1_000.0;
        if span < 0.2 {
            return (0.0, 0.0);
        }
        let whole = self.seconds.iter().filter(|(at, ..)| *at < second);
        let (frames, bytes) = whole.fold((0, 0), |sum, (_, frames, bytes)| (sum.0 + frames, sum.1 + bytes));
        (frames as f64 / span, bytes as f64 * 8.0 / 1e6 / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut window = Durations::default();
        assert_eq!(window.percentiles(0), None);
        (1..=100).for_each(|n| window.add(n, n * 1_000));
        assert_eq!(window.percentiles(100), Some(Percentiles { p50_ms: 50.0, p99_ms: 99.0 }));
        window.add(20_000, -5);
        assert_eq!(window.percentiles(20_000), Some(Percentiles::default()));
    }

    #[test]
    fn samples_are_bounded() {
        let mut window = Durations::default();
        (0..10_000).for_each(|_| window.add(0, i64::MAX));
        assert_eq!(window.values(0).count(), MAX_SAMPLES);
    }

    #[test]
    fn rates_count_whole_seconds() {
        let mut rate = Rate::default();
        (0..250).for_each(|frame| rate.add(frame * 40, 12_500));
        let (fps, mbit) = rate.per_second(10_000);
        assert!((fps - 25.0).abs() < 0.01 && (mbit - 2.5).abs() < 0.01, "{fps} {mbit}");
        assert_eq!(rate.per_second(20_000), (0.0, 0.0));
        rate.add(20_100, 1);
        assert_eq!(rate.per_second(20_200), (0.0, 0.0));
    }

    #[test]
    fn a_young_stream_is_not_taken_for_a_slow_one() {
        let mut rate = Rate::default();
        (0..38).for_each(|frame| rate.add(500 + frame * 40, 1));
        let (fps, _) = rate.per_second(2_000);
        assert!((fps - 25.0).abs() < 2.0, "{fps}");
    }

    #[test]
    fn a_clock_that_steps_back_does_no_harm() {
        let mut rate = Rate::default();
        rate.add(90_000, 1);
        rate.add(10_000, 1);
        rate.per_second(5_000);
        let mut window = Durations::default();
        window.add(90_000, 1);
        assert!(window.percentiles(10).is_some());
    }
}
