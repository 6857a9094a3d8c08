//! Segments against FFmpeg: every frame of real footage comes out bit for bit as from the byte stream.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use lumenbus_frame::bitstream::NalCodec;
use lumenbus_frame::{Codec, Timebase};
use lumenbus_pipeline::mux::{LiveFrame, LiveMuxer, MuxError};
use lumenbus_source::{Source as _, SourceItem, SourceOptions, open};
use std::path::Path;
use support::{encoded, footage, pictures, probe};

mod support;

struct Muxing {
    muxer: LiveMuxer,
    file: Vec<u8>,
    stream: Vec<u8>,
    initialisations: usize,
    frames: usize,
    shown: Vec<i64>,
}

/// The first frames of a file as segments and as byte stream.
fn mux(path: &Path, frames: usize) -> Muxing {
    let mut source = open(path.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let (mut muxing, mut timebase) = (None::<Muxing>, Timebase::MPEG);
    while let Some(item) = source.next_frame().unwrap() {
        let SourceItem::Encoded { frame, media_time, .. } = item else { continue };
        let codec = if frame.codec == Codec::H265 { NalCodec::H265 } else { NalCodec::H264 };
        let muxing = muxing.get_or_insert_with(|| Muxing {
            muxer: LiveMuxer::new(codec),
            file: Vec::new(),
            stream: Vec::new(),
            initialisations: 0,
            frames: 0,
            shown: Vec::new(),
        });
        // Parameters come with keyframes and hold until the next.
        timebase = frame.parameters.as_ref().map_or(timebase, |parameters| parameters.timebase);
        let media_micros = i64::try_from(media_time.as_micros()).unwrap();
        let pts_micros = frame.pts.map_or(media_micros, |pts| timebase.nanos(pts) / 1_000);
        let live =
            LiveFrame { access_unit: &frame.payload, pts_micros, is_keyframe: frame.is_keyframe, begins_anew: false };
        let muxed = muxing.muxer.push(&live).unwrap().expect("footage begins with a keyframe");
        if let Some(initialisation) = muxed.initialisation {
            muxing.initialisations += 1;
            muxing.file.extend_from_slice(&initialisation);
        }
        muxing.file.extend_from_slice(&muxed.segment);
        muxing.stream.extend_from_slice(&frame.payload);
        muxing.shown.push(muxed.presentation_micros);
        muxing.frames += 1;
        if muxing.frames == frames {
            break;
        }
    }
    muxing.expect("the footage has frames")
}

/// Decodes both forms and compares; checks what a player is told.
fn check(path: &Path, frames: usize, extension: &str) {
    let muxing = mux(path, frames);
    let folder = tempfile::tempdir().unwrap();
    let (file, stream) = (folder.path().join("out.mp4"), folder.path().join(format!("out.{extension}")));
    std::fs::write(&file, &muxing.file).unwrap();
    std::fs::write(&stream, &muxing.stream).unwrap();
    let got = pictures(&file);
    assert_eq!(got.len(), muxing.frames, "{}", path.display());
    assert_eq!(got, pictures(&stream), "{}", path.display());
    assert_eq!(muxing.initialisations, 1);
    let packets = probe(&file, "packet=pts,dts");
    let times: Vec<(i64, i64)> = packets
        .lines()
        .map(|line| {
            let mut fields = line.split(',').map(|field| field.parse().expect("every packet has its times"));
            (fields.next().unwrap(), fields.next().unwrap())
        })
        .collect();
    assert_eq!(times.len(), muxing.frames);
    assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].1), "decode times rise");
    assert!(times.iter().all(|(pts, dts)| pts >= dts), "nothing is shown before it is decoded: {times:?}");
    let told: Vec<i64> = muxing.shown.iter().map(|micros| (micros * 90 + 500) / 1_000).collect();
    let near = told.iter().zip(&times).all(|(told, (pts, _))| (told - pts).abs() <= 1);
    assert!(near, "presentation times are those in the file: {told:?} {times:?}");
}

#[test]
fn footage_comes_out_bit_for_bit() {
    for name in ["flower720.264", "street1080.264", "vtest_768x576.mp4", "indoor_onebyone_768x432.mp4"] {
        if let Some(path) = footage(name) {
            check(&path, 120, "h264");
        }
    }
}

#[test]
fn h265_with_b_frames_comes_out_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=error:keyint=20:bframes=3"];
    check(&encoded(folder.path(), "made.mp4", &[&arguments[..], &["-tag:v", "hvc1"]].concat()), 60, "h265");
    let ten_bits =
        ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=error:keyint=20:bframes=0"];
    check(&encoded(folder.path(), "ten.mp4", &ten_bits), 60, "h265");
}

#[test]
fn h264_with_pyramids_and_open_gops_comes_out_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in [
        ("pyramid.mp4", "keyint=15:bframes=5:b-pyramid=normal:b-adapt=0"),
        ("slices.mp4", "keyint=10:bframes=2:slices=4:aud=1"),
        ("chroma.mp4", "keyint=10:bframes=0"),
    ] {
        let pixels = if name == "chroma.mp4" { "yuv444p" } else { "yuv420p" };
        let arguments = ["-c:v", "libx264", "-pix_fmt", pixels, "-x264-params", options];
        check(&encoded(folder.path(), name, &arguments), 60, "h264");
    }
}

#[test]
fn other_parameter_sets_bring_an_initialisation_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let small = encoded(folder.path(), "small.mp4", &["-c:v", "libx264", "-vf", "scale=160:90"]);
    let large = encoded(folder.path(), "large.mp4", &["-c:v", "libx264"]);
    let (mut one, other) = (mux(&small, 20), mux(&large, 1));
    let live = LiveFrame { access_unit: &other.stream, pts_micros: 0, is_keyframe: true, begins_anew: true };
    let muxed = one.muxer.push(&live).unwrap().unwrap();
    assert!(muxed.initialisation.is_some());
    assert!(muxed.presentation_micros > *one.shown.iter().max().unwrap(), "the time line goes on");
}

#[test]
fn a_keyframe_without_its_sets_is_refused_by_name() {
    let mut muxer = LiveMuxer::new(NalCodec::H264);
    let keyframe =
        LiveFrame { access_unit: &[0, 0, 1, 0x65, 0x88], pts_micros: 0, is_keyframe: true, begins_anew: true };
    let error = muxer.push(&keyframe).unwrap_err();
    assert_eq!(error, MuxError::MissingParameters { what: "sequence parameter set" });
}
