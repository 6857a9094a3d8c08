//! Real and made clips, read to the end, against what FFmpeg finds in them.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod support;

use bytes::Bytes;
use lumenbus_frame::bitstream::{NalCodec, Normaliser, content_nal_units};
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, FrameRate, Timebase};
use lumenbus_source::{Looped, Paced, ReadMeter, Source, SourceItem, SourceOptions, open, open_bytes};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Expected, data, drain, hash_nals, options, shared_clip};

fn nal_codec(codec: Codec) -> NalCodec {
    if codec == Codec::H265 { NalCodec::H265 } else { NalCodec::H264 }
}

fn keyframes(frames: &[EncodedFrame]) -> Vec<i64> {
    (0..).zip(frames).filter(|(_, frame)| frame.is_keyframe).map(|(at, _)| at).collect()
}

fn hash(frames: &[EncodedFrame]) -> (usize, String) {
    hash_nals(frames.iter().flat_map(|frame| content_nal_units(nal_codec(frame.codec), &frame.payload)))
}

/// A decoder can begin at each keyframe with nothing but its payload.
fn assert_joinable(frames: &[EncodedFrame], size: Dimensions) {
    for frame in frames.iter().filter(|frame| frame.is_keyframe) {
        let mut fresh = Normaliser::annex_b(nal_codec(frame.codec));
        let unit = fresh.normalise(&frame.payload).expect("a keyframe stands alone");
        assert!(unit.is_keyframe);
        assert_eq!(unit.payload, frame.payload);
        assert_eq!(fresh.sequence().unwrap().dimensions, size);
        assert_eq!(frame.parameters.as_ref().unwrap().dimensions, size);
    }
}

fn check_mp4(path: &Path, expected: &str, size: Dimensions, rate: FrameRate) {
    let expected = Expected::of(expected);
    let mut source = open(path.to_str().unwrap(), &options()).unwrap();
    assert_eq!(source.parameters().dimensions, size);
    assert_eq!(source.nominal_rate(), Some(rate));
    let given = drain(&mut source, usize::MAX).unwrap();
    assert!(given.damage.is_empty(), "{:?}", given.damage);
    let pts: Vec<_> = given.frames.iter().map(|frame| frame.pts.unwrap()).collect();
    assert_eq!(pts, expected.numbers("pts"));
    assert_eq!(keyframes(&given.frames), expected.numbers("keyframes"));
    if source.codec() != Codec::Av1 {
        assert_eq!(hash(&given.frames), expected.nals());
        assert_joinable(&given.frames, size);
    }
}

#[test]
fn mp4_clips_are_read_as_ffmpeg_reads_them() {
    if let Some(path) = shared_clip("vtest_768x576.mp4") {
        check_mp4(&path, "vtest_768x576.txt", Dimensions::new(768, 576), FrameRate::per_second(10));
    }
    if let Some(path) = shared_clip("indoor_onebyone_768x432.mp4") {
        check_mp4(&path, "indoor_onebyone_768x432.txt", Dimensions::new(768, 432), FrameRate::per_second(10));
    }
    let (size, rate) = (Dimensions::new(176, 144), FrameRate::per_second(25));
    check_mp4(&data("fragmented_open_gop.mp4"), "fragmented_open_gop.txt", size, rate);
    check_mp4(&data("h265_open_gop.mp4"), "h265_open_gop.txt", size, rate);
    check_mp4(&data("av1.mp4"), "av1.txt", size, rate);
}

#[test]
fn av1_says_its_codec_and_begins_with_a_sequence_header() {
    let mut source = open(data("av1.mp4").to_str().unwrap(), &options()).unwrap();
    assert!(source.parameters().codec_string.as_ref().unwrap().starts_with("av01.0."));
    let given = drain(&mut source, 10).unwrap();
    assert_eq!(given.frames[0].payload[0] >> 3 & 15, 1, "the first OBU is a sequence header");
}

