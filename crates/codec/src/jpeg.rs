//! JPEG (ITU-T T.81, JFIF): one file per frame.

use crate::coder::{check_frame, check_size};
use crate::color::{FullRange, Planes};
use crate::registry::{Entry, Side};
use crate::{
    CodecError, Color, Decoder, DecoderConfig, Direction, Encoder, EncoderConfig, Matrix, Picture, Ticket, convert,
};
use bytes::Bytes;
use jpeg_encoder::{ColorType, ImageBuffer, JpegColorType, SamplingFactor};
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame, StreamParameters};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder as ZuneDecoder;
use zune_jpeg::errors::DecodeErrors;

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::Jpeg,
    encoder: Side::Built(|config| Ok(Box::new(JpegEncoder::new(config)?))),
    decoder: Side::Built(|config| Ok(Box::new(JpegDecoder { config: *config }))),
};

const FORMATS: &str = "gray8, rgb8 and i420";

struct JpegEncoder {
    config: EncoderConfig,
    color: Option<Color>,
    parameters: Option<Arc<StreamParameters>>,
    /// Size of the last file: what the next one will need.
    last_bytes: usize,
}

impl JpegEncoder {
    fn new(config: &EncoderConfig) -> Result<Self, CodecError> {
        if !(1..=100).contains(&config.quality) {
            let value = u64::from(config.quality);
            return Err(CodecError::Setting { setting: "JPEG quality", value, range: "1 to 100" });
        }
        Ok(Self { config: config.clone(), color: None, parameters: None, last_bytes: 64 << 10 })
    }

    fn parameters_for(&mut self, size: Dimensions) -> Arc<StreamParameters> {
        match &self.parameters {
            Some(known) if known.dimensions == size => Arc::clone(known),
            _ => Arc::clone(self.parameters.insert(Arc::new(self.config.parameters(size)))),
        }
    }

    fn file(&self, picture: &RawFrame) -> Result<Vec<u8>, CodecError> {
        let size = picture.dimensions();
        let side = |pixels: u32| u16::try_from(pixels).expect("checked against MAX_SIDE_PIXELS");
        let (width, height) = (side(size.width), side(size.height));
        let mut file = Vec::with_capacity(self.last_bytes + self.last_bytes / 8);
        let mut encoder = jpeg_encoder::Encoder::new(&mut file, self.config.quality);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        let color = self.color.unwrap_or(Color::assumed(size));
        let done = match picture.format() {
            PixelFormat::Gray8 => encoder.encode(picture.pixels(), width, height, ColorType::Luma),
            PixelFormat::Rgb8 => encoder.encode(picture.pixels(), width, height, ColorType::Rgb),
            // JFIF knows BT.601 only: another matrix goes the long way, over RGB.
            PixelFormat::I420 if color.matrix != Matrix::Bt601 => {
                let rgb = convert(picture, PixelFormat::Rgb8, color)?;
                encoder.encode(rgb.pixels(), width, height, ColorType::Rgb)
            }
            PixelFormat::I420 => encoder.encode_image(I420Image {
                planes: Planes::of(picture.pixels(), size),
                full: FullRange::from(color.range),
                width,
                height,
            }),
            format => {
                let (codec, direction) = (Codec::Jpeg, Direction::Encode);
                return Err(CodecError::Format { codec, direction, format, supported: FORMATS });
            }
        };
        done.map_err(|source| CodecError::JpegEncode { dimensions: size, source })?;
        Ok(file)
    }
}

impl Encoder for JpegEncoder {
    fn codec(&self) -> Codec {
        Codec::Jpeg
    }

    fn encode(&mut self, picture: &RawFrame, out: &mut Vec<EncodedFrame>) -> Result<(), CodecError> {
        check_size(Codec::Jpeg, picture.dimensions())?;
        let file = self.file(picture)?;
        self.last_bytes = file.len();
        let mut frame = EncodedFrame::new(Codec::Jpeg, picture.capture, file.into());
        frame.pts = picture.pts;
        frame.parameters = Some(self.parameters_for(picture.dimensions()));
        out.push(frame);
        Ok(())
    }

    fn set_color(&mut self, color: Color) {
        self.color = Some(color);
    }

    fn force_keyframe(&mut self) {}

    fn parameters(&self) -> Option<&Arc<StreamParameters>> {
        self.parameters.as_ref()
    }
}

/// I420 as the encoder reads it: rows at full width, which it brings back to 4:2:0 without loss.
struct I420Image<'a> {
    planes: Planes<'a>,
    full: FullRange,
    width: u16,
    height: u16,
}

