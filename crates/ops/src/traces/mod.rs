//! Frames in distributed traces: OTLP over HTTP, spans as OpenTelemetry's messaging conventions name them.
//!
//! A publisher makes a `send` span for each sampled frame, from submission to acknowledgement, and puts its context into
//! the record header `traceparent`. A reader makes a `receive` span of its own trace that *links* to it: one frame may be
//! read by many, and replayed a day later. Whoever works on a frame makes a `process` span, which links as well.
//!
//! A frame that is not sampled has no header and costs a step of a counter.

mod export;
mod sampling;
mod spans;

use export::Exporter;
use lumenbus_bus::FrameTracer;
use lumenbus_bus::subscriber::DeliveredFrame;
use lumenbus_bus::trace::Settled;
use lumenbus_frame::{EncodedFrame, FrameId, StreamId, TraceContext};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor as _};
use sampling::{Budget, Turns};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Spans that may wait for the collector; further ones are dropped.
const MAX_WAITING: usize = 4_096;
/// How often what waits is sent.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// How long a clean end waits for the collector.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// Parents of frames on their way; a frame beyond them becomes the child of none.
const MAX_PARENTS: usize = 8_192;

/// Frames traced in a second, unless somebody says otherwise. A traced frame costs its publisher and reader together about
/// 10 µs, so this is half a percent of a processor at most.
pub const MOST_PER_SECOND: u32 = 500;

/// Where traces go, and of how many frames.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceConfig {
    /// OTLP over HTTP: `http://127.0.0.1:4318`; without a path it gets `/v1/traces`.
    pub endpoint: String,
    /// Share of the frames that are traced, 0 to 1. A frame that comes with a trace of its own keeps its decision.
    pub sample_ratio: f64,
    /// Frames traced in a second at most, of all streams together; of a share of 1 there is no limit. Frames that come
    /// with a trace of their own do not count.
    pub most_per_second: u32,
    /// `service.name`
    pub service: String,
}

impl TraceConfig {
    /// One frame in a hundred and [`MOST_PER_SECOND`], as service `lumenbus`.
    #[must_use]
    pub fn new(endpoint: impl Into<String>) -> Self {
        let (endpoint, service) = (endpoint.into(), "lumenbus".to_owned());
        Self { endpoint, sample_ratio: 0.01, most_per_second: MOST_PER_SECOND, service }
    }
}

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Not an address of a collector.
    #[error("cannot send traces to {endpoint:?}: {reason}; write for example --trace-endpoint http://127.0.0.1:4318")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A share beyond 0 to 1.
    #[error("a sample ratio of {ratio} is not between 0 and 1")]
    Ratio {
        /// As given.
        ratio: f64,
    },
    /// No thread or no event loop.
    #[error("cannot start the sender of traces; check the limits of processes and open files")]
    Start(#[source] std::io::Error),
}

/// Traces of this process; clones are the same. Give it to publishers and subscribers as their tracer.
#[derive(Clone)]
pub struct Tracing {
    inner: Arc<Inner>,
}

struct Inner {
    turns: Turns,
    budget: Budget,
    processor: BatchSpanProcessor,
    /// Of frames on their way that came with a trace: their span → its parent.
    parents: Mutex<HashMap<[u8; 8], [u8; 8]>>,
}

