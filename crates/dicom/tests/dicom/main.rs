//! Objects through the whole of it: cut, record, encoded, decoded, assembled; and what others would make of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod assembly;
mod files;
mod golden;
mod hostile;
mod made;
mod memory;
mod names;
mod pictures;

use bytes::Bytes;
use lumenbus_dicom::DicomError;
use lumenbus_dicom::assemble::Assembly;
use lumenbus_dicom::cut::{Chunk, Input, SplitLimits, Splitter};
use lumenbus_dicom::record::{Framing, Metadata, ObjectId, Part, PartCollector, RecordHeader, parts};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

const ID: ObjectId = ObjectId::from_bytes(*b"lumenbus golden!");

/// The objects that are there for all; `None`, said loudly, where they are not.
fn data() -> Option<PathBuf> {
    let data = std::env::var_os("LUMENBUS_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let folder = data.join("dicom");
    if folder.exists() {
        return Some(folder);
    }
    let must_run = std::env::var_os("LUMENBUS_REQUIRE_ALL").is_some_and(|all| all == "1");
    assert!(!must_run, "{} is not there, and LUMENBUS_REQUIRE_ALL=1", folder.display());
    eprintln!("SKIPPED: {} is not there", folder.display());
    None
}

/// The Python with pydicom and fastavro; `None`, said loudly, where there is none.
fn python() -> Option<std::ffi::OsString> {
    let python = std::env::var_os("LUMENBUS_PYTHON");
    if python.is_none() {
        let must_run = std::env::var_os("LUMENBUS_REQUIRE_ALL").is_some_and(|all| all == "1");
        assert!(!must_run, "LUMENBUS_PYTHON is not set, and LUMENBUS_REQUIRE_ALL=1");
        eprintln!("SKIPPED: LUMENBUS_PYTHON is not set");
    }
    python
}

/// Every file below the folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Metadata without offsets in Kafka, and the chunks.
fn split(file: &[u8], piece_bytes: usize, input: Input, limits: SplitLimits) -> (Metadata, Vec<Chunk>) {
    let mut chunks = Vec::new();
    let mut keep = |chunk: Chunk| -> Result<(), Infallible> {
        assert!(chunk.bytes.len() <= limits.chunk_bytes && !chunk.bytes.is_empty());
        chunks.push(chunk);
        Ok(())
    };
    let mut splitter = Splitter::new(ID, input, limits);
    for piece in file.chunks(piece_bytes) {
        splitter.push(piece, &mut keep).unwrap();
    }
    let metadata = splitter.finish(&mut keep).unwrap();
    for chunk in &chunks {
        assert_eq!(chunk.key, metadata.key(), "one key for all records of an object");
        assert_eq!(chunk.compressible, metadata.is_compressible());
    }
    (metadata, chunks)
}

/// As Kafka would store it: the metadata's records.
fn stored(metadata: &mut Metadata, framing: Framing) -> Vec<Part> {
    let offsets: Vec<i64> = (0..metadata.chunks.len()).map(|place| i64::try_from(1_000 + 3 * place).unwrap()).collect();
    metadata.set_offsets(&offsets).unwrap();
    parts(ID, &metadata.encode_as(framing).unwrap()).collect()
}

/// From records to the file.
fn assembled(records: &[Part], chunks: &[Chunk]) -> Result<(Metadata, Vec<u8>), DicomError> {
    let mut collector = PartCollector::new();
    let mut whole = None;
    for part in records {
        let RecordHeader::Part(header) = RecordHeader::decode(&part.header.to_bytes())? else { panic!("a chunk") };
        whole = collector.push(&header, &part.value)?.or(whole);
    }
    let metadata = Metadata::decode(&whole.unwrap())?;
    let mut assembly = Assembly::begin(&metadata, Vec::new())?;
    for chunk in chunks {
        let RecordHeader::Chunk(header) = RecordHeader::decode(&chunk.header(ID).to_bytes())? else { panic!("a part") };
        assert!(assembly.push(&header, &chunk.bytes)?);
    }
    let file = assembly.finish()?;
    Ok((metadata, file))
}

/// There and back; the metadata as it was before and after.
fn round_trip(file: &[u8], piece_bytes: usize) -> (Metadata, Vec<Chunk>) {
    let (mut metadata, chunks) = split(file, piece_bytes, Input::File, SplitLimits::default());
    let records = stored(&mut metadata, Framing::SingleObject);
    let (decoded, again) = assembled(&records, &chunks).unwrap();
    assert_eq!(decoded, metadata);
    assert!(again == file, "{} bytes came back as {}", file.len(), again.len());
    assert_eq!(metadata.file_length, file.len() as u64);
    (metadata, chunks)
}

/// The blob.
fn blob(chunks: &[Chunk]) -> Bytes {
    chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect()
}