fn check_byte_stream(name: &str, size: Dimensions, nals: (usize, &str), rate: FrameRate) {
    let Some(path) = shared_clip(name) else { return };
    let expected = Expected::of(&name.replace(".264", ".txt"));
    let options = SourceOptions { frame_rate: Some(rate), ..options() };
    let mut source = open(path.to_str().unwrap(), &options).unwrap();
    assert_eq!(source.parameters().timebase, Timebase::MPEG);
    let given = drain(&mut source, usize::MAX).unwrap();
    assert!(given.damage.is_empty(), "{:?}", given.damage);
    let ticks = 90_000 * i64::from(rate.seconds) / i64::from(rate.frames);
    let places: Vec<_> = given.frames.iter().map(|frame| frame.pts.unwrap() / ticks).collect();
    assert_eq!(places, expected.numbers("order"));
    assert_eq!(keyframes(&given.frames), expected.numbers("keyframes"));
    assert_eq!(hash(&given.frames), (nals.0, nals.1.to_owned()));
    assert_joinable(&given.frames, size);
}

#[test]
fn byte_streams_with_b_frames_get_pts_in_display_order() {
    let rate = FrameRate::per_second(30);
    check_byte_stream("street1080.264", Dimensions::new(1920, 1080), (55, "252040ec0f7e3ce4"), rate);
    check_byte_stream("flower720.264", Dimensions::new(1280, 720), (301, "ecb277aeba36268b"), rate);
}

#[test]
fn a_byte_stream_is_told_apart_by_content_and_equals_its_mp4() {
    let mut raw = open(data("h265_open_gop.h265").to_str().unwrap(), &options()).unwrap();
    let mut boxed = open(data("h265_open_gop.mp4").to_str().unwrap(), &options()).unwrap();
    assert_eq!((raw.codec(), raw.nominal_rate()), (Codec::H265, Some(FrameRate::per_second(25))));
    let (raw, boxed) = (drain(&mut raw, 100).unwrap(), drain(&mut boxed, 100).unwrap());
    assert_eq!(hash(&raw.frames), hash(&boxed.frames));
    let order = |frames: &[EncodedFrame]| {
        let mut pts: Vec<_> = frames.iter().enumerate().map(|(at, frame)| (frame.pts, at)).collect();
        pts.sort_unstable();
        pts.into_iter().map(|(_, at)| at).collect::<Vec<_>>()
    };
    assert_eq!(order(&raw.frames), order(&boxed.frames), "both are shown in the same order");
}

#[test]
fn refused_kinds_are_named_with_the_feature_that_can() {
    let mut cases = vec![(data("h264.mkv"), "Matroska"), (data("mpeg4.avi"), "MPEG-4 part 2 (FMP4)")];
    cases.extend(shared_clip("vtest.avi").map(|path| (path, "MS-MPEG4 v3 (div3)")));
    for (path, expected) in cases {
        let Err(error) = open(path.to_str().unwrap(), &options()) else { panic!("{} was opened", path.display()) };
        let message = error.to_string();
        assert!(message.contains(expected) && message.contains("`ffmpeg` feature"), "{message}");
    }
}

#[test]
fn a_loop_marks_its_seam_and_time_goes_on() {
    let path = data("fragmented_open_gop.mp4").to_str().unwrap().to_owned();
    let mut looped = Looped::new(move || open(&path, &options())).unwrap();
    let given = drain(&mut looped, 120).unwrap();
    assert_eq!(given.frames.len(), 120);
    let seams: Vec<_> =
        given.frames.iter().enumerate().filter(|(_, frame)| frame.is_discontinuity).map(|(at, _)| at).collect();
    assert_eq!(seams, [50, 100]);
    let pts: Vec<_> = given.frames.iter().map(|frame| frame.pts.unwrap()).collect();
    for seam in seams {
        assert!(pts[seam..].iter().min() > pts[..seam].iter().max());
        assert!(given.frames[seam].is_keyframe);
    }
    assert!(given.times.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(40)));
}

