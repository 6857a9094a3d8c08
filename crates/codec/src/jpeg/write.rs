//! Baseline JPEG files out of planes: 4:2:0 or gray, the Huffman tables of Annex K, restart intervals.
//!
//! A picture is cut into stripes of whole rows of minimum coded units. Each is one restart interval, and so can be
//! coded on a thread of its own; put together, with restart markers between them, they are an ordinary file.

use super::bits::BitWriter;
use super::dct::{Block, SCALE, forward};
use super::samples::{Line, Mapping, Plane};
use super::tables::{
    AC_CHROMINANCE, AC_LUMINANCE, CHROMINANCE, CodeLengths, DC_CHROMINANCE, DC_LUMINANCE, LUMINANCE, NATURAL_OF_ZIGZAG,
    PLACE_OF_ZIGZAG, ZIGZAG_OF_PLACE, scaled,
};
use crate::share::{next, share};
use std::ops::Range;
use std::sync::Mutex;
use wide::{f32x4, i8x16, i16x8, i16x16, i32x8};

/// Stripes of a picture that is worth cutting: each costs a few bytes.
const STRIPES: usize = 8;
/// Below this area threads cost more than they bring.
const MIN_STRIPED_PIXELS: usize = 640 * 360;
/// Largest restart interval (B.2.4.4).
const MAX_INTERVAL: usize = 65_535;

/// The planes of a picture: luma, or luma, Cb and Cr with half the width and height, rounded up.
pub(super) enum Picture<'a> {
    Gray(Plane<'a>),
    Color(Plane<'a>, [Plane<'a>; 2]),
}

impl Picture<'_> {
    fn luma(&self) -> &Plane<'_> {
        match self {
            Self::Gray(luma) | Self::Color(luma, _) => luma,
        }
    }

    /// Side of a minimum coded unit in luma samples.
    fn unit(&self) -> usize {
        match self {
            Self::Gray(_) => 8,
            Self::Color(..) => 16,
        }
    }
}

/// How a picture is cut.
struct Stripes {
    /// Minimum coded units in a row, and rows of them.
    columns: usize,
    rows: usize,
    rows_each: usize,
}

impl Stripes {
    fn of(picture: &Picture<'_>) -> Self {
        let (luma, unit) = (picture.luma(), picture.unit());
        let (columns, rows) = (luma.width.div_ceil(unit), luma.height.div_ceil(unit));
        let wanted = if luma.width * luma.height < MIN_STRIPED_PIXELS { rows } else { rows.div_ceil(STRIPES) };
        // A picture that is not cut needs no interval, and so no limit.
        let rows_each = if wanted == rows { rows } else { wanted.min(MAX_INTERVAL / columns).max(1) };
        Self { columns, rows, rows_each }
    }

    fn count(&self) -> usize {
        self.rows.div_ceil(self.rows_each)
    }

    fn rows_of(&self, stripe: usize) -> Range<usize> {
        stripe * self.rows_each..((stripe + 1) * self.rows_each).min(self.rows)
    }

    /// Minimum coded units of a restart interval; 0: none.
    fn interval(&self) -> usize {
        if self.count() > 1 { self.rows_each * self.columns } else { 0 }
    }
}

/// Tables of one quality and colour.
pub(super) struct FileWriter {
    steps: [[u8; 64]; 2],
    luma: Component,
    chroma: Component,
    mapping: Mapping,
    /// Buffers of the stripes, kept for the next picture.
    buffers: Vec<Vec<u8>>,
}

impl FileWriter {
    pub(super) fn new(quality: u8, mapping: Mapping) -> Self {
        let steps = [scaled(&LUMINANCE, quality), scaled(&CHROMINANCE, quality)];
        Self {
            luma: Component::new(&steps[0], mapping.luma, &DC_LUMINANCE, &AC_LUMINANCE),
            chroma: Component::new(&steps[1], mapping.chroma, &DC_CHROMINANCE, &AC_CHROMINANCE),
            steps,
            mapping,
            buffers: Vec::new(),
        }
    }

