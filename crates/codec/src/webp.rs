//! WebP (RFC 9649): one file per frame. Read, and written without loss, by `image-webp`; written with loss by libwebp.

use crate::CodecError;
use crate::coder::check_size;
use crate::registry::{Entry, Side};
use crate::still::{StillCodec, StillDecoder, StillEncoder, StillSettings, still};
use image_webp::{ColorType, WebPDecoder, WebPEncoder};
use lumenbus_frame::{Codec, Dimensions, PixelFormat, RawFrame};
use std::io::Cursor;
use webp::{Encoder, WebPConfig, WebPEncodingError};

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::Webp,
    encoder: Side::Built(|config| Ok(Box::new(StillEncoder::new(&WEBP, config)?))),
    decoder: Side::Built(|config| Ok(Box::new(StillDecoder::new(&WEBP, config)))),
};

pub(crate) static WEBP: StillCodec =
    StillCodec { codec: Codec::Webp, formats: &[PixelFormat::Gray8, PixelFormat::Rgb8], write, check, read };

/// Sides have 14 bits.
const MAX_SIDE: u32 = 16_383;
/// Of 0 to 6: the last one that does not cost three times as much.
const METHOD: i32 = 2;
const LOSSLESS: u8 = 100;
/// What the library may allocate beside the picture for chunks of metadata; none is asked for.
const MAX_WORK_BYTES: usize = 16 << 20;

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: Codec::Webp, what }
}

fn write(picture: &RawFrame, settings: StillSettings) -> Result<Vec<u8>, CodecError> {
    let (codec, size) = (Codec::Webp, picture.dimensions());
    if size.width.max(size.height) > MAX_SIDE {
        return Err(CodecError::Size { codec, dimensions: size, reason: "a side is at most 16383 pixels long" });
    }
    let is_gray = picture.format() == PixelFormat::Gray8;
    if settings.quality == LOSSLESS {
        let color = if is_gray { ColorType::L8 } else { ColorType::Rgb8 };
        let mut file = Vec::new();
        let written = WebPEncoder::new(&mut file).encode(picture.pixels(), size.width, size.height, color);
        written.map_err(|source| CodecError::WebpEncode { source })?;
        return Ok(file);
    }
    let rgb = is_gray.then(|| picture.pixels().iter().flat_map(|gray| [*gray; 3]).collect::<Vec<u8>>());
    lossy(rgb.as_deref().unwrap_or(picture.pixels()), size, settings.quality)
}

fn lossy(rgb: &[u8], size: Dimensions, quality: u8) -> Result<Vec<u8>, CodecError> {
    let failed = |reason| CodecError::WebpLossy { dimensions: size, reason };
    let mut config = WebPConfig::new().map_err(|()| failed(WebPEncodingError::VP8_ENC_ERROR_INVALID_CONFIGURATION))?;
    config.method = METHOD;
    config.quality = f32::from(quality);
    let file = Encoder::from_rgb(rgb, size.width, size.height).encode_advanced(&config);
    file.map(|file| file.to_vec()).map_err(failed)
}

fn read(file: &[u8], size: Dimensions) -> Result<RawFrame, CodecError> {
    let failed = |source| CodecError::WebpDecode { source };
    // Not what lies behind the end that its header tells: only what was checked is decoded.
    let whole = number(file, 4, 4).and_then(|length| file.get(..(length as usize).checked_add(8)?));
    let whole = whole.ok_or_else(|| malformed("it is truncated"))?;
    let mut decoder = WebPDecoder::new(Cursor::new(whole)).map_err(failed)?;
    decoder.set_memory_limit(MAX_WORK_BYTES);
    if decoder.dimensions() != (size.width, size.height) {
        return Err(malformed("two sizes"));
    }
    let bytes = decoder.output_buffer_size().ok_or_else(|| malformed("no size"))?;
    let mut pixels = vec![0; bytes];
    // Of an animation, its first picture.
    decoder.read_image(&mut pixels).map_err(failed)?;
    if decoder.has_alpha() {
        pixels = pixels.chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect();
    }
    still(PixelFormat::Rgb8, size, pixels)
}

/// The size of the picture in a file that is whole; every picture in it is checked against the limits.
fn check(file: &[u8]) -> Result<Dimensions, CodecError> {
    let (Some(b"RIFF"), Some(length), Some(b"WEBP")) = (file.get(..4), number(file, 4, 4), file.get(8..12)) else {
        return Err(malformed("it does not begin with RIFF and WEBP"));
    };
    let chunks = length.checked_sub(4).and_then(|length| file.get(12..)?.get(..length as usize));
    let chunks = chunks.ok_or_else(|| malformed("it is truncated"))?;
    let mut first = None;
    for chunk in Chunks(chunks) {
        let (kind, body) = chunk?;
        let size = match kind {
            // A frame of an animation: its header, then chunks of its own.
            b"ANMF" => {
                for inner in Chunks(body.get(16..).unwrap_or_default()) {
                    let (kind, body) = inner?;
                    size_in(kind, body)?;
                }
                None
            }
            _ => size_in(kind, body)?,
        };
        first = first.or(size);
    }
    first.ok_or_else(|| malformed("no picture in it"))
}

/// The size that a chunk tells.
fn size_in(kind: &[u8], body: &[u8]) -> Result<Option<Dimensions>, CodecError> {
    let size = match kind {
        b"VP8X" => number(body, 4, 3).zip(number(body, 7, 3)).map(|(width, height)| (width + 1, height + 1)),
        b"VP8L" => number(body, 1, 4).map(|sides| ((sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1)),
        b"VP8 " => number(body, 6, 2).zip(number(body, 8, 2)).map(|(width, height)| (width & 0x3FFF, height & 0x3FFF)),
        _ => return Ok(None),
    };
    let (width, height) = size.ok_or_else(|| malformed("a picture without a size"))?;
    let size = Dimensions::new(width, height);
    check_size(Codec::Webp, size)?;
    Ok(Some(size))
}

/// A number of so many bytes, the least significant one first.
fn number(bytes: &[u8], at: usize, count: usize) -> Option<u32> {
    Some(bytes.get(at..at + count)?.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

/// Chunks of a RIFF file: kind and body. They are padded to even lengths.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let file = std::mem::take(&mut self.0);
        let body = number(file, 4, 4).and_then(|length| file.get(8..)?.get(..length as usize));
        let Some(body) = body else { return Some(Err(malformed("a chunk is longer than the file"))) };
        let end = 8 + body.len() + body.len() % 2;
        self.0 = file.get(end..).unwrap_or_default();
        Some(Ok((&file[..4], body)))
    }
}
