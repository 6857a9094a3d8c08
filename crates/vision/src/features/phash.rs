//! The perceptual hash: which of the lowest frequencies of a small picture are above their median.

use super::sample::Sample;

/// Sides of the small picture.
const SIDE: usize = 32;
/// Frequencies along each side.
const FREQUENCIES: usize = 8;

/// Holds the cosines.
#[derive(Debug)]
pub(super) struct Hasher {
    cosines: [[f32; SIDE]; FREQUENCIES],
}

impl Default for Hasher {
    #[expect(clippy::cast_precision_loss, reason = "small integers")]
    fn default() -> Self {
        let cosine = |frequency: usize, at: usize| {
            let turn = std::f32::consts::PI * (2 * at + 1) as f32 * frequency as f32 / (2 * SIDE) as f32;
            turn.cos()
        };
        Self { cosines: std::array::from_fn(|frequency| std::array::from_fn(|at| cosine(frequency, at))) }
    }
}

impl Hasher {
    /// Bit 63 is the mean of the picture, which takes no part in the median.
    pub(super) fn hash(&self, sample: &Sample) -> u64 {
        let small = sample.means((SIDE, SIDE));
        let mut rows = [[0.0_f32; SIDE]; FREQUENCIES];
        for (y, line) in small.chunks_exact(SIDE).enumerate() {
            for (row, cosines) in rows.iter_mut().zip(&self.cosines) {
                row[y] = line.iter().zip(cosines).map(|(level, cosine)| f32::from(*level) * cosine).sum();
            }
        }
        let mut found = [0.0_f32; FREQUENCIES * FREQUENCIES];
        for (vertical, cosines) in self.cosines.iter().enumerate() {
            for (across, row) in rows.iter().enumerate() {
                found[vertical * FREQUENCIES + across] =
                    row.iter().zip(cosines).map(|(part, cosine)| part * cosine).sum();
            }
        }
        let mut sorted = found;
        sorted[1..].sort_by(f32::total_cmp);
        let median = sorted[1 + (found.len() - 1) / 2];
        found.iter().fold(0, |hash, part| hash << 1 | u64::from(*part > median))
    }
}
