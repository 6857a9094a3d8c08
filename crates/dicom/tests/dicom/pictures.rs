//! Frames as samples, and what pydicom and numpy make of the same files.

use crate::made::{file_meta, whole};
use crate::{blob, data, files, python, round_trip};
use lumenbus_dicom::catalogue::PatientData;
use lumenbus_dicom::described::{Shown, lines};
use lumenbus_dicom::picture::{Image, Picture, SampleKind};
use lumenbus_dicom::record::Metadata;
use lumenbus_dicom::syntax::EXPLICIT_LITTLE;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Of a frame, as it would be shown.
fn picture(metadata: &Metadata, blob: &[u8], frame: u64) -> Result<Picture, String> {
    let image = Image::of(metadata).map_err(|why| why.to_string())?;
    let place = image.place(metadata, frame).map_err(|why| why.to_string())?;
    let mut bytes = Vec::new();
    for (index, start) in place.chunks(metadata) {
        let at = usize::try_from(start).unwrap();
        let chunk = &blob[at..at + metadata.chunks[index].length as usize];
        place.of_chunk(start, chunk).for_each(|piece| bytes.extend_from_slice(piece));
    }
    assert_eq!(bytes.len() as u64, place.length(), "the chunks hold the whole frame");
    image.decode(&place, &bytes).map_err(|why| why.to_string())
}

/// What cannot be shown is said so; everything else has the values that pydicom finds: the same ones, or of lossy colours
/// nearly the same.
#[test]
fn samples_are_those_that_pydicom_finds() {
    let (Some(folder), Some(python)) = (data(), python()) else { return };
    let out = tempfile::tempdir().unwrap();
    let (mut list, mut refused) = (Vec::new(), 0);
    for path in files(&folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "dcm")) {
        let (metadata, chunks) = round_trip(&std::fs::read(&path).unwrap(), 64 << 10);
        let Ok(image) = Image::of(&metadata) else {
            refused += usize::from(metadata.pixels.is_some());
            continue;
        };
        let blob = blob(&chunks);
        for frame in [0, image.frames - 1] {
            let Ok(picture) = picture(&metadata, &blob, frame) else {
                refused += 1;
                continue;
            };
            let samples = out.path().join(list.len().to_string());
            std::fs::write(&samples, &picture.bytes).unwrap();
            list.push(json!({ "file": path, "frame": frame, "kind": picture.kind.as_str(), "samples": samples }));
        }
    }
    std::fs::write(out.path().join("list.json"), serde_json::to_vec(&list).unwrap()).unwrap();
    let judge = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge/pictures.py");
    let ran = Command::new(python).arg(judge).arg(out.path().join("list.json")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(said["wrong"], json!([]), "{said:#}");
    let number = |name: &str| said[name].as_u64().unwrap();
    assert!(number("same") >= 60, "{said:#}");
    eprintln!(
        "{} frames the same, {} nearly, {} not judged, {refused} said to be not shown",
        number("same"),
        number("near"),
        number("unknown")
    );
}

#[test]
fn nothing_of_a_patient_is_in_masked_lines() {
    let Some(folder) = data() else { return };
    let mut seen = 0;
    for path in files(&folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "dcm")) {
        let (metadata, _) = round_trip(&std::fs::read(&path).unwrap(), 64 << 10);
        let (shown, _) = lines(&metadata.attributes, PatientData::Shown);
        let (hidden, _) = lines(&metadata.attributes, PatientData::Masked);
        let text = format!("{hidden:?}").to_lowercase();
        for line in shown.iter().filter(|line| line.tag.0 == 0x0010_0010 || line.tag.0 == 0x0010_0020) {
            let Shown::Text(value) = &line.value else { continue };
            let parts = value.split(|letter: char| !letter.is_alphanumeric()).filter(|part| part.len() >= 4);
            for part in parts.filter(|part| !part.bytes().all(|byte| byte.is_ascii_digit())) {
                assert!(!text.contains(&format!("text(\"{}", part.to_lowercase())), "{}: {part}", path.display());
                seen += 1;
            }
        }
        assert!(
            !hidden.iter().any(|line| line.vr == "PN" && matches!(line.value, Shown::Text(_))),
            "{}",
            path.display()
        );
    }
    assert!(seen > 50, "{seen} names");
}

#[test]
fn a_frame_needs_its_own_chunks_only() {
    let frames: Vec<u8> = (0..40_u8).flat_map(|frame| vec![frame; 512 * 512]).collect();
    let number = |value: u16| value.to_le_bytes();
    let attributes = [
        whole(0x0028_0002, "US", &number(1)),
        whole(0x0028_0004, "CS", b"MONOCHROME2 "),
        whole(0x0028_0008, "IS", b"40"),
        whole(0x0028_0010, "US", &number(512)),
        whole(0x0028_0011, "US", &number(512)),
        whole(0x0028_0100, "US", &number(8)),
    ];
    let pixels = whole(0x7FE0_0010, "OB", &frames);
    let file = [file_meta(EXPLICIT_LITTLE), attributes.concat(), pixels].concat();
    let (metadata, chunks) = round_trip(&file, 64 << 10);
    let image = Image::of(&metadata).unwrap();
    let place = image.place(&metadata, 39).unwrap();
    let wanted = place.chunks(&metadata);
    assert!(metadata.chunks.len() > 8 && wanted.len() <= 2, "{} of {}", wanted.len(), metadata.chunks.len());
    let picture = picture(&metadata, &blob(&chunks), 39).unwrap();
    assert_eq!((picture.kind, picture.bytes), (SampleKind::U8, vec![39; 512 * 512]));
    assert!(image.place(&metadata, 40).is_err());
}
