//! Recordings as FFmpeg sees them: the same pictures, the stream's own times, holes included.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, Epoch, FrameId, Seq};
use lumenbus_pipeline::mux::recording::{Recording, RecordingError, RecordingOptions, RecordingReport, Taken};
use lumenbus_source::{Source as _, SourceItem, SourceOptions, open};
use std::path::{Path, PathBuf};
use support::{encoded, footage, pictures, probe};

mod support;

const SECOND: i64 = 1_000_000_000;
/// 2026-05-01T14:03:00Z
const BEGIN: i64 = 1_777_644_180 * SECOND;

/// The first frames of a file; captured when they are due.
fn frames(path: &Path, count: usize) -> Vec<EncodedFrame> {
    let mut source = open(path.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut frames = Vec::new();
    while frames.len() < count {
        match source.next_frame().unwrap() {
            Some(SourceItem::Encoded { mut frame, media_time }) => {
                frame.capture = CaptureTime::arrival(BEGIN + i64::try_from(media_time.as_nanos()).unwrap());
                frames.push(frame);
            }
            Some(_) => {}
            None => break,
        }
    }
    frames
}

fn id(epoch: u64, seq: usize) -> FrameId {
    FrameId { epoch: Epoch(epoch), seq: Seq(seq as u64) }
}

/// A writer that knows where fragments ended.
#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    flushed: Vec<usize>,
}

impl std::io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.flushed.push(self.bytes.len());
        Ok(())
    }
}

fn record(frames: &[EncodedFrame], options: RecordingOptions) -> (File, RecordingReport) {
    let mut recording = Recording::new(File::default(), options);
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(recording.push(id(1, at), frame).unwrap(), Taken::Written, "frame {at}");
    }
    recording.finish().unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Presentation times of the packets in milliseconds, sorted.
fn shown(file: &Path) -> Vec<i64> {
    let text = probe(file, "packet=pts");
    let mut times: Vec<i64> = text.lines().map(|line| line.trim_matches(',').parse().unwrap()).collect();
    times.sort_unstable();
    times.into_iter().map(|ticks| (ticks + 45) / 90).collect()
}

/// Seconds by FFmpeg's reckoning.
fn duration(file: &Path) -> f64 {
    probe(file, "format=duration").trim().parse().unwrap()
}

fn unchanged(path: &Path, count: usize, millis: i64) {
    let (folder, frames) = (Folder::new(), frames(path, count));
    let (file, report) = record(&frames, RecordingOptions::default());
    let extension = if frames[0].codec == Codec::H265 { "h265" } else { "h264" };
    let stream: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.to_vec()).collect();
    let (mp4, raw) = (folder.write("x.mp4", &file.bytes), folder.write(&format!("x.{extension}"), &stream));
    assert_eq!(pictures(&mp4), pictures(&raw), "{}", path.display());
    assert_eq!((report.frames, report.bytes), (frames.len() as u64, file.bytes.len() as u64));
    let expected: Vec<i64> = (0..i64::try_from(frames.len()).unwrap()).map(|at| at * millis).collect();
    let times = shown(&mp4);
    assert!(times.iter().zip(&expected).all(|(a, b)| (a - times[0] - b).abs() <= 1), "{}: {times:?}", path.display());
    let whole = f64::from(u32::try_from(millis).unwrap()) * frames.len() as f64 / 1e3;
    assert!((duration(&mp4) - whole).abs() < 0.2, "{} against {whole}", duration(&mp4));
    assert!((report.duration.as_secs_f64() - whole).abs() < 0.01, "{:?} against {whole}", report.duration);
}

#[test]
fn pictures_and_times_are_those_of_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    for (name, millis) in [("vtest_768x576.mp4", 100), ("indoor_onebyone_768x432.mp4", 100)] {
        if let Some(path) = footage(name) {
            unchanged(&path, 130, millis);
        }
    }
    for (name, options) in [
        ("pyramid.mp4", "keyint=15:bframes=5:b-pyramid=normal:b-adapt=0"),
        ("open.mp4", "keyint=12:min-keyint=12:bframes=3:open-gop=1:scenecut=0"),
        ("plain.mp4", "keyint=10:bframes=0"),
    ] {
        let arguments = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params", options];
        unchanged(&encoded(folder.path(), name, &arguments), 60, 40);
    }
    let hevc = ["-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=error:keyint=20:bframes=3"];
    unchanged(&encoded(folder.path(), "hevc.mp4", &[&hevc[..], &["-tag:v", "hvc1"]].concat()), 60, 40);
}

/// Six GOPs of ten pictures, some out of order.
fn plain(folder: &Path) -> Vec<EncodedFrame> {
    let arguments = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params", "keyint=10:scenecut=0:bframes=2"];
    frames(&encoded(folder, "source.mp4", &arguments), 60)
}

