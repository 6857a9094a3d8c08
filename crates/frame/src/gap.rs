//! What is missing and why.

use crate::{Epoch, Seq};
use std::fmt;

/// A closed range of seqs, `first ≤ last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqRange {
    /// First seq.
    pub first: Seq,
    /// Last seq, included.
    pub last: Seq,
}

impl SeqRange {
    /// How many frames.
    #[must_use]
    pub fn count(self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }
}

/// Why frames are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The publisher's lane was full.
    Overflow,
    /// Past its deadline before it could be sent.
    Expired,
    /// Kafka did not acknowledge it.
    DeliveryFailed,
    /// Larger than the lane, or than the reader's limit.
    Oversize,
    /// The rest of a GOP whose beginning was dropped.
    Undecodable,
    /// The camera or file gave damaged data.
    SourceDamaged,
    /// The camera was away.
    SourceLost,
    /// The publisher was stopped before it could send them.
    Stopped,
    /// Not lost: equal to the frame before, on topics without control records.
    Repeated,
    /// The publisher died (made by the reader, never written).
    Aborted,
    /// Deleted by retention before the reader came (made by the reader).
    Retention,
    /// The record in the log was damaged or incomplete (made by the reader).
    RecordDamaged,
    /// The reader fell behind and skipped to a keyframe (made by the reader).
    Lagging,
    /// A newer frame took its place (made by the reader).
    Superseded,
    /// The reader came while the GOP was under way (made by the reader).
    Joining,
    /// Nothing in the log says why: a defect, and counted as one (made by the reader).
    Unexplained,
    /// A reason that a newer version knows.
    Other(u32),
}

impl GapReason {
    const NAMES: [(Self, &'static str); 16] = [
        (Self::Overflow, "overflow"),
        (Self::Expired, "expired"),
        (Self::DeliveryFailed, "delivery-failed"),
        (Self::Oversize, "oversize"),
        (Self::Undecodable, "undecodable"),
        (Self::SourceDamaged, "source-damaged"),
        (Self::SourceLost, "source-lost"),
        (Self::Stopped, "stopped"),
        (Self::Repeated, "repeated"),
        (Self::Aborted, "aborted"),
        (Self::Retention, "retention"),
        (Self::RecordDamaged, "record-damaged"),
        (Self::Lagging, "lagging"),
        (Self::Superseded, "superseded"),
        (Self::Joining, "joining"),
        (Self::Unexplained, "unexplained"),
    ];

    /// The stable lower-case name used in output and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(reason, _)| *reason == self).map_or("other", |(_, name)| name)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A hole in a stream, explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gap {
    /// The epoch it is in; `None` is the epoch of the record that carries it.
    pub epoch: Option<Epoch>,
    /// First missing seq.
    pub first: Seq,
    /// Last missing seq; `None` when nobody knows.
    pub last: Option<Seq>,
    /// Why.
    pub reason: GapReason,
    /// Only frames that no other refers to: decoding goes on across the gap.
    pub is_discardable: bool,
}

impl Gap {
    /// A gap of known extent in the carrying record's epoch.
    #[must_use]
    pub fn new(first: Seq, last: Seq, reason: GapReason) -> Self {
        Self { epoch: None, first, last: Some(last), reason, is_discardable: false }
    }

    /// How many frames, when known.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.last.map(|last| (last.0.saturating_sub(self.first.0)).saturating_add(1))
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some(last) => write!(f, "{}..={last} {}", self.first, self.reason),
            None => write!(f, "{}.. {}", self.first, self.reason),
        }
    }
}
