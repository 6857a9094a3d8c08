//! Pixels: which images are held back, masks, and what compressed frames carry beside the picture.

use crate::file::{BIG_ENDIAN, EXPLICIT, Elements};
use crate::{contains, engine, released};
use lumenbus_dicom::deid::{MaskRule, PixelWork, Profile, Quarantine, Rectangle, Verdict};

const RLE: &str = "1.2.840.10008.1.2.5";
const ROWS: u16 = 6;
const COLUMNS: u16 = 8;
const MASK: Rectangle = Rectangle { x: 2, y: 1, width: 3, height: 2 };

fn image(modality: &str, photometric: &str, samples: u16, bits: u16, pixels: &[u8]) -> Elements {
    let mut elements = Elements::ct();
    elements.text(0x0008_0060, "CS", modality).text(0x0028_0004, "CS", photometric);
    elements.u16(0x0028_0002, samples).u16(0x0028_0010, ROWS).u16(0x0028_0011, COLUMNS);
    elements.u16(0x0028_0100, bits).u16(0x0028_0101, bits).u16(0x0028_0102, bits - 1).u16(0x0028_0103, 0);
    elements.bytes(0x7FE0_0010, if bits == 8 { "OB" } else { "OW" }, pixels);
    elements
}

fn masked() -> Profile {
    let mut profile = Profile::default();
    // More than the image on the right and below is cut off; that rule is for images of another size.
    let mut other = MaskRule::modality("us", vec![Rectangle { x: 0, y: 0, width: u16::MAX, height: u16::MAX }]);
    other.rows = Some(ROWS + 1);
    profile.masks = vec![MaskRule::modality("us", vec![MASK]), other];
    profile
}

fn is_masked(pixel: usize) -> bool {
    let (row, column) = (pixel / usize::from(COLUMNS), pixel % usize::from(COLUMNS));
    (1..3).contains(&row) && (2..5).contains(&column)
}

fn quarantine(profile: Profile, elements: &Elements, syntax: &str) -> Vec<Quarantine> {
    let outcome = engine(profile).deidentify(&elements.file(syntax)).unwrap();
    assert_eq!(matches!(outcome.verdict, Verdict::Quarantined), !outcome.report.quarantine.is_empty());
    outcome.report.quarantine
}

#[test]
fn images_with_likely_text_are_held_back() {
    let none: Vec<Quarantine> = Vec::new();
    let pixels = [9; 48];
    let of = |modality: &str, burned_in: &str| {
        let mut elements = image(modality, "MONOCHROME2", 1, 8, &pixels);
        if !burned_in.is_empty() {
            elements.text(0x0028_0301, "CS", burned_in);
        }
        elements
    };
    let likely = |modality: &str| vec![Quarantine::BurnedInLikely { hint: format!("modality {modality}") }];
    for (modality, burned_in, expected) in [
        ("CT", "", none.clone()),
        ("CT", "YES", vec![Quarantine::BurnedInDeclared]),
        ("US", "", likely("US")),
        ("US", "NO", likely("US")),
        ("CR", "", likely("CR")),
        ("CR", "NO", none.clone()),
        ("OT", "", likely("OT")),
    ] {
        assert_eq!(
            quarantine(Profile::default(), &of(modality, burned_in), EXPLICIT),
            expected,
            "{modality} {burned_in}"
        );
    }
    let mut trusting = Profile::default();
    trusting.trust_declared_no = true;
    assert_eq!(quarantine(trusting, &of("US", "NO"), EXPLICIT), none);
    let mut looked_at = Profile::default();
    looked_at.masks = vec![MaskRule::modality("US", Vec::new())];
    assert_eq!(quarantine(looked_at, &of("US", ""), EXPLICIT), none);
    let mut screen = of("CT", "");
    screen.text(0x0008_0008, "CS", "DERIVED\\SECONDARY\\SCREEN SAVE");
    assert!(matches!(*quarantine(Profile::default(), &screen, EXPLICIT), [Quarantine::BurnedInLikely { .. }]));
    let mut captured = of("CT", "");
    captured.text(0x0008_0016, "UI", "1.2.840.10008.5.1.4.1.1.7");
    assert!(matches!(*quarantine(Profile::default(), &captured, EXPLICIT), [Quarantine::BurnedInLikely { .. }]));
    let mut document = Elements::ct();
    document.bytes(0x0042_0011, "OB", b"%PDF-1.4 Quixlby");
    assert_eq!(quarantine(Profile::default(), &document, EXPLICIT), vec![Quarantine::EncapsulatedDocument]);
}

