//! The objects that everybody tests with, and what pydicom and fastavro say of them.

use crate::{blob, data, files, python, round_trip, stored};
use lumenbus_dicom::record::{Framing, Grouping, Metadata};
use lumenbus_dicom::syntax;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The only objects among them that are not cut: an empty one, a text, and one that begins with a stray byte.
const OPAQUE: [&str; 3] = ["made/empty.dcm", "made/not_dicom.dcm", "pydicom/no_meta.dcm"];
/// Where pydicom finds no pixels: it wants the sequence's delimiter, or the preamble.
const GIVES_UP: [&str; 2] = ["made/encaps_no_seq_delim.dcm", "made/no_preamble_DICM_first.dcm"];

fn name(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_file_comes_back_and_the_cut_does_not_depend_on_the_pieces() {
    let Some(folder) = data() else { return };
    let mut opaque = BTreeSet::new();
    let (mut count, mut with_pixels) = (0, 0);
    for path in files(&folder) {
        let file = std::fs::read(&path).unwrap();
        let name = name(&path, &folder);
        let (metadata, chunks) = round_trip(&file, 64 << 10);
        for piece_bytes in [1, 7] {
            let (again, in_pieces) = round_trip(&file, piece_bytes);
            assert_eq!(again, metadata, "{name} in pieces of {piece_bytes}");
            assert_eq!(blob(&in_pieces), blob(&chunks), "{name} in pieces of {piece_bytes}");
        }
        count += 1;
        with_pixels += usize::from(metadata.pixels.is_some());
        if metadata.opaque.is_some() && name.ends_with(".dcm") {
            opaque.insert(name);
        }
    }
    println!("{count} files, {with_pixels} cut at their pixels, opaque: {opaque:?}");
    assert!(with_pixels > 0);
    assert!(opaque.iter().map(String::as_str).eq(OPAQUE), "{opaque:?}");
}

fn sample(name: &str) -> Option<Metadata> {
    let file = std::fs::read(data()?.join(name)).unwrap();
    Some(round_trip(&file, 4096).0)
}

#[test]
fn fragments_are_listed_and_grouped() {
    let check = |name: &str, frames, fragments, grouping: &Grouping| {
        let Some(metadata) = sample(name) else { return };
        let pixels = metadata.pixels.unwrap();
        assert_eq!((pixels.frames, pixels.fragments, &pixels.grouping), (frames, fragments, grouping), "{name}");
        assert!(pixels.is_encapsulated());
    };
    check("made/rle_empty_bot.dcm", 2, 2, &Grouping::OnePerFrame);
    check("made/rle_eot.dcm", 2, 2, &Grouping::OnePerFrame);
    check("made/rle_multi_fragment_bot.dcm", 2, 8, &Grouping::Counts(vec![4, 4]));
    check("pydicom/JPEG2000.dcm", 1, 1, &Grouping::Single);
    let Some(native) = sample("pydicom/CT_small.dcm") else { return };
    assert_eq!(native.pixels.unwrap().grouping, Grouping::Native(Some(128 * 128 * 2)));
}

/// Where pydicom and we do not agree, and why.
fn judged(files: &[Value], ours: &BTreeMap<String, Metadata>) -> (usize, Vec<String>) {
    let (mut agree, mut differ) = (0, Vec::new());
    for theirs in files {
        let name = theirs["file"].as_str().unwrap();
        let metadata = &ours[name];
        if metadata.transfer_syntax.as_deref().is_some_and(syntax::is_deflated) || !name.ends_with(".dcm") {
            continue;
        }
        let at = metadata.pixels.as_ref().map(|pixels| pixels.offset);
        let sha256 = metadata.pixels.as_ref().map(|pixels| hex(&pixels.sha256));
        if theirs["at"].as_u64() == at && theirs["sha256"].as_str() == sha256.as_deref() && theirs["error"].is_null() {
            agree += 1;
        } else {
            differ.push(format!("{theirs} ours: {at:?} {:?}", metadata.findings));
        }
    }
    (agree, differ)
}

#[test]
fn pydicom_and_fastavro_agree() {
    let (Some(folder), Some(python)) = (data(), python()) else { return };
    let records = tempfile::tempdir().unwrap();
    let mut ours = BTreeMap::new();
    for (place, path) in files(&folder).into_iter().enumerate() {
        let file = std::fs::read(&path).unwrap();
        let (mut metadata, chunks) = round_trip(&file, 64 << 10);
        let encoded: Vec<u8> =
            stored(&mut metadata, Framing::SingleObject).iter().flat_map(|part| part.value.to_vec()).collect();
        std::fs::write(records.path().join(format!("{place}.avro")), encoded).unwrap();
        std::fs::write(records.path().join(format!("{place}.blob")), blob(&chunks)).unwrap();
        ours.insert(name(&path, &folder), metadata);
    }
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let judge = Command::new(python)
        .arg(crate_folder.join("tests/judge/judge.py"))
        .args([folder.as_path(), records.path()])
        .arg(crate_folder.join("schema/dicom_metadata.avsc"))
        .output()
        .unwrap();
    assert!(judge.status.success(), "{}", String::from_utf8_lossy(&judge.stderr));
    let lines: Vec<Value> =
        String::from_utf8(judge.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files: Vec<Value> = lines.iter().filter(|line| line["file"].is_string()).cloned().collect();
    let (agree, differ) = judged(&files, &ours);
    println!("pydicom agrees on {agree}, differs on {}:\n{}", differ.len(), differ.join("\n"));
    assert_eq!(differ.len(), GIVES_UP.len(), "{differ:?}");
    assert!(differ.iter().zip(GIVES_UP).all(|(differ, name)| differ.contains(name)), "{differ:?}");
    assert!(agree > 0);
    let records: Vec<&Value> = lines.iter().filter(|line| line["record"].is_string()).collect();
    assert_eq!(records.len(), ours.len());
    for record in records {
        assert_eq!(record["sha256"], record["stated"], "{record}");
        assert_ne!(record["pixels"], false, "{record}");
    }
}
