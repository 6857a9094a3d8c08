//! `lumenbus cameras`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct CamerasArguments {}

pub(crate) fn run(
    _arguments: &CamerasArguments,
    _settings: &Settings,
    _output: &mut Output,
) -> anyhow::Result<Outcome> {
    anyhow::bail!("`cameras` is not in this build yet")
}
