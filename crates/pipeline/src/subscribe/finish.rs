//! When a subscription has all it was to bring.

use super::range::Cutting;
use super::{Ending, SubscribeLimits};
use crate::tally::Tally;
use lumenbus_bus::subscriber::{Horizon, Subscriber};
use lumenbus_bus::{BusError, SystemClock};
use lumenbus_frame::Clock as _;
use std::time::Instant;

/// How far the broker's clock may be behind ours when a moment is taken for past.
const CLOCK_ALLOWANCE_MILLIS: i64 = 1_000;
/// How long a frame may be on its way into the log: longer, and a stream of which nothing newer comes is taken for over.
const APPEND_ALLOWANCE_MILLIS: i64 = 10_000;

pub(super) struct FinishLine {
    limits: SubscribeLimits,
    deadline: Option<Instant>,
    /// The end of the log when reading began: a stream beyond what was read so far may be there.
    known_log: Option<Horizon>,
    /// Where the records after the last wanted moment begin, and those after all that may be late.
    last_moment: Option<Horizon>,
    last_late: Option<Horizon>,
}

impl FinishLine {
    pub(super) fn new(limits: SubscribeLimits) -> Self {
        let deadline = limits.duration.map(|duration| Instant::now() + duration);
        Self { limits, deadline, known_log: None, last_moment: None, last_late: None }
    }

    /// When it ends, whatever has come.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn is_full(&self, tally: &Tally) -> bool {
        self.limits.frames.is_some_and(|limit| tally.frames() >= limit)
    }

    pub(super) fn is_crossed(
        &mut self,
        subscriber: &Subscriber,
        tally: &Tally,
        cutting: &Cutting,
        clock: &SystemClock,
    ) -> Result<Option<Ending>, BusError> {
        if self.is_full(tally) || self.deadline.is_some_and(|at| Instant::now() >= at) {
            return Ok(Some(Ending::Limit));
        }
        if let Some(until) = self.limits.range.until_unix_nanos {
            let until = self.limits.appended_by_unix_millis.unwrap_or(0).max(until / 1_000_000);
            if self.is_behind(until, subscriber, tally, cutting, clock)? {
                return Ok(Some(Ending::Limit));
            }
        }
        if self.limits.until_end {
            let horizon = known(&mut self.known_log, || subscriber.horizon())?;
            if tally.all_ended() && subscriber.has_reached(horizon) {
                return Ok(Some(Ending::StreamsEnded));
            }
        }
        Ok(None)
    }

    /// Whether all that was appended up to this moment was read, and every stream seen has gone on beyond the range or
    /// has ended; or nothing came for so long that nothing will.
    fn is_behind(
        &mut self,
        until: i64,
        subscriber: &Subscriber,
        tally: &Tally,
        cutting: &Cutting,
        clock: &SystemClock,
    ) -> Result<bool, BusError> {
        let passed = |moment: i64| clock.unix_nanos() / 1_000_000 > moment.saturating_add(CLOCK_ALLOWANCE_MILLIS);
        if !passed(until) {
            return Ok(false);
        }
        let horizon = known(&mut self.last_moment, || subscriber.horizon_after(until))?;
        if !subscriber.has_reached(horizon) {
            return Ok(false);
        }
        let open = tally.streams().filter(|(_, tally)| !tally.is_ended).map(|(stream, _)| stream);
        if cutting.is_past(open) {
            return Ok(true);
        }
        let late = until.saturating_add(APPEND_ALLOWANCE_MILLIS);
        if !passed(late) {
            return Ok(false);
        }
        let horizon = known(&mut self.last_late, || subscriber.horizon_after(late))?;
        Ok(subscriber.has_reached(horizon))
    }
}

fn known(horizon: &mut Option<Horizon>, ask: impl FnOnce() -> Result<Horizon, BusError>) -> Result<&Horizon, BusError> {
    match horizon {
        Some(horizon) => Ok(horizon),
        none => Ok(none.insert(ask()?)),
    }
}
