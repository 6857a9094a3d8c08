//! Damaged, cut, foreign and hostile input: explained, counted, survived.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod support;

use lumenbus_frame::{Codec, Dimensions, PixelFormat};
use lumenbus_source::{
    AviSource, ElementarySource, MjpegSource, Mp4Source, Source, SourceError, SourceItem, Y4mSource, open,
};
use proptest::prelude::*;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use support::{Given, data, drain, options};

/// More items than any of the small clips has.
const MANY: usize = 2_000;

fn read(name: &str) -> Vec<u8> {
    fs::read(data(name)).unwrap()
}

fn mp4(bytes: Vec<u8>) -> Result<Given, SourceError> {
    drain(&mut Mp4Source::new("clip.mp4".into(), Cursor::new(bytes), &options())?, MANY)
}

fn avi(bytes: Vec<u8>) -> Result<Given, SourceError> {
    drain(&mut AviSource::new("clip.avi".into(), Cursor::new(bytes), &options())?, MANY)
}

fn mjpeg(bytes: &[u8]) -> Result<Given, SourceError> {
    drain(&mut MjpegSource::new("clip.mjpeg".into(), bytes, &options())?, MANY)
}

fn position(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}

#[test]
fn an_mp4_cut_in_its_samples_counts_what_is_missing() {
    let mut damaged = read("h265_open_gop.mp4");
    let sizes = position(&damaged, b"stsz") + 16;
    // The last ten samples claim more than the file has.
    for sample in 40..50 {
        damaged[sizes + 4 * sample..][..4].copy_from_slice(&u32::MAX.to_be_bytes());
    }
    let given = mp4(damaged).unwrap();
    assert_eq!((given.frames.len(), given.damage.len(), given.lost()), (40, 1, 10));
    assert!(given.damage[0].0.to_string().contains("clip.mp4 is cut short"), "{}", given.damage[0].0);
}

#[test]
fn a_cut_fragmented_mp4_gives_all_that_is_there() {
    let whole = read("fragmented_open_gop.mp4");
    let given = mp4(whole[..whole.len() * 2 / 3].to_vec()).unwrap();
    assert!(given.frames.len() > 20 && given.frames.len() < 50);
    assert_eq!(given.damage.len(), 1);
}

#[test]
fn an_mp4_without_header_says_so() {
    let whole = read("h265_open_gop.mp4");
    let header_cut = whole[..whole.len() - 40].to_vec();
    let message = mp4(header_cut).err().unwrap().to_string();
    assert!(message.contains("cut short") && message.contains("moov"), "{message}");
    let unclosed = whole[..position(&whole, b"moov") - 4].to_vec();
    let message = mp4(unclosed).err().unwrap().to_string();
    assert!(message.contains("not closed"), "{message}");
}

#[test]
fn one_damaged_sample_costs_one_frame() {
    let mut damaged = read("h265_open_gop.mp4");
    let first = position(&damaged, b"mdat") + 4;
    damaged[first..first + 4].copy_from_slice(&u32::MAX.to_be_bytes()); // a NAL unit's length
    let given = mp4(damaged).unwrap();
    assert_eq!((given.frames.len(), given.lost()), (49, 1));
    assert!(matches!(given.damage[0].0, SourceError::Bitstream { unit: 0, .. }));
}

#[test]
fn hostile_lengths_allocate_nothing() {
    let mut samples = read("h265_open_gop.mp4");
    let count = position(&samples, b"stsz") + 12;
    samples[count..count + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(mp4(samples), Err(SourceError::Malformed { .. })));

    let mut header = b"\0\0\0\x08ftyp\0\0\0\x01moov".to_vec();
    header.extend_from_slice(&(1_u64 << 62).to_be_bytes());
    assert!(matches!(mp4(header), Err(SourceError::Truncated { .. })));
}

#[test]
fn avi_pictures_come_out_as_files() {
    let bytes = read("mjpeg.avi");
    let given = avi(bytes.clone()).unwrap();
    assert_eq!((given.frames.len(), given.damage.len()), (10, 0));
    for (n, frame) in (0..).zip(&given.frames) {
        assert_eq!((frame.codec, frame.pts, frame.is_keyframe), (Codec::Jpeg, Some(n), true));
        assert_eq!(frame.parameters.as_ref().unwrap().dimensions, Dimensions::new(176, 144));
        assert!(frame.payload.starts_with(&[0xff, 0xd8]) && frame.payload.ends_with(&[0xff, 0xd9]));
        let decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(&frame.payload)).decode();
        assert_eq!(decoder.unwrap().len(), 176 * 144 * 3);
    }
    let cut = avi(bytes[..bytes.len() / 2].to_vec()).unwrap();
    assert!(cut.frames.len() >= 3 && cut.lost() == 1, "{} frames", cut.frames.len());
}

