//! `lumenbus doctor`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {}

pub(crate) fn run(_arguments: &DoctorArguments, _settings: &Settings, _output: &mut Output) -> anyhow::Result<Outcome> {
    anyhow::bail!("`doctor` is not in this build yet")
}
