//! Which transactions of a log were aborted, from the segments' indexes, or from the log itself where those are lost.

use std::collections::HashMap;
use std::sync::Arc;

use super::Partition;
use crate::log::aborted::{AbortedTransaction, Searched};
use crate::log::batch::BatchHeader;
use crate::log::blocking::blocking;
use crate::log::control;
use crate::log::error::LogError;
use crate::log::producer::{OpenTransaction, ProducerView, Producers};
use crate::log::segment::Segment;
use crate::log::walk::Walker;

use super::{AppendOrigin, Outcome};

impl Partition {
    /// Ends a producer's transaction with a marker. Nothing is written where no transaction of it is open and its
    /// epoch is known, so this may be repeated.
    ///
    /// # Errors
    /// A newer epoch of the producer has written here, or the disk failed.
    pub(crate) fn end_transaction(
        &self,
        (producer_id, producer_epoch): (i64, i16),
        outcome: Outcome,
        coordinator_epoch: i32,
        now_ms: i64,
    ) -> Result<(), LogError> {
        self.check_opened()?;
        if !self.lock_writer().producers.awaits_marker(producer_id, producer_epoch) {
            return Ok(());
        }
        let marker = control::Marker { outcome, coordinator_epoch };
        let batch = control::encode(producer_id, producer_epoch, marker, now_ms);
        self.append(&batch, now_ms, AppendOrigin::Coordinator).map(drop)
    }

    /// Producers with records here that are neither committed nor aborted, the oldest transaction first.
    pub(crate) fn open_transactions(&self) -> Vec<OpenTransaction> {
        self.lock_writer().producers.open_transactions()
    }

    /// Every producer that is remembered here.
    pub(crate) fn producers(&self) -> Vec<ProducerView> {
        self.lock_writer().producers.views()
    }

    /// Builds the lost indexes of aborted transactions anew.
    pub(super) fn rebuild_aborted(&self) -> Result<(), LogError> {
        blocking(|| {
            let _maintenance = self.lock_maintenance();
            // All readers who came upon it wait here, and the first one does it.
            if self.knows_aborted()? { Ok(()) } else { self.rebuild_aborted_locked() }
        })
    }

    fn knows_aborted(&self) -> Result<bool, LogError> {
        for segment in self.segments().iter() {
            if !segment.aborted.is_known()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As [`Self::rebuild_aborted`], for who holds the maintenance lock.
    pub(super) fn rebuild_aborted_locked(&self) -> Result<(), LogError> {
        {
            // The growing segment's index belongs to the writer: a lost one stays behind with a closed segment.
            let mut writer = self.lock_writer();
            if !writer.segment.aborted.is_known()? {
                self.check_writable(&writer)?;
                self.roll(&mut writer)?;
            }
        }
        let segments = self.segments();
        let Some((_, closed)) = segments.split_last() else { return Ok(()) };
        let mut lost = 0;
        let mut producers = Producers::default();
        for segment in closed {
            // Without it nobody can say what began there; the caller looks again.
            let Some(entries) = self.derive_aborted(segment, &mut producers)? else { return Ok(()) };
            if !segment.aborted.is_known()? {
                segment.aborted.replace(&entries)?;
                lost += 1;
            }
        }
        tracing::warn!(topic = %self.topic, partition = self.index, lost,
            "indexes of aborted transactions were missing or damaged; they were built anew from the log");
        Ok(())
    }

    fn derive_aborted(
        &self,
        segment: &Segment,
        producers: &mut Producers,
    ) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
        let Some(file) = segment.file(&self.shared)? else { return Ok(None) };
        let mut aborted = Vec::new();
        let span = 0..segment.size();
        let mut walker = Walker::new(&file, &segment.log_path(), span, segment.base_offset).sequential();
        while let Some((position, header)) = walker.next()? {
            let marker = walker.marker(position, &header)?;
            aborted.extend(producers.record(&header, marker, 0));
            // Only open transactions matter here; the rest would only take memory.
            if header.is_control() || !header.is_transactional() {
                producers.forget_closed(header.producer_id);
            }
        }
        Ok(Some(aborted))
    }
}

/// The aborted transactions that overlap a span of offsets; `None`: an index has to be built anew.
pub(super) fn search(segments: &[Arc<Segment>], span: (i64, i64)) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
    let mut found = Vec::new();
    for segment in segments {
        match segment.aborted.collect(span, &mut found)? {
            Searched::GoOn => {}
            Searched::Complete => break,
            Searched::Missing => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// Aborted transactions by producer, for compaction.
#[derive(Debug, Default)]
pub(super) struct AbortedRanges {
    /// In the order of their markers.
    by_producer: HashMap<i64, Vec<AbortedTransaction>>,
}

impl AbortedRanges {
    pub(super) fn new(aborted: Vec<AbortedTransaction>) -> Self {
        let mut ranges = Self::default();
        for entry in aborted {
            ranges.by_producer.entry(entry.producer_id).or_default().push(entry);
        }
        ranges
    }

    /// The aborted transaction that a batch belongs to; its marker belongs to it as well.
    pub(super) fn of(&self, header: &BatchHeader) -> Option<&AbortedTransaction> {
        if !header.is_transactional() {
            return None;
        }
        let aborted = self.by_producer.get(&header.producer_id)?;
        let at = aborted.partition_point(|entry| entry.last_offset < header.base_offset);
        aborted.get(at).filter(|entry| entry.first_offset <= header.base_offset)
    }
}
