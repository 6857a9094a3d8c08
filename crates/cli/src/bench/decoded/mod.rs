//! `lumenbus bench decoded`: capture → decoded, stage by stage.

pub(super) mod pictures;
pub(super) mod round;
pub(super) mod timeline;

use super::environment::Environment;
use super::median;
use crate::arguments::{DecodedArguments, DecodedCodec};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use lumenbus_codec::{EncoderConfig, default_bitrate};
use lumenbus_frame::{Codec, FrameRate};
use pictures::Pictures;
use round::{Plan, Round, WARM_UP};
use serde_json::{Value, json};
use timeline::{Percentiles, STAGES};

/// What the project promises of itself at 1080p30, in milliseconds; H.264 only with nasm at build time.
const JPEG_LIMITS: (Option<f64>, f64) = (Some(15.0), 25.0);
const H264_LIMITS: (Option<f64>, f64) = (None, 60.0);

pub(super) fn run(arguments: &DecodedArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    anyhow::ensure!(arguments.fps > 0 && arguments.runs > 0, "--fps and --runs must be more than 0");
    let rate = FrameRate::per_second(arguments.fps);
    let pictures = Pictures::load(arguments.source.as_deref(), arguments.size, rate)?;
    let plan = plan(arguments, &pictures, rate)?;
    let mut environment = Environment::open(settings)?;
    output.result(&format!(
        "capture → decoded: {}, {} at {rate}/s to {}, {} pictures of {}, {}",
        describe(&plan.encoder),
        pictures.size,
        plan.to,
        pictures.count(),
        pictures.name,
        environment.what(),
        rate = arguments.fps,
    ));
    let mut rounds = Vec::new();
    for run in 1..=arguments.runs {
        output.progress(|| format!("run {run} of {}", arguments.runs));
        let round = round::run(&mut environment, &plan, &pictures)?;
        show_round(output, run, &round);
        rounds.push(round);
    }
    let medians = medians(&rounds);
    let runs = rounds.len();
    output.result(&format!("  median of {runs} runs: p50 {:6.2} ms, p99 {:6.2} ms", medians.p50, medians.p99));
    let (best, round) = least_disturbed(&rounds);
    show_stages(output, best + 1, round, plan.encoder.codec);
    output.summary("bench decoded", summary(&plan, &pictures, &rounds, (best, medians)));
    Ok(Outcome::Done)
}

fn plan(arguments: &DecodedArguments, pictures: &Pictures, rate: FrameRate) -> anyhow::Result<Plan> {
    let codec = match arguments.codec {
        DecodedCodec::Jpeg => Codec::Jpeg,
        DecodedCodec::H264 => Codec::H264,
    };
    let mut encoder = EncoderConfig::new(codec);
    encoder.frame_rate = rate;
    encoder.quality = arguments.quality;
    encoder.bits_per_second = Some(arguments.bitrate.unwrap_or_else(|| default_bitrate(pictures.size, rate)));
    let millis = u64::try_from(arguments.duration.as_millis())?;
    let frames = (u64::from(arguments.fps) * millis / 1_000).max(1);
    Ok(Plan { encoder, rate, to: arguments.to, frames, keeps_frames: false })
}

fn describe(encoder: &EncoderConfig) -> String {
    match encoder.codec {
        Codec::Jpeg => format!("jpeg at quality {}", encoder.quality),
        codec => format!("{codec} at {:.1} Mbit/s", f64::from(encoder.bits_per_second.unwrap_or(0)) / 1e6),
    }
}

/// Of each run's percentiles: one run that was held up says little.
fn medians(rounds: &[Round]) -> Percentiles {
    let totals: Vec<_> = rounds.iter().map(|round| round.timeline.percentiles(WARM_UP, "total")).collect();
    let middle = |figure: fn(&Percentiles) -> f64| median(&mut totals.iter().map(figure).collect::<Vec<_>>());
    Percentiles { p50: middle(|total| total.p50), p99: middle(|total| total.p99) }
}

