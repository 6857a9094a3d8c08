//! `lumenbus up`: the whole box of one settings file.

use crate::detection::{CrewBoard, CrewChanges, DetectOptions, changes_json, changes_line, crew_json};
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::site::signals::{self, Requests};
use crate::site::{self, Applied, Board, NodeBoard, Running, Site, Stopped, Watch, share_head};
use crate::studies::StudiesOptions;
use crate::terminal::Screen;
use crate::units;
use crate::viewer::ViewerOptions;
use crate::webhook::{self, WebhookBoard, WebhookChanges};
use clap::Args;
use lumenbus_bus::BusConfig;
use lumenbus_bus::publisher::{StreamStats, StreamSummary};
use lumenbus_frame::CameraId;
use lumenbus_pipeline::fleet::{CameraCodec, CameraConfig, CameraStatus, Changes, FleetError, ShareStatus};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often cameras and signals are looked at.
const TICK: Duration = Duration::from_millis(200);
/// With `--json`: how often numbers are told.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// So many cameras are told one by one at the end.
const MAX_TOLD_CAMERAS: usize = 50;

#[derive(Debug, Args)]
#[command(
    after_help = "Runs what lumenbus.toml (or --config FILE) says: the embedded broker or a cluster, cameras, detection, webhooks, viewer.\nCameras, [[detect]] and [[webhook]] sections that change in the file are followed within two seconds; SIGHUP does it at once.\nA file that is wrong is refused, and what runs goes on.\n\nExamples:\n  lumenbus init && lumenbus up\n  lumenbus up --config /etc/lumenbus/lumenbus.toml --log-format json"
)]
pub(crate) struct UpArguments {
    #[command(flatten)]
    pub(crate) viewer: ViewerOptions,
    #[command(flatten)]
    pub(crate) studies: StudiesOptions,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,
}

pub(crate) fn run(arguments: &UpArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let Some(site) = settings.site.as_deref() else {
        let file = site::FILE_NAME;
        return Err(Usage(format!("there is no {file} here; write one with `lumenbus init`, or pass --config")).into());
    };
    let requests = signals::listen(settings.quiet)?;
    // Before anything starts, so that no change is missed.
    let watch = Watch::new(site);
    let running = Running::start(site, settings, (&arguments.viewer, &arguments.studies), output)?;
    if settings.has_brokers && site.broker.is_some() {
        output.note("brokers are named, so the embedded broker of [broker] is not started");
    }
    let mut session = Session::new(site, watch, running);
    let applied = session.running.apply(site);
    session.tell_ready(output);
    session.tell_refused(&applied.cameras, output);
    tell_refused_crews(&applied.crews, output);
    tell_refused_webhooks(&applied.webhooks, output);
    session.run(arguments.duration, settings, &requests, output);
    output.note("stopping");
    let stopped = session.running.stop()?;
    tell_stopped(&stopped, output);
    let is_clean = stopped.totals.unfinished_streams == 0 && stopped.totals.unresolved_frames == 0;
    Ok(if is_clean { Outcome::Done } else { Outcome::ProblemsFound })
}

/// A box from its start to its stop.
struct Session<'a> {
    /// As it was started.
    site: &'a Site,
    watch: Watch,
    running: Running,
    board: Board,
    crews: CrewBoard,
    webhooks: WebhookBoard,
    nodes: NodeBoard,
    status_due: Instant,
}

impl<'a> Session<'a> {
    fn new(site: &'a Site, watch: Watch, running: Running) -> Self {
        let status_due = Instant::now() + STATUS_INTERVAL;
        let (board, crews, nodes) = (Board::default(), CrewBoard::default(), NodeBoard::default());
        let webhooks = WebhookBoard::default();
        Self { site, watch, running, board, crews, webhooks, nodes, status_due }
    }

