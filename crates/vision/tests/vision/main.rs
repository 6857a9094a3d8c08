//! Detectors and tracking from outside: on drawn scenes and on footage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "drawn pictures are small, and levels clamped"
)]

mod footage;
mod health;
mod motion;
#[cfg(feature = "opencv")]
mod opencv;
mod quality;
mod scene;
mod track;
