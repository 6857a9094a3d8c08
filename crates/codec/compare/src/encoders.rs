//! The encoders.

use crate::Failure;
use lumenbus_codec::{Color, Encoder, EncoderConfig, convert, encoder};
use lumenbus_frame::{Codec, PixelFormat, RawFrame};
use std::num::NonZeroUsize;

pub struct Candidate {
    pub name: &'static str,
    /// Gets the pictures as the camera gave them, and has to make JFIF of them.
    pub takes_original: bool,
    pub run: Box<dyn FnMut(&RawFrame) -> Result<Vec<u8>, Failure>>,
}

pub fn all(quality: u8, color: Color) -> Result<Vec<Candidate>, Failure> {
    let mut all = vec![
        ours("ours, 2 threads", quality, 2, Color::JPEG)?,
        ours("ours, 1 thread", quality, 1, Color::JPEG)?,
        ours("ours, 1 thread, from video", quality, 1, color)?,
        Candidate { name: "jpeg-encoder (simd), over RGB", takes_original: false, run: Box::new(move |picture| rgb(picture, quality)) },
        #[cfg(feature = "mozjpeg")]
        Candidate { name: "mozjpeg fastest, from I420", takes_original: false, run: Box::new(move |picture| moz(picture, quality)) },
    ];
    all.extend(turbo(quality)?);
    Ok(all)
}

fn ours(name: &'static str, quality: u8, threads: usize, color: Color) -> Result<Candidate, Failure> {
    let mut config = EncoderConfig::new(Codec::Jpeg);
    config.quality = quality;
    config.threads = NonZeroUsize::new(threads);
    let mut encoder: Box<dyn Encoder> = encoder(&config)?;
    encoder.set_color(color);
    let run = move |picture: &RawFrame| {
        let mut out = Vec::new();
        encoder.encode(picture, &mut out)?;
        // The payload is the only holder of its bytes: this does not copy.
        Ok(Vec::from(out.remove(0).payload))
    };
    Ok(Candidate { name, takes_original: color != Color::JPEG, run: Box::new(run) })
}

fn rgb(picture: &RawFrame, quality: u8) -> Result<Vec<u8>, Failure> {
    let rgb = convert(picture, PixelFormat::Rgb8, Color::JPEG)?;
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, quality);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    let size = rgb.dimensions();
    let (width, height) = (u16::try_from(size.width)?, u16::try_from(size.height)?);
    encoder.encode(rgb.pixels(), width, height, jpeg_encoder::ColorType::Rgb)?;
    Ok(file)
}

#[cfg(feature = "mozjpeg")]
/// The planes with whole minimum coded units, as raw input wants them.
fn padded(picture: &RawFrame) -> [Vec<u8>; 3] {
    let size = picture.dimensions();
    let (width, height) = (size.width as usize, size.height as usize);
    let pixels = picture.pixels();
    let plane = |from: usize, width: usize, height: usize, unit: usize| {
        let (to_width, to_height) = (width.next_multiple_of(unit), height.next_multiple_of(unit));
        let mut plane = Vec::with_capacity(to_width * to_height);
        for row in 0..to_height {
            let line = &pixels[from + row.min(height - 1) * width..][..width];
            plane.extend_from_slice(line);
            plane.resize((row + 1) * to_width, line[width - 1]);
        }
        plane
    };
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let (luma, chroma) = (width * height, half_width * half_height);
    [plane(0, width, height, 16), plane(luma, half_width, half_height, 8), plane(luma + chroma, half_width, half_height, 8)]
}

#[cfg(feature = "mozjpeg")]
fn moz(picture: &RawFrame, quality: u8) -> Result<Vec<u8>, Failure> {
    use mozjpeg::{ColorSpace, Compress};
    let size = picture.dimensions();
    let mut compress = Compress::new(ColorSpace::JCS_YCbCr);
    compress.set_size(size.width as usize, size.height as usize);
    compress.set_fastest_defaults();
    compress.set_color_space(ColorSpace::JCS_YCbCr);
    compress.set_quality(f32::from(quality));
    compress.set_chroma_sampling_pixel_sizes((2, 2), (2, 2));
    compress.set_raw_data_in(true);
    let [y, cb, cr] = padded(picture);
    let mut started = compress.start_compress(Vec::with_capacity(1 << 20))?;
    if !started.write_raw_data(&[&y, &cb, &cr]) {
        return Err("mozjpeg refused the planes".into());
    }
    Ok(started.finish()?)
}

#[cfg(not(feature = "turbojpeg"))]
fn turbo(_quality: u8) -> Result<Vec<Candidate>, Failure> {
    Ok(Vec::new())
}

#[cfg(feature = "turbojpeg")]
fn turbo(quality: u8) -> Result<Vec<Candidate>, Failure> {
    let mut compressor = turbojpeg::Compressor::new()?;
    compressor.set_quality(i32::from(quality))?;
    let run = move |picture: &RawFrame| {
        let size = picture.dimensions();
        let image = turbojpeg::YuvImage {
            pixels: picture.pixels().as_ref(),
            width: size.width as usize,
            align: 1,
            height: size.height as usize,
            subsamp: turbojpeg::Subsamp::Sub2x2,
        };
        Ok(compressor.compress_yuv_to_vec(image)?)
    };
    Ok(vec![Candidate { name: "libjpeg-turbo, from I420", takes_original: false, run: Box::new(run) }])
}
