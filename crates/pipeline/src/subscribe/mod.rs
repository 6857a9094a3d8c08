//! From the bus into a sink: as it comes, or a stretch of the past at any speed.

mod backwards;
mod finish;
mod pace;
mod range;

pub use backwards::run_backwards;
pub use range::CaptureRange;

use crate::Shutdown;
use crate::sink::{Sink, SinkError, SinkReport};
use crate::tally::Tally;
use finish::FinishLine;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, Subscriber};
use lumenbus_bus::{BusError, SystemClock};
use lumenbus_frame::{Clock as _, EncodedFrame, Gap, GapReason, Seq};
use pace::Pace;
use range::Cutting;
use std::time::Duration;

/// How long to wait for an event before looking at limits and shutdown.
const WAIT: Duration = Duration::from_millis(50);

/// What of the streams is wanted, how fast, and when a subscription ends by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubscribeLimits {
    /// After this time.
    pub duration: Option<Duration>,
    /// When everything that was in the log at the beginning was read and every stream seen has ended.
    pub until_end: bool,
    /// The stretch of capture time. Behind its end nothing is handed over, and when every stream has come there, it
    /// ends.
    pub range: CaptureRange,
    /// When what belongs to the range is in the log, by the broker's clock, Unix milliseconds; where cameras' clocks are
    /// right, that is the end of the range.
    pub appended_by_unix_millis: Option<i64>,
    /// So many seconds of capture time in each second; `None`: as fast as it goes.
    pub speed: Option<f64>,
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
    let (mut cutting, mut pace, mut due) = (Cutting::new(limits.range), Pace::default(), Vec::new());
    let mut is_all_handed_on = true;
    let ended: Result<Ending, SubscribeError> = 'reading: loop {
        if shutdown.is_requested() {
            break Ok(Ending::Interrupted);
        }
        match finish.is_crossed(subscriber, &tally, &cutting, &clock) {
            Ok(None) => {}
            Ok(Some(ending)) => break Ok(ending),
            Err(error) => break Err(error.into()),
        }
        match subscriber.recv(WAIT) {
            Ok(Some(event)) => cutting.push(event, &mut due),
            Ok(None) => continue,
            Err(error) => break Err(error.into()),
        }
        let mut left = due.drain(..);
        while let Some(event) = left.next() {
            if let (Some(speed), Event::Frame(frame)) = (limits.speed, &event)
                && let Some(ending) = pace.wait(frame, speed, finish.deadline(), shutdown)
            {
                is_all_handed_on = false;
                break 'reading Ok(ending);
            }
            tally.count(&event);
            on_event(&event, &tally);
            let written = sink.as_deref_mut().map_or(Ok(()), |sink| write(sink, &event));
            if let Err(error) = written {
                break 'reading Err(error.into());
            }
            if finish.is_full(&tally) {
                is_all_handed_on = !left.any(|event| matches!(event, Event::Frame(_)));
                break 'reading Ok(Ending::Limit);
            }
        }
    };
    let sink = sink.map(Sink::finish).transpose();
    let ending = ended?;
    let sink = sink?;
    if is_all_handed_on && let Err(error) = subscriber.commit_if_grouped() {
        // What was written stays written; the group reads it again, with the same identities.
        tracing::warn!(%error, "the last offsets could not be committed");
    }
    Ok(SubscribeReport { tally, sink, ending })
}

fn write(sink: &mut dyn Sink, event: &Event) -> Result<(), SinkError> {
    match event {
        Event::Frame(frame) => sink.frame(&frame.stream, frame.id(), &encoded(frame)),
        Event::Gap { stream, gap } => sink.gap(stream, gap),
        Event::Repeat { stream, epoch, range } => {
            let repeated = Gap::new(range.first, range.last, GapReason::Repeated);
            sink.gap(stream, &Gap { epoch: Some(*epoch), ..repeated })
        }
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
        of: header.of.map(|of| of.id),
        payload: frame.payload.clone(),
    }
}
