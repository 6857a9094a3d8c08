//! JP2 files: one tile, one quality layer, one precinct a sub-band (ITU-T T.800, annexes A and I).

use super::block::{BlockCoder, CodedBlock, SIDE};
use super::packet::{self, BandBlocks};
use super::wavelet::{Irreversible, Place, Reversible, forward, levels, resolutions};
use crate::share::{next, share};
use lumenbus_frame::{Dimensions, PixelFormat, RawFrame};
use std::sync::Mutex;

/// How much may be lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Loss {
    None,
    /// The quantisation step, in samples of 8 bits.
    Step(f32),
}

impl Loss {
    /// 100 loses nothing. Below, errors are about as large as in a JPEG file of the same quality.
    pub(super) fn of_quality(quality: u8) -> Self {
        /// Where the scale of Annex K of ITU-T T.81 is 1.
        const STEP_AT_50: f32 = 20.0;
        let quality = f32::from(quality);
        match quality {
            100.0.. => Self::None,
            50.0.. => Self::Step(STEP_AT_50 * (2.0 - quality / 50.0)),
            _ => Self::Step(STEP_AT_50 * 50.0 / quality.max(1.0)),
        }
    }
}

/// Room for values beyond the nominal range: the low-pass filters of all levels together gain at most 1.8 in each
/// direction, and colour differences have a bit more than samples.
const GUARD_BITS: u32 = 3;

/// How much coarser colour is than luma: eyes see little of it.
const CHROMA_COARSER: f32 = 2.0;

/// How a component's sub-bands are quantised.
#[derive(Debug, Clone, Copy)]
enum Quantiser {
    /// Not at all: as many bits as samples have.
    Exact { depth: u32 },
    /// Steps of 2^(gain − level) · 2^−`exponent` · (1 + `mantissa` / 2048) of the nominal range: equal errors in the
    /// picture, since a value of the next level covers four times the area.
    Derived { exponent: u32, mantissa: u16, step: f32 },
}

impl Quantiser {
    fn new(loss: Loss, depth: u32, levels: u32, is_chroma: bool) -> Self {
        let Loss::Step(step) = loss else { return Self::Exact { depth } };
        let coarser = if is_chroma { CHROMA_COARSER } else { 1.0 };
        let whole_range = f32::from(1_u16 << (depth - 1)) * 2.0;
        let step = (step * coarser * whole_range / 256.0).clamp(1.0 / 64.0, whole_range);
        let power = step.log2().floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 2047")]
        let mantissa = ((step / power.exp2() - 1.0) * 2048.0) as u16;
        #[expect(clippy::cast_possible_truncation, reason = "-6 to 16")]
        let exponent = (depth + levels).saturating_add_signed(-(power as i32));
        Self::Derived { exponent, mantissa, step: power.exp2() * (1.0 + f32::from(mantissa) / 2048.0) }
    }

    /// Magnitude bit planes that decoders expect of a sub-band (equations E-2 and E-5).
    fn planes(self, place: Place, levels: u32) -> u32 {
        GUARD_BITS - 1
            + match self {
                Self::Exact { depth } => depth + place.band.gain_bits(),
                Self::Derived { exponent, .. } => exponent + place.level - levels,
            }
    }

    /// The body of a QCD or QCC segment (A.6.4).
    fn write(self, out: &mut Vec<u8>, levels: u32) {
        let style = GUARD_BITS.to_le_bytes()[0] << 5;
        match self {
            Self::Exact { depth } => {
                out.push(style);
                let bands = 0..3 * levels + 1;
                out.extend(bands.map(|at| (depth + [0, 1, 1, 2][gain_index(at)]).to_le_bytes()[0] << 3));
            }
            Self::Derived { exponent, mantissa, .. } => {
                out.push(style | 1);
                let exponent = u16::from(exponent.to_le_bytes()[0]);
                out.extend_from_slice(&(exponent << 11 | mantissa).to_be_bytes());
            }
        }
    }
}

