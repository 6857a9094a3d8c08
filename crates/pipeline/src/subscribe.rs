//! From the bus into a sink.

use crate::Shutdown;
use crate::sink::{Sink, SinkError, SinkReport};
use crate::tally::Tally;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, Subscriber};
use lumenbus_bus::BusError;
use lumenbus_frame::{EncodedFrame, Seq};
use std::time::{Duration, Instant};

/// How long to wait for an event before looking at limits and shutdown.
const WAIT: Duration = Duration::from_millis(50);

/// When a subscription ends by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubscribeLimits {
    /// After this time.
    pub duration: Option<Duration>,
    /// When every stream seen has ended.
    pub until_end: bool,
    /// Behind records appended after this Unix time in milliseconds.
    pub until_unix_millis: Option<i64>,
    /// After so many frames.
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
pub fn run_subscription(
    subscriber: &mut Subscriber,
    mut sink: Option<Box<dyn Sink>>,
    limits: &SubscribeLimits,
    shutdown: &Shutdown,
    mut on_event: impl FnMut(&Event, &Tally),
) -> Result<SubscribeReport, SubscribeError> {
    let deadline = limits.duration.map(|duration| Instant::now() + duration);
    let mut tally = Tally::default();
    let mut frames = 0;
    let ending = loop {
        if shutdown.is_requested() {
            break Ending::Interrupted;
        }
        if deadline.is_some_and(|at| Instant::now() >= at) {
            break Ending::Limit;
        }
        let Some(event) = subscriber.recv(WAIT)? else { continue };
        if is_after(&event, limits.until_unix_millis) {
            break Ending::Limit;
        }
        tally.count(&event);
        on_event(&event, &tally);
        if let Some(sink) = &mut sink {
            write(sink.as_mut(), &event)?;
        }
        frames += u64::from(matches!(event, Event::Frame(_)));
        if limits.frames.is_some_and(|limit| frames >= limit) {
            break Ending::Limit;
        }
        if limits.until_end && matches!(event, Event::End { .. }) && tally.all_ended() {
            break Ending::StreamsEnded;
        }
    };
    let sink = sink.map(Sink::finish).transpose()?;
    subscriber.commit_if_grouped()?;
    Ok(SubscribeReport { tally, sink, ending })
}

fn is_after(event: &Event, until_unix_millis: Option<i64>) -> bool {
    let (Event::Frame(frame), Some(until)) = (event, until_unix_millis) else { return false };
    frame.append_unix_millis.is_some_and(|append| append > until)
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
        payload: frame.payload.clone(),
    }
}
