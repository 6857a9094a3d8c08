use super::*;
use bytes::Bytes;
use lumenbus_codec::{EncoderConfig, Ticket, convert, decoder, encoder};
use lumenbus_frame::bitstream::{NalCodec, nal_units, split_access_units};
use lumenbus_frame::{CaptureTime, Dimensions, Epoch, FrameRate, GapReason, PixelFormat, RawFrame, Seq, StreamName};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

fn stream(camera: &str) -> StreamId {
    StreamId::main(camera.parse().unwrap(), "raw_video".parse().unwrap())
}

fn id(seq: u64) -> FrameId {
    FrameId { epoch: Epoch(7), seq: Seq(seq) }
}

fn overwrite() -> SinkOptions {
    SinkOptions { overwrite: true, ..SinkOptions::default() }
}

/// A moving picture.
fn picture(size: Dimensions, index: u64) -> RawFrame {
    let bytes = PixelFormat::I420.frame_bytes(size).unwrap();
    let shift = usize::try_from(index).unwrap() * 3;
    let pixels: Vec<u8> = (0..bytes).map(|at| u8::try_from(40 + (at + shift) % 150).unwrap()).collect();
    RawFrame::new(PixelFormat::I420, size, pixels.into(), CaptureTime::arrival(0)).unwrap()
}

fn coded(codec: Codec, size: Dimensions, count: u64) -> Vec<EncodedFrame> {
    let mut config = EncoderConfig::new(codec);
    config.frame_rate = FrameRate::per_second(10);
    let (mut encoder, mut frames) = (encoder(&config).unwrap(), Vec::new());
    (0..count).for_each(|index| encoder.encode(&picture(size, index), &mut frames).unwrap());
    frames
}

const SIZE: Dimensions = Dimensions { width: 64, height: 48 };

fn feed(sink: &mut dyn Sink, camera: &str, frames: &[EncodedFrame]) -> Result<(), SinkError> {
    frames.iter().zip(0..).try_for_each(|(frame, seq)| sink.frame(&stream(camera), id(seq), frame))
}

/// Relative name → content of every file below a folder.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn stills_lie_in_a_folder_as_they_are_and_sort_by_name() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("out");
    let frames = coded(Codec::Jpeg, SIZE, 12);
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    for camera in ["gate-7", "a.b"] {
        feed(sink.as_mut(), camera, &frames).unwrap();
    }
    let report = sink.finish().unwrap();
    assert_eq!((report.frames, report.files, report.undecodable), (24, 24, 0));
    let found = files(&target);
    let (names, contents): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    assert_eq!(names[0], "a.b/00000000000000000007-00000000000000000000.jpg");
    assert!(names[11].ends_with("11.jpg") && names[12].starts_with("gate-7/"));
    assert!(contents.iter().zip(frames.iter().cycle()).all(|(file, frame)| file[..] == frame.payload[..]));
    assert_eq!(report.bytes, contents.iter().map(|file| file.len() as u64).sum::<u64>());
}

#[test]
fn streams_of_one_camera_never_share_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let frames = coded(Codec::Jpeg, SIZE, 1);
    let mut sink = open(root.path().to_str().unwrap(), &SinkOptions::default()).unwrap();
    let video = stream("gate");
    let sub = StreamId { name: "sub".parse::<StreamName>().unwrap(), ..video.clone() };
    let stills = StreamId { topic: "raw_images".parse().unwrap(), ..video.clone() };
    for stream in [&video, &sub, &stills] {
        sink.frame(stream, id(0), &frames[0]).unwrap();
    }
    sink.finish().unwrap();
    let folders: Vec<_> =
        files(root.path()).into_keys().map(|name| name.split('/').next().unwrap().to_owned()).collect();
    assert_eq!(folders, ["gate", "gate@main@raw_images", "gate@sub"]);
}

