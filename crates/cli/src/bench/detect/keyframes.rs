//! Keyframes only against all frames: processor time of decoding and detecting, for a second of video.

use super::arguments::DetectBenchArguments;
use super::thread_cpu;
use crate::exit::Outcome;
use crate::output::Output;
use lumenbus_codec::DecoderConfig;
use lumenbus_frame::{Epoch, FrameId, PixelFormat, Seq};
use lumenbus_pipeline::decode::Decoding;
use lumenbus_source::{SourceItem, SourceOptions};
use serde_json::{Value, json};
use std::time::Duration;

/// What it took to look at a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    /// Frames of the clip, looked at or not.
    frames: u64,
    looked_at: u64,
    seconds: f64,
    cpu: Duration,
}

impl Cost {
    /// Of processor time, for each second of video.
    fn millis_per_second(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.seconds.max(1e-9)
    }

    fn json(&self) -> Value {
        let (frames, looked_at) = (self.frames, self.looked_at);
        json!({ "frames": frames, "looked_at": looked_at, "cpu_ms_per_second": self.millis_per_second() })
    }
}

pub(super) fn run(arguments: &DetectBenchArguments, output: &mut Output) -> anyhow::Result<Outcome> {
    let all = measure(arguments, false, output)?;
    let keyframes = measure(arguments, true, output)?;
    let ratio = keyframes.millis_per_second() / all.millis_per_second().max(1e-9);
    for (what, cost) in [("all frames", &all), ("keyframes only", &keyframes)] {
        output.result(&format!(
            "{what:<14}  {:5} of {} frames in {:.1} s  {:8.2} ms of processor time a second of video",
            cost.looked_at,
            cost.frames,
            cost.seconds,
            cost.millis_per_second(),
        ));
    }
    output.result(&format!("  ratio {ratio:.3} (target below 1: {})", if ratio < 1.0 { "yes" } else { "no" }));
    let summary = json!({
        "measure": "keyframes", "detector": arguments.detector.to_string(), "all": all.json(),
        "keyframes": keyframes.json(), "ratio": ratio, "targets": { "ratio": 1.0, "met": ratio < 1.0 },
    });
    output.summary("bench detect", summary);
    Ok(if ratio < 1.0 { Outcome::Done } else { Outcome::ProblemsFound })
}

/// As the worker does it: what is not looked at is not decoded either.
fn measure(arguments: &DetectBenchArguments, keyframes_only: bool, output: &mut Output) -> anyhow::Result<Cost> {
    let mut source = lumenbus_source::open(&arguments.source, &SourceOptions::default())?;
    let rate = source.nominal_rate().unwrap_or(lumenbus_source::DEFAULT_RATE);
    let mut detector = arguments.detector.open()?;
    let mut decoding = Decoding::new(DecoderConfig { pixel_format: Some(PixelFormat::I420) });
    let (mut cost, mut pictures) = (Cost { frames: 0, looked_at: 0, seconds: 0.0, cpu: Duration::ZERO }, Vec::new());
    let mut is_over = false;
    while !is_over && arguments.frames.is_none_or(|frames| cost.frames < frames) {
        let item = source.next_frame()?;
        let began = thread_cpu();
        match item {
            None => {
                is_over = true;
                decoding.finish(&mut pictures);
            }
            Some(SourceItem::Encoded { frame, .. }) => {
                let id = FrameId { epoch: Epoch(1), seq: Seq(cost.frames) };
                cost.frames += 1;
                if !keyframes_only || frame.is_keyframe {
                    decoding.push(id, &frame, &mut pictures)?;
                }
                if keyframes_only {
                    decoding.finish(&mut pictures);
                }
            }
            Some(SourceItem::Raw { .. }) => anyhow::bail!("{} is not coded video", source.name()),
            Some(_) => {}
        }
        for decoded in pictures.drain(..) {
            detector.detect(&decoded.picture)?;
            cost.looked_at += 1;
        }
        cost.cpu += thread_cpu().saturating_sub(began);
        let done = cost.frames;
        output.progress(|| format!("{done} frames"));
    }
    anyhow::ensure!(cost.looked_at > 0, "{} gave no picture", source.name());
    #[expect(clippy::cast_precision_loss, reason = "frames of a clip")]
    let frames = cost.frames as f64;
    cost.seconds = frames / rate.as_f64();
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_of_a_second_of_video() {
        let cost = Cost { frames: 60, looked_at: 2, seconds: 2.0, cpu: Duration::from_millis(30) };
        assert!((cost.millis_per_second() - 15.0).abs() < 1e-9);
    }
}
