//! Bodies of cameras over HTTP: whatever they say, what comes out is made of what went in.
//!
//! First byte: whether a boundary is announced, and in which pieces the body comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_source::{MultipartOutput, MultipartReader};

/// Huffman tables that a picture lacks.
const ADDED_BYTES: usize = 420;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, body)) = data.split_first() else { return };
    let mut reader = MultipartReader::new((kind & 1 == 0).then_some("frame"));
    let (mut bytes, mut pictures) = (0, 0);
    for piece in body.chunks(usize::from(kind >> 1).max(1)) {
        reader.push(piece);
        while let Some(output) = reader.next_output() {
            let MultipartOutput::Picture { bytes: picture, dimensions, .. } = output else { continue };
            assert!(picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]));
            assert!(dimensions.width > 0 && dimensions.height > 0);
            (bytes, pictures) = (bytes + picture.len(), pictures + 1);
        }
    }
    assert!(bytes <= body.len() + pictures * ADDED_BYTES, "more came out than went in");
});
