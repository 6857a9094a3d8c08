//! Gives frames when they are due.

use crate::{Source, SourceError, SourceItem};
use lumenbus_frame::{CaptureTime, Clock, StreamParameters};
use std::sync::Arc;
use std::time::Duration;

/// Later than this, the schedule begins anew instead of catching up in a burst.
const MAX_LAG: Duration = Duration::from_secs(1);

/// Computes waiting times from media times; does not wait itself.
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    /// Monotonic time at which media time 0 is due.
    origin_nanos: Option<i128>,
}

impl Pacer {
    /// How long to wait at `now` (monotonic nanoseconds) before the frame of `media_time` is due; 0 when it is late.
    ///
    /// The first frame is due at once. After a lag of more than a second the schedule begins anew.
    pub fn wait(&mut self, media_time: Duration, now_monotonic_nanos: u64) -> Duration {
        let now = i128::from(now_monotonic_nanos);
        let media = i128::try_from(media_time.as_nanos()).unwrap_or(i128::MAX / 2);
        let origin = *self.origin_nanos.get_or_insert(now - media);
        let wait = origin + media - now;
        if wait < -i128::try_from(MAX_LAG.as_nanos()).expect("a second fits") {
            self.origin_nanos = Some(now - media);
        }
        Duration::from_nanos(u64::try_from(wait.max(0)).unwrap_or(u64::MAX))
    }
}

/// How to wait: injected, so that a caller can stop early and tests need no time.
pub trait Sleeper: Send {
    /// Waits for about `duration`.
    fn sleep(&mut self, duration: Duration);
}

impl<F: FnMut(Duration) + Send> Sleeper for F {
    fn sleep(&mut self, duration: Duration) {
        self(duration);
    }
}

/// A source in real time: waits until each frame is due and stamps it with that moment.
///
/// A source that knows the next media time beforehand ([`Source::next_media_time`]) is asked when the frame is due, so
/// that a time drawn into the picture is right; others are read first, then waited for.
pub struct Paced<S, W> {
    source: S,
    clock: Arc<dyn Clock>,
    sleeper: W,
    pacer: Pacer,
}

impl<S: Source, W: Sleeper> Paced<S, W> {
    /// `clock` tells the time, `sleeper` lets it pass.
    pub fn new(source: S, clock: Arc<dyn Clock>, sleeper: W) -> Self {
        Self { source, clock, sleeper, pacer: Pacer::default() }
    }

    fn wait_until(&mut self, media_time: Duration) {
        let wait = self.pacer.wait(media_time, self.clock.monotonic_nanos());
        if !wait.is_zero() {
            self.sleeper.sleep(wait);
        }
    }
}

impl<S: Source, W: Sleeper> Source for Paced<S, W> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        self.source.parameters()
    }

    fn next_media_time(&self) -> Option<Duration> {
        self.source.next_media_time()
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if let Some(media_time) = self.source.next_media_time() {
            self.wait_until(media_time);
            return self.source.next_frame();
        }
        let mut item = self.source.next_frame()?;
        if let Some(item) = &mut item
            && let Some(media_time) = item.media_time()
        {
            self.wait_until(media_time);
            item.stamp(CaptureTime::arrival(self.clock.unix_nanos()));
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_due_at_their_media_time_and_a_long_lag_is_not_made_up_for() {
        let mut pacer = Pacer::default();
        let (second, tenth) = (1_000_000_000, Duration::from_millis(100));
        assert_eq!(pacer.wait(Duration::from_secs(5), 7 * second), Duration::ZERO);
        assert_eq!(pacer.wait(Duration::from_secs(5) + tenth, 7 * second), tenth);
        assert_eq!(pacer.wait(Duration::from_secs(6), 8 * second + 500_000_000), Duration::ZERO);
        assert_eq!(pacer.wait(Duration::from_secs(7), 8 * second + 500_000_000), Duration::from_millis(500));
        assert_eq!(pacer.wait(Duration::from_secs(8), 20 * second), Duration::ZERO);
        assert_eq!(pacer.wait(Duration::from_secs(9), 20 * second), Duration::from_secs(1));
    }
}
