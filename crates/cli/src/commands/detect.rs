//! `lumenbus detect`: workers that look at cameras.

use super::subscribe::frame_topics;
use crate::detection::{DetectOptions, Sums};
use crate::exit::{Outcome, Usage};
use crate::observe::{Observation, ObserveOptions};
use crate::output::Output;
use crate::settings::Settings;
use crate::{signals, units};
use clap::Args;
use lumenbus_bus::results::OpenTransaction;
use lumenbus_frame::TopicName;
use lumenbus_pipeline::Shutdown;
use lumenbus_vision::worker::{DetectorSource, Ending, WorkError, Worker, WorkerConfig};
use serde_json::json;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(
    after_help = "Results go to the topic analysis_results: one record per frame that was looked at, key = camera. Results and the group's\noffsets are committed together, so a reader with isolation.level=read_committed sees each once.\n\nExamples:\n  lumenbus detect --detector motion\n  lumenbus detect --detector motion --camera 'gate-*' --group guards --workers 2\n  lumenbus detect --detector motion --from start --policy lossless --until-end\n  lumenbus detect --detector motion --keyframes-only --format protobuf --for 1h\n  kcat -b 127.0.0.1:9092 -t analysis_results -C -o end"
)]
pub(crate) struct DetectArguments {
    #[command(flatten)]
    pub(crate) options: DetectOptions,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
    /// Stop when every stream seen has ended and all that was in the log at the beginning is done
    #[arg(long)]
    pub(crate) until_end: bool,
    #[command(flatten)]
    pub(crate) observe: ObserveOptions,
}

pub(crate) fn run(arguments: &DetectArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut config = meaning(arguments, settings)?;
    lumenbus_bus::probe(&settings.bus).map_err(lumenbus_bus::BusError::from)?;
    config.topics = frame_topics(&arguments.options.topic, settings)?;
    let shutdown = signals::shutdown(settings.quiet)?;
    let mut observed = Observation::start(&arguments.observe, settings, output)?;
    config.tracer = observed.tracer();
    let workers = Workers::start(&config, arguments, &shutdown)?;
    tell_beginning(arguments, &config, &workers, output);
    let began = Instant::now();
    let mut observing = Ok(());
    let mut waits = Vec::new();
    while !workers.have_ended() {
        for gauges in workers.workers.iter().filter_map(|worker| worker.take_gauges()) {
            let observed = observed.subscriber(gauges, settings);
            if observed.is_err() {
                // They end in order before anybody hears of it.
                shutdown.request();
            }
            observing = observing.and(observed);
        }
        tell_waits(&workers, &mut waits, output);
        output.progress(|| line(&workers.sums(), began.elapsed()));
        workers.wait(LOOK);
    }
    let (sums, ended) = workers.end(&shutdown);
    observed.finish();
    observing?;
    tell_end(arguments, &config.group, &sums, output);
    let ending = ended?;
    let is_limited = arguments.duration.is_some() || arguments.until_end;
    Ok(match ending {
        _ if sums.counts.undecodable + sums.counts.failed > 0 => Outcome::ProblemsFound,
        Ending::Interrupted if is_limited => Outcome::Interrupted,
        _ => Outcome::Done,
    })
}

fn meaning(arguments: &DetectArguments, settings: &Settings) -> Result<WorkerConfig, Usage> {
    let mut config = arguments.options.worker(arguments.observe.bus(settings))?;
    config.duration = arguments.duration;
    config.until_end = arguments.until_end;
    Ok(config)
}

struct Workers {
    workers: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<Result<Ending, WorkError>>>,
    /// Wakes whoever waits for one to end.
    ended: Arc<Shutdown>,
}

