//! `lumenbus view`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ViewArguments {}

pub(crate) fn run(_arguments: &ViewArguments, _settings: &Settings, _output: &mut Output) -> anyhow::Result<Outcome> {
    anyhow::bail!("`view` is not in this build yet")
}
