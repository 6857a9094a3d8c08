//! Baseline JPEG files straight to planes: what cameras and our own encoder write.
//!
//! Gray and 4:2:0 in one scan are read here, on several threads where restart intervals allow it. Every other kind of
//! file, and every file in which anything is odd, is left to the general decoder, which has the last word.

use super::bits::BitReader;
use super::dct::{Block, SCALE, inverse};
use super::huffman::{Decoding, take_value};
use super::segments::Segments;
use super::tables::{NATURAL_OF_ZIGZAG, PLACE_OF_ZIGZAG};
use crate::share::{next, share};
use lumenbus_frame::Dimensions;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use wide::{f32x4, i16x8, i32x8, u8x16};

/// Parts of a picture that threads take one by one.
const BANDS: usize = 8;

/// A file that this decoder reads, up to its entropy-coded data.
pub(super) struct Baseline<'a> {
    pub(super) size: Dimensions,
    pub(super) is_gray: bool,
    /// Minimum coded units in a row, and rows of them.
    columns: usize,
    rows: usize,
    /// Minimum coded units of a restart interval; 0: none.
    interval: usize,
    components: Vec<Component>,
    scan: &'a [u8],
}

/// Tables of one component.
struct Component {
    factors: [f32; 64],
    dc: Decoding,
    ac: Decoding,
}

/// Which planes to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planes {
    Luma,
    All,
}

/// What the header segments say.
#[derive(Default)]
struct Tables {
    steps: [Option<[u16; 64]>; 4],
    /// By class and destination.
    codes: [[Option<Codes>; 4]; 2],
    interval: usize,
    frame: Option<Frame>,
}

/// How many codes there are of each length, and their symbols.
type Codes = ([u8; 16], Vec<u8>);

struct Frame {
    size: Dimensions,
    /// Identifier, sampling factors and quantisation table of each component.
    components: Vec<[u8; 3]>,
}

impl<'a> Baseline<'a> {
    /// `None` for a file of any other kind.
    pub(super) fn open(file: &'a [u8]) -> Option<Self> {
        let mut segments = Segments::of(file);
        let mut tables = Tables::default();
        while let Ok(Some((marker, body))) = segments.next() {
            match marker {
                0xDB => tables.quantisation(body)?,
                0xC4 => tables.huffman(body)?,
                0xC0 | 0xC1 => tables.frame(body)?,
                0xDD => tables.interval = usize::from(u16::from_be_bytes(body.try_into().ok()?)),
                // Adobe's segment names another colour transform than JFIF's.
                0xEE if body.starts_with(b"Adobe") && body.get(11) != Some(&1) => return None,
                0xC2..=0xCF | 0xDC | 0xDE | 0xDF => return None,
                Segments::START_OF_SCAN => return tables.scan(body, segments.rest()),
                _ => {}
            }
        }
        None
    }

    /// The planes, tightly packed one after the other; `None` when something in the data is odd.
    ///
    /// The caller has checked the size.
    pub(super) fn decode(&self, wanted: Planes, threads: usize) -> Option<Vec<u8>> {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let chroma = match wanted {
            Planes::All if !self.is_gray => (width.div_ceil(2), height.div_ceil(2)),
            _ => (0, 0),
        };
        let mut pixels = vec![0; width * height + 2 * chroma.0 * chroma.1];
        let (luma, rest) = pixels.split_at_mut(width * height);
        let (cb, cr) = rest.split_at_mut(chroma.0 * chroma.1);
        let planes = [(luma, width), (cb, chroma.0), (cr, chroma.0)];
        let planes = planes.map(|(samples, width)| PlaneMut { samples, width });
        let is_whole = match self.intervals()? {
            Intervals::Shared(parts) => self.decode_shared(&parts, planes, threads),
            Intervals::InOneGo(parts) => self.decode_band(&parts, 0..self.rows, planes).is_some(),
        };
        is_whole.then_some(pixels)
    }

