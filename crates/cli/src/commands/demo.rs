//! `lumenbus demo`: moving pictures at once.

use crate::demo::books::{Stretch, shown_stretches};
use crate::demo::{CREDITS, Demo, detection};
use crate::detection::CrewBoard;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::{Row, Screen, Table};
use crate::viewer::{ViewerOptions, announce, viewer_config};
use crate::{signals, units};
use clap::Args;
use lumenbus_pipeline::Shutdown;
use lumenbus_web::ViewerSnapshot;
use serde_json::json;
use std::time::{Duration, Instant};

/// How often the viewer is asked.
const LOOK: Duration = Duration::from_millis(500);
/// How often the table, the journal and the time are looked at.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(
    after_help = "It starts a broker of its own on a free port, with its data in a temporary folder that is removed at the end.\n\nExamples:\n  lumenbus demo\n  lumenbus demo --for 10s --no-browser --no-detect\n\nExit codes: 0 everything adds up, 3 a frame is unaccounted for."
)]
pub(crate) struct DemoArguments {
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// Do not look for what moves
    #[arg(long)]
    no_detect: bool,
    #[command(flatten)]
    viewer: ViewerOptions,
}

pub(crate) fn run(arguments: &DemoArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let shutdown = signals::shutdown(settings.quiet || settings.json)?;
    if settings.has_brokers {
        output.note("the demo brings a broker of its own; --brokers is for the other commands");
    }
    let config = viewer_config(&arguments.viewer, settings)?;
    let detection: Vec<_> = (!arguments.no_detect).then(detection).into_iter().collect();
    let demo = Demo::start(began, settings, config, &detection, |viewer| announce(viewer, &arguments.viewer, output))?;
    let data = demo.stage().folder();
    let (url, brokers) = (demo.viewer().url(), demo.brokers());
    output.object("ready", json!({ "url": url, "brokers": brokers, "data": data.display().to_string() }));
    output.note(&format!("the broker speaks Kafka: `kcat -b {brokers} -L`, or any other client, reads along"));
    output.note(CREDITS);
    let mut screen = Screen::new(settings.quiet || settings.json);
    watch(&demo, arguments.duration, &shutdown, &mut screen, output);
    output.note("closing the books");
    let books = demo.finish();
    output.result("");
    for line in books.lines() {
        output.result(&line);
    }
    output.summary("demo", books.json());
    Ok(if books.is_clean() { Outcome::Done } else { Outcome::ProblemsFound })
}

/// Shows how it goes until the time is up or somebody has seen enough.
fn watch(demo: &Demo, duration: Option<Duration>, shutdown: &Shutdown, screen: &mut Screen, output: &mut Output) {
    let end = duration.map(|duration| Instant::now() + duration);
    let mut board = Board::default();
    loop {
        let news = board.look(demo);
        for what in demo.stage().take_journal().into_iter().chain(news) {
            screen.clear();
            output.note(&what);
            output.object("event", json!({ "what": what }));
        }
        if demo.is_settled() {
            screen.show(|| board.table(demo));
        }
        let left = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()).min(TICK));
        if left.is_zero() || shutdown.is_requested() {
            screen.finish(|| board.table(demo));
            return;
        }
        shutdown.sleep(left);
    }
}

/// What the viewer said last.
#[derive(Default)]
struct Board {
    snapshot: Option<ViewerSnapshot>,
    due: Option<Instant>,
    has_shown: bool,
    crews: CrewBoard,
    detection: Vec<String>,
}

impl Board {
    /// Asks the viewer, now and then; answers that a browser has shown its first picture, once.
    fn look(&mut self, demo: &Demo) -> Option<String> {
        if self.due.is_some_and(|due| Instant::now() < due) {
            return None;
        }
        self.due = Some(Instant::now() + LOOK);
        let crews = demo.crews();
        self.crews.update(&crews);
        self.detection = self.crews.lines(&crews);
        let snapshot = self.snapshot.insert(demo.viewer().snapshot());
        let shown = demo.first_shown(snapshot).filter(|_| !self.has_shown)?;
        self.has_shown = true;
        Some(format!("first picture in a browser {:.2} s after the start", shown.as_secs_f64()))
    }

    fn table(&self, demo: &Demo) -> Table {
        let ledger = demo.reader().ledger();
        let mut rows = ledger.rows(Instant::now());
        let tallies = ledger.tally.streams().map(|(_, tally)| tally);
        let (frames, missing, unexplained) = tallies.fold((0, 0, 0), |(frames, missing, unexplained), tally| {
            let without = tally.unexplained_frames();
            (frames + tally.frames, missing + tally.missing_frames() - without, unexplained + without)
        });
        let is_reading = !ledger.is_disconnected();
        let way = demo.stretches(&ledger);
        drop(ledger);
        let broker = match (demo.stage().is_broker_up(), is_reading) {
            (false, _) => "away",
            (true, false) => "up again",
            (true, true) => "up",
        };
        let mut foot = vec![format!("{frames} frames, {missing} missing and explained, {unexplained} unexplained")];
        if let Some(snapshot) = &self.snapshot {
            add_shown(&mut rows, snapshot);
            foot.extend(against_jpeg(snapshot));
            foot.extend(way_line("to a reader", &way));
            foot.extend(way_line("to a screen", &shown_stretches(snapshot)));
        }
        foot.extend(self.detection.iter().map(|line| format!("detection: {line}")));
        if let Some(slow) = demo.stage().slow_book() {
            foot.push(format!("slow reader of {}: {} frames; left out: {}", slow.camera, slow.frames, slow.reasons()));
        }
        let head = format!("lumenbus demo · {} · broker {} {broker}", demo.viewer().url(), demo.brokers());
        Table { head: vec![head], rows, foot }
    }
}

/// Capture → shown, as pages tell it.
fn add_shown(rows: &mut [Row], snapshot: &ViewerSnapshot) {
    for row in rows {
        let stream = snapshot.streams.iter().find(|stream| stream.camera.as_str() == row.camera);
        let total = stream.and_then(|stream| stream.stages.get("total"));
        row.shown_ms = total.map(|total| (total.p50_ms, total.p99_ms));
    }
}

fn against_jpeg(snapshot: &ViewerSnapshot) -> Option<String> {
    let against = snapshot.totals.jpeg_ratio?;
    let (coded, jpeg, ratio) = (against.coded_mbit, against.jpeg_mbit, against.ratio);
    let ssim = against.coded_ssim.zip(against.jpeg_ssim);
    let ssim = ssim.map_or_else(String::new, |(coded, jpeg)| format!(", SSIM {coded:.3} instead of {jpeg:.3}"));
    Some(format!("against JPEG: {coded:.2} instead of {jpeg:.2} Mbit/s, {ratio:.1} times less{ssim}"))
}

/// Each part of the way with its median and 99th percentile.
fn way_line(where_to: &str, way: &[Stretch]) -> Option<String> {
    // The table has this one for each camera.
    let parts = way
        .iter()
        .filter(|part| part.key != "delivered")
        .map(|part| format!("{} {:.0}/{:.0}", part.key, part.p50_ms, part.p99_ms));
    (!way.is_empty()).then(|| format!("{where_to}, ms: {}", parts.collect::<Vec<_>>().join(", ")))
}