#[test]
fn pacing_waits_for_media_time_and_stamps_the_frame_then() {
    let clock = Arc::new(lumenbus_frame::ManualClock::at(1_000_000_000));
    let options = SourceOptions { clock: clock.clone(), ..SourceOptions::default() };
    let waits = Arc::new(Mutex::new(Vec::new()));
    for spec in [data("mjpeg.avi").to_str().unwrap(), "test:128x48@25,frames=10"] {
        waits.lock().unwrap().clear();
        let begin = lumenbus_frame::Clock::unix_nanos(&*clock);
        let (sleeping, slept) = (clock.clone(), waits.clone());
        let sleeper = move |duration: Duration| {
            slept.lock().unwrap().push(duration);
            sleeping.advance(duration);
        };
        let mut source = Paced::new(open(spec, &options).unwrap(), clock.clone(), sleeper);
        let mut captures = Vec::new();
        while let Some(item) = source.next_frame().unwrap() {
            captures.push(match item {
                SourceItem::Encoded { frame, .. } => frame.capture.unix_nanos - begin,
                SourceItem::Raw { frame, .. } => frame.capture.unix_nanos - begin,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(captures, (0..10).map(|n| n * 40_000_000).collect::<Vec<_>>(), "{spec}");
        assert_eq!(*waits.lock().unwrap(), [Duration::from_millis(40); 9]);
    }
}

#[test]
fn a_clip_in_memory_is_read_once_and_begins_again_when_told_to() {
    let clip = Bytes::from_static(include_bytes!("data/h265_open_gop.mp4"));
    let mut source = Looped::once(move || open_bytes(Arc::from("clip"), clip.clone(), &options())).unwrap();
    let frame = |item: SourceItem| match item {
        SourceItem::Encoded { frame, media_time } => (frame, media_time),
        other => panic!("{other:?}"),
    };
    let first: Vec<_> = std::iter::from_fn(|| source.next_frame().unwrap()).map(frame).collect();
    assert_eq!(first.len(), 50);
    assert!(source.next_frame().unwrap().is_none(), "once is once");
    source.restart().unwrap();
    let second: Vec<_> = std::iter::from_fn(|| source.next_frame().unwrap()).map(frame).collect();
    assert_eq!(second.len(), first.len());
    assert!(second[0].0.is_discontinuity && second[0].0.is_keyframe);
    let last = |frames: &[(EncodedFrame, Duration)]| frames.iter().filter_map(|(frame, _)| frame.pts).max();
    let least = second.iter().filter_map(|(frame, _)| frame.pts).min();
    assert!(least > last(&first), "pts go on: {least:?}");
    assert!(second[0].1 > first[49].1, "and so does media time");

    let single = open_bytes(Arc::from("still"), Bytes::from_static(include_bytes!("data/still.png")), &options());
    assert!(single.err().unwrap().to_string().contains("a single picture as a clip"));
}

/// A file's bytes, a folder's pictures; all of them at the end, and part of them on the way.
#[test]
fn how_far_a_source_is_can_be_told() {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/clips/plaza.mp4");
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jpg", "b.jpg", "c.jpg", "d.jpg"] {
        let jpeg = jpeg_encoder::Encoder::new_file(folder.path().join(name), 90).unwrap();
        jpeg.encode(&[9; 256], 16, 16, jpeg_encoder::ColorType::Luma).unwrap();
    }
    for path in [clip.as_path(), folder.path()] {
        let meter = ReadMeter::default();
        let options = SourceOptions { meter: Some(meter.clone()), ..options() };
        let mut source = open(path.to_str().unwrap(), &options).unwrap();
        let mut shares = Vec::new();
        while source.next_frame().unwrap().is_some() {
            shares.push(meter.share().unwrap());
        }
        assert!(shares.is_sorted() && shares[0] < 0.5 && shares[shares.len() / 2] < 0.9, "{shares:?}");
        assert!(shares[shares.len() - 1] > 0.95, "{shares:?}");
    }
}