#[test]
fn a_broken_picture_among_concatenated_ones_costs_itself() {
    let whole = read("two.mjpeg");
    assert_eq!(mjpeg(&whole).unwrap().frames.len(), 5);
    let picture = position(&whole[2..], &[0xff, 0xd8, 0xff]) + 2;
    let mut cut = whole.clone();
    cut.drain(picture - 300..picture); // the end of the first picture is gone
    let given = mjpeg(&cut).unwrap();
    assert_eq!((given.frames.len(), given.lost()), (4, 1));
    assert_eq!(given.frames[0].pts, Some(3000), "the lost picture keeps its place in time");
    let with_noise = [b"--boundary\r\n\r\n".as_slice(), &whole, b"\r\n--boundary--"].concat();
    assert_eq!(mjpeg(&with_noise).unwrap().frames.len(), 5);
}

fn y4m(header: &str, frames: usize, bytes: usize) -> Vec<u8> {
    let mut file = format!("{header}\n").into_bytes();
    for value in 0..frames {
        file.extend_from_slice(b"FRAME Ip\n");
        file.extend(std::iter::repeat_n(u8::try_from(value).unwrap(), bytes));
    }
    file
}

fn open_y4m(bytes: &[u8]) -> Result<Y4mSource<&[u8]>, SourceError> {
    Y4mSource::new("clip.y4m".into(), bytes, &options())
}

#[test]
fn y4m_gives_pixels_and_refuses_other_layouts_by_name() {
    let file = y4m("YUV4MPEG2 W5 H3 F30000:1001 Ip A1:1 C420jpeg XTRA", 3, 15 + 2 * 6);
    let mut source = open_y4m(&file).unwrap();
    assert_eq!(source.parameters().pixel_format, Some(PixelFormat::I420));
    for value in 0..3_u8 {
        let Some(SourceItem::Raw { frame, .. }) = source.next_frame().unwrap() else { panic!("three frames") };
        assert_eq!(frame.pixels()[..], vec![value; 27][..]);
        assert_eq!(frame.pts, Some(i64::from(value) * 3003));
    }
    assert!(source.next_frame().unwrap().is_none());
    let mono = y4m("YUV4MPEG2 W4 H4 F25:1 Cmono", 1, 16);
    assert_eq!(open_y4m(&mono).unwrap().parameters().pixel_format, Some(PixelFormat::Gray8));

    let message = open_y4m(b"YUV4MPEG2 W4 H4 C422p10\n").err().unwrap().to_string();
    assert!(message.contains("C422p10") && message.contains("yuv420p"), "{message}");
    for bad in ["YUV4MPEG2 W0 H4", "YUV4MPEG2 W4294967295 H4294967295", "YUV4MPEG2 Wx", "YUV4MPEG3 W4 H4"] {
        assert!(open_y4m(format!("{bad}\n").as_bytes()).is_err(), "{bad}");
    }
    let mut cut = open_y4m(&file[..file.len() - 1]).unwrap();
    assert!(matches!(cut.next_frame(), Ok(Some(SourceItem::Raw { .. }))));
    assert!(matches!(cut.next_frame(), Ok(Some(SourceItem::Raw { .. }))));
    assert!(matches!(cut.next_frame(), Ok(Some(SourceItem::Damaged { frames: Some(1), .. }))));
    assert!(matches!(cut.next_frame(), Ok(None)));
}