impl ImageBuffer for I420Image<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (row, width) = (usize::from(y), usize::from(self.width));
        let luma = &self.planes.y[row * width..][..width];
        buffers[0].extend(luma.iter().map(|&sample| self.full.luma(sample)));
        let start = row / 2 * self.planes.chroma_width;
        for (buffer, plane) in buffers[1..].iter_mut().zip([self.planes.u, self.planes.v]) {
            let chroma = &plane[start..][..self.planes.chroma_width];
            let twice = chroma.iter().map(|&sample| self.full.chroma(sample)).flat_map(|sample| [sample, sample]);
            buffer.extend(twice.take(width));
        }
    }
}

struct JpegDecoder {
    config: DecoderConfig,
}

impl Decoder for JpegDecoder {
    fn codec(&self) -> Codec {
        Codec::Jpeg
    }

    fn decode(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        check_frame(Codec::Jpeg, frame)?;
        // The third-party parser reads hostile bytes: a panic in it must stay this frame's trouble.
        let decoded = catch_unwind(AssertUnwindSafe(|| decode_file(&frame.payload, self.config.pixel_format)));
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

/// Size of the picture in a JPEG file, from its frame header (ITU-T T.81, B.2.2); reads nothing further.
pub fn jpeg_dimensions(file: &[u8]) -> Result<Dimensions, CodecError> {
    let mut segments = Segments { file, at: 0 };
    while let Some((marker, body)) = segments.next()? {
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            let &[_, h1, h0, w1, w0, ..] = body else {
                return Err(malformed("a frame header that is too short"));
            };
            return Ok(Dimensions::new(u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into()));
        }
    }
    Err(malformed("no frame header before the scan"))
}

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: Codec::Jpeg, what }
}

/// The marker segments up to and including the start of scan (ITU-T T.81, B.1.1).
struct Segments<'a> {
    file: &'a [u8],
    /// Behind the last segment read.
    at: usize,
}

impl<'a> Segments<'a> {
    const START_OF_SCAN: u8 = 0xDA;

    /// The next segment's marker and body; `None` behind the start of scan.
    fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, CodecError> {
        if self.at == 0 {
            if !self.file.starts_with(&[0xFF, 0xD8]) {
                return Err(malformed("it does not begin with FF D8"));
            }
            self.at = 2;
        }
        let rest = self.file.get(self.at..).unwrap_or_default();
        // Fill bytes may stand before a marker; what is no marker at all is skipped, as decoders do.
        let Some(start) = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF)) else {
            return Err(malformed("it ends before the scan"));
        };
        let (marker, rest) = (rest[start + 1], &rest[start + 2..]);
        self.at += start + 2;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            return Ok(Some((marker, &[])));
        }
        let &[high, low, ..] = rest else {
            return Err(malformed("it ends inside a segment"));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let body = rest.get(2..length).ok_or_else(|| malformed("a segment is longer than the file"))?;
        self.at += length;
        Ok(Some((marker, body)))
    }

    /// Fails unless the file has its end marker: a truncated file would decode to a half-gray picture.
    fn check_complete(mut self) -> Result<(), CodecError> {
        while let Some((marker, _)) = self.next()? {
            if marker == Self::START_OF_SCAN {
                let scan = self.file.get(self.at..).unwrap_or_default();
                let ends = scan.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]);
                return if ends { Ok(()) } else { Err(malformed("it is truncated: the end marker is missing")) };
            }
        }
        Err(malformed("it has no scan"))
    }
}

type Pixels = (PixelFormat, Dimensions, Bytes);

fn decode_file(file: &[u8], wanted: Option<PixelFormat>) -> Result<Pixels, CodecError> {
    let size = jpeg_dimensions(file)?;
    check_size(Codec::Jpeg, size)?;
    Segments { file, at: 0 }.check_complete()?;
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
    let format = wanted.unwrap_or(if input == ColorSpace::Luma { PixelFormat::Gray8 } else { PixelFormat::Rgb8 });
    let output = match (format, input) {
        (PixelFormat::Gray8, _) | (PixelFormat::I420, ColorSpace::Luma) => ColorSpace::Luma,
        (PixelFormat::I420, ColorSpace::YCbCr) => ColorSpace::YCbCr,
        (PixelFormat::I420 | PixelFormat::Rgb8, _) => ColorSpace::RGB,
        (format, _) => {
            let (codec, direction) = (Codec::Jpeg, Direction::Decode);
            return Err(CodecError::Format { codec, direction, format, supported: FORMATS });
        }
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
    let nowhen = lumenbus_frame::CaptureTime::arrival(0);
    let decoded = RawFrame::new(own, size, pixels.into(), nowhen)?;
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
    use lumenbus_frame::CaptureTime;

    fn decode(file: Vec<u8>) -> Result<Vec<Picture>, CodecError> {
        let mut out = Vec::new();
        let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(1), file.into());
        JpegDecoder { config: DecoderConfig::default() }.decode(Ticket(0), &frame, &mut out).map(|()| out)
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
        JpegEncoder::new(&EncoderConfig::new(Codec::Jpeg)).unwrap().encode(picture, &mut out).unwrap();
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
