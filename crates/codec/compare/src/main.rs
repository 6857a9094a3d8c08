//! JPEG libraries side by side, in one run: processor time, latency, size and quality.
//!
//! ```text
//! cargo run --release --manifest-path crates/codec/compare/Cargo.toml -- CLIP.264 [QUALITY] [ROUNDS]
//! ```
//!
//! mozjpeg has its vector code only when nasm is installed at build time. libjpeg-turbo, which needs cmake and nasm, is
//! compared with `--no-default-features --features turbojpeg`: it and mozjpeg share their symbols.
//! All candidates get the same pictures (I420 that means what JFIF means) and take turns, round by round; a figure is
//! the median over the rounds, so that a busy machine disturbs all alike.

mod decoders;
mod encoders;
mod quality;

use lumenbus_codec::{Color, DecoderConfig, Ticket, convert, decoder};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, PixelFormat, RawFrame};
use std::time::Instant;

pub type Failure = Box<dyn std::error::Error>;

/// One figure each round.
#[derive(Default)]
struct Measured {
    cpu_millis: Vec<f64>,
    median_millis: Vec<f64>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give an Annex B file with one slice per picture")?;
    let quality: u8 = arguments.next().map_or(Ok(85), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let (pictures, original, color) = pictures(&std::fs::read(path)?)?;
    println!("{} pictures of {}, {color:?}, quality {quality}, {rounds} rounds", pictures.len(), pictures[0].dimensions());

    println!("\n{:<34}{:>8}{:>10}{:>10}{:>9}{:>9}", "encode", "CPU ms", "p50 ms", "bytes", "PSNR-Y", "SSIM-Y");
    let mut encoders = encoders::all(quality, color)?;
    let mut measured: Vec<Measured> = encoders.iter().map(|_| Measured::default()).collect();
    let mut files: Vec<Vec<Vec<u8>>> = vec![Vec::new(); encoders.len()];
    for _ in 0..rounds {
        for ((encoder, measured), files) in encoders.iter_mut().zip(&mut measured).zip(&mut files) {
            let input = if encoder.takes_original { &original } else { &pictures };
            *files = measure(measured, input, |picture| (encoder.run)(picture))?;
        }
    }
    for ((encoder, measured), files) in encoders.iter().zip(&mut measured).zip(&files) {
        let bytes = files.iter().map(Vec::len).sum::<usize>() / files.len();
        let (psnr, ssim) = quality::of(&pictures, files)?;
        let (cpu, p50) = (median(&mut measured.cpu_millis), median(&mut measured.median_millis));
        println!("{:<34}{cpu:>8.2}{p50:>10.2}{bytes:>10}{psnr:>9.2}{ssim:>9.4}", encoder.name);
    }

    let plain = encoders.iter().position(|encoder| encoder.name.starts_with("jpeg-encoder")).ok_or("no plain files")?;
    for (what, files) in [("files without restart intervals", &files[plain]), ("our files, in eight intervals", &files[0])] {
        println!("\ndecode: {what:<26}{:>8}{:>10}", "CPU ms", "p50 ms");
        let mut decoders = decoders::all()?;
        let mut measured: Vec<Measured> = decoders.iter().map(|_| Measured::default()).collect();
        for _ in 0..rounds {
            for (decoder, measured) in decoders.iter_mut().zip(&mut measured) {
                measure(measured, files, |file| (decoder.run)(file))?;
            }
        }
        for (decoder, measured) in decoders.iter().zip(&mut measured) {
            let (cpu, p50) = (median(&mut measured.cpu_millis), median(&mut measured.median_millis));
            println!("{:<34}{cpu:>8.2}{p50:>10.2}", decoder.name);
        }
    }
    Ok(())
}

/// Runs over all inputs once, as a stream would: what came out before is dropped before the next one.
fn measure<T, O: Keep>(
    measured: &mut Measured,
    inputs: &[T],
    mut run: impl FnMut(&T) -> Result<O, Failure>,
) -> Result<Vec<O::Kept>, Failure> {
    let mut kept = Vec::new();
    let mut millis = Vec::new();
    let before = cpu_millis()?;
    for input in inputs {
        let began = Instant::now();
        let output = run(input)?;
        millis.push(began.elapsed().as_secs_f64() * 1e3);
        kept.extend(output.keep());
    }
    measured.cpu_millis.push((cpu_millis()? - before) / inputs.len() as f64);
    measured.median_millis.push(median(&mut millis));
    Ok(kept)
}

/// Files are kept to be looked at; pixels are dropped at once.
pub trait Keep {
    type Kept;
    fn keep(self) -> Option<Self::Kept>;
}

impl Keep for Vec<u8> {
    type Kept = Vec<u8>;
    fn keep(self) -> Option<Vec<u8>> {
        Some(self)
    }
}

/// Decoded pixels.
pub struct Pixels(pub usize);

impl Keep for Pixels {
    type Kept = ();
    fn keep(self) -> Option<()> {
        std::hint::black_box(self.0);
        None
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// User and system time of this process in milliseconds (Linux: ticks of 10 ms).
fn cpu_millis() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no fields")?.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() * 10.0)
}

/// The clip's pictures as JFIF means I420, as they are, and what their samples mean.
fn pictures(stream: &[u8]) -> Result<(Vec<RawFrame>, Vec<RawFrame>, Color), Failure> {
    let stream = bytes::Bytes::copy_from_slice(stream);
    let mut starts = Vec::new();
    let mut picture_seen = true;
    for (at, window) in stream.windows(4).enumerate().filter(|(_, window)| window[..3] == [0, 0, 1]) {
        let is_slice = matches!(window[3] & 0x1F, 1 | 5);
        if picture_seen {
            starts.push(at);
        }
        picture_seen = is_slice;
    }
    starts.push(stream.len());
    let mut decoder = decoder(Codec::H264, &DecoderConfig { pixel_format: Some(PixelFormat::I420) })?;
    let mut decoded = Vec::new();
    for range in starts.windows(2).take(54) {
        let frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), stream.slice(range[0]..range[1]));
        decoder.decode(Ticket(0), &frame, &mut decoded)?;
    }
    decoder.flush(&mut decoded)?;
    let jfif = decoded.iter().map(|picture| {
        let rgb = convert(&picture.frame, PixelFormat::Rgb8, picture.color)?;
        convert(&rgb, PixelFormat::I420, Color::JPEG)
    });
    let color = decoded.first().ok_or("no pictures")?.color;
    Ok((jfif.collect::<Result<_, _>>()?, decoded.iter().map(|picture| picture.frame.clone()).collect(), color))
}
