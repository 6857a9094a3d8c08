//! An H.264 or H.265 byte stream in pieces: the cut does not depend on the pieces, and no byte of a
//! NAL unit is lost.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lumenbus_frame::bitstream::{AccessUnitSplitter, NalCodec, Normaliser, nal_units, split_access_units};

fuzz_target!(|data: &[u8]| {
    let [kind, piece, stream @ ..] = data else {
        return;
    };
    let codec = if kind % 2 == 0 { NalCodec::H264 } else { NalCodec::H265 };
    let whole: Vec<Bytes> = split_access_units(codec, &Bytes::copy_from_slice(stream)).collect();
    let mut splitter = AccessUnitSplitter::new(codec);
    let mut pieces = Vec::new();
    for part in stream.chunks(usize::from(*piece).max(1)) {
        splitter.push(part);
        while let Ok(Some(unit)) = splitter.next_unit() {
            pieces.push(unit);
        }
    }
    splitter.finish();
    while let Ok(Some(unit)) = splitter.next_unit() {
        pieces.push(unit);
    }
    let units = |cut: &[Bytes]| -> Vec<Vec<u8>> {
        cut.iter().flat_map(|unit| nal_units(unit).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
    };
    assert_eq!(units(&pieces), units(&whole), "the cut depends on the pieces");
    let mut normaliser = Normaliser::annex_b(codec);
    for unit in &whole {
        let _ = normaliser.normalise(unit);
    }
});
