//! How close decoded pictures are to what went in: PSNR and SSIM.
//!
//! PSNR is that of the mean squared error over all pictures, not a mean of decibels. SSIM is Wang, Bovik, Sheikh and
//! Simoncelli's (IEEE Trans. Image Process. 13, 2004) of luma, over windows of 8×8 samples that begin every four
//! samples, each sample with the same weight; of a clip it is the mean over its pictures.

mod ssim;

use crate::CodecError;
use lumenbus_frame::{PixelFormat, RawFrame};
use ssim::ssim;

const PEAK: f64 = 255.0;

/// Quality of a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Decibels; infinite where every sample is the same.
    pub psnr_luma: f64,
    /// Decibels of all samples, chroma included.
    pub psnr: f64,
    /// Of luma; 1 where every sample is the same.
    pub ssim: f64,
    /// The lowest of a picture.
    pub lowest_ssim: f64,
}

/// Adds up pictures; both sides are I420 or Gray8 of the same size.
#[derive(Debug, Clone, Default)]
pub struct QualityMeter {
    luma: Squares,
    all: Squares,
    ssim: f64,
    lowest_ssim: Option<f64>,
    pictures: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Squares {
    error: u64,
    samples: u64,
}

impl QualityMeter {
    /// Compares a decoded picture with its original.
    ///
    /// # Errors
    /// Other pixel formats, and pictures of which one has another size or format than the other.
    pub fn add(&mut self, original: &RawFrame, decoded: &RawFrame) -> Result<(), CodecError> {
        let (from, to) = (original.format(), decoded.format());
        if !matches!(from, PixelFormat::I420 | PixelFormat::Gray8) || from != to {
            return Err(CodecError::NoConversion { from: to, to: from });
        }
        let size = original.dimensions();
        if size != decoded.dimensions() {
            let (codec, reason) = (lumenbus_frame::Codec::Raw, "it is compared with a picture of another size");
            return Err(CodecError::Size { codec, dimensions: decoded.dimensions(), reason });
        }
        let (width, height) = (size.width as usize, size.height as usize);
        let (a, b) = (original.pixels(), decoded.pixels());
        let luma = width * height;
        self.luma.add(&a[..luma], &b[..luma]);
        self.all.add(a, b);
        let ssim = ssim(&a[..luma], &b[..luma], width);
        self.ssim += ssim;
        self.lowest_ssim = Some(self.lowest_ssim.map_or(ssim, |lowest| lowest.min(ssim)));
        self.pictures += 1;
        Ok(())
    }

    /// `None` before the first picture.
    #[must_use]
    pub fn quality(&self) -> Option<Quality> {
        Some(Quality {
            psnr_luma: self.luma.psnr(),
            psnr: self.all.psnr(),
            ssim: self.ssim / f64::from(self.pictures),
            lowest_ssim: self.lowest_ssim?,
        })
    }
}

impl Squares {
    fn add(&mut self, a: &[u8], b: &[u8]) {
        // A row at a time in 32 bits, which vectorises; 65,025 × 4,096 fits.
        let of_chunk = |(a, b): (&[u8], &[u8])| -> u64 {
            let squares = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2));
            u64::from(squares.sum::<u32>())
        };
        self.error += a.chunks(4096).zip(b.chunks(4096)).map(of_chunk).sum::<u64>();
        self.samples += a.len() as u64;
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio of large numbers")]
    fn psnr(self) -> f64 {
        10.0 * (PEAK * PEAK * self.samples as f64 / self.error as f64).log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{CaptureTime, Dimensions};

    fn gray(width: u32, height: u32, pixel: impl Fn(usize) -> u8) -> RawFrame {
        let pixels: Vec<u8> = (0..(width * height) as usize).map(pixel).collect();
        RawFrame::new(PixelFormat::Gray8, Dimensions::new(width, height), pixels.into(), CaptureTime::arrival(0))
            .unwrap()
    }

    fn texture(at: usize) -> u8 {
        u8::try_from(at * 37 % 151 + 50).unwrap()
    }

    fn of(a: &RawFrame, b: &RawFrame) -> Quality {
        let mut meter = QualityMeter::default();
        meter.add(a, b).unwrap();
        meter.quality().unwrap()
    }

    #[test]
    fn the_same_picture_is_perfect() {
        let picture = gray(40, 24, texture);
        let quality = of(&picture, &picture);
        assert!(quality.psnr_luma.is_infinite() && quality.psnr.is_infinite());
        assert!((quality.ssim - 1.0).abs() < 1e-12, "{quality:?}");
    }

    #[test]
    fn psnr_is_that_of_the_mean_squared_error() {
        let picture = gray(32, 32, texture);
        let shifted = gray(32, 32, |at| texture(at) + 5);
        // 20 · log10(255 / 5)
        assert!((of(&picture, &shifted).psnr_luma - 34.1514).abs() < 1e-3);
        // Two pictures, one of them perfect: half the error, not the mean of the decibels.
        let mut meter = QualityMeter::default();
        meter.add(&picture, &picture).unwrap();
        meter.add(&picture, &shifted).unwrap();
        let quality = meter.quality().unwrap();
        assert!((quality.psnr_luma - 37.1617).abs() < 1e-3, "{quality:?}");
        assert!(quality.lowest_ssim < quality.ssim && quality.ssim < 1.0, "{quality:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let mut meter = QualityMeter::default();
        assert!(meter.quality().is_none());
        let error = meter.add(&gray(32, 16, texture), &gray(16, 32, texture)).unwrap_err();
        assert!(error.to_string().contains("16x32"), "{error}");
        let deep =
            RawFrame::new(PixelFormat::Gray16Le, Dimensions::new(8, 8), vec![0; 128].into(), CaptureTime::arrival(0));
        assert!(meter.add(&gray(8, 8, texture), &deep.unwrap()).is_err());
        assert!(meter.quality().is_none());
    }
}
