//! Chunks that do not add up.

use crate::samples::header;
use allocation_counter::measure;
use bytes::Bytes;
use lumenbus_wire::{Assembled, Chunk, ChunkAssembler, ChunkPlan, Header, WireError};

const LIMIT: usize = 1000;
const TYPE: &str = "image/jpeg";

/// The chunks of a 10-byte frame in 4, 4 and 2 bytes, as headers and parts.
fn three(seq: u64) -> Vec<(Header, Bytes)> {
    let plan = ChunkPlan::new(Bytes::from_static(b"0123456789"), TYPE, 4);
    plan.map(|(chunk, part)| (header(seq).for_chunk(chunk, &part), part)).collect()
}

fn push(assembler: &mut ChunkAssembler, (header, part): &(Header, Bytes)) -> Assembled {
    assembler.push(header.clone(), header.to_bytes(), 100, part.clone())
}

/// Pushes all of them; the last answer.
fn last_of(chunks: &[(Header, Bytes)]) -> Assembled {
    let mut assembler = ChunkAssembler::new(LIMIT);
    let mut answers: Vec<_> = chunks.iter().map(|chunk| push(&mut assembler, chunk)).collect();
    answers.pop().unwrap()
}

#[track_caller]
fn check_broken(chunks: &[(Header, Bytes)], expected: &str) {
    match last_of(chunks) {
        Assembled::Broken { error, .. } => {
            assert!(error.to_string().contains(expected), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// `three` with one thing changed in the chunk `index`.
fn with(index: usize, change: impl Fn(&mut Chunk)) -> Vec<(Header, Bytes)> {
    let mut chunks = three(1);
    change(chunks[index].0.chunk.as_mut().unwrap());
    chunks.truncate(index + 1);
    chunks
}

#[test]
fn claims_that_cannot_be_true() {
    check_broken(&with(0, |chunk| chunk.count = 0), "chunk.count");
    check_broken(&with(0, |chunk| chunk.count = u32::MAX), "chunk.count");
    check_broken(&with(0, |chunk| chunk.total_bytes = u64::MAX), "the limit is 1000");
    check_broken(&with(0, |chunk| chunk.total_bytes = 1001), "the limit is 1000");
    check_broken(&with(0, |chunk| chunk.total_bytes = 3), "chunk.total_bytes");
    check_broken(&with(0, |chunk| chunk.total_bytes = 0), "chunk.count");
    check_broken(&with(0, |chunk| chunk.content_type.clear()), "chunk.content_type");
    check_broken(&with(0, |chunk| chunk.content_type = "x".repeat(10_000)), "content_type");
    for kind in ["chunk", "batch", "gap", "later"] {
        let kind = format!("application/vnd.lumenbus.{kind}");
        check_broken(&with(0, |chunk| chunk.content_type.clone_from(&kind)), "content_type");
    }
    check_broken(&with(1, |chunk| chunk.index = 2), "chunk.index");
    check_broken(&with(1, |chunk| chunk.count = 4), "same as on chunk 0");
    check_broken(&with(1, |chunk| chunk.total_bytes = 11), "same as on chunk 0");
    check_broken(&with(1, |chunk| chunk.total_crc32c = 11), "same as on chunk 0");
    check_broken(&with(1, |chunk| chunk.content_type = "image/png".into()), "same as on chunk 0");
    check_broken(&with(2, |chunk| chunk.index = 3), "chunk.index");
}

#[test]
fn totals_must_be_met() {
    let change = |total_bytes, total_crc32c| {
        let mut chunks = three(1);
        let first = chunks[0].0.chunk.as_mut().unwrap();
        first.total_bytes = total_bytes;
        first.total_crc32c ^= total_crc32c;
        chunks
    };
    check_broken(&change(9, 0), "chunk.total_bytes");
    check_broken(&change(11, 0), "chunk.total_bytes");
    check_broken(&change(10, 1), "CRC-32C");
    let mut empty_part = three(1);
    empty_part[1].1 = Bytes::new();
    empty_part.truncate(2);
    check_broken(&empty_part, "not empty");
}

#[test]
fn repeats_orphans_and_strangers_change_nothing() {
    let mut assembler = ChunkAssembler::new(LIMIT);
    let chunks = three(1);
    assert!(matches!(push(&mut assembler, &chunks[1]), Assembled::Orphan));
    assert!(matches!(push(&mut assembler, &chunks[0]), Assembled::Pending));
    assert!(matches!(push(&mut assembler, &chunks[0]), Assembled::Repeated));
    assert!(matches!(push(&mut assembler, &three(2)[1]), Assembled::Orphan));
    assert!(matches!(push(&mut assembler, &chunks[1]), Assembled::Pending));
    assert!(matches!(push(&mut assembler, &chunks[0]), Assembled::Repeated));
    assert!(matches!(push(&mut assembler, &chunks[1]), Assembled::Repeated));
    let Assembled::Complete { record, first_offset: 100 } = push(&mut assembler, &chunks[2]) else {
        panic!("not whole")
    };
    assert_eq!(record.payload, Bytes::from_static(b"0123456789"));
    assert!(matches!(push(&mut assembler, &chunks[2]), Assembled::Orphan));
}

#[test]
fn after_a_broken_frame_the_next_one_is_whole() {
    let mut assembler = ChunkAssembler::new(LIMIT);
    let (broken, whole) = (three(1), three(2));
    push(&mut assembler, &broken[0]);
    assert!(matches!(push(&mut assembler, &broken[2]), Assembled::Broken { .. }));
    assert_eq!(assembler.open(), None);
    assert!(matches!(push(&mut assembler, &broken[1]), Assembled::Orphan));
    push(&mut assembler, &whole[0]);
    push(&mut assembler, &whole[1]);
    assert!(matches!(push(&mut assembler, &whole[2]), Assembled::Complete { .. }));
}

#[test]
fn an_incomplete_frame_can_be_closed() {
    let mut assembler = ChunkAssembler::new(LIMIT);
    push(&mut assembler, &three(1)[0]);
    let open = assembler.close().unwrap();
    assert_eq!((open.id, open.first_offset, open.bytes_held), (header(1).id, 100, 4));
    assert_eq!(assembler.close(), None);
}

#[test]
fn a_frame_without_chunk_field_or_of_another_stream_is_broken() {
    check_broken(&[(header(1), Bytes::new())], "chunk is absent");
    let mut chunks = three(1);
    chunks[1].0.stream = Some("other".parse().unwrap());
    chunks.truncate(2);
    check_broken(&chunks, "same stream");
}

#[test]
fn an_envelope_of_another_frame_is_refused() {
    let mut inner = header(1);
    let envelope = lumenbus_wire::Envelope::Protobuf;
    let wrapped = envelope.wrap(&mut inner, lumenbus_frame::Codec::Jpeg, &Bytes::from_static(b"x"));
    let plan = ChunkPlan::new(wrapped.value, wrapped.content_type, 30);
    let chunks: Vec<_> = plan.map(|(chunk, part)| (header(2).for_chunk(chunk, &part), part)).collect();
    check_broken(&chunks, "same stream, epoch and seq");
}

#[test]
fn memory_follows_what_arrives_and_not_what_is_claimed() {
    let limit = 256 << 20;
    let claim =
        Chunk { index: 0, count: 100_000, total_bytes: limit as u64, total_crc32c: 0, content_type: TYPE.to_owned() };
    let mut assembler = ChunkAssembler::new(limit);
    let part = Bytes::from(vec![7; 1000]);
    let counted = measure(|| {
        for index in 0..100 {
            let chunk = if index == 0 { claim.clone() } else { Chunk { index, ..Chunk::default() } };
            let header = Header { chunk: Some(chunk), ..header(1) };
            let answer = assembler.push(header, Bytes::new(), 0, part.clone());
            assert!(matches!(answer, Assembled::Pending), "{answer:?}");
        }
    });
    assert_eq!(assembler.open().unwrap().bytes_held, 100_000);
    // Growing in place may hold the old and the new buffer for a moment.
    assert!(counted.bytes_max < 4 * 100_000, "{counted:?}");
}

#[test]
fn a_whole_frame_holds_no_more_than_its_bytes() {
    let value = Bytes::from(vec![3; 1_000_000]);
    let mut assembler = ChunkAssembler::new(1 << 20);
    let plan = ChunkPlan::new(value.clone(), TYPE, 70_001);
    let mut record = None;
    let counted = measure(|| {
        for (chunk, part) in plan {
            let header = Header { chunk: Some(chunk), ..header(1) };
            if let Assembled::Complete { record: whole, .. } = assembler.push(header, Bytes::new(), 0, part) {
                record = Some(whole);
            }
        }
    });
    assert_eq!(record.unwrap().payload, value);
    assert!(counted.bytes_current < 1_001_000, "{counted:?}");
}

#[test]
fn sealed_chunks_are_whole_but_not_open() {
    let mut chunks = with(0, |chunk| {
        chunk.content_type = lumenbus_wire::content_type::SEALED.to_owned();
    });
    chunks[0].0.seal = Some(lumenbus_wire::Seal {
        algorithm: 1,
        key_id: Bytes::new(),
        nonce: Bytes::new(),
        content_type: TYPE.to_owned(),
    });
    chunks.extend(three(1).into_iter().skip(1));
    match last_of(&chunks) {
        Assembled::Broken { error: WireError::Sealed { algorithm: 1 }, .. } => {}
        other => panic!("{other:?}"),
    }
}
