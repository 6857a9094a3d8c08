//! How much two pictures of the same scene differ by noise alone.

use super::Plane;

/// Blocks looked at, so many across and down.
const GRID: usize = 16;
/// Side of a block, in samples.
const BLOCK: usize = 8;
/// Of a normal distribution: mean of the absolute value, of its standard deviation.
const MEAN_OF_SIGMA: f64 = 0.798;

/// Standard deviation of the samples' differences where nothing moves.
///
/// A quarter of the picture may move: the blocks' upper quartile is taken. It is not the median, because the noise of
/// a coded source is uneven, and half of its blocks are often without any.
pub(super) fn sigma(last: &[u8], now: &[u8], plane: Plane) -> f64 {
    let mut sums = [0_u32; GRID * GRID];
    for (number, sum) in sums.iter_mut().enumerate() {
        let place = |number: usize, side: usize| side.saturating_sub(BLOCK) * (2 * number + 1) / (2 * GRID);
        let (x, y) = (place(number % GRID, plane.width), place(number / GRID, plane.height));
        *sum = difference(last, now, plane, x, y);
    }
    let at = sums.len() * 3 / 4;
    let (_, quartile, _) = sums.select_nth_unstable(at);
    let samples = BLOCK.min(plane.width) * BLOCK.min(plane.height);
    #[expect(clippy::cast_precision_loss, reason = "at most 64")]
    let mean = f64::from(*quartile) / samples.max(1) as f64;
    mean / MEAN_OF_SIGMA
}

/// Sum of absolute differences in the block at this place.
fn difference(last: &[u8], now: &[u8], plane: Plane, x: usize, y: usize) -> u32 {
    let columns = BLOCK.min(plane.width);
    let row = |picture: &'_ [u8], row: usize| {
        let begin = plane.offset + row * plane.width + x;
        begin..(begin + columns).min(picture.len())
    };
    let rows = y..(y + BLOCK).min(plane.height);
    rows.map(|at| {
        let pairs = last[row(last, at)].iter().zip(&now[row(now, at)]);
        pairs.map(|(last, now)| u32::from(last.abs_diff(*now))).sum::<u32>()
    })
    .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::scenes::{Noise, wall};
    use lumenbus_frame::Dimensions;

    #[test]
    fn it_is_that_of_the_scene_though_a_part_of_it_moves() {
        let size = Dimensions::new(320, 240);
        let plane = Plane { offset: 0, width: 320, height: 240 };
        let mut noise = Noise(7);
        for level in [0.0, 1.0, 3.0] {
            let last = wall(size, level, &mut noise);
            let mut now = wall(size, level, &mut noise);
            now[..320 * 50].fill(255);
            let expected = level * 2_f64.sqrt();
            let found = sigma(&last, &now, plane);
            assert!((0.9 * expected..=1.25 * expected).contains(&found), "{found} of {expected}");
        }
    }

    #[test]
    fn pictures_smaller_than_a_block_are_measured() {
        let plane = Plane { offset: 0, width: 3, height: 2 };
        assert_eq!(sigma(&[10; 6], &[10; 6], plane).to_bits(), 0.0_f64.to_bits());
        assert!(sigma(&[10; 6], &[12; 6], plane) > 2.0);
    }
}
