//! Painting rectangles over native pixels (PS3.3, C.7.6.3; PS3.5, section 8.2).

use super::Rectangle;
use crate::deid::dataset::{Dataset, Encoding};
use crate::deid::tag;

/// How samples lie in the pixel data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// All samples of a pixel side by side.
    Interleaved,
    /// All samples of one kind, then all of the next.
    Planar,
    /// Y0 Y1 Cb Cr for two pixels side by side.
    Ybr422,
}

/// An image's size and sample format.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) frames: usize,
    pub(super) samples: usize,
    /// Bytes of one sample.
    pub(super) width: usize,
    layout: Layout,
    /// What black is, for each sample of a pixel.
    black: [u32; 3],
}

impl Geometry {
    /// `None` for formats that cannot be painted on.
    pub(super) fn of(dataset: &Dataset, encoding: Encoding) -> Option<Self> {
        let number = |tag| dataset.u16(tag, encoding);
        let (rows, columns) = (number(tag::ROWS)?, number(tag::COLUMNS)?);
        let samples = usize::from(number(tag::SAMPLES_PER_PIXEL).unwrap_or(1));
        let allocated = number(tag::BITS_ALLOCATED)?;
        let stored = number(tag::BITS_STORED).unwrap_or(allocated);
        if rows == 0 || columns == 0 || !matches!(allocated, 8 | 16 | 32) || stored == 0 || stored > allocated {
            return None;
        }
        let frames = dataset.text(tag::NUMBER_OF_FRAMES).filter(|text| !text.is_empty());
        let frames = frames.map_or(Some(1), |text| text.parse().ok())?;
        let signed = number(tag::PIXEL_REPRESENTATION) == Some(1);
        let all = u32::MAX >> (32 - u32::from(stored));
        let half = 1 << (stored - 1);
        let photometric = dataset.text(tag::PHOTOMETRIC)?;
        let (wanted, black) = match photometric.as_str() {
            // The lowest of signed numbers has only its uppermost bit, extended over what is allocated.
            "MONOCHROME2" if signed => (1, [u32::MAX << (stored - 1), 0, 0]),
            "MONOCHROME2" | "PALETTE COLOR" => (1, [0; 3]),
            "MONOCHROME1" if signed => (1, [all >> 1, 0, 0]),
            "MONOCHROME1" => (1, [all, 0, 0]),
            "RGB" => (3, [0; 3]),
            "YBR_FULL" | "YBR_FULL_422" | "YBR_RCT" | "YBR_ICT" => (3, [0, half, half]),
            _ => return None,
        };
        let layout = match (photometric.as_str(), number(tag::PLANAR_CONFIGURATION)) {
            ("YBR_FULL_422", _) if allocated == 8 && columns % 2 == 0 => Layout::Ybr422,
            ("YBR_FULL_422", _) => return None,
            (_, Some(1)) if samples > 1 => Layout::Planar,
            _ => Layout::Interleaved,
        };
        let geometry = Self {
            rows: rows.into(),
            columns: columns.into(),
            frames,
            samples,
            width: usize::from(allocated / 8),
            layout,
            black,
        };
        (samples == wanted).then_some(geometry)
    }

    /// Bytes of one frame.
    fn frame_length(&self) -> usize {
        let pixels = self.rows * self.columns;
        if self.layout == Layout::Ybr422 { pixels * 2 } else { pixels * self.samples * self.width }
    }

    /// Paints into every frame.
    pub(super) fn paint(
        &self,
        native: &mut [u8],
        rectangles: &[Rectangle],
        big_endian: bool,
    ) -> Result<(), &'static str> {
        let expected = self.frame_length().checked_mul(self.frames).ok_or("the image's size is impossible")?;
        // More than the padding would be something that nobody sees, less a frame that is not there.
        if self.frames == 0 || native.len() != expected.next_multiple_of(2) && native.len() != expected {
            return Err("the pixels are not as many bytes as rows, columns and frames say");
        }
        for frame in native[..expected].chunks_exact_mut(self.frame_length()) {
            for rectangle in rectangles {
                self.paint_frame(frame, *rectangle, big_endian);
            }
        }
        Ok(())
    }

    fn paint_frame(&self, frame: &mut [u8], rectangle: Rectangle, big_endian: bool) {
        let (left, top) = (usize::from(rectangle.x), usize::from(rectangle.y));
        let right = (left + usize::from(rectangle.width)).min(self.columns);
        let bottom = (top + usize::from(rectangle.height)).min(self.rows);
        for row in top..bottom {
            for column in left..right {
                self.paint_pixel(frame, row * self.columns + column, big_endian);
            }
        }
    }

    fn paint_pixel(&self, frame: &mut [u8], pixel: usize, big_endian: bool) {
        if self.layout == Layout::Ybr422 {
            // Colour is shared by two pixels, so that both lose it.
            let pair = pixel / 2 * 4;
            frame[pair + pixel % 2] = 0;
            frame[pair + 2..pair + 4].fill(128);
            return;
        }
        for sample in 0..self.samples {
            let index = match self.layout {
                Layout::Planar => sample * self.rows * self.columns + pixel,
                Layout::Interleaved | Layout::Ybr422 => pixel * self.samples + sample,
            };
            let place = &mut frame[index * self.width..(index + 1) * self.width];
            put(place, self.black[sample], big_endian);
        }
    }

    /// The planes of bytes that RLE codes: for each sample, the bytes of all pixels, most significant first.
    pub(super) fn paint_planes(&self, planes: &mut [Vec<u8>], rectangles: &[Rectangle]) {
        for rectangle in rectangles {
            let (left, top) = (usize::from(rectangle.x), usize::from(rectangle.y));
            let right = (left + usize::from(rectangle.width)).min(self.columns).max(left.min(self.columns));
            let bottom = (top + usize::from(rectangle.height)).min(self.rows);
            for (index, plane) in planes.iter_mut().enumerate() {
                let black = self.black[index / self.width].to_be_bytes();
                let byte = black[4 - self.width + index % self.width];
                for row in top..bottom {
                    let start = row * self.columns;
                    plane[start + left.min(self.columns)..start + right].fill(byte);
                }
            }
        }
    }

    /// Clears bits of every sample.
    pub(super) fn clear_bits(&self, native: &mut [u8], bits: u32, big_endian: bool) {
        let clear = (!bits).to_le_bytes();
        for sample in native.chunks_exact_mut(self.width) {
            for (index, byte) in sample.iter_mut().enumerate() {
                *byte &= clear[if big_endian { self.width - 1 - index } else { index }];
            }
        }
    }
}

fn put(place: &mut [u8], value: u32, big_endian: bool) {
    let width = place.len();
    if big_endian {
        place.copy_from_slice(&value.to_be_bytes()[4 - width..]);
    } else {
        place.copy_from_slice(&value.to_le_bytes()[..width]);
    }
}
