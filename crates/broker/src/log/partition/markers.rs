//! Which markers of transactions and which tombstones compaction may remove.

use std::collections::HashSet;

use super::aborted::AbortedRanges;
use crate::log::aborted::AbortedTransaction;
use crate::log::batch::BatchHeader;

/// Follows the batches of one compaction pass from the log's start on.
///
/// A marker stays as long as a batch of its transaction does (Kafka's `CleanedTransactionMetadata`): without it a
/// start would find the transaction open again.
#[derive(Debug, Default)]
pub(super) struct Markers {
    /// Producers with batches since their last marker.
    with_batches: HashSet<i64>,
    /// Any transaction may have batches in damage that the pass went over.
    behind_damage: bool,
    /// Any key may have an older record in what could not be read.
    behind_unread: bool,
}

/// What becomes of tombstones whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tombstones {
    /// They go.
    Expire,
    /// They stay, or older records of their keys might come back.
    Stay,
}

impl Markers {
    /// The pass leaves out a damaged segment.
    pub(super) fn pass_damage(&mut self) {
        self.behind_damage = true;
        self.behind_unread = true;
    }

    /// A batch stays whose records nobody can see.
    pub(super) fn pass_unread(&mut self) {
        self.behind_unread = true;
    }

    /// For what comes next.
    pub(super) fn tombstones(&self) -> Tombstones {
        if self.behind_unread { Tombstones::Stay } else { Tombstones::Expire }
    }

    /// Whether this is a marker without batches. Entries of `aborted` that are still needed go to `kept`.
    pub(super) fn observe(
        &mut self,
        header: &BatchHeader,
        aborted: &AbortedRanges,
        kept: &mut Vec<AbortedTransaction>,
    ) -> bool {
        if !header.is_transactional() {
            return false;
        }
        if !header.is_control() {
            self.with_batches.insert(header.producer_id);
            return false;
        }
        let has_batches = self.with_batches.remove(&header.producer_id) || self.behind_damage;
        if has_batches {
            kept.extend(aborted.of(header).filter(|entry| entry.last_offset == header.last_offset()));
        }
        !has_batches
    }
}