#[test]
fn masks_cover_native_pixels_of_every_layout() {
    // Formats, and for each what a masked sample is and whether samples lie in planes.
    for (photometric, samples, bits, planar, signed, black) in [
        ("MONOCHROME2", 1, 8, false, false, [0u16; 3]),
        ("MONOCHROME1", 1, 8, false, false, [255, 0, 0]),
        ("MONOCHROME2", 1, 16, false, false, [0; 3]),
        ("MONOCHROME1", 1, 16, false, false, [u16::MAX, 0, 0]),
        ("MONOCHROME2", 1, 16, false, true, [0x8000, 0, 0]),
        ("PALETTE COLOR", 1, 8, false, false, [0; 3]),
        ("RGB", 3, 8, false, false, [0; 3]),
        ("RGB", 3, 8, true, false, [0; 3]),
        ("YBR_FULL", 3, 8, false, false, [0, 128, 128]),
    ] {
        for syntax in [EXPLICIT, BIG_ENDIAN] {
            if syntax == BIG_ENDIAN && bits == 8 {
                continue;
            }
            let pixels = usize::from(ROWS * COLUMNS);
            let width = usize::from(bits / 8);
            let before = vec![77u8; pixels * usize::from(samples) * width * 2];
            let mut elements = image("US", photometric, samples, bits, &before);
            elements.text(0x0028_0008, "IS", "2");
            if samples > 1 {
                elements.u16(0x0028_0006, u16::from(planar));
            }
            elements.u16(0x0028_0103, u16::from(signed));
            if syntax == BIG_ENDIAN {
                for tag in [0x0028_0002, 0x0028_0010, 0x0028_0011, 0x0028_0100, 0x0028_0101, 0x0028_0102, 0x0028_0103] {
                    if let crate::file::Value::Bytes(bytes) = &mut elements.0.get_mut(&tag).unwrap().1 {
                        bytes.reverse();
                    }
                }
            }
            let (out, report) = released(&engine(masked()), &elements.file(syntax));
            assert_eq!(report.pixels, vec![PixelWork::Masked { rectangles: 1, frames: 2 }]);
            assert_eq!(report.method_codes, vec!["113100", "113101"]);
            let after = &out[out.len() - before.len()..];
            for (index, sample) in after.chunks_exact(width).enumerate() {
                let index = index % (pixels * usize::from(samples));
                let (pixel, kind) = match (planar, usize::from(samples)) {
                    (true, _) => (index % pixels, index / pixels),
                    (false, samples) => (index / samples, index % samples),
                };
                let value = if is_masked(pixel) { black[kind] } else { u16::from_le_bytes([77, 77]) };
                let bytes = if syntax == BIG_ENDIAN { value.to_be_bytes() } else { value.to_le_bytes() };
                assert_eq!(sample, &bytes[..width], "{photometric} {bits} {planar} {syntax} sample {index}");
            }
        }
    }
}

#[test]
fn a_mask_that_cannot_be_applied_holds_the_image_back() {
    let short = image("US", "MONOCHROME2", 1, 8, &[7; 40]);
    assert!(matches!(*quarantine(masked(), &short, EXPLICIT), [Quarantine::MaskNotApplied { .. }]));
    let mut odd = image("US", "HSV", 3, 8, &[7; 144]);
    assert!(matches!(*quarantine(masked(), &odd, EXPLICIT), [Quarantine::MaskNotApplied { .. }]));
    odd.fragments(vec![Vec::new(), jpeg(b"")]);
    assert!(matches!(*quarantine(masked(), &odd, "1.2.840.10008.1.2.4.50"), [Quarantine::MaskNotApplied { .. }]));
}

/// One frame whose segments are literal runs of one byte.
fn rle_frame(planes: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = vec![0; 64];
    frame[..4].copy_from_slice(&u32::try_from(planes.len()).unwrap().to_le_bytes());
    for (index, plane) in planes.iter().enumerate() {
        let start = u32::try_from(frame.len()).unwrap();
        frame[4 + index * 4..8 + index * 4].copy_from_slice(&start.to_le_bytes());
        plane.iter().for_each(|byte| frame.extend_from_slice(&[0, *byte]));
    }
    frame
}

fn unpack(frame: &[u8], segment: usize, length: usize) -> Vec<u8> {
    let start = u32::from_le_bytes(frame[4 + segment * 4..8 + segment * 4].try_into().unwrap()) as usize;
    let mut bytes = frame[start..].iter().copied();
    let mut plane = Vec::new();
    while plane.len() < length {
        match bytes.next().unwrap() {
            run @ 0..=127 => plane.extend(bytes.by_ref().take(usize::from(run) + 1)),
            128 => {}
            run => plane.resize(plane.len() + 257 - usize::from(run), bytes.next().unwrap()),
        }
    }
    plane
}

