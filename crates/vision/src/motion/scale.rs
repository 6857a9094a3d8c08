//! Pictures made small: means of blocks, as Y, U and V planes of one size.

use super::DETECTOR;
use crate::VisionError;
use lumenbus_frame::{Dimensions, PixelFormat, RawFrame};

/// Chroma of gray.
const NEUTRAL: u8 = 128;
/// Sums of this many bytes fit 16 bits.
const MAX_FACTOR: u32 = 64;

/// A picture at the working scale. Its buffers are used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Reduced {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Pixels of the picture per pixel here, along each side: a power of two.
    pub(super) factor: usize,
    pub(super) luma: Vec<u8>,
    pub(super) u: Vec<u8>,
    pub(super) v: Vec<u8>,
    sums: Vec<u16>,
}

/// The smallest power of two by which neither side is longer than `working_side`, at most [`MAX_FACTOR`].
pub(super) fn factor(size: Dimensions, working_side: u32) -> usize {
    let longest = size.width.max(size.height);
    longest.div_ceil(working_side.max(1)).next_power_of_two().min(MAX_FACTOR) as usize
}

impl Reduced {
    /// Columns and rows beyond the last whole block are left out.
    pub(super) fn load(&mut self, picture: &RawFrame, factor: usize) -> Result<(), VisionError> {
        let size = picture.dimensions();
        let (width, height) = (size.width as usize, size.height as usize);
        (self.width, self.height, self.factor) = (width / factor, height / factor, factor);
        let (out_width, out_height) = (self.width, self.height);
        let pixels = picture.pixels();
        match picture.format() {
            PixelFormat::I420 => {
                let (luma, chroma) = pixels.split_at(width * height);
                let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
                let (u, v) = chroma.split_at(chroma_width * chroma_height);
                let sums = &mut self.sums;
                block_means(luma, width, factor, (out_width, out_height), sums, &mut self.luma);
                for (plane, out) in [(u, &mut self.u), (v, &mut self.v)] {
                    if factor == 1 {
                        double(plane, chroma_width, (out_width, out_height), out);
                    } else {
                        block_means(plane, chroma_width, factor / 2, (out_width, out_height), sums, out);
                    }
                }
            }
            PixelFormat::Gray8 => {
                block_means(pixels, width, factor, (out_width, out_height), &mut self.sums, &mut self.luma);
                for plane in [&mut self.u, &mut self.v] {
                    plane.clear();
                    plane.resize(out_width * out_height, NEUTRAL);
                }
            }
            PixelFormat::Rgb8 => self.load_rgb(pixels, width),
            format => {
                return Err(VisionError::Format { detector: DETECTOR, format, readable: "i420, gray8, rgb8" });
            }
        }
        Ok(())
    }

    fn load_rgb(&mut self, pixels: &[u8], width: usize) {
        for plane in [&mut self.luma, &mut self.u, &mut self.v] {
            plane.clear();
            plane.reserve(self.width * self.height);
        }
        let mut sums = vec![[0_u32; 3]; self.width];
        for rows in pixels.chunks_exact(width * 3 * self.factor).take(self.height) {
            sums.fill([0; 3]);
            for row in rows.chunks_exact(width * 3) {
                for (sum, block) in sums.iter_mut().zip(row.chunks_exact(3 * self.factor)) {
                    for pixel in block.chunks_exact(3) {
                        for (sum, part) in sum.iter_mut().zip(pixel) {
                            *sum += u32::from(*part);
                        }
                    }
                }
            }
            for sum in &sums {
                let [y, u, v] = yuv(*sum, self.factor);
                self.luma.push(y);
                self.u.push(u);
                self.v.push(v);
            }
        }
    }
}

/// BT.601, full range.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 255")]
#[expect(clippy::cast_precision_loss, reason = "sums of blocks are small")]
fn yuv(sum: [u32; 3], factor: usize) -> [u8; 3] {
    let count = (factor * factor) as f32;
    let [r, g, b] = sum.map(|sum| sum as f32 / count);
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    let parts = [y, 128.0 + 0.564 * (b - y), 128.0 + 0.713 * (r - y)];
    parts.map(|part| (part + 0.5).clamp(0.0, 255.0) as u8)
}