    /// Cut into bands that threads take one by one.
    fn decode_shared(&self, parts: &[&[u8]], mut planes: [PlaneMut<'_>; 3], threads: usize) -> bool {
        let in_band = parts.len().div_ceil(BANDS);
        let rows_each = in_band * self.interval / self.columns;
        let units = if self.is_gray { [8, 0, 0] } else { [16, 8, 8] };
        let mut bands = Vec::with_capacity(BANDS);
        for (index, parts) in parts.chunks(in_band).enumerate() {
            let rows = index * rows_each..((index + 1) * rows_each).min(self.rows);
            let [luma, cb, cr] = &mut planes;
            let band = [
                luma.take_rows(rows.len() * units[0]),
                cb.take_rows(rows.len() * units[1]),
                cr.take_rows(rows.len() * units[2]),
            ];
            bands.push((parts, rows, band));
        }
        let helpers = threads.min(bands.len()).saturating_sub(1);
        let is_whole = AtomicBool::new(true);
        let waiting = Mutex::new(bands.into_iter());
        let work = || {
            while let Some((parts, rows, band)) = next(&waiting) {
                if self.decode_band(parts, rows, band).is_none() {
                    is_whole.store(false, Ordering::Release);
                }
            }
        };
        share(helpers, work);
        is_whole.load(Ordering::Acquire)
    }

    /// The entropy-coded data cut at its restart markers; `None` when there are too many or too few.
    fn intervals(&self) -> Option<Intervals<'a>> {
        let units = self.columns * self.rows;
        if self.interval == 0 || self.interval >= units {
            return Some(Intervals::InOneGo(vec![self.scan]));
        }
        let mut parts = Vec::new();
        let (mut start, mut at) = (0, 0);
        while let Some(found) = self.scan.get(at..)?.iter().position(|&byte| byte == 0xFF) {
            at += found + 2;
            match self.scan.get(at - 1)? {
                0x00 => {}
                marker @ 0xD0..=0xD7 => {
                    if usize::from(marker & 7) != parts.len() % 8 {
                        return None;
                    }
                    parts.push(&self.scan[start..at - 2]);
                    start = at;
                }
                _ => break,
            }
        }
        parts.push(&self.scan[start..]);
        let is_complete = parts.len() == units.div_ceil(self.interval);
        let is_in_rows = self.interval.is_multiple_of(self.columns);
        is_complete.then_some(if is_in_rows { Intervals::Shared(parts) } else { Intervals::InOneGo(parts) })
    }

    /// Decodes whole rows of minimum coded units; `planes` begin with the first of them.
    fn decode_band(&self, parts: &[&[u8]], rows: Range<usize>, mut planes: [PlaneMut<'_>; 3]) -> Option<()> {
        let mut parts = parts.iter();
        let mut reader = BitReader::new(&[]);
        let mut predictions = [0; 3];
        let mut left = 0;
        for row in 0..rows.len() {
            for column in 0..self.columns {
                if left == 0 {
                    if reader.is_beyond_end() {
                        return None;
                    }
                    reader = BitReader::new(parts.next()?);
                    predictions = [0; 3];
                    left = if self.interval == 0 { usize::MAX } else { self.interval };
                }
                left -= 1;
                self.unit(&mut reader, &mut predictions, (column, row), &mut planes)?;
            }
            // Hostile data ends early: no row is invented.
            if reader.is_beyond_end() {
                return None;
            }
        }
        Some(())
    }

    #[inline(always)]
    fn unit(
        &self,
        reader: &mut BitReader<'_>,
        predictions: &mut [i32; 3],
        (column, row): (usize, usize),
        [luma, chroma @ ..]: &mut [PlaneMut<'_>; 3],
    ) -> Option<()> {
        if self.is_gray {
            return self.components[0].block(reader, &mut predictions[0], luma, (column * 8, row * 8));
        }
        for (right, below) in [(0, 0), (8, 0), (0, 8), (8, 8)] {
            self.components[0].block(reader, &mut predictions[0], luma, (column * 16 + right, row * 16 + below))?;
        }
        for (index, plane) in (1..).zip(chroma) {
            self.components[index].block(reader, &mut predictions[index], plane, (column * 8, row * 8))?;
        }
        Some(())
    }
}

enum Intervals<'a> {
    /// Whole rows each: they can be decoded side by side.
    Shared(Vec<&'a [u8]>),
    InOneGo(Vec<&'a [u8]>),
}

impl Tables {
    fn quantisation(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&id, rest)) = body.split_first() {
            let bytes = if id >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * bytes)?;
            let mut steps = [0; 64];
            for (&natural, value) in NATURAL_OF_ZIGZAG.iter().zip(values.chunks_exact(bytes)) {
                steps[usize::from(natural)] = value.iter().fold(0, |step, &byte| step << 8 | u16::from(byte));
            }
            *self.steps.get_mut(usize::from(id & 0xF))? = Some(steps);
            body = rest;
        }
        Some(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&id, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let class = self.codes.get_mut(usize::from(id >> 4))?;
            *class.get_mut(usize::from(id & 0xF))? = Some((*counts, symbols.to_vec()));
            body = rest;
        }
        Some(())
    }

