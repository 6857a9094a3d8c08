//! `lumenbus bench broker`: the embedded broker against another one, by bare clients with the same properties.

mod idle;

use super::environment::Environment;
use super::load::{Load, Measured};
use super::{bare, median, median_ratio, usage};
use crate::arguments::BrokerBenchArguments;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::units::show_bytes;
use lumenbus_bus::{Profile, Role};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the project promises of its broker.
const SPEED_LIMIT: f64 = 0.9;
const MEMORY_LIMIT: f64 = 0.1;
const P99_LIMIT: f64 = 0.5;
const PARTITIONS_LIMIT: f64 = 2.0;
const STEADY_LIMIT_BYTES: u64 = 64 << 20;
const IDLE_LIMIT_PERCENT: f64 = 0.5;
/// Of the topic that is fetched from in vain.
const PARTITIONS: i32 = 8;
/// Processor time is counted in hundredths of a second; the embedded broker lets no fetch wait longer than a minute.
const MIN_IDLE: Duration = Duration::from_secs(20);
const MAX_IDLE: Duration = Duration::from_secs(50);
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Fetches that wait for nothing.
const IDLE_FETCHES: usize = 500;
/// Between two looks at a process's memory; what a figure needs, the kernel tells nobody of growth.
const SAMPLE: Duration = Duration::from_millis(50);

/// A broker that is measured.
struct Side {
    environment: Environment,
    /// Where its processor time and memory can be read.
    pid: Option<u32>,
    name: &'static str,
}

/// One run, and the most memory the broker held in it.
#[derive(Debug, Clone, Copy)]
struct Run {
    measured: Measured,
    /// Unknown where the process is.
    resident_bytes: u64,
}

pub(super) fn run(
    arguments: &BrokerBenchArguments,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let mut embedded = Environment::on_disk(settings)?;
    let mut other = match &arguments.against {
        Some(address) => {
            Some(Side { environment: Environment::of(settings, address)?, pid: arguments.against_pid, name: "other" })
        }
        None => None,
    };
    embedded.bus.profile = Profile::Throughput;
    let mut embedded = Side { pid: embedded.broker_pid(), environment: embedded, name: "embedded" };
    let mut rows = Vec::new();
    for bytes in [50_000, 1_000_000] {
        rows.push(throughput(arguments, &mut embedded, other.as_mut(), bytes, output)?);
    }
    for side in [Some(&mut embedded), other.as_mut()].into_iter().flatten() {
        side.environment.bus.profile = Profile::Realtime;
    }
    rows.push(latency(arguments, &mut embedded, other.as_mut(), output)?);
    rows.push(partitions(arguments, &mut embedded, output)?);
    rows.push(steady(arguments, &mut embedded, output)?);
    for side in [Some(&mut embedded), other.as_mut()].into_iter().flatten() {
        rows.push(idle(arguments, side, output)?);
    }
    output.summary("bench broker", json!({ "rows": rows, "runs": arguments.runs }));
    Ok(Outcome::Done)
}

fn throughput(
    arguments: &BrokerBenchArguments,
    embedded: &mut Side,
    other: Option<&mut Side>,
    bytes: usize,
    output: &mut Output,
) -> anyhow::Result<Value> {
    let frames = (arguments.volume as u64 / bytes as u64).max(1);
    let load = Load { cameras: 8, frame_bytes: bytes, frames, interval: None, partitions: 8, consumers: 1, batch: 1 };
    output.result(&format!("{frames} records of {bytes} B as fast as they go, {} runs each", arguments.runs));
    let (ours, theirs) = interleaved(&load, arguments.runs, embedded, other, output)?;
    let speed = row(output, "throughput", "MB/s", SPEED_LIMIT, &ours, &theirs, |run| run.measured.megabytes_per_second);
    let memory = row(output, "memory", "MiB", MEMORY_LIMIT, &ours, &theirs, |run| mebibytes(run.resident_bytes));
    Ok(json!({ "row": "throughput", "bytes": bytes, "speed_ratio": speed, "memory_ratio": memory }))
}

fn latency(
    arguments: &BrokerBenchArguments,
    embedded: &mut Side,
    other: Option<&mut Side>,
    output: &mut Output,
) -> anyhow::Result<Value> {
    output.result(&format!("8 cameras × 30/s × 50 kB, {} runs each", arguments.runs));
    let load = paced(8, 8, 50_000, 8 * 30, arguments.duration);
    let (ours, theirs) = interleaved(&load, arguments.runs, embedded, other, output)?;
    let p50 = row(output, "p50", "ms", 0.0, &ours, &theirs, |run| run.measured.p50_millis);
    let p99 = row(output, "p99", "ms", P99_LIMIT, &ours, &theirs, |run| run.measured.p99_millis);
    Ok(json!({ "row": "latency", "p50_ratio": p50, "p99_ratio": p99 }))
}

/// Many partitions with a reader each, against few.
fn partitions(arguments: &BrokerBenchArguments, embedded: &mut Side, output: &mut Output) -> anyhow::Result<Value> {
    let bytes = arguments.bytes;
    output.result(&format!("64 partitions × 30/s × {bytes} B with 64 consumers, against 8 with 8"));
    let load = |partitions: usize| paced(partitions, partitions, bytes, partitions as u64 * 30, arguments.duration);
    let (mut many, mut few) = (Vec::new(), Vec::new());
    for run in 0..=arguments.runs {
        output.progress(|| format!("run {run} of {}", arguments.runs));
        let (few_now, many_now) = (measure(embedded, &load(8))?, measure(embedded, &load(64))?);
        if run > 0 {
            few.push(few_now.measured.p99_millis);
            many.push(many_now.measured.p99_millis);
        }
    }
    let ratio = median_ratio(&many, &few);
    let (many, few) = (median(&mut many), median(&mut few));
    output.result(&format!(
        "  p99                8 {few:>9.3} ms   64 {many:>9.3} ms   ratio {ratio:>5.2}  (target {PARTITIONS_LIMIT})"
    ));
    Ok(json!({ "row": "partitions", "p99_of_8_ms": few, "p99_of_64_ms": many, "ratio": ratio }))
}

