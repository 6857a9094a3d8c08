//! Which model, and what of its answers counts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a model is, and what of its answers counts.
///
/// As text `PATH`, `PATH,score=0.4` or `PATH,score=0.4,iou=0.6`.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxConfig {
    /// The model's file.
    pub path: PathBuf,
    /// The least score of a detection, 0 to 1.
    pub least_score: f32,
    /// Of two boxes of one class that overlap by more (intersection over union, 0 to 1) the better one stays.
    pub max_overlap: f32,
    /// Both sides of the picture for a model that leaves them open.
    pub side: usize,
    /// The best ones are kept.
    pub max_detections: usize,
}

impl OnnxConfig {
    /// With the usual thresholds.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, least_score: 0.25, max_overlap: 0.45, side: 640, max_detections: 300 }
    }
}

/// What is wrong with `PATH[,score=S][,iou=I]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxConfigError {
    /// No path.
    #[error("the detector onnx needs its model's file: onnx:model.onnx")]
    NoPath,
    /// A threshold that is none.
    #[error("{option}={value:?} is no number from 0 to 1")]
    Threshold {
        /// Which one.
        option: &'static str,
        /// As given.
        value: String,
    },
}

impl FromStr for OnnxConfig {
    type Err = OnnxConfigError;

    /// A comma belongs to the path unless one of the options follows it.
    fn from_str(text: &str) -> Result<Self, OnnxConfigError> {
        let mut config = Self::new(PathBuf::new());
        let mut path = text;
        while let Some((before, option)) = path.rsplit_once(',') {
            if let Some(value) = option.strip_prefix("score=") {
                config.least_score = threshold("score", value)?;
            } else if let Some(value) = option.strip_prefix("iou=") {
                config.max_overlap = threshold("iou", value)?;
            } else {
                break;
            }
            path = before;
        }
        if path.is_empty() {
            return Err(OnnxConfigError::NoPath);
        }
        config.path = path.into();
        Ok(config)
    }
}

fn threshold(option: &'static str, value: &str) -> Result<f32, OnnxConfigError> {
    let number = value.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| OnnxConfigError::Threshold { option, value: value.chars().take(64).collect() })
}

impl fmt::Display for OnnxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::new(PathBuf::new());
        write!(f, "{}", self.path.display())?;
        if self.least_score != usual.least_score {
            write!(f, ",score={}", self.least_score)?;
        }
        if self.max_overlap != usual.max_overlap {
            write!(f, ",iou={}", self.max_overlap)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_after_the_path() {
        let config: OnnxConfig = "models/a,b.onnx,iou=0.6,score=0.4".parse().unwrap();
        assert_eq!((config.path.to_str(), config.least_score, config.max_overlap), (Some("models/a,b.onnx"), 0.4, 0.6));
        for text in ["net.onnx", "net.onnx,score=0.4", "net.onnx,score=0,iou=1", "a,size=3"] {
            assert_eq!(text.parse::<OnnxConfig>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refusal = |text: &str| text.parse::<OnnxConfig>().unwrap_err().to_string();
        assert!(refusal("").contains("onnx:model.onnx") && refusal(",score=0.5").contains("onnx:model.onnx"));
        for value in ["2", "-0.1", "NaN", "x", ""] {
            assert!(refusal(&format!("net.onnx,score={value}")).contains("no number from 0 to 1"), "{value}");
        }
    }
}
