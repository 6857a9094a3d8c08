//! Truncated, flipped and shuffled H.264, pictures and MP4, hundreds of each, always the same ones: no panic, no memory
//! beyond bounds, no picture under another's name, and decoding goes on at the next keyframe.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lumenbus::codec::{DecoderConfig, EncoderConfig, Ticket, convert, decoder, encoder};
use lumenbus::frame::{
    CaptureTime, Codec, Dimensions, EncodedFrame, Epoch, FrameId, PixelFormat, RawFrame, Seq, StreamId,
};
use lumenbus::pipeline::decode::{DecodeCounts, DecodedFrame, Decoding};
use lumenbus::pipeline::pool::{DecoderPool, Outcome, PoolConfig, PoolStream};
use lumenbus::pipeline::subscribe::encoded;
use lumenbus::source::{
    Mp4Source, PatternConfig, PatternSource, Source as _, SourceItem, SourceOptions, open, read_marker,
};
use lumenbus_bus::publisher::StreamOptions;
use lumenbus_bus::subscriber::Event;
use lumenbus_tests::backend::{Kind, Site};
use lumenbus_tests::cli::footage;
use lumenbus_tests::python::in_repository;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Numbers that look random and are always the same.
struct Seeded(u64);

impl Seeded {
    fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }
}

/// Cut short, bits flipped, a part missing, twice, exchanged with another, or of one value.
fn damaged(bytes: &[u8], random: &mut Seeded) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (from, length) = (random.below(bytes.len()), 1 + random.below(200));
    let to = (from + length).min(bytes.len());
    match random.below(6) {
        0 => bytes.truncate(from),
        1 => (0..=length / 8).for_each(|_| {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }),
        2 => drop(bytes.drain(from..to)),
        3 => bytes.extend_from_within(from..to),
        4 => {
            let half = (to - from) / 2;
            let (first, second) = bytes[from..to].split_at_mut(half);
            first.swap_with_slice(&mut second[..half]);
        }
        _ => bytes[from..to].fill([0, 0xFF][random.below(2)]),
    }
    bytes
}

fn id(seq: usize) -> FrameId {
    FrameId { epoch: Epoch(1), seq: Seq(seq as u64) }
}

