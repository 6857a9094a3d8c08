//! What a fleet says of its cameras.

use crate::fleet::FleetError;
use crate::publish::FeedReport;
use lumenbus_bus::publisher::{StreamStats, StreamSummary};
use lumenbus_frame::{CameraId, Codec, GapReason, StreamId, StreamName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How a camera is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraState {
    /// Being opened.
    Starting,
    /// Frames come.
    Live,
    /// It gave frames and is away; it is tried again, or was unplugged.
    Offline {
        /// Since when.
        since: SystemTime,
        /// Why.
        reason: Arc<str>,
    },
    /// It never gave a frame, or must not be tried again.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
    /// It does not run: disabled, at its end, or stopped.
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
    /// In a shared fleet: it does not run here.
    Elsewhere {
        /// Whose it is.
        reason: Arc<str>,
    },
}

impl CameraState {
    /// The stable lower-case name used in output.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Offline { .. } => "offline",
            Self::Failed { .. } => "failed",
            Self::Stopped { .. } => "stopped",
            Self::Elsewhere { .. } => "elsewhere",
        }
    }

    /// Why it is so, where there is something to say.
    #[must_use]
    pub fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Self::Starting | Self::Live => None,
            Self::Offline { reason, .. }
            | Self::Failed { reason }
            | Self::Stopped { reason }
            | Self::Elsewhere { reason } => Some(reason),
        }
    }
}

/// A camera at this moment.
#[derive(Debug, Clone)]
pub struct CameraStatus {
    /// Its id.
    pub id: CameraId,
    /// Which of its streams.
    pub stream_name: StreamName,
    /// Display name.
    pub name: Option<String>,
    /// Group.
    pub group: Option<String>,
    /// Its source, without user and password.
    pub source: String,
    /// How its frames are coded on the bus, once that is known.
    pub codec: Option<Codec>,
    /// Its stream, once there is one.
    pub stream: Option<StreamId>,
    /// How it is.
    pub state: CameraState,
    /// Times it was opened again.
    pub restarts: u64,
    /// When it is tried again.
    pub retry_in: Option<Duration>,
    /// What it has given, over all attempts.
    pub report: FeedReport,
    /// The stream's numbers; the final ones once it has ended.
    pub stats: Option<StreamStats>,
}

/// Sums over streams, ended ones included. Adds up as [`StreamStats`] does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams that were ended.
    pub ended_streams: u64,
    /// Of those, the ones whose end is not in the log.
    pub unfinished_streams: u64,
    /// Frames that got a number.
    pub submitted_frames: u64,
    /// Frames in the log.
    pub acknowledged_frames: u64,
    /// Payload bytes of those.
    pub acknowledged_bytes: u64,
    /// Frames told to be equal to the one before.
    pub repeated_frames: u64,
    /// Frames in gaps, by reason.
    pub drops: BTreeMap<GapReason, u64>,
    /// Frames of ended streams of which nobody knows whether they are in the log.
    pub unresolved_frames: u64,
    /// Of the frames in the log, the stills of videos whose stream of stills has ended.
    pub acknowledged_stills: u64,
}

impl Totals {
    /// Frames in gaps of every reason.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        self.drops.values().sum()
    }

    pub(super) fn add_stats(&mut self, stats: &StreamStats) {
        self.submitted_frames += stats.submitted_frames;
        self.acknowledged_frames += stats.acknowledged_frames;
        self.acknowledged_bytes += stats.acknowledged_bytes;
        self.repeated_frames += stats.repeated_frames;
        for (reason, frames) in &stats.drops {
            *self.drops.entry(*reason).or_default() += frames;
        }
    }

    pub(super) fn add_summary(&mut self, summary: &StreamSummary) {
        self.add_stats(&summary.stats);
        self.ended_streams += 1;
        self.unfinished_streams += u64::from(!summary.is_end_written);
        self.unresolved_frames += summary.unresolved_frames;
    }

    pub(super) fn add_stills(&mut self, summary: &StreamSummary) {
        self.add_summary(summary);
        self.acknowledged_stills += summary.stats.acknowledged_frames;
    }
}

/// What the camera's thread tells.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) state: CameraState,
    pub(super) codec: Option<Codec>,
    pub(super) stream: Option<StreamId>,
    pub(super) restarts: u64,
    pub(super) retry_at: Option<Instant>,
    /// Of attempts that are over.
    pub(super) earlier: FeedReport,
    /// Of the one under way.
    pub(super) current: FeedReport,
    /// How the last stream ended.
    pub(super) outcome: Option<Result<StreamSummary, FleetError>>,
    pub(super) is_over: bool,
    /// Another publisher has its stream.
    pub(super) is_superseded: bool,
}

impl Progress {
    pub(super) fn new(state: CameraState) -> Self {
        Self {
            state,
            codec: None,
            stream: None,
            restarts: 0,
            retry_at: None,
            earlier: FeedReport::default(),
            current: FeedReport::default(),
            outcome: None,
            is_over: false,
            is_superseded: false,
        }
    }

    pub(super) fn report(&self) -> FeedReport {
        let mut report = self.earlier;
        report.add(&self.current);
        report
    }
}
