//! H.264 decoding of real footage against ffmpeg, picture by picture and time by time.

#![expect(clippy::unwrap_used, reason = "tests may")]

mod footage;
#[cfg(feature = "ffmpeg")]
#[path = "footage/system.rs"]
mod system;

use footage::{CLIPS, Reference, annex_b, clip, frames, psnr, run, unit_starts};
use lumenbus_codec::{CodecError, Decoder, DecoderConfig, Picture, Range, Ticket, decoder};
use lumenbus_frame::{Codec, EncodedFrame};
use std::path::Path;

fn open() -> Box<dyn Decoder> {
    decoder(Codec::H264, &DecoderConfig::default()).unwrap()
}

fn decode(decoder: &mut dyn Decoder, index: usize, frame: &EncodedFrame, out: &mut Vec<Picture>) {
    decoder.decode(Ticket(index as u64), frame, out).unwrap_or_else(|error| panic!("frame {index}: {error:?}"));
}

/// Hands every picture to `check` as it comes out; returns how many frames the decoder ever held back.
fn decode_all(frames: &[EncodedFrame], mut check: impl FnMut(Picture)) -> usize {
    let mut decoder = open();
    let (mut out, mut done, mut held) = (Vec::new(), 0, 0);
    for (index, frame) in frames.iter().enumerate() {
        decode(decoder.as_mut(), index, frame, &mut out);
        done += out.len();
        held = held.max(index + 1 - done);
        out.drain(..).for_each(&mut check);
    }
    decoder.flush(&mut out).unwrap();
    out.drain(..).for_each(&mut check);
    held
}

#[test]
fn every_clip_decodes_as_ffmpeg_decodes_it() {
    for (name, count) in CLIPS {
        let Some(path) = clip(name) else { return };
        let frames = frames(annex_b(&path));
        assert_eq!(frames.len(), count, "{name}");
        let mut reference = Reference::open(&path);
        let (mut seen, mut worst) = (0, f64::INFINITY);
        let held = decode_all(&frames, |picture| {
            let expected = reference.next(picture.frame.pixels().len()).expect("as many pictures as ffmpeg gives");
            worst = worst.min(psnr(&expected, picture.frame.pixels()));
            let source = &frames[usize::try_from(picture.ticket.0).unwrap()];
            assert_eq!((picture.frame.pts, picture.frame.capture), (source.pts, source.capture), "{name}");
            seen += 1;
        });
        assert_eq!(seen, count, "{name}");
        assert!(reference.next(1).is_none(), "{name}: ffmpeg gives more");
        eprintln!("{name}: {count} pictures, at most {held} held back, at worst {worst} dB");
        // With B-frames the library rounds in its own way; without, it is exact.
        assert!(worst >= if name == "vtest_768x576.mp4" { f64::INFINITY } else { 50.0 }, "{name}: {worst} dB");
        // The clips with B-frames say, or show, that two pictures reorder; the one without must hold nothing.
        assert!(held <= 3, "{name}: {held} held back");
        assert!(name != "vtest_768x576.mp4" || held == 0, "{name}: frame n must be out before n + 1 goes in");
    }
}

#[test]
fn pictures_keep_their_own_times_through_reordering() {
    for name in ["street1080.264", "flower720.264"] {
        let Some(path) = clip(name) else { return };
        let stream = std::fs::read(&path).unwrap();
        let starts = unit_starts(&stream);
        // ffprobe names, in output order, the byte at which each picture's access unit begins.
        let arguments = ["-select_streams", "v", "-show_entries", "frame=pkt_pos", "-of", "csv=p=0"];
        let told = run("ffprobe", &[&arguments[..], &[path.to_str().unwrap()]].concat());
        let told = String::from_utf8(told).unwrap();
        let positions = told.lines().filter_map(|line| line.trim_end_matches(',').parse::<usize>().ok());
        let expected: Vec<u64> =
            positions.map(|at| starts.iter().position(|&start| start.abs_diff(at) <= 1).unwrap() as u64).collect();
        let mut tickets = Vec::new();
        decode_all(&frames(stream), |picture| tickets.push(picture.ticket.0));
        assert!(!tickets.is_sorted(), "{name} has B-frames");
        assert_eq!(tickets, expected, "{name}");
    }
}

