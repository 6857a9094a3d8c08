//! What `bench qos` and `bench join` have in common: a stream that is encoded in real time, at the size and rate that
//! the project promises something about.

use super::decoded::pictures::Pictures;
use super::environment::Environment;
use crate::settings::Settings;
use crate::units;
use clap::Args;
use lumenbus_frame::{Dimensions, FrameRate};
use std::time::Duration;

/// The promises are about 1080p30.
const PROMISED: (Dimensions, u32) = (Dimensions { width: 1_920, height: 1_080 }, 30);

/// What is encoded.
#[derive(Debug, Clone, Args)]
pub(crate) struct LiveArguments {
    /// Footage; its first 60 pictures are decoded into memory and go there and back [default: the test pattern with noise]
    #[arg(long, value_name = "FILE")]
    pub(crate) source: Option<String>,
    /// Size of the test pattern
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = units::dimensions, default_value = "1920x1080")]
    pub(crate) size: Dimensions,
    /// Frames per second
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u32).range(1..=240))]
    pub(crate) fps: u32,
    /// Time between keyframes
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s")]
    pub(crate) gop: Duration,
}

/// What the arguments lead to.
pub(super) struct Live {
    pub(super) rate: FrameRate,
    pub(super) pictures: Pictures,
    pub(super) environment: Environment,
}

impl LiveArguments {
    pub(super) fn open(&self, settings: &Settings) -> anyhow::Result<Live> {
        let rate = FrameRate::per_second(self.fps);
        let pictures = Pictures::load(self.source.as_deref(), self.size, rate)?;
        Ok(Live { rate, pictures, environment: Environment::open(settings)? })
    }

    /// How many frames are taken in this time; one at least.
    pub(super) fn frames_in(&self, time: Duration) -> anyhow::Result<u64> {
        let frames = u128::from(self.fps) * time.as_millis() / 1_000;
        Ok(u64::try_from(frames)?.max(1))
    }
}

impl Live {
    /// `1920x1080 at 30/s, 60 pictures of FILE, embedded broker at …`
    pub(super) fn what(&self) -> String {
        let Self { rate, pictures, environment } = self;
        let (size, count, name) = (pictures.size, pictures.count(), &pictures.name);
        format!("{size} at {}/s, {count} pictures of {name}, {}", rate.frames, environment.what())
    }

    /// Whether the promises are about pictures of this size and rate.
    pub(super) fn is_promised(&self) -> bool {
        (self.pictures.size, self.rate.frames) == PROMISED
    }
}

/// Behind a figure: its target, and whether it was met; where nothing is promised, that alone.
pub(super) fn verdict(target: &str, is_met: bool, is_promised: bool) -> String {
    match (is_promised, is_met) {
        (false, _) => format!("(the target {target} is for other conditions)"),
        (true, true) => format!("(target {target}: yes)"),
        (true, false) => format!("(target {target}: no)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        live: LiveArguments,
    }

    #[test]
    fn a_time_is_whole_frames() {
        let live = Alone::parse_from(["bench", "--fps", "25"]).live;
        let frames = |millis| live.frames_in(Duration::from_millis(millis)).unwrap();
        assert_eq!([frames(10_000), frames(99), frames(1)], [250, 2, 1]);
    }

    #[test]
    fn only_what_is_promised_is_met_or_missed() {
        assert_eq!(verdict("p99 60", true, true), "(target p99 60: yes)");
        assert_eq!(verdict("p99 60", false, true), "(target p99 60: no)");
        assert_eq!(verdict("p99 60", false, false), "(the target p99 60 is for other conditions)");
    }
}
