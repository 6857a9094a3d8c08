//! What a publisher does.

use super::{Bounded, Families, MAX_CAMERAS, PUBLISHER_REASONS, Row};
use lumenbus_bus::publisher::{PublisherStats, StreamStats};
use lumenbus_frame::{GapReason, StreamId};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Source = Arc<dyn Fn() -> Option<PublisherStats> + Send + Sync>;

/// Frames, drops by reason, queues and acknowledgements of one publisher.
///
/// `stats` is asked at each scrape; `None` once the publisher is closed, which keeps the counts that were reached.
#[must_use]
pub fn publisher_metrics(stats: Source) -> Box<dyn Collector> {
    let dropped = PUBLISHER_REASONS.iter().map(|reason| (reason.as_str(), 0)).collect();
    Box::new(PublisherMetrics { stats, totals: Mutex::new(Totals { dropped, ..Totals::default() }) })
}

struct PublisherMetrics {
    stats: Source,
    totals: Mutex<Totals>,
}

impl fmt::Debug for PublisherMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublisherMetrics").finish_non_exhaustive()
    }
}

/// Counts that never fall, though streams come and go.
#[derive(Debug, Default)]
struct Totals {
    cameras: Bounded<Camera>,
    dropped: BTreeMap<&'static str, u64>,
    /// What each open stream had counted at the last scrape.
    seen: HashMap<StreamId, Seen>,
    open_streams: usize,
}

#[derive(Debug, Default)]
struct Camera {
    submitted: u64,
    acknowledged: u64,
    acknowledged_bytes: u64,
    dropped: u64,
    queued_bytes: usize,
}

#[derive(Debug, Default)]
struct Seen {
    submitted: u64,
    acknowledged: u64,
    acknowledged_bytes: u64,
    drops: Vec<(GapReason, u64)>,
}

/// What was added since; a stream that was opened anew begins at 0 again.
fn added(now: u64, then: u64) -> u64 {
    if now >= then { now - then } else { now }
}

impl Totals {
    fn take(&mut self, stats: &PublisherStats) {
        self.open_streams = stats.streams.len();
        for camera in self.cameras.values.values_mut() {
            camera.queued_bytes = 0;
        }
        let mut seen = std::mem::take(&mut self.seen);
        for stream in &stats.streams {
            self.add(stream, &seen.remove(&stream.stream).unwrap_or_default());
        }
    }

    fn add(&mut self, stream: &StreamStats, then: &Seen) {
        let mut dropped = 0;
        for (reason, frames) in &stream.drops {
            let before = then.drops.iter().find(|row| row.0 == *reason).map_or(0, |row| row.1);
            let more = added(*frames, before);
            dropped += more;
            *self.dropped.entry(reason.as_str()).or_default() += more;
        }
        let camera = self.cameras.of(stream.stream.camera.as_str(), MAX_CAMERAS);
        camera.submitted += added(stream.submitted_frames, then.submitted);
        camera.acknowledged += added(stream.acknowledged_frames, then.acknowledged);
        camera.acknowledged_bytes += added(stream.acknowledged_bytes, then.acknowledged_bytes);
        camera.dropped += dropped;
        camera.queued_bytes += stream.queued_bytes;
        let now = Seen {
            submitted: stream.submitted_frames,
            acknowledged: stream.acknowledged_frames,
            acknowledged_bytes: stream.acknowledged_bytes,
            drops: stream.drops.clone(),
        };
        self.seen.insert(stream.stream.clone(), now);
    }

    fn encode(&self, families: &mut Families<'_>) -> fmt::Result {
        let rows = self.cameras.rows();
        let of = |value: fn(&Camera) -> u64| {
            rows.iter().map(move |(name, camera)| Row::count(value(camera)).label("camera", name.as_str()))
        };
        let help = "Frames given to the publisher.";
        families.counters("lumenbus_submitted_frames", help, of(|camera| camera.submitted))?;
        families.counters(
            "lumenbus_published_frames",
            "Frames that Kafka acknowledged.",
            of(|camera| camera.acknowledged),
        )?;
        let help = "Payload bytes that Kafka acknowledged.";
        families.counters("lumenbus_published_bytes", help, of(|camera| camera.acknowledged_bytes))?;
        let help = "Frames that the publisher dropped and explained, by camera.";
        families.counters("lumenbus_camera_dropped_frames", help, of(|camera| camera.dropped))?;
        let help = "Bytes that wait in the lanes of a camera.";
        families.gauges("lumenbus_camera_queued_bytes", help, of(|camera| camera.queued_bytes as u64))?;
        let reasons = self.dropped.iter().map(|(reason, frames)| Row::count(*frames).label("reason", *reason));
        families.counters(
            "lumenbus_dropped_frames",
            "Frames that the publisher dropped and explained, by reason.",
            reasons,
        )?;
        families.gauges("lumenbus_open_streams", "Streams that are open.", [Row::count(self.open_streams as u64)])
    }
}

impl Collector for PublisherMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let stats = (self.stats)();
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        match &stats {
            Some(stats) => totals.take(stats),
            None => totals.take(&PublisherStats::default()),
        }
        totals.encode(&mut families)?;
        let Some(stats) = stats else { return Ok(()) };
        let help = "Bytes that wait in all lanes.";
        families.gauges("lumenbus_queued_bytes", help, [Row::count(stats.queued_bytes as u64)])?;
        let help = "Record bytes with the Kafka client, not yet acknowledged.";
        families.gauges("lumenbus_in_flight_bytes", help, [Row::count(stats.in_flight_bytes as u64)])?;
        let help = "Times the Kafka client had to be replaced.";
        families.counters("lumenbus_replaced_clients", help, [Row::count(stats.replaced_clients)])?;
        let latency = stats.ack_latency;
        if latency.count == 0 {
            return Ok(());
        }
        for (percent, micros) in [("p50", latency.p50_micros), ("p99", latency.p99_micros)] {
            #[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
            let seconds = Row::new(micros as f64 / 1e6);
            let help = "From submission to acknowledgement, of all open streams since they were opened.";
            families.gauges(&format!("lumenbus_acknowledge_latency_{percent}_seconds"), help, [seconds])?;
        }
        Ok(())
    }
}
