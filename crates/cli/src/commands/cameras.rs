//! `lumenbus cameras`: the cameras of a settings file.

mod change;
mod discover;
mod list;
mod test;

use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::site::{self, Site};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(
    after_help = "The settings file is lumenbus.toml here, or --config FILE. A box that runs follows it within two seconds.\n\nExamples:\n  lumenbus cameras add gate clips/gate.mp4 --name 'Main gate' --loop\n  lumenbus cameras add yard clips/yard.mp4 --sub clips/yard-small.mp4 --snapshots 1s\n  lumenbus cameras test clips/gate.mp4\n  lumenbus cameras list\n  lumenbus cameras discover\n  lumenbus cameras remove gate"
)]
pub(crate) struct CamerasArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is configured, and what the camera directory says of it
    List(list::ListArguments),
    /// Add a camera to the settings file
    Add(Box<change::AddArguments>),
    /// Remove cameras from the settings file
    Remove(change::RemoveArguments),
    /// Open a source, read a few seconds of it and say what it is
    Test(test::TestArguments),
    /// Find the cameras of this machine, and those of this network that speak ONVIF
    Discover(discover::DiscoverArguments),
}

pub(crate) fn run(arguments: &CamerasArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    match &arguments.what {
        What::List(arguments) => list::run(arguments, settings, output),
        What::Add(arguments) => change::add(arguments, settings, output),
        What::Remove(arguments) => change::remove(arguments, settings, output),
        What::Test(arguments) => test::run(arguments, settings, output),
        What::Discover(arguments) => discover::run(arguments, settings, output),
    }
}

/// The settings file, which these commands are about.
fn file(settings: &Settings) -> Result<&Site, Usage> {
    let missing = || {
        let file = site::FILE_NAME;
        Usage(format!("there is no {file} here; write one with `lumenbus init`, or pass --config"))
    };
    settings.site.as_deref().ok_or_else(missing)
}
