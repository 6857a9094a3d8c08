//! The demo's own bookkeeper: a lossless subscriber that sees every stream from its first frame to its end.

use crate::demo::books::Stretch;
use crate::terminal::{Mood, Row};
use hdrhistogram::Histogram;
use lumenbus_bus::publisher::StreamSummary;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole, Notice, Start};
use lumenbus_bus::{BusConfig, BusError, Subscriber, SubscriberConfig, SystemClock};
use lumenbus_frame::{Clock as _, Dimensions, Epoch, StreamId, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::tally::{StreamTally, Tally};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rates and ages in the table are of the last so many seconds.
const WINDOW: Duration = Duration::from_secs(5);
/// More than a camera gives in that time.
const MAX_SAMPLES: usize = 4_096;
/// No frame for so long is worth a word.
const LATE: Duration = Duration::from_secs(2);
/// How long to wait for an event before looking whether to stop.
const WAIT: Duration = Duration::from_millis(50);

/// Longest time that the histograms tell apart: an hour.
const MAX_MICROS: u64 = 3_600_000_000;

/// What was read so far.
pub(crate) struct Ledger {
    /// When reading began, Unix nanoseconds.
    since: i64,
    pub(crate) tally: Tally,
    /// When the first frame of any camera was delivered.
    pub(crate) first_frame: Option<Instant>,
    recent: BTreeMap<Arc<StreamId>, Recent>,
    way: Way,
    is_disconnected: bool,
    /// Reading ended with this.
    pub(crate) failure: Option<Arc<BusError>>,
}

/// Times of all frames on their way to this reader, in microseconds.
struct Way {
    encode: Histogram<u64>,
    queue: Histogram<u64>,
    append: Histogram<u64>,
    receive: Histogram<u64>,
    whole: Histogram<u64>,
}

impl Default for Way {
    fn default() -> Self {
        let histogram = || Histogram::new_with_bounds(1, MAX_MICROS, 3).expect("bounds are right");
        let [encode, queue, append, receive, whole] = std::array::from_fn(|_| histogram());
        Self { encode, queue, append, receive, whole }
    }
}

impl Way {
    /// In the order in which a frame goes through them.
    fn parts(&self) -> [(&'static str, &'static str, &Histogram<u64>); 5] {
        let Self { encode, queue, append, receive, whole } = self;
        [
            ("encode", "encode", encode),
            ("queue", "queue", queue),
            ("append", "append", append),
            ("receive", "receive", receive),
            ("delivered", "capture → delivered", whole),
        ]
    }

    fn frame(&mut self, frame: &DeliveredFrame) {
        let header = &frame.header;
        let captured = header.capture.unix_nanos / 1_000;
        let received = frame.received_unix_nanos / 1_000;
        let (encode, queue) = (header.submit_micros.map(i64::from), header.queue_micros.map(i64::from));
        let sent = captured + encode.unwrap_or(0) + queue.unwrap_or(0);
        // The broker stamps whole milliseconds.
        let appended = frame.append_unix_millis.map(|append| append.saturating_mul(1_000));
        let parts = [
            (&mut self.encode, encode),
            (&mut self.queue, queue),
            (&mut self.append, appended.map(|appended| appended - sent)),
            (&mut self.receive, appended.map(|appended| received - appended)),
            (&mut self.whole, Some(received - captured)),
        ];
        for (histogram, micros) in parts {
            if let Some(micros) = micros {
                histogram.saturating_record(u64::try_from(micros).unwrap_or(0).max(1));
            }
        }
    }
}

/// The last seconds of one stream.
#[derive(Default)]
struct Recent {
    samples: VecDeque<Sample>,
    first: Option<Instant>,
    size: Option<Dimensions>,
    is_offline: bool,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    bytes: usize,
    age_micros: u64,
}

/// Reads on a thread of its own until it is closed.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    stop: Arc<Shutdown>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ledger: Mutex<Ledger>,
    ended: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Reads these topics from their first record on.
    pub(crate) fn open(bus: &BusConfig, topics: Vec<TopicName>) -> anyhow::Result<Self> {
        let mut config = SubscriberConfig::new(bus.clone(), topics);
        config.start = Start::Earliest;
        let subscriber = Subscriber::open(config)?;
        // What was appended before this waited for the reader; its age says nothing of the way.
        let since = SystemClock.unix_nanos();
        let ledger = Ledger {
            since,
            tally: Tally::since(since),
            first_frame: None,
            recent: BTreeMap::new(),
            way: Way::default(),
            is_disconnected: false,
            failure: None,
        };
        let shared = Arc::new(Shared { ledger: Mutex::new(ledger), ended: Condvar::new() });
        let stop = Arc::new(Shutdown::default());
        let (theirs, until) = (Arc::clone(&shared), Arc::clone(&stop));
        let read = move || read(subscriber, &theirs, &until);
        let thread = std::thread::Builder::new().name("demo-reader".to_owned()).spawn(read)?;
        Ok(Self { shared, stop, thread: Some(thread) })
    }

    /// What was read so far; reading waits while this is held.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.lock()
    }

    /// Waits until the end of every one of these streams was read; whether it was.
    pub(crate) fn wait_for_ends<'a>(
        &self,
        streams: impl Iterator<Item = &'a StreamSummary> + Clone,
        wait: Duration,
    ) -> bool {
        // Of a stream without a frame a reader hears nothing.
        let is_told = |summary: &&StreamSummary| summary.is_end_written && summary.stats.submitted_frames > 0;
        let ends: Vec<(&StreamId, Epoch)> =
            streams.filter(is_told).map(|summary| (&summary.stats.stream, summary.stats.epoch)).collect();
        let is_missing = |ledger: &mut Ledger| {
            let tally = |stream: &StreamId| ledger.tally.streams().find(|(id, _)| ***id == *stream);
            let has_ended = |(stream, epoch): &(&StreamId, Epoch)| {
                tally(stream).is_some_and(|(_, tally)| tally.ended.contains_key(epoch))
            };
            ledger.failure.is_none() && !ends.iter().all(has_ended)
        };
        let ledger = self.shared.lock();
        let waited = self.shared.ended.wait_timeout_while(ledger, wait, is_missing);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.request();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the demo's reader panicked");
        }
    }
}

