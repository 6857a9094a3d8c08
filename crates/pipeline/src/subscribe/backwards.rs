//! Keyframes of the past, the newest first.

use super::pace::{Pace, sleep};
use super::{Ending, SubscribeError, SubscribeLimits, SubscribeReport, write};
use crate::Shutdown;
use crate::sink::Sink;
use crate::tally::Tally;
use lumenbus_bus::index::KeyframeAt;
use lumenbus_bus::playback::Player;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole};
use lumenbus_bus::{BusError, SystemClock};
use lumenbus_frame::{Clock as _, FrameId, StreamId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A keyframe whose place is known comes at once; without a record for this long, the broker is taken for gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays the keyframes in a range of capture time backwards, stream after stream.
///
/// The end of the range is where it begins: now where it has none. The sink is finished also when reading fails.
pub fn run_backwards(
    player: &mut Player,
    streams: &[StreamId],
    sink: Option<Box<dyn Sink>>,
    limits: &SubscribeLimits,
    shutdown: &Shutdown,
    on_event: impl FnMut(&Event, &Tally),
) -> Result<SubscribeReport, SubscribeError> {
    let deadline = limits.duration.map(|duration| Instant::now() + duration);
    let tally = Tally::since(SystemClock.unix_nanos());
    let mut turned = Turned { sink, limits, shutdown, deadline, tally, on_event };
    let mut ended = Ok(Ending::Limit);
    for stream in streams {
        let walk = Walk { player, stream: Arc::new(stream.clone()), has_begun: false, limits };
        match turned.play(walk) {
            Ok(None) => {}
            Ok(Some(ending)) => {
                ended = Ok(ending);
                break;
            }
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    let sink = turned.sink.map(Sink::finish).transpose();
    let ending = ended?;
    Ok(SubscribeReport { tally: turned.tally, sink: sink?, ending })
}

struct Turned<'a, F> {
    sink: Option<Box<dyn Sink>>,
    limits: &'a SubscribeLimits,
    shutdown: &'a Shutdown,
    deadline: Option<Instant>,
    tally: Tally,
    on_event: F,
}

impl<F: FnMut(&Event, &Tally)> Turned<'_, F> {
    /// One stream; `None` when it has come to the other end of the range.
    fn play(&mut self, mut walk: Walk<'_>) -> Result<Option<Ending>, SubscribeError> {
        let mut pace = Pace::default();
        loop {
            if let Some(ending) = self.stops() {
                return Ok(Some(ending));
            }
            let Some(keyframe) = walk.step()? else { return Ok(None) };
            // Older in the log, but the clock was ahead.
            if self.limits.range.is_after(keyframe.capture_unix_nanos) {
                continue;
            }
            let Some(frame) = self.read(walk.player, keyframe.id)? else {
                return Ok(self.stops());
            };
            let frame = DeliveredFrame { role: FrameRole::Current, ..frame };
            if let Some(speed) = self.limits.speed {
                // Time runs the other way.
                let capture = frame.header.capture.unix_nanos.saturating_neg();
                let wait = pace.due(speed, &walk.stream, (capture, None), Instant::now());
                if let Some(ending) = sleep(wait, self.deadline, self.shutdown) {
                    return Ok(Some(ending));
                }
            }
            let event = Event::Frame(frame);
            self.tally.count(&event);
            (self.on_event)(&event, &self.tally);
            if let Some(sink) = self.sink.as_deref_mut() {
                sink.turn(&walk.stream);
                write(sink, &event)?;
            }
        }
    }

    fn stops(&self) -> Option<Ending> {
        if self.shutdown.is_requested() {
            return Some(Ending::Interrupted);
        }
        let is_full = self.limits.frames.is_some_and(|limit| self.tally.frames() >= limit);
        (is_full || self.deadline.is_some_and(|at| Instant::now() >= at)).then_some(Ending::Limit)
    }

    /// The frame that the player went to; `None` when it is to stop, or where retention was faster: then what is older
    /// is gone, too.
    fn read(&mut self, player: &mut Player, id: FrameId) -> Result<Option<DeliveredFrame>, BusError> {
        let mut patience = Patience::new(Instant::now());
        loop {
            if self.stops().is_some() {
                return Ok(None);
            }
            match player.recv(super::WAIT)? {
                Some(Event::Frame(frame)) => return Ok((frame.id() == id).then_some(frame)),
                Some(notice @ Event::Notice(_)) => (self.on_event)(&notice, &self.tally),
                None if player.is_at_end() => return Ok(None),
                _ => {}
            }
            if patience.is_over(player.last_append_unix_millis(), Instant::now()) {
                let (brokers, millis) = (player.brokers().to_owned(), PATIENCE.as_secs() * 1_000);
                return Err(BusError::Timeout { operation: "reading a keyframe", brokers, millis });
            }
        }
    }
}

/// Ends when nothing is read for [`PATIENCE`].
struct Patience {
    since: Instant,
    /// When the broker appended what was read last.
    appended: Option<i64>,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self { since: now, appended: None }
    }

    fn is_over(&mut self, appended: Option<i64>, now: Instant) -> bool {
        if appended != self.appended {
            *self = Self { since: now, appended };
        }
        now.saturating_duration_since(self.since) >= PATIENCE
    }
}

/// From keyframe to keyframe of one stream.
struct Walk<'a> {
    player: &'a mut Player,
    stream: Arc<StreamId>,
    has_begun: bool,
    limits: &'a SubscribeLimits,
}

impl Walk<'_> {
    /// Goes to the next older keyframe in the range.
    fn step(&mut self) -> Result<Option<KeyframeAt>, BusError> {
        let range = self.limits.range;
        let found = if std::mem::replace(&mut self.has_begun, true) {
            self.player.step_back()?
        } else {
            let newest = range.until_unix_nanos.unwrap_or_else(|| SystemClock.unix_nanos());
            self.player.seek(&self.stream, newest)?
        };
        Ok(found.filter(|keyframe| range.from_unix_nanos.is_none_or(|from| keyframe.capture_unix_nanos >= from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_when_nothing_more_is_read() {
        let began = Instant::now();
        let mut patience = Patience::new(began);
        let mut is_over =
            |appended: Option<i64>, seconds: u64| patience.is_over(appended, began + Duration::from_secs(seconds));
        assert!(!is_over(None, 29));
        // Others' records, and pieces of a large one.
        assert!(!is_over(Some(1), 31) && !is_over(Some(1), 60) && !is_over(Some(2), 62));
        assert!(!is_over(Some(2), 91) && is_over(Some(2), 92));
    }
}
