//! Putting a compacted segment in place of what it was made of.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::Partition;
use super::filter::{Filtered, emptied};
use crate::log::aborted::AbortedTransaction;
use crate::log::batch::BatchHeader;
use crate::log::disk::{self, Disk};
use crate::log::error::LogError;
use crate::log::index::LiveIndex;
use crate::log::indexer::Indexer;
use crate::log::segment::{Segment, segment_path};

/// Bytes collected before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// What remains of a batch without records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenEmpty {
    /// Its header, for the producer's sequence or the end of the offsets.
    KeepHeader,
    Drop,
}

/// A rewritten group on its way to the disk.
pub(super) struct Cleaned {
    disk: Arc<dyn Disk>,
    file: File,
    path: PathBuf,
    unwritten: Vec<u8>,
    indexer: Indexer,
    index: LiveIndex,
    pub(super) size: u64,
    pub(super) changed: bool,
    /// Aborted transactions of which batches were there.
    pub(super) aborted: Vec<AbortedTransaction>,
}

impl Cleaned {
    pub(super) fn create(disk: &Arc<dyn Disk>, directory: &Path, base_offset: i64) -> Result<Self, LogError> {
        let path = segment_path(directory, base_offset, "log.cleaned");
        let file = disk.open(File::options().create(true).truncate(true).write(true), &path);
        let file = file.map_err(LogError::storage("create", &path))?;
        Ok(Self {
            disk: Arc::clone(disk),
            file,
            path,
            unwritten: Vec::new(),
            indexer: Indexer::new(base_offset),
            index: LiveIndex::default(),
            size: 0,
            changed: false,
            aborted: Vec::new(),
        })
    }

    pub(super) fn put(
        &mut self,
        (header, batch): (&BatchHeader, &[u8]),
        filtered: Filtered,
        when_empty: WhenEmpty,
        interval_bytes: u64,
    ) -> Result<(), LogError> {
        let rewritten = match filtered {
            Filtered::Unchanged => None,
            Filtered::Rewritten(bytes) => Some(bytes),
            Filtered::Empty if when_empty == WhenEmpty::KeepHeader && header.count == 0 => None,
            Filtered::Empty if when_empty == WhenEmpty::KeepHeader => Some(emptied(header)),
            Filtered::Empty => {
                self.changed = true;
                return Ok(());
            }
        };
        self.changed |= rewritten.is_some();
        let bytes = rewritten.as_deref().unwrap_or(batch);
        let stored = BatchHeader::parse(bytes).unwrap_or(*header);
        self.indexer.observe_into(&mut self.index, self.size, &stored, interval_bytes);
        self.size += stored.size_u64();
        self.unwritten.extend_from_slice(bytes);
        if self.unwritten.len() < WRITE_BYTES {
            return Ok(());
        }
        self.write().map_err(LogError::storage("write", &self.path))
    }

    fn write(&mut self) -> io::Result<()> {
        disk::write_all(self.disk.as_ref(), &self.file, &mut [IoSlice::new(&self.unwritten)])?;
        self.unwritten.clear();
        Ok(())
    }

    /// All of it is on the disk.
    fn finish(&mut self) -> Result<(), LogError> {
        let synced = self.write().and_then(|()| self.disk.sync(&self.file));
        synced.map_err(LogError::storage("sync", &self.path))?;
        self.index.push_time(self.indexer.last_time());
        Ok(())
    }

    /// Removes the file, which nothing refers to.
    pub(super) fn discard(&self) -> Result<(), LogError> {
        self.disk.remove(&self.path).map_err(LogError::storage("delete", &self.path))
    }
}

impl Partition {
    /// Puts a cleaned file in place of its originals; a crash at any step leaves one of the two whole. After a failure
    /// the originals stay, or the partition is offline until a restart finishes what was begun.
    pub(super) fn swap(&self, group: &[(Arc<Segment>, i64)], mut cleaned: Cleaned) -> Result<(), LogError> {
        if let Err(error) = cleaned.finish() {
            // A later pass or the next start overwrites or removes what cannot be removed now.
            let _ = cleaned.discard();
            return Err(error);
        }
        let swap = cleaned.path.with_extension("swap");
        let disk = self.shared.disk.as_ref();
        let named = disk.rename(&cleaned.path, &swap).map_err(LogError::storage("rename", &cleaned.path));
        if let Err(error) = named.and_then(|()| self.sync_names()) {
            let _ = cleaned.discard();
            // Left there, it would replace at some later start what the segments have become by then.
            if let Err(stays) = disk.remove(&swap) {
                let reason = format!("{} is out of date and cannot be removed: {stays}", swap.display());
                self.take_offline(&mut self.lock_writer(), reason);
            }
            return Err(error);
        }
        let replaced = self.replace(group, &cleaned, &swap).and_then(|()| self.sync_names());
        replaced.inspect_err(|error| {
            // Some of the originals may be gone. The complete file has its `.swap` name on the disk.
            let reason = format!("a compacted segment could not be put in its place: {error}");
            self.take_offline(&mut self.lock_writer(), reason);
        })
    }

    fn replace(&self, group: &[(Arc<Segment>, i64)], cleaned: &Cleaned, swap: &Path) -> Result<(), LogError> {
        let base_offset = cleaned.indexer.base_offset();
        let replacement = Segment::closed(&self.shared, &self.directory, base_offset, cleaned.size);
        replacement.set_max_timestamp(cleaned.indexer.max_timestamp());
        // Readers that find a segment retired look again, and wait here until the list is right.
        let mut list = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        for (segment, _) in group {
            segment.retire(&self.shared);
        }
        for (segment, _) in group.iter().skip(1) {
            segment.delete_files()?;
        }
        replacement.store_whole_index(&cleaned.index)?;
        replacement.aborted.replace(&cleaned.aborted)?;
        self.shared.disk.rename(swap, &replacement.log_path()).map_err(LogError::storage("rename", swap))?;
        let first = list.partition_point(|segment| segment.base_offset < base_offset);
        let mut changed = list.as_ref().clone();
        changed.splice(first..first + group.len(), [replacement]);
        *list = Arc::new(changed);
        Ok(())
    }

    fn sync_names(&self) -> Result<(), LogError> {
        self.shared.disk.sync_directory(&self.directory).map_err(LogError::storage("sync", &*self.directory))
    }
}