#[test]
fn decoding_begins_at_a_keyframe_and_begins_again_after_damage() {
    let Some(path) = clip("vtest_768x576.mp4") else {
        return;
    };
    let frames = frames(annex_b(&path));
    let second = frames.iter().skip(1).position(|frame| frame.is_keyframe).unwrap() + 1;
    let mut decoder = open();
    let mut out = Vec::new();
    let error = decoder.decode(Ticket(3), &frames[3], &mut out).unwrap_err();
    assert!(matches!(error, CodecError::NeedsKeyframe { .. } | CodecError::Malformed { .. }), "{error}");
    for (index, frame) in frames[..10].iter().enumerate() {
        decode(decoder.as_mut(), index, frame, &mut out);
    }
    let mut damaged = frames[10].clone();
    damaged.payload = damaged.payload.iter().enumerate().map(|(at, byte)| if at < 8 { *byte } else { !byte }).collect();
    out.clear();
    let broken = decoder.decode(Ticket(10), &damaged, &mut out);
    if broken.is_err() {
        let error = decoder.decode(Ticket(11), &frames[11], &mut out).unwrap_err();
        assert!(matches!(error, CodecError::NeedsKeyframe { .. }), "{error}");
        assert!(out.is_empty());
    }
    out.clear();
    for (index, frame) in frames.iter().enumerate().skip(second).take(5) {
        decode(decoder.as_mut(), index, frame, &mut out);
        let last = out.last().unwrap();
        assert_eq!((last.ticket, last.frame.pts), (Ticket(index as u64), frame.pts));
    }
    assert_eq!(out.len(), 5);
}

#[test]
fn damage_anywhere_never_mixes_up_times() {
    let Some(path) = clip("flower720.264") else {
        return;
    };
    let frames: Vec<_> = frames(annex_b(&path)).into_iter().take(60).collect();
    for step in [7, 13, 29] {
        let mut decoder = open();
        let mut out = Vec::new();
        for (index, frame) in frames.iter().enumerate() {
            let mut frame = frame.clone();
            if index % step == step - 1 {
                let mut bytes = frame.payload.to_vec();
                let at = bytes.len() / 2;
                bytes[at] ^= 0x55;
                bytes.truncate(at + 40);
                frame.payload = bytes.into();
            }
            decoder.decode(Ticket(index as u64), &frame, &mut out).ok();
        }
        decoder.flush(&mut out).unwrap();
        assert!(!out.is_empty());
        let mut tickets: Vec<u64> = out.iter().map(|picture| picture.ticket.0).collect();
        for picture in &out {
            let source = &frames[usize::try_from(picture.ticket.0).unwrap()];
            assert_eq!((picture.frame.pts, picture.frame.capture), (source.pts, source.capture));
        }
        tickets.sort_unstable();
        tickets.dedup();
        assert_eq!(tickets.len(), out.len(), "no picture twice");
    }
}

#[test]
fn what_is_not_one_annex_b_access_unit_is_refused() {
    let Some(path) = clip("vtest_768x576.mp4") else {
        return;
    };
    let frames = frames(annex_b(&path));
    let mut both = frames[0].clone();
    both.payload = [&frames[0].payload[..], &frames[1].payload].concat().into();
    let error = open().decode(Ticket(0), &both, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("two pictures"), "{error}");
    let mut length_prefixed = frames[0].clone();
    length_prefixed.payload = vec![0, 0, 0, 2, 0x65, 0x88].into();
    let error = open().decode(Ticket(0), &length_prefixed, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("Annex B"), "{error}");
}

#[test]
fn a_full_range_camera_is_recognised() {
    let Some(path) = clip("street1080.264") else {
        return;
    };
    let mut out = Vec::new();
    open().decode(Ticket(0), &frames(annex_b(&path))[0], &mut out).unwrap();
    assert_eq!(out[0].color.range, Range::Full);
}

