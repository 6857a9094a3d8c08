//! Objects made for the purpose, byte by byte, and what is found in them.

use crate::{assembled, blob, round_trip, split, stored};
use lumenbus_dicom::cut::{Input, SplitLimits};
use lumenbus_dicom::element::Tag;
use lumenbus_dicom::record::{Framing, Grouping, Metadata};
use lumenbus_dicom::syntax::{DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE};
use std::io::Write as _;

const RLE: &str = "1.2.840.10008.1.2.5";
const INSTANCE: &str = "1.2.826.0.1.3680043.8.498.1";

/// An element with explicit VR, little endian; `None` for an undefined length.
pub(crate) fn element(tag: u32, vr: &str, length: Option<usize>, value: &[u8]) -> Vec<u8> {
    let length = length.map_or(u32::MAX, |length| u32::try_from(length).unwrap());
    let mut bytes = tag_bytes(tag);
    bytes.extend_from_slice(vr.as_bytes());
    if ["OB", "OW", "OF", "OD", "SQ", "UN", "UT"].contains(&vr) {
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&length.to_le_bytes());
    } else {
        bytes.extend_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
    }
    bytes.extend_from_slice(value);
    bytes
}

pub(crate) fn whole(tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
    element(tag, vr, Some(value.len()), value)
}

fn tag_bytes(tag: u32) -> Vec<u8> {
    [((tag >> 16) as u16).to_le_bytes(), ((tag & 0xFFFF) as u16).to_le_bytes()].concat()
}

/// An item, or a delimiter.
pub(crate) fn item(tag: u32, length: u32, value: &[u8]) -> Vec<u8> {
    [tag_bytes(tag), length.to_le_bytes().to_vec(), value.to_vec()].concat()
}

fn fragment(value: &[u8]) -> Vec<u8> {
    item(0xFFFE_E000, u32::try_from(value.len()).unwrap(), value)
}

fn sequence_end() -> Vec<u8> {
    item(0xFFFE_E0DD, 0, &[])
}

fn padded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// Preamble and group 2.
pub(crate) fn file_meta(transfer_syntax: &str) -> Vec<u8> {
    let group =
        [whole(0x0002_0003, "UI", &padded(INSTANCE)), whole(0x0002_0010, "UI", &padded(transfer_syntax))].concat();
    let length = u32::try_from(group.len()).unwrap().to_le_bytes();
    [vec![0; 128], b"DICM".to_vec(), whole(0x0002_0000, "UL", &length), group].concat()
}

/// The attributes of an image of 8 bits, `rows` by 4.
pub(crate) fn image(rows: u16, frames: u32) -> Vec<u8> {
    [
        whole(0x0008_0005, "CS", b"ISO_IR 100"),
        whole(0x0008_0016, "UI", &padded("1.2.840.10008.5.1.4.1.1.7")),
        whole(0x0008_0018, "UI", &padded(INSTANCE)),
        whole(0x0010_0020, "LO", b"P\xe9 1"),
        whole(0x0020_000D, "UI", &padded("1.2.3")),
        whole(0x0020_000E, "UI", &padded("1.2.3.4")),
        whole(0x0028_0002, "US", &1_u16.to_le_bytes()),
        whole(0x0028_0008, "IS", &padded(&frames.to_string())),
        whole(0x0028_0010, "US", &rows.to_le_bytes()),
        whole(0x0028_0011, "US", &4_u16.to_le_bytes()),
        whole(0x0028_0100, "US", &8_u16.to_le_bytes()),
    ]
    .concat()
}

pub(crate) fn native() -> Vec<u8> {
    let pixels: Vec<u8> = (0..24).collect();
    let padding = whole(0xFFFC_FFFC, "OB", &[0; 6]);
    [file_meta(EXPLICIT_LITTLE), image(2, 3), whole(0x7FE0_0010, "OW", &pixels), padding].concat()
}

/// Two frames, the first in two fragments.
pub(crate) fn encapsulated() -> Vec<u8> {
    let table: Vec<u8> = [0_u32, 8 + 4 + 8 + 2].iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let items = [fragment(&table), fragment(b"abcd"), fragment(b"ef"), fragment(b"ghij"), sequence_end()].concat();
    [file_meta(RLE), image(2, 2), element(0x7FE0_0010, "OB", None, &items)].concat()
}

pub(crate) fn deflated() -> Vec<u8> {
    let data_set = [image(2, 3), whole(0x7FE0_0010, "OB", &[7; 24])].concat();
    let mut stream = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    stream.write_all(&data_set).unwrap();
    [file_meta(DEFLATED), stream.finish().unwrap(), vec![0]].concat()
}

fn findings(metadata: &Metadata) -> Vec<&str> {
    metadata.findings.iter().map(String::as_str).collect()
}

