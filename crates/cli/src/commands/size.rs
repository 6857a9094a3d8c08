//! `lumenbus size`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct SizeArguments {}

pub(crate) fn run(_arguments: &SizeArguments, _settings: &Settings, _output: &mut Output) -> anyhow::Result<Outcome> {
    anyhow::bail!("`size` is not in this build yet")
}
