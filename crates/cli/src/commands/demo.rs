//! `lumenbus demo`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {}

pub(crate) fn run(_arguments: &DemoArguments, _settings: &Settings, _output: &mut Output) -> anyhow::Result<Outcome> {
    anyhow::bail!("`demo` is not in this build yet")
}
