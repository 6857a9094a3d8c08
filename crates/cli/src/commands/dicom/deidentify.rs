//! `lumenbus dicom deidentify FILE|DIR|GLOB…`.

mod folder;
mod profile;
mod reports;

use super::hex;
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::trail::{AuditOptions, Trail, operator};
use crate::{signals, units};
use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use folder::Folder;
use lumenbus_bus::BusError;
use lumenbus_dicom::cut::Input;
use lumenbus_dicom::deid::{Change, DeidError, Deidentifier, Done, ObjectReport, PixelWork, Rule, ShowValues, Verdict};
use lumenbus_dicom::layout::{DEFAULT_DEID_LAYOUT, Layout};
use lumenbus_dicom::transport::{Family, FileToSend, Files, PassedOver, Sender};
use lumenbus_ops::audit::{self, Action, AuditEvent, DicomEvent, DicomMessage, ObjectKind, Participant, StudyObject};
use lumenbus_pipeline::Shutdown;
use openssl::sha::sha256;
use profile::{ProfileOptions, SharedKey};
use reports::Reports;
use serde_json::json;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A file and what comes of it are in memory at once.
const MAX_FILE_BYTES: u64 = 2 << 30;
/// So many files that were held back are told one by one to people.
const MAX_TOLD: u64 = 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Follows the Basic Profile of DICOM PS3.15, annex E, and the options that are named. An object that may still show a patient\n(text in its pixels, a document inside) is held back and reported; so is what cannot be read strictly. The same key gives\nthe same new UIDs and pseudonyms, so that what comes later fits; whoever has it can follow a patient it knows.\nExit code 3 when a file was held back.\n\nExamples:\n  lumenbus dicom deidentify study/ --key project.key --dry-run\n  lumenbus dicom deidentify study/ --key project.key --out research/\n  lumenbus dicom deidentify study/ --key project.key --option retain-modified-dates   # into dicom_deid_metadata, dicom_deid_pixels"
)]
pub(crate) struct DeidentifyArguments {
    /// Files, folders and patterns
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    profile: ProfileOptions,
    /// Folder for the new files [default: the topics dicom_deid_metadata and dicom_deid_pixels]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// With --out, names of files, as of `dicom receive`
    #[arg(long, value_name = "PATTERN", default_value = DEFAULT_DEID_LAYOUT, requires = "out")]
    layout: String,
    /// Folder for a report on each study, by its new UID
    #[arg(long, value_name = "DIR", default_value = "deidentification-reports")]
    reports: PathBuf,
    /// Only print what would be changed, and why
    #[arg(long, conflicts_with_all = ["out", "layout"])]
    dry_run: bool,
    /// With --dry-run, print the values that would go: as confidential as the files
    #[arg(long, requires = "dry_run")]
    show_values: bool,
    /// Files that are worked on at a time, each in memory as a whole
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16), default_value = "2", value_name = "N")]
    jobs: u8,
    #[command(flatten)]
    audit: AuditOptions,
}

/// Where released objects go.
enum Out {
    Nowhere,
    Folder(Folder),
    Topics(Box<Sender>),
}

/// What became of a file.
enum Fate {
    /// Where it went, for people.
    Released {
        report: ObjectReport,
        place: Option<String>,
        bytes: u64,
    },
    Quarantined(ObjectReport),
    Refused(DeidError),
    WouldBe(ObjectReport),
    /// It could not be read.
    Unreadable(anyhow::Error),
}

struct Treated {
    file: FileToSend,
    /// SHA-256, where it could be read.
    original: Option<[u8; 32]>,
    fate: Fate,
}

enum News {
    Done(Box<Treated>),
    PassedOver(PassedOver),
}

/// What all workers share.
struct Shop<'a> {
    files: Mutex<Files>,
    engine: &'a Deidentifier,
    out: &'a Out,
    values: ShowValues,
    shutdown: &'a Shutdown,
    fatal: Mutex<Option<anyhow::Error>>,
}

