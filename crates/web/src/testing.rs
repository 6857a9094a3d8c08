//! What tests of this crate share.

use bytes::Bytes;
use lumenbus_bus::subscriber::{DeliveredFrame, FrameRole};
use lumenbus_frame::{CaptureTime, Codec, Epoch, FrameId, Seq, StreamId};
use lumenbus_wire::Header;
use std::sync::Arc;

/// Frame `seq` of epoch 1, of `camera` on `raw_video`: one byte of H.264, taken and received at this time.
pub(crate) fn delivered(camera: &str, seq: u64, at_nanos: i64) -> DeliveredFrame {
    let id = FrameId { epoch: Epoch(1), seq: Seq(seq) };
    DeliveredFrame {
        stream: Arc::new(StreamId::main(camera.parse().unwrap(), "raw_video".parse().unwrap())),
        header: Header::new(id, CaptureTime::arrival(at_nanos)),
        header_bytes: Bytes::new(),
        codec: Codec::H264,
        payload: Bytes::from_static(b"x"),
        parameters: None,
        trace: None,
        role: FrameRole::Current,
        partition: 0,
        offset: 0,
        append_unix_millis: None,
        received_unix_nanos: at_nanos,
    }
}
