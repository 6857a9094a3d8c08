//! What `bench detect` takes.

use clap::Args;
use lumenbus_vision::DetectorKind;
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lumenbus bench detect gate.mp4\n  lumenbus bench detect vtest_768x576.mp4 --labels tests/labels/vtest_768x576.json --pictures found"
)]
pub(crate) struct DetectBenchArguments {
    /// Footage: a file that `publish` takes
    #[arg(value_name = "FILE")]
    pub(crate) source: String,
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