#[test]
fn a_broken_picture_among_good_ones_stops_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut frames = coded(Codec::H264, SIZE, 30);
    frames[5].payload = Bytes::from_static(b"\0\0\0\x01\x65garbage");
    let mut sink = open(root.path().to_str().unwrap(), &SinkOptions::default()).unwrap();
    feed(sink.as_mut(), "broken", &frames).unwrap();
    let unreadable: Vec<_> =
        frames[..3].iter().map(|frame| EncodedFrame { codec: Codec::H265, ..frame.clone() }).collect();
    feed(sink.as_mut(), "unreadable", &unreadable).unwrap();
    feed(sink.as_mut(), "good", &coded(Codec::H264, SIZE, 3)).unwrap();
    let report = sink.finish().unwrap();
    // Frames 0 to 4; then the rest of that GOP of 20 is left out; then 20 to 29; three of the good camera.
    assert_eq!(report.frames, 5 + 10 + 3);
    assert_eq!(report.undecodable + report.awaiting_keyframe, 15 + 3);
    assert!(report.undecodable >= 2);
}

/// A recovery point is a keyframe of the stream's, but no beginning for this decoder.
#[test]
fn a_keyframe_that_the_decoder_cannot_begin_with_is_told() {
    let root = tempfile::tempdir().unwrap();
    let mut frames = coded(Codec::H264, SIZE, 6);
    let first = frames.remove(0);
    let sets = nal_units(&first.payload).filter(|nal| matches!(nal[0] & 0x1F, 7 | 8));
    let mut unit: Vec<u8> = sets.flat_map(|set| [&[0, 0, 0, 1], set].concat()).collect();
    unit.extend_from_slice(&frames[2].payload);
    frames[2] = EncodedFrame { is_keyframe: true, payload: unit.into(), ..frames[2].clone() };
    for name in ["pictures", "x.mjpeg", "x.y4m"] {
        let mut sink = open(root.path().join(name).to_str().unwrap(), &SinkOptions::default()).unwrap();
        feed(sink.as_mut(), "gate", &frames).unwrap();
        let report = sink.finish().unwrap();
        assert_eq!((report.frames, report.undecodable, report.awaiting_keyframe), (0, 1, 5), "{name}");
    }
}

#[test]
fn coded_frames_can_be_kept_one_by_one() {
    let root = tempfile::tempdir().unwrap();
    let frames = coded(Codec::H264, SIZE, 3);
    let options = SinkOptions { form: Form::Coded, ..SinkOptions::default() };
    let mut sink = open(root.path().to_str().unwrap(), &options).unwrap();
    feed(sink.as_mut(), "gate", &frames).unwrap();
    sink.finish().unwrap();
    let found: Vec<_> = files(root.path()).into_iter().collect();
    assert_eq!(found[2].0, "gate/00000000000000000007-00000000000000000002.h264");
    assert!(found.iter().zip(&frames).all(|((_, file), frame)| file[..] == frame.payload[..]));
}

#[test]
fn nothing_leaves_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("gate")).unwrap();
    let mut sink = open(root.path().to_str().unwrap(), &overwrite()).unwrap();
    let error = feed(sink.as_mut(), "gate", &coded(Codec::Jpeg, SIZE, 1)).unwrap_err();
    assert!(matches!(error, SinkError::Leaves { .. }), "{error}");
    assert!(files(outside.path()).is_empty());
}

#[test]
fn nothing_is_replaced_unless_asked() {
    let root = tempfile::tempdir().unwrap();
    let frames = coded(Codec::H264, SIZE, 2);
    for name in ["x.h264", "x.mp4", "x.mcap", "x.mjpeg", "x.y4m", "x"] {
        let target = root.path().join(name);
        let target = target.to_str().unwrap();
        let once = |options: &SinkOptions| -> Result<SinkReport, SinkError> {
            let mut sink = open(target, options)?;
            feed(sink.as_mut(), "gate", &frames)?;
            sink.finish()
        };
        let first = once(&SinkOptions::default()).unwrap();
        assert_eq!(first.frames, 2);
        let error = once(&SinkOptions::default()).unwrap_err();
        assert!(matches!(error, SinkError::Exists { .. } | SinkError::NotEmpty { .. }), "{error}");
        assert!(error.to_string().contains(target) && error.to_string().contains("--overwrite"), "{error}");
        assert_eq!(once(&overwrite()).unwrap(), first);
    }
}

#[test]
fn containers_are_refused_by_name_before_anything_is_made() {
    let root = tempfile::tempdir().unwrap();
    for name in ["x.mov", "x.MKV", "x.jpg", "x.doc", ""] {
        let target = if name.is_empty() { String::new() } else { format!("{}/{name}", root.path().display()) };
        let message = open(&target, &overwrite()).err().unwrap().to_string();
        assert!(message.contains(".y4m") && message.contains(name), "{message}");
    }
    assert!(files(root.path()).is_empty());
    let error = open("/nonexistent/x.h264", &SinkOptions::default()).err().unwrap();
    assert!(error.to_string().contains("/nonexistent/x.h264") && error.to_string().contains("exists"), "{error}");
}

