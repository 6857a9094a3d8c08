//! How near a decoded picture is to the one that was encoded.

use crate::Failure;
use lumenbus_frame::RawFrame;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

/// Side of a window of SSIM, and how far the next one is.
const WINDOW: usize = 8;
const STEP: usize = 4;

/// Mean PSNR and SSIM of luma over the pictures; files are decoded by one decoder for all.
pub fn of(pictures: &[RawFrame], files: &[Vec<u8>]) -> Result<(f64, f64), Failure> {
    let (mut psnr, mut ssim, mut count) = (0.0, 0.0, 0.0);
    for (picture, file) in pictures.iter().zip(files).step_by(9) {
        let size = picture.dimensions();
        let (width, height) = (size.width as usize, size.height as usize);
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::Luma);
        let luma = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(file), options).decode();
        let luma = luma.map_err(|error| format!("{error:?}"))?;
        let original = &picture.pixels()[..width * height];
        let squares: f64 = original.iter().zip(&luma).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        psnr += 10.0 * (255.0_f64.powi(2) * original.len() as f64 / squares).log10();
        ssim += structural(original, &luma, width, height);
        count += 1.0;
    }
    Ok((psnr / count, ssim / count))
}

fn structural(a: &[u8], b: &[u8], width: usize, height: usize) -> f64 {
    let (mut sum, mut windows) = (0.0, 0.0);
    for y in (0..=height - WINDOW).step_by(STEP) {
        for x in (0..=width - WINDOW).step_by(STEP) {
            sum += window(a, b, y * width + x, width);
            windows += 1.0;
        }
    }
    sum / windows
}

fn window(a: &[u8], b: &[u8], from: usize, width: usize) -> f64 {
    let (mut sums, mut squares, mut product) = ([0_u64; 2], [0_u64; 2], 0_u64);
    for row in 0..WINDOW {
        let at = from + row * width;
        for (a, b) in a[at..at + WINDOW].iter().zip(&b[at..at + WINDOW]) {
            let (a, b) = (u64::from(*a), u64::from(*b));
            sums[0] += a;
            sums[1] += b;
            squares[0] += a * a;
            squares[1] += b * b;
            product += a * b;
        }
    }
    let count = (WINDOW * WINDOW) as f64;
    let mean = sums.map(|sum| sum as f64 / count);
    let variance = [0, 1].map(|at: usize| squares[at] as f64 / count - mean[at] * mean[at]);
    let covariance = product as f64 / count - mean[0] * mean[1];
    let (c1, c2) = ((0.01_f64 * 255.0).powi(2), (0.03_f64 * 255.0).powi(2));
    (2.0 * mean[0] * mean[1] + c1) * (2.0 * covariance + c2)
        / ((mean[0].powi(2) + mean[1].powi(2) + c1) * (variance[0] + variance[1] + c2))
}
