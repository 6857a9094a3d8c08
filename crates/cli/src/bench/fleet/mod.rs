//! `lumenbus bench fleet`: many cameras that are passed through by one process, to one subscriber.
//!
//! Each camera plays a file of its own accord, in real time and round and round, as `lumenbus up` does it; the subscriber
//! runs in the same process, so that its part is in every figure.

pub(crate) mod arguments;
pub(super) mod reader;
mod run;

use super::decoded::pictures::Pictures;
use super::environment::Environment;
use super::live::verdict;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use anyhow::Context as _;
use arguments::FleetArguments;
use lumenbus_codec::EncoderConfig;
use lumenbus_frame::{Codec, Dimensions, FrameRate};
use lumenbus_pipeline::fleet::MAX_FLEET_CAMERAS;
use run::{MAX_AGE_MILLIS, Run};
use serde_json::json;
use std::path::Path;

/// What is promised: so many cameras of 1080p30 at so many bits a second, each with at most so much memory.
const PROMISED: (usize, Dimensions, u32, u32) = (64, Dimensions { width: 1_920, height: 1_080 }, 30, 3_000_000);
const MAX_CAMERA_BYTES: u64 = 4 << 20;
/// A file is so many GOPs long.
const CLIP_GOPS: u32 = 4;
/// The largest number is known to one part in so many.
const RESOLUTION: usize = 16;

pub(super) fn run(arguments: &FleetArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut environment = Environment::open(settings)?;
    let folder = tempfile::Builder::new().prefix("lumenbus-bench-").tempdir().context("a folder for the footage")?;
    let clip = folder.path().join("camera.264");
    output.progress(|| "coding what the cameras play".to_owned());
    let size = write_clip(&clip, arguments)?;
    output.result(&format!(
        "{size} at {}/s, {:.1} Mbit/s, a keyframe every {:.1} s, passed through from files; one subscriber in the same process; {}",
        arguments.fps,
        f64::from(arguments.bitrate) / 1e6,
        arguments.gop.as_secs_f64(),
        environment.what(),
    ));
    let mut measure = |cameras: usize| {
        output.progress(|| format!("{cameras} cameras"));
        let run = run::run(&mut environment, &clip, arguments, cameras)?;
        output.result(&run.line());
        output.object("run", run.json());
        Ok::<_, anyhow::Error>(run)
    };
    let first = measure(arguments.cameras)?;
    let limit =
        if arguments.find_limit { Some(find_limit(&first, |cameras| Ok(measure(cameras)?.holds()))?) } else { None };
    Ok(conclude(arguments, size, &first, limit, output))
}

/// Says what is promised and whether it was met.
fn conclude(
    arguments: &FleetArguments,
    size: Dimensions,
    run: &Run,
    limit: Option<usize>,
    output: &mut Output,
) -> Outcome {
    let is_promised = (run.cameras, size, arguments.fps, arguments.bitrate) == PROMISED;
    let per_camera = run.bytes_per_camera();
    let is_small = per_camera.is_some_and(|bytes| bytes <= MAX_CAMERA_BYTES);
    let is_in_time = run.p99() <= MAX_AGE_MILLIS;
    output.result(&format!("  every frame came        {}", verdict("no gap", run.is_whole(), is_promised)));
    let age = verdict(&format!("p99 {MAX_AGE_MILLIS:.0}"), is_in_time, is_promised);
    output.result(&format!("  age p99 {:9.1} ms    {age}", run.p99()));
    if let Some(bytes) = per_camera {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        let target = verdict("4 MiB", is_small, is_promised);
        output.result(&format!("  a camera more {mebibytes:6.2} MiB    {target}"));
    }
    if let Some(limit) = limit {
        output.result(&format!("  largest number that holds: {limit}"));
    }
    let are_met = run.holds() && is_small;
    let summary = json!({
        "size": size.to_string(), "fps": arguments.fps, "bits_per_second": arguments.bitrate,
        "gop_seconds": arguments.gop.as_secs_f64(), "run": run.json(), "largest_that_holds": limit,
        "targets": {
            "age_p99_ms": MAX_AGE_MILLIS, "bytes_per_camera": MAX_CAMERA_BYTES, "met": is_promised.then_some(are_met),
        },
    });
    output.summary("bench fleet", summary);
    if is_promised && !are_met { Outcome::ProblemsFound } else { Outcome::Done }
}

/// The largest number of cameras that holds, to one part in [`RESOLUTION`]; 0 when one is too many already.
fn find_limit(first: &Run, mut holds: impl FnMut(usize) -> anyhow::Result<bool>) -> anyhow::Result<usize> {
    let (mut good, mut bad) = if first.holds() { (first.cameras, None) } else { (0, Some(first.cameras)) };
    while bad.is_none() && good < MAX_FLEET_CAMERAS {
        let next = (good * 2).min(MAX_FLEET_CAMERAS);
        if holds(next)? { good = next } else { bad = Some(next) }
    }
    while let Some(least) = bad
        && least - good > (good / RESOLUTION).max(1)
    {
        let middle = good.midpoint(least);
        if holds(middle)? { good = middle } else { bad = Some(middle) }
    }
    Ok(good)
}

/// Codes the footage at the cameras' rate, at whole GOPs.
fn write_clip(path: &Path, arguments: &FleetArguments) -> anyhow::Result<Dimensions> {
    let rate = FrameRate::per_second(arguments.fps);
    let pictures = Pictures::load(arguments.source.as_deref(), arguments.size, rate)?;
    let mut config = EncoderConfig::new(Codec::H264);
    config.frame_rate = rate;
    config.bits_per_second = Some(arguments.bitrate);
    config.keyframe_interval = arguments.gop;
    config.h264.scene_cuts = false;
    let gop = (u128::from(arguments.fps) * arguments.gop.as_millis() / 1_000).max(1);
    pictures.write_coded(path, &config, u64::try_from(gop)? * u64::from(CLIP_GOPS))?;
    Ok(pictures.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(begin: usize, actual: usize) -> (usize, usize) {
        let p99 = if begin <= actual { 10.0 } else { 1_000.0 };
        let mut runs = 0;
        let found = find_limit(&run::made(begin, 0, p99), |cameras| {
            runs += 1;
            Ok(cameras <= actual)
        });
        (found.unwrap(), runs)
    }

    #[test]
    fn the_limit_is_found_from_above_and_below() {
        for (begin, actual) in [(64, 150), (64, 40), (8, 9), (1, 1), (64, 0), (64, 5_000), (1_000, 999)] {
            let (found, runs) = limit(begin, actual);
            let actual = actual.min(MAX_FLEET_CAMERAS);
            assert!(found <= actual && actual - found <= actual / RESOLUTION, "{begin}: {found} of {actual}");
            assert!(runs <= 12, "{begin}, {actual}: {runs} runs");
        }
    }
}
