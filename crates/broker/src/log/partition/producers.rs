//! What a start knows of producers and their transactions: the newest snapshot, and the batches behind it.

use std::sync::Arc;

use super::recover::OpenPartition;
use crate::log::aborted::AbortedTransaction;
use crate::log::error::LogError;
use crate::log::producer::{self, Producers};
use crate::log::segment::Segment;
use crate::log::walk::Walker;

impl OpenPartition<'_> {
    /// The producers at the log's `end`. Aborts behind the snapshot are written to the segments' indexes again.
    pub(super) fn load_producers(
        &mut self,
        snapshots: &mut [i64],
        segments: &[Arc<Segment>],
        (log_start, end): (i64, i64),
    ) -> Result<Producers, LogError> {
        let loaded = producer::load_snapshot(self.shared.disk.as_ref(), &self.directory, snapshots, end);
        let loaded = loaded.map_err(LogError::storage("read a snapshot in", &*self.directory))?;
        let (from, mut producers) = loaded.unwrap_or((log_start, Producers::default()));
        let from = from.max(log_start);
        let first = segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        for segment in segments[first..].iter().filter(|_| from < end) {
            let kept = match segment.aborted.load()? {
                _ if segment.base_offset >= from || from == log_start => Some(Vec::new()),
                kept => kept,
            };
            let derived = self.replay(segment, from, &mut producers)?;
            self.settle_aborted(segment, kept, derived, from)?;
        }
        if let Some(growing) = segments.last()
            && growing.size() == 0
        {
            growing.aborted.replace(&[])?;
        }
        producers.enforce(self.shared.max_producers);
        Ok(producers)
    }

    /// Lets `producers` see a segment's batches from an offset on; answers the transactions aborted there.
    fn replay(
        &self,
        segment: &Segment,
        from: i64,
        producers: &mut Producers,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut aborted = Vec::new();
        let Some(located) = segment.locate(&self.shared, from)? else {
            return Ok(aborted);
        };
        let span = located.position..segment.size();
        let mut walker = Walker::new(&located.file, &segment.log_path(), span, 0).sequential();
        while let Some((position, header)) = walker.next()? {
            let marker = walker.marker(position, &header)?;
            aborted.extend(producers.record(&header, marker, self.now_ms));
        }
        Ok(aborted)
    }

    /// Entries that end below `from` are believed; an index that lost them is left for the first reader who needs it.
    fn settle_aborted(
        &self,
        segment: &Segment,
        kept: Option<Vec<AbortedTransaction>>,
        derived: Vec<AbortedTransaction>,
        from: i64,
    ) -> Result<(), LogError> {
        let Some(mut entries) = kept else {
            segment.aborted.forget();
            return Ok(());
        };
        entries.retain(|entry| entry.last_offset < from);
        entries.extend(derived);
        match segment.aborted.load()? {
            Some(present) if present == entries => Ok(()),
            _ => segment.aborted.replace(&entries),
        }
    }
}