    fn tell_ready(&self, output: &mut Output) {
        let enabled = self.site.cameras.iter().filter(|camera| camera.enabled);
        let cameras = enabled.map(|camera| &camera.id).collect::<BTreeSet<_>>().len();
        output.object(
            "ready",
            json!({
                "config": self.site.path.display().to_string(), "brokers": self.running.bus.brokers,
                "is_embedded": self.running.broker.is_some(), "cameras": cameras,
                "detect": self.site.detects.iter().map(DetectOptions::group).collect::<Vec<_>>(),
                "webhooks": self.site.webhooks.iter().map(|webhook| &webhook.name).collect::<Vec<_>>(),
            }),
        );
        let broker = match &self.running.broker {
            Some(broker) => format!("embedded broker on {}, data in {}", broker.addr(), broker.data_dir().display()),
            None => format!("brokers {}", self.running.bus.brokers),
        };
        output.result(&format!("{}: {cameras} cameras; {broker}; Ctrl-C stops", self.site.path.display()));
        if self.running.broker.as_ref().is_some_and(|broker| !broker.addr().ip().is_loopback()) {
            output.note("the broker listens beyond loopback without encryption or passwords: keep its network closed");
        }
        tell_uncompressed(&self.site.cameras, &self.running.bus, output);
        if cameras == 0 {
            output.note("no camera is configured; add one with `lumenbus cameras add ID SOURCE`, also while this runs");
        }
    }

    /// Until a signal or the end of the time.
    fn run(&mut self, duration: Option<Duration>, settings: &Settings, requests: &Requests, output: &mut Output) {
        let end = duration.map(|duration| Instant::now() + duration);
        let is_shown = std::io::stderr().is_terminal() && !settings.json && !settings.quiet;
        let mut screen = Screen::new(!is_shown);
        while !requests.shutdown.is_requested() && end.is_none_or(|end| Instant::now() < end) {
            if let Some(changed) = self.watch.poll(requests.take_reload()) {
                screen.clear();
                self.reload(changed, output);
            }
            // The library logs them; they are only taken so that none is forgotten.
            while self.running.publisher.next_event(Duration::ZERO).is_some() {}
            let cameras = self.running.fleet.status();
            let crews = self.running.crews();
            let webhooks = self.running.webhooks();
            self.running.note_health(&cameras, &crews, &webhooks);
            for camera in self.board.update(&cameras) {
                output.object("camera", state_json(camera));
            }
            let share = self.running.fleet.sharing();
            if let Some(nodes) = share.as_ref().and_then(|share| self.nodes.update(share)) {
                output.object("fleet", nodes);
            }
            for crew in self.crews.update(&crews) {
                output.object("detect", crew_json(crew));
            }
            for webhook in self.webhooks.update(&webhooks) {
                output.object("webhook", webhook::status_json(webhook));
            }
            if Instant::now() >= self.status_due {
                self.status_due = Instant::now() + STATUS_INTERVAL;
                let cameras: Vec<_> = cameras.iter().map(|camera| self.status_json(camera)).collect();
                let crews: Vec<_> = crews.iter().map(|crew| self.crews.json(crew)).collect();
                let webhooks: Vec<_> = webhooks.iter().map(webhook::status_json).collect();
                output.object("status", json!({ "cameras": cameras, "detect": crews, "webhooks": webhooks }));
            }
            screen.show(|| {
                let seen = self.running.viewer.as_ref().map(|viewer| viewer.snapshot().streams).unwrap_or_default();
                let mut table = self.board.table(self.head(share.as_ref()), &cameras, &seen);
                table.foot.extend(self.crews.lines(&crews));
                table.foot.extend(self.webhooks.lines(&webhooks));
                table
            });
            requests.shutdown.sleep(end.map_or(TICK, |end| TICK.min(end.saturating_duration_since(Instant::now()))));
        }
        screen.clear();
    }

    fn head(&self, share: Option<&ShareStatus>) -> Vec<String> {
        let viewer = self.running.viewer.as_ref().map_or_else(String::new, |viewer| format!(" · {}", viewer.url()));
        let own = format!("lumenbus up · {}{viewer} · broker {}", self.site.path.display(), self.running.bus.brokers);
        [own].into_iter().chain(share.map(share_head)).collect()
    }

