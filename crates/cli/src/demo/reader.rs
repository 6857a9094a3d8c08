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

/// What was read so far.
pub(crate) struct Ledger {
    /// When reading began, Unix nanoseconds.
    since: i64,
    pub(crate) tally: Tally,
    /// When the first frame of any camera was delivered.
    pub(crate) first_frame: Option<Instant>,
    recent: BTreeMap<Arc<StreamId>, Recent>,
    is_disconnected: bool,
    /// Reading ended with this.
    pub(crate) failure: Option<Arc<BusError>>,
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
        let ends: Vec<(&StreamId, Epoch)> =
            streams.filter(|summary| summary.is_end_written).map(|s| (&s.stats.stream, s.stats.epoch)).collect();
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
                self.recent.entry(Arc::clone(&frame.stream)).or_default().frame(frame, now, self.since);
            }
            Event::Offline { stream, .. } => {
                self.recent.entry(Arc::clone(stream)).or_default().is_offline = true;
            }
            Event::Notice(Notice::Disconnected { .. }) => self.is_disconnected = true,
            _ => {}
        }
    }

    /// Whether no broker answers.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.is_disconnected
    }

    /// How long frames took, over everything read while it was live.
    pub(crate) fn stretches(&self) -> Vec<Stretch> {
        type Part = fn(&StreamTally) -> &Histogram<u64>;
        let parts: [(&'static str, Part); 2] = [
            ("capture → delivered", |tally| &tally.age_micros),
            ("appended → delivered", |tally| &tally.append_micros),
        ];
        let mut stretches = Vec::new();
        for (name, part) in parts {
            let mut tallies = self.tally.streams().map(|(_, tally)| part(tally));
            let Some(mut sum) = tallies.next().cloned() else { continue };
            for other in tallies {
                // They have the same bounds.
                drop(sum.add(other));
            }
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let millis = |quantile| sum.value_at_quantile(quantile) as f64 / 1e3;
            stretches.push(Stretch { name, p50_ms: millis(0.5), p99_ms: millis(0.99) });
        }
        stretches
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
    fn frame(&mut self, frame: &DeliveredFrame, now: Instant, since: i64) {
        self.is_offline = false;
        self.first.get_or_insert(now);
        if let Some(parameters) = &frame.parameters {
            self.size = Some(parameters.dimensions);
        }
        let is_live = frame.append_unix_millis.is_none_or(|append| append.saturating_mul(1_000_000) >= since);
        if frame.role == FrameRole::Preroll || !is_live {
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
