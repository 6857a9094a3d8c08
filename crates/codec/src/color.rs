//! What luma and chroma samples mean, and conversion between pixel formats.
//!
//! [`RawFrame`] does not carry colour, so a decoder hands it out beside the picture. Where nothing says
//! otherwise [`Color::assumed`] holds: limited range, BT.709 from 720 lines on and BT.601 below, which is
//! what cameras, players and ITU-T H.273's "unspecified" lead to in practice.

use crate::CodecError;
use bytes::Bytes;
use lumenbus_frame::{Dimensions, PixelFormat, RawFrame};
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

/// Which weights luma and chroma were made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601: standard definition, and JPEG (JFIF).
    Bt601,
    /// ITU-R BT.709: high definition.
    Bt709,
}

/// Which values are black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// Luma 16 to 235.
    Limited,
    /// Luma 0 to 255.
    Full,
}

/// What luma and chroma samples mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color {
    /// Weights.
    pub matrix: Matrix,
    /// Black and white.
    pub range: Range,
}

impl Color {
    /// JFIF: BT.601, full range.
    pub const JPEG: Self = Self { matrix: Matrix::Bt601, range: Range::Full };

    /// What to take where the stream says nothing.
    #[must_use]
    pub fn assumed(dimensions: Dimensions) -> Self {
        let matrix = if dimensions.height >= 720 { Matrix::Bt709 } else { Matrix::Bt601 };
        Self { matrix, range: Range::Limited }
    }

    fn yuv(self) -> (YuvRange, YuvStandardMatrix) {
        let range = match self.range {
            Range::Limited => YuvRange::Limited,
            Range::Full => YuvRange::Full,
        };
        let matrix = match self.matrix {
            Matrix::Bt601 => YuvStandardMatrix::Bt601,
            Matrix::Bt709 => YuvStandardMatrix::Bt709,
        };
        (range, matrix)
    }
}

/// The three planes of tightly packed I420.
pub(crate) struct Planes<'a> {
    pub(crate) y: &'a [u8],
    pub(crate) u: &'a [u8],
    pub(crate) v: &'a [u8],
    /// Bytes in a row of chroma.
    pub(crate) chroma_width: usize,
}

impl<'a> Planes<'a> {
    /// `pixels` is as long as I420 of this size demands.
    pub(crate) fn of(pixels: &'a [u8], size: Dimensions) -> Self {
        let chroma_width = size.width.div_ceil(2) as usize;
        let (y, chroma) = pixels.split_at(size.width as usize * size.height as usize);
        let (u, v) = chroma.split_at(chroma_width * size.height.div_ceil(2) as usize);
        Self { y, u, v, chroma_width }
    }
}

/// The picture in another format, with the same capture time and pts; the same bytes when it is in it already.
///
/// `color` says what the I420 side means. Gray8 is taken and made as its luma.
pub fn convert(picture: &RawFrame, to: PixelFormat, color: Color) -> Result<RawFrame, CodecError> {
    let (from, size) = (picture.format(), picture.dimensions());
    let failed = |source| CodecError::Color { dimensions: size, from, to, source };
    let pixels = match (from, to) {
        _ if from == to => return Ok(picture.clone()),
        (PixelFormat::I420, PixelFormat::Rgb8) => i420_to_rgb(picture.pixels(), size, color).map_err(failed)?.into(),
        (PixelFormat::Rgb8, PixelFormat::I420) => rgb_to_i420(picture.pixels(), size, color).map_err(failed)?.into(),
        (PixelFormat::Gray8, PixelFormat::I420) => gray_to_i420(picture.pixels(), size, color.range),
        (PixelFormat::Gray8, PixelFormat::Rgb8) => picture.pixels().iter().flat_map(|&y| [y, y, y]).collect(),
        (PixelFormat::I420, PixelFormat::Gray8) => i420_to_gray(picture.pixels(), size, color.range),
        (PixelFormat::Rgb8, PixelFormat::Gray8) => {
            let i420 = rgb_to_i420(picture.pixels(), size, Color::JPEG).map_err(failed)?;
            i420_to_gray(&i420.into(), size, Range::Full)
        }
        _ => return Err(CodecError::NoConversion { from, to }),
    };
    let mut converted = RawFrame::new(to, size, pixels, picture.capture)?;
    converted.pts = picture.pts;
    Ok(converted)
}

fn i420_to_rgb(pixels: &[u8], size: Dimensions, color: Color) -> Result<Vec<u8>, yuv::YuvError> {
    let Planes { y, u, v, .. } = Planes::of(pixels, size);
    let chroma = size.width.div_ceil(2);
    let image = YuvPlanarImage {
        y_plane: y,
        y_stride: size.width,
        u_plane: u,
        u_stride: chroma,
        v_plane: v,
        v_stride: chroma,
        width: size.width,
        height: size.height,
    };
    let mut rgb = vec![0; y.len() * 3];
    let (range, matrix) = color.yuv();
    yuv::yuv420_to_rgb(&image, &mut rgb, size.width * 3, range, matrix)?;
    Ok(rgb)
}

