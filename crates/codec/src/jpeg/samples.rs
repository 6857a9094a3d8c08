//! Blocks of samples out of planes, and what has to be done to them to be JFIF: BT.601 weights in full range.
//!
//! Every such change is linear in the samples, and so is the transform. Stretching the range is therefore left to the
//! quantisation ([`Mapping`]), and a change of matrix is a few additions per block: nothing goes over RGB.

use super::dct::Block;
use crate::{Color, Matrix, Range};
use wide::f32x4;

/// One plane of 8-bit samples, tightly packed.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) samples: &'a [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Plane<'_> {
    /// The 8 × 8 samples from (x, y) on; beyond the picture its last column and row go on.
    #[inline(always)]
    pub(super) fn block(&self, x: usize, y: usize) -> Block {
        if x + 8 > self.width || y + 8 > self.height {
            return self.edge_block(x, y);
        }
        let mut block = Block::default();
        let rows = self.samples[y * self.width..].chunks(self.width);
        for (halves, row) in block.chunks_exact_mut(2).zip(rows) {
            halves.copy_from_slice(&widen(row[x..x + 8].try_into().expect("eight samples")));
        }
        block
    }

    #[cold]
    fn edge_block(&self, x: usize, y: usize) -> Block {
        let mut block = Block::default();
        for (row, halves) in block.chunks_exact_mut(2).enumerate() {
            let line = &self.samples[(y + row).min(self.height - 1) * self.width..][..self.width];
            let samples: [u8; 8] = std::array::from_fn(|column| line[(x + column).min(self.width - 1)]);
            halves.copy_from_slice(&widen(samples));
        }
        block
    }
}

#[inline(always)]
fn widen(samples: [u8; 8]) -> [f32x4; 2] {
    let [a, b, c, d, e, f, g, h] = samples.map(f32::from);
    [f32x4::new([a, b, c, d]), f32x4::new([e, f, g, h])]
}

/// `out = gain · sample + offset`, around zero as the transform wants it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) gain: f32,
    pub(super) offset: f32,
}

/// What makes JFIF of the samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapping {
    pub(super) luma: Line,
    pub(super) chroma: Line,
    pub(super) turn: Option<Turn>,
}

/// A change of matrix. Luma gains by chroma; the new chroma depends on the old chroma only, since both are
/// differences to luma.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// What Cb and Cr add to luma, in units of luma before its gain.
    luma: [f32; 2],
    /// New Cb and Cr from the old ones.
    chroma: [[f32; 2]; 2],
}

/// Weights of red and blue in luma (ITU-T H.273, table 4).
fn weights(matrix: Matrix) -> (f32, f32) {
    match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
    }
}

impl Mapping {
    pub(super) fn from(color: Color) -> Self {
        let (luma_gain, black, chroma_gain) = match color.range {
            Range::Full => (1.0, 0.0, 1.0),
            Range::Limited => (255.0 / 219.0, 16.0, 255.0 / 224.0),
        };
        let luma = Line { gain: luma_gain, offset: -luma_gain * black - 128.0 };
        if color.matrix == Matrix::Bt601 {
            return Self { luma, chroma: Line { gain: chroma_gain, offset: -chroma_gain * 128.0 }, turn: None };
        }
        let turn = Turn::to_bt601(weights(color.matrix), luma_gain, chroma_gain);
        // The turn works on samples whose middle is 128, which the offsets take away again.
        let luma = Line { offset: luma.offset - 128.0 * luma_gain * (turn.luma[0] + turn.luma[1]), ..luma };
        Self { luma, chroma: Line { gain: 1.0, offset: 0.0 }, turn: Some(turn) }
    }
}

impl Turn {
    fn to_bt601((kr, kb): (f32, f32), luma_gain: f32, chroma_gain: f32) -> Self {
        let kg = 1.0 - kr - kb;
        let (to_r, to_b) = weights(Matrix::Bt601);
        let to_g = 1.0 - to_r - to_b;
        // With luma 0: red, green and blue that a unit of Cb or Cr stands for, and their BT.601 luma.
        let (red, blue) = (2.0 * (1.0 - kr), 2.0 * (1.0 - kb));
        let luma = [to_b * blue - to_g * blue * kb / kg, to_r * red - to_g * red * kr / kg];
        let (to_cb, to_cr) = (chroma_gain / (2.0 * (1.0 - to_b)), chroma_gain / (2.0 * (1.0 - to_r)));
        Self {
            luma: luma.map(|part| part * chroma_gain / luma_gain),
            chroma: [[(blue - luma[0]) * to_cb, -luma[1] * to_cb], [-luma[0] * to_cr, (red - luma[1]) * to_cr]],
        }
    }

