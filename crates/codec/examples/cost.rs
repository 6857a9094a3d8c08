//! CPU cost of encoding and decoding: `cargo run --release -p lumenbus-codec --example cost -- CLIP.264 [FRAMES]`.
//!
//! Reads process CPU time, so a busy machine disturbs it little. The clip is an Annex B file with one
//! slice per picture.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use bytes::Bytes;
use lumenbus_codec::{CodecError, DecoderConfig, Encoder, EncoderConfig, Ticket, convert, decoder, encoder};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, PixelFormat, RawFrame};
use std::error::Error;

/// User and system time of this process in milliseconds (Linux: clock ticks of 10 ms).
fn cpu_millis() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no fields")?.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() * 10.0)
}

fn measure<T>(what: &str, count: usize, run: impl FnOnce() -> Result<T, CodecError>) -> Result<T, Box<dyn Error>> {
    let before = cpu_millis()?;
    let done = run()?;
    let per_frame = (cpu_millis()? - before) / f64::from(u32::try_from(count.max(1))?);
    println!("{what:32} {per_frame:7.2} CPU ms per frame");
    Ok(done)
}

fn access_units(stream: &Bytes, most: usize) -> Vec<EncodedFrame> {
    let mut starts = Vec::new();
    let mut picture_seen = true;
    for (at, w) in stream.windows(4).enumerate().filter(|(_, w)| w[..3] == [0, 0, 1]) {
        let is_slice = matches!(w[3] & 0x1F, 1 | 5);
        if picture_seen {
            starts.push(at);
        }
        picture_seen = is_slice;
    }
    starts.push(stream.len());
    let frame =
        |range: &[usize]| EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), stream.slice(range[0]..range[1]));
    starts.windows(2).take(most).map(frame).collect()
}

fn encode_all(encoder: &mut dyn Encoder, pictures: &[RawFrame]) -> Result<Vec<EncodedFrame>, CodecError> {
    let mut frames = Vec::new();
    pictures.iter().try_for_each(|picture| encoder.encode(picture, &mut frames))?;
    Ok(frames)
}

fn decode_all(codec: Codec, frames: &[EncodedFrame], format: PixelFormat) -> Result<Vec<RawFrame>, CodecError> {
    let mut decoder = decoder(codec, &DecoderConfig { pixel_format: Some(format) })?;
    let mut pictures = Vec::new();
    frames.iter().try_for_each(|frame| decoder.decode(Ticket(0), frame, &mut pictures))?;
    decoder.flush(&mut pictures)?;
    Ok(pictures.into_iter().map(|picture| picture.frame).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give an Annex B file")?;
    let most = arguments.next().map_or(Ok(54), |count| count.parse())?;
    let frames = access_units(&std::fs::read(path)?.into(), most);
    let count = frames.len();

    let i420 = measure("h264 decode", count, || decode_all(Codec::H264, &frames, PixelFormat::I420))?;
    println!("{count} frames of {}", i420.first().ok_or("no pictures")?.dimensions());
    let color = lumenbus_codec::Color::assumed(i420[0].dimensions());
    let to_rgb =
        || i420.iter().map(|picture| convert(picture, PixelFormat::Rgb8, color)).collect::<Result<Vec<_>, _>>();
    let rgb = measure("i420 to rgb8", count, to_rgb)?;
    measure("rgb8 to i420", count, || rgb.iter().try_for_each(|rgb| convert(rgb, PixelFormat::I420, color).map(drop)))?;

    let mut video = EncoderConfig::new(Codec::H264);
    for bits in [2_300_000, 8_000_000] {
        video.bits_per_second = Some(bits);
        let coded =
            measure(&format!("h264 encode, {bits} bit/s"), count, || encode_all(encoder(&video)?.as_mut(), &i420))?;
        let bytes: usize = coded.iter().map(|frame| frame.payload.len()).sum();
        let rate = 8.0 * 30.0 * f64::from(u32::try_from(bytes)?) / f64::from(u32::try_from(count)?);
        println!("{:32} {:7.0} kbit/s at 30/s", "", rate / 1000.0);
        measure("h264 decode of that", count, || decode_all(Codec::H264, &coded, PixelFormat::I420))?;
    }

    let mut stills = EncoderConfig::new(Codec::Jpeg);
    stills.quality = 75;
    measure("jpeg encode q75 of rgb8", count, || encode_all(encoder(&stills)?.as_mut(), &rgb))?;
    let files = measure("jpeg encode q75 of i420", count, || encode_all(encoder(&stills)?.as_mut(), &i420))?;
    let mut jfif = encoder(&stills)?;
    jfif.set_color(lumenbus_codec::Color::JPEG);
    measure("jpeg encode q75 of i420, BT.601", count, || encode_all(jfif.as_mut(), &i420))?;
    measure("jpeg decode to rgb8", count, || decode_all(Codec::Jpeg, &files, PixelFormat::Rgb8))?;
    measure("jpeg decode to i420", count, || decode_all(Codec::Jpeg, &files, PixelFormat::I420))?;
    Ok(())
}
