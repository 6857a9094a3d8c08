//! Reads entries of `lumenbus.index`.

use super::KeyframeAt;
use super::log::{Limit, LogReader, Stretch};
use crate::BusError;
use crate::subscriber::LogRecord;
use lumenbus_frame::StreamId;
use lumenbus_wire::{IndexEntry, IndexPosition, MAX_INDEX_ENTRY_BYTES};
use std::ops::ControlFlow;

/// Index records looked at before and after the place that a moment leads to.
pub(super) const BEHIND: i64 = 4;
pub(super) const AHEAD: i64 = 8;
/// Records at the end among which the stream's last entry is looked for, by a reader.
const TAIL: i64 = 8;
const LONG_TAIL: i64 = 32;
/// Where a chain goes on, or ended: in stretches, each four times as long.
const FIRST_TAIL: i64 = 64;
const LONGEST_TAIL: i64 = 4_096;
const BYTES: usize = 8 << 20;

/// An entry and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) entry: IndexEntry,
    pub(crate) at: IndexPosition,
    append_unix_millis: Option<i64>,
}

impl Entry {
    /// `None` for what is of another stream, or of somebody else.
    fn of(record: &LogRecord<'_>, partition: i32, stream: &StreamId) -> Option<Self> {
        if record.key != Some(stream.camera.as_str().as_bytes()) {
            return None;
        }
        let value = record.value.filter(|value| value.len() <= MAX_INDEX_ENTRY_BYTES)?;
        let entry = IndexEntry::decode(value).ok()?;
        let is_ours = entry.topic == stream.topic && entry.stream == stream.name;
        let at =
            IndexPosition { partition: u32::try_from(partition).ok()?, offset: u64::try_from(record.offset).ok()? };
        is_ours.then_some(Self { entry, at, append_unix_millis: record.append_unix_millis })
    }

    pub(super) fn capture(&self) -> i64 {
        self.entry.capture_unix_nanos
    }

    /// When a moment was appended, if the camera's clock was then as it was at this entry.
    pub(super) fn append_millis_of(&self, capture_unix_nanos: i64) -> i64 {
        let capture_millis = capture_unix_nanos / 1_000_000;
        let own_millis = self.capture() / 1_000_000;
        let offset = self.append_unix_millis.map_or(0, |append_millis| append_millis.saturating_sub(own_millis));
        capture_millis.saturating_add(offset)
    }

    pub(super) fn is_in_section_of(&self, other: &Self) -> bool {
        let (one, other) = (&self.entry, &other.entry);
        one.id.epoch == other.id.epoch && one.partition == other.partition && one.section == other.section
    }

    /// As the index has it, without a look at the frame.
    pub(super) fn keyframe(&self) -> Option<KeyframeAt> {
        Some(KeyframeAt {
            id: self.entry.id,
            capture_unix_nanos: self.capture(),
            partition: i32::try_from(self.entry.partition).ok()?,
            offset: i64::try_from(self.entry.offset).ok()?,
            bytes: self.entry.bytes,
            append_unix_millis: None,
            previous: self.previous(),
        })
    }

    /// The entry before, where it is that of the keyframe before.
    pub(super) fn previous(&self) -> Option<IndexPosition> {
        self.entry.previous.filter(|_| !self.entry.is_thinned)
    }
}

/// The stream's entries next to a place in the index.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    pub(super) before: Option<Entry>,
    pub(super) after: Option<Entry>,
}

/// The index as far as one stream is concerned.
pub(super) struct Entries<'a> {
    pub(super) log: &'a mut LogReader,
    pub(super) topic: &'a str,
    pub(super) partitions: u32,
    pub(super) stream: &'a StreamId,
}

