//! Access units into MP4 segments: whatever a camera sends, boxes add up and times rise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_frame::bitstream::NalCodec;

// The files themselves: the crate around them would bring a Kafka client and codecs into this build.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../crates/pipeline/src/mux/mod.rs"]
mod mux;

use mux::{LiveFrame, LiveMuxer};

/// The lengths of the top-level boxes cover the bytes exactly.
fn check_boxes(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (length, _) = bytes.split_first_chunk::<4>().expect("a box has a length");
        let length = u32::from_be_bytes(*length) as usize;
        assert!((8..=bytes.len()).contains(&length));
        bytes = &bytes[length..];
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let codec = if choice & 1 == 0 { NalCodec::H264 } else { NalCodec::H265 };
    let mut muxer = LiveMuxer::new(codec);
    // Frames are separated by a byte pair that start codes do not hold; each begins with flags and a time.
    for part in rest.split(|byte| *byte == 0xfe) {
        let Some((head, access_unit)) = part.split_first_chunk::<9>() else { continue };
        let pts_micros = i64::from_be_bytes(head[1..].try_into().expect("eight bytes"));
        let frame = LiveFrame {
            access_unit,
            pts_micros: pts_micros >> (head[0] >> 2),
            is_keyframe: head[0] & 1 == 1,
            begins_anew: head[0] & 2 == 2,
        };
        if let Ok(Some(muxed)) = muxer.push(&frame) {
            check_boxes(&muxed.segment);
            muxed.initialisation.iter().for_each(|segment| check_boxes(segment));
        }
    }
});
