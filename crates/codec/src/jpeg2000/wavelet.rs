//! The two wavelet transforms (ITU-T T.800, annex F), and the sub-bands that they leave in a plane.
//!
//! A signal is first divided into its even and odd samples, low and high; each lifting step then adds to every sample of
//! one half something of its two neighbours in the other. At the ends the signal is mirrored.

/// A sub-band's kind: horizontally, then vertically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Band {
    LowLow,
    HighLow,
    LowHigh,
    HighHigh,
}

impl Band {
    /// Bits by which its values can be larger than samples (table E.1).
    pub(super) fn gain_bits(self) -> u32 {
        match self {
            Self::LowLow => 0,
            Self::HighLow | Self::LowHigh => 1,
            Self::HighHigh => 2,
        }
    }
}

/// Most levels of decomposition; further ones bring nothing.
const MAX_LEVELS: u32 = 5;

/// How often a picture is halved; no sub-band is empty then.
pub(super) fn levels(width: usize, height: usize) -> u32 {
    width.min(height).ilog2().min(MAX_LEVELS)
}

/// Where a sub-band lies in the transformed plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) band: Band,
    /// Level of decomposition that made it: 1 is the finest, 0 is no decomposition.
    pub(super) level: u32,
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The sub-bands, by resolution from the coarsest.
pub(super) fn resolutions(width: usize, height: usize) -> Vec<Vec<Place>> {
    let levels = levels(width, height);
    let (low_width, low_height) = (width.div_ceil(1 << levels), height.div_ceil(1 << levels));
    let lowest = Place { band: Band::LowLow, level: levels, x: 0, y: 0, width: low_width, height: low_height };
    let finer = (1..=levels).rev().map(|level| {
        let (width, height) = (width.div_ceil(1 << (level - 1)), height.div_ceil(1 << (level - 1)));
        let (x, y) = (width.div_ceil(2), height.div_ceil(2));
        vec![
            Place { band: Band::HighLow, level, x, y: 0, width: width - x, height: y },
            Place { band: Band::LowHigh, level, x: 0, y, width: x, height: height - y },
            Place { band: Band::HighHigh, level, x, y, width: width - x, height: height - y },
        ]
    });
    std::iter::once(vec![lowest]).chain(finer).collect()
}

/// One of the transforms.
pub(super) trait Transform {
    type Sample: Copy + Default + Send;

    /// Lifting steps; the even ones change the high half.
    const STEPS: usize;

    /// Does a step for samples that lie one after the other, each with its two neighbours.
    fn lift(step: usize, target: &mut [Self::Sample], first: &[Self::Sample], second: &[Self::Sample]);

    /// Brings low and high values to their nominal range.
    fn scale(low: &mut [Self::Sample], high: &mut [Self::Sample]);
}

fn each<T: Copy>(target: &mut [T], first: &[T], second: &[T], lift: impl Fn(T, T, T) -> T) {
    for ((value, first), second) in target.iter_mut().zip(first).zip(second) {
        *value = lift(*value, *first, *second);
    }
}

/// 5/3 on integers, without loss (F.4.8.1).
pub(super) struct Reversible;

impl Transform for Reversible {
    type Sample = i32;

    const STEPS: usize = 2;

    fn lift(step: usize, target: &mut [i32], first: &[i32], second: &[i32]) {
        match step {
            0 => each(target, first, second, |high, a, b| high - ((a + b) >> 1)),
            _ => each(target, first, second, |low, a, b| low + ((a + b + 2) >> 2)),
        }
    }

    fn scale(_: &mut [i32], _: &mut [i32]) {}
}

/// 9/7 on floating point numbers (F.4.8.2).
pub(super) struct Irreversible;

/// Table F.4.
const LIFTING: [f32; 4] = [-1.586_134_3, -0.052_980_12, 0.882_911_1, 0.443_506_85];
const K: f32 = 1.230_174_1;

impl Transform for Irreversible {
    type Sample = f32;

    const STEPS: usize = LIFTING.len();

    fn lift(step: usize, target: &mut [f32], first: &[f32], second: &[f32]) {
        let factor = LIFTING[step];
        each(target, first, second, |value, a, b| value + factor * (a + b));
    }

    fn scale(low: &mut [f32], high: &mut [f32]) {
        low.iter_mut().for_each(|value| *value *= 1.0 / K);
        high.iter_mut().for_each(|value| *value *= K);
    }
}

/// Transforms a plane in place; each level's low-pass band is then in the top left corner.
pub(super) fn forward<T: Transform>(plane: &mut [T::Sample], width: usize, height: usize) {
    let mut scratch = vec![T::Sample::default(); width * height];
    for level in 0..levels(width, height) {
        let (columns, rows) = (width.div_ceil(1 << level), height.div_ceil(1 << level));
        vertical::<T>(plane, width, (columns, rows), &mut scratch);
        let line = &mut scratch[..columns];
        for row in plane.chunks_mut(width).take(rows) {
            horizontal::<T>(&mut row[..columns], line);
        }
    }
}

fn horizontal<T: Transform>(row: &mut [T::Sample], line: &mut [T::Sample]) {
    let (low, high) = line.split_at_mut(row.len().div_ceil(2));
    for (pair, at) in row.chunks(2).zip(0..) {
        low[at] = pair[0];
        if let [_, odd] = pair {
            high[at] = *odd;
        }
    }
    for step in 0..T::STEPS {
        let is_high = step % 2 == 0;
        let (target, other) = if is_high { (&mut *high, &*low) } else { (&mut *low, &*high) };
        let last = other.len() - 1;
        // All that have two neighbours at once, then the ends.
        let first = usize::from(!is_high);
        let inner = first..last + first;
        T::lift(step, &mut target[inner.clone()], &other[..last], &other[1..]);
        for at in (0..first).chain(inner.end..target.len()) {
            let mirrored = std::slice::from_ref(&other[at.min(last)]);
            T::lift(step, std::slice::from_mut(&mut target[at]), mirrored, mirrored);
        }
    }
    T::scale(low, high);
    row.copy_from_slice(line);
}

/// As [`horizontal`] for all columns at once, whole rows at a time.
fn vertical<T: Transform>(
    plane: &mut [T::Sample],
    stride: usize,
    (columns, rows): (usize, usize),
    scratch: &mut [T::Sample],
) {
    let (low, high) = scratch[..columns * rows].split_at_mut(rows.div_ceil(2) * columns);
    for (y, row) in plane.chunks(stride).take(rows).enumerate() {
        let half = if y % 2 == 0 { &mut *low } else { &mut *high };
        half[y / 2 * columns..][..columns].copy_from_slice(&row[..columns]);
    }
    for step in 0..T::STEPS {
        let is_high = step % 2 == 0;
        let (target, other) = if is_high { (&mut *high, &*low) } else { (&mut *low, &*high) };
        let last = other.len() / columns - 1;
        for (at, values) in target.chunks_mut(columns).enumerate() {
            let first = if is_high { at } else { at.saturating_sub(1) };
            let second = (first + usize::from(is_high || at > 0)).min(last);
            T::lift(step, values, &other[first * columns..][..columns], &other[second * columns..][..columns]);
        }
    }
    T::scale(low, high);
    for (row, lifted) in plane.chunks_mut(stride).zip(scratch.chunks(columns)).take(rows) {
        row[..columns].copy_from_slice(lifted);
    }
}