    fn frame(&mut self, body: &[u8]) -> Option<()> {
        let (&[precision, h1, h0, w1, w0, count], components) = body.split_first_chunk::<6>()?;
        if self.frame.is_some() || precision != 8 || components.len() != usize::from(count) * 3 {
            return None;
        }
        let size = Dimensions::new(u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
        let components: Vec<[u8; 3]> = components.as_chunks().0.to_vec();
        let sampling: Vec<u8> = components.iter().map(|component| component[1]).collect();
        let is_rgb = components.iter().map(|component| component[0]).eq(*b"RGB");
        let is_known = match sampling[..] {
            [_] => true,
            [0x22, 0x11, 0x11] => !is_rgb,
            _ => false,
        };
        self.frame = Some(Frame { size, components });
        (is_known && size.width > 0 && size.height > 0).then_some(())
    }

    fn scan<'a>(&self, body: &[u8], scan: &'a [u8]) -> Option<Baseline<'a>> {
        let frame = self.frame.as_ref()?;
        let (&count, rest) = body.split_first()?;
        let (selectors, spectrum) = rest.split_at_checked(usize::from(count) * 2)?;
        if usize::from(count) != frame.components.len() || spectrum != [0, 63, 0] {
            return None;
        }
        let pairs = frame.components.iter().zip(selectors.chunks_exact(2));
        let components =
            pairs.map(|(component, selector)| self.component(component, selector)).collect::<Option<_>>()?;
        let is_gray = count == 1;
        let unit = if is_gray { 8 } else { 16 };
        Some(Baseline {
            size: frame.size,
            is_gray,
            columns: frame.size.width.div_ceil(unit) as usize,
            rows: frame.size.height.div_ceil(unit) as usize,
            interval: self.interval,
            components,
            scan,
        })
    }

    fn component(&self, &[id, _, steps]: &[u8; 3], selector: &[u8]) -> Option<Component> {
        let steps = self.steps.get(usize::from(steps))?.as_ref()?;
        let codes = |class: usize, at: u8| {
            let (counts, symbols) = self.codes[class].get(usize::from(at))?.as_ref()?;
            Decoding::new(counts, symbols)
        };
        let step = |place: usize| f32::from(steps[place % 8 * 8 + place / 8]);
        let factors = std::array::from_fn(|place| step(place) * SCALE[place / 8] * SCALE[place % 8] / 8.0);
        let &[selected, tables] = selector else { return None };
        (selected == id).then_some(())?;
        Some(Component { factors, dc: codes(0, tables >> 4)?, ac: codes(1, tables & 0xF)? })
    }
}

