//! The stages that only a publisher knows, and whoever else follows its frames.

use super::{Stage, Stages};
use lumenbus_bus::FrameTracer;
use lumenbus_bus::subscriber::DeliveredFrame;
use lumenbus_bus::trace::Settled;
use lumenbus_frame::{EncodedFrame, FrameId, StreamId, TraceContext};
use std::sync::Arc;
use std::time::Duration;

/// Counts how long acknowledgements take, and passes everything on to another tracer.
pub(super) struct StageTracer {
    pub(super) stages: Stages,
    pub(super) next: Option<Arc<dyn FrameTracer>>,
}

impl FrameTracer for StageTracer {
    fn submitted(&self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Option<TraceContext> {
        self.next.as_ref().map_or(frame.trace, |next| next.submitted(stream, id, frame))
    }

    fn settled(&self, trace: &TraceContext, settled: &Settled<'_>) {
        if let Some(next) = &self.next {
            next.settled(trace, settled);
        }
    }

    fn acknowledged(&self, stream: &StreamId, after: Duration) {
        self.stages.record(Stage::Acknowledge, u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
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
