//! A camera on the network: published until somebody ends it, whatever happens to the camera meanwhile.
//!
//! It is a fleet of one: the same code that runs many cameras reconnects, tells readers and goes on in the same stream.

use super::{FINISH, Stills, publisher_config, rate, tell};
use crate::arguments::{CodecChoice, PublishArguments};
use crate::exit::{Outcome, Usage};
use crate::observe::Observation;
use crate::output::Output;
use crate::settings::Settings;
use lumenbus_bus::publisher::Publisher;
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::fleet::{
    CameraCodec, CameraConfig, CameraSource, CameraState, CameraStatus, Fleet, FleetConfig,
};
use lumenbus_pipeline::publish::snapshot_stream;
use lumenbus_source::redact;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the camera is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn run(
    arguments: &PublishArguments,
    settings: &Settings,
    shutdown: &Shutdown,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let camera = camera(arguments)?;
    let mut observed = Observation::start(&arguments.observe, settings, output)?;
    let mut config = publisher_config(arguments, settings);
    config.tracer = observed.tracer();
    let publisher = Arc::new(Publisher::open(config)?);
    observed.publisher(&publisher, settings)?;
    let fleet = Fleet::start(Arc::clone(&publisher), FleetConfig::new(settings.bus.topic_prefix.clone()));
    let began = Instant::now();
    output.note(&format!("connecting to {}", redact(&arguments.source)));
    drop(fleet.apply(vec![camera]));
    let watched = watch(&fleet, arguments, began, shutdown, output);
    let elapsed = began.elapsed();
    output.progress(|| "waiting for Kafka to take the rest".to_owned());
    let last = fleet.status().pop();
    let ended = fleet.finish(FINISH).pop();
    let made = fleet.totals().acknowledged_stills;
    drop(fleet);
    observed.finish();
    if let Some(publisher) = Arc::into_inner(publisher) {
        drop(publisher.close(FINISH));
    }
    let is_up = watched?;
    let (Some((_, summary)), Some(CameraStatus { report, stream: Some(stream), .. })) = (ended, last) else {
        anyhow::bail!("stopped before {} gave its first frame", redact(&arguments.source));
    };
    let summary = summary?;
    let stills = arguments.snapshots.and_then(|_| snapshot_stream(&stream, &settings.bus.topic_prefix).ok());
    let stills = stills.map(|stream| Stills { stream, frames: made });
    tell(output, &stream, &report, &summary, stills.as_ref(), elapsed);
    let is_whole = summary.stats.dropped_frames() == 0 && summary.is_end_written && is_up;
    Ok(if is_whole { Outcome::Done } else { Outcome::ProblemsFound })
}

fn camera(arguments: &PublishArguments) -> anyhow::Result<CameraConfig> {
    let refuse = |option: &str| Usage(format!("{option} means nothing for a live camera; leave it out"));
    if arguments.is_looped {
        return Err(refuse("--loop").into());
    }
    if arguments.unpaced {
        return Err(refuse("--unpaced").into());
    }
    if arguments.encoder.is_some() {
        return Err(Usage("--encoder cannot be chosen for a live camera; leave it out".to_owned()).into());
    }
    let source = CameraSource::Spec(arguments.source.clone());
    source.check()?;
    let mut camera = CameraConfig::new(arguments.camera.clone(), source);
    camera.credentials = arguments.credentials.read_for(&arguments.source)?;
    (camera.name, camera.group) = (arguments.name.clone(), arguments.camera_group.clone());
    camera.codec = match arguments.codec {
        None => CameraCodec::Auto,
        Some(CodecChoice::Passthrough) => CameraCodec::Passthrough,
        Some(CodecChoice::H264) => CameraCodec::H264,
        Some(CodecChoice::Av1) => CameraCodec::Av1,
        Some(CodecChoice::Jpeg) => CameraCodec::Jpeg,
        Some(CodecChoice::Webp) => CameraCodec::Webp,
        Some(CodecChoice::Png) => CameraCodec::Png,
        Some(CodecChoice::Jpeg2000) => CameraCodec::Jpeg2000,
        Some(CodecChoice::Raw) => CameraCodec::Raw,
    };
    (camera.bitrate, camera.quality, camera.fps) = (arguments.bitrate, arguments.quality, arguments.fps);
    (camera.video, camera.deadline) = (arguments.video.options(), arguments.deadline);
    (camera.topic, camera.stream) = (arguments.topic.clone(), arguments.stream.clone());
    camera.snapshots = arguments.snapshots;
    Ok(camera)
}

/// Until the end of the time or Ctrl-C; whether the camera gave frames all the time.
///
/// # Errors
/// When it never gave one: there is no use in waiting for a wrong address or password.
fn watch(
    fleet: &Fleet,
    arguments: &PublishArguments,
    began: Instant,
    shutdown: &Shutdown,
    output: &mut Output,
) -> anyhow::Result<bool> {
    let mut before = CameraState::Starting;
    let mut is_up = true;
    loop {
        // A fleet is asked; it calls nobody.
        let Some(status) = fleet.status().pop() else { return Ok(is_up) };
        if status.state != before {
            tell_state(&status, output);
            is_up &= !matches!(status.state, CameraState::Offline { .. });
            before = status.state.clone();
        }
        if let CameraState::Failed { reason } = &status.state {
            anyhow::bail!("{reason}");
        }
        let elapsed = began.elapsed();
        if shutdown.is_requested() || arguments.duration.is_some_and(|whole| elapsed >= whole) {
            return Ok(is_up);
        }
        output.progress(|| format!("{} frames, {}", status.report.frames, rate(&status.report, elapsed)));
        let left = arguments.duration.map_or(LOOK, |whole| whole.saturating_sub(elapsed));
        shutdown.sleep(left.min(LOOK));
    }
}

fn tell_state(status: &CameraStatus, output: &mut Output) {
    let reason = status.state.reason();
    let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let stream = status.stream.as_ref().map_or_else(|| status.id.to_string(), ToString::to_string);
    let codec = status.codec.map_or_else(String::new, |codec| format!(" ({codec})"));
    output.note(&format!("{stream}{codec} is {}{why}", status.state.as_str()));
    let (state, restarts) = (status.state.as_str(), status.restarts);
    output.object(
        "camera",
        json!({ "camera": status.id.as_str(), "state": state, "reason": reason.map(|reason| &**reason), "restarts": restarts }),
    );
}