impl Entries<'_> {
    /// The index partition of a frame partition.
    pub(super) fn partition_of(&self, frame_partition: u32) -> i32 {
        i32::try_from(frame_partition % self.partitions.max(1)).unwrap_or(0)
    }

    /// Shows the stream's entries of a stretch; whether it was read to its end, and not only as far as the limit.
    pub(super) fn read(
        &mut self,
        partition: i32,
        (from, until): (i64, i64),
        mut visit: impl FnMut(Entry),
    ) -> Result<bool, BusError> {
        let stretch = Stretch { topic: self.topic, partition, from: from.max(0), until };
        let records = usize::try_from(until.saturating_sub(from)).unwrap_or(0);
        let before = (self.log.cost.records, self.log.cost.bytes);
        let stream = self.stream;
        let read = self.log.read(stretch, Limit { records, bytes: BYTES }, |record| {
            if let Some(entry) = Entry::of(record, partition, stream) {
                visit(entry);
            }
            ControlFlow::Continue(())
        });
        self.log.cost.index_records += self.log.cost.records - before.0;
        let is_cut = self.log.cost.bytes - before.1 >= BYTES as u64;
        read.map(|next| !is_cut || next >= until)
    }

    /// The offset at which entries of this moment begin.
    pub(super) fn offset_at(&mut self, partition: i32, append_millis: i64) -> Result<i64, BusError> {
        match self.log.offset_at(self.topic, partition, append_millis)? {
            Some(offset) => Ok(offset),
            None => Ok(self.log.bounds(self.topic, partition)?.end),
        }
    }

    pub(super) fn around(&mut self, partition: i32, append_millis: i64) -> Result<Around, BusError> {
        let offset = self.offset_at(partition, append_millis)?;
        let mut around = Around::default();
        self.read(partition, (offset - BEHIND, offset + AHEAD), |entry| {
            if i64::try_from(entry.at.offset).is_ok_and(|at| at < offset) {
                around.before = Some(entry);
            } else {
                around.after.get_or_insert(entry);
            }
        })?;
        Ok(around)
    }

    /// The entry at this place, if it is one of the stream.
    pub(super) fn at(&mut self, position: IndexPosition) -> Result<Option<Entry>, BusError> {
        let (Ok(partition), Ok(offset)) = (i32::try_from(position.partition), i64::try_from(position.offset)) else {
            return Ok(None);
        };
        if position.partition >= self.partitions {
            return Ok(None);
        }
        let mut found = None;
        self.read(partition, (offset, offset.saturating_add(1)), |entry| found = Some(entry))?;
        Ok(found)
    }

    pub(super) fn end(&mut self, partition: i32) -> Result<i64, BusError> {
        Ok(self.log.bounds(self.topic, partition)?.end)
    }

    /// The stream's last entry before an offset, if it is among the last few thousand records before it.
    pub(super) fn last_before(&mut self, partition: i32, before: i64) -> Result<Option<Entry>, BusError> {
        let (mut until, mut reach, mut found) = (before, FIRST_TAIL, None);
        while found.is_none() && until > 0 && reach <= LONGEST_TAIL {
            let from = (before - reach).max(0);
            self.read(partition, (from, until), |entry| found = Some(entry))?;
            (until, reach) = (from, reach * 4);
        }
        Ok(found)
    }

    /// The stream's newest entry, if it is among the last records.
    pub(super) fn newest(&mut self, partition: i32) -> Result<Option<Entry>, BusError> {
        let end = self.end(partition)?;
        let mut found = None;
        self.read(partition, (end - TAIL, end), |entry| found = Some(entry))?;
        if found.is_none() {
            self.read(partition, (end - LONG_TAIL, end - TAIL), |entry| found = Some(entry))?;
        }
        Ok(found)
    }
}

/// The stream's last entry in an index partition, for a publisher that goes on with the chain.
pub(crate) fn last_entry(
    log: &mut LogReader,
    topic: &str,
    stream: &StreamId,
    partition: u32,
) -> Result<Option<(IndexEntry, IndexPosition)>, BusError> {
    let partition = i32::try_from(partition).unwrap_or(i32::MAX);
    let mut entries = Entries { log, topic, partitions: u32::MAX, stream };
    let end = entries.end(partition)?;
    Ok(entries.last_before(partition, end)?.map(|found| (found.entry, found.at)))
}