    /// The file; sides are 1 to 65,535.
    pub(super) fn write(&mut self, picture: &Picture<'_>, threads: usize) -> Vec<u8> {
        let stripes = Stripes::of(picture);
        let mut buffers = std::mem::take(&mut self.buffers);
        buffers.resize_with(stripes.count(), Vec::new);
        self.write_stripes(picture, &stripes, &mut buffers, threads);
        let mut file = Vec::with_capacity(buffers.iter().map(Vec::len).sum::<usize>() + 1024);
        self.write_header(picture, &stripes, &mut file);
        for (index, stripe) in buffers.iter().enumerate() {
            if index > 0 {
                file.extend([0xFF, 0xD0 + u8::try_from((index - 1) % 8).expect("below 8")]);
            }
            file.extend_from_slice(stripe);
        }
        file.extend([0xFF, 0xD9]);
        self.buffers = buffers;
        file
    }

    /// Each thread takes the next stripe as it is done with one, so that one that is held up holds up little.
    fn write_stripes(&self, picture: &Picture<'_>, stripes: &Stripes, buffers: &mut [Vec<u8>], threads: usize) {
        let helpers = threads.min(buffers.len()).saturating_sub(1);
        let waiting = Mutex::new(buffers.iter_mut().enumerate());
        let work = || {
            while let Some((index, buffer)) = next(&waiting) {
                buffer.clear();
                *buffer = self.stripe(picture, stripes, index, std::mem::take(buffer));
            }
        };
        share(helpers, work);
    }

    fn stripe(&self, picture: &Picture<'_>, stripes: &Stripes, stripe: usize, buffer: Vec<u8>) -> Vec<u8> {
        let mut writer = BitWriter::new(buffer);
        let mut predictions = [0; 3];
        for row in stripes.rows_of(stripe) {
            for column in 0..stripes.columns {
                match picture {
                    Picture::Gray(luma) => {
                        self.luma.put(&luma.block(column * 8, row * 8), &mut predictions[0], &mut writer);
                    }
                    Picture::Color(luma, chroma) => {
                        self.unit(luma, chroma, (column, row), &mut predictions, &mut writer);
                    }
                }
            }
        }
        writer.finish()
    }

    /// Four blocks of luma and one each of Cb and Cr.
    #[inline(always)]
    fn unit(
        &self,
        luma: &Plane<'_>,
        chroma: &[Plane<'_>; 2],
        (column, row): (usize, usize),
        predictions: &mut [i32; 3],
        writer: &mut BitWriter,
    ) {
        let mut colors = [chroma[0].block(column * 8, row * 8), chroma[1].block(column * 8, row * 8)];
        for (right, bottom) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let mut block = luma.block(column * 16 + right * 8, row * 16 + bottom * 8);
            if let Some(turn) = &self.mapping.turn {
                turn.luma(&mut block, &colors, (right, bottom));
            }
            self.luma.put(&block, &mut predictions[0], writer);
        }
        if let Some(turn) = &self.mapping.turn {
            colors = turn.chroma(&colors);
        }
        for (block, prediction) in colors.iter().zip(&mut predictions[1..]) {
            self.chroma.put(block, prediction, writer);
        }
    }

    fn write_header(&self, picture: &Picture<'_>, stripes: &Stripes, file: &mut Vec<u8>) {
        let side = |side: usize| u16::try_from(side).expect("checked by the caller").to_be_bytes();
        let luma = picture.luma();
        let is_gray = matches!(picture, Picture::Gray(_));
        file.extend([0xFF, 0xD8]);
        // JFIF 1.1, square pixels.
        segment(file, 0xE0, &[b"JFIF\0", &[1, 1, 0, 0, 1, 0, 1, 0, 0]]);
        let tables = if is_gray { 1 } else { 2 };
        for (id, steps) in (0..tables).zip(&self.steps) {
            segment(file, 0xDB, &[&[id], &NATURAL_OF_ZIGZAG.map(|place| steps[usize::from(place)])]);
        }
        let components: &[u8] = if is_gray { &[1, 1, 0x11, 0] } else { &[3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1] };
        segment(file, 0xC0, &[&[8], &side(luma.height), &side(luma.width), components]);
        let lengths = [[DC_LUMINANCE, AC_LUMINANCE], [DC_CHROMINANCE, AC_CHROMINANCE]];
        for (id, [dc, ac]) in (0..tables).zip(lengths) {
            segment(file, 0xC4, &[&[id], &dc.counts, dc.symbols]);
            segment(file, 0xC4, &[&[0x10 | id], &ac.counts, ac.symbols]);
        }
        if stripes.interval() > 0 {
            segment(file, 0xDD, &[&side(stripes.interval())]);
        }
        let scan: &[u8] = if is_gray { &[1, 1, 0] } else { &[3, 1, 0, 2, 0x11, 3, 0x11] };
        segment(file, 0xDA, &[scan, &[0, 63, 0]]);
    }
}

