//! How long frames take, per stage and in all.

use super::buckets::{Bounds, Buckets, Reading};
use super::shares::{ByStream, CameraShares, Shares};
use super::tracer::StageTracer;
use super::{Families, MAX_CAMERAS, Metrics, lock};
use lumenbus_bus::FrameTracer;
use lumenbus_bus::subscriber::{DeliveredFrame, FrameRole};
use lumenbus_frame::CameraId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::{Arc, Mutex};

/// From a millisecond to ten seconds.
static STAGE_BOUNDS: Bounds = Bounds::new(&[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
]);
/// Fewer of them for each camera: 500 cameras have them.
static AGE_BOUNDS: Bounds =
    Bounds::new(&[10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 30_000_000]);

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

/// A histogram of each stage.
type StageBuckets = [Buckets; Stage::ALL.len()];

fn stage_buckets() -> StageBuckets {
    std::array::from_fn(|_| Buckets::new(&STAGE_BOUNDS))
}

fn ages() -> Buckets {
    Buckets::new(&AGE_BOUNDS)
}

#[derive(Debug)]
struct Inner {
    /// Of whoever counts a single stage.
    shared: StageBuckets,
    readers: Mutex<Shares<StageBuckets>>,
    /// Of publishers' streams.
    acknowledgements: Mutex<Shares<Buckets>>,
    ages: Mutex<CameraShares<Buckets>>,
    /// Of readers without clocks of their own.
    clocks: Mutex<Clocks>,
}

/// The stage clocks of this process; clones are the same ones.
///
/// `lumenbus_stage_seconds{stage}` is of the process, `lumenbus_frame_age_seconds{camera}` of at most
/// [`MAX_CAMERAS`] cameras. A reader of many small frames counts into a [`ReaderMetrics`](super::ReaderMetrics).
#[derive(Debug, Clone)]
pub struct Stages {
    inner: Arc<Inner>,
}

impl Default for Stages {
    fn default() -> Self {
        let inner = Inner {
            shared: stage_buckets(),
            readers: Mutex::default(),
            acknowledgements: Mutex::default(),
            ages: Mutex::default(),
            clocks: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
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
        Arc::new(StageTracer::new(self.clone(), next))
    }

    /// How long a frame took for one stage.
    pub fn record(&self, stage: Stage, micros: u64) {
        self.inner.shared[stage as usize].record_shared(micros);
    }

    /// How old a frame of a camera was when it arrived where it is used (received, or shown).
    pub fn age(&self, camera: &CameraId, micros: u64) {
        let share = lock(&self.inner.ages).of(camera.as_str(), MAX_CAMERAS).take(ages);
        share.record(micros);
    }

    /// Everything that a frame's header and record tell of its way to this reader; only of frames in their turn, since
    /// what is caught up on or read again is old on purpose.
    pub fn received(&self, frame: &DeliveredFrame) {
        lock(&self.inner.clocks).received(self, frame);
    }

    /// For one stream of a publisher.
    pub(super) fn acknowledgements(&self) -> Arc<Buckets> {
        lock(&self.inner.acknowledgements).take(|| Buckets::new(&STAGE_BOUNDS))
    }

    fn stage(&self, stage: Stage) -> Reading {
        let at = stage as usize;
        let (readers, streams) = (lock(&self.inner.readers), lock(&self.inner.acknowledgements));
        let streams = streams.iter().filter(|_| stage == Stage::Acknowledge);
        let parts = readers.iter().map(|reader| &reader[at]).chain(streams).chain([&self.inner.shared[at]]);
        Reading::of(&STAGE_BOUNDS, parts)
    }
}

/// One reader's stage clocks.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    stages: Option<Arc<StageBuckets>>,
    ages: ByStream<Buckets>,
}

impl Clocks {
    /// As [`Stages::received`]; always of the same stages.
    pub(super) fn received(&mut self, stages: &Stages, frame: &DeliveredFrame) {
        if frame.role != FrameRole::Current {
            return;
        }
        let clocks = self.stages.get_or_insert_with(|| lock(&stages.inner.readers).take(stage_buckets));
        let record = |stage: Stage, micros: u64| clocks[stage as usize].record(micros);
        let header = &frame.header;
        let capture = header.capture.unix_nanos;
        let since = |from: i64, to: i64| u64::try_from(to.saturating_sub(from) / 1_000).unwrap_or(0);
        let (encode, queue) = (header.submit_micros, header.queue_micros);
        if let Some(micros) = encode {
            record(Stage::Encode, u64::from(micros));
        }
        if let Some(micros) = queue {
            record(Stage::Queue, u64::from(micros));
        }
        if let Some(append) = frame.append_unix_millis {
            let append = append.saturating_mul(1_000_000);
            let on_the_way = i64::from(encode.unwrap_or(0)) + i64::from(queue.unwrap_or(0));
            record(Stage::Append, since(capture.saturating_add(on_the_way * 1_000), append));
            record(Stage::Receive, since(append, frame.received_unix_nanos));
        }
        let ages = self.ages.of(&frame.stream, &stages.inner.ages, ages);
        ages.record(since(capture, frame.received_unix_nanos));
    }
}

impl Collector for Stages {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let stages = Stage::ALL.into_iter().map(|stage| ("stage", stage.as_str().to_owned(), self.stage(stage)));
        let used = stages.filter(|row| row.2.count() > 0);
        families.histograms("lumenbus_stage_seconds", "Time of a frame in each stage of its way.", used)?;
        let ages = lock(&self.inner.ages);
        let rows = ages.rows().into_iter();
        let rows = rows.map(|(camera, ages)| ("camera", camera.clone(), Reading::of(&AGE_BOUNDS, ages.iter())));
        families.histograms("lumenbus_frame_age_seconds", "Time from capture to where a frame is used.", rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
