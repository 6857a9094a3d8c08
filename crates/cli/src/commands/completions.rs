//! `lumenbus completions` and `lumenbus manual`: what a shell and `man` want to know, from the arguments themselves.

use crate::arguments::Arguments;
use crate::exit::Outcome;
use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::io::Write as _;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lumenbus completions bash > ~/.local/share/bash-completion/completions/lumenbus\n  lumenbus completions zsh > ~/.zfunc/_lumenbus"
)]
pub(crate) struct CompletionsArguments {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManualArguments {
    /// An existing folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &CompletionsArguments) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "lumenbus", &mut script);
    std::io::stdout().write_all(&script).context("cannot write the completions to standard output")?;
    Ok(Outcome::Done)
}

pub(crate) fn manual(arguments: &ManualArguments) -> anyhow::Result<Outcome> {
    let folder = &arguments.folder;
    let written = clap_mangen::generate_to(Arguments::command(), folder);
    written.with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
    Ok(Outcome::Done)
}
