//! The 8 × 8 discrete cosine transform (ITU-T T.81, A.3.3) after Arai, Agui and Nakajima: five multiplications a row,
//! the rest of the factors are part of the quantisation.
//!
//! In single precision, four samples to a vector: exact to well below a quantisation step of 1, which integer
//! transforms of the same speed are not.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
use wide::f32x4;

/// 8 × 8 values as half rows: row 0 left, row 0 right, row 1 left, …
pub(super) type Block = [f32x4; 16];

/// The factor of frequency `k` that the transforms leave to the quantisation: 1, then √2 · cos(kπ/16).
pub(super) const SCALE: [f32; 8] =
    [1.0, 1.387_039_8, 1.306_563, 1.175_875_6, 1.0, 0.785_694_96, 0.541_196_1, 0.275_899_4];

fn rows(block: &Block, half: usize) -> [f32x4; 8] {
    std::array::from_fn(|row| block[2 * row + half])
}

fn from_halves(left: [f32x4; 8], right: [f32x4; 8]) -> Block {
    std::array::from_fn(|at| if at % 2 == 0 { left[at / 2] } else { right[at / 2] })
}

#[inline(always)]
fn transpose(left: [f32x4; 8], right: [f32x4; 8]) -> ([f32x4; 8], [f32x4; 8]) {
    let quarter =
        |half: &[f32x4; 8], from: usize| f32x4::transpose([half[from], half[from + 1], half[from + 2], half[from + 3]]);
    let join = |top: [f32x4; 4], bottom: [f32x4; 4]| {
        [top[0], top[1], top[2], top[3], bottom[0], bottom[1], bottom[2], bottom[3]]
    };
    (join(quarter(&left, 0), quarter(&right, 0)), join(quarter(&left, 4), quarter(&right, 4)))
}

/// Samples → 64 times the coefficients over the factors of [`SCALE`], transposed: rows are horizontal frequencies.
#[inline(always)]
pub(super) fn forward(samples: &Block) -> Block {
    let (left, right) = transpose(forward_columns(rows(samples, 0)), forward_columns(rows(samples, 1)));
    from_halves(forward_columns(left), forward_columns(right))
}

/// Coefficients, transposed and multiplied with the factors of [`SCALE`] over 8 → samples.
#[inline(always)]
pub(super) fn inverse(coefficients: &Block) -> Block {
    let (left, right) = transpose(inverse_columns(rows(coefficients, 0)), inverse_columns(rows(coefficients, 1)));
    from_halves(inverse_columns(left), inverse_columns(right))
}

#[inline(always)]
fn forward_columns(v: [f32x4; 8]) -> [f32x4; 8] {
    let (s07, d07, s16, d16) = (v[0] + v[7], v[0] - v[7], v[1] + v[6], v[1] - v[6]);
    let (s25, d25, s34, d34) = (v[2] + v[5], v[2] - v[5], v[3] + v[4], v[3] - v[4]);

    let (even_sum, even_difference) = (s07 + s34, s07 - s34);
    let (middle_sum, middle_difference) = (s16 + s25, s16 - s25);
    let turned = (middle_difference + even_difference) * f32x4::splat(FRAC_1_SQRT_2);

    let (a, b, c) = (d34 + d25, d25 + d16, d16 + d07);
    let common = (a - c) * f32x4::splat(0.382_683_43);
    let low = a * f32x4::splat(0.541_196_1) + common;
    let high = c * f32x4::splat(1.306_563) + common;
    let centre = b * f32x4::splat(FRAC_1_SQRT_2);
    let (plus, minus) = (d07 + centre, d07 - centre);

    [
        even_sum + middle_sum,
        plus + high,
        even_difference + turned,
        minus - low,
        even_sum - middle_sum,
        minus + low,
        even_difference - turned,
        plus - high,
    ]
}

#[inline(always)]
fn inverse_columns(v: [f32x4; 8]) -> [f32x4; 8] {
    let (sum04, difference04) = (v[0] + v[4], v[0] - v[4]);
    let sum26 = v[2] + v[6];
    let turned26 = (v[2] - v[6]) * f32x4::splat(SQRT_2) - sum26;
    let (e0, e3) = (sum04 + sum26, sum04 - sum26);
    let (e1, e2) = (difference04 + turned26, difference04 - turned26);

    let (sum53, difference53) = (v[5] + v[3], v[5] - v[3]);
    let (sum17, difference17) = (v[1] + v[7], v[1] - v[7]);
    let o7 = sum17 + sum53;
    let common = (difference53 + difference17) * f32x4::splat(1.847_759);
    let o6 = common - difference53 * f32x4::splat(2.613_126) - o7;
    let o5 = (sum17 - sum53) * f32x4::splat(SQRT_2) - o6;
    let o4 = common - difference17 * f32x4::splat(1.082_392_2) - o5;

    [e0 + o7, e1 + o6, e2 + o5, e3 + o4, e3 - o4, e2 - o5, e1 - o6, e0 - o7]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(values: impl Fn(usize) -> f32) -> Block {
        std::array::from_fn(|at| f32x4::new(std::array::from_fn(|lane| values(at * 4 + lane))))
    }

    fn value(block: &Block, at: usize) -> f32 {
        block[at / 4].to_array()[at % 4]
    }

    /// The definition, A.3.3.
    fn coefficient(samples: impl Fn(usize, usize) -> f64, u: usize, v: usize) -> f64 {
        let c = |k: usize| if k == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let wave = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos();
        let places = (0..64).map(|at| (at % 8, at / 8));
        places.map(|(x, y)| samples(x, y) * wave(x, u) * wave(y, v)).sum::<f64>() * c(u) * c(v) / 4.0
    }

    #[test]
    fn both_ways_follow_the_definition() {
        let sample = |at: usize| ((at * 7919 + at * at * 31) % 256) as f32 - 128.0;
        let raw = forward(&block(sample));
        let exact: [f64; 64] =
            std::array::from_fn(|at| coefficient(|x, y| f64::from(sample(y * 8 + x)), at / 8, at % 8));
        for (at, exact) in exact.into_iter().enumerate() {
            let ours = f64::from(value(&raw, at) / (SCALE[at / 8] * SCALE[at % 8] * 8.0));
            assert!((ours - exact).abs() < 1e-3, "{at}: {ours} {exact}");
        }
        #[expect(clippy::cast_possible_truncation, reason = "test values")]
        let back = inverse(&block(|at| exact[at] as f32 * SCALE[at / 8] * SCALE[at % 8] / 8.0));
        for at in 0..64 {
            assert!((value(&back, at) - sample(at)).abs() < 1e-3, "{at}");
        }
    }
}
