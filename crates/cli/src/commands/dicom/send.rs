//! `lumenbus dicom send FILE|DIR|GLOB…`.

use super::hex;
use super::record::{self, Moved};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::trail::{AuditOptions, Trail};
use crate::{signals, units};
use clap::Args;
use lumenbus_bus::BusError;
use lumenbus_dicom::transport::{FileToSend, Files, PassedOver, Sender, Sent, TransportError};
use lumenbus_ops::audit::AuditError;
use lumenbus_pipeline::Shutdown;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// So many files that were refused are told one by one to people.
const MAX_TOLD: u64 = 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Folders are sent with everything in them: objects that are cut at their pixels, and files that are not DICOM as they are.\nA file is sent when Kafka has acknowledged its last record. One that changes while it is read is refused.\nExit code 3 when a file was refused.\n\nExamples:\n  lumenbus dicom send study/\n  lumenbus dicom send 'incoming/*/*.dcm' --json"
)]
pub(crate) struct SendArguments {
    /// Files, folders and patterns
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Objects that are sent at a time
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8), default_value = "2", value_name = "N")]
    jobs: u8,
    #[command(flatten)]
    audit: AuditOptions,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    sent_bytes: u64,
    chunks: u64,
    opaque: u64,
    refused: u64,
    passed_over: u64,
}

enum News {
    Done(FileToSend, Box<Result<Sent, TransportError>>),
    PassedOver(PassedOver),
}

pub(crate) fn run(arguments: &SendArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let shutdown = signals::shutdown(settings.quiet)?;
    // Paths that are wrong are told before anybody is connected to.
    let files = Files::of(&arguments.paths)?;
    lumenbus_bus::probe(&settings.bus).map_err(BusError::from)?;
    let mut trail = arguments.audit.open("dicom send", settings)?;
    let sender = Sender::open(&settings.bus)?;
    let began = Instant::now();
    let mut counts = Counts::default();
    let (files, fatal) = (Mutex::new(files), Mutex::new(None));
    let recorded = std::thread::scope(|scope| {
        // A worker that is ahead of the output waits for it.
        let (tell, told) = sync_channel(16);
        for _ in 0..arguments.jobs {
            let tell = tell.clone();
            let (files, fatal, sender, shutdown) = (&files, &fatal, &sender, shutdown.as_ref());
            scope.spawn(move || work(files, fatal, sender, shutdown, &tell));
        }
        drop(tell);
        loop {
            match told.recv_timeout(LOOK) {
                // Workers end when nobody listens any more.
                Ok(news) => counts.take(news, output, &mut trail)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return trail.settle(),
            }
            // Of a large object nothing else is heard for long.
            let taken = units::show_bytes(sender.taken_bytes());
            output.progress(|| format!("{}; {taken} taken", counts.line(began.elapsed())));
        }
    });
    recorded?;
    if let Some(error) = fatal.into_inner().unwrap_or_else(PoisonError::into_inner) {
        output.note(&counts.line(began.elapsed()));
        return Err(TransportError::Bus(error).into());
    }
    output.note(&counts.line(began.elapsed()));
    output.summary("dicom send", counts.json(began.elapsed(), shutdown.is_requested()));
    Ok(match shutdown.is_requested() {
        true => Outcome::Interrupted,
        false if counts.refused > 0 || counts.has_passed_files() => Outcome::ProblemsFound,
        false => Outcome::Done,
    })
}

/// Sends one file after the other; what is under way is finished when a stop is asked for.
fn work(
    files: &Mutex<Files>,
    fatal: &Mutex<Option<BusError>>,
    sender: &Sender,
    shutdown: &Shutdown,
    tell: &SyncSender<News>,
) {
    loop {
        let has_failed = fatal.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if shutdown.is_requested() || has_failed {
            return;
        }
        let next = files.lock().unwrap_or_else(PoisonError::into_inner).next();
        let news = match next {
            None => return,
            Some(Err(passed)) => News::PassedOver(passed),
            Some(Ok(file)) => match sender.send_file(&file.path) {
                // The brokers' trouble is every file's.
                Err(TransportError::Bus(error)) => {
                    fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return;
                }
                result => News::Done(file, Box::new(result)),
            },
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

impl Counts {
    fn take(&mut self, news: News, output: &mut Output, trail: &mut Trail) -> Result<(), AuditError> {
        match news {
            News::Done(file, result) => self.take_file(&file, *result, output, trail)?,
            News::PassedOver(passed) => {
                self.passed_over += 1;
                let path = passed.path.display().to_string();
                if self.passed_over <= MAX_TOLD {
                    output.note(&format!("passed over: {path}: {}", passed.why));
                }
                let (code, why) = (passed.why.code(), passed.why.to_string());
                output.object("passed_over", json!({ "path": path, "code": code, "why": why }));
            }
        }
        Ok(())
    }

    fn take_file(
        &mut self,
        file: &FileToSend,
        result: Result<Sent, TransportError>,
        output: &mut Output,
        trail: &mut Trail,
    ) -> Result<(), AuditError> {
        match result {
            Ok(sent) => {
                let moved = Moved { identity: &sent.identity, sha256: &sent.sha256, bytes: sent.bytes };
                trail.record(record::imported(&moved))?;
                self.sent += 1;
                self.sent_bytes += sent.bytes;
                self.chunks += sent.chunks as u64;
                self.opaque += u64::from(sent.opaque.is_some());
                output.object(
                    "sent",
                    json!({
                        "path": file.path.display().to_string(), "object": sent.object_id.to_string(),
                        "bytes": sent.bytes, "sha256": hex(&sent.sha256), "chunks": sent.chunks,
                        "partition": sent.partition, "offset": sent.offset,
                        "opaque": sent.opaque, "findings": sent.findings,
                    }),
                );
            }
            Err(error) => {
                self.refused += 1;
                // Its name may be a patient's.
                trail.record(record::refused("unread", "it could not be read to its end"))?;
                let error = anyhow::Error::from(error);
                if self.refused <= MAX_TOLD {
                    output.note(&format!("refused: {error:#}"));
                }
                let path = file.path.display().to_string();
                output.object("refused", json!({ "path": path, "why": format!("{error:#}") }));
            }
        }
        Ok(())
    }

    fn has_passed_files(&self) -> bool {
        self.passed_over > 0
    }

    fn line(&self, elapsed: Duration) -> String {
        let more = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
        format!(
            "{} objects sent ({}{}{}{}) in {:.1} s",
            self.sent,
            units::show_bytes(self.sent_bytes),
            more(self.opaque, "as they are"),
            more(self.refused, "refused"),
            more(self.passed_over, "passed over"),
            elapsed.as_secs_f64(),
        )
    }

    fn json(&self, elapsed: Duration, is_interrupted: bool) -> serde_json::Value {
        json!({
            "sent": self.sent, "sent_bytes": self.sent_bytes, "chunks": self.chunks, "opaque": self.opaque,
            "refused": self.refused, "passed_over": self.passed_over, "interrupted": is_interrupted,
            "seconds": elapsed.as_secs_f64(),
        })
    }
}
