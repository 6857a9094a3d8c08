//! What a worker did, readable while it works.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the frames, since the worker began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerCounts {
    /// Frames that came, without those that were handed over before.
    pub frames: u64,
    /// Frames that came again so that decoders could go on.
    pub prerolls: u64,
    /// Pictures that the detector looked at and a result was written of. Some may be in a transaction that was given up; the
    /// same frames are then counted again.
    pub analysed: u64,
    /// What was found in them.
    pub detections: u64,
    /// Frames passed over for newer ones (policy `newest`).
    pub superseded: u64,
    /// Frames that are no keyframes, where only these are looked at.
    pub skipped: u64,
    /// Frames that gave no picture.
    pub undecodable: u64,
    /// Pictures that the detector could not look at.
    pub failed: u64,
    /// Frames missing in the log or passed over by the reader.
    pub missing: u64,
    /// Time spent decoding, in microseconds.
    pub decode_micros: u64,
    /// Time spent detecting, in microseconds.
    pub detect_micros: u64,
    /// Time spent on what pictures look like, in microseconds.
    pub feature_micros: u64,
    /// Times the worker began again from what was committed.
    pub restarts: u64,
}

impl WorkerCounts {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            prerolls: self.prerolls + other.prerolls,
            analysed: self.analysed + other.analysed,
            detections: self.detections + other.detections,
            superseded: self.superseded + other.superseded,
            skipped: self.skipped + other.skipped,
            undecodable: self.undecodable + other.undecodable,
            failed: self.failed + other.failed,
            missing: self.missing + other.missing,
            decode_micros: self.decode_micros + other.decode_micros,
            detect_micros: self.detect_micros + other.detect_micros,
            feature_micros: self.feature_micros + other.feature_micros,
            restarts: self.restarts + other.restarts,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Counter {
    Frames,
    Prerolls,
    Analysed,
    Detections,
    Superseded,
    Skipped,
    Undecodable,
    Failed,
    Missing,
    DecodeMicros,
    DetectMicros,
    FeatureMicros,
    Restarts,
}

const COUNTERS: usize = Counter::Restarts as usize + 1;

#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; COUNTERS]);

impl Counters {
    pub(super) fn add(&self, counter: Counter, count: u64) {
        self.0[counter as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> WorkerCounts {
        let of = |counter: Counter| self.0[counter as usize].load(Ordering::Relaxed);
        WorkerCounts {
            frames: of(Counter::Frames),
            prerolls: of(Counter::Prerolls),
            analysed: of(Counter::Analysed),
            detections: of(Counter::Detections),
            superseded: of(Counter::Superseded),
            skipped: of(Counter::Skipped),
            undecodable: of(Counter::Undecodable),
            failed: of(Counter::Failed),
            missing: of(Counter::Missing),
            decode_micros: of(Counter::DecodeMicros),
            detect_micros: of(Counter::DetectMicros),
            feature_micros: of(Counter::FeatureMicros),
            restarts: of(Counter::Restarts),
        }
    }
}
