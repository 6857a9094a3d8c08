//! `lumenbus dicom receive --out DIR`.

use super::hex;
use super::record::{self, Moved};
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::trail::{AuditOptions, Trail};
use crate::{signals, units};
use clap::{Args, ValueEnum};
use lumenbus_bus::BusError;
use lumenbus_dicom::layout::{DEFAULT_LAYOUT, Layout};
use lumenbus_dicom::transport::{Ending, Family, Receiver, ReceiverConfig, ReceiverStats, Told};
use lumenbus_ops::audit::{AuditError, AuditEvent};
use serde_json::json;
use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The group where none is named.
pub(super) const DEFAULT_GROUP: &str = "lumenbus-dicom";
/// So many failures are told one by one to people.
const MAX_TOLD: u64 = 20;
/// How often a trouble that lasts is told.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
#[command(
    after_help = "A file gets its name when both checksums are right and the disk has it; until then it is in DIR/.lumenbus-receiving.\nWhat is in its place already, byte for byte, is not written again. Another object for the same name gets ~ and the\nbeginning of its SHA-256 added. The group is a destination: until it is dropped (`lumenbus dicom queue drop`), the\ntopics keep what it does not have. Objects that cannot be delivered are in dicom_failed.\nExit code 3 when an object could not be delivered.\n\nExamples:\n  lumenbus dicom receive --out archive/\n  lumenbus dicom receive --out research/ --group research --layout '{StudyDate}/{SOPInstanceUID}.dcm' --until-end"
)]
pub(crate) struct ReceiveArguments {
    /// Folder of all objects
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Names of files: text and attributes in braces, such as {PatientID}, {StudyDate}, {Modality}, and {SHA256}
    #[arg(long, value_name = "PATTERN", default_value = DEFAULT_LAYOUT)]
    layout: String,
    /// Consumer group, which is the destination's name
    #[arg(long, value_name = "NAME", default_value = DEFAULT_GROUP)]
    group: String,
    /// Receive de-identified objects, from dicom_deid_metadata and dicom_deid_pixels
    #[arg(long)]
    deidentified: bool,
    /// Begin where the group is, or at the beginning of what the topics have
    #[arg(long, value_name = "WHERE", value_enum, default_value = "group")]
    from: From,
    /// Stop when everything that is there has been delivered
    #[arg(long)]
    until_end: bool,
    /// First try again what could not be delivered
    #[arg(long)]
    retry_failed: bool,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// Print where files are, though that tells of patients
    #[arg(long)]
    show_paths: bool,
    #[command(flatten)]
    audit: AuditOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// Where the group is; a new one begins at the beginning
    Group,
    /// At the beginning
    Start,
}

pub(crate) fn run(arguments: &ReceiveArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let layout = Layout::parse(&arguments.layout).map_err(|error| {
        let known = Layout::placeholders().collect::<Vec<_>>().join(", ");
        Usage(format!("--layout: {error}; attributes: {known}"))
    })?;
    lumenbus_bus::probe(&settings.bus).map_err(BusError::from)?;
    let shutdown = signals::shutdown(settings.quiet)?;
    let config = ReceiverConfig {
        bus: settings.bus.clone(),
        group: arguments.group.clone(),
        family: if arguments.deidentified { Family::Deidentified } else { Family::Original },
        out: arguments.out.clone(),
        layout,
        from_start: arguments.from == From::Start,
        until_end: arguments.until_end,
        retry_failed: arguments.retry_failed,
    };
    let trail = RefCell::new(arguments.audit.open("dicom receive", settings)?);
    let mut receiver = Receiver::open(config)?;
    let began = Instant::now();
    let end = arguments.duration.map(|duration| began + duration);
    let is_stopped = || shutdown.is_requested() || end.is_some_and(|end| Instant::now() >= end);
    let teller = Teller {
        arguments,
        output,
        began,
        stats: ReceiverStats::default(),
        troubled: None,
        trail: &trail,
        unrecorded: None,
    };
    let teller = RefCell::new(teller);
    // An offset is committed when its object is in the trail.
    let mut settle = || {
        let unrecorded = teller.borrow_mut().unrecorded.take();
        unrecorded.map_or_else(|| trail.borrow_mut().settle(), Err).map_err(|error| error.to_string())
    };
    let ending = receiver.run(&is_stopped, &mut |told| teller.borrow_mut().tell(&told), &mut settle);
    let stats = receiver.stats();
    let output = teller.into_inner().output;
    output.note(&line(stats, began.elapsed()));
    let ending = ending?;
    output.summary(
        "dicom receive",
        json!({
            "group": arguments.group, "stored": stats.stored, "stored_bytes": stats.stored_bytes,
            "already_there": stats.were_there, "failed": stats.failed, "retried": stats.retried, "seconds": began.elapsed().as_secs_f64(),
            "at_end": ending == Ending::AtEnd,
        }),
    );
    Ok(match ending {
        _ if stats.failed > 0 => Outcome::ProblemsFound,
        Ending::Stopped if arguments.until_end => Outcome::Interrupted,
        _ => Outcome::Done,
    })
}

