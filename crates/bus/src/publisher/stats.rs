//! Numbers of a publisher and its streams, as plain values.

use crate::publisher::account::Counts;
use crate::publisher::core::{REPEATED, StreamCore};
use crate::publisher::latency::{LatencyBuckets, LatencySummary};
use lumenbus_frame::{Epoch, GapReason, StreamId};
use lumenbus_lanes::DropCounts;

/// What a stream has done since it was opened.
///
/// `submitted = acknowledged + repeated + drops + in flight + queued`, at every moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStats {
    /// Which stream.
    pub stream: StreamId,
    /// The epoch that frames get now.
    pub epoch: Epoch,
    /// The partition they go to.
    pub partition: u32,
    /// Frames that got a number.
    pub submitted_frames: u64,
    /// Frames in the log.
    pub acknowledged_frames: u64,
    /// Payload bytes of those.
    pub acknowledged_bytes: u64,
    /// Frames told to be equal to the one before.
    pub repeated_frames: u64,
    /// Frames in gaps, by reason.
    pub drops: Vec<(GapReason, u64)>,
    /// Records handed to the Kafka client, control records included.
    pub records: u64,
    /// Frames that wait.
    pub queued_frames: u64,
    /// Their bytes, bookkeeping included.
    pub queued_bytes: usize,
    /// Frames with the Kafka client, not yet acknowledged.
    pub in_flight_frames: u64,
    /// Their records' bytes.
    pub in_flight_bytes: usize,
    /// Frames whose capture time was implausible and replaced.
    pub replaced_captures: u64,
    /// The last such capture time minus arrival, in milliseconds.
    pub last_capture_offset_millis: i64,
    /// From submission to acknowledgement.
    pub ack_latency: LatencySummary,
}

impl StreamStats {
    /// Frames in gaps of every reason.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        self.drops.iter().map(|row| row.1).sum()
    }
}

/// What a publisher is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublisherStats {
    /// Streams that are open.
    pub streams: Vec<StreamStats>,
    /// Bytes that wait in lanes.
    pub queued_bytes: usize,
    /// Bytes with the Kafka client, of all streams.
    pub in_flight_bytes: usize,
    /// From submission to acknowledgement, of all open streams.
    pub ack_latency: LatencySummary,
    /// Times the Kafka client had to be replaced.
    pub replaced_clients: u64,
    /// Events that nobody fetched in time.
    pub forgotten_events: u64,
}

/// How a stream ended.
///
/// When `is_end_written`, every frame is accounted for in the log:
/// `submitted = acknowledged + repeated + drops`, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// The final numbers.
    pub stats: StreamStats,
    /// Frames of which it is not known whether they are in the log: the broker did not answer in time.
    pub unresolved_frames: u64,
    /// Whether the stream's end is in the log (on picture topics: in the directory).
    pub is_end_written: bool,
}

pub(crate) fn stream_stats(core: &StreamCore) -> StreamStats {
    let counts: Counts = core.counts;
    let drops = core.drops();
    StreamStats {
        stream: core.id.clone(),
        epoch: core.epoch(),
        partition: core.partition(),
        submitted_frames: core.submitted(),
        acknowledged_frames: counts.acknowledged_frames,
        acknowledged_bytes: counts.acknowledged_bytes,
        repeated_frames: counts.repeated_frames + drops.of(REPEATED),
        drops: real_drops(&drops),
        records: counts.records,
        queued_frames: core.queued_frames() as u64,
        queued_bytes: core.queued_bytes(),
        in_flight_frames: core.in_flight_frames(),
        in_flight_bytes: core.in_flight_bytes(),
        replaced_captures: counts.replaced_captures,
        last_capture_offset_millis: counts.last_capture_offset_nanos / 1_000_000,
        ack_latency: core.latency.summary(),
    }
}

/// Repeated frames are told like gaps on picture topics, but nothing is lost.
fn real_drops(drops: &DropCounts) -> Vec<(GapReason, u64)> {
    drops.iter().filter(|(reason, _)| *reason != REPEATED).collect()
}

/// Sums up open streams.
pub(crate) fn add(stats: &mut PublisherStats, latency: &mut LatencyBuckets, core: &StreamCore) {
    let stream = stream_stats(core);
    stats.queued_bytes += stream.queued_bytes;
    stats.streams.push(stream);
    latency.merge(&core.latency);
    stats.ack_latency = latency.summary();
}