/// A clip's first frames; each has a capture time of its own.
fn frames(clip: &Path, count: usize) -> Vec<EncodedFrame> {
    let mut source = open(clip.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut frames = Vec::new();
    while frames.len() < count {
        let Some(SourceItem::Encoded { mut frame, .. }) = source.next_frame().unwrap() else { break };
        frame.capture = CaptureTime::sensor(1_000 + i64::try_from(frames.len()).unwrap());
        frames.push(frame);
    }
    assert_eq!(frames.len(), count, "{}", clip.display());
    frames
}

/// The pictures by their frames; each must have its own frame's times.
fn decoded(frames: &[EncodedFrame]) -> (Vec<Option<Bytes>>, DecodeCounts) {
    let (mut decoding, mut out) = (Decoding::new(DecoderConfig::default()), Vec::new());
    let mut shown = vec![None; frames.len()];
    let mut note = |out: &mut Vec<DecodedFrame>| {
        for decoded in out.drain(..) {
            let seq = usize::try_from(decoded.id.seq.0).unwrap();
            assert_eq!((decoded.picture.capture, decoded.picture.pts), (frames[seq].capture, frames[seq].pts));
            assert!(shown[seq].is_none(), "frame {seq} gave two pictures");
            shown[seq] = Some(decoded.picture.pixels().clone());
        }
    };
    for (seq, frame) in frames.iter().enumerate() {
        // What it says is the matter of other tests.
        let _ = decoding.push(id(seq), frame, &mut out);
        note(&mut out);
    }
    decoding.finish(&mut out);
    note(&mut out);
    let counts = decoding.counts();
    (shown, counts)
}

/// Damages one frame, or exchanges two neighbours; the frames that are no longer what they were.
fn damage_frames(frames: &mut [EncodedFrame], random: &mut Seeded) -> std::ops::RangeInclusive<usize> {
    let at = 1 + random.below(frames.len() * 2 / 3);
    if random.below(6) == 0 {
        let (first, second) = (frames[at].payload.clone(), frames[at + 1].payload.clone());
        (frames[at].payload, frames[at + 1].payload) = (second, first);
        return at..=at + 1;
    }
    frames[at].payload = damaged(&frames[at].payload, random).into();
    at..=at
}

fn check_round(whole: &[EncodedFrame], clean: &[Option<Bytes>], seed: usize) {
    let mut frames = whole.to_vec();
    let hurt = damage_frames(&mut frames, &mut Seeded::new(seed));
    let (shown, counts) = decoded(&frames);
    let next = (*hurt.end() + 1..frames.len()).find(|&at| frames[at].is_keyframe).unwrap();
    for (seq, (shown, clean)) in shown.iter().zip(clean).enumerate() {
        let is_whole = shown.is_none() || shown == clean;
        // What was on its way when the decoder gave up is lost; what is shown is right.
        assert!(seq >= *hurt.start() || is_whole, "seed {seed}, damage in {hurt:?}: picture {seq} is another");
        assert!(seq < next || shown == clean, "seed {seed}, damage in {hurt:?}: picture {seq} is not there again");
    }
    let told = counts.decoded + counts.failed + counts.awaiting_keyframe;
    assert!(told <= frames.len() as u64, "seed {seed}: {counts:?}");
    assert_eq!(counts.decoded, shown.iter().flatten().count() as u64, "seed {seed}");
}

fn clips() -> Vec<(PathBuf, usize, usize)> {
    let fixture = |name: &str| in_repository("fixtures/clips").join(name);
    // A window of three keyframes and more, and rounds.
    let mut clips =
        vec![(fixture("corridor.mp4"), 48, 50), (fixture("plaza.mp4"), 48, 40), (fixture("flower.mp4"), 200, 3)];
    clips.extend(footage("indoor_onebyone_768x432.mp4").map(|clip| (clip, 25, 110)));
    clips
}

#[test]
fn damaged_video_goes_on_at_the_next_keyframe() {
    for (clip, window, rounds) in clips() {
        let whole = frames(&clip, window);
        let (clean, counts) = decoded(&whole);
        assert_eq!(counts.decoded, window as u64, "{}", clip.display());
        std::thread::scope(|scope| {
            for half in 0..2 {
                let (whole, clean) = (&whole, &clean);
                scope.spawn(move || (half..rounds).step_by(2).for_each(|seed| check_round(whole, clean, seed)));
            }
        });
    }
    let peak = peak_megabytes();
    assert!(peak < 1_500, "{peak} MB at most were in use");
}

/// Most memory that this process ever had.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// A quarter of a real picture's width and height, from its middle.
fn small_picture() -> RawFrame {
    let clip = in_repository("fixtures/clips/plaza.mp4");
    let (mut out, frame) = (Vec::new(), frames(&clip, 1).remove(0));
    let config = DecoderConfig { pixel_format: Some(PixelFormat::Rgb8) };
    let mut decoder = decoder(Codec::H264, &config).unwrap();
    decoder.decode(Ticket(0), &frame, &mut out).unwrap();
    decoder.flush(&mut out).unwrap();
    let whole = &out[0].frame;
    let (width, height) = (whole.dimensions().width as usize, whole.dimensions().height as usize);
    let rows = whole.pixels().chunks_exact(width * 3).skip(height / 2).take(height / 4);
    let pixels: Vec<u8> = rows.flat_map(|row| &row[width * 3 / 2..][..width / 4 * 3]).copied().collect();
    let size = Dimensions::new(u32::try_from(width / 4).unwrap(), u32::try_from(height / 4).unwrap());
    RawFrame::new(PixelFormat::Rgb8, size, pixels.into(), CaptureTime::arrival(0)).unwrap()
}

#[test]
fn damaged_pictures_take_no_more_memory_than_whole_ones() {
    let picture = small_picture();
    let color = lumenbus::codec::Color::assumed(picture.dimensions());
    let gray = convert(&picture, PixelFormat::Gray8, color).unwrap();
    for (codec, quality) in
        [(Codec::Jpeg, 85), (Codec::Png, 85), (Codec::Webp, 85), (Codec::Webp, 100), (Codec::Jpeg2000, 85)]
    {
        for picture in [&picture, &gray] {
            let mut config = EncoderConfig::new(codec);
            config.quality = quality;
            let mut files = Vec::new();
            encoder(&config).unwrap().encode(picture, &mut files).unwrap();
            let most = most_bytes(&files[0]);
            for seed in 0..150 {
                let mut file = files[0].clone();
                file.payload = damaged(&file.payload, &mut Seeded::new(seed)).into();
                let bytes = most_bytes(&file);
                // A header may be damaged so that it tells of a picture within the limits that is larger.
                let size = lumenbus::codec::still_dimensions(codec, &file.payload).ok();
                let pixels = size.map_or(0, |size| u64::from(size.width) * u64::from(size.height));
                // Lossless WebP may have many tables of codes, each with bytes of its own in the file.
                let allowed = 3 * most + 64 * pixels + (16 << 20);
                assert!(bytes <= allowed, "{codec} {seed}: {bytes} bytes, {allowed} were allowed for {size:?}");
            }
        }
    }
}

/// What decoding holds at most.
fn most_bytes(frame: &EncodedFrame) -> u64 {
    let decode = || {
        let mut decoder = decoder(frame.codec, &DecoderConfig::default()).unwrap();
        let mut out = Vec::new();
        let _ = decoder.decode(Ticket(3), frame, &mut out);
        assert!(out.iter().all(|picture| picture.ticket == Ticket(3)));
    };
    allocation_counter::measure(decode).bytes_max
}

/// Boxes of a file at the top: where each begins and ends.
fn boxes(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut boxes) = (0, Vec::new());
    while let Some(length) = file.get(at..at + 4) {
        let length = (u32::from_be_bytes(length.try_into().unwrap()) as usize).clamp(8, file.len() - at);
        boxes.push(at..at + length);
        at += length;
    }
    boxes
}

