//! `lumenbus bench qos`: how little it sends and how soon it is there, of the same frames.
//!
//! Pictures are encoded in real time and go through the broker to a decoder. What is measured of each frame is when its
//! picture was there, and how many bytes it took; afterwards the very same frames are compared with what went in, and
//! JPEG with that.

pub(crate) mod arguments;

use super::codec::against_jpeg::JpegCurve;
use super::decoded::pictures::Pictures;
use super::decoded::round::{self, Plan, Round, WARM_UP};
use super::decoded::{least_disturbed, timeline::Percentiles};
use super::live::{Live, verdict};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use anyhow::Context as _;
use arguments::QosArguments;
use lumenbus_codec::quality::{Quality, QualityMeter};
use lumenbus_codec::{DecoderConfig, EncoderConfig, RateControl, Ticket, decoder, has_h264_assembly};
use lumenbus_frame::{Codec, EncodedFrame, FrameRate, PixelFormat};
use serde_json::json;
use std::fs::File;

/// What the project promises at 1080p30 where nasm was present.
const TARGET_KILOBITS: f64 = 2_300.0;
const TARGET_P99_MILLIS: f64 = 60.0;
/// Classes of end-to-end time that applications ask for, in milliseconds.
const CLASSES: [u32; 3] = [50, 100, 200];

/// What came of it.
struct Finding {
    kilobits: f64,
    quality: Quality,
    total: Percentiles,
    jpeg_kilobits: Option<f64>,
    /// Whether openh264 has its assembly; `None` where there is none for this processor.
    has_assembly: Option<bool>,
    /// Whether the targets are for a run like this one.
    is_promised: bool,
}

impl Finding {
    /// Whether both targets were met; `None` for a run that they are not about.
    fn is_met(&self) -> Option<bool> {
        self.is_promised.then_some(self.kilobits <= TARGET_KILOBITS && self.total.p99 <= TARGET_P99_MILLIS)
    }
}

pub(super) fn run(arguments: &QosArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let plan = plan(arguments)?;
    let mut live = arguments.live.open(settings)?;
    output.result(&format!(
        "quality of service: H.264 at {:.2} Mbit/s, {}",
        f64::from(arguments.bitrate) / 1e6,
        live.what(),
    ));
    let mut rounds = Vec::new();
    for run in 1..=arguments.runs {
        output.progress(|| format!("run {run} of {}", arguments.runs));
        rounds.push(round::run(&mut live.environment, &plan, &live.pictures)?);
    }
    let (_, round) = least_disturbed(&rounds);
    output.progress(|| "JPEG at the same quality".to_owned());
    let quality = quality(&round.coded, &live.pictures)?;
    let mut jpeg = JpegCurve::measure(&live.pictures, live.rate)?;
    let has_assembly = own_assembly();
    let finding = Finding {
        kilobits: kilobits(&round.coded, live.rate),
        quality,
        total: round.timeline.percentiles(WARM_UP, "total"),
        jpeg_kilobits: jpeg.rate_at(quality.ssim)?,
        has_assembly,
        is_promised: is_promised(arguments, &live, round, has_assembly)?,
    };
    show(output, &finding, round);
    if let Some(path) = &arguments.plot {
        let title = format!("{}, {}, {}/s", live.pictures.name, live.pictures.size, live.rate.frames);
        let svg = jpeg.svg(title, "h264, transported", finding.kilobits, quality);
        std::fs::write(path, svg).with_context(|| format!("writing {}", path.display()))?;
    }
    output.summary("bench qos", summary(&live, &finding, round));
    Ok(if finding.is_met() == Some(false) { Outcome::ProblemsFound } else { Outcome::Done })
}

fn plan(arguments: &QosArguments) -> anyhow::Result<Plan> {
    let rate = FrameRate::per_second(arguments.live.fps);
    let mut encoder = EncoderConfig::new(Codec::H264);
    encoder.frame_rate = rate;
    encoder.bits_per_second = Some(arguments.bitrate);
    encoder.keyframe_interval = arguments.live.gop;
    encoder.h264.rate_control = RateControl::Budget;
    encoder.h264.scene_cuts = true;
    let frames = arguments.live.frames_in(arguments.duration)?;
    Ok(Plan { encoder, rate, to: PixelFormat::I420, frames, keeps_frames: true })
}

/// Less than a GOP would leave out what keyframes cost.
fn is_promised(arguments: &QosArguments, live: &Live, round: &Round, nasm: Option<bool>) -> anyhow::Result<bool> {
    let has_gop = round.coded.len() as u64 >= arguments.live.frames_in(arguments.live.gop)?;
    Ok(live.is_promised() && nasm != Some(false) && has_gop)
}

