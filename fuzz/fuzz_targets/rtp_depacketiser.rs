//! Packets of an RTSP camera: whatever they say, what comes out is no more than went in, and bounded.
//!
//! First byte: codec. Then packets, each with a byte of flags (marker, loss, new time) and a byte of length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_frame::Codec;
use lumenbus_source::{Depacketiser, RtpOutput, RtpPacket};

/// A JPEG gets headers, a NAL unit a start code.
const ADDED_BYTES: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, mut rest)) = data.split_first() else { return };
    let codec = [Codec::H264, Codec::H265, Codec::Jpeg][usize::from(kind) % 3];
    let Some(mut depacketiser) = Depacketiser::new(codec) else { return };
    let (mut timestamp, mut out) = (0, Vec::new());
    while let [flags, length, after @ ..] = rest {
        let (payload, next) = after.split_at(usize::from(*length).min(after.len()));
        timestamp += i64::from(flags >> 2 & 1);
        let packet = RtpPacket { payload, timestamp, is_last: flags & 1 != 0, is_after_loss: flags & 2 != 0 };
        depacketiser.push(packet, &mut out);
        rest = next;
    }
    let units = out.iter().filter(|output| matches!(output, RtpOutput::Unit { .. })).count();
    let bytes: usize = out
        .iter()
        .map(|output| match output {
            RtpOutput::Unit { bytes, .. } => bytes.len(),
            RtpOutput::Damage { .. } => 0,
        })
        .sum();
    // An aggregate may hold many units of one byte header and two of length each.
    assert!(bytes <= 4 * data.len() + units * ADDED_BYTES, "more came out than went in");
});