fn read(mut subscriber: Subscriber, shared: &Shared, stop: &Shutdown) {
    while !stop.is_requested() {
        match subscriber.recv(WAIT) {
            Ok(None) => {}
            Ok(Some(event)) => {
                shared.lock().note(&event);
                if matches!(event, Event::End { .. }) {
                    shared.ended.notify_all();
                }
            }
            Err(error) => {
                tracing::error!(%error, "the demo cannot read on");
                shared.lock().failure = Some(Arc::new(error));
                shared.ended.notify_all();
                return;
            }
        }
    }
}

impl Ledger {
    fn note(&mut self, event: &Event) {
        self.tally.count(event);
        match event {
            Event::Frame(frame) => {
                let now = Instant::now();
                self.first_frame.get_or_insert(now);
                self.is_disconnected = false;
                let is_live = self.is_live(frame);
                self.recent.entry(Arc::clone(&frame.stream)).or_default().frame(frame, now, is_live);
                if is_live {
                    self.way.frame(frame);
                }
            }
            Event::Offline { stream, .. } => {
                self.recent.entry(Arc::clone(stream)).or_default().is_offline = true;
            }
            Event::Notice(Notice::Disconnected { .. }) => self.is_disconnected = true,
            _ => {}
        }
    }

    /// Whether the frame's age says something of the way: it did not wait for this reader.
    fn is_live(&self, frame: &DeliveredFrame) -> bool {
        let appended = frame.append_unix_millis.map(|append| append.saturating_mul(1_000_000));
        frame.role == FrameRole::Current && appended.is_none_or(|appended| appended >= self.since)
    }