pub(crate) fn run(
    arguments: &DeidentifyArguments,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let shutdown = signals::shutdown(settings.quiet)?;
    let files = Files::of(&arguments.paths)?;
    let (engine, key) = arguments.profile.engine()?;
    if let SharedKey::Made(path) = &key {
        output
            .note(&format!("a new project key is in {}; without it nothing that comes later will fit", path.display()));
    }
    let mut out = Out::Nowhere;
    let mut trail = None;
    if !arguments.dry_run {
        // The trail is Kafka's, wherever the objects go.
        if arguments.out.is_none() || !arguments.audit.is_off() {
            lumenbus_bus::probe(&settings.bus).map_err(BusError::from)?;
        }
        trail = Some(arguments.audit.open("dicom deidentify", settings)?);
        out = match &arguments.out {
            Some(path) => Out::Folder(Folder::open(path, layout(&arguments.layout)?)?),
            None => Out::Topics(Box::new(Sender::open_family(&settings.bus, Family::Deidentified)?)),
        };
    }
    let began = Instant::now();
    let reports = if arguments.dry_run { None } else { Some(Reports::open(&arguments.reports)?) };
    let mut desk = Desk { arguments, output, trail, reports, counts: Counts::default(), began };
    let shop = Shop {
        files: Mutex::new(files),
        engine: &engine,
        out: &out,
        values: if arguments.show_values { ShowValues::Yes } else { ShowValues::No },
        shutdown: &shutdown,
        fatal: Mutex::new(None),
    };
    let told: anyhow::Result<()> = std::thread::scope(|scope| {
        // A worker that is ahead of the desk waits for it.
        let (tell, told) = sync_channel(usize::from(arguments.jobs));
        for _ in 0..arguments.jobs {
            let (tell, shop) = (tell.clone(), &shop);
            scope.spawn(move || work(shop, &tell));
        }
        drop(tell);
        // Workers end when nobody listens any more.
        told.into_iter().try_for_each(|news| desk.take(news))
    });
    let told = told.and_then(|()| desk.finish());
    desk.output.note(&desk.counts.line(began.elapsed().as_secs_f64(), arguments.dry_run));
    told?;
    if let Some(error) = shop.fatal.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let counts = &desk.counts;
    let summary = json!({
        "dry_run": arguments.dry_run, "files": counts.files, "released": counts.released,
        "released_bytes": counts.released_bytes, "quarantined": counts.quarantined, "refused": counts.refused,
        "passed_over": counts.passed_over, "interrupted": shutdown.is_requested(),
        "reports": desk.reports.as_ref().map(|_| arguments.reports.display().to_string()),
        "seconds": began.elapsed().as_secs_f64(),
    });
    let held_back = counts.quarantined + counts.refused + counts.passed_over;
    desk.output.summary("dicom deidentify", summary);
    Ok(match shutdown.is_requested() {
        true => Outcome::Interrupted,
        false if held_back > 0 => Outcome::ProblemsFound,
        false => Outcome::Done,
    })
}

fn layout(pattern: &str) -> anyhow::Result<Layout> {
    Ok(Layout::parse(pattern).map_err(|error| Usage(format!("--layout: {error}")))?)
}

