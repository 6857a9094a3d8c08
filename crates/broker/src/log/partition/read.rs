//! Reading: positional, without the writer's lock, over as many segments as the budget spans.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;

use super::aborted::search;
use super::{FirstBatch, Isolation, Partition, ReadSlice};
use crate::log::aborted::AbortedTransaction;
use crate::log::batch::{BatchHeader, HEADER_BYTES};
use crate::log::error::LogError;
use crate::log::segment::{Located, Segment};

/// No read allocates more than this, except for one batch that is larger.
const MAX_READ_BYTES: usize = 256 << 20;
/// How often a read looks again when segments are replaced under it.
const MAX_LOOKS: usize = 16;

impl Partition {
    /// Reads whole batches from the one that holds `offset`, at most `max_bytes`, whatever becomes of transactions.
    ///
    /// `first` says what happens when the first batch alone is larger than `max_bytes`.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`], or a disk failure.
    pub fn read(&self, offset: i64, max_bytes: usize, first: FirstBatch) -> Result<ReadSlice, LogError> {
        self.read_isolated(offset, (max_bytes, first), Isolation::Uncommitted)
    }

    /// As [`Self::read`], of the records that `isolation` lets through.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_isolated(
        &self,
        offset: i64,
        budget: (usize, FirstBatch),
        isolation: Isolation,
    ) -> Result<ReadSlice, LogError> {
        for _ in 0..MAX_LOOKS {
            self.check_readable()?;
            let last_stable_offset = self.last_stable_offset();
            let end_offset = self.high_watermark();
            let log_start_offset = self.log_start_offset();
            if offset < log_start_offset || offset > end_offset {
                return Err(LogError::OffsetOutOfRange { offset, log_start_offset, end_offset });
            }
            let mut slice = ReadSlice {
                records: Bytes::new(),
                high_watermark: end_offset,
                log_start_offset,
                last_stable_offset,
                aborted: Vec::new(),
            };
            let limit = match isolation {
                Isolation::Uncommitted => i64::MAX,
                Isolation::Committed => last_stable_offset,
            };
            if offset == end_offset || offset >= limit {
                return Ok(slice);
            }
            match self.collect(offset, budget, limit)? {
                Found::Batches { records, next_offset, aborted } => {
                    slice.records = records;
                    slice.high_watermark = end_offset.max(next_offset);
                    slice.aborted = aborted;
                    return Ok(slice);
                }
                Found::Replaced => {}
                Found::AbortedUnknown => self.rebuild_aborted()?,
            }
        }
        Err(self.always_replaced())
    }

    /// Looks at the segments, and again when one of them was replaced or deleted meanwhile.
    pub(super) fn look<T>(&self, look: impl Fn(&[Arc<Segment>]) -> Result<T, LogError>) -> Result<T, LogError> {
        for _ in 0..MAX_LOOKS {
            self.check_readable()?;
            let segments = self.segments();
            let found = look(&segments);
            if !segments.iter().any(|segment| segment.is_retired()) {
                return found;
            }
        }
        Err(self.always_replaced())
    }

    /// Every look found segments out of use: for good, when a compaction failed half-way.
    fn always_replaced(&self) -> LogError {
        let busy = "segments were replaced faster than they could be read; try again";
        self.check_online(&self.lock_writer()).err().unwrap_or_else(|| LogError::Storage {
            operation: "read",
            path: self.directory.to_path_buf(),
            source: std::io::Error::other(busy),
        })
    }

    /// Batches that begin below `limit`.
    fn collect(&self, offset: i64, (max_bytes, first): (usize, FirstBatch), limit: i64) -> Result<Found, LogError> {
        let nothing = || Found::Batches { records: Bytes::new(), next_offset: offset, aborted: Vec::new() };
        let segments = self.segments();
        let mut at = segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
        let (located, header) = loop {
            let Some(segment) = segments.get(at) else {
                return Ok(nothing());
            };
            match segment.locate(&self.shared, offset)? {
                None => return Ok(Found::Replaced),
                Some(Located { header: Some(header), file, position }) => break ((file, position), header),
                Some(Located { header: None, .. }) => at += 1,
            }
        };
        // Where compaction took everything up to the limit, the next batch lies beyond it.
        if header.base_offset >= limit || (header.size > max_bytes && first == FirstBatch::WithinBudget) {
            return Ok(nothing());
        }
        let budget = max_bytes.min(MAX_READ_BYTES).max(header.size);
        let mut collected = Collected::new(&segments[at..], located.1, (budget, limit));
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
        let mut aborted = Vec::new();
        if limit < i64::MAX
            && let Some(from) = collected.transactional_from
        {
            let first = segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
            match search(&segments[first..], (from.max(offset), collected.next_offset)) {
                // Compaction removes entries together with the records: both must be of the same segments.
                _ if segments[at..].iter().any(|segment| segment.is_retired()) => return Ok(Found::Replaced),
                found => match found? {
                    Some(found) => aborted = found,
                    None => return Ok(Found::AbortedUnknown),
                },
            }
        }
        Ok(Found::Batches { records: Bytes::from(collected.buffer), next_offset: collected.next_offset, aborted })
    }
}

