//! What only the system's FFmpeg decodes, against the program `ffmpeg`: H.265, AV1, and H.264 beyond the built-in decoder.

#![expect(clippy::unwrap_used, reason = "tests may")]

use super::footage::{Reference, clip, psnr, run};
use bytes::Bytes;
use lumenbus_codec::{CodecError, Decoder, DecoderConfig, Picture, Ticket, decoder};
use lumenbus_frame::bitstream::{NalCodec, Normaliser, split_access_units};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, PixelFormat};
use std::path::Path;
use tempfile::TempDir;

const PICTURES: usize = 40;

fn open(codec: Codec) -> Box<dyn Decoder> {
    decoder(codec, &DecoderConfig::default()).unwrap()
}

/// The clip's first pictures coded by `ffmpeg` with these arguments, in a file of this kind.
fn made(folder: &Path, extension: &str, arguments: &str) -> Option<std::path::PathBuf> {
    let source = clip("vtest_768x576.mp4")?;
    let file = folder.join(format!("made.{extension}"));
    let count = PICTURES.to_string();
    let ends = ["-i", source.to_str().unwrap(), "-frames:v", &count, "-an", "-s", "384x288"];
    let words: Vec<&str> = arguments.split(' ').collect();
    run("ffmpeg", &[&["-y"][..], &ends, &words, &[file.to_str().unwrap()]].concat());
    Some(file)
}

fn frame(codec: Codec, index: usize, payload: Bytes, is_keyframe: bool) -> EncodedFrame {
    let index = i64::try_from(index).unwrap();
    let frame = EncodedFrame::new(codec, CaptureTime::sensor(1_000 + index), payload).with_pts(index * 3000);
    if is_keyframe { frame.keyframe() } else { frame }
}

fn annex_b(codec: Codec, file: &Path) -> Vec<EncodedFrame> {
    let nal = if codec == Codec::H264 { NalCodec::H264 } else { NalCodec::H265 };
    let (stream, mut normaliser) = (Bytes::from(std::fs::read(file).unwrap()), Normaliser::annex_b(nal));
    let units = split_access_units(nal, &stream).map(|unit| normaliser.normalise(&unit).unwrap());
    units.enumerate().map(|(index, unit)| frame(codec, index, unit.payload, unit.is_keyframe)).collect()
}

/// IVF: a header of 32 bytes, then 12 before each temporal unit, beginning with its length.
fn ivf(file: &Path) -> Vec<EncodedFrame> {
    let mut rest = Bytes::from(std::fs::read(file).unwrap()).slice(32..);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let payload = rest.slice(12..12 + length);
        rest = rest.slice(12 + length..);
        frames.push(frame(Codec::Av1, frames.len(), payload, frames.is_empty()));
    }
    frames
}

/// Every picture is as `ffmpeg` shows it, with its own frame's times; returns how many were ever held back.
fn compared(file: &Path, frames: &[EncodedFrame], least_psnr: f64) -> usize {
    let mut reference = Reference::open_as(file, &["-pix_fmt", "yuv420p"]);
    let mut decoder = open(frames[0].codec);
    let (mut out, mut shown, mut held) = (Vec::new(), 0, 0);
    let mut check = |out: &mut Vec<Picture>| {
        for picture in out.drain(..) {
            let expected = reference.next(picture.frame.pixels().len()).unwrap();
            let quality = psnr(&expected, picture.frame.pixels());
            assert!(quality >= least_psnr, "picture {shown}: {quality} dB");
            let of = &frames[usize::try_from(picture.ticket.0).unwrap()];
            assert_eq!((picture.frame.pts, picture.frame.capture), (of.pts, of.capture));
            shown += 1;
        }
        shown
    };
    for (index, frame) in frames.iter().enumerate() {
        decoder.decode(Ticket(index as u64), frame, &mut out).unwrap();
        held = held.max(index + 1 - check(&mut out));
    }
    decoder.flush(&mut out).unwrap();
    assert_eq!(check(&mut out), PICTURES);
    held
}

#[test]
fn h265_is_exact_and_holds_nothing_back_without_reordering() {
    let folder = TempDir::new().unwrap();
    for (b_pictures, most_held) in [(0, 0), (2, 3)] {
        let x265 = format!("-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes={b_pictures}:keyint=20");
        let Some(file) = made(folder.path(), "hevc", &x265) else { return };
        let held = compared(&file, &annex_b(Codec::H265, &file), f64::INFINITY);
        assert!(held <= most_held, "{b_pictures}: {held}");
    }
}