fn rgb_to_i420(rgb: &[u8], size: Dimensions, color: Color) -> Result<Vec<u8>, yuv::YuvError> {
    let chroma = size.width.div_ceil(2);
    let luma_bytes = rgb.len() / 3;
    let chroma_bytes = chroma as usize * size.height.div_ceil(2) as usize;
    let mut pixels = vec![0; luma_bytes + 2 * chroma_bytes];
    let (y, rest) = pixels.split_at_mut(luma_bytes);
    let (u, v) = rest.split_at_mut(chroma_bytes);
    let mut image = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: size.width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: chroma,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: chroma,
        width: size.width,
        height: size.height,
    };
    let (range, matrix) = color.yuv();
    yuv::rgb_to_yuv420(&mut image, rgb, size.width * 3, range, matrix, YuvConversionMode::Balanced)?;
    Ok(pixels)
}

/// Full-range luma → limited: 0..=255 → 16..=235 (ITU-T H.273, section 8.3).
fn limited_from_full(y: u8) -> u8 {
    let scaled = 16 + (u32::from(y) * 219 + 127) / 255;
    u8::try_from(scaled).expect("at most 235")
}

/// Limited-range luma → full, clamped.
fn full_from_limited(y: u8) -> u8 {
    let scaled = (u32::from(y.saturating_sub(16)) * 255 + 109) / 219;
    u8::try_from(scaled.min(255)).expect("at most 255")
}

fn map_luma(luma: &[u8], map: fn(u8) -> u8) -> Vec<u8> {
    let table: [u8; 256] = std::array::from_fn(|y| map(u8::try_from(y).expect("an index below 256")));
    luma.iter().map(|&y| table[usize::from(y)]).collect()
}

fn gray_to_i420(gray: &[u8], size: Dimensions, range: Range) -> Bytes {
    let mut pixels = match range {
        Range::Full => gray.to_vec(),
        Range::Limited => map_luma(gray, limited_from_full),
    };
    let chroma_bytes = size.width.div_ceil(2) as usize * size.height.div_ceil(2) as usize;
    pixels.resize(gray.len() + 2 * chroma_bytes, 128);
    pixels.into()
}

fn i420_to_gray(pixels: &Bytes, size: Dimensions, range: Range) -> Bytes {
    let luma = pixels.slice(..size.width as usize * size.height as usize);
    match range {
        Range::Full => luma,
        Range::Limited => map_luma(&luma, full_from_limited).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::CaptureTime;

    fn picture(format: PixelFormat, width: u32, height: u32, fill: impl Fn(usize) -> u8) -> RawFrame {
        let size = Dimensions::new(width, height);
        let pixels: Bytes = (0..format.frame_bytes(size).unwrap()).map(fill).collect();
        RawFrame::new(format, size, pixels, CaptureTime::sensor(7)).unwrap()
    }

    fn pixel(frame: &RawFrame, at: usize) -> [i32; 3] {
        std::array::from_fn(|c| i32::from(frame.pixels()[at * 3 + c]))
    }

    #[test]
    fn primaries_survive_both_matrices_and_ranges_at_odd_sizes() {
        for (width, height) in [(1, 1), (3, 5), (17, 2), (64, 33)] {
            for rgb in [[255u8, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3], [0; 3], [90, 140, 33]] {
                for matrix in [Matrix::Bt601, Matrix::Bt709] {
                    for range in [Range::Limited, Range::Full] {
                        let color = Color { matrix, range };
                        let original = picture(PixelFormat::Rgb8, width, height, |at| rgb[at % 3]);
                        let i420 = convert(&original, PixelFormat::I420, color).unwrap();
                        let back = convert(&i420, PixelFormat::Rgb8, color).unwrap();
                        for at in 0..(width * height) as usize {
                            let (a, b) = (pixel(&original, at), pixel(&back, at));
                            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 4), "{rgb:?} {color:?} {a:?} {b:?}");
                        }
                        assert_eq!(back.capture, original.capture);
                    }
                }
            }
        }
    }

    #[test]
    fn the_matrix_follows_the_number_of_lines() {
        assert_eq!(Color::assumed(Dimensions::new(768, 576)).matrix, Matrix::Bt601);
        assert_eq!(Color::assumed(Dimensions::new(1280, 720)).matrix, Matrix::Bt709);
        let red = picture(PixelFormat::Rgb8, 2, 2, |at| if at % 3 == 0 { 255 } else { 0 });
        let luma = |matrix| {
            let color = Color { matrix, range: Range::Limited };
            convert(&red, PixelFormat::I420, color).unwrap().pixels()[0]
        };
        // ITU-R BT.601 and BT.709: red's weights 0.299 and 0.2126 of 219, above 16.
        assert!(luma(Matrix::Bt601).abs_diff(81) <= 1 && luma(Matrix::Bt709).abs_diff(63) <= 1);
    }

    #[test]
    fn gray_keeps_black_and_white() {
        let gray = picture(PixelFormat::Gray8, 5, 3, |at| if at % 2 == 0 { 0 } else { 255 });
        for range in [Range::Limited, Range::Full] {
            let color = Color { matrix: Matrix::Bt601, range };
            let i420 = convert(&gray, PixelFormat::I420, color).unwrap();
            assert_eq!(i420.pixels()[0], if range == Range::Full { 0 } else { 16 });
            assert_eq!(convert(&i420, PixelFormat::Gray8, color).unwrap(), gray);
        }
        let deep = picture(PixelFormat::Gray16Le, 2, 2, |_| 1);
        assert!(convert(&deep, PixelFormat::Rgb8, Color::JPEG).is_err());
    }
}
