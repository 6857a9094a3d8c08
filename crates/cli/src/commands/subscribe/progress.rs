//! How far a subscription is, how fast it goes, and how long it will take.

use super::report::plural;
use crate::units;
use lumenbus_bus::subscriber::{Event, FrameRole};
use lumenbus_pipeline::subscribe::SubscribeLimits;
use lumenbus_pipeline::tally::Tally;
use std::time::{Duration, Instant};

pub(super) struct Progress {
    limits: SubscribeLimits,
    began: Instant,
    began_unix_nanos: i64,
    /// Where reading began and is, by capture time; of the past only.
    at: Option<(i64, i64)>,
    is_live: bool,
}

impl Progress {
    pub(super) fn new(limits: SubscribeLimits, is_live: bool) -> Self {
        let began_unix_nanos = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        Self { limits, began: Instant::now(), began_unix_nanos, at: None, is_live }
    }

    pub(super) fn see(&mut self, event: &Event) {
        if let Event::Frame(frame) = event
            && frame.role != FrameRole::Preroll
        {
            let capture = frame.header.capture.unix_nanos;
            let (first, _) = *self.at.get_or_insert((capture, capture));
            self.at = Some((first, capture));
        }
    }

    /// 0 to 1 of what there is to do.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn share(&self, tally: &Tally, elapsed: Duration) -> Option<f64> {
        let by_count = self.limits.frames.map(|limit| tally.frames() as f64 / limit.max(1) as f64);
        let by_time = self.limits.duration.map(|whole| elapsed.as_secs_f64() / whole.as_secs_f64().max(1e-3));
        // Backwards the end is the earlier one.
        let range = self.limits.range;
        let by_place = self.at.filter(|_| !self.is_live).and_then(|(first, at)| {
            let end = match (at < first, range.until_unix_nanos, range.from_unix_nanos) {
                (true, _, from) => from?,
                (false, until, _) => until.unwrap_or(self.began_unix_nanos).min(self.began_unix_nanos),
            };
            Some((at - first) as f64 / (end - first) as f64)
        });
        let shares = [by_count, by_time, by_place].into_iter().flatten().filter(|share| (0.0..=1.0).contains(share));
        shares.max_by(f64::total_cmp)
    }

    pub(super) fn line(&self, tally: &Tally) -> String {
        let (mut frames, mut bytes, mut missing, mut streams) = (0, 0, 0, 0);
        for (_, stream) in tally.streams() {
            frames += stream.frames;
            bytes += stream.bytes;
            missing += stream.missing_frames();
            streams += 1;
        }
        let elapsed = self.began.elapsed();
        let rate = rate(bytes, elapsed);
        let mut line = format!(
            "{streams} stream{}, {frames} frames, {}, {}/s, {missing} missing, {} s",
            plural(streams),
            units::show_bytes(bytes),
            units::show_bytes(rate),
            elapsed.as_secs()
        );
        if let Some((_, at)) = self.at.filter(|_| !self.is_live)
            && let Ok(moment) = jiff::Timestamp::from_nanosecond(at.into())
        {
            let local = moment.to_zoned(jiff::tz::TimeZone::system());
            line.push_str(&local.strftime(", at %H:%M:%S").to_string());
        }
        if let Some(share) = self.share(tally, elapsed) {
            line.push_str(&units::show_share(share, elapsed));
        }
        line
    }
}

fn rate(bytes: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1_000 / millis).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_whole_time() {
        assert_eq!(rate(5_000_000, Duration::from_secs(2)), 2_500_000);
    }
}
