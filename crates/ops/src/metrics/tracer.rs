//! The stages that only a publisher knows, and whoever else follows its frames.

use super::buckets::Buckets;
use super::{Stage, Stages};
use lumenbus_bus::FrameTracer;
use lumenbus_bus::subscriber::DeliveredFrame;
use lumenbus_bus::trace::Settled;
use lumenbus_frame::{EncodedFrame, FrameId, StreamId, TraceContext};
use std::sync::Arc;
use std::time::Duration;

/// Counts how long acknowledgements take, and passes everything on to another tracer.
pub(super) struct StageTracer {
    stages: Stages,
    /// Of the one stream that this tracer is for.
    acknowledgements: Option<Arc<Buckets>>,
    next: Option<Arc<dyn FrameTracer>>,
}

impl StageTracer {
    pub(super) fn new(stages: Stages, next: Option<Arc<dyn FrameTracer>>) -> Self {
        Self { stages, acknowledgements: None, next }
    }
}

impl FrameTracer for StageTracer {
    fn of_stream(&self, stream: &StreamId) -> Option<Arc<dyn FrameTracer>> {
        let next = self.next.as_ref().map(|next| next.of_stream(stream).unwrap_or_else(|| Arc::clone(next)));
        let acknowledgements = Some(self.stages.acknowledgements());
        Some(Arc::new(Self { stages: self.stages.clone(), acknowledgements, next }))
    }

    fn submitted(&self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Option<TraceContext> {
        self.next.as_ref().map_or(frame.trace, |next| next.submitted(stream, id, frame))
    }

    fn settled(&self, trace: &TraceContext, settled: &Settled<'_>) {
        if let Some(next) = &self.next {
            next.settled(trace, settled);
        }
    }

    fn acknowledged(&self, stream: &StreamId, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        match &self.acknowledgements {
            Some(own) => own.record(micros),
            None => self.stages.record(Stage::Acknowledge, micros),
        }
        if let Some(next) = &self.next {
            next.acknowledged(stream, after);
        }
    }

    fn received(&self, frame: &DeliveredFrame) {
        if let Some(next) = &self.next {
            next.received(frame);
        }
    }
}
