//! How long frames take, per stage and in all.

use super::tracer::StageTracer;
use super::{Families, MAX_CAMERAS, Metrics, OTHER};
use lumenbus_bus::FrameTracer;
use lumenbus_bus::subscriber::{DeliveredFrame, FrameRole};
use lumenbus_frame::CameraId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Upper bounds of the stages' buckets, in microseconds: from a millisecond to ten seconds.
const STAGE_MICROS: [u64; 12] =
    [1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000];
/// Fewer of them for each camera: 500 cameras have them.
const AGE_MICROS: [u64; 9] = [10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 30_000_000];

/// A part of a frame's way, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Capture → submission, encoding included.
    Encode,
    /// Submission → Kafka client.
    Queue,
    /// Kafka client → appended at the broker (by the broker's clock).
    Append,
    /// Submission → acknowledgement, at the publisher.
    Acknowledge,
    /// Appended → received by the reader (by both clocks).
    Receive,
    /// Received → sent to a browser.
    Send,
    /// Received → decoded.
    Decode,
    /// Decoded → shown.
    Shown,
    /// Capture → shown.
    Total,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Encode,
        Self::Queue,
        Self::Append,
        Self::Acknowledge,
        Self::Receive,
        Self::Send,
        Self::Decode,
        Self::Shown,
        Self::Total,
    ];

    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Queue => "queue",
            Self::Append => "append",
            Self::Acknowledge => "acknowledge",
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Decode => "decode",
            Self::Shown => "shown",
            Self::Total => "total",
        }
    }
}

/// A histogram that is counted into without a lock.
#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: &'static [u64],
    /// One more than bounds: the last has none.
    counts: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

impl Buckets {
    fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_micros: AtomicU64::new(0) }
    }

    fn record(&self, micros: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Sum in seconds, count, (upper bound in seconds, own count) of each bucket.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
    pub(crate) fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = self.bounds.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        let counts: Vec<_> = bounds.zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        let count = counts.iter().map(|bucket| bucket.1).sum();
        (self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6, count, counts)
    }
}

#[derive(Debug)]
struct Inner {
    stages: [Buckets; Stage::ALL.len()],
    ages: RwLock<HashMap<CameraId, Arc<Buckets>>>,
    /// Of cameras beyond the limit.
    other: Buckets,
}

/// The stage clocks of this process; clones are the same ones.
///
/// `lumenbus_stage_seconds{stage}` is of the process, `lumenbus_frame_age_seconds{camera}` of at most
/// [`MAX_CAMERAS`] cameras. Recording takes no lock but a shared one for a camera's age.
#[derive(Debug, Clone)]
pub struct Stages {
    inner: Arc<Inner>,
}

impl Default for Stages {
    fn default() -> Self {
        let stages = std::array::from_fn(|_| Buckets::new(&STAGE_MICROS));
        Self { inner: Arc::new(Inner { stages, ages: RwLock::default(), other: Buckets::new(&AGE_MICROS) }) }
    }
}