    /// The file is another: cameras follow, a wrong one changes nothing.
    fn reload(&mut self, changed: anyhow::Result<Site>, output: &mut Output) {
        let path = self.site.path.display();
        let new = match changed {
            Ok(new) => new,
            Err(error) => {
                tracing::error!("{path} has changed and is not taken; what runs goes on as it was: {error:#}");
                output.object("reload", json!({ "is_taken": false, "error": format!("{error:#}") }));
                return;
            }
        };
        let Applied { cameras: changes, crews, webhooks } = self.running.apply(&new);
        tell_uncompressed(&new.cameras, &self.running.bus, output);
        let next_start = self.site.frozen_changes(&new);
        output.object("reload", reload_json(&changes, &crews, &webhooks, &next_start));
        let others = [changes_line(&crews), webhook::changes_line(&webhooks)];
        let others: String = others.into_iter().flatten().map(|line| format!("; {line}")).collect();
        if !changes.is_empty() || !crews.is_empty() || !webhooks.is_empty() || next_start.is_empty() {
            output.note(&format!("{path} has changed: {}{others}", counts(&changes)));
        }
        if !next_start.is_empty() {
            let what = next_start.join(", ");
            output.note(&format!("{path}: changes of {what} count from the next start of `lumenbus up` on"));
        }
        self.tell_refused(&changes, output);
        tell_refused_webhooks(&webhooks, output);
    }

    #[expect(clippy::unused_self, reason = "one of the session's voices")]
    fn tell_refused(&self, changes: &Changes, output: &mut Output) {
        for (camera, error) in &changes.refused {
            output.note(&format!("camera {camera} is not taken: {error}"));
        }
    }

    fn status_json(&self, camera: &CameraStatus) -> Value {
        let (fps, mbit) = self.board.rates(camera);
        let stats = camera.stats.as_ref();
        json!({
            "camera": camera.id.as_str(), "stream": camera.stream_name.as_str(), "state": camera.state.as_str(), "fps": fps, "mbit": mbit,
            "published": stats.map(|stats| stats.submitted_frames),
            "acknowledged": stats.map(|stats| stats.acknowledged_frames),
            "missing": stats.map(StreamStats::dropped_frames),
            "restarts": camera.restarts,
        })
    }
}

fn tell_refused_crews(changes: &CrewChanges, output: &mut Output) {
    for (group, why) in &changes.refused {
        output.note(&format!("detection of group {group} is not taken: {why}"));
    }
}

fn tell_refused_webhooks(changes: &WebhookChanges, output: &mut Output) {
    for (name, why) in &changes.refused {
        output.note(&format!("webhook {name} is not taken: {why}"));
    }
}

/// One producer sends everything, and a producer compresses all topics or none.
fn tell_uncompressed(cameras: &[CameraConfig], bus: &BusConfig, output: &mut Output) {
    const COMPRESSION: [&str; 2] = ["compression.type", "compression.codec"];
    let is_raw = |camera: &&CameraConfig| camera.enabled && camera.codec == CameraCodec::Raw;
    let raw: Vec<_> = cameras.iter().filter(is_raw).map(|camera| camera.id.as_str()).collect();
    if !raw.is_empty() && !COMPRESSION.iter().any(|name| bus.properties.contains_key(*name)) {
        output.note(&format!(
            "raw pixels go uncompressed here (cameras {}); `lumenbus publish` sends them with lz4, and so does [kafka] \
             \"compression.type\" = \"lz4\", which costs coded frames some time and saves nothing of them",
            raw.join(", ")
        ));
    }
}

fn state_json(camera: &CameraStatus) -> Value {
    json!({
        "camera": camera.id.as_str(), "stream": camera.stream_name.as_str(), "state": camera.state.as_str(),
        "reason": camera.state.reason().map(|reason| &**reason),
        "codec": camera.codec.map(|codec| codec.to_string()),
        "topic": camera.stream.as_ref().map(|stream| stream.topic.as_str()),
        "epoch": camera.stats.as_ref().map(|stats| stats.epoch.to_string()),
        "source": camera.source, "restarts": camera.restarts,
    })
}

fn names(cameras: &[CameraId]) -> Vec<&str> {
    cameras.iter().map(CameraId::as_str).collect()
}

