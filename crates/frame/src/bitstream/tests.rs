//! Whole streams, real and made: units, keyframes, order and parameter sets against what a decoder finds.

use super::testing::BitWriter;
use super::*;
use crate::Dimensions;
use bytes::Bytes;
use proptest::prelude::*;
use std::path::PathBuf;

const INTERLACED: &[u8] = include_bytes!("testdata/slices_interlaced.264");
const OPEN_GOP: &[u8] = include_bytes!("testdata/h265_open_gop.h265");

/// A shared clip, or `None` with a loud notice where the shared data are absent.
fn shared_clip(name: &str) -> Option<Bytes> {
    let root = std::env::var_os("LUMENBUS_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    match std::fs::read(root.join("video").join(name)) {
        Ok(bytes) => Some(Bytes::from(bytes)),
        Err(error) => {
            eprintln!("SKIPPED: {name}: {error}; set LUMENBUS_DATA to the folder with the shared data");
            None
        }
    }
}

/// Keyframes and display order as the fixture's decoder found them.
struct Expected {
    keyframes: Vec<usize>,
    order: Vec<u64>,
}

impl Expected {
    fn parse(text: &str) -> Self {
        fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str, name: &str) -> Vec<T> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().map(|number| number.parse().unwrap()).collect()
        }
        Self { keyframes: numbers(text, "keyframes"), order: numbers(text, "order") }
    }
}

fn normalise_all(codec: NalCodec, stream: &Bytes) -> Vec<AccessUnit> {
    let mut normaliser = Normaliser::annex_b(codec);
    split_access_units(codec, stream).map(|unit| normaliser.normalise(&unit).unwrap()).collect()
}

fn display_order(codec: NalCodec, stream: &Bytes) -> Vec<u64> {
    let mut normaliser = Normaliser::annex_b(codec);
    let mut order = DisplayOrder::default();
    let mut out = Vec::new();
    for unit in split_access_units(codec, stream) {
        let unit = normaliser.normalise(&unit).unwrap();
        order.push((), unit.payload.len(), unit.order, normaliser.sequence().unwrap().max_reorder);
        out.extend(std::iter::from_fn(|| order.pop()).map(|(_, index)| index));
    }
    order.finish();
    out.extend(std::iter::from_fn(|| order.pop()).map(|(_, index)| index));
    out
}

/// The checks that every stream must pass.
fn check_stream(codec: NalCodec, stream: &Bytes, expected: &str) {
    let expected = Expected::parse(expected);
    let units = normalise_all(codec, stream);
    assert_eq!(units.len(), expected.order.len(), "access units");
    let keyframes: Vec<_> = units.iter().enumerate().filter(|(_, unit)| unit.is_keyframe).map(|(at, _)| at).collect();
    assert_eq!(keyframes, expected.keyframes, "keyframes");
    assert_eq!(display_order(codec, stream), expected.order, "display order");
    let given: Vec<_> = units.iter().flat_map(|unit| content_nal_units(codec, &unit.payload)).collect();
    assert!(given.iter().copied().eq(content_nal_units(codec, stream)), "NAL units are kept byte for byte");
    for unit in units.iter().filter(|unit| unit.is_keyframe) {
        assert_joinable(codec, &unit.payload);
    }
}

/// A reader that knows nothing gets picture and size from this unit alone.
fn assert_joinable(codec: NalCodec, unit: &Bytes) {
    let mut fresh = Normaliser::annex_b(codec);
    let again = fresh.normalise(unit).expect("a keyframe stands alone");
    assert!(again.is_keyframe && again.order.is_some());
    assert_eq!(&again.payload, unit, "nothing is missing any more");
}

#[test]
fn street_and_flower_are_read_as_a_decoder_reads_them() {
    let clips = [
        ("street1080.264", include_str!("testdata/street1080.txt"), Dimensions::new(1920, 1080)),
        ("flower720.264", include_str!("testdata/flower720.txt"), Dimensions::new(1280, 720)),
    ];
    for (name, expected, dimensions) in clips {
        let Some(stream) = shared_clip(name) else {
            continue;
        };
        check_stream(NalCodec::H264, &stream, expected);
        let mut normaliser = Normaliser::annex_b(NalCodec::H264);
        split_access_units(NalCodec::H264, &stream).for_each(|unit| drop(normaliser.normalise(&unit)));
        let sequence = normaliser.sequence().unwrap();
        assert_eq!(sequence.dimensions, dimensions, "{name}");
        assert!(sequence.codec_string.starts_with("avc1.64"), "{}", sequence.codec_string);
    }
}

