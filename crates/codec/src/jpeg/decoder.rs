//! Decoding: straight to planes where the file is of the usual kind ([`super::read`]), else by zune-jpeg.

use super::FORMATS;
use super::read::{Baseline, Planes};
use super::segments::{Segments, is_scattered, jpeg_dimensions, malformed};
use crate::coder::{check_frame, check_size};
use crate::{CodecError, Color, Decoder, DecoderConfig, Direction, Picture, Ticket, convert};
use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame};
use std::panic::{AssertUnwindSafe, catch_unwind};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder as ZuneDecoder;
use zune_jpeg::errors::DecodeErrors;

pub(super) struct JpegDecoder {
    config: DecoderConfig,
    threads: usize,
}

impl JpegDecoder {
    pub(super) fn new(config: &DecoderConfig) -> Self {
        Self { config: *config, threads: crate::share::usual_threads() }
    }
}

impl Decoder for JpegDecoder {
    fn codec(&self) -> Codec {
        Codec::Jpeg
    }

    fn decode(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        check_frame(Codec::Jpeg, frame)?;
        // The parsers read hostile bytes: a panic in one must stay this frame's trouble.
        let decode = || decode_file(&frame.payload, self.config.pixel_format, self.threads);
        let decoded = catch_unwind(AssertUnwindSafe(decode));
        let malformed = |_| CodecError::Malformed { codec: Codec::Jpeg, what: "the decoder gave up on this file" };
        let (format, size, pixels) = decoded.map_err(malformed)??;
        let mut picture = RawFrame::new(format, size, pixels, frame.capture)?;
        picture.pts = frame.pts;
        out.push(Picture { ticket, frame: picture, color: Color::JPEG });
        Ok(())
    }

    fn flush(&mut self, _out: &mut Vec<Picture>) -> Result<(), CodecError> {
        Ok(())
    }

    fn reset(&mut self) {}
}

type Pixels = (PixelFormat, Dimensions, Bytes);

fn decode_file(file: &[u8], wanted: Option<PixelFormat>, threads: usize) -> Result<Pixels, CodecError> {
    if wanted == Some(PixelFormat::Gray16Le) {
        let (codec, direction, format) = (Codec::Jpeg, Direction::Decode, PixelFormat::Gray16Le);
        return Err(CodecError::Format { codec, direction, format, supported: FORMATS });
    }
    let size = jpeg_dimensions(file)?;
    check_size(Codec::Jpeg, size)?;
    Segments::of(file).check_complete()?;
    if let Some(picture) = decode_baseline(file, size, wanted, threads) {
        let format = wanted.unwrap_or(default_format(picture.format() == PixelFormat::Gray8));
        return Ok((format, size, convert(&picture, format, Color::JPEG)?.pixels().clone()));
    }
    // zune-jpeg 0.5 gets such files wrong without saying so.
    if is_scattered(file) {
        let what = "sequential with a scan for each of its subsampled components".to_owned();
        let remedy = "write it with one scan, or progressive";
        return Err(CodecError::UnsupportedStream { codec: Codec::Jpeg, what, remedy });
    }
    decode_any(file, size, wanted)
}

/// The caller puts the frame's own time in.
fn nowhen() -> CaptureTime {
    CaptureTime::arrival(0)
}

fn default_format(is_gray: bool) -> PixelFormat {
    if is_gray { PixelFormat::Gray8 } else { PixelFormat::Rgb8 }
}

/// The usual kind of file; `None` where it is another, or damaged.
fn decode_baseline(file: &[u8], size: Dimensions, wanted: Option<PixelFormat>, threads: usize) -> Option<RawFrame> {
    let baseline = Baseline::open(file).filter(|baseline| baseline.size == size)?;
    let (planes, format) = match wanted {
        Some(PixelFormat::Gray8) => (Planes::Luma, PixelFormat::Gray8),
        _ if baseline.is_gray => (Planes::Luma, PixelFormat::Gray8),
        _ => (Planes::All, PixelFormat::I420),
    };
    let pixels = baseline.decode(planes, threads)?;
    RawFrame::new(format, size, pixels.into(), nowhen()).ok()
}

