//! Reading: positional, without the writer's lock, over as many segments as the budget spans.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;

use super::{FirstBatch, Partition, ReadSlice};
use crate::log::batch::{BatchHeader, HEADER_BYTES};
use crate::log::error::LogError;
use crate::log::segment::{Located, Segment};

/// No read allocates more than this, except for one batch that is larger.
const MAX_READ_BYTES: usize = 256 << 20;
/// How often a read looks again when segments are replaced under it.
const MAX_LOOKS: usize = 16;

impl Partition {
    /// Reads whole batches from the one that holds `offset`, at most `max_bytes`.
    ///
    /// `first` says what happens when the first batch alone is larger than `max_bytes`.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`], or a disk failure.
    pub fn read(&self, offset: i64, max_bytes: usize, first: FirstBatch) -> Result<ReadSlice, LogError> {
        for _ in 0..MAX_LOOKS {
            self.check_readable()?;
            let end_offset = self.high_watermark();
            let log_start_offset = self.log_start_offset();
            if offset < log_start_offset || offset > end_offset {
                return Err(LogError::OffsetOutOfRange { offset, log_start_offset, end_offset });
            }
            let mut slice = ReadSlice { records: Bytes::new(), high_watermark: end_offset, log_start_offset };
            if offset == end_offset {
                return Ok(slice);
            }
            if let Some((records, next_offset)) = self.collect(offset, max_bytes, first)? {
                slice.records = records;
                slice.high_watermark = end_offset.max(next_offset);
                return Ok(slice);
            }
        }
        Err(LogError::Storage {
            operation: "read",
            path: self.directory.to_path_buf(),
            source: std::io::Error::other("segments were replaced faster than they could be read; try again"),
        })
    }

    /// `None`: a segment was replaced meanwhile.
    fn collect(&self, offset: i64, max_bytes: usize, first: FirstBatch) -> Result<Option<(Bytes, i64)>, LogError> {
        let segments = self.segments();
        let mut at = segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
        let (located, header) = loop {
            let Some(segment) = segments.get(at) else {
                return Ok(Some((Bytes::new(), offset)));
            };
            match segment.locate(&self.shared, offset)? {
                None => return Ok(None),
                Some(Located { header: Some(header), file, position }) => break ((file, position), header),
                Some(Located { header: None, .. }) => at += 1,
            }
        };
        if header.size > max_bytes && first == FirstBatch::WithinBudget {
            return Ok(Some((Bytes::new(), offset)));
        }
        let budget = max_bytes.min(MAX_READ_BYTES).max(header.size);
        let mut collected = Collected::new(&segments[at..], located.1, budget);
        collected.take(&segments[at], &located.0, located.1)?;
        for segment in &segments[at + 1..] {
            if !collected.wants_more() {
                break;
            }
            match segment.file(&self.shared)? {
                Some(file) => collected.take(segment, &file, 0)?,
                // What is collected is whole and in order: enough for now.
                None => break,
            }
        }
        Ok(Some((Bytes::from(collected.buffer), collected.next_offset)))
    }
}

/// Batches on their way out.
struct Collected {
    buffer: Vec<u8>,
    budget: usize,
    next_offset: i64,
    cut: bool,
}

impl Collected {
    fn new(segments: &[Arc<Segment>], position: u64, budget: usize) -> Self {
        let mut available = 0_u64;
        for (at, segment) in segments.iter().enumerate() {
            available += segment.size() - if at == 0 { position } else { 0 };
            if available >= budget as u64 {
                break;
            }
        }
        let capacity = usize::try_from(available).unwrap_or(usize::MAX).min(budget);
        Self { buffer: Vec::with_capacity(capacity), budget, next_offset: 0, cut: false }
    }

    fn wants_more(&self) -> bool {
        !self.cut && self.buffer.len() + HEADER_BYTES <= self.budget
    }

    /// Takes the whole batches of a segment from `position` that fit the budget.
    fn take(&mut self, segment: &Segment, file: &File, position: u64) -> Result<(), LogError> {
        let available = usize::try_from(segment.size() - position).unwrap_or(usize::MAX);
        let wanted = available.min(self.budget - self.buffer.len());
        let from = self.buffer.len();
        read_into(&mut self.buffer, file, position, wanted).map_err(LogError::storage("read", segment.log_path()))?;
        let (whole, fault) = whole_batches(&self.buffer[from..], &mut self.next_offset);
        self.buffer.truncate(from + whole);
        self.cut = whole < available;
        let fault =
            fault.or((whole == 0 && wanted == available && wanted > 0).then_some("the file ends inside the batch"));
        match fault {
            // Good batches in front of a bad one are served; the next read begins at the bad one and says so.
            Some(reason) if self.buffer.is_empty() => {
                Err(LogError::CorruptSegment { path: segment.log_path(), position, reason })
            }
            _ => Ok(()),
        }
    }
}

/// Length of the leading whole batches, and what is wrong with the one behind them if it is not merely cut.
fn whole_batches(bytes: &[u8], next_offset: &mut i64) -> (usize, Option<&'static str>) {
    let mut whole = 0;
    while bytes.len() - whole >= HEADER_BYTES {
        let header = match BatchHeader::parse(&bytes[whole..]) {
            Ok(header) if header.base_offset >= *next_offset => header,
            Ok(_) => {
                return (whole, Some("its base offset lies before the end of the batch in front of it"));
            }
            Err(fault) => return (whole, Some(fault.reason())),
        };
        if header.size > bytes.len() - whole {
            break;
        }
        whole += header.size;
        *next_offset = header.last_offset() + 1;
    }
    (whole, None)
}

/// Reads exactly `length` bytes behind what `buffer` holds, without clearing memory first.
pub(super) fn read_into(buffer: &mut Vec<u8>, file: &File, position: u64, length: usize) -> std::io::Result<()> {
    buffer.reserve(length);
    let end = buffer.len() + length;
    let mut at = position;
    while buffer.len() < end {
        let read = match rustix::io::pread(file, spare_capacity(buffer), at) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        at += read as u64;
    }
    buffer.truncate(end);
    Ok(())
}
