//! What a detector is, and which there are.

use crate::motion::{MotionConfig, MotionDetector};
#[cfg(feature = "onnx")]
use crate::onnx::{ModelError, OnnxConfig, OnnxConfigError, OnnxDetector, OnnxModel};
#[cfg(feature = "opencv")]
use crate::opencv::OpencvLoaded;
use lumenbus_frame::{PixelFormat, RawFrame, UnknownName};
use std::fmt;
#[cfg(feature = "opencv")]
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub use lumenbus_wire::{Bounds, Model};

/// Finds things in the pictures of one stream.
///
/// There is one per stream, and it gets the stream's pictures in order: it may learn what the view is like.
pub trait Detector: Send {
    /// Which it is; the same for its whole life.
    fn model(&self) -> &Model;

    /// What is in this picture: at most [`MAX_DETECTIONS`](lumenbus_wire::MAX_DETECTIONS), with bounds in its
    /// pixels and inside it.
    ///
    /// # Errors
    /// A picture that this detector cannot look at. The next one may be fine again.
    fn detect(&mut self, picture: &RawFrame) -> Result<Vec<Detection>, VisionError>;

    /// Forgets what was learnt: the next picture has nothing to do with the last one.
    fn reset(&mut self);
}

/// One thing in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// What it is: `motion`, `person`.
    pub class: Arc<str>,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// Where it is, in pixels, clipped to the picture.
    pub bounds: Bounds,
}

/// What keeps a picture from being looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisionError {
    /// Pixels that the detector does not read.
    #[error("{detector} does not read {format} pictures; convert them to one of: {readable}")]
    Format {
        /// The detector's name.
        detector: &'static str,
        /// The picture's format.
        format: PixelFormat,
        /// Names of the formats that it reads.
        readable: &'static str,
    },
    /// A picture without room for anything.
    #[error("{detector} needs pictures of at least {least} x {least} pixels, got {width} x {height}")]
    Small {
        /// The detector's name.
        detector: &'static str,
        /// Shortest side.
        least: u32,
        /// Columns of the picture.
        width: u32,
        /// Rows of the picture.
        height: u32,
    },
    /// A model that cannot be used, or that gave what cannot be.
    #[cfg(feature = "onnx")]
    #[error("the model {path} cannot be used: {error}", path = path.display())]
    Model {
        /// The model's file.
        path: std::path::PathBuf,
        /// Why not.
        error: Box<ModelError>,
    },
    /// A file that the detector cannot do without.
    #[cfg(feature = "opencv")]
    #[error("{detector} needs {path}, which cannot be read: install {package}", path = path.display())]
    Data {
        /// The detector's name.
        detector: &'static str,
        /// The file.
        path: PathBuf,
        /// The package of the system that brings it.
        package: &'static str,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// OpenCV refused or failed.
    #[cfg(feature = "opencv")]
    #[error("{detector}: {error}")]
    Opencv {
        /// The detector's name.
        detector: &'static str,
        /// Its words.
        error: lumenbus_opencv::Error,
    },
}

/// The detectors that can be asked for by name.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DetectorKind {
    /// What moves in front of a still background ([`MotionDetector`]).
    Motion,
    /// What a YOLO or SSD model in a file finds ([`OnnxDetector`]).
    #[cfg(feature = "onnx")]
    Onnx(OnnxConfig),
    /// Standing and walking people, by OpenCV.
    #[cfg(feature = "opencv")]
    People,
    /// Faces that look at the camera, by OpenCV.
    #[cfg(feature = "opencv")]
    Face,
}

impl DetectorKind {
    /// How each detector is asked for.
    pub const NAMES: &[&str] = &[
        "motion",
        #[cfg(feature = "onnx")]
        "onnx:PATH[,score=S][,iou=I]",
        #[cfg(feature = "opencv")]
        "people",
        #[cfg(feature = "opencv")]
        "face",
    ];

    /// Reads what the detector needs, once; the detectors of many streams share it.
    ///
    /// # Errors
    /// What the detector needs and cannot have.
    pub fn load(&self) -> Result<LoadedDetector, VisionError> {
        match self {
            Self::Motion => Ok(LoadedDetector(Loaded::Motion)),
            #[cfg(feature = "opencv")]
            Self::People => Ok(LoadedDetector(Loaded::Opencv(OpencvLoaded::people()?))),
            #[cfg(feature = "opencv")]
            Self::Face => Ok(LoadedDetector(Loaded::Opencv(OpencvLoaded::face()?))),
            #[cfg(feature = "onnx")]
            Self::Onnx(config) => Ok(LoadedDetector(Loaded::Onnx(Arc::new(OnnxModel::load(config)?)))),
        }
    }