/// Every kind of file that zune-jpeg knows.
fn decode_any(file: &[u8], size: Dimensions, wanted: Option<PixelFormat>) -> Result<Pixels, CodecError> {
    let failed = |source: DecodeErrors| CodecError::JpegDecode { source };
    let mut decoder = ZuneDecoder::new_with_options(ZCursor::new(file), DecoderOptions::default());
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| malformed("no frame header"))?;
    let seen = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    // Several frame headers in one file: the decoder may believe another than the one checked.
    if (seen(width), seen(height)) != (size.width, size.height) {
        return Err(malformed("two frame headers of different sizes"));
    }
    let input = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    let format = wanted.unwrap_or(default_format(input == ColorSpace::Luma));
    let output = match (format, input) {
        (PixelFormat::Gray8, _) | (PixelFormat::I420, ColorSpace::Luma) => ColorSpace::Luma,
        (PixelFormat::I420, ColorSpace::YCbCr) => ColorSpace::YCbCr,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(output));
    let pixels = decoder.decode().map_err(failed)?;
    arrange(pixels, output, format, size).map(|pixels| (format, size, pixels))
}

/// From what the decoder gives to the format asked for.
fn arrange(pixels: Vec<u8>, from: ColorSpace, to: PixelFormat, size: Dimensions) -> Result<Bytes, CodecError> {
    let own = match (from, to) {
        (ColorSpace::YCbCr, PixelFormat::I420) => {
            return Ok(subsample(&pixels, size.width as usize, size.height as usize).into());
        }
        (ColorSpace::Luma, _) => PixelFormat::Gray8,
        _ => PixelFormat::Rgb8,
    };
    let decoded = RawFrame::new(own, size, pixels.into(), nowhen())?;
    Ok(convert(&decoded, to, Color::JPEG)?.pixels().clone())
}

/// Interleaved 4:4:4 → planar 4:2:0, chroma averaged over each 2 × 2 block.
fn subsample(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let chroma_bytes = width.div_ceil(2) * height.div_ceil(2);
    let mut planes = Vec::with_capacity(width * height + 2 * chroma_bytes);
    planes.extend(pixels.chunks_exact(3).map(|pixel| pixel[0]));
    for channel in [1, 2] {
        for rows in pixels.chunks(width * 3 * 2) {
            let (top, bottom) = rows.split_at(width * 3);
            let bottom = if bottom.is_empty() { top } else { bottom };
            planes.extend(top.chunks(6).zip(bottom.chunks(6)).map(|(top, bottom)| average(top, bottom, channel)));
        }
    }
    planes
}

