//! Kafka's sparse indexes: `.index` (relative offset → position) and `.timeindex` (timestamp → relative offset).
//!
//! An offset entry names the *last* offset of the batch at its position; a time entry the largest timestamp so far
//! and the last offset of the batch that has it. Both big-endian, ascending (Kafka's `OffsetIndex`, `TimeIndex`).

use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::{self, Contents, Disk};

/// Size of one entry of `.index`.
pub(crate) const OFFSET_ENTRY_BYTES: u64 = 8;
/// Size of one entry of `.timeindex`.
pub(crate) const TIME_ENTRY_BYTES: u64 = 12;

/// The batch at `position` ends with offset base + `relative`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative: u32,
    pub(crate) position: u32,
}

/// Up to offset base + `relative` no timestamp is larger than `timestamp_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp_ms: i64,
    pub(crate) relative: u32,
}

/// An entry with a fixed big-endian form.
pub(crate) trait Entry: Copy {
    const BYTES: u64;
    fn decode(bytes: &[u8]) -> Self;
    fn encode(self, out: &mut Vec<u8>);
    /// Whether `self` may stand directly before `next`.
    fn precedes(self, next: Self) -> bool;
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("callers pass whole entries")
}

impl Entry for OffsetEntry {
    const BYTES: u64 = OFFSET_ENTRY_BYTES;

    fn decode(bytes: &[u8]) -> Self {
        Self { relative: u32::from_be_bytes(array(bytes, 0)), position: u32::from_be_bytes(array(bytes, 4)) }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn precedes(self, next: Self) -> bool {
        self.relative < next.relative && self.position < next.position
    }
}

impl Entry for TimeEntry {
    const BYTES: u64 = TIME_ENTRY_BYTES;

    fn decode(bytes: &[u8]) -> Self {
        Self { timestamp_ms: i64::from_be_bytes(array(bytes, 0)), relative: u32::from_be_bytes(array(bytes, 8)) }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        out.extend_from_slice(&self.relative.to_be_bytes());
    }

    fn precedes(self, next: Self) -> bool {
        self.timestamp_ms < next.timestamp_ms && self.relative <= next.relative
    }
}

/// Both indexes of the segment that is being written, in memory; files get the tail at checkpoints and at the end.
#[derive(Debug, Default)]
pub(crate) struct LiveIndex {
    pub(crate) offsets: Vec<OffsetEntry>,
    pub(crate) times: Vec<TimeEntry>,
}

impl LiveIndex {
    pub(crate) fn push_offset(&mut self, entry: OffsetEntry) {
        if self.offsets.last().is_none_or(|last| last.precedes(entry)) {
            self.offsets.push(entry);
        }
    }

    pub(crate) fn push_time(&mut self, entry: TimeEntry) {
        if entry.timestamp_ms >= 0 && self.times.last().is_none_or(|last| last.precedes(entry)) {
            self.times.push(entry);
        }
    }

    /// Where to start looking for the batch that holds base + `relative`; the segment's start when `None`.
    pub(crate) fn entry_for(&self, relative: u32) -> Option<OffsetEntry> {
        let after = self.offsets.partition_point(|entry| entry.relative <= relative);
        after.checked_sub(1).map(|at| self.offsets[at])
    }

    /// The last offset known to precede every batch with a timestamp above `timestamp_ms`.
    pub(crate) fn relative_for_time(&self, timestamp_ms: i64) -> u32 {
        let after = self.times.partition_point(|entry| entry.timestamp_ms < timestamp_ms);
        after.checked_sub(1).map_or(0, |at| self.times[at].relative)
    }

    /// Forgets what lies at or beyond `relative`/`position`.
    pub(crate) fn truncate(&mut self, relative: i64, position: u64) {
        self.offsets.retain(|entry| i64::from(entry.relative) < relative && u64::from(entry.position) < position);
        self.times.retain(|entry| i64::from(entry.relative) < relative);
    }
}

/// The entries of an index file of a closed segment, read by position.
#[derive(Debug)]
pub(crate) struct IndexFile {
    file: File,
    entries: u64,
}

impl IndexFile {
    /// `None` when the file is missing or not made of whole entries.
    pub(crate) fn open<E: Entry>(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        Ok((length % E::BYTES == 0).then_some(Self { file, entries: length / E::BYTES }))
    }

