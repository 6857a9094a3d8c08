//! `lumenbus bench latency`.

use super::environment::Environment;
use super::load::{Load, Measured};
use super::{bare, median, median_ratio, ours};
use crate::arguments::LatencyArguments;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use serde_json::json;
use std::time::Duration;

/// What the project promises of itself.
const P50_LIMIT: f64 = 1.25;
const P99_LIMIT: f64 = 1.5;

pub(super) fn run(arguments: &LatencyArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut environment = Environment::open(settings)?;
    let per_second = arguments.cameras as u64 * u64::from(arguments.fps);
    anyhow::ensure!(per_second > 0, "--cameras and --fps must be more than 0");
    let load = Load {
        cameras: arguments.cameras,
        frame_bytes: arguments.bytes,
        frames: (per_second * u64::try_from(arguments.duration.as_millis())? / 1_000).max(1),
        interval: Some(Duration::from_secs(1) / u32::try_from(per_second)?),
        partitions: i32::try_from(arguments.cameras.min(12))?,
        consumers: 1,
        batch: 1,
    };
    output.result(&format!(
        "publish → received, {} cameras × {}/s × {} B, {}, {} runs each",
        arguments.cameras,
        arguments.fps,
        arguments.bytes,
        environment.what(),
        arguments.runs
    ));
    let (ours, bare) = interleaved(&mut environment, &load, arguments.runs, output)?;
    let p50 = row(output, "p50", "ms", P50_LIMIT, &ours, &bare, |run| run.p50_millis);
    let p99 = row(output, "p99", "ms", P99_LIMIT, &ours, &bare, |run| run.p99_millis);
    cpu_rows(output, &ours, &bare);
    output.summary("bench latency", json!({ "p50_ratio": p50, "p99_ratio": p99, "runs": arguments.runs }));
    Ok(Outcome::Done)
}

/// Runs of both sides in turn, after one of each that does not count.
pub(super) fn interleaved(
    environment: &mut Environment,
    load: &Load,
    runs: usize,
    output: &mut Output,
) -> anyhow::Result<(Vec<Measured>, Vec<Measured>)> {
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        output.progress(|| format!("run {run} of {runs}"));
        let (theirs_now, mine_now) = (bare::run(environment, load)?, ours::run(environment, load)?);
        if run > 0 {
            mine.push(mine_now);
            theirs.push(theirs_now);
        }
    }
    Ok((mine, theirs))
}

/// Prints one figure of both sides; answers the ratio.
pub(super) fn row(
    output: &mut Output,
    name: &str,
    unit: &str,
    limit: f64,
    ours: &[Measured],
    bare: &[Measured],
    figure: impl Fn(&Measured) -> f64,
) -> f64 {
    let mut mine: Vec<_> = ours.iter().map(&figure).collect();
    let mut theirs: Vec<_> = bare.iter().map(&figure).collect();
    let ratio = median_ratio(&mine, &theirs);
    let (mine, theirs) = (median(&mut mine), median(&mut theirs));
    let target = if limit > 0.0 { format!("  (target {limit})") } else { String::new() };
    output.result(&format!(
        "  {name:<18} bare {theirs:>9.3} {unit:<9} ours {mine:>9.3} {unit:<9} ratio {ratio:>5.2}{target}"
    ));
    output.object("row", json!({ "figure": name, "unit": unit, "bare": theirs, "ours": mine, "ratio": ratio }));
    ratio
}

pub(super) fn cpu_rows(output: &mut Output, ours: &[Measured], bare: &[Measured]) {
    row(output, "client CPU", "ms/MB", 0.0, ours, bare, |run| run.client_cpu_millis_per_megabyte);
    if bare.iter().any(|run| run.broker_cpu_millis_per_megabyte > 0.0) {
        row(output, "broker CPU", "ms/MB", 0.0, ours, bare, |run| run.broker_cpu_millis_per_megabyte);
    }
}
