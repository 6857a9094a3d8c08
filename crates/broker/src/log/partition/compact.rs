//! Compaction: the newest record of each key below the growing segment stays.
//!
//! One pass: read the keys of the segments not yet compacted (under a byte limit), then rewrite segment after segment
//! without what a newer record supersedes. Groups of small segments become one. A group is written to `.log.cleaned`,
//! synced, renamed to `.log.swap` (from here on a restart finishes the swap) and put in place of its originals.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Partition;
use super::aborted::{AbortedRanges, search};
use super::filter::{Filter, Filtered, NewestOffsets, emptied};
use super::markers::Markers;
use crate::log::aborted::AbortedTransaction;
use crate::log::batch::{BatchHeader, HEADER_BYTES};
use crate::log::compression;
use crate::log::config::LogConfig;
use crate::log::error::LogError;
use crate::log::index::LiveIndex;
use crate::log::indexer::Indexer;
use crate::log::record;
use crate::log::segment::{Segment, remove_if_present, segment_path};
use crate::log::walk::Walker;

/// Positions in an index are 32-bit signed.
const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Compacted {
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    /// Batches kept as they were because their contents are too large or not decodable.
    pub(crate) kept_unread: u64,
}

/// What remains of a batch without records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenEmpty {
    /// Its header, for the producer's sequence or the end of the offsets.
    KeepHeader,
    Drop,
}

/// A rewritten group on its way to the disk.
struct Cleaned {
    file: BufWriter<File>,
    path: PathBuf,
    indexer: Indexer,
    index: LiveIndex,
    size: u64,
    changed: bool,
    /// Aborted transactions of which batches were there.
    aborted: Vec<AbortedTransaction>,
}

impl Partition {
    /// Compacts when enough is uncompacted (or old enough); `None` when not.
    pub(crate) fn compact(&self, now_ms: i64) -> Result<Option<Compacted>, LogError> {
        let config = self.config();
        if !config.cleanup_policy.compact {
            return Ok(None);
        }
        let _maintenance = self.lock_maintenance();
        self.check_readable()?;
        let closed = self.cleanable(&config, now_ms)?;
        let from = self.clean_offset().max(self.log_start_offset());
        let Some(until) = closed.last().map(|(_, end)| *end).filter(|end| *end > from) else {
            return Ok(None);
        };
        if !self.is_worth_it(&closed, from, &config, now_ms)? {
            return Ok(None);
        }
        let aborted = self.aborted_ranges(&closed, until)?;
        let newest = self.newest_offsets(&closed, &aborted, (from, until))?;
        let filter = Filter {
            newest: &newest,
            aborted: &aborted,
            now_ms,
            delete_retention_ms: config.delete_retention_ms,
            contents_limit: self.shared.batch_contents_limit,
        };
        let affected: Vec<_> =
            closed.into_iter().filter(|(segment, _)| segment.base_offset < newest.end_offset).collect();
        let mut done = Compacted::default();
        let mut markers = Markers::default();
        for group in groups(&affected, config.segment_bytes) {
            self.clean_group(group, (&filter, &mut markers), &config, &mut done)?;
        }
        self.clean_offset.store(newest.end_offset, Ordering::Release);
        Ok(Some(done))
    }

    /// Closed, flushed segments without open transactions that are old enough, with the offset behind each.
    fn cleanable(&self, config: &LogConfig, now_ms: i64) -> Result<Vec<(Arc<Segment>, i64)>, LogError> {
        let segments = self.segments();
        let settled = self.recovery_point().min(self.last_stable_offset());
        let mut cleanable = Vec::new();
        for pair in segments.windows(2) {
            let lag = config.min_compaction_lag_ms;
            let too_young = lag > 0 && now_ms.saturating_sub(pair[0].largest_timestamp(&self.shared)?) < lag;
            if pair[1].base_offset > settled || too_young {
                break;
            }
            cleanable.push((Arc::clone(&pair[0]), pair[1].base_offset));
        }
        Ok(cleanable)
    }

    fn is_worth_it(
        &self,
        closed: &[(Arc<Segment>, i64)],
        from: i64,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        let total: u64 = closed.iter().map(|(segment, _)| segment.size()).sum();
        let dirty: u64 = closed.iter().filter(|(_, end)| *end > from).map(|(segment, _)| segment.size()).sum();
        if dirty == 0 {
            return Ok(false);
        }
        #[expect(clippy::cast_precision_loss, reason = "a share of the log needs no more than 53 bits")]
        let ratio = dirty as f64 / total as f64;
        if ratio > config.min_cleanable_dirty_ratio {
            return Ok(true);
        }
        let oldest = closed.iter().find(|(_, end)| *end > from);
        let Some((segment, _)) = oldest else {
            return Ok(false);
        };
        let first = segment.locate(&self.shared, from)?.and_then(|located| located.header);
        Ok(first.is_some_and(|header| now_ms.saturating_sub(header.max_timestamp) > config.max_compaction_lag_ms))
    }

