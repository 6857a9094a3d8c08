//! What pictures look like, in numbers: how bright, how sharp, how much of them moves.
//!
//! Everything is computed of samples: a picture is made small (neither side longer than 320 pixels, of two rows of each
//! block), and the rest is done with that. Numbers are of one picture, except motion, which is against the one before.

mod phash;
mod sample;

use lumenbus_frame::RawFrame;
use lumenbus_wire::HISTOGRAM_BINS;
use phash::Hasher;
use sample::Sample;

/// Columns and rows of [`Look::grid`].
pub const GRID: (usize, usize) = (24, 13);
/// Bins of [`Look::histogram`] add up to about this for each colour.
pub const HISTOGRAM_SUM: u32 = 4_096;
/// A sample that differs by more than this many levels has changed.
const CHANGED_LEVELS: u8 = 10;
/// Variance (levels²) that is taken for the noise of an even picture.
const NOISE_VARIANCE: f32 = 16.0;
/// Of white noise, the variance of the Laplacian is so many times that of the noise.
const LAPLACIAN_GAIN: f32 = 20.0;

/// What one picture looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Against the picture before; `None` where there was none of this size.
    pub change: Option<Change>,
    /// Mean of the luma, 0 (black) to 1 (white).
    pub brightness: f32,
    /// Standard deviation of the luma as a part of the largest possible one, 0 to 1.
    pub contrast: f32,
    /// Standard deviation of the Laplacian, as a part of what noise of the same contrast would have; 0 to 1.
    pub sharpness: f32,
    /// 16 bins each of red, green and blue, in parts of [`HISTOGRAM_SUM`].
    pub histogram: [u32; 3 * HISTOGRAM_BINS],
    /// Perceptual hash: signs of the 64 lowest frequencies of 32 × 32 means, against their median.
    pub phash: u64,
    /// Means of the luma in 24 × 13 fields, row by row.
    pub grid: Vec<u8>,
}

/// How a picture differs from the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Part of it that changed by more than noise, 0 to 1.
    pub moved: f32,
    /// Mean absolute difference, in levels of 255.
    pub levels: f32,
}

/// Looks at the pictures of one stream, in order.
///
/// ```
/// use bytes::Bytes;
/// use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat, RawFrame};
/// use lumenbus_vision::features::Meter;
///
/// let mut meter = Meter::default();
/// let (size, gray) = (Dimensions::new(64, 48), Bytes::from(vec![51; 64 * 48]));
/// let picture = RawFrame::new(PixelFormat::Gray8, size, gray, CaptureTime::arrival(0))?;
/// let look = meter.look(&picture).unwrap();
/// assert!((look.brightness - 0.2).abs() < 0.01 && look.contrast < 0.01);
/// assert!(look.change.is_none());
/// assert_eq!(meter.look(&picture).unwrap().change.unwrap().levels, 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Meter {
    now: Sample,
    before: Sample,
    has_before: bool,
    hasher: Hasher,
}

impl Meter {
    /// The next picture has nothing to do with the last one.
    pub fn reset(&mut self) {
        self.has_before = false;
    }

