//! Binary messages to a client: 56 bytes of header, then the media.

use bytes::{BufMut, Bytes, BytesMut};

/// Length of the header.
pub const HEADER_BYTES: usize = 56;

/// Decoding can begin here.
pub const KEYFRAME: u8 = 1;
/// The decoder must begin anew.
pub const DISCONTINUITY: u8 = 2;
/// On the way from the joined keyframe to the newest frame: decode, don't pace.
pub const CATCH_UP: u8 = 4;
/// No later frame refers to this one.
pub const DISCARDABLE: u8 = 8;
/// Out of a recording, not live.
pub const RECORDED: u8 = 16;
/// On the way to the moment that is played from: decode, don't show.
pub const PREROLL: u8 = 32;

/// What the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A frame as coded.
    Frame = 1,
    /// An MP4 initialisation segment.
    Initialisation = 2,
    /// An MP4 media segment of one frame.
    Segment = 3,
}

/// The header; all integers are little endian on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketHeader {
    /// What follows.
    pub kind: Kind,
    /// [`KEYFRAME`] and the others, added up.
    pub flags: u8,
    /// The stream's number.
    pub n: u16,
    /// Frames of the stream not sent to this client just before.
    pub skipped: u32,
    /// The frame's epoch.
    pub epoch: u64,
    /// The frame's seq.
    pub seq: u64,
    /// When the picture was taken, Unix microseconds.
    pub capture_unix_micros: i64,
    /// Presentation time, microseconds; for MP4 on the time line of the segments.
    pub pts_micros: i64,
    /// When the hub received it, Unix microseconds.
    pub received_unix_micros: i64,
    /// When it was sent, Unix microseconds.
    pub sent_unix_micros: i64,
}

impl PacketHeader {
    /// Header and payload in one message. This is the viewer's one copy of a frame per client.
    #[must_use]
    pub fn with_payload(&self, payload: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + payload.len());
        out.put_u8(self.kind as u8);
        out.put_u8(self.flags);
        out.put_u16_le(self.n);
        out.put_u32_le(self.skipped);
        out.put_u64_le(self.epoch);
        out.put_u64_le(self.seq);
        out.put_i64_le(self.capture_unix_micros);
        out.put_i64_le(self.pts_micros);
        out.put_i64_le(self.received_unix_micros);
        out.put_i64_le(self.sent_unix_micros);
        out.put_slice(payload);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_fixed() {
        let header = PacketHeader {
            kind: Kind::Segment,
            flags: KEYFRAME | CATCH_UP,
            n: 0x0102,
            skipped: 3,
            epoch: 4,
            seq: 5,
            capture_unix_micros: 6,
            pts_micros: -7,
            received_unix_micros: 8,
            sent_unix_micros: 9,
        };
        let packet = header.with_payload(b"xy");
        assert_eq!(packet.len(), HEADER_BYTES + 2);
        assert_eq!(packet[..8], [3, 5, 2, 1, 3, 0, 0, 0]);
        let long = |at: usize| i64::from_le_bytes(packet[at..at + 8].try_into().unwrap());
        assert_eq!([8, 16, 24, 32, 40, 48].map(long), [4, 5, 6, -7, 8, 9]);
        assert_eq!(&packet[56..], b"xy");
    }
}
