//! Spans as the messaging conventions of OpenTelemetry want them (status: development, 2026).

use lumenbus_bus::subscriber::DeliveredFrame;
use lumenbus_bus::trace::{Outcome, Settled};
use lumenbus_frame::{FrameId, StreamId, TraceContext};
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From submission to acknowledgement, a failure or a drop: the frame's creation context.
pub(super) fn send(own: &TraceContext, parent: Option<[u8; 8]>, settled: &Settled<'_>) -> SpanData {
    let mut attributes = about("send", settled.stream, settled.id);
    attributes.push(KeyValue::new("messaging.operation.type", "send"));
    attributes.push(KeyValue::new("messaging.destination.partition.id", settled.partition.to_string()));
    attributes
        .push(KeyValue::new("messaging.message.body.size", i64::try_from(settled.payload_bytes).unwrap_or(i64::MAX)));
    attributes.extend(settled.offset.map(|offset| KeyValue::new("messaging.kafka.offset", offset)));
    let status = match settled.outcome {
        Outcome::Acknowledged => Status::Unset,
        Outcome::Dropped(reason) => failed(&mut attributes, reason.as_str()),
        _ => failed(&mut attributes, "delivery-failed"),
    };
    let mut events = SpanEvents::default();
    events
        .events
        .extend(settled.sent_unix_nanos.map(|at| Event::new("handed to the Kafka client", moment(at), Vec::new(), 0)));
    let times = (moment(settled.submitted_unix_nanos), moment(settled.settled_unix_nanos));
    let span = span("send", SpanKind::Producer, context(own), settled.stream, times);
    let parent_span_id = parent.map_or(SpanId::INVALID, SpanId::from_bytes);
    SpanData { parent_span_id, attributes, events, status, ..span }
}

/// From where the record came in to where its frame is handed over.
pub(super) fn receive(creation: &TraceContext, frame: &DeliveredFrame) -> SpanData {
    let mut attributes = about("receive", &frame.stream, frame.id());
    attributes.push(KeyValue::new("messaging.operation.type", "receive"));
    attributes.push(KeyValue::new("messaging.destination.partition.id", frame.partition.to_string()));
    attributes.push(KeyValue::new("messaging.kafka.offset", frame.offset));
    attributes
        .push(KeyValue::new("messaging.message.body.size", i64::try_from(frame.payload.len()).unwrap_or(i64::MAX)));
    let times = (moment(frame.received_unix_nanos), SystemTime::now());
    linked(creation, span("receive", SpanKind::Client, new_context(), &frame.stream, times), attributes)
}

/// Somebody's work on a frame.
pub(super) fn process(creation: &TraceContext, stream: &StreamId, id: FrameId, began: SystemTime) -> SpanData {
    let mut attributes = about("process", stream, id);
    attributes.push(KeyValue::new("messaging.operation.type", "process"));
    let times = (began, SystemTime::now());
    linked(creation, span("process", SpanKind::Consumer, new_context(), stream, times), attributes)
}

fn span(
    operation: &str,
    span_kind: SpanKind,
    span_context: SpanContext,
    stream: &StreamId,
    (start_time, end_time): (SystemTime, SystemTime),
) -> SpanData {
    SpanData {
        span_context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind,
        name: format!("{operation} {}", stream.topic).into(),
        start_time,
        // A clock that was set back makes no span of negative length.
        end_time: end_time.max(start_time),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("lumenbus")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn linked(creation: &TraceContext, span: SpanData, attributes: Vec<KeyValue>) -> SpanData {
    let mut links = SpanLinks::default();
    links.links.push(Link::new(remote(creation), Vec::new(), 0));
    SpanData { attributes, links, ..span }
}

fn about(operation: &'static str, stream: &StreamId, id: FrameId) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.destination.name", stream.topic.as_str().to_owned()),
        KeyValue::new("messaging.kafka.message.key", stream.camera.as_str().to_owned()),
        KeyValue::new("lumenbus.stream", stream.name.as_str().to_owned()),
        // A number of 64 bits does not fit a signed one.
        KeyValue::new("lumenbus.epoch", id.epoch.to_string()),
        KeyValue::new("lumenbus.seq", i64::try_from(id.seq.0).unwrap_or(i64::MAX)),
    ]
}

fn failed(attributes: &mut Vec<KeyValue>, why: &'static str) -> Status {
    attributes.push(KeyValue::new("error.type", why));
    Status::error(why)
}

fn context(trace: &TraceContext) -> SpanContext {
    let (trace_id, span_id) = (TraceId::from_bytes(trace.trace_id), SpanId::from_bytes(trace.span_id));
    SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE)
}

fn remote(trace: &TraceContext) -> SpanContext {
    let (trace_id, span_id) = (TraceId::from_bytes(trace.trace_id), SpanId::from_bytes(trace.span_id));
    SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, TraceState::NONE)
}

fn new_context() -> SpanContext {
    context(&TraceContext { trace_id: super::trace_id(), span_id: super::span_id(), flags: 1 })
}

fn moment(unix_nanos: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(unix_nanos).unwrap_or(0))
}