    /// What this picture looks like; `None` for formats that are not read here (I420, Gray8 and RGB8 are), and for
    /// pictures of less than 32 × 32 pixels.
    pub fn look(&mut self, picture: &RawFrame) -> Option<Look> {
        std::mem::swap(&mut self.now, &mut self.before);
        let had_before = std::mem::replace(&mut self.has_before, false);
        self.now.load(picture)?;
        self.has_before = true;
        let is_alike = had_before && (self.now.width, self.now.height) == (self.before.width, self.before.height);
        let (mean, variance) = moments(&self.now.luma);
        let detail = laplacian_variance(&self.now);
        let sharpness = (detail / (LAPLACIAN_GAIN * (variance + NOISE_VARIANCE))).sqrt().min(1.0);
        Some(Look {
            change: is_alike.then(|| change(&self.now.luma, &self.before.luma)),
            brightness: self.now.range.brightness(mean),
            contrast: (variance.sqrt() / 127.5).min(1.0),
            sharpness,
            histogram: self.now.histogram(),
            phash: self.hasher.hash(&self.now),
            grid: self.now.means(GRID),
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a picture has fewer samples than f32 has integers, and means need no more"
)]
fn moments(luma: &[u8]) -> (f32, f32) {
    let (sum, squares) = luma.chunks(4_096).fold((0_u64, 0_u64), |(sum, squares), part| {
        let (more, more_squares) = part.iter().fold((0_u32, 0_u32), |(sum, squares), level| {
            let level = u32::from(*level);
            (sum + level, squares + level * level)
        });
        (sum + u64::from(more), squares + u64::from(more_squares))
    });
    let count = luma.len().max(1) as f64;
    let mean = sum as f64 / count;
    let variance = (squares as f64 / count - mean * mean).max(0.0);
    #[expect(clippy::cast_possible_truncation, reason = "at most 255²")]
    let both = (mean as f32, variance as f32);
    both
}

/// Of the inner samples; the Laplacian of four neighbours.
#[expect(clippy::cast_precision_loss, reason = "as above")]
fn laplacian_variance(sample: &Sample) -> f32 {
    let Sample { width, height, luma, .. } = sample;
    let (mut sum, mut squares) = (0_i64, 0_i64);
    for y in 1..height - 1 {
        let [above, row, below] = [y - 1, y, y + 1].map(|y| &luma[y * width..][..*width]);
        let (mut row_sum, mut row_squares) = (0_i32, 0_i64);
        let neighbours = above[1..].iter().zip(&below[1..]).zip(row.windows(3));
        for ((up, down), across) in neighbours {
            let [left, middle, right] = [across[0], across[1], across[2]].map(i32::from);
            let value = 4 * middle - left - right - i32::from(*up) - i32::from(*down);
            row_sum += value;
            row_squares += i64::from(value * value);
        }
        (sum, squares) = (sum + i64::from(row_sum), squares + row_squares);
    }
    let count = ((width - 2) * (height - 2)).max(1) as f32;
    let mean = sum as f32 / count;
    (squares as f32 / count - mean * mean).max(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "as above")]
fn change(now: &[u8], before: &[u8]) -> Change {
    let (mut moved, mut sum) = (0_u32, 0_u32);
    for (now, before) in now.iter().zip(before) {
        let difference = now.abs_diff(*before);
        sum += u32::from(difference);
        moved += u32::from(difference > CHANGED_LEVELS);
    }
    let count = now.len().max(1) as f32;
    Change { moved: moved as f32 / count, levels: sum as f32 / count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat};

    fn picture(width: u32, height: u32, level: impl Fn(u32, u32) -> u8) -> RawFrame {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| level(x, y));
        let pixels: Bytes = pixels.collect::<Vec<_>>().into();
        RawFrame::new(PixelFormat::Gray8, Dimensions::new(width, height), pixels, CaptureTime::arrival(0)).unwrap()
    }

    /// Xorshift of the place: the same each time.
    fn noise(x: u32, y: u32) -> u8 {
        let mut state = (x + 1).wrapping_mul(0x9e37_79b9) ^ (y + 1).wrapping_mul(0x85eb_ca6b);
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        u8::try_from(state >> 24).unwrap()
    }

    #[test]
    fn sharpness_falls_from_noise_to_ramps_to_nothing() {
        let sharpness =
            |level: &dyn Fn(u32, u32) -> u8| Meter::default().look(&picture(160, 96, level)).unwrap().sharpness;
        let noisy = sharpness(&noise);
        let ramp = sharpness(&|x, _| u8::try_from(x).unwrap());
        let even = sharpness(&|_, _| 128);
        assert!(noisy > 0.9 && ramp < 0.1 && even < 1e-6, "{noisy} {ramp} {even}");
    }

    #[test]
    fn motion_is_the_part_that_changes() {
        let mut meter = Meter::default();
        assert_eq!(meter.look(&picture(160, 96, |_, _| 10)).unwrap().change, None);
        let change = meter.look(&picture(160, 96, |x, _| if x < 40 { 200 } else { 10 })).unwrap().change.unwrap();
        assert!((change.moved - 0.25).abs() < 1e-6 && (change.levels - 47.5).abs() < 1e-3, "{change:?}");
        // Another size has nothing to compare with, and neither has what follows a reset.
        assert_eq!(meter.look(&picture(96, 160, |_, _| 10)).unwrap().change, None);
        meter.reset();
        assert_eq!(meter.look(&picture(96, 160, |_, _| 10)).unwrap().change, None);
    }

    #[test]
    fn pictures_too_small_or_of_other_formats_are_not_looked_at() {
        assert!(Meter::default().look(&picture(31, 96, |_, _| 10)).is_none());
        assert!(Meter::default().look(&picture(32, 32, |_, _| 10)).is_some());
    }

    #[test]
    fn hashes_of_alike_pictures_are_near() {
        // Fields of 20 × 12 pixels, each of its own level.
        let scene = |x: u32, y: u32| 20 + noise(x / 20, y / 12) / 2;
        let hash = |level: &dyn Fn(u32, u32) -> u8| Meter::default().look(&picture(160, 96, level)).unwrap().phash;
        let plain = hash(&scene);
        let lighter = hash(&|x, y| scene(x, y) + 20);
        let turned = hash(&|x, y| scene(159 - x, 95 - y));
        assert!((plain ^ lighter).count_ones() <= 4, "{plain:x} {lighter:x}");
        assert!((plain ^ turned).count_ones() >= 12, "{plain:x} {turned:x}");
    }
}
