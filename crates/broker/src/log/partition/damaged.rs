//! What compaction goes around until a restart, because it cannot be read.

use std::collections::BTreeSet;

use super::Partition;
use crate::log::error::LogError;
use crate::log::segment::Segment;

/// Damaged segments of one partition.
///
/// Their records stay and supersede nothing. What follows them keeps its tombstones and markers, since the records
/// that these speak of may lie in the damage.
#[derive(Debug, Default)]
pub(super) struct Damaged {
    /// Their base offsets.
    segments: BTreeSet<i64>,
    /// The damage hides which records were aborted.
    hides_aborted: bool,
    /// Compacted up to here, around the damage. The checkpoint stays in front of it.
    pub(super) clean_until: i64,
}

impl Damaged {
    pub(super) fn holds(&self, segment: &Segment) -> bool {
        self.segments.contains(&segment.base_offset)
    }

    /// Nothing can be compacted.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.hides_aborted
    }

    /// How far everything up to `end_offset` is compacted: not over damage, which may be mended while the broker is down.
    pub(super) fn clean_offset(&self, end_offset: i64) -> i64 {
        self.segments.first().map_or(end_offset, |first| end_offset.min(*first))
    }
}

impl Partition {
    /// Takes note of the segment that a compaction failed on because of damage. It is told of once.
    pub(super) fn note_damage(&self, damaged: &mut Damaged, error: &LogError) {
        let (LogError::CorruptSegment { path, .. } | LogError::Storage { operation: "read", path, .. }) = error else {
            return;
        };
        let segments = self.segments();
        let Some(segment) = segments.iter().find(|segment| segment.log_path() == *path) else { return };
        damaged.segments.retain(|base| segments.iter().any(|segment| segment.base_offset == *base));
        damaged.hides_aborted |= !damaged.segments.insert(segment.base_offset);
        let left = if damaged.hides_aborted { "the partition" } else { "the segment" };
        tracing::error!(topic = %self.topic, partition = self.index, segment = segment.base_offset,
            "compaction leaves {left} as it is until a restart");
    }
}