#[test]
fn access_units_are_appended_and_a_second_camera_is_named() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("x.h264");
    let frames = coded(Codec::H264, SIZE, 4);
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    feed(sink.as_mut(), "gate", &frames).unwrap();
    sink.gap(&stream("gate"), &Gap::new(Seq(4), Seq(6), GapReason::Overflow)).unwrap();
    let message = feed(sink.as_mut(), "door", &frames).unwrap_err().to_string();
    assert!(message.contains("gate") && message.contains("door"), "{message}");
    let still = coded(Codec::Jpeg, SIZE, 1);
    let message = sink.frame(&stream("gate"), id(9), &still[0]).unwrap_err().to_string();
    assert!(message.contains("jpeg") && message.contains("h264"), "{message}");
    let report = sink.finish().unwrap();
    assert_eq!((report.frames, report.files, report.gaps, report.missing), (4, 1, 1, 3));
    let whole: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.to_vec()).collect();
    assert_eq!(fs::read(target).unwrap(), whole);
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_pipe_gets_every_frame_at_once() {
    let pipe = Shared::default();
    let mut sink = to_writer(Box::new(pipe.clone()));
    let mut expected = Vec::new();
    for (frame, seq) in coded(Codec::H264, SIZE, 3).iter().zip(0..) {
        sink.frame(&stream("gate"), id(seq), frame).unwrap();
        expected.extend_from_slice(&frame.payload);
        assert_eq!(*pipe.0.lock().unwrap(), expected);
    }
}

#[test]
fn mjpeg_holds_stills_as_they_are_and_video_as_jpeg() {
    let root = tempfile::tempdir().unwrap();
    let stills = coded(Codec::Jpeg, SIZE, 3);
    let target = root.path().join("stills.mjpeg");
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    feed(sink.as_mut(), "gate", &stills).unwrap();
    sink.finish().unwrap();
    let whole: Vec<u8> = stills.iter().flat_map(|frame| frame.payload.to_vec()).collect();
    assert_eq!(fs::read(target).unwrap(), whole);

    let target = root.path().join("video.mjpg");
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    feed(sink.as_mut(), "gate", &coded(Codec::H264, SIZE, 3)).unwrap();
    assert_eq!(sink.finish().unwrap().frames, 3);
    let bytes = fs::read(target).unwrap();
    assert_eq!(bytes.windows(3).filter(|w| *w == [0xFF, 0xD8, 0xFF]).count(), 3);

    let mut sink = open(root.path().join("no.mjpeg").to_str().unwrap(), &SinkOptions::default()).unwrap();
    let unreadable: Vec<_> = stills.iter().map(|frame| EncodedFrame { codec: Codec::H265, ..frame.clone() }).collect();
    let error = feed(sink.as_mut(), "gate", &unreadable).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("`ffmpeg` feature"), "{cause}");
}

#[test]
fn y4m_has_a_header_and_refuses_a_new_size() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("x.y4m");
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    let odd = Dimensions::new(7, 5);
    let mut frames = coded(Codec::Jpeg, odd, 2);
    feed(sink.as_mut(), "gate", &frames).unwrap();
    frames = coded(Codec::Jpeg, SIZE, 1);
    let message = sink.frame(&stream("gate"), id(2), &frames[0]).unwrap_err().to_string();
    assert!(message.contains("7x5") && message.contains("64x48"), "{message}");
    assert_eq!(sink.finish().unwrap().frames, 2);
    let bytes = fs::read(target).unwrap();
    let header = b"YUV4MPEG2 W7 H5 F10:1 Ip A0:0 C420jpeg XCOLORRANGE=FULL\n";
    assert!(bytes.starts_with(header));
    assert_eq!(bytes.len(), header.len() + 2 * (6 + 35 + 2 * 4 * 3));
}

/// Ten frames a second, captured when they are due.
fn due(mut frame: EncodedFrame, index: u64) -> EncodedFrame {
    frame.capture = CaptureTime::arrival(i64::try_from(index).unwrap() * 100_000_000);
    frame
}