    /// A detector with its usual parameters, for one stream.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn open(&self) -> Result<Box<dyn Detector>, VisionError> {
        Ok(self.load()?.open())
    }
}

/// What the detectors of one kind share: opens one per stream.
#[derive(Debug, Clone)]
pub struct LoadedDetector(Loaded);

#[derive(Debug, Clone)]
enum Loaded {
    Motion,
    #[cfg(feature = "opencv")]
    Opencv(OpencvLoaded),
    #[cfg(feature = "onnx")]
    Onnx(Arc<OnnxModel>),
}

impl LoadedDetector {
    /// A detector with its usual parameters, for one stream.
    #[must_use]
    pub fn open(&self) -> Box<dyn Detector> {
        match &self.0 {
            Loaded::Motion => Box::new(MotionDetector::new(MotionConfig::default())),
            #[cfg(feature = "onnx")]
            Loaded::Onnx(model) => Box::new(OnnxDetector::new(Arc::clone(model))),
            #[cfg(feature = "opencv")]
            Loaded::Opencv(loaded) => Box::new(loaded.open()),
        }
    }
}

impl fmt::Display for DetectorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Motion => f.write_str("motion"),
            #[cfg(feature = "opencv")]
            Self::People => f.write_str("people"),
            #[cfg(feature = "opencv")]
            Self::Face => f.write_str("face"),
            #[cfg(feature = "onnx")]
            Self::Onnx(config) => write!(f, "onnx:{config}"),
        }
    }
}

/// A detector that cannot be asked for by this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorNameError {
    /// No detector has this name.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// The detector exists, but not in this program.
    #[error("the detector {name} is not in this build; build lumenbus with `--features {feature}`")]
    NotBuilt {
        /// The detector's name.
        name: &'static str,
        /// The feature of the build that brings it.
        feature: &'static str,
    },
    /// A model without its file, or with other thresholds than there are.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] OnnxConfigError),
}

impl FromStr for DetectorKind {
    type Err = DetectorNameError;

    fn from_str(name: &str) -> Result<Self, DetectorNameError> {
        match name.split_once(':').unwrap_or((name, "")) {
            ("motion", "") => Ok(Self::Motion),
            #[cfg(feature = "onnx")]
            ("onnx", config) => Ok(Self::Onnx(config.parse()?)),
            #[cfg(not(feature = "onnx"))]
            ("onnx", _) => Err(DetectorNameError::NotBuilt { name: "onnx", feature: "onnx" }),
            #[cfg(feature = "opencv")]
            ("people", "") => Ok(Self::People),
            #[cfg(feature = "opencv")]
            ("face", "") => Ok(Self::Face),
            #[cfg(not(feature = "opencv"))]
            ("people", _) => Err(DetectorNameError::NotBuilt { name: "people", feature: "opencv" }),
            #[cfg(not(feature = "opencv"))]
            ("face", _) => Err(DetectorNameError::NotBuilt { name: "face", feature: "opencv" }),
            _ => Err(DetectorNameError::Unknown(UnknownName {
                what: "detector",
                name: name.chars().take(64).collect(),
                known: Self::NAMES.join(", "),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        let kinds = [
            DetectorKind::Motion,
            #[cfg(feature = "opencv")]
            DetectorKind::People,
            #[cfg(feature = "opencv")]
            DetectorKind::Face,
        ];
        for kind in kinds {
            assert_eq!(kind.to_string().parse().as_ref(), Ok(&kind));
            assert_eq!(*kind.open().unwrap().model().name, *kind.to_string());
        }
        let refused = "onnx:".parse::<DetectorKind>().unwrap_err().to_string();
        assert!(
            refused.contains(if cfg!(feature = "onnx") { "onnx:model.onnx" } else { "--features onnx" }),
            "{refused}"
        );
        let message = "yolo".parse::<DetectorKind>().unwrap_err().to_string();
        assert!(message.contains("unknown detector \"yolo\"") && message.contains("motion"), "{message}");
    }

    #[cfg(not(feature = "opencv"))]
    #[test]
    fn what_another_build_has_is_refused_with_what_to_do() {
        for name in ["people", "face"] {
            let message = name.parse::<DetectorKind>().unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("--features opencv"), "{message}");
        }
    }
}
