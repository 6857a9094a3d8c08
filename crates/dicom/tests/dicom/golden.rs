//! The bytes in `fixtures/dicom/v1` are frozen: this build writes them and reads them.
//!
//! `UPDATE_GOLDEN=1 cargo test -p lumenbus-dicom golden` writes them anew; that is right only for a form that is new.

use crate::made::{deflated, encapsulated, native};
use crate::{ID, assembled, split, stored};
use lumenbus_dicom::DicomError;
use lumenbus_dicom::cut::{Input, SplitLimits};
use lumenbus_dicom::record::{ChunkHeader, Framing, Metadata, PartHeader, RecordHeader};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dicom/v1")
}

fn check(name: &str, bytes: &[u8]) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let frozen = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(frozen == bytes, "{name} has changed");
}

#[test]
fn golden_bytes() {
    let limits = SplitLimits { chunk_bytes: 16, ..SplitLimits::default() };
    let samples = [
        ("native", native(), Framing::SingleObject),
        ("encapsulated", encapsulated(), Framing::Registry { schema_id: 258 }),
        ("deflated", deflated(), Framing::SingleObject),
        ("opaque", b"no DICOM".to_vec(), Framing::SingleObject),
        ("empty", Vec::new(), Framing::SingleObject),
    ];
    for (name, file, framing) in samples {
        // What other builds of zlib write is another stream: the object itself is frozen too.
        let frozen = folder().join(format!("{name}.dcm"));
        let file = if name == "deflated" && frozen.exists() { std::fs::read(frozen).unwrap() } else { file };
        check(&format!("{name}.dcm"), &file);
        let (mut metadata, chunks) = split(&file, 7, Input::File, limits);
        let records = stored(&mut metadata, framing);
        assert_eq!(records.len(), 1);
        check(&format!("{name}.metadata.lbd"), &records[0].header.to_bytes());
        check(&format!("{name}.metadata.value"), &records[0].value);
        for chunk in &chunks {
            check(&format!("{name}.chunk-{}.lbd", chunk.index), &chunk.header(ID).to_bytes());
            check(&format!("{name}.chunk-{}.value", chunk.index), &chunk.bytes);
        }
        check(&format!("{name}.key"), metadata.key().as_str().as_bytes());
        assert_eq!(assembled(&records, &chunks).unwrap().1, file, "{name}");
    }
}

#[test]
fn headers_have_the_lengths_that_the_reference_says() {
    assert_eq!((ChunkHeader::BYTES, PartHeader::BYTES), (34, 42));
}

#[test]
fn records_of_later_versions_are_told_apart_from_damage() {
    let value = bytes::Bytes::from(std::fs::read(folder().join("native.metadata.value")).unwrap());
    let mut newer = value.to_vec();
    newer[2] ^= 0xFF;
    let error = Metadata::decode(&newer.into()).unwrap_err();
    assert!(matches!(error, DicomError::Schema { version: 1, .. }), "{error}");
    assert!(matches!(Metadata::decode(&value.slice(1..)), Err(DicomError::Framing)));
    let mut header = std::fs::read(folder().join("native.metadata.lbd")).unwrap();
    header[0] = 9;
    assert!(matches!(RecordHeader::decode(&header), Err(DicomError::HeaderVersion { found: 9, .. })));
}