#[test]
fn y4m_repeats_the_picture_where_frames_are_missing() {
    let root = tempfile::tempdir().unwrap();
    // Frames 3 to 7 are missing; 13 to 22 were not sent, for nothing moved; then the camera is away for an hour.
    let places = [0, 1, 2, 8, 9, 10, 11, 12, 23, 36_023];
    let frames = coded(Codec::Jpeg, SIZE, 10).into_iter().zip(places).map(|(frame, place)| due(frame, place));
    let target = root.path().join("x.y4m");
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    for (frame, place) in frames.zip(places) {
        match place {
            8 => sink.gap(&stream("gate"), &Gap::new(Seq(3), Seq(7), GapReason::Overflow)).unwrap(),
            23 => sink.gap(&stream("gate"), &Gap::new(Seq(13), Seq(22), GapReason::Repeated)).unwrap(),
            _ => {}
        }
        sink.frame(&stream("gate"), id(place), &frame).unwrap();
    }
    let report = sink.finish().unwrap();
    assert_eq!((report.frames, report.gaps, report.missing), (10, 1, 5));
    let bytes = fs::read(target).unwrap();
    let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let pictures: Vec<&[u8]> = bytes[header..].chunks(6 + 64 * 48 * 3 / 2).collect();
    // A minute of the hour.
    assert_eq!(pictures.len(), 24 + 600);
    let repeats = |range: std::ops::Range<usize>| pictures[range].windows(2).all(|pair| pair[0] == pair[1]);
    assert!(repeats(2..8) && repeats(12..23) && repeats(23..623));
    assert!(pictures[7] != pictures[8] && pictures[22] != pictures[23] && pictures[622] != pictures[623]);
}

#[test]
fn y4m_keeps_the_time_of_what_cannot_be_decoded() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("x.y4m");
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    for (frame, place) in coded(Codec::Jpeg, SIZE, 9).into_iter().zip(0..) {
        let mut frame = due(frame, place);
        if (3..6).contains(&place) {
            frame.payload = b"no picture"[..].into();
        }
        sink.frame(&stream("gate"), id(place), &frame).unwrap();
    }
    let report = sink.finish().unwrap();
    assert_eq!((report.frames, report.undecodable), (6, 3));
    let bytes = fs::read(target).unwrap();
    let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let pictures: Vec<&[u8]> = bytes[header..].chunks(6 + 64 * 48 * 3 / 2).collect();
    assert_eq!(pictures.len(), 9, "three of them repeat the picture before");
    assert!(pictures[2..6].windows(2).all(|pair| pair[0] == pair[1]) && pictures[5] != pictures[6]);
}

#[test]
fn a_camera_that_comes_back_with_another_size_gets_another_file() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("x.mp4");
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    feed(sink.as_mut(), "gate", &coded(Codec::H264, SIZE, 3)).unwrap();
    for (frame, seq) in coded(Codec::H264, Dimensions::new(96, 64), 4).iter().zip(3..) {
        sink.frame(&stream("gate"), id(seq), frame).unwrap();
    }
    let message = feed(sink.as_mut(), "door", &coded(Codec::H264, SIZE, 1)).unwrap_err().to_string();
    assert!(message.contains("door") && message.contains("--camera"), "{message}");
    let report = sink.finish().unwrap();
    assert_eq!((report.frames, report.files), (7, 2));
    let found = files(root.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), ["x-2.mp4", "x.mp4"]);
    assert_eq!(report.bytes, found.values().map(|file| file.len() as u64).sum::<u64>());
    assert!(found.values().all(|file| file[4..8] == *b"ftyp"));
}

#[test]
fn what_an_older_run_left_is_neither_replaced_nor_in_the_way() {
    let root = tempfile::tempdir().unwrap();
    for name in ["x-2.mp4", "x-3.mp4"] {
        fs::write(root.path().join(name), name).unwrap();
    }
    let mut sink = open(root.path().join("x.mp4").to_str().unwrap(), &SinkOptions::default()).unwrap();
    for (size, first) in [(SIZE, 0), (Dimensions::new(96, 64), 3), (SIZE, 6)] {
        for (frame, seq) in coded(Codec::H264, size, 3).iter().zip(first..) {
            sink.frame(&stream("gate"), id(seq), frame).unwrap();
        }
    }
    let report = sink.finish().unwrap();
    assert_eq!((report.frames, report.files), (9, 3));
    let found = files(root.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), ["x-2.mp4", "x-3.mp4", "x-4.mp4", "x-5.mp4", "x.mp4"]);
    assert!(["x-2.mp4", "x-3.mp4"].iter().all(|name| found[*name] == name.as_bytes()));
    assert!(["x.mp4", "x-4.mp4", "x-5.mp4"].iter().all(|name| found[*name][4..8] == *b"ftyp"));
}