#[test]
fn native_frames_and_what_follows_them() {
    let file = native();
    let (metadata, chunks) = round_trip(&file, 5);
    let pixels = metadata.pixels.as_ref().unwrap();
    assert_eq!((pixels.frames, &pixels.grouping, pixels.length), (3, &Grouping::Native(Some(8)), 24));
    assert_eq!(blob(&chunks), (0..24).collect::<Vec<u8>>());
    assert_eq!(metadata.tail.len(), 12 + 6);
    assert_eq!(metadata.identity.sop_instance.as_deref(), Some(INSTANCE));
    assert_eq!(metadata.identity.series.as_deref(), Some("1.2.3.4"));
    assert!(metadata.attributes.complete && metadata.is_compressible());
    assert_eq!(metadata.attributes.value(Tag::ROWS), Some(&[2, 0][..]));
    assert!(metadata.findings.is_empty(), "{:?}", metadata.findings);
}

#[test]
fn fragments_and_their_frames() {
    let (metadata, chunks) = round_trip(&encapsulated(), 5);
    let pixels = metadata.pixels.as_ref().unwrap();
    assert_eq!((&pixels.grouping, pixels.fragments), (&Grouping::Counts(vec![2, 1]), 3));
    let blob = blob(&chunks);
    let of = |(at, length): (u64, u32)| &blob[usize::try_from(at).unwrap()..][..usize::try_from(length).unwrap()];
    let fragments: Vec<&[u8]> = pixels.fragment_ranges().map(of).collect();
    assert_eq!(fragments, [&b"abcd"[..], b"ef", b"ghij"]);
    assert_eq!(metadata.tail, sequence_end(), "the delimiter is not part of the value");
    assert!(!metadata.is_compressible());
}

#[test]
fn only_the_top_level_has_the_pixels() {
    let icon = [image(1, 1), whole(0x7FE0_0010, "OB", &[1; 4])].concat();
    let hidden = |vr, item: Vec<u8>, length| element(0x0088_0200, vr, length, &item);
    let defined = fragment(&icon);
    let undefined = [item(0xFFFE_E000, u32::MAX, &icon), item(0xFFFE_E00D, 0, &[]), sequence_end()].concat();
    for sequence in [hidden("SQ", defined.clone(), Some(defined.len())), hidden("SQ", undefined, None)] {
        let file = [file_meta(EXPLICIT_LITTLE), image(2, 1), sequence, whole(0x7FE0_0010, "OB", &[9; 8])].concat();
        let (metadata, chunks) = round_trip(&file, 3);
        assert_eq!(blob(&chunks), [9; 8][..]);
        let icon = metadata.attributes.list.iter().find(|attribute| attribute.tag == Tag(0x0088_0200)).unwrap();
        assert_eq!((icon.items.len(), icon.items[0].len()), (1, 12));
        assert!(metadata.attributes.complete);
    }
}

#[test]
fn unknown_sequences_are_implicit_inside() {
    let inside = [tag_bytes(0x0009_1001), 4_u32.to_le_bytes().to_vec(), b"OBOB".to_vec()].concat();
    let items = [fragment(&inside), sequence_end()].concat();
    let unknown = element(0x0009_1000, "UN", None, &items);
    let file = [file_meta(EXPLICIT_LITTLE), unknown, image(2, 1), whole(0x7FE0_0010, "OB", &[9; 8])].concat();
    let (metadata, _) = round_trip(&file, 4);
    assert_eq!(metadata.attributes.list[3].items[0][0].value.as_deref(), Some(&b"OBOB"[..]));
    assert!(metadata.pixels.is_some() && metadata.attributes.complete);
}

#[test]
fn data_sets_without_a_file() {
    let data_set = [image(2, 1), whole(0x7FE0_0010, "OB", &[9; 8])].concat();
    for (syntax, file) in [
        (EXPLICIT_LITTLE, data_set),
        (IMPLICIT_LITTLE, item(0x7FE0_0010, 3, b"abc")),
        (EXPLICIT_BIG, [&b"\x00\x08\x00\x18UI\x00\x02\x31\x00\x7f\xe0\x00\x10OW\0\0\0\0\0\x02"[..], &[1, 2]].concat()),
    ] {
        let input = Input::DataSet { transfer_syntax: syntax.to_owned() };
        let (mut metadata, chunks) = split(&file, 3, input, SplitLimits::default());
        assert!(metadata.pixels.is_some(), "{syntax}: {:?}", metadata.opaque);
        assert_eq!(metadata.transfer_syntax.as_deref(), Some(syntax));
        let (_, again) = assembled(&stored(&mut metadata, Framing::Registry { schema_id: 7 }), &chunks).unwrap();
        assert_eq!(again, file);
    }
}