impl Component {
    /// Decodes one block and puts it at (x, y) of the plane.
    #[inline(always)]
    fn block(
        &self,
        reader: &mut BitReader<'_>,
        prediction: &mut i32,
        plane: &mut PlaneMut<'_>,
        place: (usize, usize),
    ) -> Option<()> {
        let mut values = [0.0; 64];
        reader.refill();
        let category = u32::from(self.dc.symbol(reader)?);
        (category <= 11).then_some(())?;
        // Hostile differences would run away; a value beyond this range is black or white anyway.
        *prediction = (*prediction + take_value(reader, category)).clamp(-0x8000, 0x7FFF);
        values[0] = float(*prediction) * self.factors[0] + 128.0;
        let is_flat = self.coefficients(reader, &mut values)?;
        if plane.width == 0 {
            return Some(()); // not asked for
        }
        if is_flat {
            plane.put(&[level(values[0]); 64], place);
        } else {
            plane.put(&samples(&values), place);
        }
        Some(())
    }

    /// Everything but the first coefficient; tells whether there is nothing.
    #[inline(always)]
    fn coefficients(&self, reader: &mut BitReader<'_>, values: &mut [f32; 64]) -> Option<bool> {
        let mut at = 1;
        let mut is_flat = true;
        while at < 64 {
            reader.refill();
            let value = if let Some(quick) = self.ac.quick(reader) {
                reader.skip(quick.bits());
                at += quick.run();
                quick.value()
            } else {
                let symbol = self.ac.symbol(reader)?;
                let (run, category) = (usize::from(symbol >> 4), u32::from(symbol & 0xF));
                match (run, category) {
                    (15, 0) => {
                        at += 16;
                        continue;
                    }
                    (_, 0) => break,
                    _ => at += run,
                }
                take_value(reader, category)
            };
            if at > 63 {
                return None;
            }
            let place = usize::from(PLACE_OF_ZIGZAG[at]) & 63;
            values[place] = float(value) * self.factors[place];
            is_flat = false;
            at += 1;
        }
        Some(is_flat)
    }
}

/// Exact: at most 16 bits.
#[expect(clippy::cast_precision_loss, reason = "at most 16 bits")]
fn float(value: i32) -> f32 {
    value as f32
}

fn level(value: f32) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let level = (value + 0.5).clamp(0.0, 255.0) as u8;
    level
}

#[inline(always)]
fn samples(values: &[f32; 64]) -> [u8; 64] {
    let block: Block = std::array::from_fn(|at| {
        f32x4::new([values[4 * at], values[4 * at + 1], values[4 * at + 2], values[4 * at + 3]])
    });
    let block = inverse(&block);
    let row = |at: usize| {
        let (left, right) = (block[2 * at].fast_round_int().to_array(), block[2 * at + 1].fast_round_int().to_array());
        let row = [left[0], left[1], left[2], left[3], right[0], right[1], right[2], right[3]];
        i16x8::from_i32x8_saturate(i32x8::new(row))
    };
    let mut samples = [0; 64];
    for (pair, samples) in samples.as_chunks_mut().0.iter_mut().enumerate() {
        *samples = u8x16::narrow_i16x8(row(2 * pair), row(2 * pair + 1)).to_array();
    }
    samples
}

/// A plane, or a band of one, tightly packed.
struct PlaneMut<'a> {
    samples: &'a mut [u8],
    /// 0: nobody wants this plane.
    width: usize,
}

impl<'a> PlaneMut<'a> {
    /// Takes so many rows off the top; at the bottom there may be fewer.
    fn take_rows(&mut self, rows: usize) -> PlaneMut<'a> {
        let all = std::mem::take(&mut self.samples);
        let split = (rows * self.width).min(all.len());
        let (taken, rest) = all.split_at_mut(split);
        self.samples = rest;
        PlaneMut { samples: taken, width: self.width }
    }

    /// Puts a block at (x, y); what is beyond the picture is left out.
    #[inline(always)]
    fn put(&mut self, block: &[u8; 64], (x, y): (usize, usize)) {
        let columns = self.width.saturating_sub(x).min(8);
        let Some(rows) = self.samples.get_mut(y * self.width + x..) else { return };
        for (to, from) in rows.chunks_mut(self.width).zip(block.as_chunks::<8>().0) {
            if let Some(to) = to.first_chunk_mut::<8>().filter(|_| columns == 8) {
                *to = *from;
            } else {
                let columns = columns.min(to.len());
                to[..columns].copy_from_slice(&from[..columns]);
            }
        }
    }
}