#[test]
fn a_broken_picture_in_a_folder_is_explained_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let jpeg = read("still.jpg");
    put("shot1.jpg", &jpeg);
    put("shot2.jpg", &jpeg[..jpeg.len() / 2]);
    put("shot3.png", &read("still.png"));
    put("shot4.jpg", b"");
    put("shot10.webp", &read("still.webp"));
    put("shot11.jp2", &read("still.jp2"));
    put("notes.txt", b"not a picture and not meant to be one");
    let given = drain(&mut open(folder.path().to_str().unwrap(), &options()).unwrap(), MANY).unwrap();
    let codecs: Vec<_> = given.frames.iter().map(|frame| frame.codec).collect();
    assert_eq!(codecs, [Codec::Jpeg, Codec::Png, Codec::Webp, Codec::Jpeg2000]);
    assert_eq!(given.frames[0].payload[..], jpeg[..]);
    assert_eq!(given.frames[1].parameters.as_ref().unwrap().dimensions, Dimensions::new(64, 48));
    assert_eq!(given.lost(), 2);
    let messages: Vec<_> = given.damage.iter().map(|(error, _)| error.to_string()).collect();
    assert!(messages[0].contains("shot2.jpg") && messages[0].contains("end marker"), "{messages:?}");
    assert!(messages[1].contains("shot4.jpg is empty"), "{messages:?}");

    let pattern = folder.path().join("*.p?g");
    assert_eq!(drain(&mut open(pattern.to_str().unwrap(), &options()).unwrap(), MANY).unwrap().frames.len(), 1);
    let single = folder.path().join("shot3.png");
    assert_eq!(drain(&mut open(single.to_str().unwrap(), &options()).unwrap(), MANY).unwrap().frames.len(), 1);
}

fn refusal(path: &Path) -> SourceError {
    open(path.to_str().unwrap(), &options()).err().expect("it must be refused")
}

#[test]
fn what_is_no_source_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(refusal(folder.path()), SourceError::NoPictures { broken: 0, .. }));
    assert!(matches!(refusal(&folder.path().join("absent.mp4")), SourceError::Io { action: "open", .. }));
    let put = |bytes: &[u8]| {
        let path = folder.path().join("file.mp4");
        fs::write(&path, bytes).unwrap();
        refusal(&path)
    };
    assert!(matches!(put(b""), SourceError::Empty { .. }));
    assert!(put(b"hello, world").to_string().contains("68 65 6c 6c 6f"));
    let message = put(&[0, 0, 0, 1, 0x41, 0x9a, 2, 3, 4]).to_string();
    assert!(message.contains("parameter sets"), "{message}");
}

/// Overwrites, cuts and repeats.
fn damaged(original: &[u8], hits: &[(prop::sample::Index, u8)], length: prop::sample::Index) -> Vec<u8> {
    let mut bytes = original[..=length.index(original.len())].to_vec();
    for (at, byte) in hits {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes
}

/// Nothing is given that is much larger than what was read.
fn assert_bounded(result: Result<Given, SourceError>, input: usize) {
    if let Ok(given) = result {
        assert!(given.frames.len() + given.damage.len() <= MANY);
        assert!(given.frames.iter().all(|frame| frame.payload.len() <= 8 * input + 100_000));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn mutated_containers_are_survived(
        clip in 0_usize..4,
        hits in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(255)]), 0..12),
        in_header in any::<bool>(),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let name = ["fragmented_open_gop.mp4", "h265_open_gop.mp4", "av1.mp4", "mjpeg.avi"][clip];
        let original = read(name);
        let mut bytes = if is_cut { damaged(&original, &[], length) } else { original };
        // Headers are where it hurts: the first or last two kilobytes.
        let window = bytes.len().min(2048);
        let from = if in_header { 0 } else { bytes.len() - window };
        for (at, byte) in &hits {
            bytes[from + at.index(window)] = *byte;
        }
        let size = bytes.len();
        assert_bounded(if name.ends_with("avi") { avi(bytes) } else { mp4(bytes) }, size);
    }

    #[test]
    fn mutated_streams_are_survived(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..30),
        length in any::<prop::sample::Index>(),
    ) {
        let pictures = damaged(&read("two.mjpeg"), &hits, length);
        assert_bounded(mjpeg(&pictures), pictures.len());
        let stream = damaged(&read("h265_open_gop.h265"), &hits, length);
        let codec = lumenbus_frame::bitstream::NalCodec::H265;
        let source = ElementarySource::new("clip.265".into(), &stream[..], codec, &options());
        assert_bounded(source.and_then(|mut source| drain(&mut source, MANY)), stream.len());
    }

    #[test]
    fn random_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_usize..3) {
        let head: &[u8] = [&b"\0\0\0\x10ftypisom\0\0\0\0"[..], b"RIFF\0\0\0\0AVI LIST", b"\xff\xd8\xff"][kind];
        let bytes = [head, &bytes].concat();
        let size = bytes.len();
        assert_bounded(mp4(bytes.clone()), size);
        assert_bounded(avi(bytes.clone()), size);
        assert_bounded(mjpeg(&bytes), size);
    }
}