fn work(shop: &Shop<'_>, tell: &SyncSender<News>) {
    loop {
        let has_failed = shop.fatal.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if shop.shutdown.is_requested() || has_failed {
            return;
        }
        let next = shop.files.lock().unwrap_or_else(PoisonError::into_inner).next();
        let news = match next {
            None => return,
            Some(Err(passed)) => News::PassedOver(passed),
            Some(Ok(file)) => match shop.treat(&file) {
                Ok((original, fate)) => News::Done(Box::new(Treated { file, original, fate })),
                // What is wrong with the folder or the brokers is every file's trouble.
                Err(error) => {
                    shop.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return;
                }
            },
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

impl Shop<'_> {
    fn treat(&self, file: &FileToSend) -> anyhow::Result<(Option<[u8; 32]>, Fate)> {
        let bytes = match read(file) {
            Ok(bytes) => bytes,
            Err(error) => return Ok((None, Fate::Unreadable(error))),
        };
        let original = sha256(&bytes);
        let fate = if matches!(self.out, Out::Nowhere) {
            self.engine.dry_run(&bytes, self.values).map_or_else(Fate::Refused, Fate::WouldBe)
        } else {
            match self.engine.deidentify(&bytes) {
                Err(error) => Fate::Refused(error),
                Ok(outcome) => match outcome.verdict {
                    Verdict::Quarantined => Fate::Quarantined(outcome.report),
                    Verdict::Released(new) => {
                        drop(bytes);
                        let place = self.release(&new)?;
                        Fate::Released { report: outcome.report, place, bytes: new.len() as u64 }
                    }
                },
            }
        };
        Ok((Some(original), fate))
    }

    fn release(&self, new: &[u8]) -> anyhow::Result<Option<String>> {
        match self.out {
            Out::Nowhere => Ok(None),
            Out::Folder(folder) => Ok(Some(folder.store(new)?.display().to_string())),
            Out::Topics(sender) => {
                let mut sending = sender.begin(Input::File);
                sending.push(new)?;
                let sent = sending.commit()?;
                Ok(Some(format!("partition {}, offset {}", sent.partition, sent.offset)))
            }
        }
    }
}

fn read(file: &FileToSend) -> anyhow::Result<Bytes> {
    let length = std::fs::metadata(&file.path).context("it cannot be read")?.len();
    anyhow::ensure!(length <= MAX_FILE_BYTES, "it is larger than {}", units::show_bytes(MAX_FILE_BYTES));
    Ok(std::fs::read(&file.path).context("it cannot be read")?.into())
}

#[derive(Debug, Default)]
struct Counts {
    files: u64,
    released: u64,
    released_bytes: u64,
    quarantined: u64,
    refused: u64,
    passed_over: u64,
    told: u64,
}

impl Counts {
    fn line(&self, seconds: f64, is_dry: bool) -> String {
        let more = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
        format!(
            "{} files: {} {}{}{}{} in {seconds:.1} s",
            self.files,
            self.released,
            if is_dry { "would be released" } else { "released" },
            more(self.quarantined, "held back"),
            more(self.refused, "refused"),
            more(self.passed_over, "passed over"),
        )
    }
}

/// Tells, reports and audits what the workers did.
struct Desk<'a> {
    arguments: &'a DeidentifyArguments,
    output: &'a mut Output,
    trail: Option<Trail>,
    reports: Option<Reports>,
    counts: Counts,
    began: Instant,
}

impl Desk<'_> {
    fn take(&mut self, news: News) -> anyhow::Result<()> {
        match news {
            News::PassedOver(passed) => {
                self.counts.passed_over += 1;
                let path = passed.path.display().to_string();
                self.note(&format!("passed over: {path}: {}", passed.why));
                self.output.object("passed_over", json!({ "path": path, "code": passed.why.code() }));
            }
            News::Done(treated) => self.done(&treated)?,
        }
        let (line, dry) = (self.began.elapsed().as_secs_f64(), self.arguments.dry_run);
        let counts = &self.counts;
        self.output.progress(|| counts.line(line, dry));
        Ok(())
    }

    fn done(&mut self, treated: &Treated) -> anyhow::Result<()> {
        let Treated { file, original, fate } = treated;
        let path = file.path.display().to_string();
        self.counts.files += 1;
        let reference = original.map_or_else(|| "unreadable".to_owned(), |hash| hex(&hash));
        match fate {
            Fate::Released { report, place, bytes } => {
                self.counts.released += 1;
                self.counts.released_bytes += bytes;
                let told = json!({ "path": path, "place": place, "bytes": bytes, "report": report });
                self.output.object("released", told);
                self.report(report)?;
                self.audit(of_object(report).detail("original_sha256", &reference).detail("bytes", bytes))?;
            }
            Fate::Quarantined(report) => {
                self.counts.quarantined += 1;
                let why = reasons(report);
                self.note(&format!("held back: {path}: {why}"));
                self.output.object("quarantined", json!({ "path": path, "why": why, "report": report }));
                self.report(report)?;
                let event = of_object(report).detail("original_sha256", &reference);
                self.audit(event.failed(audit::Outcome::MinorFailure, "held back: it may still show a patient"))?;
            }
            Fate::Refused(error) => {
                self.counts.refused += 1;
                self.note(&format!("refused: {path}: {error} [{}]", error.code()));
                let told = json!({ "path": path, "code": error.code(), "why": error.to_string() });
                self.output.object("refused", told);
                if let Some(reports) = &mut self.reports {
                    reports.add_refused(error);
                }
                self.reject(&reference, error.code())?;
            }
            Fate::Unreadable(error) => {
                self.counts.refused += 1;
                self.note(&format!("refused: {path}: {error:#}"));
                self.output
                    .object("refused", json!({ "path": path, "code": "unreadable", "why": format!("{error:#}") }));
                self.reject(&reference, "unreadable")?;
            }
            Fate::WouldBe(report) => {
                if report.quarantine.is_empty() {
                    self.counts.released += 1;
                } else {
                    self.counts.quarantined += 1;
                }
                show(self.output, &path, report);
                self.output.object("would_change", json!({ "path": path, "report": report }));
            }
        }
        Ok(())
    }

    fn note(&mut self, line: &str) {
        self.counts.told += 1;
        if self.counts.told <= MAX_TOLD {
            self.output.note(line);
        }
    }

    fn report(&mut self, report: &ObjectReport) -> anyhow::Result<()> {
        self.reports.as_mut().map_or(Ok(()), |reports| reports.add(report))
    }

    fn reject(&mut self, reference: &str, code: &str) -> anyhow::Result<()> {
        let event = AuditEvent::new(Action::Reject, operator()).object(ObjectKind::File, reference);
        self.audit(event.failed(audit::Outcome::MinorFailure, code))
    }

    fn audit(&mut self, event: AuditEvent) -> anyhow::Result<()> {
        Ok(self.trail.as_mut().map_or(Ok(()), |trail| trail.record(event))?)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let settled = self.trail.as_mut().map_or(Ok(()), Trail::settle);
        self.reports.as_mut().map_or(Ok(()), Reports::finish)?;
        Ok(settled?)
    }
}

