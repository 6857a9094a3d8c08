//! Objects in pieces: header, blob and tail are the bytes that came, and the cut does not depend on the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_dicom::cut::{Cut, Cutter, Input, Part, SplitLimits};
use std::convert::Infallible;

const LIMITS: SplitLimits = SplitLimits { header_bytes: 4096, tail_bytes: 256, chunk_bytes: 1024 };
const SYNTAXES: [&str; 4] =
    ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"];

fn cut(object: &[u8], piece: usize, input: Input) -> (Cut, Vec<u8>) {
    let mut blob = Vec::new();
    let mut sink = |part: Part<'_>| -> Result<(), Infallible> {
        if let Part::Blob(bytes) = part {
            blob.extend_from_slice(bytes);
        }
        Ok(())
    };
    let mut cutter = Cutter::new(input, LIMITS);
    for piece in object.chunks(piece) {
        let Ok(()) = cutter.push(piece, &mut sink);
    }
    let Ok(cut) = cutter.finish(&mut sink);
    (cut, blob)
}

fuzz_target!(|data: &[u8]| {
    let [kind, piece, object @ ..] = data else { return };
    let input = match SYNTAXES.get(usize::from(*kind)) {
        Some(&syntax) => Input::DataSet { transfer_syntax: syntax.to_owned() },
        None => Input::File,
    };
    let (whole, blob) = cut(object, object.len().max(1), input.clone());
    let (in_pieces, same_blob) = cut(object, usize::from(*piece).max(1), input);
    assert_eq!(whole, in_pieces, "the cut depends on the pieces");
    assert_eq!(blob, same_blob);
    assert!([&whole.header[..], &blob, &whole.tail].concat() == object, "bytes have changed");
    assert!(whole.header.len() <= LIMITS.header_bytes + 12 && whole.tail.len() <= LIMITS.tail_bytes);
});
