//! The leader epochs of a partition, from its recovery to its answers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Partition;
use super::check::Checked;
use super::recover::OpenPartition;
use crate::log::epochs::Epochs;
use crate::log::error::LogError;
use crate::log::segment::{Segment, Shared};
use crate::log::walk::Walker;

/// What a partition's epochs are while it is opened.
#[derive(Debug)]
pub(super) struct FoundEpochs {
    epochs: Epochs,
    /// Their file was missing or damaged: only the log itself knows.
    lost: bool,
}

impl OpenPartition<'_> {
    /// What the file says of the log below the recovery point; the rest is told by the batches, which recovery reads.
    pub(super) fn known_epochs(&self) -> Result<FoundEpochs, LogError> {
        let loaded = Epochs::load(&self.directory)?;
        let lost = loaded.is_none();
        let mut epochs = loaded.unwrap_or_default();
        epochs.truncate_end(self.recovery_point.unwrap_or(0));
        Ok(FoundEpochs { epochs, lost })
    }
}

impl FoundEpochs {
    pub(super) fn take_note(&mut self, checked: &Checked) {
        for (epoch, offset) in &checked.epochs {
            self.epochs.observe(*epoch, *offset);
        }
    }

    /// The epochs of the log as it was opened.
    pub(super) fn settle(
        mut self,
        segments: &[Arc<Segment>],
        shared: &Shared,
        (log_start, end): (i64, i64),
    ) -> Result<Epochs, LogError> {
        if self.lost {
            self.epochs = Epochs::default();
            for segment in segments.iter().filter(|segment| segment.size() > 0) {
                let Some(file) = segment.file(shared)? else { continue };
                let mut walker = Walker::new(&file, &segment.log_path(), 0..segment.size(), 0).sequential();
                while let Some((_, header)) = walker.next()? {
                    self.epochs.observe(header.leader_epoch, header.base_offset);
                }
            }
        }
        self.epochs.truncate_end(end);
        self.epochs.truncate_start(log_start);
        Ok(self.epochs)
    }
}

impl Partition {
    /// Begins the epoch of this start of the broker. Called before anything is appended.
    pub(crate) fn begin_epoch(&self, epoch: i32) {
        self.lock_epochs().begin(epoch, self.high_watermark());
        self.leader_epoch.store(epoch, Ordering::Release);
    }

    /// As [`Self::begin_epoch`], for a partition that has just come into being: the file is written as well.
    pub(crate) fn begin_first_epoch(&self, epoch: i32) -> Result<(), LogError> {
        self.begin_epoch(epoch);
        self.lock_epochs().save_new(self.shared.disk.as_ref(), &self.directory)
    }

    /// The newest epoch that wrote something, -1 when none did.
    pub(crate) fn newest_epoch(&self) -> i32 {
        self.lock_epochs().latest().unwrap_or(-1)
    }

    /// The leader epoch that appended batches carry: that of this start of the broker.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch.load(Ordering::Acquire)
    }

    /// The epoch under which the record at `offset` was appended.
    #[must_use]
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.lock_epochs().at(offset)
    }

    /// The largest epoch not above `epoch`, and the offset at which it ended; `None` for an epoch nobody knows.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.lock_epochs().end_of(epoch, self.high_watermark())
    }

    pub(super) fn cut_epochs_below(&self, log_start: i64) {
        self.lock_epochs().truncate_start(log_start);
    }

    /// Before the recovery point moves over the first records of an epoch, its file must know the epoch.
    pub(super) fn save_epochs(&self) -> Result<(), LogError> {
        let changed = self.lock_epochs().take_changed();
        let saved = changed.map_or(Ok(()), |epochs| epochs.save(self.shared.disk.as_ref(), &self.directory));
        if saved.is_err() {
            self.lock_epochs().keep_changed();
        }
        saved
    }

    fn lock_epochs(&self) -> MutexGuard<'_, Epochs> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
