//! Every codec that this build encodes, through the program: a test pattern goes in, its pictures come out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_codec::{Color, DecoderConfig, Ticket, convert, decoder};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, ManualClock, PixelFormat, RawFrame};
use lumenbus_source::{PatternConfig, PatternSource, Source as _, SourceItem, SourceOptions, open, read_marker};
use lumenbus_tests::cli::BrokerProcess;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const FRAMES: usize = 4;

/// A way to publish, and what must come back.
struct Way {
    codec: &'static str,
    quality: u8,
    pattern: &'static str,
    /// Of the files that a folder gets.
    files: (&'static str, Codec),
    /// In decibels; `None`: every sample.
    least_psnr: Option<f64>,
}

const fn way(codec: &'static str, quality: u8, pattern: &'static str, extension: &'static str, of: Codec) -> Way {
    Way { codec, quality, pattern, files: (extension, of), least_psnr: None }
}

impl Way {
    const fn losing(self, least_psnr: f64) -> Self {
        Self { least_psnr: Some(least_psnr), ..self }
    }
}

/// Odd sizes where the codec takes them. Video and pixels are made into JPEG in a folder.
const WAYS: [Way; 14] = [
    way("jpeg", 90, "201x121@10,frames=4,format=rgb8", "jpg", Codec::Jpeg).losing(24.0),
    way("jpeg", 90, "201x121@10,frames=4,format=gray8", "jpg", Codec::Jpeg).losing(30.0),
    way("png", 85, "201x121@10,frames=4,format=rgb8", "png", Codec::Png),
    way("png", 85, "201x121@10,frames=4,format=gray8", "png", Codec::Png),
    way("png", 85, "201x121@10,frames=4,format=gray16le", "png", Codec::Png),
    way("webp", 85, "201x121@10,frames=4,format=rgb8", "webp", Codec::Webp).losing(24.0),
    way("webp", 100, "201x121@10,frames=4,format=rgb8", "webp", Codec::Webp),
    way("webp", 100, "201x121@10,frames=4,format=gray8", "webp", Codec::Webp),
    way("jpeg2000", 85, "201x121@10,frames=4,format=i420", "jp2", Codec::Jpeg2000).losing(30.0),
    way("jpeg2000", 100, "201x121@10,frames=4,format=rgb8", "jp2", Codec::Jpeg2000),
    way("jpeg2000", 100, "201x121@10,frames=4,format=gray8", "jp2", Codec::Jpeg2000),
    way("jpeg2000", 100, "201x121@10,frames=4,format=gray16le", "jp2", Codec::Jpeg2000),
    way("h264", 85, "200x120@10,frames=4,format=i420", "jpg", Codec::Jpeg).losing(24.0),
    way("raw", 85, "201x121@10,frames=4,format=gray8", "jpg", Codec::Jpeg).losing(30.0),
];

/// The picture of this number and time as the pattern drew it.
fn redrawn(pattern: &str, counter: u32, unix_nanos: i64) -> RawFrame {
    let options = SourceOptions { clock: Arc::new(ManualClock::at(unix_nanos)), ..SourceOptions::default() };
    let mut source = PatternSource::new(PatternConfig::parse(pattern).unwrap(), &options).unwrap();
    loop {
        let Some(SourceItem::Raw { frame, .. }) = source.next_frame().unwrap() else { panic!("no picture {counter}") };
        if read_marker(&frame).unwrap().counter == counter {
            return frame;
        }
    }
}

fn psnr(a: &RawFrame, b: &RawFrame) -> f64 {
    let squares = a.pixels().iter().zip(b.pixels()).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    10.0 * (255.0 * 255.0 * a.pixels().len() as f64 / squares.sum::<f64>()).log10()
}

fn decoded(codec: Codec, file: &Path) -> RawFrame {
    let frame = EncodedFrame::new(codec, CaptureTime::arrival(0), std::fs::read(file).unwrap().into());
    let mut pictures = Vec::new();
    decoder(codec, &DecoderConfig::default()).unwrap().decode(Ticket(0), &frame, &mut pictures).unwrap();
    pictures.remove(0).frame
}

fn check_folder(way: &Way, folder: &Path) {
    let name = format!("{} {} {}", way.codec, way.quality, way.pattern);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), FRAMES, "{name}: {files:?}");
    for (file, counter) in files.iter().zip(0..) {
        assert_eq!(file.extension().unwrap(), way.files.0, "{name}");
        let shown = decoded(way.files.1, file);
        let marker = read_marker(&shown).unwrap_or_else(|| panic!("{name}: no marker in {}", file.display()));
        assert_eq!(marker.counter, counter, "{name}");
        let drawn = redrawn(way.pattern, marker.counter, marker.unix_nanos);
        let drawn = convert(&drawn, shown.format(), Color::assumed(drawn.dimensions())).unwrap();
        assert_eq!(drawn.dimensions(), shown.dimensions(), "{name}");
        match way.least_psnr {
            None => assert!(drawn.pixels() == shown.pixels(), "{name}: samples differ"),
            Some(least) => assert!(psnr(&drawn, &shown) >= least, "{name}: {} dB", psnr(&drawn, &shown)),
        }
    }
}

