//! Our JPEG files in ffmpeg, and the files of other encoders here.

#![expect(clippy::unwrap_used, reason = "tests may")]

use jpeg_encoder::{ColorType, SamplingFactor};
use lumenbus_codec::{Color, DecoderConfig, EncoderConfig, Ticket, convert, decoder, encoder};
use lumenbus_frame::{CaptureTime, Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame};
use std::io::Write;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

/// Shapes, edges and a little noise, as I420 that means what JFIF means.
fn picture(width: u32, height: u32) -> RawFrame {
    let size = Dimensions::new(width, height);
    let mut state = 1_u32;
    let rgb: Vec<u8> = (0..width * height)
        .flat_map(|at| {
            let (x, y) = (at % width, at / width);
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = state >> 29;
            let (shade, edge) = ((x + 2 * y) % 256, if (x / 24 + y / 24) % 3 == 0 { 60 } else { 0 });
            [shade / 2 + edge + noise, 128 + edge - shade / 4, 200 - shade / 2 + noise]
                .map(|value| u8::try_from(value).unwrap())
        })
        .collect();
    let rgb = RawFrame::new(PixelFormat::Rgb8, size, rgb.into(), CaptureTime::sensor(5)).unwrap();
    convert(&rgb, PixelFormat::I420, Color::JPEG).unwrap()
}

fn encoded(picture: &RawFrame, quality: u8, threads: usize) -> EncodedFrame {
    let mut config = EncoderConfig::new(Codec::Jpeg);
    config.quality = quality;
    config.threads = NonZeroUsize::new(threads);
    let mut encoder = encoder(&config).unwrap();
    encoder.set_color(Color::JPEG);
    let mut out = Vec::new();
    encoder.encode(picture, &mut out).unwrap();
    out.remove(0)
}

fn decoded(file: &EncodedFrame, format: PixelFormat) -> RawFrame {
    let mut out = Vec::new();
    let config = DecoderConfig { pixel_format: Some(format) };
    decoder(Codec::Jpeg, &config).unwrap().decode(Ticket(0), file, &mut out).unwrap();
    out.remove(0).frame
}

/// Mean and largest difference of samples.
fn difference(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let largest = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    (sum as f64 / a.len() as f64, largest)
}

/// As many threads as one likes give the same file.
#[test]
fn threads_change_nothing() {
    for (width, height) in [(17, 33), (640, 360), (1001, 999)] {
        let picture = picture(width, height);
        let one = encoded(&picture, 85, 1);
        for threads in [2, 3, 4, 9] {
            assert!(encoded(&picture, 85, threads) == one, "{width}x{height}, {threads} threads");
        }
    }
}

#[test]
fn qualities_trade_size_for_likeness() {
    let picture = picture(320, 200);
    let rows = [10, 50, 75, 90, 100].map(|quality| {
        let file = encoded(&picture, quality, 1);
        (file.payload.len(), difference(picture.pixels(), decoded(&file, PixelFormat::I420).pixels()).0)
    });
    assert!(rows.is_sorted_by(|worse, better| worse.0 < better.0 && worse.1 > better.1), "{rows:?}");
    assert!(rows[4].1 < 0.5, "{rows:?}");
}

/// What ffmpeg makes of a file; `None`, loudly, without ffmpeg.
fn ffmpeg(file: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "mjpeg", "-i", "-", "-f", "rawvideo", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: {} without ffmpeg", env!("CARGO_PKG_NAME"));
        return None;
    };
    // Smaller than a pipe's buffer or not: ffmpeg reads all before it writes.
    child.stdin.take().unwrap().write_all(file).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    Some(output.stdout)
}

#[test]
fn ffmpeg_reads_our_files_as_we_do() {
    for (width, height) in [(16, 16), (64, 48), (130, 70), (640, 360), (1920, 1080)] {
        let file = encoded(&picture(width, height), 90, 2);
        let Some(theirs) = ffmpeg(&file.payload) else { return };
        let (mean, largest) = difference(decoded(&file, PixelFormat::I420).pixels(), &theirs);
        assert!(mean < 0.1 && largest <= 2, "{width}x{height}: mean {mean}, largest {largest}");
    }
}

