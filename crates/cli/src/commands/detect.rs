//! `lumenbus detect`: workers that look at cameras.

use super::subscribe::frame_topics;
use crate::exit::{Outcome, Usage};
use crate::observe::{Observation, ObserveOptions};
use crate::output::Output;
use crate::settings::Settings;
use crate::{signals, units};
use clap::{Args, ValueEnum};
use lumenbus_bus::results::ResultStats;
use lumenbus_bus::subscriber::{CameraFilter, Start};
use lumenbus_frame::TopicName;
use lumenbus_pipeline::Shutdown;
use lumenbus_vision::DetectorKind;
use lumenbus_vision::worker::{DetectorSource, Ending, Frames, Policy, WorkError, Worker, WorkerConfig, WorkerCounts};
use lumenbus_wire::ResultForm;
use serde_json::json;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyChoice {
    /// The newest picture of each camera; older ones are passed over
    Newest,
    /// Every frame, each with exactly one result
    Lossless,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Results go to the topic analysis_results: one record per frame that was looked at, key = camera. Results and the group's\noffsets are committed together, so a reader with isolation.level=read_committed sees each once.\n\nExamples:\n  lumenbus detect --detector motion\n  lumenbus detect --detector motion --camera 'gate-*' --group guards --workers 2\n  lumenbus detect --detector motion --from start --policy lossless --until-end\n  lumenbus detect --detector motion --keyframes-only --format protobuf --for 1h\n  kcat -b 127.0.0.1:9092 -t analysis_results -C -o end"
)]
pub(crate) struct DetectArguments {
    /// What to look for: motion; people, face and onnx:PATH where this build has them
    #[arg(long, value_name = "NAME")]
    pub(crate) detector: DetectorKind,
    /// Cameras to look at, by pattern [default: all]
    #[arg(long, value_name = "GLOB")]
    pub(crate) camera: Vec<String>,
    /// Topics without prefix [default: those of raw_video, raw_images, raw_pixels that exist]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Vec<TopicName>,
    /// Consumer group: shares the cameras with its other members and goes on where it was [default: detect-NAME]
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Workers in this process; each takes a share of the cameras
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub(crate) workers: u16,
    /// Where to begin what the group has not looked at: live, start or TIME
    #[arg(long, default_value = "live", allow_hyphen_values = true, value_name = "WHEN")]
    pub(crate) from: String,
    /// When slower than the cameras
    #[arg(long, default_value = "newest", value_name = "POLICY")]
    pub(crate) policy: PolicyChoice,
    /// Look at keyframes only
    #[arg(long)]
    pub(crate) keyframes_only: bool,
    /// Form of the results: json or protobuf
    #[arg(long, default_value = "json", value_name = "FORM")]
    pub(crate) format: ResultForm,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
    /// Stop when every stream seen has ended and all that was in the log at the beginning is done
    #[arg(long)]
    pub(crate) until_end: bool,
    /// Coded bytes that may wait in each worker
    #[arg(long, value_parser = units::bytes, default_value = "16MiB", value_name = "SIZE")]
    pub(crate) buffer: usize,
    #[command(flatten)]
    pub(crate) observe: ObserveOptions,
}

pub(crate) fn run(arguments: &DetectArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut config = meaning(arguments, settings)?;
    lumenbus_bus::probe(&settings.bus).map_err(lumenbus_bus::BusError::from)?;
    config.topics = frame_topics(&arguments.topic, settings)?;
    let shutdown = signals::shutdown(settings.quiet)?;
    let mut observed = Observation::start(&arguments.observe, settings, output)?;
    config.tracer = observed.tracer();
    let workers = Workers::start(&config, arguments, &shutdown)?;
    tell_beginning(arguments, &config, &workers, output);
    let began = Instant::now();
    let mut observing = Ok(());
    while !workers.have_ended() {
        for gauges in workers.workers.iter().filter_map(|worker| worker.take_gauges()) {
            let observed = observed.subscriber(gauges, settings);
            if observed.is_err() {
                // They end in order before anybody hears of it.
                shutdown.request();
            }
            observing = observing.and(observed);
        }
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
    let detector = arguments.detector.to_string();
    // Not where its model lies.
    let name = detector.split_once(':').map_or(detector.as_str(), |(name, _)| name);
    let group = arguments.group.clone().unwrap_or_else(|| format!("detect-{name}"));
    if group.is_empty() {
        return Err(Usage("--group: a group has a name, such as guards".to_owned()));
    }
    let mut config = WorkerConfig::new(arguments.observe.bus(settings), group);
    config.cameras = CameraFilter::new(&arguments.camera).map_err(|error| Usage(format!("--camera: {error}")))?;
    config.start = match arguments.from.as_str() {
        "live" => Start::Live,
        "start" => Start::Earliest,
        moment => {
            let now = jiff::Zoned::now();
            let unix_millis = units::moment(moment, &now).map_err(|error| Usage(format!("--from: {error}")))?;
            Start::At { unix_millis }
        }
    };
    config.policy = match arguments.policy {
        PolicyChoice::Newest => Policy::Newest,
        PolicyChoice::Lossless => Policy::Lossless,
    };
    if arguments.keyframes_only {
        config.frames = Frames::Keyframes;
    }
    config.form = arguments.format;
    config.buffer_bytes = arguments.buffer;
    config.duration = arguments.duration;
    config.until_end = arguments.until_end;
    Ok(config)
}

/// All workers together.
#[derive(Debug, Default)]
struct Sums {
    counts: WorkerCounts,
    written: ResultStats,
}

struct Workers {
    workers: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<Result<Ending, WorkError>>>,
    /// Wakes whoever waits for one to end.
    ended: Arc<Shutdown>,
}

impl Workers {
    fn start(config: &WorkerConfig, arguments: &DetectArguments, shutdown: &Arc<Shutdown>) -> anyhow::Result<Self> {
        let detectors = DetectorSource::of(&arguments.detector)?;
        let mut all = Self { workers: Vec::new(), threads: Vec::new(), ended: Arc::default() };
        for _ in 0..arguments.workers {
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
        self.workers.iter().fold(Sums::default(), |sums, worker| {
            let (written, more) = (sums.written, worker.written());
            Sums {
                counts: sums.counts.and(worker.counts()),
                written: ResultStats {
                    results: written.results + more.results,
                    transactions: written.transactions + more.transactions,
                    aborted: written.aborted + more.aborted,
                    given_away: written.given_away + more.given_away,
                },
            }
        })
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
        arguments.workers,
        if arguments.workers == 1 { "" } else { "s" },
    ));
    output.object(
        "ready",
        json!({ "model": model, "group": config.group, "workers": arguments.workers, "topics": topics, "results": results.as_str() }),
    );
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
            "detector": arguments.detector.to_string(),
            "group": group,
            "frames": counts.frames,
            "prerolls": counts.prerolls,
            "results": written.results,
            "analysed": counts.analysed,
            "detections": counts.detections,
            "superseded": counts.superseded,
            "skipped": counts.skipped,
            "undecodable": counts.undecodable,
            "failed": counts.failed,
            "missing": counts.missing,
            "decode_micros": counts.decode_micros,
            "detect_micros": counts.detect_micros,
            "transactions": written.transactions,
            "aborted": written.aborted,
            "restarts": counts.restarts,
        }),
    );
}
