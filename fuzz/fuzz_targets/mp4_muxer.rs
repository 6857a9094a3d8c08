//! Access units into MP4 segments and files: whatever a camera sends, boxes add up and times rise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_frame::bitstream::NalCodec;
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, Epoch, FrameId, Seq};

// The files themselves: the crate around them would bring a Kafka client and codecs into this build.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../crates/pipeline/src/mux/mod.rs"]
mod mux;

use mux::recording::{Recording, RecordingOptions};
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

/// A file of it, with times that come as they like.
fn record(choice: u8, frames: &[(u8, i64, &[u8])]) {
    let codec = [Codec::H264, Codec::H265, Codec::Av1, Codec::Jpeg][usize::from(choice >> 1 & 3)];
    let mut recording = Recording::new(Vec::new(), RecordingOptions { begin_unix_nanos: Some(i64::from(choice)) });
    for (seq, (flags, time, access_unit)) in frames.iter().enumerate() {
        let mut frame = EncodedFrame::new(codec, CaptureTime::arrival(*time), access_unit.to_vec().into());
        frame.is_keyframe = flags & 1 == 1;
        frame.pts = (flags & 4 == 4).then_some(time >> 9);
        if flags & 2 == 2 {
            recording.gap();
        }
        let id = FrameId { epoch: Epoch(u64::from(flags >> 6)), seq: Seq(seq as u64) };
        drop(recording.push(id, &frame));
    }
    let (file, report) = recording.finish().expect("memory takes everything");
    check_boxes(&file);
    assert_eq!(report.bytes, file.len() as u64);
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let codec = if choice & 1 == 0 { NalCodec::H264 } else { NalCodec::H265 };
    let mut muxer = LiveMuxer::new(codec);
    let mut frames = Vec::new();
    // Frames are separated by a byte pair that start codes do not hold; each begins with flags and a time.
    for part in rest.split(|byte| *byte == 0xfe) {
        let Some((head, access_unit)) = part.split_first_chunk::<9>() else { continue };
        let pts_micros = i64::from_be_bytes(head[1..].try_into().expect("eight bytes"));
        frames.push((head[0], pts_micros, access_unit));
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
    record(choice, &frames);
});
