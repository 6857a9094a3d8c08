//! What a frame topic's record says of itself, without a copy of its payload.

use super::KeyframeAt;
use crate::subscriber::{LogRecord, raw_record};
use lumenbus_frame::{FrameId, StreamId};
use lumenbus_wire::{Header, KeyframeHint, Opened, content_type, open_record};

/// The first record of a frame, or the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: FrameId,
    pub(super) capture_unix_nanos: i64,
    pub(super) is_keyframe: bool,
    pub(super) hint: Option<KeyframeHint>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) append_unix_millis: Option<i64>,
    bytes: u64,
}

impl Seen {
    /// `None` for what is of another stream, or does not begin a frame.
    pub(super) fn of(record: &LogRecord<'_>, partition: i32, stream: &StreamId) -> Option<Self> {
        if record.key != Some(stream.camera.as_str().as_bytes()) || is_control(record) {
            return None;
        }
        let header = header_of(record)?;
        let is_ours = header.stream.as_ref().map_or(stream.name.is_main(), |name| *name == stream.name);
        if !is_ours || header.control.is_some() || header.chunk.as_ref().is_some_and(|chunk| chunk.index > 0) {
            return None;
        }
        let value_bytes = record.value.map_or(0, <[u8]>::len) as u64;
        Some(Self {
            id: header.id,
            capture_unix_nanos: header.capture.unix_nanos,
            is_keyframe: header.is_keyframe,
            hint: header.keyframe,
            partition,
            offset: record.offset,
            append_unix_millis: record.append_unix_millis,
            bytes: header.chunk.map_or(value_bytes, |chunk| chunk.total_bytes),
        })
    }

    /// By how much the camera's clock is behind the broker's, and the way between them.
    pub(super) fn append_minus_capture_millis(&self) -> i64 {
        let capture_millis = self.capture_unix_nanos / 1_000_000;
        self.append_unix_millis.map_or(0, |append_millis| append_millis.saturating_sub(capture_millis))
    }

    pub(super) fn keyframe(&self) -> Option<KeyframeAt> {
        self.is_keyframe.then_some(KeyframeAt {
            id: self.id,
            capture_unix_nanos: self.capture_unix_nanos,
            partition: self.partition,
            offset: self.offset,
            bytes: self.bytes,
            append_unix_millis: self.append_unix_millis,
            previous: None,
        })
    }
}

fn is_control(record: &LogRecord<'_>) -> bool {
    let controls =
        [content_type::GAP, content_type::END, content_type::OFFLINE, content_type::REPEAT, content_type::MOVED];
    controls.iter().any(|name| record.content_type == Some(name.as_bytes()))
}

/// An envelope has its header inside; any other record's is beside the value.
fn header_of(record: &LogRecord<'_>) -> Option<Header> {
    if let Some(bytes) = record.header {
        return Header::decode(bytes).ok();
    }
    match open_record(raw_record(record)).ok()? {
        Opened::Frame(frame) => Some(frame.header),
        _ => None,
    }
}
