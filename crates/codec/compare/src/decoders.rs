//! The decoders.

use crate::{Failure, Pixels};
use lumenbus_codec::{DecoderConfig, Ticket, decoder};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, PixelFormat};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

pub struct Candidate {
    pub name: &'static str,
    pub run: Box<dyn FnMut(&Vec<u8>) -> Result<Pixels, Failure>>,
}

pub fn all() -> Result<Vec<Candidate>, Failure> {
    let mut all = vec![
        ours("ours, to I420", PixelFormat::I420)?,
        ours("ours, to RGB", PixelFormat::Rgb8)?,
        zune("zune-jpeg, to RGB", ColorSpace::RGB),
        zune("zune-jpeg, to YCbCr 4:4:4", ColorSpace::YCbCr),
        #[cfg(feature = "mozjpeg")]
        Candidate { name: "mozjpeg, to RGB", run: Box::new(moz) },
    ];
    all.extend(turbo()?);
    Ok(all)
}

fn ours(name: &'static str, format: PixelFormat) -> Result<Candidate, Failure> {
    let mut decoder = decoder(Codec::Jpeg, &DecoderConfig { pixel_format: Some(format) })?;
    let run = move |file: &Vec<u8>| {
        let payload = bytes::Bytes::copy_from_slice(file);
        let mut out = Vec::new();
        decoder.decode(Ticket(0), &EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), payload), &mut out)?;
        Ok(Pixels(out[0].frame.pixels().len()))
    };
    Ok(Candidate { name, run: Box::new(run) })
}

fn zune(name: &'static str, color: ColorSpace) -> Candidate {
    let run = move |file: &Vec<u8>| {
        let options = DecoderOptions::default().jpeg_set_out_colorspace(color);
        let pixels = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(file), options).decode();
        Ok(Pixels(pixels.map_err(|error| format!("{error:?}"))?.len()))
    };
    Candidate { name, run: Box::new(run) }
}

#[cfg(feature = "mozjpeg")]
fn moz(file: &Vec<u8>) -> Result<Pixels, Failure> {
    let mut rows = mozjpeg::Decompress::new_mem(file)?.rgb()?;
    let pixels: Vec<[u8; 3]> = rows.read_scanlines()?;
    rows.finish()?;
    Ok(Pixels(pixels.len()))
}

#[cfg(not(feature = "turbojpeg"))]
fn turbo() -> Result<Vec<Candidate>, Failure> {
    Ok(Vec::new())
}

#[cfg(feature = "turbojpeg")]
fn turbo() -> Result<Vec<Candidate>, Failure> {
    let rgb = |file: &Vec<u8>| Ok(Pixels(turbojpeg::decompress(file, turbojpeg::PixelFormat::RGB)?.pixels.len()));
    let yuv = |file: &Vec<u8>| Ok(Pixels(turbojpeg::decompress_to_yuv(file)?.pixels.len()));
    Ok(vec![
        Candidate { name: "libjpeg-turbo, to RGB", run: Box::new(rgb) },
        Candidate { name: "libjpeg-turbo, to I420", run: Box::new(yuv) },
    ])
}
