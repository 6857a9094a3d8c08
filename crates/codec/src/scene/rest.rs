//! Whether a picture shows anything that the last one sent does not.

use super::{Plane, is_alike, noise, planes};
use lumenbus_frame::RawFrame;
use std::ops::Range;

/// Noise beyond this, in levels of difference, could hide something: such a scene is never at rest.
const MAX_SIGMA: f64 = 6.0;
/// A single sample that differs by more is something new. In 1080p, noise gets there once in a hundred pictures.
const PEAK_LEVELS: f64 = 9.0;
const PEAK_SIGMAS: f64 = 5.5;
/// And so are samples side by side that differ to one side, by so much in all: in a small block, for small things, and in
/// a tile, for faint ones. Of a sum of n, noise makes sigma times the root of n.
const BLOCK_LEVELS: f64 = 40.0;
const BLOCK_SIGMAS: f64 = 6.5 * 4.0;
const TILE_LEVELS: f64 = 160.0;
const TILE_SIGMAS: f64 = 6.5 * 16.0;
/// The light of a whole plane changes slowly, but not unnoticed: mean difference, in levels.
const LIGHT_LEVELS: f64 = 0.5;
/// Side of a block, and columns of a tile, which is as high as a block.
const BLOCK: usize = 4;
const TILE: usize = 64;

/// Tells pictures that repeat the last one sent, but for noise.
///
/// Each is compared with the last one that was *sent*, sample by sample and in all planes, so that nothing is lost by
/// coming slowly. A moving picture is told by its first block that differs; what a picture at rest costs is less than a
/// tenth of coding it. Pictures that are not of 8-bit samples never repeat.
///
/// ```
/// use lumenbus_codec::scene::RestMeter;
/// use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat, RawFrame};
///
/// let wall = |luma| {
///     let pixels = vec![luma; 64 * 48].into();
///     RawFrame::new(PixelFormat::Gray8, Dimensions::new(64, 48), pixels, CaptureTime::arrival(1)).unwrap()
/// };
/// let mut meter = RestMeter::new(30);
/// assert!(!meter.is_repeat(&wall(90)), "the first one is news");
/// assert!(meter.is_repeat(&wall(90)));
/// assert!(!meter.is_repeat(&wall(92)), "so is other light");
/// ```
#[derive(Debug)]
pub struct RestMeter {
    most: u32,
    repeats: u32,
    sent: Option<RawFrame>,
}

impl RestMeter {
    /// After `most` repeats in a row a picture is not called one, whatever it shows.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, repeats: 0, sent: None }
    }

    /// The next picture is to be sent, whatever it shows: readers may not have the last one.
    pub fn forget(&mut self) {
        self.sent = None;
    }

    /// Whether the picture repeats the last one that did not; if it does not, it is the one to be sent.
    pub fn is_repeat(&mut self, picture: &RawFrame) -> bool {
        let sent = self.sent.as_ref().filter(|sent| self.repeats < self.most && is_alike(sent, picture));
        if sent.is_some_and(|sent| is_equal(sent, picture)) {
            self.repeats += 1;
            return true;
        }
        // Shared, not copied.
        (self.sent, self.repeats) = (Some(picture.clone()), 0);
        false
    }
}

/// What a block may differ by.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    peak: u8,
    block: i32,
    tile: i32,
}

impl Tolerance {
    fn of(sigma: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "sigma is at most 6")]
        let limit = |levels: f64, sigmas: f64| (levels + sigmas * sigma) as i32;
        Self {
            peak: limit(PEAK_LEVELS, PEAK_SIGMAS).try_into().unwrap_or(u8::MAX),
            block: limit(BLOCK_LEVELS, BLOCK_SIGMAS),
            tile: limit(TILE_LEVELS, TILE_SIGMAS),
        }
    }
}

