//! Which markers of transactions compaction may remove.

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
}

impl Markers {
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
        let has_batches = self.with_batches.remove(&header.producer_id);
        if has_batches {
            kept.extend(aborted.of(header).filter(|entry| entry.last_offset == header.last_offset()));
        }
        !has_batches
    }
}
