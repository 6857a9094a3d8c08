//! Objects of strangers as pictures and lists: no panic, nothing larger than its bound, nothing masked that is shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_dicom::catalogue::{Catalogue, PatientData, Place};
use lumenbus_dicom::cut::{Chunk, Input, SplitLimits, Splitter};
use lumenbus_dicom::described::{MAX_LINES, Shown, lines};
use lumenbus_dicom::picture::{Image, MAX_FRAME_BYTES, SampleKind};
use lumenbus_dicom::record::ObjectId;
use std::convert::Infallible;

fuzz_target!(|data: &[u8]| {
    let mut blob = Vec::new();
    let mut sink = |chunk: Chunk| -> Result<(), Infallible> {
        blob.extend_from_slice(&chunk.bytes);
        Ok(())
    };
    let mut splitter = Splitter::new(ObjectId::from_bytes([1; 16]), Input::File, SplitLimits::default());
    let Ok(()) = splitter.push(data, &mut sink);
    let Ok(metadata) = splitter.finish(&mut sink);
    let (masked, _) = lines(&metadata.attributes, PatientData::Masked);
    assert!(masked.len() <= MAX_LINES);
    for line in &masked {
        let is_identity = matches!(line.tag.0, 0x0010_0010 | 0x0010_0020);
        assert!(!is_identity || line.value == Shown::Masked);
    }
    let mut catalogue = Catalogue::new(PatientData::Masked);
    catalogue.take(Place { partition: 0, first: 0, last: 0 }, 0, &metadata);
    assert_eq!(catalogue.len(), 1);
    let Ok(image) = Image::of(&metadata) else { return };
    for frame in [0, 1, image.frames - 1, image.frames] {
        let Ok(place) = image.place(&metadata, frame) else { continue };
        assert!(frame < image.frames && place.length() <= MAX_FRAME_BYTES);
        let mut bytes = Vec::new();
        for (index, start) in place.chunks(&metadata) {
            let start_at = start as usize;
            let chunk = &blob[start_at..start_at + metadata.chunks[index].length as usize];
            place.of_chunk(start, chunk).for_each(|piece| bytes.extend_from_slice(piece));
        }
        drop(Image::shown(&metadata, frame));
        if let Ok(picture) = image.decode(&place, &bytes) {
            let width = match picture.kind {
                SampleKind::U8 => 1,
                SampleKind::U16 | SampleKind::I16 => 2,
                SampleKind::Rgb => 3,
                SampleKind::F32 => 4,
            };
            assert_eq!(picture.bytes.len(), usize::from(image.rows) * usize::from(image.columns) * width);
        }
    }
});
