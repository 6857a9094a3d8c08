//! `lumenbus init`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct InitArguments {}

pub(crate) fn run(_arguments: &InitArguments, _settings: &Settings, _output: &mut Output) -> anyhow::Result<Outcome> {
    anyhow::bail!("`init` is not in this build yet")
}
