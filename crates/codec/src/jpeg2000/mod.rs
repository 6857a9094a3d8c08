//! JPEG 2000 (ITU-T T.800): one JP2 file per frame, written here, read by hayro-jpeg2000.

mod arithmetic;
mod block;
mod header;
mod packet;
mod wavelet;
mod write;

use crate::CodecError;
use crate::registry::{Entry, Side};
use crate::still::{StillCodec, StillDecoder, StillEncoder, still};
use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};
use header::{malformed, unusual};
use lumenbus_frame::{Codec, Dimensions, PixelFormat, RawFrame};
use write::Loss;

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::Jpeg2000,
    encoder: Side::Built(|config| Ok(Box::new(StillEncoder::new(&JPEG2000, config)?))),
    decoder: Side::Built(|config| Ok(Box::new(StillDecoder::new(&JPEG2000, config)))),
};

pub(crate) static JPEG2000: StillCodec = StillCodec {
    codec: Codec::Jpeg2000,
    formats: &[PixelFormat::Gray8, PixelFormat::Gray16Le, PixelFormat::Rgb8],
    write: |picture, settings| {
        let components = if picture.format() == PixelFormat::Rgb8 { 3 } else { 1 };
        header::check_samples(picture.dimensions(), components)?;
        Ok(write::file(picture, Loss::of_quality(settings.quality), settings.threads))
    },
    check: header::check,
    read,
};

fn failed(source: hayro_jpeg2000::DecodeError) -> CodecError {
    CodecError::Jpeg2000Decode { source }
}

fn read(file: &[u8], size: Dimensions) -> Result<RawFrame, CodecError> {
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let image = Image::new(file, &settings).map_err(failed)?;
    if (image.width(), image.height()) != (size.width, size.height) {
        return Err(unusual("of subsampled components only"));
    }
    if matches!(image.color_space(), ColorSpace::CMYK) {
        return Err(unusual("in CMYK"));
    }
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(failed)?;
    let channels: Vec<Channel<'_>> = decoded
        .components()
        .iter()
        .map(|component| Channel { samples: component.samples(), depth: component.bit_depth() })
        .collect();
    arrange(&channels, size)
}

struct Channel<'a> {
    samples: &'a [f32],
    /// Bits of a sample.
    depth: u8,
}

impl Channel<'_> {
    fn largest(&self) -> f32 {
        f32::from(self.depth).exp2() - 1.0
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    fn bytes(&self) -> impl Iterator<Item = u8> {
        let scale = 255.0 / self.largest();
        self.samples.iter().map(move |sample| (sample * scale + 0.5) as u8)
    }

    /// As they are: 12 bits stay 12 bits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    fn words(&self) -> impl Iterator<Item = u16> {
        let largest = self.largest();
        self.samples.iter().map(move |sample| (sample + 0.5).min(largest) as u16)
    }
}

/// Gray, with 16 bits where it has more than 8, or RGB; opacity is left out.
fn arrange(channels: &[Channel<'_>], size: Dimensions) -> Result<RawFrame, CodecError> {
    let pixels = size.width as usize * size.height as usize;
    if channels.iter().any(|channel| channel.samples.len() != pixels) {
        return Err(malformed("components of different sizes"));
    }
    match channels {
        [gray] | [gray, _] if gray.depth > 8 => {
            still(PixelFormat::Gray16Le, size, gray.words().flat_map(u16::to_le_bytes).collect())
        }
        [gray] | [gray, _] => still(PixelFormat::Gray8, size, gray.bytes().collect()),
        [red, green, blue, ..] => {
            let mut rgb = vec![0; pixels * 3];
            for (at, channel) in [red, green, blue].into_iter().enumerate() {
                rgb.iter_mut().skip(at).step_by(3).zip(channel.bytes()).for_each(|(to, from)| *to = from);
            }
            still(PixelFormat::Rgb8, size, rgb)
        }
        [] => Err(malformed("no component")),
    }
}