fn reload_json(changes: &Changes, crews: &CrewChanges, webhooks: &WebhookChanges, next_start: &[&str]) -> Value {
    let refused =
        |(camera, error): &(CameraId, FleetError)| json!({ "camera": camera.as_str(), "why": error.to_string() });
    json!({
        "is_taken": true, "added": names(&changes.added), "changed": names(&changes.changed),
        "described": names(&changes.described), "removed": names(&changes.removed), "unchanged": names(&changes.unchanged),
        "refused": changes.refused.iter().map(refused).collect::<Vec<_>>(), "next_start": next_start,
        "detect": changes_json(crews), "webhooks": webhook::changes_json(webhooks),
    })
}

/// `added gate, yard; removed old; 3 cameras go on untouched`
fn counts(changes: &Changes) -> String {
    let rows = [
        ("added", &changes.added),
        ("restarted", &changes.changed),
        ("described anew", &changes.described),
        ("removed", &changes.removed),
    ];
    let told = rows.iter().filter(|(_, cameras)| !cameras.is_empty());
    let mut parts: Vec<_> = told.map(|(what, cameras)| format!("{what} {}", names(cameras).join(", "))).collect();
    parts.push(match changes.unchanged.len() {
        1 => "1 camera goes on untouched".to_owned(),
        count => format!("{count} cameras go on untouched"),
    });
    parts.join("; ")
}

fn tell_stopped(stopped: &Stopped, output: &mut Output) {
    for (camera, ended) in stopped.cameras.iter().take(MAX_TOLD_CAMERAS) {
        output.result(&match ended {
            Ok(summary) => {
                let stats = &summary.stats;
                let (published, in_log, missing) =
                    (stats.submitted_frames, stats.acknowledged_frames, stats.dropped_frames());
                format!("{camera}: {published} frames published, {in_log} in the log, {missing} missing and explained")
            }
            Err(error) => error.to_string(),
        });
    }
    if stopped.cameras.len() > MAX_TOLD_CAMERAS {
        output.result(&format!("and {} more cameras", stopped.cameras.len() - MAX_TOLD_CAMERAS));
    }
    for crew in &stopped.crews {
        let (counts, written) = (&crew.sums.counts, &crew.sums.written);
        let (group, looked_at, found, results) = (&crew.group, counts.analysed, counts.detections, written.results);
        output.result(&format!("{group}: {looked_at} pictures looked at, {found} found, {results} results committed"));
    }
    for line in WebhookBoard::default().lines(&stopped.webhooks) {
        output.result(&line);
    }
    let totals = &stopped.totals;
    if totals.unfinished_streams > 0 {
        let (streams, open) = (totals.unfinished_streams, totals.unresolved_frames);
        output.note(&format!("{streams} streams have no end in the log; {open} frames were not acknowledged"));
    }
    let ended = |(camera, ended): &(CameraId, Result<_, FleetError>)| match ended {
        Ok(StreamSummary { stats, is_end_written, .. }) => json!({
            "camera": camera.as_str(), "published": stats.submitted_frames, "acknowledged": stats.acknowledged_frames,
            "missing": stats.dropped_frames(), "clean": is_end_written,
        }),
        Err(error) => json!({ "camera": camera.as_str(), "error": error.to_string() }),
    };
    let drops: Value = totals.drops.iter().map(|(reason, frames)| (reason.to_string(), json!(frames))).collect();
    output.summary(
        "up",
        json!({
            "published": totals.submitted_frames, "acknowledged": totals.acknowledged_frames,
            "repeated": totals.repeated_frames, "unresolved": totals.unresolved_frames, "gaps": drops,
            "bytes": totals.acknowledged_bytes, "streams": totals.ended_streams,
            "clean": totals.unfinished_streams == 0,
            "cameras": stopped.cameras.iter().map(ended).collect::<Vec<_>>(),
            "detect": stopped.crews.iter().map(crew_json).collect::<Vec<_>>(),
            "webhooks": stopped.webhooks.iter().map(webhook::status_json).collect::<Vec<_>>(),
        }),
    );
}