/// What one look found.
enum Found {
    Batches {
        records: Bytes,
        next_offset: i64,
        aborted: Vec<AbortedTransaction>,
    },
    /// A segment was replaced meanwhile.
    Replaced,
    /// An index of aborted transactions is lost.
    AbortedUnknown,
}

/// Batches on their way out.
struct Collected {
    buffer: Vec<u8>,
    budget: usize,
    /// No batch may begin here or later.
    limit: i64,
    next_offset: i64,
    /// First offset of the first batch that belongs to a transaction.
    transactional_from: Option<i64>,
    cut: bool,
}

impl Collected {
    fn new(segments: &[Arc<Segment>], position: u64, (budget, limit): (usize, i64)) -> Self {
        let mut available = 0_u64;
        for (at, segment) in segments.iter().enumerate() {
            available += segment.size() - if at == 0 { position } else { 0 };
            if available >= budget as u64 {
                break;
            }
        }
        let capacity = usize::try_from(available).unwrap_or(usize::MAX).min(budget);
        Self {
            buffer: Vec::with_capacity(capacity),
            budget,
            limit,
            next_offset: 0,
            transactional_from: None,
            cut: false,
        }
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
        let (whole, end) = self.whole_batches(from);
        self.buffer.truncate(from + whole);
        self.cut = whole < available;
        let fault = match end {
            End::Fault(reason) => Some(reason),
            End::Cut if whole == 0 && wanted == available && wanted > 0 => Some("the file ends inside the batch"),
            End::Cut | End::Limit => None,
        };
        match fault {
            // Good batches in front of a bad one are served; the next read begins at the bad one and says so.
            Some(reason) if self.buffer.is_empty() => {
                Err(LogError::CorruptSegment { path: segment.log_path(), position, reason })
            }
            _ => Ok(()),
        }
    }
    /// Length of the leading whole batches behind `from`, and what comes after them.
    fn whole_batches(&mut self, from: usize) -> (usize, End) {
        let bytes = &self.buffer[from..];
        let mut whole = 0;
        while bytes.len() - whole >= HEADER_BYTES {
            let header = match BatchHeader::parse(&bytes[whole..]) {
                Ok(header) if header.base_offset >= self.next_offset => header,
                Ok(_) => {
                    return (whole, End::Fault("its base offset lies before the end of the batch in front of it"));
                }
                Err(fault) => return (whole, End::Fault(fault.reason())),
            };
            if header.base_offset >= self.limit {
                return (whole, End::Limit);
            }
            if header.size > bytes.len() - whole {
                break;
            }
            whole += header.size;
            self.next_offset = header.last_offset() + 1;
            if header.is_transactional() {
                self.transactional_from.get_or_insert(header.base_offset);
            }
        }
        (whole, End::Cut)
    }
}

/// Why no further batch was taken.
enum End {
    /// The next one is not there in full.
    Cut,
    /// The next one is not to be read yet.
    Limit,
    /// The next one is damaged.
    Fault(&'static str),
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