    fn entry<E: Entry>(&self, at: u64) -> io::Result<E> {
        let mut buffer = [0; 16];
        let bytes = &mut buffer[..usize::try_from(E::BYTES).unwrap_or(16).min(16)];
        self.file.read_exact_at(bytes, at * E::BYTES)?;
        Ok(E::decode(bytes))
    }

    /// The last entry for which `below` holds; `below` holds for a prefix of the entries.
    pub(crate) fn last_where<E: Entry>(&self, below: impl Fn(E) -> bool) -> io::Result<Option<E>> {
        let (mut low, mut high, mut found) = (0, self.entries, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry::<E>(middle)?;
            if below(entry) {
                found = Some(entry);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }

    pub(crate) fn last<E: Entry>(&self) -> io::Result<Option<E>> {
        self.entries.checked_sub(1).map(|at| self.entry(at)).transpose()
    }
}

/// Reads a whole index file; `None` when it is missing, cut or not ascending.
pub(crate) fn load<E: Entry>(path: &Path) -> io::Result<Option<Vec<E>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = usize::try_from(E::BYTES).unwrap_or(1);
    if bytes.len() % size != 0 {
        return Ok(None);
    }
    let entries: Vec<E> = bytes.chunks_exact(size).map(E::decode).collect();
    let ascending = entries.windows(2).all(|pair| pair[0].precedes(pair[1]));
    Ok(ascending.then_some(entries))
}

/// Writes `entries` from number `first` on; what the file held from there is replaced.
///
/// A whole index is written beside its name and moved into place: readers hold files whose length they know, and two
/// of them may build the same index at the same time.
pub(crate) fn store<E: Entry>(disk: &dyn Disk, path: &Path, first: usize, entries: &[E]) -> io::Result<File> {
    let mut bytes = Vec::with_capacity(entries.len() * usize::try_from(E::BYTES).unwrap_or(1));
    for entry in entries {
        entry.encode(&mut bytes);
    }
    if first == 0 {
        return disk::replace(disk, path, Contents { bytes: &bytes, sync: false });
    }
    let mut file = disk.open(File::options().create(true).write(true).truncate(false), path)?;
    let start = first as u64 * E::BYTES;
    file.seek(SeekFrom::Start(start))?;
    disk::write_all(disk, &file, &mut [IoSlice::new(&bytes)])?;
    file.set_len(start + bytes.len() as u64)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::disk::SystemDisk;
    use super::*;

    #[test]
    fn files_and_memory_answer_alike() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.index");
        let mut live = LiveIndex::default();
        for i in 0..500_u32 {
            live.push_offset(OffsetEntry { relative: i * 7 + 3, position: i * 5000 });
            live.push_time(TimeEntry { timestamp_ms: i64::from(i / 2), relative: i * 7 + 3 });
        }
        store(&SystemDisk, &path, 0, &live.offsets[..200]).unwrap();
        store(&SystemDisk, &path, 200, &live.offsets[200..]).unwrap();
        assert_eq!(load::<OffsetEntry>(&path).unwrap().unwrap(), live.offsets);
        let file = IndexFile::open::<OffsetEntry>(&path).unwrap().unwrap();
        for relative in 0..3600 {
            let on_disk = file.last_where(|entry: OffsetEntry| entry.relative <= relative).unwrap();
            assert_eq!(on_disk, live.entry_for(relative));
        }
        assert_eq!(live.times.len(), 250);
        assert_eq!((live.relative_for_time(0), live.relative_for_time(1), live.relative_for_time(9999)), (0, 3, 3489));
    }

    #[test]
    fn cut_and_unordered_files_are_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.index");
        assert!(load::<OffsetEntry>(&path).unwrap().is_none());
        std::fs::write(&path, [0; 12]).unwrap();
        assert!(load::<OffsetEntry>(&path).unwrap().is_none());
        assert!(IndexFile::open::<OffsetEntry>(&path).unwrap().is_none());
        std::fs::write(&path, [9, 9, 9, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2]).unwrap();
        assert!(load::<OffsetEntry>(&path).unwrap().is_none());
    }
}
