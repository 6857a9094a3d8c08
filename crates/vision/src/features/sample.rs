//! A picture made small: a luma of two rows of each block, and one colour of each.

use super::HISTOGRAM_SUM;
use lumenbus_frame::{PixelFormat, RawFrame};
use lumenbus_wire::HISTOGRAM_BINS;

/// Longest side of what is looked at.
const LONGEST_SIDE: u32 = 320;
/// Shortest side of a picture.
const SHORTEST: u32 = 32;
/// Pixels of a block's side, at most: sums of a row stay within 16 bits.
const MAX_FACTOR: u32 = 128;

/// Which levels of the luma are black and white.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Range {
    /// 16 to 235, as in video.
    #[default]
    Video,
    /// 0 to 255.
    Full,
}

impl Range {
    pub(super) fn brightness(self, level: f32) -> f32 {
        match self {
            Self::Video => ((level - 16.0) / 219.0).clamp(0.0, 1.0),
            Self::Full => (level / 255.0).clamp(0.0, 1.0),
        }
    }
}

/// Its buffers are used again for the next picture.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) luma: Vec<u8>,
    pub(super) range: Range,
    /// Red, green and blue of every second block of every second row.
    colours: Vec<[u8; 3]>,
    sums: Vec<u16>,
}

impl Sample {
    pub(super) fn load(&mut self, picture: &RawFrame) -> Option<()> {
        let size = picture.dimensions();
        if size.width < SHORTEST || size.height < SHORTEST {
            return None;
        }
        let longest = size.width.max(size.height);
        let mut factor = longest.div_ceil(LONGEST_SIDE).next_power_of_two().min(MAX_FACTOR);
        while factor > 1 && size.width.min(size.height) / factor < SHORTEST {
            factor /= 2;
        }
        let (width, height, factor) = (size.width as usize, size.height as usize, factor as usize);
        (self.width, self.height) = (width / factor, height / factor);
        self.colours.clear();
        let pixels = picture.pixels();
        match picture.format() {
            PixelFormat::I420 => {
                self.range = Range::Video;
                let (luma, chroma) = pixels.split_at(width * height);
                self.load_luma(luma, width, factor);
                self.load_chroma(chroma, (width, height), factor);
            }
            PixelFormat::Gray8 => {
                self.range = Range::Full;
                self.load_luma(pixels, width, factor);
                let luma = &self.luma;
                self.colours.extend(luma.iter().step_by(4).map(|level| [*level; 3]));
            }
            PixelFormat::Rgb8 => {
                self.range = Range::Full;
                self.load_rgb(pixels, width, factor);
            }
            _ => return None,
        }
        Some(())
    }

    /// Means of two rows of each block.
    #[expect(clippy::cast_possible_truncation, reason = "means of bytes")]
    fn load_luma(&mut self, plane: &[u8], stride: usize, factor: usize) {
        self.luma.clear();
        let (first, second) = (factor / 4, factor * 3 / 4);
        let shift = factor.trailing_zeros() + 1;
        for y in 0..self.height {
            let row = |offset: usize| &plane[(y * factor + offset) * stride..][..self.width * factor];
            if factor == 1 {
                self.luma.extend_from_slice(row(0));
                continue;
            }
            self.sums.clear();
            self.sums.extend(row(first).iter().zip(row(second)).map(|(one, two)| u16::from(*one) + u16::from(*two)));
            let means = self.sums.chunks_exact(factor).map(|block| {
                let sum: u32 = block.iter().map(|level| u32::from(*level)).sum();
                (sum >> shift) as u8
            });
            self.luma.extend(means);
        }
    }

    fn load_chroma(&mut self, chroma: &[u8], (width, height): (usize, usize), factor: usize) {
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        let (u, v) = chroma.split_at(chroma_width * chroma_height);
        for y in (0..self.height).step_by(2) {
            let row = (y * factor + factor / 2) / 2 * chroma_width;
            for x in (0..self.width).step_by(2) {
                let at = row + (x * factor + factor / 2) / 2;
                self.colours.push(rgb(self.luma[y * self.width + x], u[at], v[at]));
            }
        }
    }

    /// One pixel in the middle of each block's two rows.
    fn load_rgb(&mut self, pixels: &[u8], stride: usize, factor: usize) {
        self.luma.clear();
        for y in 0..self.height {
            for x in 0..self.width {
                let pixel = |row: usize| {
                    let at = ((y * factor + row) * stride + x * factor + factor / 2) * 3;
                    [pixels[at], pixels[at + 1], pixels[at + 2]]
                };
                let (one, two) = (pixel(factor / 4), pixel(factor * 3 / 4));
                let mean: [u8; 3] = std::array::from_fn(|colour| one[colour].midpoint(two[colour]));
                self.luma.push(luma_of(mean));
                if x % 2 == 0 && y % 2 == 0 {
                    self.colours.push(mean);
                }
            }
        }
    }

    /// 16 bins of each colour.
    #[expect(clippy::cast_possible_truncation, reason = "at most the number of samples")]
    pub(super) fn histogram(&self) -> [u32; 3 * HISTOGRAM_BINS] {
        let mut bins = [0_u32; 3 * HISTOGRAM_BINS];
        for pixel in &self.colours {
            for (colour, level) in pixel.iter().enumerate() {
                bins[colour * HISTOGRAM_BINS + usize::from(level / 16)] += 1;
            }
        }
        let count = self.colours.len().max(1) as u64;
        bins.map(|bin| ((u64::from(bin) * u64::from(HISTOGRAM_SUM) + count / 2) / count) as u32)
    }

    /// Means of the luma in so many columns and rows of fields; there are at least as many samples.
    #[expect(clippy::cast_possible_truncation, reason = "means of bytes")]
    pub(super) fn means(&self, (columns, rows): (usize, usize)) -> Vec<u8> {
        let mut means = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            let ys = row * self.height / rows..(row + 1) * self.height / rows;
            for column in 0..columns {
                let xs = column * self.width / columns..(column + 1) * self.width / columns;
                let lines = ys.clone().map(|y| &self.luma[y * self.width..][xs.clone()]);
                let sum: u32 = lines.flatten().map(|level| u32::from(*level)).sum();
                means.push((sum / (ys.len() * xs.len()).max(1) as u32) as u8);
            }
        }
        means
    }
}

/// BT.601, video range, in parts of 256.
#[expect(clippy::cast_sign_loss, reason = "clamped to 0 to 255")]
fn rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (298 * (i32::from(y) - 16), i32::from(u) - 128, i32::from(v) - 128);
    [y + 409 * v, y - 100 * u - 208 * v, y + 516 * u].map(|level| ((level + 128) >> 8).clamp(0, 255) as u8)
}

#[expect(clippy::cast_possible_truncation, reason = "parts of 256 add up to 256")]
fn luma_of([r, g, b]: [u8; 3]) -> u8 {
    ((77 * u32::from(r) + 150 * u32::from(g) + 29 * u32::from(b)) >> 8) as u8
}
