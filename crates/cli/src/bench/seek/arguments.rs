//! What `lumenbus bench seek` takes.

use crate::units;
use clap::Args;
use lumenbus_frame::Dimensions;
use std::time::Duration;

#[derive(Debug, Clone, Args)]
pub(crate) struct SeekArguments {
    /// How much is recorded of each camera; without --real-time sent as fast as it goes, with the capture times of that long
    #[arg(long = "for", value_parser = units::duration, default_value = "1h")]
    pub(crate) duration: Duration,
    /// Record as long as it lasts: append times are then what they are in use
    #[arg(long)]
    pub(crate) real_time: bool,
    /// Cameras; moments of two of them are looked for: of one with a keyframe each second, and of one with long GOPs
    #[arg(long, default_value = "48", value_parser = clap::value_parser!(u32).range(2..=500))]
    pub(crate) cameras: u32,
    /// Partitions of the topic
    #[arg(long, default_value = "12", value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub(crate) partitions: i32,
    /// Size of the two cameras' pictures; those of the others are small
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = units::dimensions, default_value = "640x360")]
    pub(crate) size: Dimensions,
    /// Frames per second of the two
    #[arg(long, default_value = "15", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) fps: u32,
    /// GOP of the one with few keyframes: whole seconds, 1s to 60s
    #[arg(long, value_name = "TIME", value_parser = long_gop, default_value = "10s")]
    pub(crate) long_gop: Duration,
    /// Moments of each of the two
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) seeks: u32,
    /// Which moments; the same number leads to the same ones
    #[arg(long, default_value = "1")]
    pub(crate) seed: u64,
    /// Without an index: by the frames alone
    #[arg(long)]
    pub(crate) no_index: bool,
}

/// The other camera has a keyframe each second, and both repeat as many pictures as this GOP has.
fn long_gop(text: &str) -> Result<Duration, String> {
    let gop = units::duration(text)?;
    let is_right = gop.subsec_nanos() == 0 && (1..=60).contains(&gop.as_secs());
    is_right.then_some(gop).ok_or_else(|| format!("{text:?} is not a number of whole seconds from 1s to 60s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gop_is_taken_as_it_is_or_refused() {
        assert_eq!(long_gop("60s"), Ok(Duration::from_secs(60)));
        for wrong in ["0s", "500ms", "2500ms", "61s", "ten"] {
            assert!(long_gop(wrong).is_err(), "{wrong}");
        }
    }
}