    /// Whether no broker answers.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.is_disconnected
    }

    /// How long frames took for each part of the way, over everything that was read live.
    pub(crate) fn stretches(&self) -> Vec<Stretch> {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let stretch = |(key, name, micros): (&'static str, &'static str, &Histogram<u64>)| {
            let millis = |quantile| micros.value_at_quantile(quantile) as f64 / 1e3;
            (!micros.is_empty()).then(|| Stretch { key, name, p50_ms: millis(0.5), p99_ms: millis(0.99) })
        };
        self.way.parts().into_iter().filter_map(stretch).collect()
    }

    /// A line for each stream that has given something, in the order of their names.
    pub(crate) fn rows(&self, now: Instant) -> Vec<Row> {
        let row = |(id, tally): (&Arc<StreamId>, &StreamTally)| {
            let mut row = self.recent.get(id).map_or_else(Row::default, |recent| recent.row(tally, now));
            row.camera = id.camera.as_str().to_owned();
            row.codec = tally.codec.map_or_else(String::new, |codec| codec.as_str().to_owned());
            row.frames = tally.frames;
            row.missing = tally.missing.iter().map(|(reason, frames)| (reason.as_str(), *frames)).collect();
            row.open_gaps = tally.open_gaps;
            row
        };
        self.tally.streams().map(row).collect()
    }
}

impl Recent {
    fn frame(&mut self, frame: &DeliveredFrame, now: Instant, is_live: bool) {
        self.is_offline = false;
        self.first.get_or_insert(now);
        if let Some(parameters) = &frame.parameters {
            self.size = Some(parameters.dimensions);
        }
        if !is_live {
            return;
        }
        let age_nanos = frame.received_unix_nanos.saturating_sub(frame.header.capture.unix_nanos);
        let age_micros = u64::try_from(age_nanos / 1_000).unwrap_or(0);
        self.samples.push_back(Sample { at: now, bytes: frame.payload.len(), age_micros });
        let is_old = |sample: &Sample| now.duration_since(sample.at) > WINDOW;
        while self.samples.len() > MAX_SAMPLES || self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn row(&self, tally: &StreamTally, now: Instant) -> Row {
        let is_recent = |sample: &&Sample| now.saturating_duration_since(sample.at) <= WINDOW;
        let samples: Vec<Sample> = self.samples.iter().filter(is_recent).copied().collect();
        let lasted = self.first.map_or(WINDOW, |first| now.saturating_duration_since(first)).min(WINDOW);
        let seconds = lasted.as_secs_f64().max(0.5);
        let bytes: usize = samples.iter().map(|sample| sample.bytes).sum();
        let is_late = self.samples.back().is_none_or(|last| now.saturating_duration_since(last.at) > LATE);
        let (state, mood) = match () {
            () if tally.is_ended => ("ended", Mood::Pending),
            () if self.is_offline => ("offline", Mood::Bad),
            () if is_late => ("late", Mood::Pending),
            () => ("live", Mood::Good),
        };
        Row {
            size: self.size.map_or_else(String::new, |size| size.to_string()),
            fps: samples.len() as f64 / seconds,
            mbit: bytes as f64 * 8e-6 / seconds,
            age_ms: ages(&samples),
            state: state.to_owned(),
            mood,
            ..Row::default()
        }
    }
}

/// Median and 99th percentile, by nearest rank.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ages(samples: &[Sample]) -> Option<(f64, f64)> {
    let mut ages: Vec<u64> = samples.iter().map(|sample| sample.age_micros).collect();
    ages.sort_unstable();
    let at = |percent: usize| ages.get((ages.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some((at(50)? as f64 / 1e3, at(99)? as f64 / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let samples = |ages: &[u64]| -> Vec<Sample> {
            ages.iter().map(|age| Sample { at: Instant::now(), bytes: 0, age_micros: age * 1_000 }).collect()
        };
        assert_eq!(ages(&[]), None);
        assert_eq!(ages(&samples(&[7])), Some((7.0, 7.0)));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(ages(&samples(&hundred)), Some((50.0, 99.0)));
    }
}