/// A short clip made by ffmpeg's x264 from the test pattern; `None` when this ffmpeg cannot.
fn made(folder: &Path, name: &str, arguments: &[&str]) -> Option<Vec<EncodedFrame>> {
    clip("street1080.264")?;
    let path = folder.join(name);
    let target = path.to_str().unwrap();
    let source = ["-y", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=2", "-c:v", "libx264"];
    let done = std::process::Command::new("ffmpeg")
        .args(["-v", "error"])
        .args([&source[..], arguments, &["-f", "h264", target]].concat())
        .status()
        .unwrap();
    if !done.success() {
        eprintln!("SKIPPED: this ffmpeg has no libx264");
        return None;
    }
    Some(frames(std::fs::read(path).unwrap()))
}

/// With the feature FFmpeg reads them: footage/system.rs.
#[cfg(not(feature = "ffmpeg"))]
#[test]
fn what_the_library_cannot_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str], &str); 5] = [
        ("422", &["-pix_fmt", "yuv422p"], "4:2:2"),
        ("444", &["-pix_fmt", "yuv444p"], "4:4:4"),
        ("10bit", &["-pix_fmt", "yuv420p10le"], "10 bits deep"),
        ("gray", &["-pix_fmt", "gray"], "monochrome"),
        ("interlaced", &["-pix_fmt", "yuv420p", "-flags", "+ildct+ilme"], "interlaced"),
    ];
    for (name, arguments, expected) in kinds {
        let Some(frames) = made(folder.path(), name, arguments) else {
            return;
        };
        let error = open().decode(Ticket(0), &frames[0], &mut Vec::new()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected) && message.contains("`ffmpeg` feature"), "{name}: {message}");
    }
}

#[test]
fn b_pyramids_multiple_slices_and_size_changes_decode_as_in_ffmpeg() {
    let folder = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str]); 4] = [
        ("pyramid", &["-pix_fmt", "yuv420p", "-bf", "7", "-x264-params", "b-pyramid=normal:b-adapt=0:keyint=20"]),
        ("slices", &["-pix_fmt", "yuv420p", "-tune", "zerolatency", "-x264-params", "slices=4"]),
        ("opengop", &["-pix_fmt", "yuv420p", "-bf", "3", "-x264-params", "open-gop=1:keyint=12:min-keyint=12"]),
        ("weighted", &["-pix_fmt", "yuv420p", "-x264-params", "weightp=2:ref=4:bframes=3:direct=temporal"]),
    ];
    for (name, arguments) in kinds {
        let Some(frames) = made(folder.path(), name, arguments) else {
            return;
        };
        let mut reference = Reference::open(&folder.path().join(name));
        let (mut seen, mut worst) = (0, f64::INFINITY);
        let held = decode_all(&frames, |picture| {
            let expected = reference.next(picture.frame.pixels().len()).unwrap();
            worst = worst.min(psnr(&expected, picture.frame.pixels()));
            seen += 1;
        });
        assert!(worst >= if name == "slices" { f64::INFINITY } else { 50.0 }, "{name}: {worst} dB");
        assert_eq!(seen, frames.len(), "{name}");
        assert!(name != "slices" || held == 0);
    }
    let Some(small) = made(folder.path(), "small", &["-pix_fmt", "yuv420p", "-bf", "2"]) else {
        return;
    };
    let Some(large) = made(folder.path(), "large", &["-pix_fmt", "yuv420p", "-vf", "scale=640:360"]) else {
        return;
    };
    let mut widths = Vec::new();
    let both: Vec<_> = small.iter().chain(&large).cloned().collect();
    decode_all(&both, |picture| {
        widths.push(picture.frame.dimensions().width);
    });
    assert_eq!(widths, [vec![320; small.len()], vec![640; large.len()]].concat());
}

#[cfg(not(feature = "ffmpeg"))]
#[test]
fn joining_waits_for_an_idr_picture() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-pix_fmt", "yuv420p", "-bf", "2", "-x264-params", "open-gop=1:keyint=10:min-keyint=10"];
    let Some(mut frames) = made(folder.path(), "recovery", &arguments) else {
        return;
    };
    // An open-GOP I picture that claims to be a keyframe, behind the parameter sets it needs.
    let intra = |frame: &EncodedFrame| {
        frame.payload.windows(5).any(|w| w[..3] == [0, 0, 1] && w[3] & 0x1F == 1 && w[4] == 0x88)
    };
    let at = frames.iter().skip(1).position(intra).expect("an open GOP") + 1;
    let sets = frames[0].payload.clone();
    let end = sets.windows(4).position(|w| w[..3] == [0, 0, 1] && matches!(w[3] & 0x1F, 5 | 6)).unwrap();
    frames[at].payload = [&sets[..end], &frames[at].payload].concat().into();
    frames[at].is_keyframe = true;
    let (mut decoder, mut out) = (open(), Vec::new());
    let error = decoder.decode(Ticket(0), &frames[at], &mut out).unwrap_err();
    assert!(matches!(error, CodecError::NeedsKeyframe { .. }) && out.is_empty(), "{error}");
    decode(decoder.as_mut(), 1, &frames[0], &mut out);
    assert_eq!(out.len(), 1);
}