/// The pictures in a Y4M file, by their numbers.
fn numbers(file: &Path) -> Vec<u32> {
    let mut source = open(file.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut numbers = Vec::new();
    while let Some(item) = source.next_frame().unwrap() {
        let SourceItem::Raw { frame, .. } = item else { panic!("{} holds no picture here", file.display()) };
        numbers.push(read_marker(&frame).unwrap().counter);
    }
    numbers
}

#[test]
fn every_codec_brings_the_pattern_through() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    for (way, n) in WAYS.iter().zip(0..) {
        let camera = format!("way-{n}");
        let (codec, quality, pattern) = (way.codec, way.quality, way.pattern);
        let publish = format!("publish test:{pattern} --camera {camera} --codec {codec} --quality {quality} --unpaced");
        broker.run(&publish).code(0);
        let read = format!("subscribe --camera {camera} --from start --until-end --out {}", folder.path().display());
        broker.run(&format!("{read}/{n}/")).code(0);
        check_folder(way, &folder.path().join(format!("{n}/{camera}")));
        let video = format!("{read}/{n}.y4m");
        if way.pattern.ends_with(PixelFormat::Gray16Le.as_str()) {
            broker.run(&video).code(1).says("no conversion from gray16le to i420");
        } else {
            broker.run(&video).code(0);
            assert_eq!(numbers(&folder.path().join(format!("{n}.y4m"))), [0, 1, 2, 3], "{codec} {pattern}");
        }
    }
}

/// Codec of the batches in a topic's log: bits 0 to 2 of the attributes in a batch's header.
fn compressions(broker: &BrokerProcess, topic: &str) -> Vec<u8> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(broker.data()).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.file_name().unwrap().to_string_lossy().starts_with(&format!("{topic}-")) {
            continue;
        }
        let log = std::fs::read(folder.join("00000000000000000000.log")).unwrap_or_default();
        let mut at = 0;
        while let Some(header) = log.get(at..at + 23) {
            let length = u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize;
            if length == 0 {
                break;
            }
            found.push(header[22] & 7);
            at += 12 + length;
        }
    }
    found
}

#[test]
fn pixels_travel_compressed_and_coded_frames_as_they_are() {
    let broker = BrokerProcess::start();
    for codec in ["raw", "jpeg", "h264"] {
        broker.run(&format!("publish test:320x240@10,frames=4 --camera {codec} --codec {codec} --unpaced")).code(0);
    }
    let of = |topic: &str| {
        let mut codecs = compressions(&broker, topic);
        codecs.sort_unstable();
        codecs.dedup();
        codecs
    };
    // A batch that does not become smaller, such as an end, is left as it is.
    assert!(of("raw_pixels").contains(&3), "lz4 is Kafka's third: {:?}", of("raw_pixels"));
    assert_eq!((of("raw_images"), of("raw_video")), (vec![0], vec![0]));
}

#[test]
fn a_folder_of_pictures_is_transcoded_to_each_kind() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    broker.run("publish test:160x96@10,frames=4,format=rgb8 --camera first --codec png --unpaced").code(0);
    let read = |camera: &str| {
        let out = folder.path().join(camera);
        broker.run(&format!("subscribe --camera {camera} --from start --until-end --out {}/", out.display())).code(0);
        pictures(&out.join(camera))
    };
    let originals = read("first");
    // Each kind is made from the one before, so each is read as a source too.
    let mut from = "first";
    for (codec, extension, of) in
        [("jpeg2000", "jp2", Codec::Jpeg2000), ("webp", "webp", Codec::Webp), ("png", "png", Codec::Png)]
    {
        let source = folder.path().join(from).join(from);
        let how = format!("--camera {codec} --codec {codec} --quality 100 --fps 10 --unpaced");
        broker.run(&format!("publish {} {how}", source.display())).code(0);
        for (original, copy) in originals.iter().zip(read(codec)) {
            assert_eq!(copy.extension().unwrap(), extension);
            assert!(decoded(Codec::Png, original).pixels() == decoded(of, &copy).pixels(), "{}", copy.display());
        }
        from = codec;
    }
}

fn pictures(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), FRAMES, "{}", folder.display());
    files
}
