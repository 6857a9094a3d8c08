//! What `bench codec` takes.

use crate::units;
use clap::Args;
use lumenbus_frame::FrameRate;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Args)]
pub(crate) struct CodecBenchArguments {
    /// Footage: files that `publish` takes; `test:320x240@10` is the test pattern
    #[arg(value_name = "FILE", required = true)]
    pub(crate) sources: Vec<String>,
    /// Pictures of each file, from its beginning; they are held in memory, at most 1 GB
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) frames: u32,
    /// Frames per second [default: the file's own, else 30]
    #[arg(long, value_parser = units::frame_rate)]
    pub(crate) fps: Option<FrameRate>,
    /// Bit rate at which JPEG and openh264 by itself are compared [default: the bits per pixel of 8 Mbit/s at 1080p30]
    #[arg(long, value_name = "BITS", value_parser = units::bitrate)]
    pub(crate) bitrate: Option<u32>,
    /// Keyframe interval of openh264 by itself
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "2s")]
    pub(crate) keyframe_interval: Duration,
    /// Keyframe interval of the others: a fixed camera's, which gets a keyframe when somebody asks
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s")]
    pub(crate) long_interval: Duration,
    /// Only these: jpeg, webp, h264-library, h264-budget and so on [default: all that this build can encode]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Write every measurement as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Draw rate and SSIM as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}