/// Chroma of 4:2:0 for every pixel.
fn double(plane: &[u8], width: usize, out_size: (usize, usize), out: &mut Vec<u8>) {
    out.clear();
    for y in 0..out_size.1 {
        let row = &plane[y / 2 * width..][..width];
        out.extend((0..out_size.0).map(|x| row[x / 2]));
    }
}

/// Means of blocks of `factor` × `factor`.
fn block_means(
    plane: &[u8],
    width: usize,
    factor: usize,
    out_size: (usize, usize),
    sums: &mut Vec<u16>,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.reserve(out_size.0 * out_size.1);
    for rows in plane.chunks_exact(width * factor).take(out_size.1) {
        if factor == 1 {
            out.extend_from_slice(&rows[..out_size.0]);
            continue;
        }
        sums.clear();
        sums.resize(width, 0);
        // At most 64 rows of 255: below the end of u16. The compiler vectorises this loop.
        for row in rows.chunks_exact(width) {
            for (sum, pixel) in sums.iter_mut().zip(row) {
                *sum += u16::from(*pixel);
            }
        }
        match factor {
            2 => push_means::<2>(sums, out_size.0, out),
            4 => push_means::<4>(sums, out_size.0, out),
            8 => push_means::<8>(sums, out_size.0, out),
            16 => push_means::<16>(sums, out_size.0, out),
            32 => push_means::<32>(sums, out_size.0, out),
            _ => push_means::<64>(sums, out_size.0, out),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a mean of bytes is a byte")]
fn push_means<const FACTOR: usize>(sums: &[u16], width: usize, out: &mut Vec<u8>) {
    let (blocks, _) = sums.as_chunks::<FACTOR>();
    let mean = |block: &[u16; FACTOR]| {
        let sum: u32 = block.iter().map(|&part| u32::from(part)).sum();
        ((sum + (FACTOR * FACTOR / 2) as u32) / (FACTOR * FACTOR) as u32) as u8
    };
    out.extend(blocks.iter().take(width).map(mean));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lumenbus_frame::CaptureTime;

    fn reduce(format: PixelFormat, width: u32, height: u32, pixels: Vec<u8>, side: u32) -> Reduced {
        let size = Dimensions::new(width, height);
        let picture = RawFrame::new(format, size, Bytes::from(pixels), CaptureTime::arrival(0)).unwrap();
        let mut reduced = Reduced::default();
        reduced.load(&picture, factor(size, side)).unwrap();
        reduced
    }

    #[test]
    fn blocks_become_their_mean() {
        let gray: Vec<u8> = (0..6 * 5).map(|i| if i % 6 < 2 { 100 } else { 10 }).collect();
        let reduced = reduce(PixelFormat::Gray8, 6, 5, gray, 3);
        assert_eq!((reduced.factor, reduced.width, reduced.height), (2, 3, 2));
        assert_eq!(reduced.luma, [100, 10, 10, 100, 10, 10]);
        assert_eq!(reduced.u, [128; 6]);
    }

    #[test]
    fn every_factor_and_odd_size_keeps_a_flat_picture_flat() {
        for (side, width, height) in
            [(200, 99, 77), (64, 99, 77), (16, 99, 77), (8, 131, 70), (2, 129, 129), (1, 64, 64)]
        {
            let size = Dimensions::new(width, height);
            let luma = (width * height) as usize;
            let mut pixels = vec![90; PixelFormat::I420.frame_bytes(size).unwrap()];
            pixels[luma..].fill(140);
            let reduced = reduce(PixelFormat::I420, width, height, pixels, side);
            assert_eq!(reduced.factor, factor(size, side));
            let count = reduced.width * reduced.height;
            assert!(count > 0);
            assert_eq!(reduced.luma, vec![90; count]);
            assert_eq!((&reduced.u, &reduced.v), (&vec![140; count], &vec![140; count]));
        }
    }

    #[test]
    fn colours_are_told_apart() {
        let red: Vec<u8> = [250, 20, 20].repeat(16 * 16);
        let reduced = reduce(PixelFormat::Rgb8, 16, 16, red, 8);
        assert!((85..=95).contains(&reduced.luma[0]), "{}", reduced.luma[0]);
        assert!(reduced.v[0] > 220 && reduced.u[0] < 110);
    }
}
