//! `lumenbus bench memory`: does it stay flat?

use super::environment::EmbeddedBroker;
use super::load::Load;
use super::{ours, usage};
use crate::arguments::MemoryArguments;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::units::show_bytes;
use lumenbus_bus::BusConfig;
use lumenbus_bus::publisher::{Publisher, StreamHandle};
use lumenbus_bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
use lumenbus_frame::TopicName;
use serde_json::json;
use std::time::{Duration, Instant};

/// Samples of each part.
const SAMPLES: u32 = 20;
/// Growth from the first half of a part to the second that counts as flat.
const FLAT_BYTES: u64 = 16 * 1024 * 1024;

/// What is wrong during a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Steady,
    BrokerGone,
    ReaderStopped,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::BrokerGone => "broker gone",
            Self::ReaderStopped => "reader stopped",
        }
    }
}

pub(super) fn run(arguments: &MemoryArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut broker = EmbeddedBroker::start()?;
    let mut bus = settings.bus.clone();
    bus.brokers.clone_from(&broker.address);
    let load = Load {
        cameras: 8,
        frame_bytes: 50_000,
        frames: u64::MAX,
        interval: Some(Duration::from_secs(1) / 240),
        partitions: 8,
        consumers: 1,
        batch: 1,
    };
    output.result("resident memory of this process, 8 cameras × 30/s × 50 kB");
    let topic = bus.topic_prefix.topic("raw_video");
    lumenbus_bus::topics::ensure_topics(&bus, &["raw_video"])?;
    let (publisher, streams) = ours::open_streams(&bus, &load, &topic)?;
    let mut parts = Vec::new();
    let mut is_flat = true;
    let mut frame = 0;
    for part in [Part::Steady, Part::BrokerGone, Part::ReaderStopped] {
        let mut subscriber = open_reader(&bus, &topic)?;
        if part == Part::BrokerGone {
            broker.kill();
        }
        let samples = feed(&streams, &load, &mut frame, &mut subscriber, part, arguments.duration)?;
        if part == Part::BrokerGone {
            broker.restart()?;
        }
        let growth = growth(&samples);
        is_flat &= growth <= FLAT_BYTES;
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        output.result(&format!(
            "  {:<15} {} → {} over {:?}, second half against first {:+.1} MB",
            part.name(),
            show_bytes(first),
            show_bytes(last),
            arguments.duration,
            growth as f64 / 1e6
        ));
        parts.push(json!({ "part": part.name(), "samples": samples, "growth_bytes": growth }));
        drop(subscriber);
    }
    finish(publisher, streams);
    output.summary("bench memory", json!({ "parts": parts, "flat": is_flat }));
    Ok(if is_flat { Outcome::Done } else { Outcome::ProblemsFound })
}

fn open_reader(bus: &BusConfig, topic: &TopicName) -> anyhow::Result<Subscriber> {
    let mut config = SubscriberConfig::new(bus.clone(), vec![topic.clone()]);
    config.start = Start::Live;
    Ok(Subscriber::open(config)?)
}

fn feed(
    streams: &[StreamHandle],
    load: &Load,
    frame: &mut u64,
    subscriber: &mut Subscriber,
    part: Part,
    duration: Duration,
) -> anyhow::Result<Vec<u64>> {
    let (began, mut samples) = (Instant::now(), Vec::new());
    let every = duration / SAMPLES;
    let mut sent: u64 = 0;
    while began.elapsed() < duration {
        load.wait(sent, began);
        sent += 1;
        streams[load.camera(*frame)].submit(ours::encoded(load, *frame, began))?;
        *frame += 1;
        if part != Part::ReaderStopped {
            while let Some(event) = subscriber.recv(Duration::ZERO)? {
                drop::<Event>(event);
            }
        }
        if began.elapsed() >= every * u32::try_from(samples.len() + 1)? {
            samples.push(usage::resident_bytes(std::process::id()));
        }
    }
    samples.push(usage::resident_bytes(std::process::id()));
    Ok(samples)
}

/// Largest sample of the second half over the largest of the first; buffers fill in the first.
fn growth(samples: &[u64]) -> u64 {
    let (first, second) = samples.split_at(samples.len() / 2);
    let largest = |half: &[u64]| half.iter().copied().max().unwrap_or(0);
    largest(second).saturating_sub(largest(first))
}

fn finish(publisher: Publisher, streams: Vec<StreamHandle>) {
    for stream in streams {
        // What is left to send says nothing about memory.
        drop(stream);
    }
    drop(publisher.close(Duration::from_millis(100)));
}
