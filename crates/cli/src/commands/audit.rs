//! `lumenbus audit`: the audit trail, verified, searched and passed on.

mod export;
mod search;
mod verify;
mod walk;

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lumenbus audit verify --key keys/gateway-1.pub --checkpoint monday.txt   # exit code 3 when something is wrong\n  lumenbus audit checkpoint --out tuesday.txt --signing-key auditor.key\n  lumenbus audit search --what reject --from -1d\n  lumenbus audit export --syslog syslog+tls://logs.example:6514 --ca ca.pem --position export.position --follow\n  lumenbus audit export --out trail.ndjson"
)]
pub(crate) struct AuditArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Go through the whole trail: chains, signatures, holes, and what checkpoints had seen
    Verify(verify::VerifyArguments),
    /// Verify, and write down how far the trail has come, to be kept elsewhere
    Checkpoint(verify::CheckpointArguments),
    /// Find records
    Search(search::SearchArguments),
    /// Pass records on: to a syslog server over TLS, or into a file
    Export(Box<export::ExportArguments>),
}

impl AuditArguments {
    /// As its summary is named.
    pub(crate) fn name(&self) -> &'static str {
        match self.what {
            What::Verify(_) => "audit verify",
            What::Checkpoint(_) => "audit checkpoint",
            What::Search(_) => "audit search",
            What::Export(_) => "audit export",
        }
    }
}

pub(crate) fn run(arguments: &AuditArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    match &arguments.what {
        What::Verify(arguments) => verify::verify(arguments, settings, output),
        What::Checkpoint(arguments) => verify::checkpoint(arguments, settings, output),
        What::Search(arguments) => search::run(arguments, settings, output),
        What::Export(arguments) => export::run(arguments, settings, output),
    }
}