/// Of the frames that were sent, the first keyframe included.
#[expect(clippy::cast_precision_loss, reason = "bytes of a run")]
fn kilobits(frames: &[EncodedFrame], rate: FrameRate) -> f64 {
    let bytes: usize = frames.iter().map(|frame| frame.payload.len()).sum();
    bytes as f64 * 8.0 * rate.as_f64() / frames.len().max(1) as f64 / 1e3
}

fn quality(frames: &[EncodedFrame], pictures: &Pictures) -> anyhow::Result<Quality> {
    let mut decoder = decoder(Codec::H264, &DecoderConfig { pixel_format: Some(PixelFormat::I420) })?;
    let (mut decoded, mut meter) = (Vec::new(), QualityMeter::default());
    for (frame, index) in frames.iter().zip(0..) {
        decoder.decode(Ticket(index), frame, &mut decoded)?;
        for picture in decoded.drain(..) {
            meter.add(pictures.at(picture.ticket.0), &picture.frame)?;
        }
    }
    meter.quality().context("no picture was decoded")
}

fn own_assembly() -> Option<bool> {
    let found = std::env::current_exe().and_then(File::open).and_then(has_h264_assembly);
    found.ok().flatten()
}

fn show(output: &mut Output, finding: &Finding, round: &Round) {
    let Percentiles { p50, p99 } = finding.total;
    let nasm = match finding.has_assembly {
        Some(true) => "nasm was present when this program was built",
        Some(false) => "nasm was missing when this program was built: encoding takes 2.7 times as long",
        None => "this processor needs no nasm",
    };
    let others = round
        .others
        .map_or(String::new(), |share| format!("; other programs had {:.0} % of the machine", share * 100.0));
    output.result(&format!("  {nasm}{others}"));
    output.result(&format!(
        "  bit rate            {:7.0} kbit/s  {}",
        finding.kilobits,
        verdict(&format!("{TARGET_KILOBITS:.0}"), finding.kilobits <= TARGET_KILOBITS, finding.is_promised)
    ));
    output.result(&format!("  SSIM                {:7.4}", finding.quality.ssim));
    match finding.jpeg_kilobits {
        Some(jpeg) => output.result(&format!(
            "  JPEG at that SSIM   {jpeg:7.0} kbit/s, {:.1} times as much",
            jpeg / finding.kilobits.max(1e-3)
        )),
        None => output.result("  JPEG at that SSIM   was not measured on both sides of it"),
    }
    output.result(&format!(
        "  capture → decoded   p50 {p50:.1} ms, p99 {p99:.1} ms  {}",
        verdict(&format!("p99 {TARGET_P99_MILLIS:.0}"), p99 <= TARGET_P99_MILLIS, finding.is_promised)
    ));
    for class in CLASSES {
        output.result(&format!("    p99 < {class} ms: {}", if p99 < f64::from(class) { "yes" } else { "no" }));
    }
}

fn summary(live: &Live, finding: &Finding, round: &Round) -> serde_json::Value {
    let classes: serde_json::Map<_, _> = CLASSES
        .map(|class| (format!("below_{class}_ms"), json!(finding.total.p99 < f64::from(class))))
        .into_iter()
        .collect();
    json!({
        "source": live.pictures.name,
        "size": live.pictures.size.to_string(),
        "fps": live.rate.frames,
        "frames": round.coded.len(),
        "keyframes": round.coded.iter().filter(|frame| frame.is_keyframe).count(),
        "kilobits_per_second": finding.kilobits,
        "ssim": finding.quality.ssim,
        "lowest_ssim": finding.quality.lowest_ssim,
        "psnr_luma_db": finding.quality.psnr_luma,
        "jpeg_kilobits_per_second": finding.jpeg_kilobits,
        "jpeg_ratio": finding.jpeg_kilobits.map(|jpeg| jpeg / finding.kilobits.max(1e-3)),
        "capture_to_decoded": { "p50_ms": finding.total.p50, "p99_ms": finding.total.p99 },
        "classes": classes,
        "nasm": finding.has_assembly,
        "others_share": round.others,
        "client_cpu_ms_per_frame": round.client_cpu_millis,
        "targets": {
            "kilobits_per_second": TARGET_KILOBITS,
            "p99_ms": TARGET_P99_MILLIS,
            "met": finding.is_met(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_promised_is_neither_met_nor_missed() {
        let finding = |kilobits, p99, is_promised| Finding {
            kilobits,
            quality: Quality { ssim: 1.0, lowest_ssim: 1.0, psnr_luma: 50.0, psnr: 50.0 },
            total: Percentiles { p50: 1.0, p99 },
            jpeg_kilobits: None,
            has_assembly: None,
            is_promised,
        };
        assert_eq!(finding(2_300.0, 60.0, true).is_met(), Some(true));
        assert_eq!(finding(2_301.0, 60.0, true).is_met(), Some(false));
        assert_eq!(finding(2_300.0, 60.1, true).is_met(), Some(false));
        assert_eq!(finding(2_301.0, 60.1, false).is_met(), None);
    }
}
