//! Finding records by time.

use super::{Partition, TimestampOffset};
use crate::log::batch::{BatchHeader, HEADER_BYTES};
use crate::log::compression;
use crate::log::error::LogError;
use crate::log::record;
use crate::log::segment::{Located, Segment};

impl Partition {
    /// The first record whose timestamp is at least `timestamp_ms`; `None` when there is none.
    ///
    /// # Errors
    /// A disk failure.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<TimestampOffset>, LogError> {
        self.check_readable()?;
        for segment in self.segments().iter() {
            if segment.size() == 0 || segment.largest_timestamp(&self.shared)? < timestamp_ms {
                continue;
            }
            let found = self.find_in(segment, timestamp_ms)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp; `None` in an empty log.
    ///
    /// # Errors
    /// A disk failure.
    pub fn max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let mut largest = None;
        for segment in self.segments().iter().filter(|segment| segment.size() > 0) {
            largest = largest.max(Some(segment.largest_timestamp(&self.shared)?));
        }
        match largest {
            Some(timestamp_ms) => self.offset_for_timestamp(timestamp_ms),
            None => Ok(None),
        }
    }

    fn find_in(&self, segment: &Segment, timestamp_ms: i64) -> Result<Option<TimestampOffset>, LogError> {
        let log_start = self.log_start_offset();
        let mut from = log_start.max(segment.base_offset);
        loop {
            let located = segment.locate_time(&self.shared, timestamp_ms, from)?;
            // A retired segment was deleted or compacted: the caller goes on with the next one.
            let Some(Located { file, position, header: Some(header) }) = located else {
                return Ok(None);
            };
            let mut batch = Vec::with_capacity(header.size);
            let read = super::read::read_into(&mut batch, &file, position, header.size);
            read.map_err(LogError::storage("read", segment.log_path()))?;
            if let Some(found) = find_record(&header, &batch, timestamp_ms, log_start, self.shared.batch_contents_limit)
            {
                return Ok(Some(found));
            }
            from = header.last_offset() + 1;
        }
    }
}

/// The first matching record; the batch's first offset when its contents cannot be looked into.
fn find_record(
    header: &BatchHeader,
    batch: &[u8],
    timestamp_ms: i64,
    log_start: i64,
    limit: usize,
) -> Option<TimestampOffset> {
    let whole = TimestampOffset { offset: header.base_offset.max(log_start), timestamp_ms: header.max_timestamp };
    if header.is_log_append_time() {
        return Some(whole);
    }
    let Ok(contents) = compression::decompress(header.compression(), &batch[HEADER_BYTES..], limit) else {
        return Some(whole);
    };
    record::records(&contents)
        .filter_map(Result::ok)
        .map(|record| TimestampOffset {
            offset: header.base_offset + i64::from(record.offset_delta),
            timestamp_ms: header.base_timestamp.saturating_add(record.timestamp_delta),
        })
        .find(|found| found.offset >= log_start && found.timestamp_ms >= timestamp_ms)
}