/// How another encoder may have been set up.
#[derive(Debug, Clone, Copy)]
struct Foreign {
    sampling: SamplingFactor,
    is_progressive: bool,
    has_own_codes: bool,
    restart_interval: u16,
}

fn foreign(rgb: &RawFrame, how: Foreign) -> EncodedFrame {
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 90);
    encoder.set_sampling_factor(how.sampling);
    encoder.set_progressive(how.is_progressive);
    encoder.set_optimized_huffman_tables(how.has_own_codes);
    if how.restart_interval > 0 {
        encoder.set_restart_interval(how.restart_interval);
    }
    let size = rgb.dimensions();
    let side = |side: u32| u16::try_from(side).unwrap();
    encoder.encode(rgb.pixels(), side(size.width), side(size.height), ColorType::Rgb).unwrap();
    EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), file.into())
}

fn is_full(sampling: SamplingFactor) -> bool {
    sampling == SamplingFactor::F_1_1
}

/// What the refusal of a file says.
fn refused(file: &EncodedFrame) -> String {
    let mut decoder = decoder(Codec::Jpeg, &DecoderConfig::default()).unwrap();
    decoder.decode(Ticket(0), file, &mut Vec::new()).unwrap_err().to_string()
}

#[test]
fn files_of_other_encoders_are_read() {
    for (width, height) in [(40, 24), (333, 257), (700, 420)] {
        let original = picture(width, height);
        let rgb = convert(&original, PixelFormat::Rgb8, Color::JPEG).unwrap();
        let units = u16::try_from(width.div_ceil(16)).unwrap();
        for sampling in [SamplingFactor::F_2_2, SamplingFactor::F_2_1, SamplingFactor::F_1_1] {
            for (is_progressive, has_own_codes) in [(false, false), (false, true), (true, false)] {
                // Every unit, within rows, whole rows, and none.
                for restart_interval in [0, 1, 7, units, 3 * units] {
                    // The encoder fails with both.
                    if has_own_codes && restart_interval > 0 {
                        continue;
                    }
                    let how = Foreign { sampling, is_progressive, has_own_codes, restart_interval };
                    let file = foreign(&rgb, how);
                    // With codes of its own this encoder writes a scan for each component.
                    if has_own_codes && !is_full(sampling) {
                        assert!(refused(&file).contains("a scan for each"), "{how:?}");
                        continue;
                    }
                    let luma = &original.pixels()[..(width * height) as usize];
                    let (mean, _) = difference(luma, decoded(&file, PixelFormat::Gray8).pixels());
                    assert!(mean < 3.0, "{width}x{height} {how:?}: {mean}");
                    let (mean, _) = difference(original.pixels(), decoded(&file, PixelFormat::I420).pixels());
                    assert!(mean < 3.0, "{width}x{height} {how:?}: {mean}");
                    let (mean, _) = difference(rgb.pixels(), decoded(&file, PixelFormat::Rgb8).pixels());
                    assert!(mean < 5.0, "{width}x{height} {how:?}: {mean}");
                }
            }
        }
    }
}

/// Video colours go to JFIF's without RGB between them; the pictures must look the same.
#[test]
fn colours_of_video_are_kept() {
    let rgb = convert(&picture(320, 200), PixelFormat::Rgb8, Color::JPEG).unwrap();
    for matrix in [lumenbus_codec::Matrix::Bt601, lumenbus_codec::Matrix::Bt709] {
        for range in [lumenbus_codec::Range::Limited, lumenbus_codec::Range::Full] {
            let color = Color { matrix, range };
            let video = convert(&rgb, PixelFormat::I420, color).unwrap();
            let mut config = EncoderConfig::new(Codec::Jpeg);
            config.quality = 98;
            let (mut encoder, mut out) = (encoder(&config).unwrap(), Vec::new());
            encoder.set_color(color);
            encoder.encode(&video, &mut out).unwrap();
            let straight = decoded(&out[0], PixelFormat::Rgb8);
            let (mean, _) = difference(convert(&video, PixelFormat::Rgb8, color).unwrap().pixels(), straight.pixels());
            assert!(mean < 1.5, "{color:?}: {mean}");
        }
    }
}