/// Memory of our broker at 100 MB/s, from the first half of a run to the second and at most.
fn steady(arguments: &BrokerBenchArguments, embedded: &mut Side, output: &mut Output) -> anyhow::Result<Value> {
    output.result("100 MB/s of 50 kB records, memory of the embedded broker");
    let load = paced(8, 8, 50_000, 2_000, arguments.duration.max(Duration::from_secs(10)));
    let run = measure(embedded, &load)?;
    output.result(&format!(
        "  at most {} at {:.0} MB/s (target {})",
        show_bytes(run.resident_bytes),
        run.measured.megabytes_per_second,
        show_bytes(STEADY_LIMIT_BYTES)
    ));
    Ok(json!({ "row": "steady memory", "resident_bytes": run.resident_bytes }))
}

fn idle(arguments: &BrokerBenchArguments, side: &mut Side, output: &mut Output) -> anyhow::Result<Value> {
    let Some(pid) = side.pid else { return Ok(json!({ "row": "idle", "broker": side.name })) };
    let topic = side.environment.topic(PARTITIONS)?;
    await_leaders(side, &topic)?;
    let fetches = idle::Fetches::open(&side.environment.bus.brokers, &topic, PARTITIONS, IDLE_FETCHES)?;
    let (before, length) = (usage::cpu(pid), arguments.duration.clamp(MIN_IDLE, MAX_IDLE));
    // What is measured is that nothing happens; time is all there is to wait for.
    std::thread::sleep(length);
    let percent = usage::cpu(pid).saturating_sub(before).as_secs_f64() / length.as_secs_f64() * 100.0;
    let answered = fetches.answered()?;
    anyhow::ensure!(answered == 0, "{answered} of the fetches did not wait");
    output.result(&format!(
        "{IDLE_FETCHES} waiting fetches, {}: {percent:.2} % of a core  (target {IDLE_LIMIT_PERCENT})",
        side.name
    ));
    Ok(json!({ "row": "idle", "broker": side.name, "percent": percent }))
}

/// A fetch from a partition that has no leader yet would be answered at once; a record is taken only by a leader.
fn await_leaders(side: &Side, topic: &str) -> anyhow::Result<()> {
    let producer: BaseProducer = side.environment.bus.client_config(Role::Producer).create()?;
    for partition in 0..PARTITIONS {
        let record = BaseRecord::<str, [u8]>::to(topic).payload(&[]).partition(partition);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(READY_TIMEOUT)?;
    Ok(())
}

fn paced(partitions: usize, consumers: usize, bytes: usize, per_second: u64, length: Duration) -> Load {
    let interval = Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(u32::MAX);
    let frames = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).saturating_mul(per_second) / 1_000;
    Load {
        cameras: partitions,
        frame_bytes: bytes,
        frames: frames.max(1),
        interval: Some(interval),
        partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        consumers,
        batch: 1,
    }
}

/// Runs of both sides in turn, after one of each that does not count.
fn interleaved(
    load: &Load,
    runs: usize,
    embedded: &mut Side,
    mut other: Option<&mut Side>,
    output: &mut Output,
) -> anyhow::Result<(Vec<Run>, Vec<Run>)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        output.progress(|| format!("run {run} of {runs}"));
        let mine = measure(embedded, load)?;
        let other = other.as_deref_mut().map(|other| measure(other, load)).transpose()?;
        if run > 0 {
            ours.push(mine);
            theirs.extend(other);
        }
    }
    Ok((ours, theirs))
}

fn measure(side: &mut Side, load: &Load) -> anyhow::Result<Run> {
    let (done, pid) = (AtomicBool::new(false), side.pid);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                most = most.max(pid.map_or(0, usage::resident_bytes));
                std::thread::sleep(SAMPLE);
            }
            most
        });
        let measured = bare::run(&mut side.environment, load);
        done.store(true, Ordering::Release);
        let resident_bytes = sampler.join().map_err(|_| anyhow::anyhow!("memory could not be read"))?;
        Ok(Run { measured: measured?, resident_bytes })
    })
}

/// Prints one figure of both sides; answers the ratio, when there are two.
fn row(
    output: &mut Output,
    name: &str,
    unit: &str,
    limit: f64,
    ours: &[Run],
    theirs: &[Run],
    figure: impl Fn(&Run) -> f64,
) -> Option<f64> {
    let mut mine: Vec<_> = ours.iter().map(&figure).collect();
    let mut other: Vec<_> = theirs.iter().map(&figure).collect();
    // Zero is a process that cannot be looked at.
    let is_known = other.iter().any(|figure| *figure > 0.0);
    let ratio = is_known.then(|| median_ratio(&mine, &other));
    let (mine, other) = (median(&mut mine), median(&mut other));
    let target = if limit > 0.0 { format!("  (target {limit})") } else { String::new() };
    let compared =
        ratio.map_or_else(String::new, |ratio| format!("other {other:>9.3} {unit:<6} ratio {ratio:>5.2}{target}"));
    output.result(&format!("  {name:<18} embedded {mine:>9.3} {unit:<6} {compared}"));
    output.object("row", json!({ "figure": name, "unit": unit, "embedded": mine, "other": other, "ratio": ratio }));
    ratio
}

#[expect(clippy::cast_precision_loss, reason = "memory of a process")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
