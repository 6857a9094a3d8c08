//! `lumenbus cameras test SOURCE|ID`.

use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::site::{Inspection, Site, Verdict, inspect, profile_and_level};
use crate::units;
use clap::Args;
use lumenbus_frame::{CameraId, CaptureSource, Codec, FrameRate};
use lumenbus_pipeline::fleet::{CameraConfig, CameraSource};
use serde_json::json;
use std::time::Duration;

/// A longer wait between keyframes makes joining and seeking slow.
const LONG_GOP: Duration = Duration::from_secs(4);

#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 3 when the source is damaged, gives nothing, or has no keyframe.\n\nExamples:\n  lumenbus cameras test clips/gate.mp4\n  lumenbus cameras test gate --json"
)]
pub(super) struct TestArguments {
    /// A camera of the settings file, or a source
    #[arg(value_name = "SOURCE|ID")]
    what: String,
    /// Read for at most this time
    #[arg(long = "for", value_parser = units::duration, default_value = "5s", value_name = "TIME")]
    duration: Duration,
}

pub(super) fn run(arguments: &TestArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let camera = camera(&arguments.what, settings.site.as_deref())?;
    output.progress(|| format!("reading {}", camera.source));
    let found = inspect(&camera, arguments.duration)?;
    let advice = advice(&camera, &found);
    output.result(&camera.source.to_string());
    for (name, text) in facts(&found) {
        output.result(&format!("  {name:<14}{text}"));
    }
    for line in &advice {
        output.result(&format!("  -> {line}"));
    }
    tell_json(&camera, &found, &advice, output);
    Ok(if found.has_problems() { Outcome::ProblemsFound } else { Outcome::Done })
}

/// A configured camera with its settings; else a source of that name.
fn camera(what: &str, site: Option<&Site>) -> Result<CameraConfig, Usage> {
    let configured = site.and_then(|site| site.cameras.iter().find(|camera| camera.id.as_str() == what));
    if let Some(camera) = configured {
        return Ok(camera.clone());
    }
    let id = CameraId::new("test").map_err(|error| Usage(error.to_string()))?;
    let camera = CameraConfig::new(id, CameraSource::Spec(what.to_owned()));
    camera.source.check().map_err(|error| Usage(error.to_string()))?;
    Ok(camera)
}

/// What there is to say, each with its name.
fn facts(found: &Inspection) -> Vec<(&'static str, String)> {
    let parameters = &found.parameters;
    let profile = parameters.codec_string.as_deref().and_then(profile_and_level);
    let codec = match (&profile, &parameters.codec_string) {
        (Some(profile), Some(string)) => format!("{}, {profile} ({string})", parameters.codec),
        (None, Some(string)) => format!("{} ({string})", parameters.codec),
        _ => parameters.codec.to_string(),
    };
    let stated =
        found.stated_rate.map_or_else(|| "none stated".to_owned(), |rate| format!("{:.2} stated", rate.as_f64()));
    let measured = found.measured_fps().map_or_else(String::new, |fps| format!(", {fps:.2} measured"));
    let mut facts = vec![
        ("codec", codec),
        ("size", parameters.dimensions.to_string()),
        ("frames/s", format!("{stated}{measured}")),
        ("read", read_text(found)),
    ];
    if !parameters.codec.is_intra_only() {
        facts.push(("keyframes", gop_text(found)));
        facts.push(("reordering", reorder_text(found)));
    }
    facts.push(("capture time", capture_text(found)));
    facts.push(("browser", browser_text(found)));
    facts.push(("this build", decode_text(found)));
    if found.damage_count > 0 {
        facts.push(("damaged", format!("{} frames or places", found.damage_count)));
        facts.extend(found.damages.iter().map(|damage| ("", damage.clone())));
    }
    facts
}

