//! What `bench detect` takes.

use crate::units;
use clap::{Args, ValueEnum};
use lumenbus_vision::DetectorKind;
use std::path::PathBuf;
use std::time::Duration;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// What the detector finds, and its processor time
    Footage,
    /// A detector of two pictures a second on a live camera: the age of its results, and whether others notice
    Slow,
    /// Processor time with keyframes only, against all frames
    Keyframes,
}

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lumenbus bench detect gate.mp4\n  lumenbus bench detect vtest_768x576.mp4 --labels tests/labels/vtest_768x576.json --pictures found\n  lumenbus bench detect gate.264 --measure slow"
)]
pub(crate) struct DetectBenchArguments {
    /// Footage: a file that `publish` takes
    #[arg(value_name = "FILE")]
    pub(crate) source: String,
    /// What is measured
    #[arg(long, value_enum, default_value = "footage")]
    pub(crate) measure: Measure,
    /// With --measure slow: rounds with and without the slow detector, in turn
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) rounds: u8,
    /// With --measure slow: length of a round
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration, default_value = "10s")]
    pub(crate) duration: Duration,
    /// What is in it, as JSON; the form is in tests/labels/README.md [default: only the time is measured]
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// The detector
    #[arg(long, value_name = "NAME", default_value = "motion")]
    pub(crate) detector: DetectorKind,
    /// Pictures from the beginning [default: all]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) frames: Option<u64>,
    /// Boxes match when they overlap by this intersection over union
    #[arg(long, value_name = "RATIO", default_value = "0.3", value_parser = overlap)]
    pub(crate) iou: f32,
    /// Write the labelled pictures with boxes into this folder, as JPEG: green is labelled and found, red labelled and missed, yellow found, blue found where nothing is, grey to be ignored
    #[arg(long, value_name = "DIR", requires = "labels")]
    pub(crate) pictures: Option<PathBuf>,
}

fn overlap(text: &str) -> Result<f32, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.01..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("{text:?} is not a number from 0.01 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_a_ratio() {
        assert_eq!(overlap("0.5"), Ok(0.5));
        for wrong in ["0", "1.1", "NaN", "half"] {
            assert!(overlap(wrong).is_err(), "{wrong}");
        }
    }
}