#[test]
fn what_a_container_cannot_hold_is_refused_with_what_can() {
    let root = tempfile::tempdir().unwrap();
    let still = coded(Codec::Jpeg, SIZE, 1);
    let mut sink = open(root.path().join("x.mp4").to_str().unwrap(), &SinkOptions::default()).unwrap();
    let message = feed(sink.as_mut(), "gate", &still).unwrap_err().to_string();
    assert!(message.contains("jpeg") && message.contains(".mjpeg") && message.contains(".mcap"), "{message}");
    assert_eq!(sink.finish().unwrap().frames, 0);
    let mut sink = open(root.path().join("x.mcap").to_str().unwrap(), &SinkOptions::default()).unwrap();
    let message = feed(sink.as_mut(), "gate", &coded(Codec::Jpeg2000, SIZE, 1)).unwrap_err().to_string();
    assert!(message.contains("jpeg2000") && message.contains("a folder"), "{message}");
}

#[test]
fn mcap_holds_every_stream_in_a_channel_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("x.mcap");
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    let (video, stills) = (coded(Codec::H264, SIZE, 4), coded(Codec::Jpeg, SIZE, 3));
    let frames = |frames: Vec<EncodedFrame>| frames.into_iter().zip(1..).map(|(frame, at)| due(frame, at)).collect();
    let (video, stills): (Vec<_>, Vec<_>) = (frames(video), frames(stills));
    // Not before a keyframe.
    sink.frame(&stream("gate"), id(0), &video[1]).unwrap();
    feed(sink.as_mut(), "gate", &video).unwrap();
    feed(sink.as_mut(), "door", &stills).unwrap();
    sink.gap(&stream("gate"), &Gap::new(Seq(4), Seq(6), GapReason::Overflow)).unwrap();
    sink.frame(&stream("gate"), id(7), &video[1]).unwrap();
    let report = sink.finish().unwrap();
    assert_eq!((report.frames, report.awaiting_keyframe, report.gaps), (7, 2, 1));
    let bytes = fs::read(&target).unwrap();
    assert_eq!(report.bytes, bytes.len() as u64);
    let mut seen: BTreeMap<String, Vec<(u64, usize)>> = BTreeMap::new();
    for message in ::mcap::MessageStream::new(&bytes).unwrap().map(Result::unwrap) {
        let schema = message.channel.schema.as_ref().unwrap();
        let name = format!("{} {}", message.channel.topic, schema.name);
        seen.entry(name).or_default().push((message.log_time, message.data.len()));
    }
    let names: Vec<_> = seen.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["/door/raw_video/image foxglove.CompressedImage", "/gate/raw_video/video foxglove.CompressedVideo"]
    );
    let times: Vec<u64> = seen.values().next_back().unwrap().iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [100_000_000, 200_000_000, 300_000_000, 400_000_000]);
}

#[test]
fn a_full_disk_is_reported_with_path_and_bytes() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!("SKIPPED: no /dev/full on this machine");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let large = coded(Codec::Jpeg, Dimensions::new(640, 480), 8);
    let units = coded(Codec::H264, Dimensions::new(640, 480), 8);
    let files = [("x.h264", &units), ("x.mp4", &units), ("x.mcap", &units), ("x.mjpeg", &large), ("x.y4m", &large)];
    for (name, frames) in files {
        let target = root.path().join(name);
        std::os::unix::fs::symlink(full, &target).unwrap();
        let mut sink = open(target.to_str().unwrap(), &overwrite()).unwrap();
        let error = feed(sink.as_mut(), "gate", frames).and_then(|()| sink.finish().map(drop)).unwrap_err();
        let SinkError::Write { path, bytes, source } = &error else { panic!("{error}") };
        assert_eq!((path, *bytes, source.kind()), (&target, 0, std::io::ErrorKind::StorageFull));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_picture_that_cannot_be_written_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(root.path().to_str().unwrap(), &SinkOptions::default()).unwrap();
    let frames = coded(Codec::Jpeg, SIZE, 2);
    sink.frame(&stream("gate"), id(0), &frames[0]).unwrap();
    // The disk fills up between two pictures: the unfinished file's name leads to a full device.
    let unfinished = root.path().join("gate").join(format!(".{:020}-{:020}.jpg.part", 7, 1));
    std::os::unix::fs::symlink("/dev/full", &unfinished).unwrap();
    let error = sink.frame(&stream("gate"), id(1), &frames[1]).unwrap_err();
    assert!(matches!(error, SinkError::Write { .. }), "{error}");
    assert_eq!(sink.finish().unwrap().frames, 1);
    assert_eq!(files(root.path()).len(), 1);
}

