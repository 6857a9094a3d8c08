//! Compaction: the newest record of each key below the growing segment stays.
//!
//! One pass: read the keys of the segments not yet compacted (under a byte limit), then rewrite segment after segment
//! without what a newer record supersedes. Groups of small segments become one. A group is written to `.log.cleaned`,
//! synced, renamed to `.log.swap` (from here on a restart finishes the swap) and put in place of its originals.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::aborted::{AbortedRanges, search};
use super::filter::{Filter, Filtered, NewestOffsets};
use super::markers::Markers;
use super::swap::{Cleaned, WhenEmpty};
use super::{Damaged, Partition};
use crate::log::batch::{BatchHeader, HEADER_BYTES};
use crate::log::compression;
use crate::log::config::LogConfig;
use crate::log::error::LogError;
use crate::log::record;
use crate::log::segment::Segment;
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

impl Partition {
    /// Compacts when enough is uncompacted (or old enough); `None` when not.
    pub(crate) fn compact(&self, now_ms: i64) -> Result<Option<Compacted>, LogError> {
        let config = self.config();
        if !config.cleanup_policy.compact {
            return Ok(None);
        }
        let mut maintenance = self.lock_maintenance();
        self.check_readable()?;
        self.check_online(&self.lock_writer())?;
        if maintenance.damaged.is_in_the_way() {
            return Ok(None);
        }
        let compacted = self.compact_around(&mut maintenance.damaged, &config, now_ms);
        compacted.inspect_err(|error| self.note_damage(&mut maintenance.damaged, error))
    }

    fn compact_around(
        &self,
        damaged: &mut Damaged,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Option<Compacted>, LogError> {
        let closed = self.cleanable(damaged, config, now_ms)?;
        let from = self.clean_offset().max(damaged.clean_until).max(self.log_start_offset());
        let Some(until) = closed.last().map(|(_, end)| *end).filter(|end| *end > from) else {
            return Ok(None);
        };
        let readable: Vec<_> = closed.iter().filter(|(segment, _)| !damaged.holds(segment)).cloned().collect();
        if !self.is_worth_it(&readable, from, config, now_ms)? {
            return Ok(None);
        }
        let aborted = self.aborted_ranges(&closed, until)?;
        let newest = self.newest_offsets(&readable, &aborted, (from, until))?;
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
        for (at, run) in affected.split(|(segment, _)| damaged.holds(segment)).enumerate() {
            if at > 0 {
                markers.pass_damage();
            }
            for group in groups(run, config.segment_bytes) {
                self.clean_group(group, (&filter, &mut markers), config, &mut done)?;
            }
        }
        damaged.clean_until = newest.end_offset;
        self.clean_offset.store(damaged.clean_offset(newest.end_offset), Ordering::Release);
        Ok(Some(done))
    }

    /// Closed, flushed segments without open transactions that are old enough, with the offset behind each.
    fn cleanable(
        &self,
        damaged: &Damaged,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Vec<(Arc<Segment>, i64)>, LogError> {
        let segments = self.segments();
        let settled = self.recovery_point().min(self.last_stable_offset());
        let mut cleanable = Vec::new();
        for pair in segments.windows(2) {
            let lag = config.min_compaction_lag_ms;
            let has_lag = lag > 0 && !damaged.holds(&pair[0]);
            let too_young = has_lag && now_ms.saturating_sub(pair[0].largest_timestamp(&self.shared)?) < lag;
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
            let file = self.file_of(segment)?;
            let span = 0..segment.size();
            let mut walker = Walker::new(&file, &segment.log_path(), span, segment.base_offset).sequential();
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

    /// A segment's file. Only a deletion of the topic takes one away under a compaction; without it, keys would be lost.
    fn file_of(&self, segment: &Segment) -> Result<Arc<File>, LogError> {
        if let Some(file) = segment.file(&self.shared)? {
            return Ok(file);
        }
        self.check_readable()?;
        let reason = "it was taken out of the log while it was compacted".to_owned();
        Err(LogError::BadFile { path: segment.log_path(), reason })
    }

    /// Calls `visit` with every batch, checksum verified, until it answers `false`; whether it saw all of them.
    fn each_batch(
        &self,
        segment: &Segment,
        mut visit: impl FnMut(&BatchHeader, &[u8]) -> Result<bool, LogError>,
    ) -> Result<bool, LogError> {
        let file = self.file_of(segment)?;
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
        rules: (&Filter<'_>, &mut Markers),
        config: &LogConfig,
        done: &mut Compacted,
    ) -> Result<(), LogError> {
        let Some(base_offset) = group.first().map(|(segment, _)| segment.base_offset) else {
            return Ok(());
        };
        let mut cleaned = Cleaned::create(&self.shared.disk, &self.directory, base_offset)?;
        if let Err(error) = self.rewrite(group, rules, config.index_interval_bytes, (&mut cleaned, done)) {
            // A later pass or the next start overwrites or removes what cannot be removed now.
            let _ = cleaned.discard();
            return Err(error);
        }
        let before: u64 = group.iter().map(|(segment, _)| segment.size()).sum();
        done.bytes_before += before;
        let worth_it = cleaned.changed || group.len() > 1;
        if !worth_it || cleaned.size > MAX_SEGMENT_BYTES {
            done.bytes_after += before;
            return cleaned.discard();
        }
        done.bytes_after += cleaned.size;
        self.swap(group, cleaned)
    }

    fn rewrite(
        &self,
        group: &[(Arc<Segment>, i64)],
        (filter, markers): (&Filter<'_>, &mut Markers),
        interval_bytes: u64,
        (cleaned, done): (&mut Cleaned, &mut Compacted),
    ) -> Result<(), LogError> {
        let last_of_group = self.last_batch(group)?;
        for (segment, _) in group {
            self.each_batch(segment, |header, batch| {
                let must_stay = header.base_offset == last_of_group || self.is_newest_of_producer(header);
                let when_empty = if must_stay { WhenEmpty::KeepHeader } else { WhenEmpty::Drop };
                let spent = markers.observe(header, filter.aborted, &mut cleaned.aborted);
                let filtered = match spent {
                    true => filter.apply_spent_marker(header, batch),
                    false => filter.apply(header, batch, markers.tombstones()),
                };
                let filtered = filtered.unwrap_or_else(|error| {
                    tracing::warn!(segment = %segment.log_path().display(), offset = header.base_offset, %error,
                        "batch kept as it is: compaction cannot look into it");
                    done.kept_unread += 1;
                    markers.pass_unread();
                    Filtered::Unchanged
                });
                cleaned.put((header, batch), filtered, when_empty, interval_bytes).map(|()| true)
            })?;
        }
        Ok(())
    }

    fn last_batch(&self, group: &[(Arc<Segment>, i64)]) -> Result<i64, LogError> {
        for (segment, end) in group.iter().rev() {
            let file = self.file_of(segment)?;
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
