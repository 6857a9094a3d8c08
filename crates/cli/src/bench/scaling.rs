//! `lumenbus bench scaling`.

use super::environment::Environment;
use super::load::{Load, Measured};
use super::{median, ours};
use crate::arguments::ScalingArguments;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use lumenbus_bus::Profile;
use serde_json::json;

/// Mean bytes of an H.264 frame at 0.1 bit per pixel, and of a JPEG of that size.
const SIZES: [(&str, usize); 4] =
    [("720p H.264", 11_520), ("1080p H.264", 25_920), ("4K H.264", 103_680), ("4K JPEG", 1_500_000)];

pub(super) fn run(arguments: &ScalingArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut environment = Environment::open(settings)?;
    environment.bus.profile = Profile::Throughput;
    output.result(&format!("{}, {} runs a row", environment.what(), arguments.runs));
    let mut rows = Vec::new();
    for (partitions, consumers) in [(1, 1), (2, 2), (4, 4), (4, 1)] {
        let name = format!("{partitions} partitions, {consumers} consumers, 50 kB");
        rows.push(measure(
            &mut environment,
            &name,
            &load(arguments, 50_000, partitions, consumers),
            arguments.runs,
            output,
        )?);
    }
    for (name, bytes) in SIZES {
        rows.push(measure(&mut environment, name, &load(arguments, bytes, 4, 1), arguments.runs, output)?);
    }
    output.summary("bench scaling", json!({ "rows": rows }));
    Ok(Outcome::Done)
}

fn load(arguments: &ScalingArguments, frame_bytes: usize, partitions: i32, consumers: usize) -> Load {
    let frames = (arguments.volume as u64 / frame_bytes as u64).max(1);
    Load { cameras: 8, frame_bytes, frames, interval: None, partitions, consumers, batch: 1 }
}

fn measure(
    environment: &mut Environment,
    name: &str,
    load: &Load,
    runs: usize,
    output: &mut Output,
) -> anyhow::Result<serde_json::Value> {
    let measured: Vec<Measured> = (0..runs.max(1)).map(|_| ours::run(environment, load)).collect::<Result<_, _>>()?;
    let of = |figure: fn(&Measured) -> f64| median(&mut measured.iter().map(figure).collect::<Vec<_>>());
    let (speed, frames) = (of(|run| run.megabytes_per_second), of(|run| run.frames_per_second));
    let cpu = of(|run| run.client_cpu_millis_per_megabyte);
    output.result(&format!("  {name:<36} {speed:>7.1} MB/s {frames:>8.0} frames/s {cpu:>6.2} CPU ms/MB"));
    Ok(json!({ "row": name, "megabytes_per_second": speed, "frames_per_second": frames, "cpu_ms_per_mb": cpu }))
}
