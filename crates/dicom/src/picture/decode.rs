//! Bytes of a frame to samples.

use super::color::rgb_of_ybr;
use super::places::FramePlace;
use super::{Coding, Image, NoPicture, Number, Photometric, Picture, SampleKind};
use crate::deid::pixels::rle;
use crate::element::ByteOrder;
use std::io::Read as _;

const SHORT: NoPicture = NoPicture::Damaged { what: "the frame is not as long as its size says" };

impl Image {
    /// The samples of a frame; `bytes` are those of its [`FramePlace`], one behind the other.
    ///
    /// # Errors
    /// What is wrong with the bytes, or cannot be shown.
    pub fn decode(&self, place: &FramePlace, bytes: &[u8]) -> Result<Picture, NoPicture> {
        match self.coding {
            Coding::Native if self.allocated == 1 => self.bits_of(place, bytes),
            Coding::Native | Coding::Wrapped if self.is_swapped => {
                let swapped: Vec<u8> = bytes.chunks(2).flat_map(|pair| pair.iter().rev().copied()).collect();
                self.arrange(swapped.get(place.first_bit as usize / 8..).ok_or(SHORT)?, self.byte_order)
            }
            Coding::Native | Coding::Wrapped => self.arrange(bytes, self.byte_order),
            Coding::DeflatedFrames => {
                let mut native = Vec::new();
                let most = self.native_bits().div_ceil(8);
                let inflated = flate2::read::DeflateDecoder::new(bytes).take(most).read_to_end(&mut native);
                inflated.map_err(|_| NoPicture::Damaged { what: "the frame's deflate stream is broken" })?;
                self.arrange(&native, ByteOrder::Little)
            }
            Coding::Rle => {
                let width = usize::from(self.allocated / 8);
                let planes = rle::decode(bytes, self.samples, width, self.pixels());
                let planes = planes.map_err(|what| NoPicture::Damaged { what })?;
                self.arrange_planes(&planes, width)
            }
            #[cfg(feature = "pictures")]
            Coding::Jpeg => self.jpeg(bytes),
            #[cfg(feature = "pictures")]
            Coding::Jpeg2000 => self.jpeg2000(bytes),
            #[cfg(not(feature = "pictures"))]
            Coding::Jpeg | Coding::Jpeg2000 => Err(NoPicture::Form { what: "compressed frames of this build" }),
        }
    }

    /// One bit a pixel, the least significant first (PS3.5, 8.1.1).
    fn bits_of(&self, place: &FramePlace, bytes: &[u8]) -> Result<Picture, NoPicture> {
        let first = place.first_bit as usize;
        if bytes.len() * 8 < first + self.pixels() {
            return Err(SHORT);
        }
        let bit = |at: usize| bytes[(first + at) / 8] >> ((first + at) % 8) & 1;
        Ok(Picture { kind: SampleKind::U8, bytes: (0..self.pixels()).map(bit).collect() })
    }

    /// Planes of bytes of every sample, the most significant first, as native pixels.
    fn arrange_planes(&self, planes: &[Vec<u8>], width: usize) -> Result<Picture, NoPicture> {
        let mut native = vec![0; self.pixels() * self.samples * width];
        for (index, plane) in planes.iter().enumerate() {
            let (sample, byte) = (index / width, width - 1 - index % width);
            let places = native.iter_mut().skip(sample * width + byte).step_by(self.samples * width);
            places.zip(plane).for_each(|(to, from)| *to = *from);
        }
        let interleaved = Self { is_planar: false, ..self.clone() };
        interleaved.arrange(&native, ByteOrder::Little)
    }