    /// The transactions whose records are to go.
    fn aborted_ranges(&self, closed: &[(Arc<Segment>, i64)], until: i64) -> Result<AbortedRanges, LogError> {
        let Some((first, _)) = closed.first() else { return Ok(AbortedRanges::default()) };
        let span = (first.base_offset, until);
        let found = match search(&self.segments(), span)? {
            Some(found) => Some(found),
            None if !self.has_transactions(closed)? => Some(Vec::new()),
            None => {
                self.rebuild_aborted_locked()?;
                search(&self.segments(), span)?
            }
        };
        found.map(AbortedRanges::new).ok_or_else(|| LogError::BadFile {
            path: self.directory.to_path_buf(),
            reason: "an index of aborted transactions vanished while it was read".to_owned(),
        })
    }

    /// Whether a closed segment without an index of aborted transactions needs one.
    fn has_transactions(&self, closed: &[(Arc<Segment>, i64)]) -> Result<bool, LogError> {
        for (segment, _) in closed {
            let Some(file) = segment.file(&self.shared)? else { continue };
            let mut walker = Walker::new(&file, &segment.log_path(), 0..segment.size(), segment.base_offset);
            while let Some((_, header)) = walker.next()? {
                if header.is_transactional() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn newest_offsets(
        &self,
        closed: &[(Arc<Segment>, i64)],
        aborted: &AbortedRanges,
        (from, until): (i64, i64),
    ) -> Result<NewestOffsets, LogError> {
        let mut newest = NewestOffsets::from(from);
        for (segment, end) in closed.iter().filter(|(_, end)| *end > from) {
            let complete = self.each_batch(segment, |header, batch| {
                if header.last_offset() < from {
                    return Ok(true);
                }
                if newest.is_full(self.shared.compaction_map_bytes) {
                    return Ok(false);
                }
                if !header.is_control() && aborted.of(header).is_none() {
                    note_keys(&mut newest, header, batch, self.shared.batch_contents_limit);
                }
                newest.end_offset = header.last_offset() + 1;
                Ok(true)
            })?;
            if !complete {
                return Ok(newest);
            }
            newest.end_offset = *end;
        }
        newest.end_offset = until;
        Ok(newest)
    }

    /// Calls `visit` with every batch, checksum verified, until it answers `false`; whether it saw all of them.
    fn each_batch(
        &self,
        segment: &Segment,
        mut visit: impl FnMut(&BatchHeader, &[u8]) -> Result<bool, LogError>,
    ) -> Result<bool, LogError> {
        let Some(file) = segment.file(&self.shared)? else {
            return Ok(true);
        };
        let path = segment.log_path();
        let mut walker = Walker::new(&file, &path, 0..segment.size(), segment.base_offset).sequential();
        let mut batch = Vec::new();
        while let Some((position, header)) = walker.next()? {
            walker.verify(position, &header)?;
            batch.clear();
            super::read::read_into(&mut batch, &file, position, header.size)
                .map_err(LogError::storage("read", &path))?;
            if !visit(&header, &batch)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn clean_group(
        &self,
        group: &[(Arc<Segment>, i64)],
        (filter, markers): (&Filter<'_>, &mut Markers),
        config: &LogConfig,
        done: &mut Compacted,
    ) -> Result<(), LogError> {
        let Some(base_offset) = group.first().map(|(segment, _)| segment.base_offset) else {
            return Ok(());
        };
        let mut cleaned = Cleaned::create(segment_path(&self.directory, base_offset, "log.cleaned"), base_offset)?;
        let last_of_group = self.last_batch(group)?;
        for (segment, _) in group {
            self.each_batch(segment, |header, batch| {
                let must_stay = header.base_offset == last_of_group || self.is_newest_of_producer(header);
                let when_empty = if must_stay { WhenEmpty::KeepHeader } else { WhenEmpty::Drop };
                let spent = markers.observe(header, filter.aborted, &mut cleaned.aborted);
                let filtered = match spent {
                    true => filter.apply_spent_marker(header, batch),
                    false => filter.apply(header, batch),
                };
                let filtered = filtered.unwrap_or_else(|error| {
                    tracing::warn!(segment = %segment.log_path().display(), offset = header.base_offset, %error,
                        "batch kept as it is: compaction cannot look into it");
                    done.kept_unread += 1;
                    Filtered::Unchanged
                });
                cleaned.put((header, batch), filtered, when_empty, config.index_interval_bytes).map(|()| true)
            })?;
        }
        let before: u64 = group.iter().map(|(segment, _)| segment.size()).sum();
        done.bytes_before += before;
        let worth_it = cleaned.changed || group.len() > 1;
        if !worth_it || cleaned.size > MAX_SEGMENT_BYTES {
            done.bytes_after += before;
            return remove_if_present(&cleaned.path).map_err(LogError::storage("delete", cleaned.path));
        }
        done.bytes_after += cleaned.size;
        self.swap(group, cleaned)
    }

    fn last_batch(&self, group: &[(Arc<Segment>, i64)]) -> Result<i64, LogError> {
        for (segment, end) in group.iter().rev() {
            let Some(file) = segment.file(&self.shared)? else {
                continue;
            };
            let start = segment.locate(&self.shared, *end - 1)?.map_or(0, |located| located.position);
            let mut walker = Walker::new(&file, &segment.log_path(), start..segment.size(), segment.base_offset);
            let mut last = None;
            while let Some((_, header)) = walker.next()? {
                last = Some(header.base_offset);
            }
            if last.is_none() && start > 0 {
                // Offsets at the end were compacted away before: the last batch lies in front of where they would be.
                self.each_batch(segment, |header, _| {
                    last = Some(header.base_offset);
                    Ok(true)
                })?;
            }
            if let Some(last) = last {
                return Ok(last);
            }
        }
        Ok(-1)
    }

    /// A producer known by a marker alone keeps that, for its epoch.
    fn is_newest_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer() {
            return false;
        }
        let newest = self.lock_writer().producers.newest(header.producer_id);
        newest.is_some_and(|newest| match newest.last_offset {
            Some(last_offset) => last_offset == header.last_offset(),
            None => header.is_control() && newest.epoch == header.producer_epoch,
        })
    }

    /// Puts a cleaned file in place of its originals; a crash at any step leaves one of the two whole.
    fn swap(&self, group: &[(Arc<Segment>, i64)], mut cleaned: Cleaned) -> Result<(), LogError> {
        let (base_offset, from) = (cleaned.indexer.base_offset(), cleaned.path.clone());
        let aborted = std::mem::take(&mut cleaned.aborted);
        let finished = cleaned.finish()?;
        let swap = segment_path(&self.directory, base_offset, "log.swap");
        self.shared.disk.rename(&from, &swap).map_err(LogError::storage("rename", from))?;
        self.shared.disk.sync_directory(&self.directory).map_err(LogError::storage("sync", &*self.directory))?;
        let replacement = Segment::closed(&self.shared, &self.directory, base_offset, finished.size);
        replacement.set_max_timestamp(finished.indexer.max_timestamp());
        {
            // Readers that find a segment retired look again, and wait here until the list is right.
            let mut list = self.segments.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (segment, _) in group {
                segment.retire(&self.shared);
            }
            for (segment, _) in group.iter().skip(1) {
                segment.delete_files()?;
            }
            let target = segment_path(&self.directory, base_offset, "log");
            replacement.store_whole_index(&finished.index)?;
            replacement.aborted.replace(&aborted)?;
            self.shared.disk.rename(&swap, &target).map_err(LogError::storage("rename", swap))?;
            let first = list.partition_point(|segment| segment.base_offset < base_offset);
            let mut changed = list.as_ref().clone();
            changed.splice(first..first + group.len(), [replacement]);
            *list = Arc::new(changed);
        }
        self.shared.disk.sync_directory(&self.directory).map_err(LogError::storage("sync", &*self.directory))
    }
}

fn note_keys(newest: &mut NewestOffsets, header: &BatchHeader, batch: &[u8], limit: usize) {
    // What cannot be read supersedes nothing: the older records stay.
    let Ok(contents) = compression::decompress(header.compression(), &batch[HEADER_BYTES..], limit) else {
        return;
    };
    for record in record::records(&contents).map_while(Result::ok) {
        if let Some(key) = record.key {
            newest.insert(key, header.base_offset + i64::from(record.offset_delta));
        }
    }
}

/// Neighbouring segments that fit into one.
fn groups(segments: &[(Arc<Segment>, i64)], segment_bytes: u64) -> Vec<&[(Arc<Segment>, i64)]> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (at, (segment, end)) in segments.iter().enumerate() {
        let spans_too_much = end - segments[start].0.base_offset > i64::from(i32::MAX);
        if at > start && (bytes + segment.size() > segment_bytes || spans_too_much) {
            groups.push(&segments[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += segment.size();
    }
    groups.push(&segments[start..]);
    groups
}

/// A cleaned file, synced.
struct Finished {
    indexer: Indexer,
    index: LiveIndex,
    size: u64,
}

impl Cleaned {
    fn create(path: PathBuf, base_offset: i64) -> Result<Self, LogError> {
        let file = File::create(&path).map_err(LogError::storage("create", &path))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 20, file),
            path,
            indexer: Indexer::new(base_offset),
            index: LiveIndex::default(),
            size: 0,
            changed: false,
            aborted: Vec::new(),
        })
    }

    fn put(
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
        self.file.write_all(bytes).map_err(LogError::storage("write", &self.path))
    }

    fn finish(mut self) -> Result<Finished, LogError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        synced.map_err(LogError::storage("sync", &self.path))?;
        self.index.push_time(self.indexer.last_time());
        Ok(Finished { indexer: self.indexer, index: self.index, size: self.size })
    }
}
