//! Memory does not grow with the object.

use crate::ID;
use crate::made::{element, file_meta, image, item};
use lumenbus_dicom::assemble::Assembly;
use lumenbus_dicom::cut::{Chunk, Input, SplitLimits, Splitter};
use lumenbus_dicom::record::Metadata;
use lumenbus_dicom::syntax::EXPLICIT_LITTLE;
use std::convert::Infallible;

const PIECE: usize = 64 << 10;
const FRAME: usize = 700_000;

/// An encapsulated object of this many frames, as pieces of one buffer.
fn object(frames: u32, mut take: impl FnMut(&[u8])) {
    let head = [file_meta("1.2.840.10008.1.2.4.80"), image(2, frames)].concat();
    take(&head);
    take(&element(0x7FE0_0010, "OB", None, &item(0xFFFE_E000, 0, &[])));
    let piece = vec![0x5A; PIECE];
    for _ in 0..frames {
        take(&item(0xFFFE_E000, u32::try_from(FRAME).unwrap(), &[]));
        let mut left = FRAME;
        while left > 0 {
            let length = left.min(PIECE);
            take(&piece[..length]);
            left -= length;
        }
    }
    take(&item(0xFFFE_E0DD, 0, &[]));
}

fn chunked(frames: u32, mut sink: impl FnMut(&Chunk)) -> Metadata {
    let mut splitter = Splitter::new(ID, Input::File, SplitLimits::default());
    let mut keep = |chunk: Chunk| -> Result<(), Infallible> {
        sink(&chunk);
        Ok(())
    };
    object(frames, |piece| splitter.push(piece, &mut keep).unwrap());
    splitter.finish(&mut keep).unwrap()
}

/// Cuts the object, and puts it together from the chunks of a second cut.
fn check(frames: u32, limit: u64) {
    let mut metadata = None;
    let cut = allocation_counter::measure(|| metadata = Some(chunked(frames, |_| {})));
    let mut metadata = metadata.unwrap();
    assert_eq!(metadata.chunks.len(), frames as usize, "a frame is a chunk");
    metadata.set_offsets(&(0..i64::from(frames)).collect::<Vec<_>>()).unwrap();
    let assembled = allocation_counter::measure(|| {
        let metadata = Metadata::decode(&metadata.encode().unwrap()).unwrap();
        let mut assembly = Assembly::begin(&metadata, std::io::sink()).unwrap();
        chunked(frames, |chunk| assert!(assembly.push(&chunk.header(ID), &chunk.bytes).unwrap()));
        assembly.finish().unwrap();
    });
    eprintln!(
        "{} bytes: at most {} in memory to cut them, {} for both",
        metadata.file_length, cut.bytes_max, assembled.bytes_max
    );
    assert!(cut.bytes_max < limit && assembled.bytes_max < 2 * limit);
}

/// 64 frames; `LUMENBUS_DICOM_FRAMES=6200` is an object of 4.3 GB.
#[test]
fn many_frames_take_the_room_of_a_few() {
    let frames = std::env::var("LUMENBUS_DICOM_FRAMES").map_or(64, |frames| frames.parse().unwrap());
    check(frames, 4 << 20);
}

#[test]
fn a_header_that_never_ends_takes_no_more_than_its_limit() {
    let limits = SplitLimits::default();
    let info = allocation_counter::measure(|| {
        let mut splitter = Splitter::new(ID, Input::File, limits);
        let mut sink = |_| -> Result<(), Infallible> { Ok(()) };
        splitter.push(&file_meta(EXPLICIT_LITTLE), &mut sink).unwrap();
        // Elements of 60,000 bytes each, 48 MB of them, and no pixels.
        let element = element(0x0009_1001, "LT", Some(60_000), &vec![0x20; 60_000]);
        for _ in 0..800 {
            splitter.push(&element, &mut sink).unwrap();
        }
        let metadata = splitter.finish(&mut sink).unwrap();
        assert_eq!(metadata.opaque.unwrap().code, "header-too-large");
    });
    eprintln!("at most {} bytes", info.bytes_max);
    assert!(info.bytes_max < 28 << 20);
}
