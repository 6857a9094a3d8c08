//! `lumenbus up`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct UpArguments {}

pub(crate) fn run(_arguments: &UpArguments, _settings: &Settings, _output: &mut Output) -> anyhow::Result<Outcome> {
    anyhow::bail!("`up` is not in this build yet")
}
