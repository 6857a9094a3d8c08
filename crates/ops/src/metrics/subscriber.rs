//! What a reader gets.

use super::{Bounded, Families, MAX_CAMERAS, Metrics, Row};
use lumenbus_bus::ClientStatistics;
use lumenbus_bus::subscriber::{Event, Subscriber, SubscriberStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what a subscriber hands over; clones are the same counts.
#[derive(Clone, Default)]
pub struct SubscriberMetrics {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    cameras: Bounded<Camera>,
    missing: BTreeMap<&'static str, u64>,
    open_gaps: u64,
    stats: SubscriberStats,
    buffered_bytes: usize,
    partitions: usize,
    clients: Vec<Arc<ClientStatistics>>,
}

#[derive(Debug, Default)]
struct Camera {
    frames: u64,
    bytes: u64,
    missing: u64,
}

impl fmt::Debug for SubscriberMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberMetrics").finish_non_exhaustive()
    }
}

impl SubscriberMetrics {
    /// New counts that these metrics show.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let subscriber = Self::default();
        metrics.register(Box::new(subscriber.clone()));
        subscriber
    }

    /// Counts an event.
    pub fn observe(&self, event: &Event) {
        match event {
            Event::Frame(frame) => {
                let mut counts = self.lock();
                let camera = counts.cameras.of(frame.stream.camera.as_str(), MAX_CAMERAS);
                camera.frames += 1;
                camera.bytes += frame.payload.len() as u64;
            }
            Event::Gap { stream, gap } => {
                let mut counts = self.lock();
                let Some(frames) = gap.count() else {
                    counts.open_gaps += 1;
                    return;
                };
                *counts.missing.entry(gap.reason.as_str()).or_default() += frames;
                counts.cameras.of(stream.camera.as_str(), MAX_CAMERAS).missing += frames;
            }
            _ => {}
        }
    }

    /// Takes the subscriber's own counters and queues over; about once a second.
    pub fn update(&self, subscriber: &Subscriber) {
        let (stats, clients) = (subscriber.stats(), subscriber.client_statistics());
        let (buffered, partitions) = (subscriber.buffered_bytes(), subscriber.assigned_partitions());
        let mut counts = self.lock();
        counts.stats = stats;
        counts.clients = clients;
        counts.buffered_bytes = buffered;
        counts.partitions = partitions;
    }

    /// librdkafka's statistics as last taken over.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<ClientStatistics>> {
        self.lock().clients.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for SubscriberMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let counts = self.lock();
        let rows = counts.cameras.rows();
        let of = |value: fn(&Camera) -> u64| {
            rows.iter().map(move |(name, camera)| Row::count(value(camera)).label("camera", name.as_str()))
        };
        families.counters(
            "lumenbus_received_frames",
            "Frames handed over by the subscriber.",
            of(|camera| camera.frames),
        )?;
        families.counters("lumenbus_received_bytes", "Their payload bytes.", of(|camera| camera.bytes))?;
        let help = "Frames that are missing and explained, by camera.";
        families.counters("lumenbus_camera_missing_frames", help, of(|camera| camera.missing))?;
        let reasons = counts.missing.iter().map(|(reason, frames)| Row::count(*frames).label("reason", *reason));
        families.counters("lumenbus_missing_frames", "Frames that are missing, by reason.", reasons)?;
        let help = "Gaps of unknown length: their publishers died.";
        families.counters("lumenbus_open_gaps", help, [Row::count(counts.open_gaps)])?;
        let ignored = [
            ("repeated", counts.stats.repeats),
            ("fenced", counts.stats.fenced),
            ("foreign", counts.stats.foreign),
            ("damaged", counts.stats.damaged),
        ];
        let ignored = ignored.map(|(why, records)| Row::count(records).label("reason", why));
        families.counters("lumenbus_ignored_records", "Records read and not handed over, by reason.", ignored)?;
        let help = "Bytes that wait for the caller.";
        families.gauges("lumenbus_buffered_bytes", help, [Row::count(counts.buffered_bytes as u64)])?;
        let help = "Partitions read now.";
        families.gauges("lumenbus_assigned_partitions", help, [Row::count(counts.partitions as u64)])
    }
}