/// A real clip's path, if the shared footage and ffmpeg are here.
fn clip(name: &str) -> Option<PathBuf> {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var("LUMENBUS_DATA").unwrap_or_else(|_| shared.to_owned());
    let path = Path::new(&data).join("video").join(name);
    let ffmpeg = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !path.is_file() || !ffmpeg {
        eprintln!("SKIPPED: sinks with {name} (file: {}, ffmpeg: {ffmpeg})", path.is_file());
        return None;
    }
    Some(path)
}

fn units(path: &Path) -> Vec<EncodedFrame> {
    let bytes = Bytes::from(fs::read(path).unwrap());
    let frame = |unit: Bytes| {
        let is_keyframe = unit.windows(4).any(|w| w[..3] == [0, 0, 1] && w[3] & 0x1F == 5);
        EncodedFrame { is_keyframe, ..EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), unit) }
    };
    split_access_units(NalCodec::H264, &bytes).map(frame).collect()
}

fn ffmpeg(input: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i", input.to_str().unwrap(), "-fps_mode", "passthrough"]).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let mean = squares as f64 / a.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[test]
fn real_video_in_y4m_is_what_ffmpeg_decodes() {
    let Some(path) = clip("street1080.264") else { return };
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("street.y4m");
    let frames = units(&path);
    assert_eq!(frames.len(), 54);
    let mut sink = open(target.to_str().unwrap(), &SinkOptions::default()).unwrap();
    feed(sink.as_mut(), "street", &frames).unwrap();
    let report = sink.finish().unwrap();
    assert_eq!((report.frames, report.undecodable, report.awaiting_keyframe), (54, 0, 0));
    let ours = ffmpeg(&target, &["-f", "rawvideo", "-pix_fmt", "yuvj420p", "-"]);
    let expected = ffmpeg(&path, &["-f", "rawvideo", "-pix_fmt", "yuvj420p", "-"]);
    let bytes = 1920 * 1080 * 3 / 2;
    for (at, (a, b)) in ours.chunks(bytes).zip(expected.chunks(bytes)).enumerate() {
        assert!(psnr(a, b) > 50.0, "picture {at}: {} dB", psnr(a, b));
    }
    assert_eq!(ours.len(), expected.len());
}

#[test]
fn real_video_in_a_folder_shows_each_frame_under_its_own_name() {
    let Some(path) = clip("flower720.264") else { return };
    let root = tempfile::tempdir().unwrap();
    let frames: Vec<_> = units(&path).into_iter().take(24).collect();
    let mut sink = open(root.path().to_str().unwrap(), &SinkOptions::default()).unwrap();
    feed(sink.as_mut(), "flower", &frames).unwrap();
    assert_eq!(sink.finish().unwrap().frames, 24);
    let mut decoder = decoder(Codec::H264, &lumenbus_codec::DecoderConfig::default()).unwrap();
    let mut pictures = Vec::new();
    for (frame, seq) in frames.iter().zip(0..) {
        decoder.decode(Ticket(seq), frame, &mut pictures).unwrap();
    }
    decoder.flush(&mut pictures).unwrap();
    for picture in pictures {
        let name = format!("flower/{:020}-{:020}.jpg", 7, picture.ticket.0);
        let rgb = convert(&picture.frame, PixelFormat::Rgb8, picture.color).unwrap();
        let shown = ffmpeg(&root.path().join(&name), &["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
        let db = psnr(rgb.pixels(), &shown);
        assert!(db > 30.0, "{name}: {db} dB");
    }
}
