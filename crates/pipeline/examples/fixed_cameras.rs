//! What a fixed camera's options save: `cargo run --release -p lumenbus-pipeline --example fixed_cameras -- CLIP [PICTURES] [KBIT…]`.
//! With `still` every picture is the clip's first; with `noise=2.5` the encoder gets noise of that standard deviation, and
//! what comes out is compared with the clip without it.
//!
//! Codes a clip in each way at several rates and says at which rate each reaches the SSIM of the first way, a GOP of a
//! second, at the middle rate. SSIM is that of all pictures against the clip's own; a picture that was not sent counts as the
//! one before it, which is what a viewer shows. Made for docs/design/fixed-cameras.md.

#![expect(clippy::print_stdout, reason = "it is a table for people")]

use lumenbus_codec::quality::{Quality, QualityMeter};
use lumenbus_codec::scene::{Denoiser, RestMeter};
use lumenbus_codec::{CodecError, DecoderConfig, EncoderConfig, Ticket, decoder, encoder};
use lumenbus_frame::{Codec, EncodedFrame, Epoch, FrameId, FrameRate, RawFrame, Seq};
use lumenbus_pipeline::decode::Decoding;
use lumenbus_pipeline::video::{Gop, VideoOptions};
use lumenbus_source::{SourceItem, SourceOptions, open};
use std::error::Error;
use std::time::Duration;

/// What Kafka and its client add to a record of ours: key, headers, framing.
const RECORD_BYTES: usize = 150;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Point {
    kilobits: f64,
    quality: Quality,
    repeats: usize,
    encode_millis: f64,
    before_millis: f64,
}

fn main() -> Outcome<()> {
    let (switches, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word == "still" || word.starts_with("noise="));
    let mut words = words.into_iter();
    let path = words.next().ok_or("name a clip")?;
    let most = words.next().map_or(Ok(600), |text| text.parse())?;
    let mut rates: Vec<u32> = words.map(|text| text.parse()).collect::<Result<_, _>>()?;
    if rates.is_empty() {
        rates = vec![80, 130, 200, 320];
    }
    let (mut pictures, rate) = pictures(&path, most)?;
    if switches.iter().any(|word| word == "still") {
        pictures = vec![pictures[0].clone(); most];
    }
    let sigma = switches.iter().find_map(|word| word.strip_prefix("noise=")).map_or(Ok(0.0), str::parse)?;
    let seen = noisy(&pictures, sigma)?;
    println!("{path}: {} pictures, {:.2}/s, {}", pictures.len(), rate.as_f64(), pictures[0].dimensions());
    println!(
        "| Way | kbit/s | SSIM | PSNR | not sent | encode ms | filter and skip ms |\n|---|---|---|---|---|---|---|"
    );
    let mut target = None;
    for (name, options) in ways() {
        let mut points = Vec::new();
        for kilobits in &rates {
            let point = measure(&pictures, &seen, rate, &options, kilobits * 1_000)?;
            println!(
                "| {name} | {:.1} | {:.5} | {:.2} | {} | {:.2} | {:.3} |",
                point.kilobits,
                point.quality.ssim,
                point.quality.psnr,
                point.repeats,
                point.encode_millis,
                point.before_millis
            );
            points.push((point.kilobits, point.quality.ssim));
        }
        let target = *target.get_or_insert(points[points.len() / 2]);
        match rate_at(&points, target.1) {
            Some(kilobits) => println!("=> {name}: {kilobits:.1} kbit/s, {:.2} of the first way", kilobits / target.0),
            None => println!("=> {name}: the SSIM {:.5} is not between the rates", target.1),
        }
    }
    Ok(())
}

fn ways() -> Vec<(&'static str, VideoOptions)> {
    let gop = |seconds| VideoOptions { gop: Some(Gop::Time(Duration::from_secs(seconds))), ..VideoOptions::default() };
    vec![
        ("GOP 1 s", gop(1)),
        ("GOP 2 s", gop(2)),
        ("GOP 6 s", gop(6)),
        ("GOP 10 s", gop(10)),
        ("GOP 30 s", gop(30)),
        ("GOP 10 s, idle skip", VideoOptions { idle_skip: Some(true), ..gop(10) }),
        ("GOP 10 s, denoise", VideoOptions { denoise: true, ..gop(10) }),
        ("GOP 10 s, two layers", VideoOptions { two_layers: true, ..gop(10) }),
        ("GOP 10 s, idle skip, denoise", VideoOptions { idle_skip: Some(true), denoise: true, ..gop(10) }),
        ("GOP 10 s, all", VideoOptions { idle_skip: Some(true), denoise: true, two_layers: true, ..gop(10) }),
        ("GOP 30 s, all", VideoOptions { idle_skip: Some(true), denoise: true, two_layers: true, ..gop(30) }),
    ]
}