/// Damage in the header, where it counts most, anywhere, or whole boxes in another order.
fn damaged_mp4(file: &[u8], random: &mut Seeded) -> Vec<u8> {
    let boxes = boxes(file);
    match random.below(4) {
        0 | 1 => {
            let header = boxes.iter().find(|range| &file[range.start + 4..range.start + 8] == b"moov").unwrap();
            let made = damaged(&file[header.clone()], random);
            [&file[..header.start], &made, &file[header.end..]].concat()
        }
        2 => damaged(file, random),
        _ => {
            let mut order: Vec<_> = boxes.clone();
            (0..order.len()).for_each(|at| order.swap(at, random.below(boxes.len())));
            order.into_iter().flat_map(|range| &file[range]).copied().collect()
        }
    }
}

#[test]
fn damaged_mp4_files_end_in_bounded_memory() {
    let data = in_repository("crates/source/tests/data");
    let mut files: Vec<_> = ["h265_open_gop.mp4", "fragmented_open_gop.mp4"].map(|name| data.join(name)).to_vec();
    files.push(in_repository("fixtures/clips/corridor.mp4"));
    for path in files {
        let file = std::fs::read(&path).unwrap();
        for seed in 0..150 {
            let bytes = damaged_mp4(&file, &mut Seeded::new(seed));
            let length = bytes.len() as u64;
            let info = allocation_counter::measure(|| drain(bytes));
            // What a file costs is bounded by what it holds, whatever it claims.
            let allowed = 40 * length + (16 << 20);
            assert!(info.bytes_max <= allowed, "{} {seed}: {} bytes", path.display(), info.bytes_max);
        }
    }
}

/// Reads it to its end, which comes.
fn drain(file: Vec<u8>) {
    let Ok(mut source) = Mp4Source::new("clip.mp4".into(), Cursor::new(file), &SourceOptions::default()) else {
        return;
    };
    for _ in 0..10_000 {
        if !matches!(source.next_frame(), Ok(Some(_))) {
            return;
        }
    }
    panic!("more items than any of the clips has");
}

const GOP: usize = 10;
const PICTURES: usize = 50;
/// What the second camera's counters begin with.
const SECOND: u32 = 500;