#[test]
fn what_is_missing_keeps_its_duration() {
    let folder = Folder::new();
    let source = plain(folder.0.path());
    let mut recording = Recording::new(File::default(), RecordingOptions::default());
    for (at, frame) in source.iter().enumerate() {
        match at {
            // From the middle of the second GOP to the end of the third.
            13..30 => recording.gap(),
            _ => assert_eq!(recording.push(id(1, at), frame).unwrap(), Taken::Written, "frame {at}"),
        }
    }
    let (file, report) = recording.finish().unwrap();
    let path = folder.write("x.mp4", &file.bytes);
    assert_eq!(report.frames, 60 - 17);
    let times = shown(&path);
    let whole = *times.last().unwrap() - times[0];
    assert!((whole - 59 * 40).abs() <= 1, "{times:?}");
    let hole = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!((17 * 40..=18 * 40 + 80).contains(&hole), "{hole}: {times:?}");
    assert!((duration(&path) - 2.4).abs() < 0.2, "{}", duration(&path));
    assert_eq!(pictures(&path).len(), 43);
}

#[test]
fn after_a_gap_only_a_keyframe_goes_on() {
    let folder = Folder::new();
    let source = plain(folder.0.path());
    let mut recording = Recording::new(File::default(), RecordingOptions::default());
    assert_eq!(recording.push(id(1, 1), &source[1]).unwrap(), Taken::AwaitingKeyframe);
    assert_eq!(recording.push(id(1, 10), &source[10]).unwrap(), Taken::Written);
    recording.gap();
    assert_eq!(recording.push(id(1, 12), &source[12]).unwrap(), Taken::AwaitingKeyframe);
    assert_eq!(recording.push(id(1, 20), &source[20]).unwrap(), Taken::Written);
    let report = recording.finish().unwrap().1;
    assert_eq!(report.frames, 2);
    // The file begins with its first keyframe, not with the frame that was left out: 11 frames of 40 ms.
    assert_eq!(report.duration.as_millis(), 440);
}

/// An open GOP's first pictures are shown before its keyframe and refer to the GOP before.
#[test]
fn pictures_that_refer_to_what_is_missing_are_left_out() {
    let folder = Folder::new();
    let options = "keyint=12:min-keyint=12:bframes=2:b-adapt=0:open-gop=1:scenecut=0";
    let made =
        encoded(folder.0.path(), "open.mp4", &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params", options]);
    let source = frames(&made, 60);
    let opens: Vec<usize> = (0..60).filter(|at| source[*at].is_keyframe).collect();
    let rejoin = opens[2];
    let leading = (rejoin + 1..60).take_while(|at| source[*at].pts < source[rejoin].pts).count();
    assert!(leading > 0, "the GOP is open");
    let mut recording = Recording::new(File::default(), RecordingOptions::default());
    for (at, frame) in source.iter().enumerate() {
        if (opens[1] + 5..rejoin).contains(&at) {
            recording.gap();
            continue;
        }
        let expected =
            if (rejoin + 1..=rejoin + leading).contains(&at) { Taken::AwaitingKeyframe } else { Taken::Written };
        assert_eq!(recording.push(id(1, at), frame).unwrap(), expected, "frame {at}");
    }
    let (file, report) = recording.finish().unwrap();
    let path = folder.write("x.mp4", &file.bytes);
    let shown = pictures(&path);
    assert_eq!((shown.len() as u64, report.duration.as_millis()), (report.frames, 2_400));
    // From the keyframe on, what a decoder shows is what was made.
    let after = 60 - rejoin - leading;
    assert_eq!(shown[shown.len() - after..], pictures(&made)[60 - after..]);
}

/// A camera that is away for eight seconds and begins to count anew.
#[test]
fn a_new_epoch_goes_on_in_the_same_file_and_its_absence_lasts() {
    let folder = Folder::new();
    let source = plain(folder.0.path());
    let mut recording = Recording::new(File::default(), RecordingOptions::default());
    for (epoch, away) in [(1, 0), (2, 8)] {
        for (at, frame) in source[..20].iter().enumerate() {
            let mut frame = frame.clone();
            // 20 frames take 0.8 s.
            frame.capture.unix_nanos += away * SECOND + i64::from(epoch > 1) * 8 * SECOND / 10;
            recording.push(id(epoch, at), &frame).unwrap();
        }
    }
    let (file, report) = recording.finish().unwrap();
    let path = folder.write("x.mp4", &file.bytes);
    assert_eq!(report.frames, 40);
    let whole = duration(&path);
    assert!((whole - 9.6).abs() < 0.25, "{whole}");
    assert_eq!(pictures(&path).len(), 40);
}

#[test]
fn other_parameters_are_handed_back_for_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let small = frames(&encoded(folder.path(), "small.mp4", &["-c:v", "libx264", "-vf", "scale=160:90"]), 5);
    let large = frames(&encoded(folder.path(), "large.mp4", &["-c:v", "libx264"]), 5);
    let mut recording = Recording::new(Vec::new(), RecordingOptions::default());
    for (at, frame) in small.iter().enumerate() {
        recording.push(id(1, at), frame).unwrap();
    }
    assert_eq!(recording.push(id(2, 0), &large[0]).unwrap(), Taken::OtherParameters);
    let still = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(BEGIN), vec![0xFF, 0xD8].into());
    assert!(matches!(recording.push(id(3, 0), &still), Err(RecordingError::Codec { codec: Codec::Jpeg })));
    let damaged = EncodedFrame { payload: vec![0, 0, 1, 0x65, 1].into(), ..large[0].clone() };
    assert!(matches!(recording.push(id(3, 1), &damaged), Err(RecordingError::Frame(_))));
    assert_eq!(recording.push(id(3, 2), &large[1]).unwrap(), Taken::AwaitingKeyframe);
    assert_eq!(recording.finish().unwrap().1.frames, 5);
}