fn read_text(found: &Inspection) -> String {
    let whole = if found.is_whole { ", all of it" } else { "" };
    let mbit = found.mbit().map_or_else(String::new, |mbit| format!(", {mbit:.2} Mbit/s"));
    let largest = units::show_bytes(found.largest_bytes);
    format!("{} frames, {}{whole}{mbit}, largest frame {largest}", found.frames, units::show_bytes(found.bytes))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn gop_text(found: &Inspection) -> String {
    let (Some(min), Some(max)) = (found.gops.iter().min(), found.gops.iter().max()) else {
        return match found.keyframes {
            0 => "none".to_owned(),
            count => format!("{count} in {} frames", found.frames),
        };
    };
    let range = if min == max { format!("every {max} frames") } else { format!("every {min} to {max} frames") };
    let seconds = found.measured_fps().map_or_else(String::new, |fps| format!(" (at most {:.1} s)", *max as f64 / fps));
    format!("{range}{seconds}")
}

fn reorder_text(found: &Inspection) -> String {
    match (found.seen_reorder, found.stated_reorder) {
        (0, Some(0)) => "none: each picture can be shown at once".to_owned(),
        (0, Some(stated)) => format!("none seen, but the stream allows {stated}, so some decoders wait"),
        (0, None) => "none seen".to_owned(),
        (1, _) => "B-frames: pictures wait for 1 other".to_owned(),
        (seen, _) => format!("B-frames: pictures wait for up to {seen} others"),
    }
}

fn capture_text(found: &Inspection) -> String {
    let source = match found.capture {
        None => return "no frame came".to_owned(),
        Some(CaptureSource::Arrival) => "when a frame is sent (files and patterns have no clock of their own)",
        Some(CaptureSource::Sensor) => "the camera's clock",
        Some(CaptureSource::Rtcp) => "the camera's sender reports (RTCP)",
    };
    let offset = found.clock_offset.map_or_else(String::new, |offset| format!(", {offset:+.3} s from this machine's"));
    format!("{source}{offset}")
}

fn browser_text(found: &Inspection) -> String {
    let playback = &found.playback;
    let mime = playback.mime.as_ref().map_or_else(String::new, |mime| format!(" [{mime}]"));
    format!("{}: {}{mime}", playback.verdict.as_str(), playback.how)
}

fn decode_text(found: &Inspection) -> String {
    let test = &found.decoding;
    if let Some(reason) = test.absent {
        return format!("cannot decode it: {reason}; it is carried all the same");
    }
    if let Some(error) = &test.error {
        return format!("decodes {} of {} frames tried; then: {error}", test.pictures, test.tried);
    }
    if found.parameters.codec == Codec::Raw {
        return "takes it as pixels".to_owned();
    }
    let each = test.time.as_secs_f64() * 1e3 / f64::from(u32::try_from(test.tried.max(1)).unwrap_or(u32::MAX));
    format!("decodes it: {} pictures of {} frames tried, {each:.1} ms each", test.pictures, test.tried)
}

/// What to do about it.
#[expect(clippy::cast_precision_loss, reason = "seconds")]
fn advice(camera: &CameraConfig, found: &Inspection) -> Vec<String> {
    let mut advice = Vec::new();
    if found.frames == 0 {
        advice.push("no frame came in this time; try a longer --for".to_owned());
    } else if found.keyframes == 0 {
        advice.push(
            "nobody can join a stream without keyframes: set an I-frame interval of 1 to 2 s at the camera, and switch \
             intra refresh off"
                .to_owned(),
        );
    }
    let longest = found.gops.iter().max().copied().unwrap_or(found.frames) as f64;
    let longest = found.measured_fps().map_or(Duration::ZERO, |fps| Duration::from_secs_f64(longest / fps));
    if !found.parameters.codec.is_intra_only() && longest > LONG_GOP {
        advice.push(format!(
            "keyframes are {:.1} s apart: a viewer that joins has to catch up as much; set an I-frame interval of 1 to 2 s \
             at the camera, or codec = \"h264\" with gop = \"2s\"",
            longest.as_secs_f64()
        ));
    }
    if found.seen_reorder > 0 {
        advice.push(
            "B-frames cost latency, a frame each: switch them off at the camera where live pictures count".to_owned(),
        );
    }
    if let Some(remedy) = found.playback.remedy.filter(|_| found.playback.verdict != Verdict::Yes) {
        advice.push(format!("for browsers: {remedy}"));
    }
    if found.parameters.codec == Codec::Raw && camera.encoder(&found.parameters).is_none() {
        advice.push("pixels need an encoder: set codec to h264, jpeg or raw".to_owned());
    }
    if found.damage_count > 0 {
        advice.push("what is damaged is left out and told as a gap, reason source-damaged".to_owned());
    }
    advice
}

fn tell_json(camera: &CameraConfig, found: &Inspection, advice: &[String], output: &mut Output) {
    let (parameters, playback, test) = (&found.parameters, &found.playback, &found.decoding);
    output.summary(
        "cameras",
        json!({
            "action": "test", "source": camera.source.to_string(), "codec": parameters.codec.to_string(),
            "codec_string": parameters.codec_string,
            "profile": parameters.codec_string.as_deref().and_then(profile_and_level),
            "width": parameters.dimensions.width, "height": parameters.dimensions.height,
            "fps_stated": found.stated_rate.map(FrameRate::as_f64), "fps_measured": found.measured_fps(),
            "frames": found.frames, "bytes": found.bytes, "largest_frame_bytes": found.largest_bytes,
            "mbit": found.mbit(), "is_whole": found.is_whole,
            "keyframes": found.keyframes, "gop_min": found.gops.iter().min(), "gop_max": found.gops.iter().max(),
            "reorder_seen": found.seen_reorder, "reorder_stated": found.stated_reorder, "discardable": found.discardable,
            "capture_source": found.capture.map(capture_name), "clock_offset_seconds": found.clock_offset,
            "browser": { "plays": playback.verdict.as_str(), "how": playback.how, "mime": playback.mime },
            "decode": {
                "is_built_in": test.absent.is_none(), "absent": test.absent, "tried": test.tried,
                "pictures": test.pictures, "error": test.error,
            },
            "damaged": found.damage_count, "damages": found.damages, "advice": advice,
        }),
    );
}

fn capture_name(source: CaptureSource) -> &'static str {
    match source {
        CaptureSource::Sensor => "sensor",
        CaptureSource::Rtcp => "rtcp",
        CaptureSource::Arrival => "arrival",
    }
}
