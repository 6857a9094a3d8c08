//! Traces of real frames through the embedded broker, taken by a small collector.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_broker::{Broker, BrokerConfig};
use lumenbus_bus::publisher::{Publisher, PublisherConfig, StreamOptions};
use lumenbus_bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_frame::{CaptureTime, Clock as _, Codec, EncodedFrame, TraceContext};
use lumenbus_ops::{TraceConfig, Tracing};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Takes OTLP over HTTP as a collector does.
struct Collector {
    address: SocketAddr,
    requests: Receiver<(String, ExportTraceServiceRequest)>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, requests }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was sent; after a shutdown it is here.
    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        while let Ok((path, request)) = self.requests.try_recv() {
            assert_eq!(path, "/v1/traces");
            for resource in request.resource_spans {
                let attributes = resource.resource.unwrap().attributes;
                assert!(attributes.iter().any(|attribute| attribute.key == "service.name"), "{attributes:?}");
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        spans
    }
}

fn serve(stream: TcpStream, sender: &Sender<(String, ExportTraceServiceRequest)>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.to_ascii_lowercase());
        }
        let header = |name: &str| head.iter().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        assert_eq!(header("content-type:").unwrap(), "application/x-protobuf");
        let mut body = vec![0; header("content-length:").unwrap().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        sender.send((path, ExportTraceServiceRequest::decode(body.as_slice()).unwrap())).unwrap();
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    }
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name);
    match attribute.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{name} is {other:?} in {span:?}"),
    }
}

fn number(span: &Span, name: &str) -> i64 {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name);
    match attribute.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::IntValue(number)) => *number,
        other => panic!("{name} is {other:?} in {span:?}"),
    }
}

fn picture() -> EncodedFrame {
    let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(SystemClock.unix_nanos()), vec![7; 5_000].into());
    frame.keyframe()
}

struct Site {
    bus: BusConfig,
    _broker: lumenbus_broker::RunningBroker,
    _data: tempfile::TempDir,
}

fn site() -> Site {
    let data = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new(data.path()).listen("127.0.0.1:0".parse().unwrap());
    let broker = Broker::start_blocking(config).unwrap();
    Site { bus: BusConfig::new(broker.bootstrap_servers()), _broker: broker, _data: data }
}

/// Publishes three frames, the second within a trace of the application, and reads them.
fn through(site: &Site, tracing: &Tracing, parent: TraceContext) -> Vec<Option<TraceContext>> {
    let mut config = PublisherConfig::new(site.bus.clone());
    config.tracer = Some(Arc::new(tracing.clone()));
    let publisher = Publisher::open(config).unwrap();
    let stream = publisher.main_stream("gate".parse().unwrap(), "raw_images", StreamOptions::new(Codec::Jpeg)).unwrap();
    for frame in [picture(), picture().with_trace(parent), picture()] {
        stream.submit(frame).unwrap();
    }
    assert!(stream.finish(LONG).unwrap().is_end_written);
    drop(publisher.close(LONG));
    let mut config = SubscriberConfig::new(site.bus.clone(), vec![site.bus.topic_prefix.topic("raw_images")]);
    config.start = Start::Earliest;
    config.tracer = Some(Arc::new(tracing.clone()));
    let mut subscriber = Subscriber::open(config).unwrap();
    let mut traces = Vec::new();
    while traces.len() < 3 {
        if let Some(Event::Frame(frame)) = subscriber.recv(LONG).unwrap() {
            drop(tracing.process(&frame.stream, frame.id(), frame.trace.as_ref()));
            traces.push(frame.trace);
        }
    }
    subscriber.close();
    traces
}

#[test]
fn readers_link_to_the_frame_that_was_sent() {
    let (site, collector) = (site(), Collector::start());
    let config = TraceConfig { sample_ratio: 1.0, ..TraceConfig::new(collector.endpoint()) };
    let tracing = Tracing::start(&config).unwrap();
    let parent: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let traces = through(&site, &tracing, parent);
    tracing.shutdown();
    let spans = collector.spans();
    for (seq, trace) in traces.into_iter().enumerate() {
        let (seq, trace) = (i64::try_from(seq).unwrap(), trace.expect("every frame is sampled"));
        let of = |name: &str| {
            let mut found = spans.iter().filter(|span| span.name == name && number(span, "lumenbus.seq") == seq);
            let span = found.next().unwrap_or_else(|| panic!("no {name} of {seq} in {spans:#?}"));
            assert_eq!(found.next(), None, "one {name} for each frame");
            assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
            assert_eq!(text(span, "messaging.system"), "kafka");
            assert_eq!(text(span, "messaging.destination.name"), "raw_images");
            assert_eq!(text(span, "messaging.kafka.message.key"), "gate");
            span
        };
        let send = of("send raw_images");
        assert_eq!((send.kind(), send.links.len()), (SpanKind::Producer, 0));
        assert_eq!((&send.trace_id[..], &send.span_id[..]), (&trace.trace_id[..], &trace.span_id[..]));
        assert_eq!((number(send, "messaging.kafka.offset"), number(send, "messaging.message.body.size")), (seq, 5_000));
        for (name, kind) in [("receive raw_images", SpanKind::Client), ("process raw_images", SpanKind::Consumer)] {
            let span = of(name);
            assert_eq!((span.kind(), span.links.len(), span.parent_span_id.len()), (kind, 1, 0), "{name}");
            let link = &span.links[0];
            assert_eq!((&link.trace_id, &link.span_id), (&send.trace_id, &send.span_id), "{name}");
            assert_ne!(span.trace_id, send.trace_id, "{name} is in a trace of its own");
        }
        let is_child = seq == 1;
        assert_eq!(send.trace_id == parent.trace_id, is_child);
        assert_eq!(send.parent_span_id == parent.span_id, is_child);
    }
    assert_eq!(spans.len(), 9);
}

#[test]
fn nothing_is_sampled_nothing_is_sent_and_the_header_is_absent() {
    let (site, collector) = (site(), Collector::start());
    let config = TraceConfig { sample_ratio: 0.0, ..TraceConfig::new(collector.endpoint()) };
    let tracing = Tracing::start(&config).unwrap();
    let parent: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".parse().unwrap();
    let traces = through(&site, &tracing, parent);
    tracing.shutdown();
    // The application decided not to record its trace; it goes on all the same.
    assert_eq!(traces, [None, Some(parent), None]);
    assert_eq!(collector.spans(), []);
}

#[test]
fn a_collector_that_is_away_costs_no_frame() {
    let site = site();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = TraceConfig { sample_ratio: 1.0, ..TraceConfig::new(format!("http://{nobody}")) };
    let tracing = Tracing::start(&config).unwrap();
    let parent: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    assert_eq!(through(&site, &tracing, parent).len(), 3);
    tracing.shutdown();
}
