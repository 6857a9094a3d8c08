//! What `bench join` takes.

use crate::bench::live::LiveArguments;
use crate::units;
use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct JoinArguments {
    #[command(flatten)]
    pub(crate) live: LiveArguments,
    /// Bit rate of the stream
    #[arg(long, value_name = "BITS", value_parser = units::bitrate, default_value = "4M")]
    pub(crate) bitrate: u32,
    /// Joins of each kind, at random moments
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) joins: u32,
}