#[test]
fn deep_and_interlaced_streams_are_decoded_too() {
    let folder = TempDir::new().unwrap();
    let cases = [
        // Ten bits become eight in this process, by the same library's other routine: within half a level.
        (
            "hevc",
            Codec::H265,
            "-pix_fmt yuv420p10le -c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=0",
            48.0,
        ),
        ("264", Codec::H264, "-c:v libx264 -preset ultrafast -flags +ildct+ilme -bf 0", f64::INFINITY),
        ("264", Codec::H264, "-pix_fmt yuv422p -c:v libx264 -preset ultrafast -bf 0", 36.0),
    ];
    for (extension, codec, arguments, least) in cases {
        let Some(file) = made(folder.path(), extension, arguments) else { return };
        assert_eq!(compared(&file, &annex_b(codec, &file), least), 0, "{arguments}");
    }
}

/// Of a size for which BT.709 is assumed where nothing is said.
#[test]
fn colours_of_an_rgb_stream_are_right() {
    let folder = TempDir::new().unwrap();
    let arguments = "-frames:v 2 -s 1280x720 -pix_fmt gbrp -c:v libx265 -preset ultrafast -x265-params \
                     log-level=none:bframes=0:crf=12";
    let Some(file) = made(folder.path(), "hevc", arguments) else { return };
    let mut reference = Reference::open_as(&file, &["-pix_fmt", "rgb24"]);
    let config = DecoderConfig { pixel_format: Some(PixelFormat::Rgb8) };
    let (mut decoder, mut out) = (decoder(Codec::H265, &config).unwrap(), Vec::new());
    let frames = annex_b(Codec::H265, &file);
    for (index, frame) in frames.iter().enumerate() {
        decoder.decode(Ticket(index as u64), frame, &mut out).unwrap();
    }
    assert_eq!((frames.len(), out.len()), (2, 2));
    for picture in out {
        let expected = reference.next(picture.frame.pixels().len()).unwrap();
        let quality = psnr(&expected, picture.frame.pixels());
        // 45.8 dB; 38.5 by the matrix and range that video of this size has otherwise.
        assert!(quality > 42.0, "{quality} dB");
    }
}

#[test]
fn av1_is_exact() {
    let folder = TempDir::new().unwrap();
    let Some(file) = made(folder.path(), "ivf", "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0") else {
        return;
    };
    assert_eq!(compared(&file, &ivf(&file), f64::INFINITY), 0);
}

#[test]
fn after_damage_the_next_keyframe_is_where_decoding_goes_on() {
    let folder = TempDir::new().unwrap();
    let x265 =
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=0:keyint=10:min-keyint=10:scenecut=0";
    let Some(file) = made(folder.path(), "hevc", x265) else { return };
    let whole = annex_b(Codec::H265, &file);
    let clean = decoded(&whole);
    for (at, cut) in [(3, 0.5), (12, 0.3), (20, 0.7), (25, 0.1)] {
        let mut frames = whole.clone();
        let length = frames[at].payload.len();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "part of a length")]
        let kept = (length as f64 * cut) as usize;
        let mut bytes = frames[at].payload[..kept].to_vec();
        bytes.extend((kept..length).map(|at| at.to_le_bytes()[0] | 1));
        frames[at].payload = bytes.into();
        let shown = decoded(&frames);
        let next = at.div_ceil(10) * 10 + if at.is_multiple_of(10) { 10 } else { 0 };
        for (n, (shown, clean)) in shown.iter().zip(&clean).enumerate() {
            // Nothing before the damage nor from the next keyframe on is touched; between them a picture may be missing.
            let is_safe = n < at || n >= next;
            assert!(if is_safe { shown == clean } else { shown.is_none() || n >= at }, "damage in {at}: picture {n}");
        }
    }
}

/// The pictures by their frames; after an error nothing until the next keyframe.
fn decoded(frames: &[EncodedFrame]) -> Vec<Option<Bytes>> {
    let (mut decoder, mut shown) = (open(frames[0].codec), vec![None; frames.len()]);
    let mut out = Vec::new();
    let mut is_broken = false;
    for (index, frame) in frames.iter().enumerate() {
        let done = decoder.decode(Ticket(index as u64), frame, &mut out);
        if is_broken && !frame.is_keyframe {
            assert!(matches!(done, Err(CodecError::NeedsKeyframe { .. })), "{index}");
        }
        is_broken = done.is_err();
        for picture in out.drain(..) {
            shown[usize::try_from(picture.ticket.0).unwrap()] = Some(picture.frame.pixels().clone());
        }
    }
    shown
}
