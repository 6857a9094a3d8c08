//! What a fixed camera's picture adds to the one before: nothing but noise ([`RestMeter`]), or something under noise
//! that need not be coded ([`Denoiser`]). Both look at pixels before an encoder does; how they were chosen and what they
//! save is in docs/design/fixed-cameras.md.

mod denoise;
mod noise;
mod rest;

pub use denoise::Denoiser;
pub use rest::RestMeter;

use lumenbus_frame::{PixelFormat, RawFrame};

/// A part of a picture's bytes: rows of one component, or of several side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plane {
    offset: usize,
    width: usize,
    height: usize,
}

/// The planes of a picture of 8-bit samples, luma first; none of others.
fn planes(picture: &RawFrame) -> Vec<Plane> {
    let size = picture.dimensions();
    let (width, height) = (size.width as usize, size.height as usize);
    match picture.format() {
        PixelFormat::Gray8 => vec![Plane { offset: 0, width, height }],
        PixelFormat::Rgb8 => vec![Plane { offset: 0, width: 3 * width, height }],
        PixelFormat::I420 => {
            let luma = Plane { offset: 0, width, height };
            let (width, height) = (width.div_ceil(2), height.div_ceil(2));
            let u = Plane { offset: luma.width * luma.height, width, height };
            vec![luma, u, Plane { offset: u.offset + width * height, ..u }]
        }
        _ => Vec::new(),
    }
}

/// Whether one picture's samples lie where the other's do.
fn is_alike(one: &RawFrame, other: &RawFrame) -> bool {
    (one.format(), one.dimensions()) == (other.format(), other.dimensions())
}

/// Scenes for tests, by a generator that is the same everywhere.
#[cfg(test)]
mod scenes {
    use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat, RawFrame};

    pub(super) struct Noise(pub(super) u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// Nearly Gaussian, with a standard deviation of 1: the sum of twelve even ones.
        fn gaussian(&mut self) -> f64 {
            let word = self.next();
            let other = self.next();
            let even = |word: u64, at: u32| f64::from(u8::try_from((word >> (8 * at)) & 0xFF).unwrap()) / 255.0;
            (0..6).map(|at| even(word, at) + even(other, at)).sum::<f64>() - 6.0
        }
    }

    /// A textured wall in I420, under noise of this standard deviation.
    pub(super) fn wall(size: Dimensions, sigma: f64, noise: &mut Noise) -> Vec<u8> {
        let bytes = PixelFormat::I420.frame_bytes(size).unwrap();
        let width = size.width as usize;
        let still = |at: usize| 60.0 + f64::from(u8::try_from((at % width * 7 + at / width * 13) % 120).unwrap());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
        let byte = |at| (still(at) + sigma * noise.gaussian()).round().clamp(0.0, 255.0) as u8;
        (0..bytes).map(byte).collect()
    }

    pub(super) fn picture(size: Dimensions, pixels: Vec<u8>) -> RawFrame {
        RawFrame::new(PixelFormat::I420, size, pixels.into(), CaptureTime::arrival(0)).unwrap()
    }
}
