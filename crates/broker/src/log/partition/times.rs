//! Finding records by time.

use std::fs::File;
use std::sync::Arc;

use super::{Partition, TimestampOffset};
use crate::log::batch::{BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use crate::log::compression;
use crate::log::error::LogError;
use crate::log::record;
use crate::log::segment::{Located, Segment};
use crate::log::walk::Walker;

impl Partition {
    /// The first record whose timestamp is at least `timestamp_ms`; `None` when there is none.
    ///
    /// # Errors
    /// A disk failure.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampOffset>, LogError> {
        self.look(|segments| {
            for segment in segments {
                if segment.size() == 0 || segment.largest_timestamp(&self.shared)? < timestamp_ms {
                    continue;
                }
                let found = self.find_in(segment, timestamp_ms)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
        })
    }

    /// The first record with the largest timestamp; `None` when no record has one.
    ///
    /// # Errors
    /// A disk failure.
    pub fn max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let largest = self.look(|segments| self.largest_in(segments))?;
        if largest == NO_TIMESTAMP { Ok(None) } else { self.offset_for_timestamp(largest) }
    }

    fn largest_in(&self, segments: &[Arc<Segment>]) -> Result<i64, LogError> {
        let mut bounds = Vec::with_capacity(segments.len());
        for segment in segments.iter().filter(|segment| segment.size() > 0) {
            bounds.push((segment.largest_timestamp(&self.shared)?, segment));
        }
        bounds.sort_by_key(|(bound, _)| std::cmp::Reverse(*bound));
        let mut largest = NO_TIMESTAMP;
        for (bound, segment) in bounds {
            if bound <= largest {
                break;
            }
            // A bound is not reached where its record was deleted, a producer claimed more than it sent, or records
            // have no timestamps and their file's stands in.
            largest = match self.find_in(segment, bound)? {
                Some(found) => found.timestamp_ms,
                None => self.look_through(segment, largest)?,
            };
        }
        Ok(largest)
    }

    /// The largest timestamp of a segment's records that is above `largest`, else that.
    fn look_through(&self, segment: &Segment, mut largest: i64) -> Result<i64, LogError> {
        let log_start = self.log_start_offset();
        let Some(file) = segment.file(&self.shared)? else { return Ok(largest) };
        let mut walker = Walker::new(&file, &segment.log_path(), 0..segment.size(), segment.base_offset).sequential();
        while let Some((position, header)) = walker.next()? {
            if header.max_timestamp <= largest || header.last_offset() < log_start {
                continue;
            }
            let batch = self.read_batch(segment, &file, position, &header)?;
            find_record((&header, &batch), log_start, self.shared.batch_contents_limit, |found| {
                largest = largest.max(found.timestamp_ms);
                false
            });
        }
        Ok(largest)
    }

    fn read_batch(
        &self,
        segment: &Segment,
        file: &File,
        position: u64,
        header: &BatchHeader,
    ) -> Result<Vec<u8>, LogError> {
        let mut batch = Vec::with_capacity(header.size);
        let read = super::read::read_into(&mut batch, file, position, header.size);
        read.map_err(LogError::storage("read", segment.log_path())).map(|()| batch)
    }

    fn find_in(&self, segment: &Segment, timestamp_ms: i64) -> Result<Option<TimestampOffset>, LogError> {
        let log_start = self.log_start_offset();
        let mut from = log_start.max(segment.base_offset);
        loop {
            let located = segment.locate_time(&self.shared, timestamp_ms, from)?;
            // A retired segment was deleted or compacted: the caller looks again.
            let Some(Located { file, position, header: Some(header) }) = located else {
                return Ok(None);
            };
            let batch = self.read_batch(segment, &file, position, &header)?;
            let limit = self.shared.batch_contents_limit;
            let found = find_record((&header, &batch), log_start, limit, |found| found.timestamp_ms >= timestamp_ms);
            if found.is_some() {
                return Ok(found);
            }
            from = header.last_offset() + 1;
        }
    }
}

/// The first record from `log_start` on that is `wanted`; the whole batch is asked about where all its records have one
/// timestamp, or its contents cannot be looked into.
fn find_record(
    (header, batch): (&BatchHeader, &[u8]),
    log_start: i64,
    limit: usize,
    mut wanted: impl FnMut(TimestampOffset) -> bool,
) -> Option<TimestampOffset> {
    let whole = TimestampOffset { offset: header.base_offset.max(log_start), timestamp_ms: header.max_timestamp };
    if header.is_log_append_time() {
        return Some(whole).filter(|found| wanted(*found));
    }
    let Ok(contents) = compression::decompress(header.compression(), &batch[HEADER_BYTES..], limit) else {
        return Some(whole).filter(|found| wanted(*found));
    };
    record::records(&contents)
        .filter_map(Result::ok)
        .map(|record| TimestampOffset {
            offset: header.base_offset + i64::from(record.offset_delta),
            timestamp_ms: header.base_timestamp.saturating_add(record.timestamp_delta),
        })
        .find(|found| found.offset >= log_start && wanted(*found))
}