#[test]
fn interlaced_slices_and_open_gops_are_read_as_a_decoder_reads_them() {
    check_stream(NalCodec::H264, &Bytes::from_static(INTERLACED), include_str!("testdata/slices_interlaced.txt"));
    check_stream(NalCodec::H265, &Bytes::from_static(OPEN_GOP), include_str!("testdata/h265_open_gop.txt"));
    let mut normaliser = Normaliser::annex_b(NalCodec::H265);
    normaliser.normalise(&split_access_units(NalCodec::H265, &Bytes::from_static(OPEN_GOP)).next().unwrap()).unwrap();
    let sequence = normaliser.sequence().unwrap();
    assert_eq!(sequence.dimensions, Dimensions::new(176, 144));
    assert_eq!(sequence.frame_rate, Some(crate::FrameRate::per_second(25)));
    assert_eq!(sequence.codec_string, "hev1.1.6.L60.90");
}

fn split_in_chunks(codec: NalCodec, stream: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut splitter = AccessUnitSplitter::new(codec);
    let mut units = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().copied().cycle() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        splitter.push(chunk);
        while let Some(unit) = splitter.next_unit().unwrap() {
            units.push(unit);
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    splitter.finish();
    while let Some(unit) = splitter.next_unit().unwrap() {
        units.push(unit);
    }
    units
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunks_give_what_the_whole_gives(sizes in proptest::collection::vec(1_usize..3000, 1..8)) {
        for (codec, stream) in [(NalCodec::H264, INTERLACED), (NalCodec::H265, OPEN_GOP)] {
            let whole: Vec<_> = split_access_units(codec, &Bytes::from_static(stream)).collect();
            prop_assert_eq!(&split_in_chunks(codec, stream, &sizes), &whole);
            prop_assert_eq!(whole.concat(), stream);
        }
    }

    #[test]
    fn damaged_streams_neither_panic_nor_grow(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        length in any::<prop::sample::Index>(),
    ) {
        for (codec, stream) in [(NalCodec::H264, INTERLACED), (NalCodec::H265, OPEN_GOP)] {
            let mut damaged = stream[..=length.index(stream.len())].to_vec();
            for (at, byte) in &cuts {
                let at = at.index(damaged.len());
                damaged[at] = *byte;
            }
            let mut normaliser = Normaliser::annex_b(codec);
            let mut given = 0;
            for unit in split_in_chunks(codec, &damaged, &[700]) {
                given += unit.len();
                if let Ok(unit) = normaliser.normalise(&unit) {
                    prop_assert!(unit.payload.len() <= given + 400 * (MAX_PARAMETER_SET_BYTES + 4));
                }
            }
            prop_assert!(given <= damaged.len());
        }
    }

    #[test]
    fn random_bytes_are_survived(bytes in proptest::collection::vec(prop_oneof![4 => Just(0_u8), 2 => Just(1), 3 => any::<u8>()], 0..600)) {
        for codec in [NalCodec::H264, NalCodec::H265] {
            let mut normaliser = Normaliser::annex_b(codec);
            split_in_chunks(codec, &bytes, &[7]).iter().for_each(|unit| drop(normaliser.normalise(unit)));
        }
    }
}

fn to_length_prefixed(unit: &[u8], size: LengthSize) -> Bytes {
    let mut out = Vec::new();
    for nal in content_nal_units(NalCodec::H264, unit) {
        out.extend_from_slice(&nal.len().to_be_bytes()[8 - size.bytes()..]);
        out.extend_from_slice(nal);
    }
    Bytes::from(out)
}

#[test]
fn length_prefixed_units_become_annex_b_with_parameter_sets() {
    let stream = Bytes::from_static(INTERLACED);
    let mut sets = ParameterSets::new(NalCodec::H264);
    nal_units(&stream).for_each(|nal| drop(sets.insert(nal)));
    for length_size in [LengthSize::Two, LengthSize::Four] {
        let nal_units = sets.nal_units().map(|nal| nal.to_vec()).collect();
        let record = DecoderConfiguration { codec: NalCodec::H264, length_size, nal_units };
        let mut normaliser = Normaliser::length_prefixed(&record).unwrap();
        for unit in normalise_all(NalCodec::H264, &stream) {
            let given = normaliser.normalise(&to_length_prefixed(&unit.payload, length_size)).unwrap();
            let content = |payload| content_nal_units(NalCodec::H264, payload).map(<[u8]>::to_vec).collect::<Vec<_>>();
            assert_eq!(content(&given.payload), content(&unit.payload));
            assert_eq!((given.is_keyframe, given.is_discardable), (unit.is_keyframe, unit.is_discardable));
            if given.is_keyframe {
                assert_joinable(NalCodec::H264, &given.payload);
            }
        }
    }
}

#[test]
fn a_length_past_the_end_names_its_place() {
    let record = DecoderConfiguration { codec: NalCodec::H264, length_size: LengthSize::Two, nal_units: vec![] };
    let mut normaliser = Normaliser::length_prefixed(&record).unwrap();
    let error = normaliser.normalise(&Bytes::from_static(&[0, 1, 9, 0, 5, 1, 2])).unwrap_err();
    assert_eq!(error, BitstreamError::BadLength { offset: 3, claimed: 5, left: 2 });
    assert!(normaliser.normalise(&Bytes::from_static(&[0, 1, 9, 7])).is_err());
}

#[test]
fn a_keyframe_nobody_can_decode_is_an_error_and_no_picture_is_another() {
    let idr_without_sets = Bytes::from_static(&[0, 0, 1, 0x65, 0x88, 0x84, 0x21]);
    assert_eq!(Normaliser::annex_b(NalCodec::H264).normalise(&idr_without_sets), Err(BitstreamError::NoParameterSets));
    let delimiter = Bytes::from_static(&[0, 0, 1, 9, 0x10]);
    assert!(matches!(Normaliser::annex_b(NalCodec::H264).normalise(&delimiter), Err(BitstreamError::NoPicture { .. })));
}

/// A tiny interlaced H.264 stream, header by header.
struct FieldStream {
    bytes: Vec<u8>,
}

impl FieldStream {
    fn new() -> Self {
        let mut sps = BitWriter::default();
        [77, 0, 30].into_iter().for_each(|byte| sps.bits(byte, 8));
        [0, 0, 0, 0, 2].into_iter().for_each(|code| sps.ue(code)); // id, frame_num, order type 0, its bits, references
        sps.flag(false);
        sps.ue(7);
        sps.ue(3);
        [false, false, true, false, false].into_iter().for_each(|flag| sps.flag(flag)); // fields allowed
        let mut pps = BitWriter::default();
        pps.ue(0);
        pps.ue(0);
        pps.flag(false);
        pps.flag(false);
        pps.bits(0, 8);
        let mut stream = Self { bytes: Vec::new() };
        stream.nal(0x67, sps);
        stream.nal(0x68, pps);
        stream
    }

    fn nal(&mut self, header: u8, payload: BitWriter) {
        self.bytes.extend_from_slice(&[0, 0, 0, 1, header]);
        self.bytes.extend(payload.finish_escaped());
    }

    fn field(&mut self, header: u8, frame_num: u32, is_bottom: bool, order: u32) {
        let mut slice = BitWriter::default();
        slice.ue(0);
        slice.ue(if header & 0x1f == 5 { 7 } else { 5 });
        slice.ue(0);
        slice.bits(frame_num, 4);
        slice.flag(true);
        slice.flag(is_bottom);
        if header & 0x1f == 5 {
            slice.ue(0);
        }
        slice.bits(order, 4);
        slice.bits(0xabcd, 16);
        self.nal(header, slice);
    }

    fn delimiter(&mut self) {
        self.bytes.extend_from_slice(&[0, 0, 0, 1, 9, 0x30]);
    }
}

#[test]
fn both_fields_of_a_frame_are_one_unit() {
    let mut stream = FieldStream::new();
    stream.field(0x65, 0, false, 0);
    stream.delimiter();
    stream.field(0x61, 0, true, 1);
    for (frame, order) in [(1, 2), (2, 4)] {
        stream.field(0x61, frame, false, order);
        stream.field(0x61, frame, true, order + 1);
    }
    stream.field(0x01, 3, true, 7); // two lone fields of the same parity
    stream.field(0x01, 3, true, 9);
    let stream = Bytes::from(stream.bytes);
    let units = normalise_all(NalCodec::H264, &stream);
    let slices: Vec<_> = units.iter().map(|unit| content_nal_units(NalCodec::H264, &unit.payload).count()).collect();
    assert_eq!(slices, [2, 2, 2, 1, 1]);
    assert_eq!(units.iter().map(|unit| unit.is_keyframe).collect::<Vec<_>>(), [true, false, false, false, false]);
    assert_eq!(units.iter().map(|unit| unit.is_discardable).collect::<Vec<_>>(), [false, false, false, true, true]);
    assert_eq!(display_order(NalCodec::H264, &stream), [0, 1, 2, 3, 4]);
}

#[test]
fn a_recovery_point_on_an_intra_picture_is_a_keyframe() {
    let units: Vec<_> = split_access_units(NalCodec::H264, &Bytes::from_static(INTERLACED)).collect();
    let mut sets = ParameterSets::new(NalCodec::H264);
    units.iter().flat_map(|unit| nal_units(unit)).for_each(|nal| drop(sets.insert(nal)));
    let recovery_point = [0, 0, 0, 1, 6, 6, 1, 0xc4, 0x80];
    let inter = [&recovery_point[..], &units[1]].concat();
    let mut normaliser = Normaliser::annex_b(NalCodec::H264);
    sets.nal_units().for_each(|nal| drop(normaliser.normalise(&Bytes::from([&[0, 0, 1], &nal[..]].concat()))));
    assert!(!normaliser.normalise(&Bytes::from(inter)).unwrap().is_keyframe, "P slices need what came before");

    let mut stream = FieldStream::new();
    stream.bytes.extend_from_slice(&recovery_point);
    let mut slice = BitWriter::default();
    [0, 7, 0].into_iter().for_each(|code| slice.ue(code));
    slice.bits(3, 4);
    slice.flag(false);
    slice.bits(0xffff, 20);
    stream.nal(0x61, slice);
    let unit = Normaliser::annex_b(NalCodec::H264).normalise(&Bytes::from(stream.bytes)).unwrap();
    assert!(unit.is_keyframe && !unit.order.unwrap().restarts);
}

#[test]
fn an_oversized_unit_is_given_up_to_the_next_keyframe_and_counted() {
    let stream = Bytes::from_static(INTERLACED);
    let units: Vec<_> = split_access_units(NalCodec::H264, &stream).collect();
    let keyframes: Vec<_> = normalise_all(NalCodec::H264, &stream)
        .iter()
        .enumerate()
        .filter(|(_, u)| u.is_keyframe)
        .map(|(at, _)| at)
        .collect();
    let (before, next_keyframe) = (5, keyframes[1]);
    let limit = 20_000;
    let mut damaged = units[..before].concat();
    damaged.extend_from_slice(&[0, 0, 0, 1, 0x41]);
    damaged.extend(std::iter::repeat_n(0xff, 3 * limit));
    damaged.extend(units[before..].concat());
    for chunk in [1_000, usize::MAX] {
        let mut splitter = AccessUnitSplitter::with_limit(NalCodec::H264, limit);
        let (mut given, mut errors) = (Vec::new(), Vec::new());
        let mut drain = |splitter: &mut AccessUnitSplitter| loop {
            match splitter.next_unit() {
                Ok(Some(unit)) => given.push(unit),
                Ok(None) => break,
                Err(error) => errors.push(error),
            }
        };
        for piece in damaged.chunks(chunk.min(damaged.len())) {
            splitter.push(piece);
            drain(&mut splitter);
            assert!(splitter.held_bytes() <= limit + piece.len(), "what is held is bounded");
        }
        splitter.finish();
        drain(&mut splitter);
        assert_eq!(given.last(), units.last());
        assert_eq!(given.len(), before + units.len() - next_keyframe, "chunks of {chunk}");
        let lost = u64::try_from(next_keyframe - before + 1).unwrap();
        assert_eq!(errors, [BitstreamError::TooLarge { limit_bytes: limit, lost_units: lost }], "chunks of {chunk}");
    }
}