    fn arrange(&self, bytes: &[u8], order: ByteOrder) -> Result<Picture, NoPicture> {
        let length = usize::try_from(self.native_bits().div_ceil(8)).map_err(|_| NoPicture::TooLarge)?;
        let bytes = bytes.get(..length).ok_or(SHORT)?;
        if self.samples == 3 {
            return Ok(Picture { kind: SampleKind::Rgb, bytes: self.colors(bytes, order) });
        }
        Ok(match (self.number, self.allocated) {
            (Number::Float, _) => {
                let floats = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_bits(order.u32(*four)));
                Picture { kind: SampleKind::F32, bytes: floats.flat_map(f32::to_le_bytes).collect() }
            }
            (Number::Double, _) => {
                let floats = bytes.as_chunks::<8>().0.iter().map(|eight| narrow(f64::from_bits(order.u64(*eight))));
                Picture { kind: SampleKind::F32, bytes: floats.flat_map(f32::to_le_bytes).collect() }
            }
            (Number::Integer, 32) => {
                let words = bytes.as_chunks::<4>().0.iter().map(|four| self.float(order.u32(*four)));
                Picture { kind: SampleKind::F32, bytes: words.flat_map(f32::to_le_bytes).collect() }
            }
            (Number::Integer, 16) => {
                let words = bytes.as_chunks::<2>().0.iter().map(|pair| u32::from(order.u16(*pair)));
                self.gray(words)
            }
            (Number::Integer, _) => self.gray(bytes.iter().map(|byte| u32::from(*byte))),
        })
    }

    /// Stored values of at most 16 bits, through the palette where there is one.
    pub(super) fn gray(&self, words: impl Iterator<Item = u32>) -> Picture {
        let values = words.map(|word| self.value(word));
        if let Some(palette) = &self.palette {
            return Picture { kind: SampleKind::Rgb, bytes: values.flat_map(|value| palette.color(value)).collect() };
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no value has more bits than that")]
        match (self.stored > 8, self.is_signed) {
            (false, false) => Picture { kind: SampleKind::U8, bytes: values.map(|value| value as u8).collect() },
            (_, true) => {
                let bytes = values.flat_map(|value| (value as i16).to_le_bytes()).collect();
                Picture { kind: SampleKind::I16, bytes }
            }
            (true, false) => {
                let bytes = values.flat_map(|value| (value as u16).to_le_bytes()).collect();
                Picture { kind: SampleKind::U16, bytes }
            }
        }
    }

    /// The bits that are stored, up to the high bit; others may hold an overlay.
    fn value(&self, word: u32) -> i32 {
        let shifted = word >> (self.high_bit + 1 - self.stored);
        let unused = 32 - u32::from(self.stored);
        let raised = shifted << unused;
        if self.is_signed { raised.cast_signed() >> unused } else { (raised >> unused).cast_signed() }
    }

    #[expect(clippy::cast_precision_loss, reason = "said at the kind")]
    fn float(&self, word: u32) -> f32 {
        let value = self.value(word);
        if self.is_signed { value as f32 } else { value.cast_unsigned() as f32 }
    }

    fn colors(&self, bytes: &[u8], order: ByteOrder) -> Vec<u8> {
        if self.photometric == Photometric::Ybr422 {
            // Two pixels share their colour: Y Y Cb Cr.
            let pairs = bytes.as_chunks::<4>().0.iter();
            return pairs.flat_map(|&[a, b, cb, cr]| [[a, cb, cr], [b, cb, cr]]).flat_map(rgb_of_ybr).collect();
        }
        let wide = self.allocated == 16;
        let shift = self.stored.saturating_sub(8);
        let sample = |index: usize| match wide {
            true => {
                let word = self.value(u32::from(order.u16([bytes[index * 2], bytes[index * 2 + 1]])));
                u8::try_from(word >> shift).unwrap_or(u8::MAX)
            }
            false => bytes[index],
        };
        let pixels = self.pixels();
        let pixel = |at: usize| match self.is_planar {
            true => [at, pixels + at, 2 * pixels + at].map(sample),
            false => [3 * at, 3 * at + 1, 3 * at + 2].map(sample),
        };
        let is_ybr = self.photometric == Photometric::Ybr;
        (0..pixels).map(pixel).flat_map(|pixel| if is_ybr { rgb_of_ybr(pixel) } else { pixel }).collect()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what a screen shows needs no more")]
fn narrow(value: f64) -> f32 {
    value as f32
}
