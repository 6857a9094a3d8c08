//! Which box goes on with which track.

use crate::Bounds;

/// How far a centre may be from where it was expected, in parts of the mean diagonal.
const REACH: f32 = 0.6;
/// Boxes that are larger than others by more than this are other things.
const MOST_GROWTH: f32 = 3.0;
/// What boxes that don't overlap enough weigh at most: less than those that do.
const NEAR: f32 = 0.1;

/// How well a box fits what was expected: from 0 (not at all) to 1 (the same). Overlap counts; without it, a box of
/// like size that is near: with few pictures a second things jump.
pub(super) fn fit(expected: &Bounds, found: &Bounds) -> f32 {
    let iou = expected.iou(found);
    if iou > NEAR {
        return iou;
    }
    let growth = found.area() / expected.area();
    if !(1.0 / MOST_GROWTH..=MOST_GROWTH).contains(&growth) {
        return 0.0;
    }
    let ((x, y), (found_x, found_y)) = (expected.centre(), found.centre());
    let diagonal = |bounds: &Bounds| bounds.width.hypot(bounds.height);
    let distance = (found_x - x).hypot(found_y - y) / ((diagonal(expected) + diagonal(found)) / 2.0);
    NEAR * (1.0 - distance / REACH).max(0.0)
}

/// Pairs of (row, column), each row and column once, the best fit first.
///
/// `fits` holds (fit, row, column) of what may be paired. The sum of fits is at least half of the largest possible:
/// each pair taken rules out at most two of the best ones, and neither is better than it.
pub(super) fn greedy(mut fits: Vec<(f32, usize, usize)>, rows: usize, columns: usize) -> Vec<(usize, usize)> {
    fits.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (mut row_free, mut column_free) = (vec![true; rows], vec![true; columns]);
    let mut pairs = Vec::new();
    for (_, row, column) in fits {
        if row_free[row] && column_free[column] {
            (row_free[row], column_free[column]) = (false, false);
            pairs.push((row, column));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The largest sum of fits, by trying everything.
    fn best(fits: &[Vec<f32>], row: usize, taken: u32) -> f32 {
        let Some(of_row) = fits.get(row) else {
            return 0.0;
        };
        let free = (0..of_row.len()).filter(|column| taken & (1 << column) == 0);
        let with = free.map(|column| of_row[column] + best(fits, row + 1, taken | 1 << column));
        with.fold(best(fits, row + 1, taken), f32::max)
    }

    proptest! {
        #[test]
        fn pairs_are_unique_and_half_as_good_as_the_best(
            fits in prop::collection::vec(prop::collection::vec(0.0..1.0_f32, 5), 0..5),
        ) {
            let listed = fits.iter().enumerate().flat_map(|(row, fits)| {
                fits.iter().enumerate().map(move |(column, fit)| (*fit, row, column))
            });
            let pairs = greedy(listed.collect(), fits.len(), 5);
            let (mut rows, mut columns): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            rows.sort_unstable();
            columns.sort_unstable();
            rows.dedup();
            columns.dedup();
            prop_assert_eq!((rows.len(), columns.len()), (pairs.len(), pairs.len()));
            let sum: f32 = pairs.iter().map(|(row, column)| fits[*row][*column]).sum();
            prop_assert!(2.0 * sum + 1e-4 >= best(&fits, 0, 0), "{} of {}", sum, best(&fits, 0, 0));
        }
    }

    #[test]
    fn overlap_is_better_than_nearness_and_nearness_than_nothing() {
        let expected = Bounds::new(100.0, 100.0, 20.0, 40.0);
        let near = Bounds::new(121.0, 100.0, 20.0, 40.0);
        let overlapping = Bounds::new(110.0, 110.0, 20.0, 40.0);
        let (near, overlapping) = (fit(&expected, &near), fit(&expected, &overlapping));
        assert!(0.0 < near && near < overlapping && overlapping < 1.0, "{near} {overlapping}");
        for other in [Bounds::new(300.0, 100.0, 20.0, 40.0), Bounds::new(121.0, 100.0, 80.0, 160.0), Bounds::default()]
        {
            assert!(fit(&expected, &other) == 0.0, "{other:?}");
        }
        assert!(fit(&Bounds::default(), &Bounds::default()) == 0.0);
    }
}
