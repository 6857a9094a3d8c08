//! The one subscriber: counts everything, and ages within the time that is measured.

use anyhow::Context as _;
use hdrhistogram::Histogram;
use lumenbus_bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_frame::{Clock as _, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::tally::Tally;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(100);
/// Longest age told apart: a minute, in microseconds.
const MAX_MICROS: u64 = 60_000_000;

/// What was read.
pub(in crate::bench) struct Reading {
    pub(in crate::bench) tally: Tally,
    /// Capture → handed over, of frames captured within the window.
    pub(in crate::bench) ages: Histogram<u64>,
    pub(in crate::bench) bytes: u64,
}

/// Frames captured from `from` on and before `to` count; Unix nanoseconds.
struct Window {
    from: AtomicI64,
    to: AtomicI64,
}

pub(in crate::bench) struct Reader {
    window: Arc<Window>,
    stop: Arc<Shutdown>,
    thread: JoinHandle<anyhow::Result<Reading>>,
}

impl Reader {
    /// Reads the topic from its beginning until so many streams have ended; alone, or as the member of a group.
    pub(in crate::bench) fn start(
        bus: &BusConfig,
        topic: &str,
        streams: usize,
        group: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut config = SubscriberConfig::new(bus.clone(), vec![TopicName::new(topic)?]);
        (config.start, config.group) = (Start::Earliest, group.map(str::to_owned));
        let subscriber = Subscriber::open(config)?;
        let window = Arc::new(Window { from: AtomicI64::new(i64::MAX), to: AtomicI64::new(i64::MAX) });
        let stop = Arc::<Shutdown>::default();
        let thread = thread::Builder::new().name("reader".to_owned()).spawn({
            let (window, stop) = (Arc::clone(&window), Arc::clone(&stop));
            move || read(subscriber, &window, &stop, streams)
        })?;
        Ok(Self { window, stop, thread })
    }

    pub(in crate::bench) fn open_window(&self) {
        self.window.from.store(SystemClock.unix_nanos(), Ordering::Release);
    }

    pub(in crate::bench) fn close_window(&self) {
        self.window.to.store(SystemClock.unix_nanos(), Ordering::Release);
    }

    /// Waits for the ends of all streams, at most so long.
    pub(in crate::bench) fn finish(self, patience: Duration) -> anyhow::Result<Reading> {
        let end = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < end {
            thread::park_timeout(LOOK);
        }
        self.stop.request();
        self.thread.join().map_err(|_| anyhow::anyhow!("the reader panicked")).context("reading the fleet")?
    }
}

fn read(mut subscriber: Subscriber, window: &Window, stop: &Shutdown, streams: usize) -> anyhow::Result<Reading> {
    let ages = Histogram::new_with_bounds(1, MAX_MICROS, 3)?;
    let mut reading = Reading { tally: Tally::default(), ages, bytes: 0 };
    let mut ended = 0;
    while ended < streams && !stop.is_requested() {
        let Some(event) = subscriber.recv(LOOK)? else { continue };
        reading.tally.count(&event);
        match &event {
            Event::Frame(frame) => {
                let captured = frame.header.capture.unix_nanos;
                let is_counted = captured >= window.from.load(Ordering::Acquire);
                if is_counted && captured < window.to.load(Ordering::Acquire) {
                    let age = SystemClock.unix_nanos().saturating_sub(captured).max(0).unsigned_abs();
                    reading.ages.saturating_record((age / 1_000).max(1));
                    reading.bytes += frame.payload.len() as u64;
                }
            }
            Event::End { .. } => ended += 1,
            _ => {}
        }
    }
    subscriber.close();
    Ok(reading)
}
