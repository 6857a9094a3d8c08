//! What people and programs get to see: progress, notices, NDJSON, the log.

use crate::arguments::{Global, LogFormat};
use crate::settings::Settings;
use crate::site::LogSettings;
use serde_json::{Map, Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// Version of the `summary` objects.
const SUMMARY_VERSION: u32 = 1;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Known once logging has begun.
static LOG_FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// A line of ours on standard error: as it is, or as an entry of the JSON log, which must stay one object a line.
pub(crate) fn say(level: &str, line: &str) {
    let line = match LOG_FORMAT.get() {
        Some(LogFormat::Json) => {
            let timestamp = jiff::Timestamp::now().to_string();
            let fields = json!({ "message": line.trim() });
            json!({ "timestamp": timestamp, "level": level, "target": "lumenbus", "fields": fields }).to_string()
        }
        _ => line.to_owned(),
    };
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Flag over environment over the settings file.
pub(crate) fn start_logging(global: &Global, file: &LogSettings) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => file.level.as_deref().unwrap_or("warn"),
        (false, 1) => "info",
        _ => "debug",
    };
    // What librdkafka reports is explained by our own messages; its words are for those who ask for more.
    let client = if global.verbose == 0 { "off" } else { level };
    // retina's lines hold addresses as they are, with the tokens in them.
    let usual = || EnvFilter::new(format!("{level},rdkafka={client},librdkafka={client},retina=off"));
    let filter = EnvFilter::try_from_env("LUMENBUS_LOG").unwrap_or_else(|_| usual());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let format = global.log_format.or(file.format).unwrap_or(LogFormat::Text);
    LOG_FORMAT.get_or_init(|| format);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Writes to standard output (results) and standard error (progress).
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    has_terminal: bool,
    last_progress: Option<Instant>,
    is_line_open: bool,
}

impl Output {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { json: settings.json, quiet: settings.quiet, ..Self::silent() }
    }

    /// Before the settings are known.
    pub(crate) fn of_arguments(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet, ..Self::silent() }
    }

    fn silent() -> Self {
        let has_terminal = std::io::stderr().is_terminal();
        Self { json: false, quiet: true, has_terminal, last_progress: None, is_line_open: false }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One line that the next one overwrites; only on a terminal.
    pub(crate) fn progress(&mut self, line: impl FnOnce() -> String) {
        let is_due = self.last_progress.is_none_or(|last| last.elapsed() >= PROGRESS_INTERVAL);
        if !self.has_terminal || self.quiet || self.json || !is_due {
            return;
        }
        self.last_progress = Some(Instant::now());
        self.is_line_open = true;
        drop(write!(std::io::stderr(), "\r\x1b[K{}", line()));
    }

    /// A line for people, on standard error.
    pub(crate) fn note(&mut self, line: &str) {
        self.close_line();
        if !self.quiet && !self.json {
            say("INFO", line);
        }
    }

    /// A line that is the result, for people, on standard output.
    pub(crate) fn result(&mut self, line: &str) {
        self.close_line();
        if !self.json {
            drop(writeln!(std::io::stdout(), "{line}"));
        }
    }

    /// A table for people, on standard output.
    pub(crate) fn columns<const N: usize>(&mut self, titles: [&str; N], rows: &[[String; N]]) {
        let titles = titles.map(str::to_owned);
        let width = |column: usize| rows.iter().chain([&titles]).map(|row| row[column].chars().count()).max();
        let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for row in [&titles].into_iter().chain(rows) {
            let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            self.result(padded.collect::<Vec<_>>().join("  ").trim_end());
        }
    }

    /// An object of the NDJSON output; nothing without `--json`.
    pub(crate) fn object(&mut self, kind: &str, value: Value) {
        if !self.json {
            return;
        }
        let mut object = Map::new();
        object.insert("type".to_owned(), json!(kind));
        if let Value::Object(fields) = value {
            object.extend(fields);
        }
        drop(writeln!(std::io::stdout(), "{}", Value::Object(object)));
    }

    /// The last object.
    pub(crate) fn summary(&mut self, command: &str, value: Value) {
        let mut fields = Map::new();
        fields.insert("version".to_owned(), json!(SUMMARY_VERSION));
        fields.insert("command".to_owned(), json!(command));
        if let Value::Object(more) = value {
            fields.extend(more);
        }
        self.object("summary", Value::Object(fields));
    }

    /// Takes the progress line away: what follows says more.
    pub(crate) fn close_line(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}
