//! The calls into the shim.
//!
//! Why they are sound, beyond what each says for itself: a detector is made by `lo_open_…`, belongs to one [`Detector`] and is
//! freed when that is dropped; nothing of it is kept elsewhere. The declarations repeat `shim.h`; the structures are plain
//! numbers and pointers, for which any bit pattern that C++ writes is valid.

#![expect(unsafe_code, reason = "OpenCV has a C++ interface only")]

use crate::{Error, Gray, Window};
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

/// Longest side of a picture, also as it is looked at; coordinates in OpenCV are well below what its integers hold then.
const MAX_SIDE: f64 = 32_768.0;
/// Room for OpenCV's words.
const TEXT_BYTES: usize = 512;

#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}

#[repr(C)]
struct RawGray {
    pixels: *const u8,
    stride: usize,
    width: i32,
    height: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawWindow {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    weight: f64,
}

unsafe extern "C" {
    safe fn lo_version() -> *const c_char;
    fn lo_open_people(text: *mut c_char, text_length: usize) -> *mut Opaque;
    fn lo_open_cascade(xml: *const c_char, length: usize, text: *mut c_char, text_length: usize) -> *mut Opaque;
    fn lo_close(detector: *mut Opaque);
    fn lo_find(
        detector: *mut Opaque,
        gray: *const RawGray,
        scale: f64,
        windows: *mut RawWindow,
        room: usize,
        text: *mut c_char,
        text_length: usize,
    ) -> i64;
}

/// OpenCV's version, as its headers had it.
#[must_use]
pub fn version() -> &'static str {
    // SAFETY: the shim returns a constant that ends in a zero byte.
    let text = unsafe { CStr::from_ptr(lo_version()) };
    text.to_str().unwrap_or("unknown")
}

fn failed(what: &'static str, text: &[c_char; TEXT_BYTES]) -> Error {
    // A C `char` has a sign on some machines.
    let text: Vec<u8> = text.iter().map(|byte| byte.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    Error::Failed { what, text: String::from_utf8_lossy(&text).trim().to_owned() }
}

/// Finds things of one class in gray pictures. It learns nothing from them.
pub struct Detector {
    detector: NonNull<Opaque>,
    /// Used again for every picture.
    windows: Vec<RawWindow>,
}

// SAFETY: OpenCV's detectors belong to no thread, and `&mut self` lets one thread at a time use them.
unsafe impl Send for Detector {}

impl Detector {
    /// People who stand or walk, by histograms of gradients (Dalal and Triggs), with the weights that OpenCV holds. A
    /// window is 64 by 128 pixels of the picture that is looked at, or larger; the person in it is some 96 high.
    ///
    /// # Errors
    /// Where memory is short.
    pub fn people() -> Result<Self, Error> {
        let mut text = [0; TEXT_BYTES];
        // SAFETY: the shim writes at most so many bytes of text.
        let detector = unsafe { lo_open_people(text.as_mut_ptr(), text.len()) };
        Self::new("set up its people detector", detector, &text)
    }

    /// What a cascade was trained for, given the content of its file: one of OpenCV 4, of Haar or LBP features.
    ///
    /// # Errors
    /// Where it is no such cascade.
    pub fn cascade(xml: &str) -> Result<Self, Error> {
        let mut text = [0; TEXT_BYTES];
        // SAFETY: the shim reads and writes at most so many bytes, during the call.
        let detector = unsafe { lo_open_cascade(xml.as_ptr().cast(), xml.len(), text.as_mut_ptr(), text.len()) };
        Self::new("read the cascade", detector, &text)
    }

    fn new(what: &'static str, detector: *mut Opaque, text: &[c_char; TEXT_BYTES]) -> Result<Self, Error> {
        let detector = NonNull::new(detector).ok_or_else(|| failed(what, text))?;
        Ok(Self { detector, windows: Vec::new() })
    }

    /// Looks at the picture `scale` times as large: the windows that it takes for its class, many around each thing, the
    /// surest first, at most so many.
    ///
    /// # Errors
    /// For a picture that is empty, longer than 32,768 or not all there; where OpenCV fails.
    pub fn find(&mut self, gray: &Gray<'_>, scale: f64, most: usize) -> Result<Vec<Window>, Error> {
        let raw = checked(gray, scale)?;
        self.windows.resize(most, RawWindow::default());
        let mut text = [0; TEXT_BYTES];
        // SAFETY: `checked` saw that every row lies inside the slice, and the shim writes at most so many windows and bytes of
        // text, during the call.
        let count = unsafe {
            lo_find(
                self.detector.as_ptr(),
                &raw const raw,
                scale,
                self.windows.as_mut_ptr(),
                self.windows.len(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        let count = usize::try_from(count).map_err(|_| failed("look at a picture", &text))?;
        let window =
            |raw: &RawWindow| Window { x: raw.x, y: raw.y, width: raw.width, height: raw.height, weight: raw.weight };
        Ok(self.windows.iter().take(count).map(window).collect())
    }
}

/// What the shim is given: rows that are all inside the slice, and sides that OpenCV's integers hold.
fn checked(gray: &Gray<'_>, scale: f64) -> Result<RawGray, Error> {
    let (width, height) = gray.size;
    let is_side =
        |side: u32| side > 0 && f64::from(side) <= MAX_SIDE && (1.0..=MAX_SIDE).contains(&(f64::from(side) * scale));
    let whole =
        gray.stride.checked_mul((height as usize).saturating_sub(1)).and_then(|rows| rows.checked_add(width as usize));
    let is_whole = whole.is_some_and(|bytes| bytes <= gray.pixels.len()) && gray.stride >= width as usize;
    match (i32::try_from(width), i32::try_from(height)) {
        (Ok(columns), Ok(rows)) if is_side(width) && is_side(height) && is_whole => {
            Ok(RawGray { pixels: gray.pixels.as_ptr(), stride: gray.stride, width: columns, height: rows })
        }
        _ => Err(Error::Picture { width, height, stride: gray.stride, length: gray.pixels.len(), scale }),
    }
}

impl Drop for Detector {
    fn drop(&mut self) {
        // SAFETY: it is alive until here, and nobody has it any more.
        unsafe { lo_close(self.detector.as_ptr()) }
    }
}
