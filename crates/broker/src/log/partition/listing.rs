//! What a partition's directory holds, and putting right what a crash interrupted there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use super::recover::OpenPartition;
use crate::log::batch::BatchHeader;
use crate::log::error::LogError;
use crate::log::segment::{Segment, segment_path};
use crate::log::walk::Walker;

/// The names found in a partition's directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Base offset and size.
    pub(super) logs: BTreeMap<i64, u64>,
    pub(super) snapshots: Vec<i64>,
}

impl OpenPartition<'_> {
    /// Sorts the directory's files; finishes or undoes what a crash interrupted.
    pub(super) fn list(&mut self) -> Result<Listing, LogError> {
        let mut listing = Listing::default();
        let mut swaps = Vec::new();
        let mut indexes = Vec::new();
        let storage = |source| LogError::storage("list", &*self.directory)(source);
        for entry in fs::read_dir(&self.directory).map_err(storage)? {
            let entry = entry.map_err(storage)?;
            let name = entry.file_name();
            let Some((offset, extension)) = name.to_str().and_then(parse_name) else {
                continue;
            };
            match extension {
                "log" => drop(listing.logs.insert(offset, entry.metadata().map_err(storage)?.len())),
                "snapshot" => listing.snapshots.push(offset),
                "index" | "timeindex" | "txnindex" | "txncheck" => indexes.push((offset, entry.path())),
                "log.swap" => swaps.push(offset),
                _ => self.shared.disk.remove(&entry.path()).map_err(LogError::storage("delete", entry.path()))?,
            }
        }
        for offset in swaps {
            self.finish_swap(&mut listing, offset, &indexes)?;
        }
        indexes.retain(|(offset, path)| !listing.logs.contains_key(offset) && path.exists());
        self.check_orphans(&listing, &indexes)?;
        for (_, path) in indexes {
            self.shared.disk.remove(&path).map_err(LogError::storage("delete", path))?;
        }
        Ok(listing)
    }

    /// Aborted transactions end in a segment between others of which there is only the index: its log was lost, and
    /// without both, readers of committed records would get what these transactions wrote before it.
    fn check_orphans(&self, listing: &Listing, indexes: &[(i64, PathBuf)]) -> Result<(), LogError> {
        let Some((first, last)) = listing.logs.keys().next().zip(listing.logs.keys().last()) else { return Ok(()) };
        for (offset, path) in indexes.iter().filter(|(offset, _)| first < offset && offset < last) {
            let length = fs::metadata(path).map_err(LogError::storage("inspect", path))?.len();
            if length > 0 && path.extension().is_some_and(|extension| extension == "txnindex") {
                let reason = "it is missing, but its index of aborted transactions is there; restore it, or delete the \
                              index to go on without these records";
                let path = segment_path(&self.directory, *offset, "log");
                return Err(LogError::BadFile { path, reason: reason.to_owned() });
            }
        }
        Ok(())
    }

    /// A compacted segment was complete when the broker stopped: it replaces what it was made of.
    fn finish_swap(&mut self, listing: &mut Listing, base: i64, indexes: &[(i64, PathBuf)]) -> Result<(), LogError> {
        let path = segment_path(&self.directory, base, "log.swap");
        let file = File::open(&path).map_err(LogError::storage("open", &path))?;
        let size = file.metadata().map_err(LogError::storage("inspect", &path))?.len();
        let mut walker = Walker::new(&file, &path, 0..size, base).sequential();
        let mut next_offset = base + 1;
        while let Some((_, header)) = self.next_of_swap(&mut walker)? {
            next_offset = header.last_offset() + 1;
        }
        let replaced: Vec<i64> = listing.logs.range(base..next_offset).map(|(offset, _)| *offset).collect();
        for offset in replaced {
            listing.logs.remove(&offset);
            if offset != base {
                let path = segment_path(&self.directory, offset, "log");
                self.shared.disk.remove(&path).map_err(LogError::storage("delete", path))?;
            }
        }
        // Also of those whose logs were deleted before the crash.
        for (_, path) in indexes.iter().filter(|(offset, _)| (base..next_offset).contains(offset)) {
            self.shared.disk.remove(path).map_err(LogError::storage("delete", path))?;
        }
        self.shared
            .disk
            .rename(&path, &segment_path(&self.directory, base, "log"))
            .map_err(LogError::storage("rename", &path))?;
        listing.logs.insert(base, size);
        self.report.notes.push(format!("{}-{}: finished the compaction of segment {base}", self.topic, self.index));
        Ok(())
    }

    /// The file was synced before it got its name; damage in it is the disk's, and must not keep the rest from opening.
    fn next_of_swap(&mut self, walker: &mut Walker<'_>) -> Result<Option<(u64, BatchHeader)>, LogError> {
        match walker.next() {
            Err(fault @ LogError::CorruptSegment { .. }) => {
                self.report.notes.push(format!("{}-{}: {fault}", self.topic, self.index));
                Ok(None)
            }
            step => step,
        }
    }

    /// Segments wholly below the log's start were due for deletion.
    pub(super) fn drop_below(&mut self, listing: &mut Listing, log_start: i64) -> Result<(), LogError> {
        while let Some(((&first, _), (&second, _))) = listing.logs.iter().next().zip(listing.logs.iter().nth(1)) {
            if second > log_start {
                break;
            }
            listing.logs.remove(&first);
            Segment::closed(&self.shared, &self.directory, first, 0).delete_files()?;
        }
        Ok(())
    }
}

/// `<20 digits>.<extension>`.
fn parse_name(name: &str) -> Option<(i64, &str)> {
    let (stem, extension) = name.split_once('.')?;
    let known =
        ["log", "index", "timeindex", "txnindex", "txncheck", "snapshot", "log.swap", "log.cleaned", "snapshot.tmp"];
    let kafkas = [
        "log.deleted",
        "index.deleted",
        "timeindex.deleted",
        "index.cleaned",
        "timeindex.cleaned",
        "index.swap",
        "timeindex.swap",
        "txnindex.deleted",
        "txnindex.cleaned",
        "txnindex.swap",
    ];
    // `.index.7.cleaned`: a whole index on its way to its name.
    let unfinished =
        extension.ends_with(".cleaned") && (extension.contains("index.") || extension.starts_with("txncheck."));
    let ours = stem.len() == 20 && (known.contains(&extension) || kafkas.contains(&extension) || unfinished);
    ours.then(|| stem.parse().ok()).flatten().map(|offset| (offset, extension))
}
