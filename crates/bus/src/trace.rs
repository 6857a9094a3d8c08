//! Frames in distributed traces: what a tracer is asked and told.
//!
//! The trace of a frame travels in the record header `traceparent` (W3C Trace Context): of a chunked frame on its first
//! chunk, of a frame that shares a record with others (a batch) not at all. Without a tracer, and without
//! [`EncodedFrame::trace`], a record has no such header and nothing here costs anything.

use crate::subscriber::DeliveredFrame;
use lumenbus_frame::{EncodedFrame, FrameId, GapReason, StreamId, TraceContext};
use std::sync::Arc;
use std::time::Duration;

pub use lumenbus_wire::TRACEPARENT_HEADER;

/// Follows frames through a publisher or subscriber.
///
/// The methods are called on the threads that carry the frames, [`submitted`](Self::submitted) and
/// [`settled`](Self::settled) with the stream's lock held: they must be quick and must not use the stream.
pub trait FrameTracer: Send + Sync {
    /// A tracer for one stream of a publisher, in place of this one, which is not asked about its frames any more. It is
    /// called by one thread at a time.
    fn of_stream(&self, stream: &StreamId) -> Option<Arc<dyn FrameTracer>> {
        let _ = stream;
        None
    }

    /// A frame got its number. The answer goes with it in place of [`EncodedFrame::trace`], which is its parent if set.
    fn submitted(&self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Option<TraceContext> {
        let _ = (stream, id);
        frame.trace
    }

    /// What became of a frame that has a trace; told once for each.
    fn settled(&self, trace: &TraceContext, settled: &Settled<'_>) {
        let _ = (trace, settled);
    }

    /// Kafka has acknowledged a record with frames, so long after the submission of its first one; every record, with a
    /// trace or without.
    fn acknowledged(&self, stream: &StreamId, after: Duration) {
        let _ = (stream, after);
    }

    /// A frame is handed to the subscriber's caller; every one, with a trace or without.
    fn received(&self, frame: &DeliveredFrame) {
        let _ = frame;
    }
}

/// What became of a published frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled<'a> {
    /// Its stream, and in it the topic.
    pub stream: &'a StreamId,
    /// Epoch and seq.
    pub id: FrameId,
    /// The partition that it went or would have gone to.
    pub partition: u32,
    /// Offset of its (first) record; `None` when it is not known to be in the log.
    pub offset: Option<i64>,
    /// Bytes of payload.
    pub payload_bytes: usize,
    /// When it was submitted, Unix nanoseconds.
    pub submitted_unix_nanos: i64,
    /// When it left its lane for the Kafka client, Unix nanoseconds; `None` when it never did.
    pub sent_unix_nanos: Option<i64>,
    /// Now, Unix nanoseconds.
    pub settled_unix_nanos: i64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a frame's way through the publisher ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// In the log, acknowledged.
    Acknowledged,
    /// The Kafka client gave it up; it may be in the log all the same.
    Failed,
    /// Dropped before it was sent; it is in a gap with this reason.
    Dropped(GapReason),
}