/// Which of low-low, high-low, low-high and high-high a sub-band in the order of the file is.
fn gain_index(band: u32) -> usize {
    if band == 0 { 0 } else { (band as usize - 1) % 3 + 1 }
}

/// A component's coefficients, and how they became whole numbers.
struct Component {
    plane: Vec<i32>,
    quantiser: Quantiser,
}

/// A code-block that waits to be coded.
struct Job<'a> {
    component: &'a Component,
    place: Place,
    x: usize,
    y: usize,
    done: &'a mut CodedBlock,
}

/// Writes a picture of gray8, gray16le or rgb8 as a JP2 file.
pub(super) fn file(picture: &RawFrame, loss: Loss, threads: usize) -> Vec<u8> {
    let size = picture.dimensions();
    let depth = if picture.format() == PixelFormat::Gray16Le { 16 } else { 8 };
    let mut samples = samples(picture, depth);
    let is_color = samples.len() == 3;
    let levels = levels(size.width as usize, size.height as usize);
    let quantisers = (0..samples.len()).map(|at| Quantiser::new(loss, depth, levels, at > 0)).collect::<Vec<_>>();
    if is_color && loss == Loss::None {
        reversible_colour(&mut samples);
    }
    let components = transformed(&samples, &quantisers, size, threads);
    let packets = packets(&components, size, threads);
    let mut stream = main_header(size, depth, &quantisers, levels);
    let length = u32::try_from(packets.len() + 14).unwrap_or(0); // 0: up to the end of the file
    stream.extend_from_slice(&[0xFF, 0x90, 0, 10, 0, 0]);
    stream.extend_from_slice(&length.to_be_bytes());
    stream.extend_from_slice(&[0, 1, 0xFF, 0x93]);
    stream.extend_from_slice(&packets);
    stream.extend_from_slice(&[0xFF, 0xD9]);
    in_boxes(&stream, size, depth, is_color)
}

/// The samples of each component, around zero.
fn samples(picture: &RawFrame, depth: u32) -> Vec<Vec<i32>> {
    let (pixels, middle) = (picture.pixels(), 1 << (depth - 1));
    match picture.format() {
        PixelFormat::Gray16Le => {
            let values = pixels.chunks_exact(2).map(|pair| i32::from(u16::from_le_bytes([pair[0], pair[1]])) - middle);
            vec![values.collect()]
        }
        PixelFormat::Rgb8 => (0..3)
            .map(|channel| pixels.iter().skip(channel).step_by(3).map(|value| i32::from(*value) - middle).collect())
            .collect(),
        _ => vec![pixels.iter().map(|value| i32::from(*value) - middle).collect()],
    }
}

/// G.2.
fn reversible_colour(samples: &mut [Vec<i32>]) {
    let [red, green, blue] = samples else { return };
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        (*r, *g, *b) = ((*r + 2 * *g + *b) >> 2, *b - *g, *r - *g);
    }
}

/// G.3: the rows give luma and the two colour differences.
const IRREVERSIBLE_COLOUR: [[f32; 3]; 3] =
    [[0.299, 0.587, 0.114], [-0.168_75, -0.331_26, 0.5], [0.5, -0.418_69, -0.081_31]];

fn transformed(samples: &[Vec<i32>], quantisers: &[Quantiser], size: Dimensions, threads: usize) -> Vec<Component> {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut planes = vec![Vec::new(); samples.len()];
    let waiting = Mutex::new(planes.iter_mut().zip(quantisers).enumerate());
    let helpers = threads.min(samples.len()) - 1;
    share(helpers, || {
        while let Some((at, (plane, quantiser))) = next(&waiting) {
            *plane = match quantiser {
                Quantiser::Exact { .. } => {
                    let mut plane = samples[at].clone();
                    forward::<Reversible>(&mut plane, width, height);
                    plane
                }
                Quantiser::Derived { step, .. } => {
                    let mut plane = real_plane(samples, at);
                    forward::<Irreversible>(&mut plane, width, height);
                    quantised(&plane, *step, width, height)
                }
            };
        }
    });
    planes.into_iter().zip(quantisers).map(|(plane, &quantiser)| Component { plane, quantiser }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "at most 16 bits")]