/// Mean of one channel over two pixels of two rows; at an odd edge `top` and `bottom` hold one pixel each.
fn average(top: &[u8], bottom: &[u8], channel: usize) -> u8 {
    let right = if top.len() == 6 { channel + 3 } else { channel };
    let sum = [top[channel], top[right], bottom[channel], bottom[right]].map(u16::from).iter().sum::<u16>();
    u8::try_from((sum + 2) / 4).expect("a mean of bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EncoderConfig, encoder};

    fn decode(file: Vec<u8>) -> Result<Vec<Picture>, CodecError> {
        let mut out = Vec::new();
        let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(1), file.into());
        JpegDecoder::new(&DecoderConfig::default()).decode(Ticket(0), &frame, &mut out).map(|()| out)
    }

    fn gradient(format: PixelFormat, width: u32, height: u32) -> RawFrame {
        let size = Dimensions::new(width, height);
        let luma = (width * height) as usize;
        let pixels: Bytes = (0..format.frame_bytes(size).unwrap())
            .map(|at| if at < luma { u8::try_from(at % 160 + 40).unwrap() } else { 128 })
            .collect();
        RawFrame::new(format, size, pixels, CaptureTime::arrival(0)).unwrap()
    }

    fn encoded(picture: &RawFrame) -> Vec<u8> {
        let mut out = Vec::new();
        encoder(&EncoderConfig::new(Codec::Jpeg)).unwrap().encode(picture, &mut out).unwrap();
        out[0].payload.to_vec()
    }

    /// Inserts an application segment behind the start-of-image marker.
    fn with_segment(file: &[u8], marker: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
        [&file[..2], &[0xFF, marker], &length, body, &file[2..]].concat()
    }

    #[test]
    fn exif_and_other_application_garbage_is_harmless() {
        let file = encoded(&gradient(PixelFormat::Rgb8, 40, 24));
        for body in [&b"Exif\0\0garbage"[..], b"Exif\0\0II*\0\xff\xff\xff\xff", &[0xFF; 300], &[0xFF, 0xD9], b""] {
            for marker in 0xE0..=0xEF {
                if let Ok(pictures) = decode(with_segment(&file, marker, body)) {
                    assert_eq!(pictures[0].frame.dimensions(), Dimensions::new(40, 24));
                }
            }
        }
        assert_eq!(decode(with_segment(&file, 0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")).unwrap().len(), 1);
    }

    #[test]
    fn a_truncated_file_is_an_error_even_with_an_embedded_end_marker() {
        let file = with_segment(&encoded(&gradient(PixelFormat::Rgb8, 64, 64)), 0xE1, &[0xFF, 0xD9]);
        for length in 0..file.len() {
            assert!(decode(file[..length].to_vec()).is_err(), "{length}");
        }
        let padded = [&file[..], &[0; 16]].concat();
        assert_eq!(decode(padded).unwrap().len(), 1);
    }

    /// Both ways of decoding a file, by gray levels.
    fn luma_both_ways(file: &[u8], threads: usize) -> (RawFrame, Bytes) {
        let (size, gray) = (jpeg_dimensions(file).unwrap(), Some(PixelFormat::Gray8));
        let straight = decode_baseline(file, size, gray, threads).expect("of the usual kind");
        (straight, decode_any(file, size, gray).unwrap().2)
    }

    #[test]
    fn the_usual_files_go_straight_to_planes_and_look_the_same() {
        for (width, height) in [(1, 1), (8, 8), (17, 31), (100, 50), (640, 362)] {
            for format in [PixelFormat::Gray8, PixelFormat::I420] {
                let file = encoded(&gradient(format, width, height));
                let one = luma_both_ways(&file, 1);
                let near = one.0.pixels().iter().zip(&one.1).all(|(a, b)| a.abs_diff(*b) <= 2);
                assert!(near, "{width}x{height} {format}");
                for threads in 2..5 {
                    assert_eq!(luma_both_ways(&file, threads).0, one.0, "{width}x{height} {format}");
                }
            }
        }
    }

    #[test]
    fn what_is_odd_is_left_to_the_general_decoder() {
        let file = encoded(&gradient(PixelFormat::I420, 640, 362));
        let size = Dimensions::new(640, 362);
        let decodes = |file: &[u8]| decode_baseline(file, size, Some(PixelFormat::I420), 2).is_some();
        assert!(decodes(&file));
        let marker = |byte: u8| file.windows(2).position(|pair| pair == [0xFF, byte]).unwrap();
        let with = |at: usize, byte: u8| [&file[..at], &[byte], &file[at + 1..]].concat();
        let odd = [
            ("a progressive frame", with(marker(0xC0) + 1, 0xC2)),
            ("12 bits", with(marker(0xC0) + 4, 12)),
            ("other sampling", with(marker(0xC0) + 11, 0x21)),
            ("an unknown table", with(marker(0xC0) + 12, 3)),
            ("restart markers out of order", with(marker(0xD1) + 1, 0xD3)),
            ("another interval", with(marker(0xDD) + 5, 7)),
            ("a missing interval", [&file[..marker(0xD0)], &file[marker(0xD1)..]].concat()),
            ("no end of the data", [&file[..marker(0xD6) + 40], &[0xFF, 0xD9]].concat()),
            ("a colour transform of Adobe's", with_segment(&file, 0xEE, b"Adobe\0\0\0\0\0\0\0")),
        ];
        for (what, file) in odd {
            assert!(!decodes(&file), "{what}");
        }
    }

    #[test]
    fn a_hostile_size_is_refused_before_decoding() {
        let mut file = encoded(&gradient(PixelFormat::Gray8, 16, 16));
        let header = file.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        file[header + 5..header + 9].copy_from_slice(&[0xFF; 4]);
        let error = decode(file).unwrap_err();
        assert!(matches!(error, CodecError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn chroma_is_averaged_over_blocks() {
        let pixels: Vec<u8> = [(10, 0), (20, 4), (30, 8), (40, 12), (50, 100), (60, 104)]
            .iter()
            .flat_map(|&(y, c)| [y, c, 255 - c])
            .collect();
        assert_eq!(subsample(&pixels, 2, 3), [10, 20, 30, 40, 50, 60, 6, 102, 249, 153]);
        assert_eq!(subsample(&pixels, 3, 2), [10, 20, 30, 40, 50, 60, 29, 56, 226, 199]);
    }
}
