//! `lumenbus bench overhead`: throughput with metrics, librdkafka's statistics and traces, against without.

mod hooks;

use super::environment::Environment;
use super::latency::row;
use super::load::{Load, Measured};
use super::{median_ratio, ours};
use crate::arguments::{OverheadArguments, OverheadPart};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use lumenbus_bus::subscriber::Subscriber;
use lumenbus_bus::{BusConfig, FrameTracer, Profile, Publisher};
use lumenbus_ops::{
    Metrics, ReaderMetrics, Stages, SubscriberMetrics, TraceConfig, Tracing, client_metrics, publisher_metrics,
};
use serde_json::json;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the project promises of itself.
const LIMIT: f64 = 0.98;
/// As `publish --metrics` has it.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(2);
/// Prometheus asks every 15 s; a run is shorter than that.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// Small records cost by the record, not by the byte.
const MAX_FRAMES: u64 = 1_000_000;

pub(super) fn run(arguments: &OverheadArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut environment = Environment::open(settings)?;
    environment.bus.profile = Profile::Throughput;
    let collector = collector()?;
    let mut config = TraceConfig::new(collector);
    config.sample_ratio = arguments.trace_ratio;
    let tracing = Tracing::start(&config)?;
    let mut ratios = Vec::new();
    for &bytes in &arguments.bytes {
        anyhow::ensure!(bytes > 0, "--bytes must be more than 0");
        let load = load(arguments, bytes);
        output.result(&format!(
            "{} frames of {bytes} B, {}, {} runs each; `ours` is observed, `bare` is not",
            load.frames,
            environment.what(),
            arguments.runs
        ));
        let observed = Observed { tracing: &tracing, parts: &arguments.parts };
        let (on, off) = interleaved(&mut environment, &load, arguments.runs, observed, output)?;
        let ratio = row(output, "throughput", "MB/s", LIMIT, &on, &off, |run| run.megabytes_per_second);
        row(output, "frames", "/s", 0.0, &on, &off, |run| run.frames_per_second);
        let cpu = |runs: &[Measured]| runs.iter().map(|run| run.client_cpu_millis_per_megabyte).collect::<Vec<_>>();
        row(output, "client CPU", "ms/MB", 0.0, &on, &off, |run| run.client_cpu_millis_per_megabyte);
        let alone = hooks::nanos_per_frame(&Observer::new(observed))?;
        output.result(&format!("  hooks alone        {alone:.0} ns a frame (one thread, the quickest of many rounds)"));
        let cpu_ratio = median_ratio(&cpu(&on), &cpu(&off));
        ratios.push(json!({ "bytes": bytes, "ratio": ratio, "cpu_ratio": cpu_ratio, "hooks_nanos": alone }));
    }
    tracing.shutdown();
    output.summary("bench overhead", json!({ "ratios": ratios, "runs": arguments.runs }));
    Ok(Outcome::Done)
}

fn load(arguments: &OverheadArguments, bytes: usize) -> Load {
    Load {
        cameras: 8,
        frame_bytes: bytes,
        frames: (arguments.volume as u64 / bytes as u64).clamp(1, MAX_FRAMES),
        interval: None,
        partitions: 8,
        consumers: 1,
        batch: 1,
    }
}

/// Runs with and without in turn, each first every other time, after one of each that does not count.
fn interleaved(
    environment: &mut Environment,
    load: &Load,
    runs: usize,
    observed: Observed<'_>,
    output: &mut Output,
) -> anyhow::Result<(Vec<Measured>, Vec<Measured>)> {
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        output.progress(|| format!("run {run} of {runs}"));
        let mut side = |is_observed: bool| match is_observed {
            true => ours::run_observed(environment, load, Observer::new(observed)),
            false => ours::run(environment, load),
        };
        let is_first = run % 2 == 0;
        let (first, second) = (side(is_first)?, side(!is_first)?);
        let (with, without) = if is_first { (first, second) } else { (second, first) };
        if run > 0 {
            on.push(with);
            off.push(without);
        }
    }
    Ok((on, off))
}

/// What the observed side has.
#[derive(Clone, Copy)]
struct Observed<'a> {
    tracing: &'a Tracing,
    parts: &'a [OverheadPart],
}

/// Everything that looks at a run.
#[derive(Clone)]
pub(super) struct Observer {
    metrics: Metrics,
    counts: Option<(Stages, SubscriberMetrics)>,
    statistics_interval: Option<Duration>,
    tracing: Option<Tracing>,
}

impl Observer {
    fn new(observed: Observed<'_>) -> Self {
        let has = |part: OverheadPart| observed.parts.contains(&part);
        let metrics = Metrics::new();
        let counts = has(OverheadPart::Metrics).then(|| (Stages::new(&metrics), SubscriberMetrics::new(&metrics)));
        let statistics_interval = has(OverheadPart::Statistics).then_some(STATISTICS_INTERVAL);
        let tracing = has(OverheadPart::Traces).then(|| observed.tracing.clone());
        Self { metrics, counts, statistics_interval, tracing }
    }

    pub(super) fn bus(&self, mut bus: BusConfig) -> BusConfig {
        bus.statistics_interval = self.statistics_interval;
        bus
    }

    pub(super) fn tracer(&self) -> Option<Arc<dyn FrameTracer>> {
        let tracing = self.tracing.clone().map(|tracing| Arc::new(tracing) as Arc<dyn FrameTracer>);
        match &self.counts {
            Some((stages, _)) => Some(stages.tracer(tracing)),
            None => tracing,
        }
    }

    pub(super) fn watch(&self, subscriber: &Subscriber) {
        if let Some((_, counts)) = &self.counts {
            counts.watch(subscriber.gauges());
        }
    }

    pub(super) fn reader(&self) -> Option<ReaderMetrics> {
        self.counts.as_ref().map(|(stages, counts)| ReaderMetrics::new(counts, Some(stages)))
    }

    /// Shows the publisher and asks for everything again and again, until the answer is dropped.
    pub(super) fn scrape(&self, publisher: &Arc<Publisher>) -> Scraper {
        let source: Weak<Publisher> = Arc::downgrade(publisher);
        self.metrics.register(publisher_metrics(Arc::new(move || Some(source.upgrade()?.stats()))));
        let source: Weak<Publisher> = Arc::downgrade(publisher);
        let reader = self.counts.as_ref().map(|(_, counts)| counts.clone());
        let clients = move || {
            let producer = source.upgrade().and_then(|publisher| publisher.client_statistics());
            let consumers =
                reader.as_ref().and_then(SubscriberMetrics::sample).map(|sample| sample.clients).unwrap_or_default();
            producer.into_iter().chain(consumers).collect()
        };
        self.metrics.register(client_metrics(Arc::new(clients)));
        let (stop, stopped) = mpsc::channel::<()>();
        let metrics = self.metrics.clone();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(SCRAPE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                std::hint::black_box(metrics.encode());
            }
        });
        Scraper { stop: Some(stop), thread: Some(thread) }
    }
}

/// Ends when dropped.
pub(super) struct Scraper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Scraper {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Takes traces and forgets them; its address.
fn collector() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || drop(forget(stream)));
        }
    });
    Ok(format!("http://{address}"))
}

fn forget(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0_u64, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
}
