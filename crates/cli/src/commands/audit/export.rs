//! `lumenbus audit export`: at least once, from where it was.

use super::search::Filter;
use super::walk::{PATIENCE, open, read};
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::signals;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use lumenbus_bus::journal::{JournalReader, Turned};
use lumenbus_ops::audit::syslog::{SyslogConnection, SyslogTarget, message};
use lumenbus_ops::audit::to_json;
use lumenbus_pipeline::Shutdown;
use serde_json::json;
use std::collections::VecDeque;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What may be under way to a receiver that then dies: so much is sent again after a connection broke.
const UNSURE_BYTES: usize = 1 << 20;
const FIRST_REST: Duration = Duration::from_millis(200);
const LAST_REST: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One JSON object a line
    Ndjson,
    /// The DICOM audit messages alone, one a line
    Xml,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    filter: Filter,
    /// Syslog server (RFC 5424 over TLS, RFC 5425): syslog+tls://HOST:PORT
    #[arg(long, value_name = "URL", required_unless_present = "out", conflicts_with = "out")]
    syslog: Option<SyslogTarget>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What the file holds
    #[arg(long, value_name = "FORM", default_value = "ndjson")]
    form: Form,
    /// Certificates to trust instead of the system's, PEM
    #[arg(long, value_name = "FILE", requires = "syslog")]
    ca: Option<PathBuf>,
    /// Own certificate with its chain, PEM
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Remembers how far the export has come; the next one goes on there
    #[arg(long, value_name = "FILE", requires = "syslog")]
    position: Option<PathBuf>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, requires = "syslog")]
    follow: bool,
}

pub(super) fn run(arguments: &ExportArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    match (&arguments.syslog, &arguments.out) {
        (Some(target), _) => {
            let client = arguments.client_cert.clone().zip(arguments.client_key.clone());
            let target = SyslogTarget { ca: arguments.ca.clone(), client, ..target.clone() };
            to_syslog(arguments, &target, settings, output)
        }
        (None, Some(path)) => to_file(arguments, path, settings, output),
        (None, None) => Err(Usage("say where to: --syslog or --out".to_owned()).into()),
    }
}

fn to_file(
    arguments: &ExportArguments,
    path: &Path,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let wanted = arguments.filter.resolve()?;
    let reader = open(settings)?;
    let begin = wanted.begin_millis().map(|millis| reader.offset_at(millis)).transpose()?.unwrap_or(0);
    let failed = || format!("cannot write {}", path.display());
    let draft = path.with_extension("part");
    let mut file = BufWriter::new(std::fs::File::create(&draft).with_context(failed)?);
    let (mut written, mut unread, mut trouble) = (0_u64, 0_u64, None);
    reader.read_to_end(begin, PATIENCE, |entry| {
        let Some((body, hash)) = read(&entry.value) else {
            unread += 1;
            return;
        };
        let line = match arguments.form {
            Form::Ndjson => to_json(&body, &hash, entry.offset).to_string(),
            Form::Xml => body.dicom_message.replace(['\n', '\r'], " "),
        };
        if trouble.is_none() && wanted.is_met(&body) && !line.is_empty() {
            written += 1;
            trouble = writeln!(file, "{line}").err();
        }
    })?;
    trouble.map_or(Ok(()), Err).and_then(|()| file.flush()).with_context(failed)?;
    std::fs::rename(&draft, path).with_context(failed)?;
    output.result(&format!("{written} records in {}", path.display()));
    output.summary("audit export", json!({ "exported": written, "unread": unread, "out": path.display().to_string() }));
    Ok(if unread > 0 { Outcome::ProblemsFound } else { Outcome::Done })
}

/// The export under way.
struct Sending<'a> {
    target: &'a SyslogTarget,
    position: Option<&'a Path>,
    connection: Option<SyslogConnection>,
    /// Sent on this connection, and perhaps not read by the other side: offset and bytes.
    unsure: VecDeque<(u64, usize)>,
    unsure_bytes: usize,
    /// The offset from which on nothing is known to have arrived.
    safe: u64,
    remembered: u64,
    sent: u64,
    unread: u64,
    rest: Duration,
}

