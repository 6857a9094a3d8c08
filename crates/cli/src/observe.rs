//! What a command shows of itself: `--metrics` and `--trace-endpoint`, and what commands with a viewer share with them.

use crate::exit::Usage;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;
use lumenbus_bus::subscriber::{Event, SubscriberGauges};
use lumenbus_bus::{BusConfig, ClientStatistics, FrameTracer, Publisher};
use lumenbus_frame::{EncodedFrame, FrameId, Gap, StreamId};
use lumenbus_ops::http::{self, Server};
use lumenbus_ops::{
    ClusterWatch, Health, Metrics, ReaderMetrics, Stages, State, SubscriberMetrics, TraceConfig, Tracing,
    client_metrics, publisher_metrics,
};
use lumenbus_pipeline::sink::{Sink, SinkError, SinkReport};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often librdkafka counts, and the cluster is looked at.
pub(crate) const STATISTICS_INTERVAL: Duration = Duration::from_secs(2);
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RATIO: f64 = 0.01;

/// Kafka clients of this process.
pub(crate) type Clients = Arc<dyn Fn() -> Vec<Arc<ClientStatistics>> + Send + Sync>;

/// A publisher's own figures. They must not keep it from being closed.
pub(crate) fn show_publisher(metrics: &Metrics, publisher: &Arc<Publisher>) {
    let publisher = Arc::downgrade(publisher);
    metrics.register(publisher_metrics(Arc::new(move || Some(publisher.upgrade()?.stats()))));
}

/// A publisher's Kafka client, likewise.
pub(crate) fn clients_of(publisher: &Arc<Publisher>) -> Clients {
    let publisher = Arc::downgrade(publisher);
    Arc::new(move || publisher.upgrade().and_then(|publisher| publisher.client_statistics()).into_iter().collect())
}

