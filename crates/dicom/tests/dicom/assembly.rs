//! What an assembly says when chunks are missing, wrong, doubled or another's.

use crate::made::native;
use crate::{ID, split, stored};
use lumenbus_dicom::DicomError;
use lumenbus_dicom::assemble::Assembly;
use lumenbus_dicom::cut::{Chunk, Input, SplitLimits};
use lumenbus_dicom::record::{ChunkRef, Framing, Metadata, ObjectId};

fn three_chunks() -> (Metadata, Vec<Chunk>) {
    let limits = SplitLimits { chunk_bytes: 8, ..SplitLimits::default() };
    let (mut metadata, chunks) = split(&native(), 64, Input::File, limits);
    stored(&mut metadata, Framing::SingleObject);
    assert_eq!(chunks.len(), 3);
    (metadata, chunks)
}

#[test]
fn repeats_are_ignored_and_missing_chunks_named() {
    let (metadata, chunks) = three_chunks();
    let mut assembly = Assembly::begin(&metadata, Vec::new()).unwrap();
    assert!(assembly.push(&chunks[0].header(ID), &chunks[0].bytes).unwrap());
    assert!(!assembly.push(&chunks[0].header(ID), &chunks[0].bytes).unwrap());
    let error = assembly.push(&chunks[2].header(ID), &chunks[2].bytes).unwrap_err();
    assert!(matches!(error, DicomError::WrongChunk { expected: 1, found: 2, .. }), "{error}");
    let other = assembly.push(&chunks[1].header(ObjectId::from_bytes([0; 16])), &chunks[1].bytes).unwrap_err();
    assert!(matches!(other, DicomError::WrongChunk { expected: 1, found: 1, .. }), "{other}");
    assert_eq!(assembly.next_chunk(), Some(1));
    let error = assembly.finish().unwrap_err();
    assert!(matches!(error, DicomError::MissingChunks { first_missing: 1, last_missing: 2, .. }), "{error}");
}

#[test]
fn a_damaged_chunk_is_not_written_and_the_right_one_may_follow() {
    let (metadata, chunks) = three_chunks();
    let mut assembly = Assembly::begin(&metadata, Vec::new()).unwrap();
    let mut damaged = chunks[0].bytes.to_vec();
    damaged[3] ^= 1;
    for wrong in [&damaged[..], &chunks[0].bytes[1..], &[]] {
        let error = assembly.push(&chunks[0].header(ID), wrong).unwrap_err();
        assert!(matches!(error, DicomError::Chunk { index: 0, .. }), "{error}");
    }
    for chunk in &chunks {
        assert!(assembly.push(&chunk.header(ID), &chunk.bytes).unwrap());
    }
    assert_eq!(assembly.next_chunk(), None);
    assert_eq!(assembly.finish().unwrap(), native());
}

#[test]
fn another_hash_is_told_at_the_end() {
    let check = |change: &dyn Fn(&mut Metadata), part: &str| {
        let (mut metadata, chunks) = three_chunks();
        change(&mut metadata);
        let mut assembly = Assembly::begin(&metadata, Vec::new()).unwrap();
        for chunk in &chunks {
            assembly.push(&chunk.header(ID), &chunk.bytes).unwrap();
        }
        let error = assembly.finish().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(&|metadata| metadata.file_sha256[0] ^= 1, "the file");
    check(&|metadata| metadata.pixels.as_mut().unwrap().sha256[0] ^= 1, "the pixels");
    check(&|metadata| metadata.pixels.as_mut().unwrap().length = 23, "the pixels");
}

#[test]
fn records_that_contradict_themselves_write_nothing() {
    let check = |change: &dyn Fn(&mut Metadata)| {
        let (mut metadata, _) = three_chunks();
        change(&mut metadata);
        let mut out = Vec::new();
        let error = Assembly::begin(&metadata, &mut out).err().map(|error| error.to_string());
        assert!(error.is_some() && out.is_empty(), "{error:?}");
        assert!(metadata.encode().is_err());
    };
    check(&|metadata| metadata.file_length += 1);
    check(&|metadata| metadata.chunks[1].length = u32::MAX);
    check(&|metadata| metadata.chunks[1].length = 0);
    check(&|metadata| metadata.chunks.truncate(2));
    check(&|metadata| metadata.pixels.as_mut().unwrap().offset = 0);
    check(&|metadata| metadata.pixels.as_mut().unwrap().length = u64::MAX);
    check(&|metadata| metadata.pixels.as_mut().unwrap().fragments = 5);
}

#[test]
fn chunks_in_kafka_ascend() {
    let check = |offsets: [i64; 3], valid: bool| {
        let (mut metadata, _) = three_chunks();
        metadata.set_offsets(&offsets).unwrap();
        assert_eq!(metadata.encode().is_ok(), valid, "{offsets:?}");
    };
    check([0, 1, 2], true);
    check([5, 100, i64::MAX - 1], true);
    check([-1, -1, -1], false);
    check([5, 5, 6], false);
    check([5, 4, 6], false);
    check([0, 1, i64::MAX], false);
    let (mut metadata, _) = three_chunks();
    assert!(metadata.set_offsets(&[1, 2]).is_err());
    metadata.chunks = vec![ChunkRef { kafka_offset: 0, length: 1, crc32c: 0 }; 300_000];
    assert!(matches!(metadata.check(), Err(DicomError::TooLarge { .. })));
}