    /// Adds what these chroma blocks mean to the luma block in one quarter of their area.
    #[inline(always)]
    pub(super) fn luma(&self, block: &mut Block, [cb, cr]: &[Block; 2], (right, bottom): (usize, usize)) {
        let [by_cb, by_cr] = self.luma.map(f32x4::splat);
        for row in 0..4 {
            let at = 2 * (4 * bottom + row) + right;
            let sum = cb[at] * by_cb + cr[at] * by_cr;
            let twice = [sum.unpack_lo(sum), sum.unpack_hi(sum)];
            for (samples, sum) in block[4 * row..4 * row + 4].iter_mut().zip([twice, twice].as_flattened()) {
                *samples += *sum;
            }
        }
    }

    /// The new chroma, around zero.
    #[inline(always)]
    pub(super) fn chroma(&self, [cb, cr]: &[Block; 2]) -> [Block; 2] {
        let middle = f32x4::splat(128.0);
        self.chroma.map(|row| {
            let [by_cb, by_cr] = row.map(f32x4::splat);
            std::array::from_fn(|at| (cb[at] - middle) * by_cb + (cr[at] - middle) * by_cr)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R, G, B from 0 to 1 as Y, Cb, Cr samples of a colour, not rounded.
    fn ycbcr([r, g, b]: [f32; 3], color: Color) -> [f32; 3] {
        let (kr, kb) = weights(color.matrix);
        let y = kr * r + (1.0 - kr - kb) * g + kb * b;
        let (cb, cr) = ((b - y) / (2.0 * (1.0 - kb)), (r - y) / (2.0 * (1.0 - kr)));
        match color.range {
            Range::Full => [y * 255.0, cb * 255.0 + 128.0, cr * 255.0 + 128.0],
            Range::Limited => [y * 219.0 + 16.0, cb * 224.0 + 128.0, cr * 224.0 + 128.0],
        }
    }

    #[test]
    fn every_colour_becomes_jfif() {
        for matrix in [Matrix::Bt601, Matrix::Bt709] {
            for range in [Range::Limited, Range::Full] {
                let mapping = Mapping::from(Color { matrix, range });
                for rgb in [[0.0; 3], [1.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.9, 0.4]] {
                    let [y, cb, cr] = ycbcr(rgb, Color { matrix, range });
                    let mut luma: Block = [f32x4::splat(y); 16];
                    let mut chroma = [[f32x4::splat(cb); 16], [f32x4::splat(cr); 16]];
                    if let Some(turn) = mapping.turn {
                        turn.luma(&mut luma, &chroma, (1, 0));
                        chroma = turn.chroma(&chroma);
                    }
                    let jfif = ycbcr(rgb, Color::JPEG);
                    for (block, line, wanted) in [
                        (luma, mapping.luma, jfif[0]),
                        (chroma[0], mapping.chroma, jfif[1]),
                        (chroma[1], mapping.chroma, jfif[2]),
                    ] {
                        let ours = block[5].to_array()[1] * line.gain + line.offset + 128.0;
                        assert!((ours - wanted).abs() < 0.01, "{rgb:?} {matrix:?} {range:?}: {ours} {wanted}");
                        assert!(block.iter().all(|lanes| lanes.to_array() == [block[5].to_array()[1]; 4]));
                    }
                }
            }
        }
    }

    #[test]
    fn edges_repeat_the_last_samples() {
        let plane = Plane { samples: &[1, 2, 3, 4, 5, 6], width: 3, height: 2 };
        let block = plane.block(0, 0);
        assert_eq!(block[0].to_array(), [1.0, 2.0, 3.0, 3.0]);
        assert_eq!(block[3].to_array(), [6.0; 4]);
        assert_eq!(block[14].to_array(), [4.0, 5.0, 6.0, 6.0]);
    }
}
