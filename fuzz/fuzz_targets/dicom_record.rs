//! Metadata records: what is accepted survives being written again, and assembles to nothing but the object it proves.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lumenbus_dicom::assemble::Assembly;
use lumenbus_dicom::record::{ChunkHeader, Metadata, PartCollector, RecordHeader};

fuzz_target!(|data: &[u8]| {
    let Some((&length, rest)) = data.split_first() else { return };
    let (header, value) = rest.split_at(rest.len().min(usize::from(length)));
    let value = Bytes::copy_from_slice(value);
    if let Ok(RecordHeader::Part(header)) = RecordHeader::decode(header) {
        let _ = PartCollector::new().push(&header, &value);
    }
    let Ok(metadata) = Metadata::decode(&value) else { return };
    let again = metadata.encode().expect("what was decoded is encoded");
    assert_eq!(Metadata::decode(&again).expect("what was encoded is decoded"), metadata);
    let mut assembly = Assembly::begin(&metadata, Vec::new()).expect("what was decoded has been checked");
    let mut offset = 0;
    for (index, chunk) in metadata.chunks.iter().enumerate().take(16) {
        let bytes = vec![0; (chunk.length as usize).min(1 << 16)];
        let crc32c = crc32c::crc32c(&bytes);
        let header = ChunkHeader { object_id: metadata.object_id, index: index as u32, offset, crc32c };
        if assembly.push(&header, &bytes).is_err() {
            return;
        }
        offset += u64::from(chunk.length);
    }
    if let Ok(file) = assembly.finish() {
        assert_eq!(file.len() as u64, metadata.file_length);
    }
});