fn is_equal(sent: &RawFrame, picture: &RawFrame) -> bool {
    let (last, now) = (sent.pixels(), picture.pixels());
    let planes = planes(picture);
    let Some(luma) = planes.first() else { return false };
    let sigma = noise::sigma(last, now, *luma);
    if sigma > MAX_SIGMA {
        return false;
    }
    let tolerance = Tolerance::of(sigma);
    planes.into_iter().all(|plane| {
        let part = plane.offset..plane.offset + plane.width * plane.height;
        is_plane_equal(&last[part.clone()], &now[part], plane, tolerance)
    })
}

fn is_plane_equal(last: &[u8], now: &[u8], plane: Plane, tolerance: Tolerance) -> bool {
    let mut sum = 0_i64;
    for strip in spread(plane.height.div_ceil(BLOCK)) {
        let rows = strip * BLOCK..((strip + 1) * BLOCK).min(plane.height);
        for x in (0..plane.width).step_by(TILE) {
            let columns = x..(x + TILE).min(plane.width);
            match compare(last, now, plane.width, rows.clone(), columns, tolerance) {
                Some(differs_by) => sum += i64::from(differs_by),
                None => return false,
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let mean = sum as f64 / (plane.width * plane.height).max(1) as f64;
    mean.abs() <= LIGHT_LEVELS
}

/// The strips of a picture in an order that soon comes across anything that is not tiny.
fn spread(strips: usize) -> impl Iterator<Item = usize> {
    // Near the golden section of them, and prime to their number, so that each comes once.
    let is_prime_to = |step: &usize| gcd(*step, strips) == 1;
    let step = (strips * 5 / 8..strips).find(is_prime_to).unwrap_or(1);
    (0..strips).map(move |number| number * step % strips)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Sum of differences in a tile; `None` where a sample or a block differs by more than noise.
fn compare(
    last: &[u8],
    now: &[u8],
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    tolerance: Tolerance,
) -> Option<i32> {
    let (mut peaks, mut sums) = ([0_u8; TILE], [0_i16; TILE]);
    for row in rows {
        let part = row * width + columns.start..row * width + columns.end;
        add(&last[part.clone()], &now[part], &mut peaks, &mut sums);
    }
    let sum = |part: &[i16]| part.iter().map(|sum| i32::from(*sum)).sum::<i32>();
    let peak = peaks.iter().fold(0, |peak, at| peak.max(*at));
    let is_noise = peak <= tolerance.peak && sums.chunks(BLOCK).all(|block| sum(block).abs() <= tolerance.block);
    Some(sum(&sums)).filter(|differs_by| is_noise && differs_by.abs() <= tolerance.tile)
}

/// One row of a tile, in a form that compilers make SIMD of.
fn add(last: &[u8], now: &[u8], peaks: &mut [u8; TILE], sums: &mut [i16; TILE]) {
    let one = |((peak, sum), (last, now)): ((&mut u8, &mut i16), (&u8, &u8))| {
        *peak = (*peak).max(last.abs_diff(*now));
        *sum += i16::from(*now) - i16::from(*last);
    };
    match (<&[u8; TILE]>::try_from(last), <&[u8; TILE]>::try_from(now)) {
        (Ok(last), Ok(now)) => peaks.iter_mut().zip(sums).zip(last.iter().zip(now)).for_each(one),
        _ => peaks.iter_mut().zip(sums).zip(last.iter().zip(now)).for_each(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::scenes::{Noise, picture, wall};
    use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat};

    const SIZE: Dimensions = Dimensions { width: 328, height: 246 };

    #[test]
    fn a_scene_under_noise_rests_to_the_limit() {
        let mut noise = Noise(11);
        for sigma in [0.0, 0.5, 1.0, 2.0, 3.0] {
            let mut meter = RestMeter::new(20);
            let repeats: Vec<_> =
                (0..43).map(|_| meter.is_repeat(&picture(SIZE, wall(SIZE, sigma, &mut noise)))).collect();
            let sent: Vec<_> = (0..43).filter(|at| !repeats[*at]).collect();
            assert_eq!(sent, [0, 21, 42], "noise of {sigma}");
        }
    }

    /// Objects from one pixel on, wherever they are: dark or bright, against the noise there is.
    #[test]
    fn a_small_object_is_never_missed() {
        let mut noise = Noise(13);
        let (width, height) = (SIZE.width as usize, SIZE.height as usize);
        // Side in pixels, levels it stands out by, noise.
        for (side, levels, sigma) in
            [(1, 16_i16, 0.0), (2, -20, 1.0), (2, 40, 2.0), (3, -30, 2.0), (6, 12, 1.0), (12, 10, 2.0)]
        {
            let mut meter = RestMeter::new(1_000);
            assert!(!meter.is_repeat(&picture(SIZE, wall(SIZE, sigma, &mut noise))));
            for step in 0..40_usize {
                let (left, top) = (step * 53 % (width - side), step * 41 % (height - side));
                let mut pixels = wall(SIZE, sigma, &mut noise);
                for at in (0..side * side).map(|at| (top + at / side) * width + left + at % side) {
                    pixels[at] = (i16::from(pixels[at]) + levels).clamp(0, 255).try_into().unwrap();
                }
                let with = picture(SIZE, pixels);
                assert!(!meter.is_repeat(&with), "{side} pixels, {levels} levels, noise {sigma}, at {left}, {top}");
                meter.forget();
                assert!(!meter.is_repeat(&picture(SIZE, wall(SIZE, sigma, &mut noise))));
            }
        }
    }

    #[test]
    fn colour_alone_and_light_that_changes_slowly_are_news() {
        let mut noise = Noise(17);
        let still = wall(SIZE, 0.0, &mut noise);
        let mut meter = RestMeter::new(1_000);
        assert!(!meter.is_repeat(&picture(SIZE, still.clone())));
        let mut coloured = still.clone();
        let luma = (SIZE.width * SIZE.height) as usize;
        coloured[luma + 500..luma + 502].fill(250);
        assert!(!meter.is_repeat(&picture(SIZE, coloured)));
        assert!(!meter.is_repeat(&picture(SIZE, still.clone())), "it went away");
        let mut sent = 0;
        for step in 0..120_u8 {
            // A level brighter every ten pictures.
            let brighter = still.iter().map(|byte| byte.saturating_add(step / 10)).collect();
            sent += u32::from(!meter.is_repeat(&picture(SIZE, brighter)));
        }
        assert_eq!(sent, 11, "each level once");
    }

    #[test]
    fn what_cannot_be_compared_is_sent() {
        let of = |format: PixelFormat, width: u32| {
            let size = Dimensions::new(width, 2);
            let pixels = vec![7; format.frame_bytes(size).unwrap()];
            RawFrame::new(format, size, pixels.into(), CaptureTime::arrival(0)).unwrap()
        };
        let mut meter = RestMeter::new(10);
        for (format, width, expected) in [
            (PixelFormat::Gray8, 2, false),
            (PixelFormat::Gray8, 2, true),
            (PixelFormat::Gray8, 1, false),
            (PixelFormat::Rgb8, 1, false),
            (PixelFormat::Rgb8, 1, true),
            (PixelFormat::I420, 1, false),
            (PixelFormat::I420, 1, true),
            (PixelFormat::Gray16Le, 1, false),
            (PixelFormat::Gray16Le, 1, false),
        ] {
            assert_eq!(meter.is_repeat(&of(format, width)), expected, "{format:?} {width}");
        }
        meter.forget();
        assert!(!meter.is_repeat(&of(PixelFormat::I420, 1)));
    }

    #[test]
    fn every_strip_is_visited_once() {
        for strips in 0..200 {
            let mut visited: Vec<_> = spread(strips).collect();
            visited.sort_unstable();
            assert_eq!(visited, (0..strips).collect::<Vec<_>>());
        }
    }
}
