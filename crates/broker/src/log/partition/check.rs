//! Checking one segment after a crash.

use std::fs::File;

use crate::log::batch::BatchHeader;
use crate::log::error::LogError;
use crate::log::index::LiveIndex;
use crate::log::indexer::Indexer;
use crate::log::segment::Segment;
use crate::log::walk::Walker;

/// Index entries written by recovery stand this far apart (Kafka's default).
const INDEX_INTERVAL_BYTES: u64 = 4096;

/// A checked segment.
pub(super) struct Checked {
    pub(super) index: LiveIndex,
    pub(super) indexer: Indexer,
    pub(super) size: u64,
    pub(super) next_offset: i64,
    pub(super) scanned_bytes: u64,
    /// Leader epochs and where they begin.
    pub(super) epochs: Vec<(i32, i64)>,
    pub(super) fault: Option<LogError>,
}

/// What may be expected of a segment's batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expect {
    /// Checksums are verified from this offset on.
    pub(super) verify_from: i64,
    /// No offset is missing from here on. Compaction leaves gaps, but only below the recovery point; and a base
    /// offset is not covered by the checksum.
    pub(super) contiguous_from: i64,
}

/// Walks a segment from its last index entry to its first fault or its end.
pub(super) fn check(file: &File, segment: &Segment, index: LiveIndex, expect: Expect) -> Result<Checked, LogError> {
    let base = segment.base_offset;
    let entry = index.offsets.last().copied();
    let start = entry.map_or(0, |entry| u64::from(entry.position));
    let mut checked = Checked {
        indexer: Indexer::resume(base, index.times.last().copied()),
        index,
        size: start,
        next_offset: base,
        scanned_bytes: 0,
        epochs: Vec::new(),
        fault: None,
    };
    let mut named = entry.map(|entry| base + i64::from(entry.relative));
    let mut walker = Walker::new(file, &segment.log_path(), start..segment.size(), base).sequential();
    loop {
        match checked.step(&mut walker, expect) {
            Ok(Some((_, header))) if named.take().is_some_and(|named| named != header.last_offset()) => {
                // The index is of another file; the caller checks the segment from its start.
                return Ok(Checked { next_offset: base, size: 0, ..checked });
            }
            Ok(Some((position, header))) => checked.accept(position, &header),
            Ok(None) => return Ok(checked),
            Err(fault @ LogError::CorruptSegment { .. }) => {
                return Ok(Checked { fault: Some(fault), ..checked });
            }
            Err(error) => return Err(error),
        }
    }
}

impl Checked {
    fn step(&mut self, walker: &mut Walker<'_>, expect: Expect) -> Result<Option<(u64, BatchHeader)>, LogError> {
        let Some((position, header)) = walker.next()? else { return Ok(None) };
        if self.next_offset >= expect.contiguous_from && header.base_offset != self.next_offset {
            return Err(walker.refuse(position, "its base offset does not continue the batch in front of it"));
        }
        if header.base_offset >= expect.verify_from {
            self.scanned_bytes += header.size_u64();
            walker.verify(position, &header)?;
        }
        Ok(Some((position, header)))
    }

    fn accept(&mut self, position: u64, header: &BatchHeader) {
        self.indexer.observe_into(&mut self.index, position, header, INDEX_INTERVAL_BYTES);
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch < header.leader_epoch) {
            self.epochs.push((header.leader_epoch, header.base_offset));
        }
        self.size = position + header.size_u64();
        self.next_offset = header.last_offset() + 1;
    }
}
