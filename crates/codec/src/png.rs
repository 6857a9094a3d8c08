//! PNG (ISO/IEC 15948): one file per frame, without loss, by the crate `png`.

use crate::CodecError;
use crate::coder::check_size;
use crate::registry::{Entry, Side};
use crate::still::{StillCodec, StillDecoder, StillEncoder, still};
use lumenbus_frame::{Codec, Dimensions, PixelFormat, RawFrame};
use png::{BitDepth, ColorType, Compression, Filter, Limits, Transformations};
use std::io::Cursor;

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::Png,
    encoder: Side::Built(|config| Ok(Box::new(StillEncoder::new(&PNG, config)?))),
    decoder: Side::Built(|config| Ok(Box::new(StillDecoder::new(&PNG, config)))),
};

pub(crate) static PNG: StillCodec = StillCodec {
    codec: Codec::Png,
    formats: &[PixelFormat::Gray8, PixelFormat::Gray16Le, PixelFormat::Rgb8],
    write: |picture, _| write(picture).map_err(|source| CodecError::PngEncode { source }),
    check,
    read,
};

/// Most that the library may allocate beside the picture: rows, and texts, which are not kept.
const MAX_WORK_BYTES: usize = 16 << 20;

fn write(picture: &RawFrame) -> Result<Vec<u8>, png::EncodingError> {
    let (color, depth) = match picture.format() {
        PixelFormat::Rgb8 => (ColorType::Rgb, BitDepth::Eight),
        PixelFormat::Gray16Le => (ColorType::Grayscale, BitDepth::Sixteen),
        _ => (ColorType::Grayscale, BitDepth::Eight),
    };
    let size = picture.dimensions();
    let mut file = Vec::with_capacity(picture.pixels().len() / 2);
    let mut encoder = png::Encoder::new(&mut file, size.width, size.height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Paeth);
    let mut writer = encoder.write_header()?;
    match picture.format() {
        PixelFormat::Gray16Le => writer.write_image_data(&swapped(picture.pixels()))?,
        _ => writer.write_image_data(picture.pixels())?,
    }
    writer.finish()?;
    Ok(file)
}

/// Words with their bytes in the other order.
fn swapped(words: &[u8]) -> Vec<u8> {
    words.chunks_exact(2).flat_map(|word| [word[1], word[0]]).collect()
}

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: Codec::Png, what }
}

/// The header chunk comes first (5.6 and 11.2.1).
fn check(file: &[u8]) -> Result<Dimensions, CodecError> {
    const START: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    let sides = file.strip_prefix(START).and_then(<[u8]>::first_chunk::<8>);
    let [w3, w2, w1, w0, h3, h2, h1, h0] = *sides.ok_or_else(|| malformed("it does not begin with a header chunk"))?;
    let size = Dimensions::new(u32::from_be_bytes([w3, w2, w1, w0]), u32::from_be_bytes([h3, h2, h1, h0]));
    check_size(Codec::Png, size)?;
    Ok(size)
}

fn read(file: &[u8], size: Dimensions) -> Result<RawFrame, CodecError> {
    let failed = |source| CodecError::PngDecode { source };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), Limits { bytes: MAX_WORK_BYTES });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(failed)?;
    let is_deep_gray = header.bit_depth == BitDepth::Sixteen
        && matches!(header.color_type, ColorType::Grayscale | ColorType::GrayscaleAlpha);
    let shallow = if is_deep_gray { Transformations::IDENTITY } else { Transformations::STRIP_16 };
    decoder.set_transformations(Transformations::EXPAND | shallow);
    let mut reader = decoder.read_info().map_err(failed)?;
    let bytes = reader.output_buffer_size().ok_or_else(|| malformed("a picture larger than memory"))?;
    let mut pixels = vec![0; bytes];
    reader.next_frame(&mut pixels).map_err(failed)?;
    // A file cut behind its last row is damaged too.
    reader.finish().map_err(failed)?;
    let (color, depth) = reader.output_color_type();
    match (color, depth) {
        (ColorType::Rgb, _) => still(PixelFormat::Rgb8, size, pixels),
        (ColorType::Rgba, _) => still(PixelFormat::Rgb8, size, without_opacity(&pixels, 3)),
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) => {
            still(PixelFormat::Gray16Le, size, swapped(&without_opacity(&pixels, 2)))
        }
        (ColorType::GrayscaleAlpha, _) => still(PixelFormat::Gray8, size, without_opacity(&pixels, 1)),
        (_, BitDepth::Sixteen) => still(PixelFormat::Gray16Le, size, swapped(&pixels)),
        _ => still(PixelFormat::Gray8, size, pixels),
    }
}

/// The first `kept` bytes of each pixel; behind them are as many as of one channel.
fn without_opacity(pixels: &[u8], kept: usize) -> Vec<u8> {
    let opacity = if kept == 3 { 1 } else { kept };
    pixels.chunks_exact(kept + opacity).flat_map(|pixel| &pixel[..kept]).copied().collect()
}
