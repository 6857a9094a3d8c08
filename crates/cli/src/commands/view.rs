//! `lumenbus view`: the web viewer alone.

use crate::exit::{Outcome, Usage};
use crate::observe::{LOOK_INTERVAL, STATISTICS_INTERVAL, show_clients};
use crate::output::Output;
use crate::settings::Settings;
use crate::studies::StudiesOptions;
use crate::viewer::{ViewerOptions, announce, viewer_config};
use crate::{signals, units};
use anyhow::Context as _;
use clap::Args;
use lumenbus_bus::subscriber::CameraFilter;
use lumenbus_ops::ClusterWatch;
use lumenbus_web::{Viewer, ViewerSnapshot};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lumenbus view\n  lumenbus view --camera 'gate-*' --listen 127.0.0.1:8990 --no-browser\n  lumenbus view --listen 0.0.0.0:8980 --https self-signed\n  lumenbus view --listen 0.0.0.0:8980 --token-file viewer.token --https cert=cert.pem,key=key.pem"
)]
pub(crate) struct ViewArguments {
    #[command(flatten)]
    pub(crate) viewer: ViewerOptions,
    #[command(flatten)]
    pub(crate) studies: StudiesOptions,
    /// Cameras to show, by pattern [default: all]
    #[arg(long, value_name = "GLOB")]
    pub(crate) camera: Vec<String>,
    /// Title of the page
    #[arg(long, value_name = "TEXT", default_value = "lumenbus")]
    pub(crate) title: String,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
}

pub(crate) fn run(arguments: &ViewArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut config = viewer_config(&arguments.viewer, settings)?;
    config.cameras = CameraFilter::new(&arguments.camera).map_err(|error| Usage(format!("--camera: {error}")))?;
    config.title.clone_from(&arguments.title);
    config.studies = Some(arguments.studies.config("view", &settings.bus));
    lumenbus_bus::probe(&settings.bus).map_err(lumenbus_bus::BusError::from)?;
    let shutdown = signals::shutdown(settings.quiet)?;
    config.health_facts = Arc::new(ClusterWatch::start(settings.bus.clone(), LOOK_INTERVAL, None, &config.metrics)?);
    config.bus.statistics_interval = Some(STATISTICS_INTERVAL);
    let metrics = config.metrics.clone();
    let viewer = Viewer::start(config).context("cannot start the viewer")?;
    show_clients(&metrics, vec![viewer.client_statistics()]);
    announce(&viewer, &arguments.viewer, output);
    output.note("Ctrl-C stops it");
    shutdown.sleep(arguments.duration.unwrap_or(units::FOREVER));
    let snapshot = viewer.snapshot();
    viewer.close();
    output.note(&last_line(&snapshot));
    output.summary("view", summary(&snapshot));
    Ok(Outcome::Done)
}

fn last_line(snapshot: &ViewerSnapshot) -> String {
    let totals = &snapshot.totals;
    format!(
        "{} streams, {} frames, {} missing, {} unexplained",
        snapshot.streams.len(),
        totals.frames,
        totals.missing,
        totals.unexplained
    )
}

fn summary(snapshot: &ViewerSnapshot) -> Value {
    let streams = snapshot.streams.iter().map(|stream| {
        let gaps: Value = stream.gaps.iter().map(|(reason, frames)| (reason.to_string(), json!(frames))).collect();
        json!({
            "camera": stream.camera.as_str(), "topic": stream.stream.as_ref().map(|id| id.topic.as_str()),
            "state": stream.state.as_str(), "frames": stream.frames, "bytes": stream.bytes, "missing": gaps,
            "open_gaps": stream.open_gaps, "unexplained": stream.unexplained, "repeated": stream.repeated,
            "skipped": stream.skipped,
        })
    });
    json!({ "streams": streams.collect::<Vec<_>>(), "totals": snapshot.totals })
}