/// librdkafka's figures, of all clients together: a family may be there once only.
pub(crate) fn show_clients(metrics: &Metrics, sources: Vec<Clients>) {
    metrics.register(client_metrics(Arc::new(move || sources.iter().flat_map(|clients| clients()).collect())));
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ObserveOptions {
    /// Serve /metrics, /healthz and /readyz on this address, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Send traces to an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318
    #[arg(long, env = "LUMENBUS_TRACE_ENDPOINT", value_name = "URL")]
    trace_endpoint: Option<String>,
    /// Share of the frames that are traced, 0 to 1 [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    trace_ratio: Option<f64>,
}

impl ObserveOptions {
    /// The same configuration, with librdkafka's statistics where somebody looks at them.
    pub(crate) fn bus(&self, settings: &Settings) -> BusConfig {
        let mut bus = settings.bus.clone();
        bus.statistics_interval = self.metrics.map(|_| STATISTICS_INTERVAL);
        bus
    }

    fn tracing(&self, settings: &Settings) -> anyhow::Result<Option<Tracing>> {
        let file = settings.site.as_ref().map(|site| &site.traces);
        let endpoint = self.trace_endpoint.clone().or_else(|| file?.endpoint.clone());
        let Some(endpoint) = endpoint else { return Ok(None) };
        let mut config = TraceConfig::new(endpoint);
        config.sample_ratio = self.trace_ratio.or_else(|| Some(file?.sample_ratio)).unwrap_or(DEFAULT_RATIO);
        Ok(Some(Tracing::start(&config).map_err(|error| Usage(error.to_string()))?))
    }
}

/// What runs beside a command while it is observed; ends when dropped.
pub(crate) struct Observation {
    health: Health,
    stages: Option<Stages>,
    reader: Option<ReaderMetrics>,
    subscribers: Option<SubscriberMetrics>,
    metrics: Metrics,
    tracing: Option<Tracing>,
    // Ended in this order: nobody asks a collector whose source is gone.
    server: Option<Server>,
    watch: Option<ClusterWatch>,
}

impl Observation {
    /// Listens at once, so that an address in use is told before anything else happens.
    pub(crate) fn start(options: &ObserveOptions, settings: &Settings, output: &mut Output) -> anyhow::Result<Self> {
        let tracing = options.tracing(settings)?;
        let (metrics, health) = (Metrics::new(), Health::new());
        let mut observation = Self {
            health: health.clone(),
            stages: None,
            reader: None,
            subscribers: None,
            metrics: metrics.clone(),
            tracing,
            server: None,
            watch: None,
        };
        let Some(listen) = options.metrics else { return Ok(observation) };
        health.set("kafka", State::Starting);
        let server = http::serve(listen, http::routes(metrics.clone(), health))?;
        output.note(&format!("metrics on http://{}/metrics", server.addr()));
        output.object("metrics", json!({ "listen": server.addr().to_string() }));
        observation.server = Some(server);
        observation.stages = Some(Stages::new(&metrics));
        Ok(observation)
    }

    /// Whether anybody looks.
    fn is_watched(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) fn tracer(&self) -> Option<Arc<dyn FrameTracer>> {
        let tracing = self.tracing.clone().map(|tracing| Arc::new(tracing) as Arc<dyn FrameTracer>);
        match &self.stages {
            Some(stages) => Some(stages.tracer(tracing)),
            None => tracing,
        }
    }

    pub(crate) fn tracing(&self) -> Option<&Tracing> {
        self.tracing.as_ref()
    }

    /// Shows a publisher that is open.
    pub(crate) fn publisher(&mut self, publisher: &Arc<Publisher>, settings: &Settings) -> anyhow::Result<()> {
        if !self.is_watched() {
            return Ok(());
        }
        show_publisher(&self.metrics, publisher);
        self.opened(clients_of(publisher), settings)
    }

    /// Shows a subscriber that is open; the clients are those of the first.
    pub(crate) fn subscriber(&mut self, gauges: SubscriberGauges, settings: &Settings) -> anyhow::Result<()> {
        if !self.is_watched() {
            return Ok(());
        }
        if let Some(subscribers) = &self.subscribers {
            subscribers.watch(gauges);
            return Ok(());
        }
        let subscriber = SubscriberMetrics::new(&self.metrics);
        subscriber.watch(gauges.clone());
        self.reader = Some(ReaderMetrics::new(&subscriber, self.stages.as_ref()));
        self.subscribers = Some(subscriber);
        let clients = move || gauges.read().map(|sample| sample.clients).unwrap_or_default();
        self.opened(Arc::new(clients), settings)
    }

    fn opened(&mut self, clients: Clients, settings: &Settings) -> anyhow::Result<()> {
        show_clients(&self.metrics, vec![clients]);
        let health = self.health.clone();
        let seen = move |overview: &lumenbus_ops::Overview| {
            health.set(
                "kafka",
                match &overview.reason {
                    None => State::Ok,
                    Some(reason) => State::Failed(reason.clone()),
                },
            );
        };
        self.watch = Some(ClusterWatch::start_with(settings.bus.clone(), LOOK_INTERVAL, None, &self.metrics, seen)?);
        Ok(())
    }

    /// Counts what a reader gets.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Some(reader) = &mut self.reader {
            reader.observe(event);
        }
    }

    /// Sends the last traces.
    pub(crate) fn finish(self) {
        let Self { tracing, server, watch, .. } = self;
        drop((server, watch));
        if let Some(tracing) = tracing {
            tracing.shutdown();
        }
    }
}

/// A sink whose work on traced frames is in their traces.
pub(crate) fn traced(sink: Box<dyn Sink>, tracing: Option<&Tracing>) -> Box<dyn Sink> {
    match tracing.cloned() {
        Some(tracing) => Box::new(TracedSink { sink, tracing }),
        None => sink,
    }
}

struct TracedSink {
    sink: Box<dyn Sink>,
    tracing: Tracing,
}

impl Sink for TracedSink {
    fn frame(&mut self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError> {
        let _processing = self.tracing.process(stream, id, frame.trace.as_ref());
        self.sink.frame(stream, id, frame)
    }

    fn gap(&mut self, stream: &StreamId, gap: &Gap) -> Result<(), SinkError> {
        self.sink.gap(stream, gap)
    }

    fn turn(&mut self, stream: &StreamId) {
        self.sink.turn(stream);
    }

    fn finish(self: Box<Self>) -> Result<SinkReport, SinkError> {
        self.sink.finish()
    }
}
