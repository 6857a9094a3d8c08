//! A detector that is far slower than its camera: how old its results are, and whether other readers notice it.

use super::arguments::DetectBenchArguments;
use crate::bench::environment::Environment;
use crate::bench::fleet::reader::{Reader, Reading};
use crate::bench::{median, median_ratio};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use hdrhistogram::Histogram;
use lumenbus_bus::publisher::{Publisher, PublisherConfig};
use lumenbus_bus::results::ResultReader;
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_frame::{CameraId, Clock as _, FrameRate, RawFrame, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::fleet::{CameraConfig, CameraSource, CameraState, Fleet, FleetConfig};
use lumenbus_vision::worker::{DetectorSource, WorkError, Worker, WorkerConfig};
use lumenbus_vision::{Detection, Detector, Model, VisionError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 4;
const FRAMES_PER_SECOND: u32 = 30;
/// The slow detector takes so long for each picture.
const PERIOD: Duration = Duration::from_millis(500);
/// Its results are at most so many of its periods old.
const MAX_PERIODS: f64 = 2.0;
/// Others are not late when their age grows by no more than this, or stays below what nobody sees.
const MAX_RATIO: f64 = 1.5;
const UNSEEN_MILLIS: f64 = 20.0;
/// What is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Stands for a large model on a device of its own: it takes its time, and not the processor's.
struct Slow(Model);

impl Detector for Slow {
    fn model(&self) -> &Model {
        &self.0
    }

    fn detect(&mut self, _: &RawFrame) -> Result<Vec<Detection>, VisionError> {
        // Its slowness is what is measured; it shall take no processor from the others.
        thread::sleep(PERIOD);
        Ok(Vec::new())
    }

    fn reset(&mut self) {}
}

/// The slow group: a worker, and who watches its results.
struct SlowGroup {
    worker: Arc<Worker>,
    stop: Arc<Shutdown>,
    /// Captured from here on counts; Unix nanoseconds.
    from: Arc<AtomicI64>,
    working: JoinHandle<Result<(), WorkError>>,
    watching: JoinHandle<anyhow::Result<Histogram<u64>>>,
}

/// What came of the slow group.
struct Results {
    /// Capture → shown, microseconds.
    ages: Histogram<u64>,
    /// Frames that were passed over undecoded because decoding fell behind.
    undecoded: u64,
}

impl SlowGroup {
    fn start(bus: &BusConfig, topic: &str) -> anyhow::Result<Self> {
        let detectors = DetectorSource::new(|| Ok(Box::new(Slow(Model::new("slow", "1"))) as Box<dyn Detector>));
        let mut config = WorkerConfig::new(bus.clone(), "slow".to_owned());
        config.topics = vec![TopicName::new(topic)?];
        let worker = Arc::new(Worker::new(config, detectors)?);
        let results = ResultReader::open(bus)?;
        let (stop, from) = (Arc::<Shutdown>::default(), Arc::new(AtomicI64::new(i64::MAX)));
        let working = thread::Builder::new().name("slow-worker".to_owned()).spawn({
            let (worker, stop) = (Arc::clone(&worker), Arc::clone(&stop));
            move || worker.run(&stop).map(drop)
        })?;
        let watching = thread::Builder::new().name("slow-results".to_owned()).spawn({
            let (stop, from) = (Arc::clone(&stop), Arc::clone(&from));
            move || watch(&results, &from, &stop)
        })?;
        Ok(Self { worker, stop, from, working, watching })
    }

    fn finish(self) -> anyhow::Result<Results> {
        self.stop.request();
        self.working.join().map_err(|_| anyhow::anyhow!("the worker panicked"))??;
        let ages = self.watching.join().map_err(|_| anyhow::anyhow!("the reader of results panicked"))??;
        Ok(Results { ages, undecoded: self.worker.counts().missing })
    }
}

/// Ages of results in microseconds, as they come to who shows them.
fn watch(results: &ResultReader, from: &AtomicI64, stop: &Shutdown) -> anyhow::Result<Histogram<u64>> {
    let mut ages = Histogram::new_with_bounds(1, 600_000_000, 3)?;
    while !stop.is_requested() {
        let Some(result) = results.recv(LOOK)? else { continue };
        let captured = result.capture.unix_nanos;
        if captured >= from.load(Ordering::Acquire) {
            let age = SystemClock.unix_nanos().saturating_sub(captured).max(0).unsigned_abs();
            ages.saturating_record((age / 1_000).max(1));
        }
    }
    Ok(ages)
}

/// What a round showed.
struct Round {
    /// Age p99 in milliseconds, of a plain subscriber and of the member of another group.
    plain: f64,
    group: f64,
    missing: u64,
    results: Option<Results>,
}

impl Round {
    fn json(&self) -> Value {
        let ages = self.results.as_ref().map(|results| &results.ages);
        json!({
            "plain_p99_ms": self.plain, "group_p99_ms": self.group, "missing": self.missing,
            "results": ages.map(Histogram::len), "result_age_periods": ages.map(ages_in_periods),
            "undecoded": self.results.as_ref().map(|results| results.undecoded),
        })
    }

    fn line(&self) -> String {
        let with = self.results.as_ref().map_or_else(
            || "without".to_owned(),
            |Results { ages, undecoded }| {
                let (count, oldest) = (ages.len(), periods(ages.max()));
                format!("with     {count} results, at most {oldest:.2} periods old, {undecoded} frames passed over undecoded")
            },
        );
        format!("plain p99 {:7.1} ms  group p99 {:7.1} ms  missing {}  {with}", self.plain, self.group, self.missing)
    }
}

#[expect(clippy::cast_precision_loss, reason = "times of a run")]
fn periods(micros: u64) -> f64 {
    micros as f64 / 1e6 / PERIOD.as_secs_f64()
}

fn ages_in_periods(ages: &Histogram<u64>) -> Value {
    let at = |quantile| periods(ages.value_at_quantile(quantile));
    json!({ "p50": at(0.5), "p99": at(0.99), "max": periods(ages.max()) })
}

pub(super) fn run(
    arguments: &DetectBenchArguments,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let mut environment = Environment::open(settings)?;
    output.result(&format!(
        "{} again and again at {FRAMES_PER_SECOND}/s; a detector of {:.0} pictures a second, policy newest; {}",
        arguments.source,
        1.0 / PERIOD.as_secs_f64(),
        environment.what(),
    ));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        for is_slow in [false, true] {
            output.progress(|| format!("round {} of {}", round + 1, arguments.rounds));
            let done = measure(&mut environment, arguments, is_slow)?;
            output.result(&done.line());
            output.object("run", done.json());
            if is_slow { with.push(done) } else { without.push(done) }
        }
    }
    Ok(conclude(&without, &with, output))
}

/// One kind of other reader: medians of the rounds, and of the ratios of neighbouring ones.
struct Others {
    without: f64,
    with: f64,
    ratio: f64,
}

impl Others {
    fn new(without: &[Round], with: &[Round], age: impl Fn(&Round) -> f64) -> Self {
        let [mut without, mut with] = [without, with].map(|rounds| rounds.iter().map(&age).collect::<Vec<_>>());
        let ratio = median_ratio(&with, &without);
        Self { without: median(&mut without), with: median(&mut with), ratio }
    }

    fn is_in_time(&self) -> bool {
        self.ratio <= MAX_RATIO || self.with <= UNSEEN_MILLIS
    }

    fn json(&self) -> Value {
        json!({ "without_p99_ms": self.without, "with_p99_ms": self.with, "ratio": self.ratio })
    }
}

fn conclude(without: &[Round], with: &[Round], output: &mut Output) -> Outcome {
    let mut ages = Histogram::<u64>::new(3).expect("three digits are allowed");
    for results in with.iter().filter_map(|round| round.results.as_ref()) {
        ages.add(&results.ages).expect("it grows as needed");
    }
    let [plain, group] =
        [|round: &Round| round.plain, |round: &Round| round.group].map(|age| Others::new(without, with, age));
    let is_young = !ages.is_empty() && periods(ages.max()) <= MAX_PERIODS;
    let missing: u64 = without.iter().chain(with).map(|round| round.missing).sum();
    let yes = |met: bool| if met { "yes" } else { "no" };
    output.result(&format!(
        "  its results, in periods: p50 {:.2}, p99 {:.2}, longest {:.2} (target {MAX_PERIODS:.0}: {})",
        periods(ages.value_at_quantile(0.5)),
        periods(ages.value_at_quantile(0.99)),
        periods(ages.max()),
        yes(is_young),
    ));
    for (who, others) in [("a plain subscriber", &plain), ("another group", &group)] {
        output.result(&format!(
            "  {who}: age p99 {:.1} ms without it, {:.1} ms with it, ratio {:.2} (target {MAX_RATIO} or {UNSEEN_MILLIS:.0} ms: {})",
            others.without,
            others.with,
            others.ratio,
            yes(others.is_in_time()),
        ));
    }
    output.result(&format!("  missing elsewhere: {missing} (target 0: {})", yes(missing == 0)));
    let is_met = is_young && plain.is_in_time() && group.is_in_time() && missing == 0;
    let summary = json!({
        "measure": "slow", "period_ms": PERIOD.as_millis(), "results": ages.len(),
        "result_age_periods": ages_in_periods(&ages), "plain": plain.json(), "group": group.json(),
        "missing": missing,
        "targets": {
            "result_age_periods": MAX_PERIODS, "ratio": MAX_RATIO, "or_p99_ms": UNSEEN_MILLIS, "met": is_met,
        },
    });
    output.summary("bench detect", summary);
    if is_met { Outcome::Done } else { Outcome::ProblemsFound }
}

fn measure(environment: &mut Environment, arguments: &DetectBenchArguments, is_slow: bool) -> anyhow::Result<Round> {
    let topic = environment.topic(PARTITIONS)?;
    let bus = &environment.bus;
    let plain = Reader::start(bus, &topic, 1, None)?;
    let group = Reader::start(bus, &topic, 1, Some("others"))?;
    let publisher = Arc::new(Publisher::open(PublisherConfig::new(bus.clone()))?);
    let fleet = Fleet::start(Arc::clone(&publisher), FleetConfig::new(bus.topic_prefix.clone()));
    let mut camera = CameraConfig::new(CameraId::new("watched")?, CameraSource::Spec(arguments.source.clone()));
    camera.topic = Some(TopicName::new(bus.topic_prefix.strip(&topic).unwrap_or(&topic))?);
    (camera.is_looped, camera.fps) = (true, Some(FrameRate::per_second(FRAMES_PER_SECOND)));
    if let Some((_, error)) = fleet.apply(vec![camera]).refused.into_iter().next() {
        return Err(error.into());
    }
    let slow = is_slow.then(|| SlowGroup::start(bus, &topic)).transpose()?;
    await_work(&fleet, slow.as_ref())?;
    plain.open_window();
    group.open_window();
    if let Some(slow) = &slow {
        slow.from.store(SystemClock.unix_nanos(), Ordering::Release);
    }
    // The length of a round is a stretch of time and no event.
    thread::sleep(arguments.duration);
    plain.close_window();
    group.close_window();
    let results = slow.map(SlowGroup::finish).transpose()?;
    drop(fleet.finish(PATIENCE));
    drop(fleet);
    if let Some(publisher) = Arc::into_inner(publisher) {
        drop(publisher.close(PATIENCE));
    }
    let (plain, group) = (plain.finish(PATIENCE)?, group.finish(PATIENCE)?);
    Ok(Round { plain: p99(&plain)?, group: p99(&group)?, missing: missing(&plain) + missing(&group), results })
}

/// Until the camera is live, and the worker has caught up and gives results.
fn await_work(fleet: &Fleet, slow: Option<&SlowGroup>) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let is_live = fleet.status().iter().all(|camera| camera.state == CameraState::Live);
        if is_live && slow.is_none_or(|slow| slow.worker.written().results >= 3) {
            return Ok(());
        }
        anyhow::ensure!(since.elapsed() < PATIENCE, "nothing comes: {:?}", fleet.status());
        anyhow::ensure!(slow.is_none_or(|slow| !slow.working.is_finished()), "the slow worker has ended");
        // Both are asked; they call nobody.
        thread::sleep(LOOK);
    }
}

fn p99(reading: &Reading) -> anyhow::Result<f64> {
    anyhow::ensure!(!reading.ages.is_empty(), "no frame came to another reader");
    #[expect(clippy::cast_precision_loss, reason = "times of a run")]
    let micros = reading.ages.value_at_quantile(0.99) as f64;
    Ok(micros / 1e3)
}

fn missing(reading: &Reading) -> u64 {
    let streams = reading.tally.streams();
    streams.map(|(_, tally)| tally.missing_frames() + tally.open_gaps).sum()
}
