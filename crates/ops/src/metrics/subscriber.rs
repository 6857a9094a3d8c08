//! What a reader gets.

use super::shares::{ByStream, CameraShares, Shares, Tally};
use super::{Families, Metrics, PUBLISHER_REASONS, READER_REASONS, Row, lock};
use lumenbus_bus::subscriber::{Event, SubscriberGauges, SubscriberSample};
use lumenbus_frame::StreamId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// Counts what a subscriber hands over; clones are the same counts.
#[derive(Clone, Default)]
pub struct SubscriberMetrics {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    cameras: Mutex<CameraShares<Camera>>,
    counts: Mutex<Counts>,
    /// Of readers without counts of their own.
    streams: Mutex<StreamCounts>,
}

/// What hardly ever happens.
#[derive(Debug, Default)]
struct Counts {
    missing: BTreeMap<&'static str, u64>,
    open_gaps: u64,
    gauges: Vec<SubscriberGauges>,
}

#[derive(Debug, Default)]
struct Camera {
    frames: Tally,
    bytes: Tally,
    missing: Tally,
}

impl fmt::Debug for SubscriberMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberMetrics").finish_non_exhaustive()
    }
}

/// One reader's counts.
#[derive(Debug, Default)]
pub(super) struct StreamCounts {
    cameras: ByStream<Camera>,
}

impl StreamCounts {
    /// As [`SubscriberMetrics::observe`]; always of the same metrics.
    pub(super) fn observe(&mut self, metrics: &SubscriberMetrics, event: &Event) {
        match event {
            Event::Frame(frame) => {
                let camera = self.of(metrics, &frame.stream);
                camera.frames.add(1);
                camera.bytes.add(frame.payload.len() as u64);
            }
            Event::Gap { stream, gap } => {
                let Some(frames) = gap.count() else {
                    metrics.counts().open_gaps += 1;
                    return;
                };
                *metrics.counts().missing.entry(gap.reason.as_str()).or_default() += frames;
                self.of(metrics, stream).missing.add(frames);
            }
            _ => {}
        }
    }

    fn of(&mut self, metrics: &SubscriberMetrics, stream: &Arc<StreamId>) -> &Camera {
        self.cameras.of(stream, &metrics.inner.cameras, Camera::default)
    }
}

impl SubscriberMetrics {
    /// New counts that these metrics show.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let subscriber = Self::default();
        let reasons = PUBLISHER_REASONS.iter().chain(&READER_REASONS);
        subscriber.counts().missing = reasons.map(|reason| (reason.as_str(), 0)).collect();
        metrics.register(Box::new(subscriber.clone()));
        subscriber
    }

    /// Counts an event. A reader of many small frames counts into a [`ReaderMetrics`](super::ReaderMetrics).
    pub fn observe(&self, event: &Event) {
        lock(&self.inner.streams).observe(self, event);
    }

    /// Shows a subscriber's own counters and queues as well, as long as it lives. Several are shown as one.
    pub fn watch(&self, gauges: SubscriberGauges) {
        let mut counts = self.counts();
        counts.gauges.retain(|known| known.read().is_some());
        counts.gauges.push(gauges);
    }

    /// What the watched subscribers are doing; `None` without one.
    #[must_use]
    pub fn sample(&self) -> Option<SubscriberSample> {
        let gauges = self.counts().gauges.clone();
        gauges.iter().filter_map(SubscriberGauges::read).reduce(together)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.inner.counts)
    }
}

fn together(mut sum: SubscriberSample, other: SubscriberSample) -> SubscriberSample {
    let (stats, more) = (&mut sum.stats, &other.stats);
    stats.records += more.records;
    stats.frames += more.frames;
    stats.bytes += more.bytes;
    stats.repeats += more.repeats;
    stats.fenced += more.fenced;
    stats.foreign += more.foreign;
    stats.damaged += more.damaged;
    stats.rewinds += more.rewinds;
    sum.clients.extend(other.clients);
    sum.buffered_bytes += other.buffered_bytes;
    sum.assigned_partitions += other.assigned_partitions;
    sum
}

impl Collector for SubscriberMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let cameras = lock(&self.inner.cameras);
        let rows = cameras.rows();
        let of = |value: fn(&Camera) -> &Tally| {
            let sum = move |shares: &Shares<Camera>| shares.iter().map(|camera| value(camera).get()).sum();
            rows.iter().map(move |(name, shares)| Row::count(sum(shares)).label("camera", name.as_str()))
        };
        let help = "Frames handed over by the subscriber.";
        families.counters("lumenbus_received_frames", help, of(|camera| &camera.frames))?;
        families.counters("lumenbus_received_bytes", "Their payload bytes.", of(|camera| &camera.bytes))?;
        let help = "Frames that are missing and explained, by camera.";
        families.counters("lumenbus_camera_missing_frames", help, of(|camera| &camera.missing))?;
        drop(cameras);
        let counts = self.counts();
        let reasons = counts.missing.iter().map(|(reason, frames)| Row::count(*frames).label("reason", *reason));
        families.counters("lumenbus_missing_frames", "Frames that are missing, by reason.", reasons)?;
        let help = "Gaps of unknown length: their publishers died.";
        families.counters("lumenbus_open_gaps", help, [Row::count(counts.open_gaps)])?;
        drop(counts);
        self.sample().map_or(Ok(()), |sample| own_counters(&mut families, &sample))
    }
}

fn own_counters(families: &mut Families<'_>, sample: &SubscriberSample) -> fmt::Result {
    let stats = &sample.stats;
    let ignored =
        [("repeated", stats.repeats), ("fenced", stats.fenced), ("foreign", stats.foreign), ("damaged", stats.damaged)];
    let ignored = ignored.map(|(why, records)| Row::count(records).label("reason", why));
    families.counters("lumenbus_ignored_records", "Records read and not handed over, by reason.", ignored)?;
    let help = "Bytes that wait for the caller.";
    families.gauges("lumenbus_buffered_bytes", help, [Row::count(sample.buffered_bytes as u64)])?;
    let help = "Partitions read now.";
    families.gauges("lumenbus_assigned_partitions", help, [Row::count(sample.assigned_partitions as u64)])
}