/// The clip in memory.
fn pictures(path: &str, most: usize) -> Outcome<(Vec<RawFrame>, FrameRate)> {
    let mut source = open(path, &SourceOptions::default())?;
    let rate = source.nominal_rate().unwrap_or(FrameRate::per_second(25));
    let (mut decoding, mut seq) = (Decoding::new(DecoderConfig::default()), 0);
    let (mut pictures, mut decoded) = (Vec::new(), Vec::new());
    while pictures.len() < most {
        match source.next_frame()? {
            Some(SourceItem::Raw { frame, .. }) => pictures.push(frame),
            Some(SourceItem::Encoded { frame, .. }) => {
                decoding.push(FrameId { epoch: Epoch(0), seq: Seq(seq) }, &frame, &mut decoded)?;
                seq += 1;
                pictures.extend(decoded.drain(..).map(|frame| frame.picture));
            }
            Some(_) => {}
            None => break,
        }
    }
    pictures.truncate(most);
    if pictures.is_empty() { Err("the clip has no pictures".into()) } else { Ok((pictures, rate)) }
}

fn measure(
    originals: &[RawFrame],
    pictures: &[RawFrame],
    rate: FrameRate,
    options: &VideoOptions,
    bits: u32,
) -> Outcome<Point> {
    let mut config = EncoderConfig::new(Codec::H264);
    (config.frame_rate, config.bits_per_second) = (rate, Some(bits));
    options.apply(&mut config);
    let mut encoder = encoder(&config)?;
    let (mut denoiser, mut rest) =
        (Denoiser::default(), RestMeter::new(Gop::Time(Duration::from_secs(1)).pictures(rate) - 1));
    let (gop, mut since_keyframe) = (options.gop().pictures(rate), 0);
    let (mut before, mut encoding) = (Duration::ZERO, Duration::ZERO);
    let (mut sent, mut out): (Vec<(usize, EncodedFrame)>, Vec<EncodedFrame>) = (Vec::new(), Vec::new());
    for (number, picture) in pictures.iter().enumerate() {
        let began = cpu();
        let filtered = options.denoise.then(|| denoiser.filter(picture));
        let picture = filtered.as_ref().unwrap_or(picture);
        let is_due = since_keyframe >= gop;
        if is_due {
            encoder.force_keyframe();
            rest.forget();
        }
        let is_repeat = options.skips_idle() && rest.is_repeat(picture);
        before += cpu().saturating_sub(began);
        since_keyframe += 1;
        if is_repeat {
            continue;
        }
        let began = cpu();
        encoder.encode(picture, &mut out)?;
        encoding += cpu().saturating_sub(began);
        for frame in out.drain(..) {
            since_keyframe = if frame.is_keyframe { 1 } else { since_keyframe };
            sent.push((number, frame));
        }
    }
    let bytes: usize = sent.iter().map(|(_, frame)| frame.payload.len() + RECORD_BYTES).sum();
    let count = f64::from(u32::try_from(pictures.len())?);
    let per_picture = |time: Duration| time.as_secs_f64() * 1e3 / count;
    Ok(Point {
        kilobits: f64::from(u32::try_from(bytes)?) * 8e-3 * rate.as_f64() / count,
        quality: quality(originals, &sent)?,
        repeats: pictures.len() - sent.len(),
        encode_millis: per_picture(encoding),
        before_millis: per_picture(before),
    })
}

/// Processor time of this thread, as Linux counts it.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// The pictures as a camera with noise sees them.
fn noisy(pictures: &[RawFrame], sigma: f64) -> Outcome<Vec<RawFrame>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut gaussian = || {
        // The sum of eight even numbers is nearly normal; its variance is 8 / 12.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let sum: f64 = state.to_le_bytes().into_iter().map(|byte| f64::from(byte) / 255.0 - 0.5).sum();
        sum / (8.0_f64 / 12.0).sqrt()
    };
    let mut with_noise = |picture: &RawFrame| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
        let byte = |byte: &u8| (f64::from(*byte) + sigma * gaussian()).round().clamp(0.0, 255.0) as u8;
        let pixels: Vec<u8> = picture.pixels().iter().map(byte).collect();
        RawFrame::new(picture.format(), picture.dimensions(), pixels.into(), picture.capture)
    };
    if sigma <= 0.0 {
        Ok(pictures.to_vec())
    } else {
        Ok(pictures.iter().map(&mut with_noise).collect::<Result<_, _>>()?)
    }
}

/// Of what a viewer shows.
fn quality(pictures: &[RawFrame], sent: &[(usize, EncodedFrame)]) -> Outcome<Quality> {
    let mut decoder = decoder(Codec::H264, &DecoderConfig::default())?;
    let (mut meter, mut out, mut shown) = (QualityMeter::default(), Vec::new(), None);
    let mut coming = sent.iter().peekable();
    for (number, original) in pictures.iter().enumerate() {
        if let Some((_, frame)) = coming.next_if(|(at, _)| *at == number) {
            decoder.decode(Ticket(number as u64), frame, &mut out)?;
            shown = out.drain(..).next_back().map(|picture| picture.frame);
        }
        let shown = shown.as_ref().ok_or(CodecError::NoOutput { codec: Codec::H264 })?;
        meter.add(original, shown)?;
    }
    meter.quality().ok_or_else(|| "no picture was compared".into())
}

/// The rate at which a way reaches a quality: between the two around it, by the logarithm of rates.
fn rate_at(points: &[(f64, f64)], ssim: f64) -> Option<f64> {
    let around = |pair: &&[(f64, f64)]| (pair[0].1..=pair[1].1).contains(&ssim);
    let pair = points.windows(2).find(around)?;
    let part = (ssim - pair[0].1) / (pair[1].1 - pair[0].1);
    Some((pair[0].0.ln() + part * (pair[1].0.ln() - pair[0].0.ln())).exp())
}