fn segment(file: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    file.extend([0xFF, marker]);
    file.extend(u16::try_from(length).expect("short tables").to_be_bytes());
    parts.iter().for_each(|part| file.extend_from_slice(part));
}

/// Quantisation and codes of luma or chroma.
struct Component {
    /// What a transformed value is multiplied with, place by place.
    factors: Block,
    /// What the offset of the samples adds to the first coefficient.
    offset: f32x4,
    /// By category: code and its length in the lowest byte.
    dc: [u32; 12],
    /// By run and category, likewise.
    ac: [u32; 256],
}

impl Component {
    fn new(steps: &[u8; 64], line: Line, dc: &CodeLengths, ac: &CodeLengths) -> Self {
        let step = |place: usize| f32::from(steps[place % 8 * 8 + place / 8]);
        let factor = |place: usize| line.gain / (step(place) * SCALE[place / 8] * SCALE[place % 8] * 8.0);
        // The first coefficient of a block that is the same everywhere is eight times its value.
        let offset = line.offset * 8.0 / step(0);
        Self {
            factors: std::array::from_fn(|at| f32x4::new(std::array::from_fn(|lane| factor(at * 4 + lane)))),
            offset: f32x4::new([offset, 0.0, 0.0, 0.0]),
            dc: codes(dc)[..12].try_into().expect("twelve categories"),
            ac: codes(ac),
        }
    }

    /// Transforms, quantises and codes one block.
    #[inline(always)]
    fn put(&self, samples: &Block, prediction: &mut i32, writer: &mut BitWriter) {
        let mut values = forward(samples);
        values.iter_mut().zip(&self.factors).for_each(|(value, factor)| *value *= *factor);
        values[0] += self.offset;
        let (coefficients, present) = quantised(&values);
        let dc = i32::from(coefficients[0]);
        self.put_dc(dc - *prediction, writer);
        *prediction = dc;
        self.put_ac(&coefficients, in_scan_order(present & !1), writer);
    }

    #[inline(always)]
    fn put_dc(&self, difference: i32, writer: &mut BitWriter) {
        let (category, bits) = magnitude(difference);
        let code = self.dc[category as usize];
        writer.put(code >> 8 << category | bits, (code & 0xFF) + category);
    }

    /// `present` has a bit for every coefficient that is not zero, in scan order.
    #[inline(always)]
    fn put_ac(&self, coefficients: &[i16; 64], mut present: u64, writer: &mut BitWriter) {
        let mut last = 0;
        while present != 0 {
            let at = present.trailing_zeros();
            present &= present - 1;
            let mut run = at - last - 1;
            last = at;
            while run > 15 {
                self.put_symbol(0xF0, 0, 0, writer);
                run -= 16;
            }
            let place = PLACE_OF_ZIGZAG[at as usize & 63];
            let (category, bits) = magnitude(i32::from(coefficients[usize::from(place) & 63]));
            self.put_symbol(run << 4 | category, bits, category, writer);
        }
        if last < 63 {
            self.put_symbol(0, 0, 0, writer);
        }
    }

    #[inline(always)]
    fn put_symbol(&self, symbol: u32, bits: u32, count: u32, writer: &mut BitWriter) {
        let code = self.ac[symbol as usize & 0xFF];
        writer.put(code >> 8 << count | bits, (code & 0xFF) + count);
    }
}

/// Code and length of every symbol (C.2).
fn codes(lengths: &CodeLengths) -> [u32; 256] {
    let mut codes = [0; 256];
    let mut symbols = lengths.symbols.iter();
    let mut code = 0;
    for (length, &count) in (1..).zip(&lengths.counts) {
        for &symbol in symbols.by_ref().take(usize::from(count)) {
            codes[usize::from(symbol)] = code << 8 | length;
            code += 1;
        }
        code <<= 1;
    }
    codes
}

