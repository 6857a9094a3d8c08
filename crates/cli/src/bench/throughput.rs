//! `lumenbus bench throughput`.

use super::environment::Environment;
use super::latency::{cpu_rows, interleaved, row};
use super::load::Load;
use crate::arguments::ThroughputArguments;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use lumenbus_bus::Profile;
use lumenbus_bus::publisher::BatchLimits;
use serde_json::json;

/// From this size on a frame is a picture rather than a reading.
const LARGE_BYTES: usize = 4_000;
/// What the project promises of itself.
const LARGE_LIMIT: f64 = 0.85;
const SMALL_LIMIT: f64 = 0.5;
/// Small records cost by the record, not by the byte.
const MAX_FRAMES: u64 = 300_000;

pub(super) fn run(
    arguments: &ThroughputArguments,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let mut environment = Environment::open(settings)?;
    environment.bus.profile = Profile::Throughput;
    let mut ratios = Vec::new();
    for (bytes, batch) in sizes(arguments) {
        anyhow::ensure!(bytes > 0, "--bytes must be more than 0");
        let load = load(arguments, bytes, batch);
        let target = if bytes >= LARGE_BYTES { LARGE_LIMIT } else { SMALL_LIMIT };
        output.result(&format!(
            "{} frames of {bytes} B, {} per record, {}, {} runs each",
            load.frames,
            load.batch,
            environment.what(),
            arguments.runs
        ));
        let (ours, bare) = interleaved(&mut environment, &load, arguments.runs, output)?;
        let ratio = row(output, "throughput", "MB/s", target, &ours, &bare, |run| run.megabytes_per_second);
        row(output, "frames", "/s", 0.0, &ours, &bare, |run| run.frames_per_second);
        cpu_rows(output, &ours, &bare);
        ratios.push(json!({ "bytes": bytes, "frames_per_record": batch, "ratio": ratio }));
    }
    output.summary("bench throughput", json!({ "ratios": ratios, "runs": arguments.runs }));
    Ok(Outcome::Done)
}

/// Small frames are measured as the profile batches them, and one by one.
fn sizes(arguments: &ThroughputArguments) -> Vec<(usize, usize)> {
    let batches = |bytes: usize| match arguments.batch {
        _ if bytes >= LARGE_BYTES => vec![1],
        Some(batch) => vec![batch],
        None => vec![BatchLimits::THROUGHPUT.frames, 1],
    };
    arguments.bytes.iter().flat_map(|&bytes| batches(bytes).into_iter().map(move |batch| (bytes, batch))).collect()
}

fn load(arguments: &ThroughputArguments, bytes: usize, batch: usize) -> Load {
    Load {
        cameras: 8,
        frame_bytes: bytes,
        frames: (arguments.volume as u64 / bytes as u64).clamp(1, MAX_FRAMES),
        interval: None,
        partitions: 8,
        consumers: 1,
        batch,
    }
}
