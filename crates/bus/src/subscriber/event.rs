//! What a subscriber hands over.

use bytes::Bytes;
use lumenbus_frame::{Codec, Epoch, FrameId, Gap, Seq, SeqRange, StreamId, StreamParameters, TraceContext};
use lumenbus_wire::Header;
use std::fmt;
use std::sync::Arc;

/// Why a frame is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameRole {
    /// In its turn.
    Current,
    /// On the way from the joined keyframe to the live end of the log.
    CatchUp,
    /// Handed over before (to this group); only here so that a decoder can go on.
    Preroll,
}

/// A frame as it came out of the log.
#[derive(Clone)]
pub struct DeliveredFrame {
    /// Whose it is.
    pub stream: Arc<StreamId>,
    /// The header; `header.id` is the frame's identity.
    pub header: Header,
    /// The header as stored, with fields this version does not know.
    pub header_bytes: Bytes,
    /// How the payload is coded.
    pub codec: Codec,
    /// The coded bytes.
    pub payload: Bytes,
    /// Of the last keyframe; `None` when the publisher sent none.
    pub parameters: Option<Arc<StreamParameters>>,
    /// The trace that its publisher put it into: the record header `traceparent`, where there is a valid one.
    pub trace: Option<TraceContext>,
    /// Why it is handed over.
    pub role: FrameRole,
    /// Partition it was in.
    pub partition: i32,
    /// Offset of its first record.
    pub offset: i64,
    /// When the broker appended it, Unix milliseconds; `None` when the topic does not say.
    pub append_unix_millis: Option<i64>,
    /// When this process received it, Unix nanoseconds.
    pub received_unix_nanos: i64,
}

impl DeliveredFrame {
    /// Epoch and seq.
    #[must_use]
    pub fn id(&self) -> FrameId {
        self.header.id
    }
}

impl fmt::Debug for DeliveredFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveredFrame")
            .field("stream", &self.stream)
            .field("id", &self.header.id)
            .field("codec", &self.codec)
            .field("is_keyframe", &self.header.is_keyframe)
            .field("role", &self.role)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// One thing that happened to a stream, in the stream's order.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is a frame, and a box would be an allocation for each"
)]
pub enum Event {
    /// A frame.
    Frame(DeliveredFrame),
    /// Frames that will not come, and why. `gap.epoch` is always set.
    Gap {
        /// Whose.
        stream: Arc<StreamId>,
        /// Which and why.
        gap: Gap,
    },
    /// Frames equal to the last one; they were not sent.
    Repeat {
        /// Whose.
        stream: Arc<StreamId>,
        /// In this epoch.
        epoch: Epoch,
        /// Which.
        range: SeqRange,
    },
    /// The camera is away; the stream stays.
    Offline {
        /// Whose.
        stream: Arc<StreamId>,
        /// In this epoch.
        epoch: Epoch,
        /// Since when, Unix nanoseconds.
        since_unix_nanos: i64,
        /// Free text from the publisher.
        reason: String,
    },
    /// The epoch is complete: published = delivered + explained.
    End {
        /// Whose.
        stream: Arc<StreamId>,
        /// Which epoch.
        epoch: Epoch,
        /// Its last seq; `None` when it had no frame.
        last_seq: Option<Seq>,
    },
    /// Something that belongs to no stream.
    Notice(Notice),
}

/// A condition worth telling; the subscriber goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// No broker answers; the client keeps trying.
    Disconnected {
        /// What librdkafka says.
        reason: String,
    },
    /// The partition began later than where we were: retention passed us.
    RetentionPassed {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Records that are gone.
        lost_records: i64,
    },
    /// Records that are not ours, or damaged; told once per partition and kind, then only counted.
    UnreadableRecord {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The record.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A joined keyframe was not where its hint said; the stream begins at its next keyframe.
    KeyframeNotFound {
        /// Whose.
        stream: Arc<StreamId>,
        /// Where it should have been.
        offset: i64,
    },
}

/// Counters since the subscriber was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriberStats {
    /// Records read.
    pub records: u64,
    /// Frames handed over, prerolls included.
    pub frames: u64,
    /// Payload bytes handed over.
    pub bytes: u64,
    /// Frames that came again and were ignored.
    pub repeats: u64,
    /// Records of a superseded epoch.
    pub fenced: u64,
    /// Records that are not ours.
    pub foreign: u64,
    /// Records of ours that could not be opened.
    pub damaged: u64,
    /// Times a stream was joined by going back to its keyframe.
    pub rewinds: u64,
}

impl SubscriberStats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.repeats += other.repeats;
        self.fenced += other.fenced;
        self.foreign += other.foreign;
        self.damaged += other.damaged;
        self.rewinds += other.rewinds;
    }
}