#[test]
fn rle_is_masked_and_coded_again() {
    let planes: Vec<Vec<u8>> =
        (0..3u8).map(|sample| (0..48u8).map(|pixel| 50 + pixel * 3 + sample).collect()).collect();
    let mut elements = image("US", "RGB", 3, 8, &[]);
    elements.fragments(vec![Vec::new(), rle_frame(&planes)]);
    let (out, _) = released(&engine(masked()), &elements.file(RLE));
    // The fragment is the last but the sequence delimiter.
    let header = out.windows(4).rposition(|window| window == [3, 0, 0, 0]).unwrap();
    for (sample, plane) in planes.iter().enumerate() {
        for (pixel, byte) in unpack(&out[header..], sample, 48).into_iter().enumerate() {
            assert_eq!(byte, if is_masked(pixel) { 0 } else { plane[pixel] }, "sample {sample} pixel {pixel}");
        }
    }
    elements.fragments(vec![Vec::new(), rle_frame(&planes[..2])]);
    assert!(matches!(*quarantine(masked(), &elements, RLE), [Quarantine::MaskNotApplied { .. }]));
}

/// A frame's segments: JFIF, Exif, a comment, a scan with a stuffed byte and a restart, another comment.
fn jpeg(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xFF, 0xD8];
    let mut segment = |marker: u8, bytes: &[u8]| {
        frame.extend_from_slice(&[0xFF, marker]);
        frame.extend_from_slice(&u16::try_from(bytes.len() + 2).unwrap().to_be_bytes());
        frame.extend_from_slice(bytes);
    };
    segment(0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0");
    segment(0xE1, &[b"Exif\0\0", text].concat());
    segment(0xFE, text);
    segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01");
    segment(0xDA, &[1, 1, 0, 0, 63, 0]);
    frame.extend_from_slice(&[1, 2, 0xFF, 0, 3, 0xFF, 0xD0, 4]);
    frame.extend_from_slice(&[0xFF, 0xFE, 0, u8::try_from(text.len() + 2).unwrap()]);
    frame.extend_from_slice(text);
    frame.extend_from_slice(&[0xFF, 0xD9]);
    frame
}

fn jpeg2000(text: &[u8]) -> Vec<u8> {
    let comment = |frame: &mut Vec<u8>| {
        frame.extend_from_slice(&[0xFF, 0x64, 0, u8::try_from(text.len() + 4).unwrap(), 0, 1]);
        frame.extend_from_slice(text);
    };
    let mut frame = vec![0xFF, 0x4F, 0xFF, 0x52, 0, 4, 1, 2];
    comment(&mut frame);
    let start = frame.len();
    frame.extend_from_slice(&[0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1]);
    comment(&mut frame);
    frame.extend_from_slice(&[0xFF, 0x93, 1, 2, 3, 4]);
    let length = u32::try_from(frame.len() - start).unwrap();
    frame[start + 6..start + 10].copy_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0xFF, 0xD9]);
    frame
}

#[test]
fn comments_in_compressed_frames_are_cleared() {
    for (make, syntax, segments) in
        [(jpeg as fn(&[u8]) -> Vec<u8>, "1.2.840.10008.1.2.4.50", 3), (jpeg2000, "1.2.840.10008.1.2.4.90", 2)]
    {
        let frame = make(b"Untersucher Rumpelstilz");
        let mut elements = image("CT", "MONOCHROME2", 1, 8, &[]);
        // Cut in the middle, with padding behind the end that holds something.
        let (first, second) = frame.split_at(frame.len() / 2 / 2 * 2);
        let second = [second, &b"\0Rumpelstilz"[usize::from(second.len() % 2 == 1)..]].concat();
        elements.fragments(vec![Vec::new(), first.to_vec(), second.clone()]);
        let outcome = engine(Profile::default()).deidentify(&elements.file(syntax)).unwrap();
        // What stands behind a frame is zeroed when it cannot be taken for one.
        let Verdict::Released(out) = outcome.verdict else { panic!("{:?}", outcome.report.quarantine) };
        assert!(!contains(&out, b"Rumpelstilz"), "{syntax}");
        assert_eq!(outcome.report.pixels, vec![PixelWork::CommentsCleared { segments }]);
        let expected = make(&[0; 23]);
        let place = out.windows(4).rposition(|window| window == &expected[..4]).unwrap();
        if syntax.ends_with("50") {
            assert!(contains(&out, b"JFIF") && contains(&out, b"Adobe") && !contains(&out, b"Exif"));
            assert!(contains(&out, &[1, 2, 0xFF, 0, 3, 0xFF, 0xD0, 4]), "the scan is as it was");
        } else {
            assert!(out[place..].windows(6).any(|window| window == [0xFF, 0x93, 1, 2, 3, 4]));
        }
        // Cut off, it cannot be followed to its end.
        let cut = &frame[..frame.len() - 4];
        elements.fragments(vec![Vec::new(), cut[..cut.len() / 2 * 2].to_vec()]);
        assert!(matches!(
            *quarantine(Profile::default(), &elements, syntax),
            [Quarantine::UnreadableCodestream { .. }]
        ));
    }
}