impl Tracing {
    /// Begins to send. A collector that is away costs spans, never frames; it is told once in the log.
    ///
    /// # Errors
    /// An endpoint or a ratio that cannot be used; no thread.
    pub fn start(config: &TraceConfig) -> Result<Self, TraceError> {
        let TraceConfig { sample_ratio: ratio, .. } = *config;
        if !(0.0..=1.0).contains(&ratio) {
            return Err(TraceError::Ratio { ratio });
        }
        let exporter = Exporter::new(&endpoint(&config.endpoint)?, &config.service)?;
        let batches =
            BatchConfigBuilder::default().with_max_queue_size(MAX_WAITING).with_scheduled_delay(SEND_INTERVAL).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let most = if ratio < 1.0 { config.most_per_second } else { u32::MAX };
        let (turns, budget) = (Turns::new(ratio), Budget::new(most));
        let inner = Inner { turns, budget, processor, parents: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends what waits and ends; the clones trace no more.
    pub fn shutdown(&self) {
        if let Err(error) = self.inner.processor.shutdown_with_timeout(SHUTDOWN) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }

    /// Begins a `process` span of a frame that came with a trace; it ends when the answer is dropped.
    #[must_use]
    pub fn process(&self, stream: &StreamId, id: FrameId, trace: Option<&TraceContext>) -> Option<Processing> {
        let creation = *trace.filter(|trace| trace.is_sampled())?;
        let work = Processing { tracing: self.clone(), stream: stream.clone(), id, creation, began: SystemTime::now() };
        Some(work)
    }

    fn end(&self, span: SpanData) {
        self.inner.processor.on_end(span);
    }

    /// The frame's own span below its parent, or a new trace if it is the frame's turn.
    fn context(&self, parent: Option<&TraceContext>, is_turn: impl FnOnce(&Turns) -> bool) -> Option<TraceContext> {
        let Some(parent) = parent else {
            let is_sampled = is_turn(&self.inner.turns) && self.inner.budget.take();
            return is_sampled.then(|| TraceContext { trace_id: trace_id(), span_id: span_id(), flags: 1 });
        };
        if !parent.is_sampled() {
            return Some(*parent);
        }
        let own = TraceContext { span_id: span_id(), ..*parent };
        let mut parents = self.inner.parents.lock().unwrap_or_else(PoisonError::into_inner);
        if parents.len() < MAX_PARENTS {
            parents.insert(own.span_id, parent.span_id);
        }
        Some(own)
    }

    fn take_parent(&self, own: &TraceContext) -> Option<[u8; 8]> {
        self.inner.parents.lock().unwrap_or_else(PoisonError::into_inner).remove(&own.span_id)
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracing").field("turns", &self.inner.turns).finish_non_exhaustive()
    }
}

impl FrameTracer for Tracing {
    fn of_stream(&self, _stream: &StreamId) -> Option<Arc<dyn FrameTracer>> {
        let left = AtomicU64::new(self.inner.turns.left());
        Some(Arc::new(StreamTracing { tracing: self.clone(), left }))
    }

    fn submitted(&self, _stream: &StreamId, _id: FrameId, frame: &EncodedFrame) -> Option<TraceContext> {
        self.context(frame.trace.as_ref(), Turns::is_now)
    }

    fn settled(&self, trace: &TraceContext, settled: &Settled<'_>) {
        if trace.is_sampled() {
            self.end(spans::send(trace, self.take_parent(trace), settled));
        }
    }

    fn received(&self, frame: &DeliveredFrame) {
        if let Some(creation) = frame.trace.filter(TraceContext::is_sampled) {
            self.end(spans::receive(&creation, frame));
        }
    }
}

/// Of one stream, which is asked about by one thread at a time: it knows how many frames it is until the next one's turn.
struct StreamTracing {
    tracing: Tracing,
    left: AtomicU64,
}

impl FrameTracer for StreamTracing {
    fn submitted(&self, _stream: &StreamId, _id: FrameId, frame: &EncodedFrame) -> Option<TraceContext> {
        self.tracing.context(frame.trace.as_ref(), |turns| {
            let left = self.left.load(Ordering::Relaxed);
            self.left.store(left.checked_sub(1).unwrap_or_else(|| turns.left()), Ordering::Relaxed);
            left == 0
        })
    }

    fn settled(&self, trace: &TraceContext, settled: &Settled<'_>) {
        self.tracing.settled(trace, settled);
    }

    fn received(&self, frame: &DeliveredFrame) {
        self.tracing.received(frame);
    }
}

/// Work on one frame.
#[derive(Debug)]
pub struct Processing {
    tracing: Tracing,
    stream: StreamId,
    id: FrameId,
    creation: TraceContext,
    began: SystemTime,
}

impl Drop for Processing {
    fn drop(&mut self) {
        self.tracing.end(spans::process(&self.creation, &self.stream, self.id, self.began));
    }
}

/// Not all zero, which means "none".
fn trace_id() -> [u8; 16] {
    rand::random::<u128>().max(1).to_be_bytes()
}

fn span_id() -> [u8; 8] {
    rand::random::<u64>().max(1).to_be_bytes()
}

fn endpoint(text: &str) -> Result<String, TraceError> {
    let wrong =
        |reason: &str| TraceError::Endpoint { endpoint: text.chars().take(200).collect(), reason: reason.to_owned() };
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => {
            return Err(wrong("TLS is left to a collector on this machine, which is spoken to by http"));
        }
        _ => return Err(wrong("it does not begin with http://")),
    };
    if rest.contains('@') {
        return Err(wrong("a password does not belong there"));
    }
    match rest.split_once('/') {
        None if !rest.is_empty() => Ok(format!("{text}/v1/traces")),
        Some((host, "")) if !host.is_empty() => Ok(format!("{text}v1/traces")),
        Some((host, _)) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err(wrong("the host is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{CaptureTime, Codec, Epoch, Seq, TopicName};

    #[test]
    fn endpoints() {
        let at = |text: &str| endpoint(text).ok();
        assert_eq!(at("http://127.0.0.1:4318").as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(at("http://collector:4318/").as_deref(), Some("http://collector:4318/v1/traces"));
        assert_eq!(at("http://collector/otlp/v1/traces").as_deref(), Some("http://collector/otlp/v1/traces"));
        for wrong in ["https://collector:4318", "collector:4318", "http://", "http:///v1/traces", "http://a:b@c", ""] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    fn tracing(sample_ratio: f64, most_per_second: u32) -> Tracing {
        let config = TraceConfig { sample_ratio, most_per_second, ..TraceConfig::new("http://127.0.0.1:9") };
        Tracing::start(&config).unwrap()
    }

    /// How many of 10,000 frames are sampled, by the tracer of all streams or that of one.
    fn sampled(tracer: &dyn FrameTracer) -> usize {
        let frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), Vec::new().into());
        let id = |seq| FrameId { epoch: Epoch(1), seq: Seq(seq) };
        (0..10_000).filter(|seq| tracer.submitted(&stream(), id(*seq), &frame).is_some()).count()
    }

    fn stream() -> StreamId {
        StreamId::main("yard".parse().unwrap(), TopicName::new("raw_video").unwrap())
    }

    #[test]
    fn a_share_of_the_frames_is_sampled_and_a_decision_is_kept() {
        let of_all = |ratio: f64, most: u32| sampled(&tracing(ratio, most));
        let of_stream = |ratio: f64, most: u32| sampled(&*tracing(ratio, most).of_stream(&stream()).unwrap());
        for sampled in [&of_all as &dyn Fn(f64, u32) -> usize, &of_stream] {
            assert_eq!((sampled(0.0, u32::MAX), sampled(1.0, u32::MAX)), (0, 10_000));
            // 100 expected; the chance of missing this range is below 10⁻⁹.
            assert!((30..200).contains(&sampled(0.01, u32::MAX)));
            assert_eq!((sampled(0.9, 0), sampled(1.0, 0)), (0, 10_000), "whoever wants all of them gets them");
        }
        let tracing = tracing(0.0, 1);
        let parent: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let own = tracing.context(Some(&parent), |_| false).unwrap();
        assert_eq!((own.trace_id, own.flags), (parent.trace_id, 1));
        assert_ne!(own.span_id, parent.span_id);
        assert_eq!(tracing.take_parent(&own), Some(parent.span_id));
        let ignored = TraceContext { flags: 0, ..parent };
        assert_eq!(tracing.context(Some(&ignored), |_| false), Some(ignored));
    }

    #[test]
    fn a_ratio_is_a_share() {
        for ratio in [-0.1, 1.1, f64::NAN] {
            let config = TraceConfig { sample_ratio: ratio, ..TraceConfig::new("http://127.0.0.1:9") };
            assert!(matches!(Tracing::start(&config), Err(TraceError::Ratio { .. })), "{ratio}");
        }
    }
}
