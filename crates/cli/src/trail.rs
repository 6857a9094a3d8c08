//! The audit trail of commands that touch what patients have a right to: on unless it is turned off.

use crate::exit::Usage;
use crate::settings::Settings;
use clap::Args;
use lumenbus_bus::BusError;
use lumenbus_bus::topics::AUDIT;
use lumenbus_ops::audit::{Actor, AuditConfig, AuditError, AuditEvent, AuditTicket, AuditWriter, Need};
use std::path::PathBuf;
use std::sync::Arc;

/// Records that may be unconfirmed before the command waits for them.
const MAX_UNCONFIRMED: usize = 256;
/// Processes of one kind that run at a time on a host.
const MAX_INSTANCES: u32 = 64;
/// Longest name of an instance, with room for a number behind it.
const MAX_BASE: usize = 58;
/// Longest name of a folder of keys.
const MAX_FOLDER: usize = 200;

/// Whether and as whom a command writes to the audit trail.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuditOptions {
    /// Folder of the keys that sign this host's part of the audit trail [default: lumenbus/audit/CLUSTER-TOPIC below $STATE_DIRECTORY,
    /// $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, env = "LUMENBUS_AUDIT_KEYS", value_name = "DIR")]
    audit_keys: Option<PathBuf>,
    /// Name of this process in the audit trail, the same after a restart [default: the command's and the host's]
    #[arg(long, env = "LUMENBUS_AUDIT_NAME", value_name = "NAME")]
    audit_name: Option<String>,
    /// Write nothing to the audit trail, whatever else is said of it
    #[arg(long)]
    no_audit: bool,
}

/// What a command writes to the trail; nothing, where that was asked for.
#[derive(Debug)]
pub(crate) struct Trail {
    writer: Option<Arc<AuditWriter>>,
    unconfirmed: Vec<AuditTicket>,
}

impl AuditOptions {
    /// Whether nothing is written.
    pub(crate) fn is_off(&self) -> bool {
        self.no_audit
    }

    /// The trail of a command, such as `dicom send`.
    pub(crate) fn open(&self, command: &str, settings: &Settings) -> anyhow::Result<Trail> {
        if self.no_audit {
            return Ok(Trail { writer: None, unconfirmed: Vec::new() });
        }
        let keys = match &self.audit_keys {
            Some(keys) => keys.clone(),
            None => default_keys(settings)?,
        };
        let open = |name: &str| {
            let mut config = AuditConfig::new(settings.bus.clone(), &keys, name);
            config.program = format!("lumenbus {} {command}", env!("CARGO_PKG_VERSION"));
            AuditWriter::open(config)
        };
        let writer = match &self.audit_name {
            Some(name) => open(name)?,
            None => first_free(&default_name(command), open)?,
        };
        Ok(Trail { writer: Some(Arc::new(writer)), unconfirmed: Vec::new() })
    }
}

/// Several processes of one kind have a number each.
fn first_free(base: &str, open: impl Fn(&str) -> Result<AuditWriter, AuditError>) -> Result<AuditWriter, AuditError> {
    let mut result = open(base);
    for number in 2..=MAX_INSTANCES {
        if !matches!(result, Err(AuditError::Locked { .. })) {
            break;
        }
        result = open(&format!("{base}-{number}"));
    }
    result
}

/// A chain is in one topic of one cluster, so each has keys of its own.
fn default_keys(settings: &Settings) -> anyhow::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The system's manager of services may name several.
    let service = folder("STATE_DIRECTORY").and_then(|all| std::env::split_paths(&all).next());
    let home = || folder("HOME").map(|home| home.join(".local/state"));
    let state = service.or_else(|| folder("XDG_STATE_HOME")).or_else(home).ok_or_else(|| {
        let why = "there is no home folder for the audit trail's keys; name one by --audit-keys, or say --no-audit";
        Usage(why.to_owned())
    })?;
    let cluster = lumenbus_bus::probe(&settings.bus).map_err(BusError::from)?.cluster_id.unwrap_or_default();
    let topic = settings.bus.topic_prefix.topic(AUDIT);
    Ok(state.join("lumenbus/audit").join(plain(&format!("{cluster}-{topic}"), MAX_FOLDER)))
}

/// Letters that names of files and instances can have.
fn plain(text: &str, longest: usize) -> String {
    let allowed = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    text.chars().map(allowed).take(longest).collect()
}

fn default_name(command: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    plain(&format!("{command}-{host}"), MAX_BASE)
}

/// Who runs this, as far as the system knows.
pub(crate) fn operator() -> Actor {
    Actor::user(&format!("uid {}", rustix::process::getuid().as_raw()))
}

impl Trail {
    /// Puts an event down; now and then it waits until those before are confirmed.
    pub(crate) fn record(&mut self, event: AuditEvent) -> Result<(), AuditError> {
        let Some(writer) = &self.writer else { return Ok(()) };
        self.unconfirmed.push(writer.record(event, Need::Required)?);
        if self.unconfirmed.len() >= MAX_UNCONFIRMED { self.settle() } else { Ok(()) }
    }

    /// The same trail for another thread.
    pub(crate) fn share(&self) -> Self {
        Self { writer: self.writer.clone(), unconfirmed: Vec::new() }
    }

    /// Puts an event down and waits until it is confirmed; events of several threads are written together.
    pub(crate) fn confirm(&self, event: AuditEvent) -> Result<(), AuditError> {
        let Some(writer) = &self.writer else { return Ok(()) };
        writer.record(event, Need::Required)?.wait().map(drop)
    }

    /// Puts down what nothing waits for; what cannot be written is counted, and the next record says so.
    pub(crate) fn mention(&self, event: AuditEvent) {
        if let Some(writer) = &self.writer
            && let Err(error) = writer.record(event, Need::BestEffort)
        {
            tracing::warn!(%error, "the audit trail takes nothing more");
        }
    }

    /// Waits until everything that was put down is confirmed.
    pub(crate) fn settle(&mut self) -> Result<(), AuditError> {
        self.unconfirmed.drain(..).try_for_each(|ticket| ticket.wait().map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_what_is_allowed() {
        let name = default_name("dicom send");
        assert!(name.starts_with("dicom-send-") && lumenbus_wire_allows(&name), "{name}");
    }

    fn lumenbus_wire_allows(name: &str) -> bool {
        name.len() <= 64 && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
    }
}
