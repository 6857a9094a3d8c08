//! `lumenbus dicom queue list|drop|trim`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::units;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use lumenbus_bus::BusError;
use lumenbus_dicom::transport::Family;
use lumenbus_dicom::transport::destinations::drop_destination;
use lumenbus_dicom::transport::queue::{self, Kept, Waiting};
use serde_json::json;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    after_help = "A destination is a consumer group of `dicom receive`. It stays registered while it is away, and what it does not have stays\nin the topics.\n\nExamples:\n  lumenbus dicom queue list\n  lumenbus dicom queue drop old-archive\n  lumenbus dicom queue trim --dry-run"
)]
pub(crate) struct QueueArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What each destination does not have yet
    List(ListArguments),
    /// Keep nothing for a destination any more
    Drop(DropArguments),
    /// Delete from the topics what every destination has
    Trim(TrimArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Exit code 3 when more than this waits for a destination, such as 50GiB
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    max_bytes: Option<usize>,
    /// Exit code 3 when an object has waited for longer than this
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    max_age: Option<Duration>,
}

#[derive(Debug, Args)]
struct DropArguments {
    /// Its name
    destination: String,
}

#[derive(Debug, Args)]
struct TrimArguments {
    /// Keep younger chunks, which may belong to objects that are being sent: no object may take longer to send
    #[arg(long, value_parser = units::duration, default_value = "24h", value_name = "TIME")]
    grace: Duration,
    /// Delete from the topics of de-identified objects
    #[arg(long)]
    deidentified: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
}

impl QueueArguments {
    pub(super) fn name(&self) -> &'static str {
        match &self.what {
            What::List(_) => "dicom queue list",
            What::Drop(_) => "dicom queue drop",
            What::Trim(_) => "dicom queue trim",
        }
    }
}

pub(super) fn run(arguments: &QueueArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    lumenbus_bus::probe(&settings.bus).map_err(BusError::from)?;
    match &arguments.what {
        What::List(list) => list.run(settings, output),
        What::Drop(drop) => drop.run(settings, output),
        What::Trim(trim) => trim.run(settings, output),
    }
}

impl ListArguments {
    fn run(&self, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
        let now_millis = Timestamp::now().as_millisecond();
        let queues = queue::list(&settings.bus)?;
        let age = |waiting: &Waiting| {
            let millis = waiting.oldest_unix_millis.map(|oldest| now_millis.saturating_sub(oldest));
            millis.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
        };
        let mut rows = Vec::new();
        let mut is_beyond = false;
        for waiting in &queues {
            let age = age(waiting);
            let is_large = self.max_bytes.is_some_and(|most| waiting.bytes > most as u64);
            let is_old = self.max_age.zip(age).is_some_and(|(most, age)| age > most);
            is_beyond |= is_large || is_old;
            let seconds = age.map(|age| age.as_secs());
            rows.push([
                waiting.destination.clone(),
                waiting.objects.to_string(),
                units::show_bytes(waiting.bytes),
                seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s")),
                waiting.failed.to_string(),
            ]);
            output.object(
                "destination",
                json!({
                    "destination": waiting.destination, "deidentified": waiting.family == Family::Deidentified, "objects": waiting.objects, "bytes": waiting.bytes,
                    "oldest_seconds": seconds, "failed": waiting.failed, "has_committed": waiting.has_committed,
                    "registered_unix_millis": waiting.registered_unix_millis, "beyond": is_large || is_old,
                }),
            );
        }
        if queues.is_empty() {
            output.note("no destination is registered; `lumenbus dicom receive` registers its group");
        } else {
            output.columns(["DESTINATION", "WAITING", "BYTES", "OLDEST", "FAILED"], &rows);
        }
        output.summary("dicom queue list", json!({ "destinations": queues.len(), "beyond": is_beyond }));
        Ok(if is_beyond { Outcome::ProblemsFound } else { Outcome::Done })
    }
}

impl DropArguments {
    fn run(&self, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
        drop_destination(&settings.bus, &self.destination)?;
        let forgotten = queue::forget_failures(&settings.bus, &self.destination)?;
        output.result(&format!(
            "dropped {}; `lumenbus dicom queue trim` deletes what nobody else needs",
            self.destination
        ));
        let dropped = json!({ "destination": self.destination, "failures_forgotten": forgotten });
        output.summary("dicom queue drop", dropped);
        Ok(Outcome::Done)
    }
}

impl TrimArguments {
    fn run(&self, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
        let family = if self.deidentified { Family::Deidentified } else { Family::Original };
        let trim = queue::trim(&settings.bus, family, self.grace, self.dry_run)?;
        let done = if self.dry_run { "would delete" } else { "deleted" };
        match trim.kept {
            Some(Kept::NoDestination) => {
                output.result("nothing is deleted: no destination is registered");
            }
            None => output.result(&format!(
                "{done} {} records of metadata and {} of pixels",
                trim.metadata_records, trim.pixel_records
            )),
        }
        output.summary(
            "dicom queue trim",
            json!({
                "metadata_records": trim.metadata_records, "pixel_records": trim.pixel_records,
                "dry_run": self.dry_run, "kept": trim.kept.map(|_| "no-destination"),
            }),
        );
        Ok(Outcome::Done)
    }
}
