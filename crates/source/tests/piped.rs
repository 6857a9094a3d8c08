//! Streams through a pipe: pixels and coded ones, told or recognised, whole and broken.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_frame::{Codec, Dimensions, FrameRate, PixelFormat};
use lumenbus_source::{
    CameraFault, Interrupt, PipedSource, Source, SourceError, SourceItem, SourceOptions, StreamFormat, open,
};
use std::io::{Cursor, Read, Write as _, pipe};
use std::path::PathBuf;
use std::sync::Arc;

fn data(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

fn piped(
    reader: impl Read + Send + 'static,
    format: Option<StreamFormat>,
    options: &SourceOptions,
) -> Result<PipedSource, SourceError> {
    PipedSource::open(Arc::from("pipe"), reader, format, options)
}

/// Everything up to the end but [`SourceItem::Nothing`].
fn items(source: &mut dyn Source) -> Vec<SourceItem> {
    let mut all = Vec::new();
    while let Some(item) = source.next_frame().unwrap() {
        if !matches!(item, SourceItem::Nothing) {
            all.push(item);
        }
    }
    assert!(source.next_frame().unwrap().is_none(), "an end is an end");
    all
}

fn payloads(items: Vec<SourceItem>) -> Vec<Vec<u8>> {
    let payload = |item| match item {
        SourceItem::Encoded { frame, .. } => frame.payload.to_vec(),
        SourceItem::Raw { frame, .. } => frame.pixels().to_vec(),
        other => panic!("{other:?}"),
    };
    items.into_iter().map(payload).collect()
}

fn format(name: &str, width: u32, height: u32) -> Option<StreamFormat> {
    Some(StreamFormat::named(name, Some(Dimensions::new(width, height))).unwrap())
}

/// Gives at most so many bytes at once.
struct Slow(Cursor<Vec<u8>>, usize);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(buffer.len());
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn coded_streams_are_recognised_and_read_as_from_a_file() {
    for (file, codec, name) in [("two.mjpeg", Codec::Jpeg, "mjpeg"), ("h265_open_gop.h265", Codec::H265, "h265")] {
        let mut from_file = open(data(file).to_str().unwrap(), &SourceOptions::default()).unwrap();
        let expected = payloads(items(from_file.as_mut()));
        for told in [None, Some(StreamFormat::named(name, None).unwrap())] {
            let bytes = std::fs::read(data(file)).unwrap();
            let mut source = piped(Slow(Cursor::new(bytes), 1000), told, &SourceOptions::default()).unwrap();
            assert_eq!((source.codec(), source.is_live(), source.name()), (codec, true, "pipe"));
            assert!(source.parameters().dimensions.width > 0);
            assert!(payloads(items(&mut source)) == expected, "{file}");
        }
    }
}

#[test]
fn y4m_is_recognised() {
    let stream = [b"YUV4MPEG2 W2 H2 F5:1\nFRAME\n".as_slice(), &[1, 2, 3, 4, 5, 6], b"FRAME\n", &[7; 6]].concat();
    let mut source = piped(Slow(Cursor::new(stream), 3), None, &SourceOptions::default()).unwrap();
    assert_eq!(source.nominal_rate(), Some(FrameRate::per_second(5)));
    assert_eq!(payloads(items(&mut source)), [vec![1, 2, 3, 4, 5, 6], vec![7; 6]]);
}

#[test]
fn pixels_are_cut_into_frames_and_the_last_may_be_cut_short() {
    let bytes: Vec<u8> = (0..2 * 12 + 5).collect();
    let options = SourceOptions { frame_rate: Some(FrameRate::per_second(10)), ..SourceOptions::default() };
    let mut source = piped(Slow(Cursor::new(bytes), 7), format("rgb24", 2, 2), &options).unwrap();
    let parameters = Arc::clone(source.parameters());
    assert_eq!((parameters.codec, parameters.pixel_format), (Codec::Raw, Some(PixelFormat::Rgb8)));
    let items = items(&mut source);
    let [SourceItem::Raw { frame, .. }, SourceItem::Raw { frame: second, media_time, .. }, damaged] = items.as_slice()
    else {
        panic!("{items:?}");
    };
    assert_eq!(*frame.pixels(), *(0..12).collect::<Vec<u8>>());
    assert_eq!((second.pts, media_time.as_millis()), (Some(9_000), 100));
    let SourceItem::Damaged { error, frames: Some(1) } = damaged else { panic!("{damaged:?}") };
    assert!(matches!(error, SourceError::Truncated { offset: 24, needed: 12, length: 29, .. }), "{error}");
}

#[test]
fn frames_come_while_the_pipe_is_open_and_nothing_in_between() {
    let (reader, mut writer) = pipe().unwrap();
    let mut source = piped(reader, format("gray8", 4, 1), &SourceOptions::default()).unwrap();
    let mut next = || loop {
        match source.next_frame().unwrap() {
            Some(SourceItem::Nothing) => {}
            Some(SourceItem::Raw { frame, .. }) => return Some(frame.pixels().to_vec()),
            None => return None,
            other => panic!("{other:?}"),
        }
    };
    for step in 0..3 {
        writer.write_all(&[step; 4]).unwrap();
        assert_eq!(next().unwrap(), [step; 4]);
    }
    drop(writer);
    assert_eq!(next(), None);
}

#[test]
fn a_pipe_that_gives_nothing_hangs_nobody() {
    let (reader, writer) = pipe().unwrap();
    let mut source = piped(reader, format("gray8", 4, 1), &SourceOptions::default()).unwrap();
    assert!(matches!(source.next_frame(), Ok(Some(SourceItem::Nothing))));
    drop(writer);
    let (reader, writer) = pipe().unwrap();
    let options = SourceOptions { interrupt: Interrupt::new(|| true), ..SourceOptions::default() };
    let error = piped(reader, None, &options).err().unwrap();
    assert!(matches!(error, SourceError::Camera { fault: CameraFault::Interrupted, .. }), "{error}");
    drop(writer);
}

#[test]
fn what_cannot_be_read_is_told_with_what_to_do() {
    let told = |bytes: &[u8]| {
        let error = piped(Cursor::new(bytes.to_vec()), None, &SourceOptions::default()).err().unwrap();
        error.to_string()
    };
    assert!(told(b"").contains("pipe is empty"));
    assert!(told(b"\x12\x34 is nothing").contains("--format"));
    assert!(told(b"\0\0\0\x18ftypisom and more").contains("mp4 and avi from a pipe"));
    assert!(told(b"\x1a\x45\xdf\xa3 and more").contains("Matroska"));
    assert!(told(b"\x89PNG\r\n\x1a\n and more").contains("single pictures"));
}
