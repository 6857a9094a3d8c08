//! SSIM of one plane: sums over blocks of 4×4 are made once, and a window of 8×8 is four of them.

const BLOCK: usize = 4;
/// (0.01 · 255)² and (0.03 · 255)².
const C1: f64 = 6.5025;
const C2: f64 = 58.5225;
const WINDOW_SAMPLES: f64 = 64.0;

/// Sums of samples, of their squares on both sides together, and of their products. At most 16 · 2 · 255².
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    a: u32,
    b: u32,
    squares: u32,
    products: u32,
}

/// Mean over all windows; 1 for planes smaller than a window that are equal, otherwise 0.
#[expect(clippy::cast_precision_loss, reason = "a number of windows")]
pub(super) fn ssim(a: &[u8], b: &[u8], width: usize) -> f64 {
    let rows_of_blocks = |plane| <[u8]>::chunks_exact(plane, BLOCK * width);
    let mut rows = rows_of_blocks(a).zip(rows_of_blocks(b)).map(|(a, b)| block_row(a, b, width));
    let Some(mut above) = rows.next() else { return f64::from(a == b) };
    let (mut sum, mut windows) = (0.0, 0_u64);
    for below in rows {
        for (above, below) in above.windows(2).zip(below.windows(2)) {
            sum += of_window([above[0], above[1], below[0], below[1]]);
            windows += 1;
        }
        above = below;
    }
    if windows == 0 { f64::from(a == b) } else { sum / windows as f64 }
}

fn block_row(a: &[u8], b: &[u8], width: usize) -> Vec<Sums> {
    let mut blocks = vec![Sums::default(); width / BLOCK];
    for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
        for ((sums, a), b) in blocks.iter_mut().zip(a.chunks_exact(BLOCK)).zip(b.chunks_exact(BLOCK)) {
            for (&a, &b) in a.iter().zip(b) {
                let (a, b) = (u32::from(a), u32::from(b));
                sums.a += a;
                sums.b += b;
                sums.squares += a * a + b * b;
                sums.products += a * b;
            }
        }
    }
    blocks
}

fn of_window(blocks: [Sums; 4]) -> f64 {
    let sum = |of: fn(&Sums) -> u32| f64::from(blocks.iter().map(of).sum::<u32>());
    let (a, b) = (sum(|block| block.a) / WINDOW_SAMPLES, sum(|block| block.b) / WINDOW_SAMPLES);
    let variances = sum(|block| block.squares) / WINDOW_SAMPLES - a * a - b * b;
    let covariance = sum(|block| block.products) / WINDOW_SAMPLES - a * b;
    (2.0 * a * b + C1) * (2.0 * covariance + C2) / ((a * a + b * b + C1) * (variances + C2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the definition says, window by window.
    fn naive(a: &[u8], b: &[u8], width: usize) -> f64 {
        let height = a.len() / width;
        let starts = |side: usize| (0..).step_by(4).take_while(move |at| at + 8 <= side / 4 * 4);
        let mut values = Vec::new();
        for y in starts(height) {
            for x in starts(width) {
                let places = (0..64).map(|at| (y + at / 8) * width + x + at % 8);
                let pairs: Vec<_> = places.map(|at| (f64::from(a[at]), f64::from(b[at]))).collect();
                let mean = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / 64.0;
                let (ma, mb) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
                let va = mean(&|pair| (pair.0 - ma).powi(2));
                let vb = mean(&|pair| (pair.1 - mb).powi(2));
                let cov = mean(&|pair| (pair.0 - ma) * (pair.1 - mb));
                values.push((2.0 * ma * mb + C1) * (2.0 * cov + C2) / ((ma * ma + mb * mb + C1) * (va + vb + C2)));
            }
        }
        values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap())
    }

    #[test]
    fn sums_of_blocks_give_what_the_definition_gives() {
        for (width, height) in [(8, 8), (16, 12), (37, 29), (64, 9)] {
            let plane = |step: usize| -> Vec<u8> {
                (0..width * height).map(|at| u8::try_from(at * at * step / 7 % 256).unwrap()).collect()
            };
            let (a, b) = (plane(3), plane(5));
            let (fast, slow) = (ssim(&a, &b, width), naive(&a, &b, width));
            assert!((fast - slow).abs() < 1e-9, "{width}x{height}: {fast} {slow}");
            assert!((ssim(&a, &a, width) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn planes_without_a_window_are_equal_or_not() {
        assert!((ssim(&[1; 12], &[1; 12], 4) - 1.0).abs() < 1e-12);
        assert!(ssim(&[1; 12], &[2; 12], 4).abs() < 1e-12);
        assert!(ssim(&[1; 24], &[2; 24], 4).abs() < 1e-12);
    }
}