/// As `kill -9` leaves it: anywhere in a fragment.
#[test]
fn what_was_flushed_can_be_played() {
    let folder = Folder::new();
    let source = plain(folder.0.path());
    let (file, _) = record(&source, RecordingOptions::default());
    let whole = pictures(&folder.write("whole.mp4", &file.bytes));
    assert!(file.flushed.len() >= 6, "a fragment for each of six GOPs: {:?}", file.flushed);
    for &end in &file.flushed {
        let part = pictures(&folder.write("part.mp4", &file.bytes[..end]));
        assert_eq!(part, whole[..part.len()], "up to {end}");
    }
    let fourth = pictures(&folder.write("part.mp4", &file.bytes[..file.flushed[3]]));
    assert_eq!(fourth.len(), 40);
}

/// The keyframe before it is in the file; a player begins later.
#[test]
fn players_begin_at_the_moment_asked_for() {
    let folder = Folder::new();
    let source = plain(folder.0.path());
    let options = RecordingOptions { begin_unix_nanos: Some(BEGIN + 200_000_000) };
    let path = folder.write("x.mp4", &record(&source, options).0.bytes);
    let times = shown(&path);
    assert_eq!(times.len(), 60, "everything that is needed to decode is there");
    let late: Vec<_> = times.iter().filter(|time| **time >= 0).collect();
    assert!((53..=57).contains(&late.len()), "five pictures lie before the beginning: {times:?}");
}

#[test]
fn av1_is_written_as_it_is() {
    let folder = Folder::new();
    let known = std::process::Command::new("ffmpeg").args(["-v", "error", "-encoders"]).output().expect("ffmpeg");
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let Some(encoder) = ["libsvtav1", "libaom-av1"].into_iter().find(|name| known.contains(name)) else {
        eprintln!("SKIPPED: this ffmpeg encodes no AV1");
        return;
    };
    let arguments = ["-c:v", encoder, "-pix_fmt", "yuv420p", "-g", "20"];
    let made = encoded(folder.0.path(), "made.mp4", &arguments);
    let source = frames(&made, 60);
    let (file, report) = record(&source, RecordingOptions::default());
    let path = folder.write("x.mp4", &file.bytes);
    assert_eq!(report.frames, 60);
    assert_eq!(pictures(&path), pictures(&made));
    assert_eq!(probe(&path, "stream=codec_name,width,height").trim(), "av1,320,180");
}

/// What a camera or a disk makes of frames: cut, with bits turned over, in any order. The same every time.
#[test]
fn damaged_frames_cost_themselves_and_nothing_else() {
    let folder = Folder::new();
    let source = plain(folder.0.path());
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..200 {
        let mut recording = Recording::new(Vec::new(), RecordingOptions::default());
        for at in 0..40 {
            let mut frame = source[next(source.len())].clone();
            let mut bytes = frame.payload.to_vec();
            match next(4) {
                0 => bytes.truncate(next(bytes.len())),
                1 => {
                    let bit = next(bytes.len().min(60) * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                2 => frame.pts = Some(i64::try_from(next(usize::MAX / 2)).unwrap()),
                _ => {}
            }
            frame.codec = [Codec::H264, Codec::H264, Codec::H265, Codec::Av1][next(4)];
            frame.payload = bytes.into();
            match recording.push(id(1, at), &frame) {
                Ok(_) | Err(RecordingError::Frame(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let (file, report) = recording.finish().unwrap();
        assert_eq!(report.bytes, file.len() as u64);
        let mut rest = &file[..];
        while let Some((length, _)) = rest.split_first_chunk::<4>() {
            rest = &rest[u32::from_be_bytes(*length) as usize..];
        }
        assert!(rest.is_empty(), "whole boxes");
    }
}
