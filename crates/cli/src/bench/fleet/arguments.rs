//! What `bench fleet` takes.

use crate::units;
use clap::Args;
use lumenbus_frame::Dimensions;
use lumenbus_pipeline::fleet::MAX_FLEET_CAMERAS;
use std::time::Duration;

#[derive(Debug, Clone, Args)]
pub(crate) struct FleetArguments {
    /// Cameras
    #[arg(long, default_value = "64", value_parser = cameras)]
    pub(crate) cameras: usize,
    /// Footage; its first 60 pictures are coded at --bitrate before the clock starts [default: the test pattern with noise]
    #[arg(long, value_name = "FILE")]
    pub(crate) source: Option<String>,
    /// Size of the test pattern
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = units::dimensions, default_value = "1920x1080")]
    pub(crate) size: Dimensions,
    /// Frames per second
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u32).range(1..=240))]
    pub(crate) fps: u32,
    /// Bit rate of a camera
    #[arg(long, value_name = "BITS", value_parser = units::bitrate, default_value = "3M")]
    pub(crate) bitrate: u32,
    /// Time between keyframes
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "2s")]
    pub(crate) gop: Duration,
    /// Length of a run, once every camera is live
    #[arg(long = "for", value_parser = units::duration, default_value = "30s")]
    pub(crate) duration: Duration,
    /// Look for the largest number of cameras that holds, beginning with --cameras
    #[arg(long)]
    pub(crate) find_limit: bool,
}

fn cameras(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_FLEET_CAMERAS).contains(number));
    number.ok_or_else(|| format!("write a number from 1 to {MAX_FLEET_CAMERAS}"))
}
