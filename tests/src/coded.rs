//! Coded video of a test's own, and what is in files of it.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use bytes::Bytes;
use lumenbus_codec::{EncoderConfig, encoder};
use lumenbus_frame::bitstream::{NalCodec, content_nal_units};
use lumenbus_frame::{CaptureTime, Codec, Dimensions, PixelFormat, RawFrame};
use lumenbus_source::{SourceItem, SourceOptions, open};
use std::path::Path;

/// The NAL units of an access unit without parameter sets and delimiters, which are repeated where they are missing.
#[must_use]
pub fn content(codec: NalCodec, unit: &Bytes) -> Vec<Bytes> {
    content_nal_units(codec, unit).map(|nal| unit.slice_ref(nal)).collect()
}

/// The access units of a file, each by its [`content`].
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn units_of_file(path: &Path, codec: NalCodec) -> Vec<Vec<Bytes>> {
    let mut source = open(path.to_str().unwrap(), &SourceOptions::default()).unwrap();
    let mut units = Vec::new();
    while let Some(item) = source.next_frame().unwrap() {
        let SourceItem::Encoded { frame, .. } = item else { panic!("{item:?}") };
        units.push(content(codec, &frame.payload));
    }
    units
}

/// Gray pictures that grow lighter, as a byte stream of H.264 with a keyframe every five.
///
/// # Panics
/// When they cannot be coded.
#[must_use]
pub fn h264(size: Dimensions, pictures: u8) -> Vec<u8> {
    let mut encoder = encoder(&EncoderConfig::new(Codec::H264)).unwrap();
    let mut coded = Vec::new();
    for number in 0..pictures {
        if number.is_multiple_of(5) {
            encoder.force_keyframe();
        }
        let pixels = vec![40 + number; usize::try_from(size.width * size.height).unwrap()];
        let capture = CaptureTime::arrival(i64::from(number) * 40_000_000);
        let picture = RawFrame::new(PixelFormat::Gray8, size, pixels.into(), capture).unwrap();
        encoder.encode(&picture, &mut coded).unwrap();
    }
    coded.iter().flat_map(|frame| frame.payload.iter().copied()).collect()
}