impl Stages {
    /// New clocks that these metrics show.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let stages = Self::default();
        metrics.register(Box::new(stages.clone()));
        stages
    }

    /// For a publisher: counts how long its acknowledgements take, and passes everything on to `next`.
    #[must_use]
    pub fn tracer(&self, next: Option<Arc<dyn FrameTracer>>) -> Arc<dyn FrameTracer> {
        Arc::new(StageTracer { stages: self.clone(), next })
    }

    /// How long a frame took for one stage.
    pub fn record(&self, stage: Stage, micros: u64) {
        self.inner.stages[stage as usize].record(micros);
    }

    /// How old a frame of a camera was when it arrived where it is used (received, or shown).
    pub fn age(&self, camera: &CameraId, micros: u64) {
        let ages = self.inner.ages.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(age) = ages.get(camera) {
            return age.record(micros);
        }
        drop(ages);
        let mut ages = self.inner.ages.write().unwrap_or_else(PoisonError::into_inner);
        if ages.len() < MAX_CAMERAS || ages.contains_key(camera) {
            ages.entry(camera.clone()).or_insert_with(|| Arc::new(Buckets::new(&AGE_MICROS))).record(micros);
        } else {
            self.inner.other.record(micros);
        }
    }

    /// Everything that a frame's header and record tell of its way to this reader; only of frames in their turn, since
    /// what is caught up on or read again is old on purpose.
    pub fn received(&self, frame: &DeliveredFrame) {
        if frame.role != FrameRole::Current {
            return;
        }
        let header = &frame.header;
        let capture = header.capture.unix_nanos;
        let since = |from: i64, to: i64| u64::try_from(to.saturating_sub(from) / 1_000).unwrap_or(0);
        let (encode, queue) = (header.submit_micros, header.queue_micros);
        if let Some(micros) = encode {
            self.record(Stage::Encode, u64::from(micros));
        }
        if let Some(micros) = queue {
            self.record(Stage::Queue, u64::from(micros));
        }
        if let Some(append) = frame.append_unix_millis {
            let append = append.saturating_mul(1_000_000);
            let on_the_way = i64::from(encode.unwrap_or(0)) + i64::from(queue.unwrap_or(0));
            self.record(Stage::Append, since(capture.saturating_add(on_the_way * 1_000), append));
            self.record(Stage::Receive, since(append, frame.received_unix_nanos));
        }
        self.age(&frame.stream.camera, since(capture, frame.received_unix_nanos));
    }
}

impl Collector for Stages {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let stages = Stage::ALL
            .into_iter()
            .map(|stage| ("stage", stage.as_str().to_owned(), &self.inner.stages[stage as usize]));
        let used = stages.filter(|row| row.2.read().1 > 0);
        families.histograms("lumenbus_stage_seconds", "Time of a frame in each stage of its way.", used)?;
        let ages = self.inner.ages.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<_> =
            ages.iter().map(|(camera, age)| ("camera", camera.as_str().to_owned(), &**age)).collect();
        rows.sort_by(|a, b| a.1.cmp(&b.1));
        if self.inner.other.read().1 > 0 {
            rows.push(("camera", OTHER.to_owned(), &self.inner.other));
        }
        families.histograms("lumenbus_frame_age_seconds", "Time from capture to where a frame is used.", rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_holds_it() {
        let buckets = Buckets::new(&AGE_MICROS);
        for micros in [0, 10_000, 10_001, 40_000_000] {
            buckets.record(micros);
        }
        let (sum, count, counts) = buckets.read();
        assert_eq!(count, 4);
        assert!((sum - 40.020_001).abs() < 1e-9);
        assert_eq!((counts[0], counts[1], counts[9]), ((0.01, 2), (0.025, 1), (f64::INFINITY, 1)));
    }

    #[test]
    fn cameras_beyond_the_limit_are_counted_together() {
        let metrics = Metrics::new();
        let stages = Stages::new(&metrics);
        for number in 0..MAX_CAMERAS + 100 {
            stages.age(&format!("camera-{number}").parse().unwrap(), 20_000);
        }
        let text = metrics.encode();
        assert_eq!(text.matches("lumenbus_frame_age_seconds_count{").count(), MAX_CAMERAS + 1);
        assert!(text.contains("lumenbus_frame_age_seconds_count{camera=\"other\"} 100\n"), "{text}");
    }

    #[test]
    fn a_stage_that_nothing_passed_is_not_shown() {
        let metrics = Metrics::new();
        let stages = Stages::new(&metrics);
        stages.record(Stage::Decode, 7_000);
        let text = metrics.encode();
        assert!(text.contains("lumenbus_stage_seconds_bucket{le=\"0.01\",stage=\"decode\"} 1\n"), "{text}");
        assert!(!text.contains("stage=\"shown\""), "{text}");
    }
}
