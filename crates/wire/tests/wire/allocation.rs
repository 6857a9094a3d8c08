//! What steady state must not allocate.

use crate::samples::{self, Sample};
use allocation_counter::measure;
use bytes::BytesMut;
use lumenbus_wire::{Header, Opened};

fn delta() -> Sample {
    samples::all().into_iter().find(|sample| sample.name == "native-delta").unwrap()
}

#[test]
fn decoding_an_ordinary_delta_header_allocates_nothing() {
    let bytes = samples::worst_delta().to_bytes();
    let counted = measure(|| assert!(Header::decode(&bytes).is_ok()));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn encoding_an_ordinary_delta_header_allocates_nothing() {
    let header = samples::worst_delta();
    let mut out = BytesMut::with_capacity(64);
    let counted = measure(|| header.encode(&mut out));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn opening_an_ordinary_delta_record_allocates_nothing() {
    let sample = delta();
    // The first clone of `Bytes` made from a `Vec` allocates its counter.
    let _shared = sample.clone();
    let counted = measure(|| assert!(matches!(sample.open(), Ok(Opened::Frame(_)))));
    assert_eq!(counted.count_total, 0);
}