#[test]
fn deflated_data_sets_are_one_blob_with_attributes() {
    let file = deflated();
    let (metadata, chunks) = round_trip(&file, 2);
    assert_eq!(metadata.header, file_meta(DEFLATED));
    assert_eq!(blob(&chunks), file[metadata.header.len()..]);
    assert!(metadata.attributes.inflated && metadata.attributes.complete && !metadata.is_compressible());
    assert_eq!(metadata.attributes.u16(Tag::ROWS), Some(2));
    assert_eq!(metadata.identity.study.as_deref(), Some("1.2.3"));
    let broken = [file_meta(DEFLATED), vec![0xFF; 100]].concat();
    let (metadata, _) = round_trip(&broken, 64);
    assert_eq!(findings(&metadata), ["not-inflated"]);
    assert!(!metadata.attributes.complete);
}

#[test]
fn a_large_tail_is_part_of_the_blob_and_not_of_the_pixels() {
    let tail = whole(0xFFFC_FFFC, "OB", &[3; 3000]);
    let file = [file_meta(EXPLICIT_LITTLE), image(2, 1), whole(0x7FE0_0010, "OB", &[9; 8]), tail.clone()].concat();
    let limits = SplitLimits { tail_bytes: 1000, ..SplitLimits::default() };
    let (mut metadata, chunks) = split(&file, 100, Input::File, limits);
    assert_eq!((findings(&metadata), metadata.tail.len()), (vec!["tail-in-blob"], 0));
    assert_eq!(metadata.pixels.as_ref().unwrap().length, 8);
    assert_eq!(blob(&chunks)[8..], tail);
    let (_, again) = assembled(&stored(&mut metadata, Framing::SingleObject), &chunks).unwrap();
    assert_eq!(again, file);
}

#[test]
fn what_cannot_be_cut_is_opaque_and_says_why() {
    let check = |file: &[u8], code: &str, has_identity: bool| {
        let limits = SplitLimits { header_bytes: 100_000, ..SplitLimits::default() };
        let (mut metadata, chunks) = split(file, 1000, Input::File, limits);
        assert_eq!(metadata.opaque.as_ref().map(|opaque| opaque.code.as_str()), Some(code));
        assert_eq!((metadata.header.len(), blob(&chunks).len()), (0, file.len()));
        assert_eq!(metadata.identity.sop_instance.is_some(), has_identity, "{code}");
        assert!(metadata.pixels.is_none() && !metadata.attributes.complete);
        let (_, again) = assembled(&stored(&mut metadata, Framing::SingleObject), &chunks).unwrap();
        assert_eq!(again, file);
    };
    check(&[], "empty", false);
    check(b"%PDF-1.7 and so on", "not-dicom", false);
    check(&[0x20; 5000], "not-dicom", false);
    let report = whole(0x0042_0011, "OB", &[1; 200_000]);
    check(&[file_meta(EXPLICIT_LITTLE), image(2, 1), report].concat(), "header-too-large", true);
    let endless = element(0x0002_0010, "OB", Some(1 << 30), &[0x31; 300_000]);
    check(&[vec![0; 128], b"DICM".to_vec(), endless].concat(), "header-too-large", false);
    let deep = [element(0x0040_A730, "SQ", None, &[]), item(0xFFFE_E000, u32::MAX, &[])].concat().repeat(200);
    check(&[file_meta(EXPLICIT_LITTLE), image(2, 1), deep].concat(), "too-deep", true);
    check(&[vec![0; 128], b"DICM".to_vec(), element(0x0002_0001, "OB", None, &[0; 20])].concat(), "unparseable", false);
}

#[test]
fn what_is_broken_is_cut_where_it_can_be() {
    let head = [file_meta(EXPLICIT_LITTLE), image(2, 1)].concat();
    let check = |rest: &[u8], expected: &[&str], pixels: Option<u64>| {
        let (metadata, _) = round_trip(&[&head, rest].concat(), 6);
        assert_eq!(findings(&metadata), expected, "{rest:02x?}");
        assert_eq!(metadata.pixels.map(|pixels| pixels.length), pixels, "{rest:02x?}");
        assert_eq!(metadata.opaque, None);
    };
    check(&element(0x7FE0_0010, "OB", Some(100), &[1; 9]), &["truncated"], Some(9));
    check(&element(0x7FE0_0010, "OB", None, &fragment(b"")), &["missing-sequence-delimiter"], Some(8));
    let cut_short = [fragment(b""), item(0xFFFE_E000, 50, &[1; 20])].concat();
    check(&element(0x7FE0_0010, "OB", None, &cut_short), &["missing-sequence-delimiter", "truncated"], Some(36));
    check(&element(0x0040_A730, "SQ", Some(1000), &[0; 20]), &["truncated"], None);
    check(&[fragment(b""), whole(0x7FE0_0010, "OB", &[1; 8])].concat(), &["stray-item"], Some(8));
    check(&whole(0x7FE0_0008, "OF", &[1; 8]), &[], Some(8));
    check(&whole(0x7FE0_0009, "OD", &[1; 8]), &[], Some(8));
}