/// Pictures that carry their number, from this one on, as H.264 with a keyframe every ten.
fn numbered(from: u32) -> Vec<EncodedFrame> {
    let config = PatternConfig::parse("320x180@10").unwrap();
    let mut source = PatternSource::new(config, &SourceOptions::default()).unwrap();
    let mut config = EncoderConfig::new(Codec::H264);
    config.bits_per_second = Some(1_000_000);
    let (mut encoder, mut frames) = (encoder(&config).unwrap(), Vec::new());
    while frames.len() < PICTURES {
        let Some(SourceItem::Raw { frame, .. }) = source.next_frame().unwrap() else { panic!("the pattern ended") };
        if read_marker(&frame).unwrap().counter < from {
            continue;
        }
        if frames.len().is_multiple_of(GOP) {
            encoder.force_keyframe();
        }
        encoder.encode(&frame, &mut frames).unwrap();
    }
    frames
}

/// Every picture's number by its seq; `None` where damage made it unreadable.
fn numbers(stream: &PoolStream) -> (BTreeMap<u64, Option<u32>>, usize) {
    let (mut numbers, mut failed) = (BTreeMap::new(), 0);
    while let Some(outcome) = stream.next() {
        match outcome {
            Outcome::Picture(decoded) => {
                let counter = read_marker(&decoded.picture).map(|marker| marker.counter);
                assert!(numbers.insert(decoded.id.seq.0, counter).is_none());
            }
            Outcome::Failed(_) => failed += 1,
        }
    }
    (numbers, failed)
}

#[test]
fn a_damaged_camera_never_shows_in_another_nor_the_other_in_it() {
    let site = Site::together(Kind::Embedded).unwrap();
    site.create_topics(&["raw_video"]);
    let publisher = site.publisher();
    let (mut hurt, whole) = (numbered(0), numbered(SECOND));
    let victims = [3, 14, 25, 30];
    for at in victims {
        let mut random = Seeded::new(at);
        let made = damaged(&hurt[at].payload[4..], &mut random);
        hurt[at].payload = [&hurt[at].payload[..4], &made].concat().into();
    }
    let handles = ["hurt", "whole"].map(|camera| {
        publisher.main_stream(camera.parse().unwrap(), "raw_video", StreamOptions::new(Codec::H264)).unwrap()
    });
    for (hurt, whole) in hurt.iter().zip(&whole) {
        handles[0].submit(hurt.clone()).unwrap();
        handles[1].submit(whole.clone()).unwrap();
    }
    let patience = Duration::from_secs(120);
    handles.into_iter().for_each(|handle| assert!(handle.finish(patience).unwrap().is_end_written));
    let (pool, mut ended) = (DecoderPool::new(&PoolConfig::default()), 0);
    let open = |camera: &str| (camera.to_owned(), pool.stream(DecoderConfig::default()));
    let streams = BTreeMap::from(["hurt", "whole"].map(open));
    let of = |stream: &StreamId| &streams[stream.camera.as_str()];
    let (mut subscriber, began) = (site.subscriber(&["raw_video"]), Instant::now());
    while ended < 2 {
        assert!(began.elapsed() < patience, "{ended} streams have ended");
        match subscriber.recv(Duration::from_millis(100)).unwrap() {
            Some(Event::Frame(frame)) => of(&frame.stream).submit(frame.id(), encoded(&frame)).unwrap(),
            Some(Event::Gap { stream, gap }) => of(&stream).gap(gap),
            Some(Event::End { stream, .. }) => {
                of(&stream).finish();
                ended += 1;
            }
            _ => {}
        }
    }
    let (shown, failed) = numbers(&streams["whole"]);
    let expected: BTreeMap<_, _> = (0..PICTURES as u64).zip((SECOND..).map(Some)).collect();
    assert_eq!((shown, failed), (expected, 0));
    let (shown, failed) = numbers(&streams["hurt"]);
    assert!(failed <= victims.len());
    for (seq, counter) in &shown {
        assert!(counter.is_none_or(|counter| u64::from(counter) <= *seq), "{seq} shows {counter:?}");
    }
    // Up to the first damage, and from each keyframe to the next damage.
    for seq in [0..3, 10..14, 20..25, 40..50].into_iter().flatten() {
        assert_eq!(shown.get(&seq), Some(&u32::try_from(seq).ok()), "{shown:?}");
    }
}