fn of_object(report: &ObjectReport) -> AuditEvent {
    let options: Vec<_> = report.options.iter().map(|option| option.method_code().0).collect();
    let study = StudyObject::new(&report.study_instance_uid).sop_class(&report.sop_class_uid, 1).anonymized(true);
    let message =
        DicomMessage::new(DicomEvent::Export).participant(Participant::source("lumenbus").requestor()).study(study);
    AuditEvent::new(Action::Deidentify, operator())
        .object(ObjectKind::SopInstance, &report.sop_instance_uid)
        .detail("edition", report.edition)
        .detail("options", options.join(" "))
        .dicom(message)
}

fn reasons(report: &ObjectReport) -> String {
    report.quarantine.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What would be done to a file, for people.
fn show(output: &mut Output, path: &str, report: &ObjectReport) {
    output.result(&format!(
        "{path}: {}",
        if report.quarantine.is_empty() { "would be released" } else { "would be held back" }
    ));
    for reason in &report.quarantine {
        output.result(&format!("  held back: {reason}"));
    }
    for work in &report.pixels {
        output.result(&format!("  pixels: {}", pixels(work)));
    }
    let count = |change: &Change| if change.count > 1 { format!("{}×", change.count) } else { String::new() };
    let row = |change: &Change| {
        let name = if change.keyword.is_empty() { "-".to_owned() } else { change.keyword.clone() };
        let value = change.before.as_deref().map_or_else(String::new, |value| format!("{value:?}"));
        [format!("  {}", change.path), name, done(change.done).to_owned(), why(change), count(change), value]
    };
    let rows: Vec<_> = report.changes.iter().map(row).collect();
    output.columns(["  tag", "name", "what", "why", "", ""], &rows);
}

fn pixels(work: &PixelWork) -> String {
    match work {
        PixelWork::Masked { rectangles, frames } => format!("{rectangles} rectangles painted over in {frames} frames"),
        PixelWork::TrustedByRule => "a rule of the profile says that such images have no text in them".to_owned(),
        PixelWork::CommentsCleared { segments } => format!("{segments} comments inside compressed frames cleared"),
        PixelWork::OverlayBitsCleared => "bits that held an overlay cleared".to_owned(),
        other => format!("{other:?}"),
    }
}

fn done(done: Done) -> &'static str {
    match done {
        Done::Removed => "removed",
        Done::Emptied => "emptied",
        Done::Dummy => "dummy value",
        Done::UidMapped => "new UID",
        Done::Pseudonym => "pseudonym",
        Done::Shifted => "dates shifted",
        Done::Cleaned => "cleaned",
        Done::AgeLimited => "age limited",
        Done::Kept => "kept",
        Done::Added => "added",
        _ => "changed",
    }
}

fn why(change: &Change) -> String {
    let rule = match change.rule {
        Rule::Table => "Table E.1-1",
        Rule::Private => "private element",
        Rule::Graphics => "curve or overlay",
        Rule::GroupLength => "group length",
        Rule::Unknown => "in no dictionary",
        Rule::UnlistedTime => "date or time",
        Rule::UnlistedName => "person's name",
        Rule::UnlistedText => "free text",
        Rule::UnlistedUid => "UID",
        Rule::UnlistedEntity => "application entity",
        Rule::InvalidValue => "not a value of its VR",
        Rule::Leak => "holds what identifies the patient",
        Rule::FileMeta => "file meta information",
        Rule::Method => "says what was done",
        _ => "other",
    };
    match (change.action, change.option) {
        (_, Some(option)) => format!("{rule}, {}", option.method_code().1),
        (Some(action), None) => format!("{rule}: {}", action.as_str()),
        (None, None) => rule.to_owned(),
    }
}