/// Rounded to whole numbers that baseline codes can say, and which of them are not zero.
#[inline(always)]
fn quantised(values: &Block) -> ([i16; 64], u64) {
    let (most, least) = (i16x8::splat(1023), i16x8::splat(-1023));
    let row = |at: usize| {
        let halves: [i32; 8] = {
            let (left, right) =
                (values[2 * at].fast_round_int().to_array(), values[2 * at + 1].fast_round_int().to_array());
            [left[0], left[1], left[2], left[3], right[0], right[1], right[2], right[3]]
        };
        i16x8::from_i32x8_saturate(i32x8::new(halves)).min(most).max(least).to_array()
    };
    let mut coefficients = [0; 64];
    let mut present = 0;
    for pair in 0..4 {
        let (top, bottom) = (row(2 * pair), row(2 * pair + 1));
        coefficients[16 * pair..16 * pair + 8].copy_from_slice(&top);
        coefficients[16 * pair + 8..16 * pair + 16].copy_from_slice(&bottom);
        let mut both = [0; 16];
        both[..8].copy_from_slice(&top);
        both[8..].copy_from_slice(&bottom);
        let zero = i8x16::from_i16x16_saturate(i16x16::new(both)).simd_eq(i8x16::splat(0)).to_bitmask();
        present |= u64::from(!zero & 0xFFFF) << (16 * pair);
    }
    (coefficients, present)
}

/// Few coefficients of a block are left: their places are looked up one by one.
#[inline(always)]
fn in_scan_order(mut present: u64) -> u64 {
    let mut scan = 0;
    while present != 0 {
        scan |= 1 << ZIGZAG_OF_PLACE[present.trailing_zeros() as usize & 63];
        present &= present - 1;
    }
    scan
}

/// Category of a value and the bits that tell it within the category (F.1.2.1).
#[inline(always)]
fn magnitude(value: i32) -> (u32, u32) {
    let category = 32 - value.unsigned_abs().leading_zeros();
    let bits = (value + (value >> 31)).cast_unsigned() & ((1 << category) - 1);
    (category, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_by_category_and_bits() {
        let expected =
            [(0, (0, 0)), (1, (1, 1)), (-1, (1, 0)), (2, (2, 2)), (-3, (2, 0)), (1023, (10, 1023)), (-1023, (10, 0))];
        for (value, expected) in expected {
            assert_eq!(magnitude(value), expected, "{value}");
        }
    }

    #[test]
    fn quantisation_rounds_and_marks_what_is_left() {
        let mut values = Block::default();
        values[0] = f32x4::new([-5000.0, 0.4, 0.6, -0.6]);
        values[15] = f32x4::new([0.0, 0.0, 5000.0, 1.4]);
        let (coefficients, present) = quantised(&values);
        assert_eq!(coefficients[..5], [-1023, 0, 1, -1, 0]);
        assert_eq!(coefficients[62..], [1023, 1]);
        assert_eq!(present, 0b1101 | 0b11 << 62);
        let naive =
            (0..64).filter(|&zigzag| present >> PLACE_OF_ZIGZAG[zigzag] & 1 == 1).fold(0, |mask, at| mask | 1 << at);
        assert_eq!(in_scan_order(present), naive);
    }

    #[test]
    fn codes_are_those_of_annex_k() {
        // Table K.3 and K.5: category 3, end of block, and the last code.
        assert_eq!(codes(&DC_LUMINANCE)[3], 0b100 << 8 | 3);
        assert_eq!(codes(&AC_LUMINANCE)[0], 0b1010 << 8 | 4);
        assert_eq!(codes(&AC_LUMINANCE)[0xFA], 0xFFFE << 8 | 16);
    }

    #[test]
    fn stripes_cover_the_picture_within_the_largest_interval() {
        for (width, height) in [(1, 1), (640, 360), (1920, 1080), (16_384, 4096), (4096, 16_384)] {
            let samples = vec![0; width * height];
            let plane = Plane { samples: &samples, width, height };
            for picture in [Picture::Gray(plane), Picture::Color(plane, [plane; 2])] {
                let stripes = Stripes::of(&picture);
                assert!(stripes.interval() <= MAX_INTERVAL);
                let rows: Vec<usize> = (0..stripes.count()).flat_map(|stripe| stripes.rows_of(stripe)).collect();
                assert!(rows.into_iter().eq(0..stripes.rows));
            }
        }
    }
}
