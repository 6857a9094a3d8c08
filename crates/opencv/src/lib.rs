//! Detection of people and, by cascades, of faces with the system's OpenCV, behind a safe interface.
//!
//! OpenCV is reached through a shim in C++ (`shim/`) that is compiled against the headers of the machine. Everything `unsafe` is
//! in `raw.rs`; no exception leaves the shim, and nothing is printed. Without the feature `system` this crate is empty.
//!
//! OpenCV is told once, for the whole program, to use one thread for a picture: many streams are looked at beside each
//! other, and the same picture gives the same windows.
#![cfg_attr(
    feature = "system",
    doc = r#"
```
use lumenbus_opencv::{Detector, Gray};

let mut people = Detector::people()?;
let pixels = vec![128; 160 * 200];
let gray = Gray { pixels: &pixels, stride: 160, size: (160, 200) };
assert!(people.find(&gray, 1.0, 1000)?.is_empty());
# Ok::<(), lumenbus_opencv::Error>(())
```
"#
)]

#[cfg(feature = "system")]
mod raw;

#[cfg(feature = "system")]
pub use raw::{Detector, version};

/// A plane of 8-bit gray.
#[derive(Debug, Clone, Copy)]
pub struct Gray<'a> {
    /// Rows, the last of which may end with its last pixel.
    pub pixels: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

/// A window that the detector takes for what it looks for, in pixels of the picture; it may reach beyond it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Left side.
    pub x: f64,
    /// Upper side.
    pub y: f64,
    /// Columns.
    pub width: f64,
    /// Rows.
    pub height: f64,
    /// Distance from the border of the class: the greater, the surer. 0 of a cascade, which has none.
    pub weight: f64,
}

/// OpenCV refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of OpenCV's own.
    #[error("OpenCV could not {what}: {text}")]
    Failed {
        /// What it should have done.
        what: &'static str,
        /// Its words.
        text: String,
    },
    /// A picture that OpenCV cannot be given.
    #[error(
        "OpenCV cannot be given a picture of {width} x {height} with {stride} bytes a row in {length} bytes, {scale} times as large"
    )]
    Picture {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes from one row to the next.
        stride: usize,
        /// Bytes at hand.
        length: usize,
        /// How large it was to be looked at.
        scale: f64,
    },
}
