//! What is in the pictures: detectors, tracking, and the workers that run them.
//!
//! Data flow: subscribe → decode → **detect** → **track** → publish to `analysis_results`
//! ([`AnalysisResult`](lumenbus_wire::AnalysisResult)).
//!
//! A [`Detector`] sees the pictures of one stream, in order; [`DetectorKind`] opens one by name.
//!
//! ```
//! use bytes::Bytes;
//! use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat, RawFrame};
//! use lumenbus_vision::DetectorKind;
//!
//! let mut detector = "motion".parse::<DetectorKind>()?.open()?;
//! let (size, gray) = (Dimensions::new(64, 48), Bytes::from(vec![128; 64 * 48]));
//! let picture = RawFrame::new(PixelFormat::Gray8, size, gray, CaptureTime::arrival(0))?;
//! assert!(detector.detect(&picture)?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod detector;
pub mod evaluate;
pub mod features;
pub mod health;
pub mod motion;
#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(feature = "opencv")]
mod opencv;
pub mod track;
pub mod worker;

pub use detector::{Bounds, Detection, Detector, DetectorKind, DetectorNameError, LoadedDetector, Model, VisionError};
