//! What `bench qos` takes.

use crate::bench::live::LiveArguments;
use crate::units;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Args)]
pub(crate) struct QosArguments {
    #[command(flatten)]
    pub(crate) live: LiveArguments,
    /// What the rate control is told to keep to
    #[arg(long, value_name = "BITS", value_parser = units::bitrate, default_value = "2200k")]
    pub(crate) bitrate: u32,
    /// Length of a run
    #[arg(long = "for", value_parser = units::duration, default_value = "20s")]
    pub(crate) duration: Duration,
    /// Runs; the one in which other programs used least of the machine is told of
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) runs: u32,
    /// Draw it beside the curve of JPEG as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}
