//! From the bus into a sink.

use crate::Shutdown;
use crate::sink::{Sink, SinkError, SinkReport};
use crate::tally::Tally;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, Horizon, Subscriber};
use lumenbus_bus::{BusError, SystemClock};
use lumenbus_frame::{Clock as _, EncodedFrame, Seq, StreamId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for an event before looking at limits and shutdown.
const WAIT: Duration = Duration::from_millis(50);
/// How far the broker's clock may be behind ours when a moment is taken for past.
const CLOCK_ALLOWANCE_MILLIS: i64 = 1_000;

/// When a subscription ends by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubscribeLimits {
    /// After this time.
    pub duration: Option<Duration>,
    /// When everything that was in the log at the beginning was read and every stream seen has ended.
    pub until_end: bool,
    /// When everything appended up to this Unix time in milliseconds was read; later frames are left out.
    pub until_unix_millis: Option<i64>,
    /// After so many frames, prerolls not counted.
    pub frames: Option<u64>,
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A limit was reached.
    Limit,
    /// Every stream seen has ended.
    StreamsEnded,
    /// Somebody asked for it.
    Interrupted,
}

/// What went through.
#[derive(Debug)]
pub struct SubscribeReport {
    /// Sums per stream.
    pub tally: Tally,
    /// What the sink wrote; `None` without one.
    pub sink: Option<SinkReport>,
    /// Why it ended.
    pub ending: Ending,
}

/// Why a subscription could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Reading failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Writing failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Reads until a limit, an end or a shutdown; `on_event` sees every event before the sink does.
///
/// The sink is finished also when reading fails: what came is kept.
pub fn run_subscription(
    subscriber: &mut Subscriber,
    mut sink: Option<Box<dyn Sink>>,
    limits: &SubscribeLimits,
    shutdown: &Shutdown,
    mut on_event: impl FnMut(&Event, &Tally),
) -> Result<SubscribeReport, SubscribeError> {
    let clock = SystemClock;
    let mut tally = Tally::since(clock.unix_nanos());
    let mut finish = FinishLine::new(*limits);
    let ended: Result<Ending, SubscribeError> = loop {
        if shutdown.is_requested() {
            break Ok(Ending::Interrupted);
        }
        match finish.is_crossed(subscriber, &tally, &clock) {
            Ok(None) => {}
            Ok(Some(ending)) => break Ok(ending),
            Err(error) => break Err(error.into()),
        }
        let event = match subscriber.recv(WAIT) {
            Ok(Some(event)) => event,
            Ok(None) => continue,
            Err(error) => break Err(error.into()),
        };
        if finish.is_behind(&event) {
            continue;
        }
        tally.count(&event);
        on_event(&event, &tally);
        let written = sink.as_deref_mut().map_or(Ok(()), |sink| write(sink, &event));
        if let Err(error) = written {
            break Err(error.into());
        }
    };
    let sink = sink.map(Sink::finish).transpose();
    let ending = ended?;
    let sink = sink?;
    if let Err(error) = subscriber.commit_if_grouped() {
        // What was written stays written; the group reads it again, with the same identities.
        tracing::warn!(%error, "the last offsets could not be committed");
    }
    Ok(SubscribeReport { tally, sink, ending })
}

/// Knows when a subscription has all it was to bring.
struct FinishLine {
    limits: SubscribeLimits,
    deadline: Option<Instant>,
    /// The end of the log when reading began: a stream beyond what was read so far may be there.
    known_log: Option<Horizon>,
    /// Where the records after the last wanted moment begin; known when it has passed.
    last_moment: Option<Horizon>,
    /// Streams that are past the last wanted moment.
    past: BTreeSet<Arc<StreamId>>,
}

impl FinishLine {
    fn new(limits: SubscribeLimits) -> Self {
        let deadline = limits.duration.map(|duration| Instant::now() + duration);
        Self { limits, deadline, known_log: None, last_moment: None, past: BTreeSet::new() }
    }

    fn is_crossed(
        &mut self,
        subscriber: &Subscriber,
        tally: &Tally,
        clock: &SystemClock,
    ) -> Result<Option<Ending>, BusError> {
        let is_full = self.limits.frames.is_some_and(|limit| tally.frames() >= limit);
        if is_full || self.deadline.is_some_and(|at| Instant::now() >= at) {
            return Ok(Some(Ending::Limit));
        }
        if let Some(until) = self.limits.until_unix_millis
            && clock.unix_nanos() / 1_000_000 > until.saturating_add(CLOCK_ALLOWANCE_MILLIS)
        {
            let horizon = known(&mut self.last_moment, || subscriber.horizon_after(until))?;
            if subscriber.has_reached(horizon) {
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

    /// Whether an event belongs to a time after the last wanted moment.
    fn is_behind(&mut self, event: &Event) -> bool {
        let Some(until) = self.limits.until_unix_millis else { return false };
        let stream = match event {
            Event::Frame(frame) => &frame.stream,
            Event::Gap { stream, .. }
            | Event::Repeat { stream, .. }
            | Event::Offline { stream, .. }
            | Event::End { stream, .. } => return self.past.contains(stream),
            _ => return false,
        };
        let is_after = |frame: &DeliveredFrame| frame.append_unix_millis.is_some_and(|append| append > until);
        if matches!(event, Event::Frame(frame) if is_after(frame)) {
            self.past.insert(Arc::clone(stream));
        }
        self.past.contains(stream)
    }
}

fn known(horizon: &mut Option<Horizon>, ask: impl FnOnce() -> Result<Horizon, BusError>) -> Result<&Horizon, BusError> {
    match horizon {
        Some(horizon) => Ok(horizon),
        none => Ok(none.insert(ask()?)),
    }
}

fn write(sink: &mut dyn Sink, event: &Event) -> Result<(), SinkError> {
    match event {
        Event::Frame(frame) => sink.frame(&frame.stream, frame.id(), &encoded(frame)),
        Event::Gap { stream, gap } => sink.gap(stream, gap),
        _ => Ok(()),
    }
}

/// A delivered frame as codecs and sinks take it; the payload is shared, not copied.
#[must_use]
pub fn encoded(frame: &DeliveredFrame) -> EncodedFrame {
    let header = &frame.header;
    EncodedFrame {
        codec: frame.codec,
        capture: header.capture,
        pts: header.pts,
        is_keyframe: header.is_keyframe,
        is_discontinuity: header.is_discontinuity || header.id.seq == Seq(0),
        is_discardable: header.is_discardable,
        priority: header.priority,
        deadline: header.deadline,
        parameters: frame.parameters.clone(),
        trace: frame.trace,
        payload: frame.payload.clone(),
    }
}