fn to_syslog(
    arguments: &ExportArguments,
    target: &SyslogTarget,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let wanted = arguments.filter.resolve()?;
    let shutdown = signals::shutdown(settings.quiet)?;
    let reader = open(settings)?;
    let begin = wanted.begin_millis().map(|millis| reader.offset_at(millis)).transpose()?.unwrap_or(0);
    let from = arguments.position.as_deref().map(read_position).transpose()?.flatten().unwrap_or(0).max(begin);
    let (start, end) = reader.bounds()?;
    if from > end {
        let path = arguments.position.as_deref().unwrap_or(Path::new("")).display();
        anyhow::bail!(
            "{path} is at offset {from}, and the trail ends at {end}: it was cut off or made anew; `lumenbus audit verify` with a checkpoint tells, and removing the file begins again"
        );
    }
    if from < start && from > 0 {
        output.note(&format!("offsets {from} to {start} were deleted before they were exported"));
    }
    reader.wait_for_committed(end, PATIENCE)?;
    let mut sending = Sending {
        target,
        position: arguments.position.as_deref(),
        connection: None,
        unsure: VecDeque::new(),
        unsure_bytes: 0,
        safe: from.max(start),
        remembered: from,
        sent: 0,
        unread: 0,
        rest: FIRST_REST,
    };
    let ended = send_all(&mut sending, &reader, &wanted, (arguments.follow, end), &shutdown, output);
    output.result(&format!("{} messages to {target}, {} records not read", sending.sent, sending.unread));
    let told = json!({ "exported": sending.sent, "unread": sending.unread, "to": target.to_string(), "next_offset": sending.safe });
    output.summary("audit export", told);
    match ended? {
        true if sending.unread > 0 => Ok(Outcome::ProblemsFound),
        true => Ok(Outcome::Done),
        false if arguments.follow => Ok(Outcome::Done),
        false => Ok(Outcome::Interrupted),
    }
}

/// Whether everything was sent; not, when it was told to stop.
fn send_all(
    sending: &mut Sending<'_>,
    reader: &JournalReader,
    wanted: &super::search::Wanted<'_>,
    (follow, end): (bool, u64),
    shutdown: &Shutdown,
    output: &mut Output,
) -> anyhow::Result<bool> {
    loop {
        match attempt(sending, reader, wanted, (follow, end), shutdown) {
            Ok(is_done) => return Ok(is_done),
            Err(error) => {
                if let Some(io) = error.downcast_ref::<std::io::Error>() {
                    if io.kind() == std::io::ErrorKind::InvalidInput {
                        return Err(error);
                    }
                } else {
                    return Err(error);
                }
                output.note(&format!("{}: {error:#}; trying again in {:?}", sending.target, sending.rest));
                sending.connection = None;
                sending.unsure.clear();
                sending.unsure_bytes = 0;
                shutdown.sleep(sending.rest);
                sending.rest = (sending.rest * 2).min(LAST_REST);
                if shutdown.is_requested() {
                    return Ok(false);
                }
            }
        }
    }
}

fn attempt(
    sending: &mut Sending<'_>,
    reader: &JournalReader,
    wanted: &super::search::Wanted<'_>,
    (follow, end): (bool, u64),
    shutdown: &Shutdown,
) -> anyhow::Result<bool> {
    sending.connection = Some(SyslogConnection::open(sending.target)?);
    let mut next = sending.safe;
    reader.go_to(next)?;
    let is_done = loop {
        if shutdown.is_requested() {
            break false;
        }
        if !follow && next >= end {
            break true;
        }
        match reader.turn(LOOK)? {
            Turned::Entry(entry) => {
                next = entry.offset + 1;
                match read(&entry.value) {
                    Some((body, hash)) if wanted.is_met(&body) => {
                        sending.send(entry.offset, &message(&body, &hash, entry.offset))?;
                    }
                    Some(_) => {}
                    None => sending.unread += 1,
                }
            }
            // Only what ends transactions is left below the end.
            Turned::AtEnd if !follow => break true,
            Turned::AtEnd | Turned::Nothing => {}
        }
    };
    if let Some(connection) = sending.connection.take() {
        connection.finish()?;
    }
    // The other side has read everything and closed.
    sending.safe = if is_done { next.max(end) } else { next };
    sending.remember()?;
    Ok(is_done)
}

impl Sending<'_> {
    fn send(&mut self, offset: u64, message: &[u8]) -> anyhow::Result<()> {
        let connection = self.connection.as_mut().expect("there is a connection while records are read");
        connection.send(message)?;
        self.rest = FIRST_REST;
        self.sent += 1;
        self.unsure.push_back((offset, message.len()));
        self.unsure_bytes += message.len();
        while self.unsure_bytes > UNSURE_BYTES
            && let Some((offset, bytes)) = self.unsure.pop_front()
        {
            self.unsure_bytes -= bytes;
            self.safe = offset + 1;
        }
        // One small file for many records.
        if self.safe >= self.remembered + 1_000 { self.remember() } else { Ok(()) }
    }

    fn remember(&mut self) -> anyhow::Result<()> {
        let Some(path) = self.position else { return Ok(()) };
        let draft = path.with_extension("part");
        let text = json!({ "version": 1, "next_offset": self.safe }).to_string();
        let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, path));
        // Not an error of the connection: it ends the export.
        written.map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?;
        self.remembered = self.safe;
        Ok(())
    }
}

fn read_position(path: &Path) -> anyhow::Result<Option<u64>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let offset = value["next_offset"].as_u64().filter(|_| value["version"] == 1);
    offset.map(Some).with_context(|| format!("{} does not say how far an export has come", path.display()))
}