fn real_plane(samples: &[Vec<i32>], component: usize) -> Vec<f32> {
    let [red, green, blue] = samples else { return samples[component].iter().map(|value| *value as f32).collect() };
    let [r, g, b] = IRREVERSIBLE_COLOUR[component];
    let pixels = red.iter().zip(green).zip(blue);
    pixels.map(|((red, green), blue)| r * *red as f32 + g * *green as f32 + b * *blue as f32).collect()
}

/// E.2: to whole steps, towards zero.
#[expect(clippy::cast_possible_truncation, reason = "fewer than 24 bits")]
fn quantised(plane: &[f32], step: f32, width: usize, height: usize) -> Vec<i32> {
    let mut whole = vec![0; plane.len()];
    for place in resolutions(width, height).iter().flatten() {
        let finer = f32::from(1_u16 << place.level) / f32::from(1_u16 << place.band.gain_bits());
        let scale = finer / step;
        for y in place.y..place.y + place.height {
            let row = y * width + place.x;
            let (from, to) = (&plane[row..row + place.width], &mut whole[row..row + place.width]);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = (from * scale) as i32);
        }
    }
    whole
}

/// Codes all blocks, and puts them in packets: by resolution, then by component.
fn packets(components: &[Component], size: Dimensions, threads: usize) -> Vec<u8> {
    let (width, height) = (size.width as usize, size.height as usize);
    let (resolutions, levels) = (resolutions(width, height), levels(width, height));
    let mut packets: Vec<(&Component, &[Place], Vec<BandBlocks>)> = Vec::new();
    for places in &resolutions {
        for component in components {
            let empty = |place: &Place| {
                let (columns, rows) = (place.width.div_ceil(SIDE), place.height.div_ceil(SIDE));
                let blocks = std::iter::repeat_with(CodedBlock::default).take(columns * rows).collect();
                BandBlocks { columns, rows, planes: component.quantiser.planes(*place, levels), blocks }
            };
            packets.push((component, places, places.iter().map(empty).collect()));
        }
    }
    let waiting = Mutex::new(packets.iter_mut().flat_map(|(component, places, bands)| jobs(component, places, bands)));
    share(threads - 1, || {
        let mut coder = BlockCoder::new();
        while let Some(job) = next(&waiting) {
            *job.done = code(&mut coder, &job, width);
        }
    });
    drop(waiting);
    let mut out = Vec::new();
    packets.iter().for_each(|(.., bands)| packet::write(&mut out, bands));
    out
}

fn jobs<'a>(
    component: &'a Component,
    places: &'a [Place],
    bands: &'a mut [BandBlocks],
) -> impl Iterator<Item = Job<'a>> {
    places.iter().zip(bands).flat_map(move |(&place, band)| {
        let columns = band.columns;
        band.blocks.iter_mut().enumerate().map(move |(at, done)| {
            let (x, y) = (at % columns * SIDE, at / columns * SIDE);
            Job { component, place, x, y, done }
        })
    })
}

