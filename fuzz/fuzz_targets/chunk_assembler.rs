//! A stream of chunk records with hostile indices, totals and lengths.
//!
//! The input is a list of (header length, header, part length, part) with one byte per length.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lumenbus_wire::{Assembled, ChunkAssembler, Header};

const LIMIT_BYTES: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let mut assembler = ChunkAssembler::new(LIMIT_BYTES);
    let mut rest = data;
    let mut received_bytes = 0;
    let mut offset = 0;
    while let Some((header, part)) = take(&mut rest).zip(take(&mut rest)) {
        offset += 1;
        let Ok(decoded) = Header::decode(header) else {
            continue;
        };
        received_bytes += part.len();
        let (header, part) = (Bytes::copy_from_slice(header), Bytes::copy_from_slice(part));
        if let Assembled::Complete { record, .. } = assembler.push(decoded, header, offset, part) {
            assert!(record.payload.len() <= LIMIT_BYTES, "a frame above the limit");
        }
        if let Some(open) = assembler.open() {
            assert!(open.bytes_held <= received_bytes, "more is held than was received");
        }
    }
});

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&length, tail) = rest.split_first()?;
    let (taken, tail) = tail.split_at_checked(usize::from(length))?;
    *rest = tail;
    Some(taken)
}