/// This machine may be shared: the run in which others used least of it tells most about this program. Where the system
/// does not say how much that was, it is the run with the lowest median.
pub(super) fn least_disturbed(rounds: &[Round]) -> (usize, &Round) {
    let disturbance = |round: &Round| (round.others.unwrap_or(0.0), round.timeline.percentiles(WARM_UP, "total").p50);
    let by_disturbance = |a: &(usize, &Round), b: &(usize, &Round)| {
        let (a, b) = (disturbance(a.1), disturbance(b.1));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    };
    rounds.iter().enumerate().min_by(by_disturbance).expect("at least one run")
}

fn show_round(output: &mut Output, run: usize, round: &Round) {
    let Percentiles { p50, p99 } = round.timeline.percentiles(WARM_UP, "total");
    let broker = round.broker_cpu_millis.map_or(String::new(), |millis| format!(" + broker {millis:.1}"));
    let others =
        round.others.map_or(String::new(), |share| format!(", others had {:.0} % of the machine", share * 100.0));
    let client = round.client_cpu_millis;
    output.result(&format!(
        "  run {run}: p50 {p50:6.2} ms, p99 {p99:6.2} ms; CPU {client:.1}{broker} ms per frame{others}"
    ));
    output.object("run", round_json(round));
}

fn show_stages(output: &mut Output, run: usize, round: &Round, codec: Codec) {
    output.result(&format!("  stages of run {run}, the least disturbed:"));
    let (p50_limit, p99_limit) = if codec == Codec::Jpeg { JPEG_LIMITS } else { H264_LIMITS };
    for stage in STAGES {
        let Percentiles { p50, p99 } = round.timeline.percentiles(WARM_UP, stage);
        let note = match (stage, p50_limit) {
            ("total", Some(limit)) => format!("  (targets at 1080p30: {limit} and {p99_limit})"),
            ("total", None) => format!("  (target at 1080p30: p99 {p99_limit})"),
            ("append" | "receive", _) => "  (the broker's clock counts whole milliseconds)".to_owned(),
            ("acknowledge", _) => "  (beside the way to the reader)".to_owned(),
            _ => String::new(),
        };
        output.result(&format!("    {stage:<12} p50 {p50:7.2} ms   p99 {p99:7.2} ms{note}"));
    }
    let bytes = payload_bytes(round);
    output.result(&format!("    payload      mean {:.0} bytes, largest {} bytes", bytes.0, bytes.1));
}

/// Mean and largest.
#[expect(clippy::cast_precision_loss, reason = "sizes of frames")]
fn payload_bytes(round: &Round) -> (f64, usize) {
    let frames = round.timeline.complete(WARM_UP);
    let sum: usize = frames.iter().map(|times| times.payload_bytes).sum();
    let largest = frames.iter().map(|times| times.payload_bytes).max().unwrap_or(0);
    (sum as f64 / frames.len().max(1) as f64, largest)
}

fn round_json(round: &Round) -> Value {
    let stages: serde_json::Map<_, _> = STAGES
        .iter()
        .map(|&stage| {
            let Percentiles { p50, p99 } = round.timeline.percentiles(WARM_UP, stage);
            (stage.to_owned(), json!({ "p50_ms": p50, "p99_ms": p99 }))
        })
        .collect();
    let (mean_bytes, max_bytes) = payload_bytes(round);
    json!({
        "stages": stages,
        "client_cpu_ms_per_frame": round.client_cpu_millis,
        "broker_cpu_ms_per_frame": round.broker_cpu_millis,
        "others_share": round.others,
        "payload_mean_bytes": mean_bytes,
        "payload_max_bytes": max_bytes,
    })
}

fn summary(plan: &Plan, pictures: &Pictures, rounds: &[Round], (best, medians): (usize, Percentiles)) -> Value {
    json!({
        "codec": plan.encoder.codec.as_str(),
        "size": pictures.size.to_string(),
        "fps": plan.rate.as_f64(),
        "to": plan.to.as_str(),
        "source": pictures.name,
        "runs": rounds.len(),
        "median_total": { "p50_ms": medians.p50, "p99_ms": medians.p99 },
        "least_disturbed": best + 1,
        "result": round_json(&rounds[best]),
    })
}