struct Teller<'a> {
    arguments: &'a ReceiveArguments,
    output: &'a mut Output,
    began: Instant,
    stats: ReceiverStats,
    troubled: Option<Instant>,
    trail: &'a RefCell<Trail>,
    /// Why an event did not get into the trail.
    unrecorded: Option<AuditError>,
}

impl Teller<'_> {
    fn tell(&mut self, told: &Told<'_>) {
        match told {
            Told::Joined(partitions) => {
                let group = &self.arguments.group;
                self.output.note(&format!("receiving as group {group}, {partitions} partitions"));
                self.output.object("joined", json!({ "group": group, "partitions": partitions }));
            }
            Told::Writing { bytes, of, .. } => {
                let (stats, began) = (self.stats, self.began);
                let (bytes, of) = (units::show_bytes(*bytes), units::show_bytes(*of));
                self.output.progress(|| format!("{}; {bytes} of {of}", line(stats, began.elapsed())));
            }
            Told::Stored(stored) => {
                let moved = Moved { identity: &stored.identity, sha256: &stored.sha256, bytes: stored.bytes };
                self.put_down(record::stored(&moved, &self.arguments.group));
                let counts = &mut self.stats;
                if stored.was_there {
                    counts.were_there += 1;
                } else {
                    (counts.stored, counts.stored_bytes) = (counts.stored + 1, counts.stored_bytes + stored.bytes);
                }
                let path = self.arguments.show_paths.then(|| stored.path.display().to_string());
                if let Some(path) = &path {
                    self.output.result(path);
                }
                let (kind, id) = (if stored.was_there { "already_there" } else { "stored" }, stored.object_id);
                let sha256 = hex(&stored.sha256);
                let told = json!({ "object": id.to_string(), "bytes": stored.bytes, "sha256": sha256, "opaque": stored.opaque, "path": path });
                self.output.object(kind, told);
                let (stats, began) = (self.stats, self.began);
                self.output.progress(|| line(stats, began.elapsed()));
            }
            Told::Failed(record, why) => {
                let reference = record.object_id.as_deref().unwrap_or("unknown");
                let event = record::refused(reference, &record.reason).detail("destination", &self.arguments.group);
                self.put_down(event);
                self.stats.failed += 1;
                if self.stats.failed <= MAX_TOLD {
                    let (partition, offset, code) = (record.partition, record.offset, &record.reason);
                    self.output.note(&format!(
                        "not delivered: {why} [{code}; metadata at partition {partition}, offset {offset}]"
                    ));
                }
                let mut value = serde_json::to_value(record).unwrap_or_default();
                value["why"] = json!(why.to_string());
                self.output.object("failed", value);
            }
            Told::DiskFull(error) => {
                self.trouble(&format!("the disk is full; waiting for room, nothing is lost: {error}"));
            }
            Told::BrokersAway(error) => self.trouble(&format!("waiting for the brokers: {error}")),
            _ => {}
        }
    }

    /// The first failure is told when offsets are to be committed.
    fn put_down(&mut self, event: AuditEvent) {
        let result = self.trail.borrow_mut().record(event);
        self.unrecorded = self.unrecorded.take().or(result.err());
    }

    fn trouble(&mut self, line: &str) {
        if self.troubled.is_none_or(|told| told.elapsed() >= TROUBLE_INTERVAL) {
            self.troubled = Some(Instant::now());
            self.output.note(line);
            self.output.object("waiting", json!({ "why": line }));
        }
    }
}

fn line(stats: ReceiverStats, elapsed: Duration) -> String {
    let more = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    format!(
        "{} objects received ({}{}{}) in {:.1} s",
        stats.stored,
        units::show_bytes(stats.stored_bytes),
        more(stats.were_there, "already there"),
        more(stats.failed, "not delivered"),
        elapsed.as_secs_f64(),
    )
}
