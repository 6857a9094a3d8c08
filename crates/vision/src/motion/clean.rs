//! From marks to a mask: without shadows, without specks.

use super::background::{BACKGROUND, FOREGROUND};

/// Marks of a pixel and its eight neighbours; those beyond the edge are background.
fn neighbourhood(marks: &[u8], width: usize, x: usize, y: usize) -> impl Iterator<Item = u8> {
    let height = marks.len() / width;
    let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
    let rows = y.saturating_sub(1)..=(y + 1).min(height - 1);
    rows.flat_map(move |row| marks[row * width + left..=row * width + right].iter().copied())
}

/// Makes `mask` 1 where something is, 0 elsewhere.
///
/// Where a shadow falls, level / background is the same in the neighbourhood; where a thing is, it is not, unless
/// both are plain. `evenness` is the largest standard deviation of it in a shadow.
pub(super) fn drop_shadows(marks: &[u8], width: usize, evenness: f32, mask: &mut [u8]) {
    let most = (evenness * 256.0).powi(2);
    for (y, (marks_row, mask_row)) in marks.chunks_exact(width).zip(mask.chunks_exact_mut(width)).enumerate() {
        for (x, (mark, out)) in marks_row.iter().zip(mask_row).enumerate() {
            *out = match *mark {
                BACKGROUND => 0,
                FOREGROUND => 1,
                _ => u8::from(ratio_variance(neighbourhood(marks, width, x, y)) > most),
            };
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nine bytes")]
fn ratio_variance(marks: impl Iterator<Item = u8>) -> f32 {
    let (mut count, mut sum, mut squares) = (0_u32, 0_u32, 0_u32);
    for mark in marks.filter(|mark| *mark > FOREGROUND).map(u32::from) {
        count += 1;
        sum += mark;
        squares += mark * mark;
    }
    let mean = sum as f32 / count as f32;
    squares as f32 / count as f32 - mean * mean
}

/// Lets every pixel be what most of its neighbourhood is: specks go, pinholes close.
///
/// `scratch` and `mask` have the same length.
pub(super) fn majority(mask: &mut [u8], width: usize, scratch: &mut [u8]) {
    let height = mask.len() / width;
    // Sums of three in a row first; both loops are vectorised.
    for (row, out) in mask.chunks_exact(width).zip(scratch.chunks_exact_mut(width)) {
        sum_of_three(row, out);
    }
    for y in 0..height {
        let row = |y: usize| &scratch[y * width..][..width];
        let middle = row(y);
        let above = if y > 0 { row(y - 1) } else { middle };
        let below = if y + 1 < height { row(y + 1) } else { middle };
        let sums = above.iter().zip(middle).zip(below);
        for (out, ((above, middle), below)) in mask[y * width..][..width].iter_mut().zip(sums) {
            *out = u8::from(above + middle + below >= 5);
        }
    }
}

fn sum_of_three(row: &[u8], out: &mut [u8]) {
    let last = row.len() - 1;
    for (out, three) in out[1..last].iter_mut().zip(row.windows(3)) {
        *out = three[0] + three[1] + three[2];
    }
    out[0] = 2 * row[0] + row[1];
    out[last] = row[last - 1] + 2 * row[last];
}

/// Grows what is set by `radius` pixels along rows, then along columns.
pub(super) fn grow(mask: &[u8], width: usize, radius: (usize, usize), scratch: &mut Vec<u8>, grown: &mut Vec<u8>) {
    grown.clear();
    grown.extend_from_slice(mask);
    for _ in 0..radius.0 {
        scratch.clone_from(grown);
        for (row, out) in scratch.chunks_exact(width).zip(grown.chunks_exact_mut(width)) {
            for (out, left) in out[1..].iter_mut().zip(row) {
                *out |= left;
            }
            for (out, right) in out.iter_mut().zip(&row[1..]) {
                *out |= right;
            }
        }
    }
    for _ in 0..radius.1 {
        scratch.clone_from(grown);
        let rows = scratch.len() - width;
        for (out, above) in grown[width..].iter_mut().zip(&scratch[..rows]) {
            *out |= above;
        }
        for (out, below) in grown[..rows].iter_mut().zip(&scratch[width..]) {
            *out |= below;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mask drawn with dots and crosses.
    fn mask(rows: &[&str]) -> Vec<u8> {
        rows.iter().flat_map(|row| row.bytes().map(|byte| u8::from(byte == b'#'))).collect()
    }

    #[test]
    fn specks_go_and_holes_close() {
        let mut drawn = mask(&["#.......", "..####..", "..#.##..", "..####.#", "........"]);
        let mut scratch = vec![0; drawn.len()];
        majority(&mut drawn, 8, &mut scratch);
        assert_eq!(drawn, mask(&["........", "...##...", "..####..", "...##...", "........"]));
    }

    #[test]
    fn growing_reaches_as_far_as_it_should() {
        let (mut scratch, mut grown) = (Vec::new(), Vec::new());
        grow(&mask(&["......", "......", "..#...", "......", "......"]), 6, (1, 2), &mut scratch, &mut grown);
        assert_eq!(grown, mask(&[".###..", ".###..", ".###..", ".###..", ".###.."]));
        // Nothing wraps around from one row into the next.
        grow(&mask(&["...", "..#", "..."]), 3, (1, 0), &mut scratch, &mut grown);
        assert_eq!(grown, mask(&["...", ".##", "..."]));
    }

    #[test]
    fn an_even_darkening_is_a_shadow_and_an_uneven_one_is_not() {
        let even = vec![154; 25];
        let mut out = vec![9; 25];
        drop_shadows(&even, 5, 0.08, &mut out);
        assert_eq!(out, [0; 25]);
        let uneven: Vec<u8> = (0..25).map(|i| if i % 2 == 0 { 120 } else { 220 }).collect();
        drop_shadows(&uneven, 5, 0.08, &mut out);
        assert_eq!(out, [1; 25]);
    }
}