impl Workers {
    fn start(config: &WorkerConfig, arguments: &DetectArguments, shutdown: &Arc<Shutdown>) -> anyhow::Result<Self> {
        let detectors = DetectorSource::of(&arguments.options.detector)?;
        let mut all = Self { workers: Vec::new(), threads: Vec::new(), ended: Arc::default() };
        for _ in 0..arguments.options.workers {
            all.workers.push(Arc::new(Worker::new(config.clone(), detectors.clone())?));
        }
        for (number, worker) in all.workers.iter().enumerate() {
            let (worker, shutdown, ended) = (Arc::clone(worker), Arc::clone(shutdown), Arc::clone(&all.ended));
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let ending = worker.run(&shutdown);
                if ending.is_err() {
                    // The others would go on with its share as if nothing had happened.
                    shutdown.request();
                }
                ended.request();
                ending
            })?;
            all.threads.push(thread);
        }
        Ok(all)
    }

    fn have_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Not beyond the end of the last one, where there is one only.
    fn wait(&self, duration: Duration) {
        if self.threads.len() == 1 {
            self.ended.sleep(duration);
        } else {
            // The end of one of several ends nothing: all that is waited for is the next line of progress.
            std::thread::sleep(duration);
        }
    }

    fn sums(&self) -> Sums {
        self.workers.iter().fold(Sums::default(), |sums, worker| sums.and(Sums::of(worker)))
    }

    /// What was done, and how it ended: an error of one is that of all.
    fn end(mut self, shutdown: &Shutdown) -> (Sums, Result<Ending, WorkError>) {
        let mut ending = Ok(if shutdown.is_requested() { Ending::Interrupted } else { Ending::StreamsEnded });
        for thread in self.threads.drain(..) {
            match thread.join().unwrap_or(Err(WorkError::Panicked)) {
                Ok(one) => ending = ending.map(|_| one),
                Err(error) => ending = Err(error),
            }
        }
        (self.sums(), ending)
    }
}

fn tell_beginning(arguments: &DetectArguments, config: &WorkerConfig, workers: &Workers, output: &mut Output) {
    let model = workers.workers[0].model().to_string();
    let topics: Vec<_> = config.topics.iter().map(TopicName::as_str).collect();
    let results = config.bus.topic_prefix.topic(lumenbus_bus::topics::ANALYSIS_RESULTS);
    output.note(&format!(
        "{model} looks at {} as group {} with {} worker{}; results in {results}; Ctrl-C stops it",
        topics.join(", "),
        config.group,
        arguments.options.workers,
        if arguments.options.workers == 1 { "" } else { "s" },
    ));
    output.object(
        "ready",
        json!({ "model": model, "group": config.group, "workers": arguments.options.workers, "topics": topics, "results": results.as_str() }),
    );
}

/// Each transaction of somebody else that holds results up, once.
fn tell_waits(workers: &Workers, told: &mut Vec<OpenTransaction>, output: &mut Output) {
    let waits: Vec<_> = workers.workers.iter().filter_map(|worker| worker.waits_for()).collect();
    for wait in &waits {
        let is_same = |other: &OpenTransaction| (&other.topic, other.partition) == (&wait.topic, wait.partition);
        if !told.iter().any(|known| is_same(known) && known.since == wait.since) {
            let OpenTransaction { topic, partition, from_offset, since } = wait;
            let waited_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            output.object(
                "waiting",
                json!({
                    "for": "transaction", "topic": topic.as_str(), "partition": partition, "offset": from_offset,
                    "waited_ms": waited_ms,
                }),
            );
        }
    }
    *told = waits;
}

fn line(sums: &Sums, elapsed: Duration) -> String {
    let Sums { counts, written } = sums;
    format!(
        "{} frames, {} results committed, {} found, {} passed over, {} missing, {} s",
        counts.frames,
        written.results,
        counts.detections,
        counts.superseded + counts.skipped,
        counts.missing,
        elapsed.as_secs()
    )
}

fn tell_end(arguments: &DetectArguments, group: &str, sums: &Sums, output: &mut Output) {
    let Sums { counts, written } = sums;
    output.note(&format!(
        "{} frames: {} results, {} detections, {} passed over for newer ones, {} no keyframes, {} without a picture, {} missing",
        counts.frames,
        written.results,
        counts.detections,
        counts.superseded,
        counts.skipped,
        counts.undecodable,
        counts.missing
    ));
    output.summary(
        "detect",
        json!({
            "detector": arguments.options.detector.to_string(),
            "group": group,
            "frames": counts.frames,
            "prerolls": counts.prerolls,
            "results": written.results,
            "features": written.features,
            "events": written.events,
            "analysed": counts.analysed,
            "detections": counts.detections,
            "superseded": counts.superseded,
            "skipped": counts.skipped,
            "undecodable": counts.undecodable,
            "failed": counts.failed,
            "missing": counts.missing,
            "decode_micros": counts.decode_micros,
            "detect_micros": counts.detect_micros,
            "feature_micros": counts.feature_micros,
            "transactions": written.transactions,
            "aborted": written.aborted,
            "restarts": counts.restarts,
        }),
    );
}
