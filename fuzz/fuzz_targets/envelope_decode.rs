//! Whole records of every content type: the first byte chooses it, the second splits header from value.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lumenbus_wire::{RawRecord, content_type, open_record};

const CONTENT_TYPES: [&str; 8] = [
    content_type::ENVELOPE_PROTOBUF,
    content_type::ENVELOPE_MSGPACK,
    content_type::ENVELOPE_JSON,
    content_type::BATCH,
    content_type::CHUNK,
    content_type::SEALED,
    content_type::GAP,
    "image/jpeg",
];

fuzz_target!(|data: &[u8]| {
    let [kind, split, rest @ ..] = data else {
        return;
    };
    let content_type = CONTENT_TYPES[usize::from(*kind) % CONTENT_TYPES.len()];
    let split = usize::from(*split).min(rest.len());
    let (header, value) = rest.split_at(split);
    let header = (split > 0).then(|| Bytes::copy_from_slice(header));
    let value = Some(Bytes::copy_from_slice(value));
    // Only a panic, an overflow or an unbounded allocation counts: most inputs are refused.
    let _ = open_record(RawRecord { content_type: Some(content_type.as_bytes()), header, value });
});
