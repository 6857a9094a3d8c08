//! `lumenbus demo`: moving pictures at once.

use crate::demo::{CREDITS, Demo};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::{Screen, Table};
use crate::{signals, units};
use clap::Args;
use lumenbus_pipeline::Shutdown;
use serde_json::json;
use std::time::{Duration, Instant};

/// How often the table, the journal and the time are looked at.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(
    after_help = "It starts a broker of its own on a free port, with its data in a temporary folder that is removed at the end.\n\nExamples:\n  lumenbus demo\n  lumenbus demo --for 10s --no-browser\n\nExit codes: 0 everything adds up, 3 a frame is unaccounted for."
)]
pub(crate) struct DemoArguments {
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    duration: Option<Duration>,
}

pub(crate) fn run(arguments: &DemoArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let shutdown = signals::shutdown(settings.quiet || settings.json)?;
    if settings.has_brokers {
        output.note("the demo brings a broker of its own; --brokers is for the other commands");
    }
    let demo = Demo::start(began, settings)?;
    output.object("ready", json!({ "brokers": demo.brokers() }));
    output.note(CREDITS);
    let mut screen = Screen::new(settings.quiet || settings.json);
    watch(&demo, arguments.duration, &shutdown, &mut screen, output);
    screen.clear();
    output.note("closing the books");
    let books = demo.finish();
    for line in books.lines() {
        output.result(&line);
    }
    output.summary("demo", books.json());
    Ok(if books.is_clean() { Outcome::Done } else { Outcome::ProblemsFound })
}

/// Shows how it goes until the time is up or somebody has seen enough.
fn watch(demo: &Demo, duration: Option<Duration>, shutdown: &Shutdown, screen: &mut Screen, output: &mut Output) {
    let end = duration.map(|duration| Instant::now() + duration);
    loop {
        for what in demo.stage().take_journal() {
            screen.clear();
            output.note(&what);
            output.object("event", json!({ "what": what }));
        }
        screen.show(|| table(demo));
        let left = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()).min(TICK));
        if left.is_zero() || shutdown.is_requested() {
            return;
        }
        shutdown.sleep(left);
    }
}

fn table(demo: &Demo) -> Table {
    let ledger = demo.reader().ledger();
    let rows = ledger.rows(Instant::now());
    let (frames, missing) = ledger
        .tally
        .streams()
        .fold((0, 0), |(frames, missing), (_, tally)| (frames + tally.frames, missing + tally.missing_frames()));
    drop(ledger);
    let broker = if demo.stage().is_broker_up() { "up" } else { "killed, on its way back" };
    Table {
        head: vec![format!("broker {} {broker}", demo.brokers())],
        rows,
        foot: vec![format!("{frames} frames, {missing} missing")],
    }
}