fn code(coder: &mut BlockCoder, job: &Job<'_>, stride: usize) -> CodedBlock {
    let Job { place, x, y, .. } = *job;
    let (width, height) = (SIDE.min(place.width - x), SIDE.min(place.height - y));
    let rows = (place.y + y..place.y + y + height).map(|y| &job.component.plane[y * stride + place.x + x..][..width]);
    coder.code(rows, place.band)
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    let length = u16::try_from(body.len() + 2).expect("our segments are short");
    out.extend_from_slice(&[0xFF, marker]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
}

/// SOC, SIZ, COD, QCD and QCC (A.4 to A.6).
fn main_header(size: Dimensions, depth: u32, quantisers: &[Quantiser], levels: u32) -> Vec<u8> {
    let byte = |value: u32| value.to_le_bytes()[0];
    let components = u8::try_from(quantisers.len()).expect("one or three");
    let mut out = vec![0xFF, 0x4F];
    let mut body = vec![0, 0];
    // The picture, its offset, the tile and its offset.
    for value in [size.width, size.height, 0, 0, size.width, size.height, 0, 0] {
        body.extend_from_slice(&value.to_be_bytes());
    }
    body.extend_from_slice(&[0, components]);
    quantisers.iter().for_each(|_| body.extend_from_slice(&[byte(depth - 1), 1, 1]));
    segment(&mut out, 0x51, &body);
    let is_reversible = matches!(quantisers[0], Quantiser::Exact { .. });
    let side = byte(SIDE.ilog2() - 2);
    // Resolution by resolution, one layer, colour transform, levels, code-blocks, their style, transform.
    let style = [0, 0, 0, 1, u8::from(components == 3), byte(levels), side, side, 0, u8::from(is_reversible)];
    segment(&mut out, 0x52, &style);
    for (at, quantiser) in (0..components).zip(quantisers) {
        let mut body = if at == 0 { Vec::new() } else { vec![at] };
        quantiser.write(&mut body, levels);
        segment(&mut out, if at == 0 { 0x5C } else { 0x5D }, &body);
    }
    out
}

fn put_box(out: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    // A length of 0 is "up to the end of the file".
    out.extend_from_slice(&u32::try_from(content.len() + 8).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(kind);
    out.extend_from_slice(content);
}

/// The file around a codestream (I.5).
fn in_boxes(stream: &[u8], size: Dimensions, depth: u32, is_color: bool) -> Vec<u8> {
    let mut header = Vec::new();
    let components = if is_color { 3 } else { 1 };
    let (height, width) = (size.height.to_be_bytes(), size.width.to_be_bytes());
    let kind = [0, components, depth.to_le_bytes()[0] - 1, 7, 0, 0];
    put_box(&mut header, b"ihdr", &[&height[..], &width[..], &kind[..]].concat());
    // sRGB, or gray with sRGB's curve.
    put_box(&mut header, b"colr", &[1, 0, 0, 0, 0, 0, if is_color { 16 } else { 17 }]);
    let mut out = Vec::with_capacity(stream.len() + 96);
    put_box(&mut out, b"jP  ", &[0x0D, 0x0A, 0x87, 0x0A]);
    put_box(&mut out, b"ftyp", b"jp2 \0\0\0\0jp2 ");
    put_box(&mut out, b"jp2h", &header);
    put_box(&mut out, b"jp2c", stream);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_have_room_for_every_value() {
        for (depth, step) in [(8, 0.01), (8, 600.0), (16, 0.01), (16, 600.0), (8, 12.0), (16, 12.0)] {
            for levels in [0, 1, 5] {
                let quantiser = Quantiser::new(Loss::Step(step), depth, levels, true);
                let Quantiser::Derived { exponent, mantissa, .. } = quantiser else { panic!("{quantiser:?}") };
                assert!(exponent <= 31 && exponent >= levels && mantissa < 2048, "{quantiser:?}");
            }
        }
    }
    #[test]
    fn quality_100_loses_nothing_and_less_loses_more() {
        assert_eq!(Loss::of_quality(100), Loss::None);
        let steps: Vec<f32> = (1..100)
            .map(|quality| match Loss::of_quality(quality) {
                Loss::Step(step) => step,
                Loss::None => panic!("{quality}"),
            })
            .collect();
        assert!(steps.windows(2).all(|pair| pair[0] > pair[1]), "{steps:?}");
    }
}
