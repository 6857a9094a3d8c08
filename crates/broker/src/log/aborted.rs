//! Kafka's `.txnindex`: the aborted transactions whose markers lie in a segment.
//!
//! Every new segment begins with an empty one, and a transactional batch only goes into a segment that has one. So a
//! missing file means "look into the log" only where transactional batches are, never after an upgrade.
//!
//! Kafka's file has no checksums, and a wrong entry would let readers of committed records see aborted ones. So
//! `.txncheck`, which is ours, holds one for each entry. Where it is missing the entries are believed, as Kafka does.

use std::fs::{self, File};
use std::io::{self, IoSlice, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::{Buf, BufMut};

use super::disk::{self, Contents, Disk};
use super::error::LogError;
use super::segment::segment_path;

const ENTRY_BYTES: usize = 34;
/// A CRC-32C of the entry.
const CHECK_BYTES: usize = 4;
const VERSION: i16 = 0;
/// Entries read at a time.
const CHUNK_ENTRIES: usize = 256;

/// Nobody has looked at the file yet.
const UNKNOWN: i64 = -1;
/// There is no file, or what is in it cannot be right.
const MISSING: i64 = -2;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of its marker.
    pub last_offset: i64,
    /// Below this everything was decided when the marker was written.
    pub last_stable_offset: i64,
}

impl AbortedTransaction {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_i16(VERSION);
        out.put_i64(self.producer_id);
        out.put_i64(self.first_offset);
        out.put_i64(self.last_offset);
        out.put_i64(self.last_stable_offset);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.try_get_i16().ok()? != VERSION {
            return None;
        }
        Some(Self {
            producer_id: bytes.try_get_i64().ok()?,
            first_offset: bytes.try_get_i64().ok()?,
            last_offset: bytes.try_get_i64().ok()?,
            last_stable_offset: bytes.try_get_i64().ok()?,
        })
    }
}

/// How far a search got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Searched {
    /// Later segments have nothing to add.
    Complete,
    /// Go on with the next segment.
    GoOn,
    /// The index has to be built anew.
    Missing,
}

/// The aborted transactions of one segment. Only the partition's writer appends.
#[derive(Debug)]
pub(crate) struct AbortedIndex {
    disk: Arc<dyn Disk>,
    directory: Arc<Path>,
    base_offset: i64,
    /// Number of entries, [`UNKNOWN`] or [`MISSING`].
    entries: AtomicI64,
    synced: AtomicI64,
}

impl AbortedIndex {
    pub(crate) fn unknown(disk: &Arc<dyn Disk>, directory: &Arc<Path>, base_offset: i64) -> Self {
        Self {
            disk: Arc::clone(disk),
            directory: Arc::clone(directory),
            base_offset,
            entries: AtomicI64::new(UNKNOWN),
            synced: AtomicI64::new(0),
        }
    }

    fn path(&self) -> PathBuf {
        segment_path(&self.directory, self.base_offset, "txnindex")
    }

    fn checks_path(&self) -> PathBuf {
        segment_path(&self.directory, self.base_offset, "txncheck")
    }

    /// Replaces what the file held.
    pub(crate) fn replace(&self, entries: &[AbortedTransaction]) -> Result<(), LogError> {
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        let checks: Vec<u8> = bytes.chunks_exact(ENTRY_BYTES).flat_map(check).collect();
        let (path, disk) = (self.path(), self.disk.as_ref());
        // Between the two steps they contradict each other, and the index counts as damaged.
        let written = match entries {
            // Whole from the beginning, and every roll makes one.
            [] => disk
                .open(File::options().create(true).write(true).truncate(true), &path)
                .and_then(|_| disk.remove(&self.checks_path())),
            _ => disk::replace(disk, &self.checks_path(), Contents { bytes: &checks, sync: true })
                .and_then(|_| disk::replace(disk, &path, Contents { bytes: &bytes, sync: true }).map(drop)),
        };
        written.map_err(LogError::storage("write", path))?;
        self.entries.store(count(entries), Ordering::Release);
        self.synced.store(count(entries), Ordering::Release);
        Ok(())
    }

    /// Adds the newest abort. After a failure the index counts as missing and is built anew when it is needed.
    pub(crate) fn append(&self, entry: &AbortedTransaction) -> Result<(), LogError> {
        let known = self.entries.load(Ordering::Acquire);
        let Ok(at) = u64::try_from(known) else { return Ok(()) };
        let mut bytes = Vec::with_capacity(ENTRY_BYTES);
        entry.encode(&mut bytes);
        let path = self.path();
        let disk = self.disk.as_ref();
        let written =
            disk.open(File::options().create(true).write(true).truncate(false), &path).and_then(|mut file| {
                file.seek(SeekFrom::Start(at * ENTRY_BYTES as u64))?;
                disk::write_all(disk, &file, &mut [IoSlice::new(&bytes)])
            });
        match written.and_then(|()| self.append_check(at, &bytes)) {
            Ok(()) => {
                self.entries.store(known + 1, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                self.forget();
                Err(LogError::storage("write", path)(error))
            }
        }
    }

    fn append_check(&self, at: u64, entry: &[u8]) -> io::Result<()> {
        let disk = self.disk.as_ref();
        // Without checksums of the entries before it, one of this entry says nothing.
        let mut file = match disk.open(File::options().create(at == 0).write(true), &self.checks_path()) {
            Err(error) if at > 0 && error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        file.seek(SeekFrom::Start(at * CHECK_BYTES as u64))?;
        disk::write_all(disk, &file, &mut [IoSlice::new(&check(entry))])
    }

    /// From now on the index counts as missing.
    pub(crate) fn forget(&self) {
        self.entries.store(MISSING, Ordering::Release);
        // What cannot be removed is recognised as stale or overwritten by whoever builds it anew.
        let _ = self.disk.remove(&self.path()).and_then(|()| self.disk.remove(&self.checks_path()));
    }

    /// Whether there is a sound index.
    pub(crate) fn is_known(&self) -> Result<bool, LogError> {
        if self.entries.load(Ordering::Acquire) == UNKNOWN {
            let found = self.load()?.map_or(MISSING, |entries| count(&entries));
            let _ = self.entries.compare_exchange(UNKNOWN, found, Ordering::AcqRel, Ordering::Acquire);
        }
        Ok(self.entries.load(Ordering::Acquire) >= 0)
    }

    /// All entries; `None` when the file is missing, cut, not ascending within its segment, or not what was written.
    pub(crate) fn load(&self) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
        let Some(bytes) = read_if_present(self.path())? else { return Ok(None) };
        if !bytes.len().is_multiple_of(ENTRY_BYTES) {
            return Ok(None);
        }
        if let Some(checks) = read_if_present(self.checks_path())?
            && !bytes.chunks_exact(ENTRY_BYTES).flat_map(check).eq(checks)
        {
            return Ok(None);
        }
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        let mut before = self.base_offset - 1;
        for bytes in bytes.chunks_exact(ENTRY_BYTES) {
            match AbortedTransaction::decode(bytes) {
                Some(entry) if entry.last_offset > before && entry.first_offset < entry.last_offset => {
                    before = entry.last_offset;
                    entries.push(entry);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(entries))
    }

    /// Adds the transactions that overlap `from..until`, as Kafka's `TransactionIndex.collectAbortedTxns` does.
    pub(crate) fn collect(
        &self,
        (from, until): (i64, i64),
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<Searched, LogError> {
        if !self.is_known()? {
            return Ok(Searched::Missing);
        }
        let Ok(entries @ 1..) = u64::try_from(self.entries.load(Ordering::Acquire)) else {
            return Ok(Searched::GoOn);
        };
        let searched = self.search(entries, (from, until), found);
        searched.map_err(LogError::storage("read", self.path()))
    }

    fn search(
        &self,
        entries: u64,
        (from, until): (i64, i64),
        found: &mut Vec<AbortedTransaction>,
    ) -> io::Result<Searched> {
        let file = File::open(self.path())?;
        // Entries are ordered by their last offset; those that end before `from` are skipped.
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut bytes = [0; ENTRY_BYTES];
            file.read_exact_at(&mut bytes, middle * ENTRY_BYTES as u64)?;
            let entry = AbortedTransaction::decode(&bytes).ok_or(io::ErrorKind::InvalidData)?;
            if entry.last_offset < from { low = middle + 1 } else { high = middle }
        }
        while low < entries {
            let wanted = usize::try_from(entries - low).unwrap_or(CHUNK_ENTRIES).min(CHUNK_ENTRIES);
            let mut bytes = vec![0; wanted * ENTRY_BYTES];
            file.read_exact_at(&mut bytes, low * ENTRY_BYTES as u64)?;
            for bytes in bytes.chunks_exact(ENTRY_BYTES) {
                let entry = AbortedTransaction::decode(bytes).ok_or(io::ErrorKind::InvalidData)?;
                if entry.first_offset < until {
                    found.push(entry);
                }
                if entry.last_stable_offset >= until {
                    return Ok(Searched::Complete);
                }
            }
            low += wanted as u64;
        }
        Ok(Searched::GoOn)
    }

    /// Makes entries durable that perhaps are not yet.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        let entries = self.entries.load(Ordering::Acquire);
        if entries <= self.synced.load(Ordering::Acquire) {
            return Ok(());
        }
        for path in [self.path(), self.checks_path()] {
            match File::open(&path).and_then(|file| self.disk.sync(&file)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                synced => synced.map_err(LogError::storage("sync", path))?,
            }
        }
        self.synced.store(entries, Ordering::Release);
        Ok(())
    }
}

fn check(entry: &[u8]) -> [u8; CHECK_BYTES] {
    crc32c::crc32c(entry).to_be_bytes()
}

fn read_if_present(path: PathBuf) -> Result<Option<Vec<u8>>, LogError> {
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::storage("read", path)(error)),
    }
}

fn count(entries: &[AbortedTransaction]) -> i64 {
    i64::try_from(entries.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::disk::SystemDisk;
    use super::*;

    fn unknown(directory: &Arc<Path>, base_offset: i64) -> AbortedIndex {
        AbortedIndex::unknown(&(Arc::new(SystemDisk) as Arc<dyn Disk>), directory, base_offset)
    }

    fn aborted(producer_id: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset: first, last_offset: last, last_stable_offset: stable }
    }

    fn collected(index: &AbortedIndex, from: i64, until: i64) -> (Searched, Vec<i64>) {
        let mut found = Vec::new();
        let searched = index.collect((from, until), &mut found).unwrap();
        (searched, found.iter().map(|entry| entry.producer_id).collect())
    }

    #[test]
    fn a_search_finds_what_overlaps_and_knows_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let directory: Arc<Path> = Arc::from(dir.path());
        let index = unknown(&directory, 100);
        assert_eq!(collected(&index, 0, 1000), (Searched::Missing, vec![]));
        index.replace(&[]).unwrap();
        assert_eq!(collected(&index, 0, 1000), (Searched::GoOn, vec![]));
        for entry in [aborted(1, 90, 110, 100), aborted(2, 100, 120, 115), aborted(3, 115, 130, 131)] {
            index.append(&entry).unwrap();
        }
        let again = unknown(&directory, 100);
        for index in [index, again] {
            assert_eq!(collected(&index, 90, 95), (Searched::Complete, vec![1]));
            assert_eq!(collected(&index, 111, 115), (Searched::Complete, vec![2]));
            assert_eq!(collected(&index, 100, 131), (Searched::Complete, vec![1, 2, 3]));
            assert_eq!(collected(&index, 131, 140), (Searched::GoOn, vec![]));
            assert_eq!(collected(&index, 121, 200), (Searched::GoOn, vec![3]));
        }
    }

    #[test]
    fn many_entries_are_found_by_halving_and_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let index = unknown(&Arc::from(dir.path()), 0);
        let entries: Vec<_> = (0..1000).map(|n| aborted(n, n * 10, n * 10 + 5, n * 10 + 6)).collect();
        index.replace(&entries).unwrap();
        let (searched, found) = collected(&index, 1000, 8000);
        assert_eq!(searched, Searched::Complete);
        assert_eq!(found, (100..800).collect::<Vec<_>>());
    }

    #[test]
    fn an_index_of_kafka_goes_on_without_checksums() {
        let dir = tempfile::tempdir().unwrap();
        let directory: Arc<Path> = Arc::from(dir.path());
        let index = unknown(&directory, 0);
        index.replace(&[aborted(1, 0, 5, 6)]).unwrap();
        fs::remove_file(index.checks_path()).unwrap();
        let taken_over = unknown(&directory, 0);
        assert!(taken_over.is_known().unwrap());
        taken_over.append(&aborted(2, 6, 9, 10)).unwrap();
        assert!(!index.checks_path().exists());
        assert_eq!(unknown(&directory, 0).load().unwrap().unwrap().len(), 2);
    }

    #[test]
    fn damage_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let directory: Arc<Path> = Arc::from(dir.path());
        let index = unknown(&directory, 0);
        index.replace(&[aborted(1, 0, 5, 6), aborted(2, 6, 9, 10)]).unwrap();
        let good = fs::read(index.path()).unwrap();
        let mut wrong_version = good.clone();
        wrong_version[1] = 9;
        let swapped = [&good[ENTRY_BYTES..], &good[..ENTRY_BYTES]].concat();
        for bytes in [good[..40].to_vec(), wrong_version, swapped, vec![0; ENTRY_BYTES]] {
            fs::write(index.path(), bytes).unwrap();
            assert!(!unknown(&directory, 0).is_known().unwrap());
        }
        fs::write(index.path(), &good).unwrap();
        assert!(unknown(&directory, 0).is_known().unwrap());
        for at in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            fs::write(index.path(), flipped).unwrap();
            assert!(!unknown(&directory, 0).is_known().unwrap(), "bit {at}");
        }
        for entries in 0..2 {
            fs::write(index.path(), &good[..entries * ENTRY_BYTES]).unwrap();
            assert!(!unknown(&directory, 0).is_known().unwrap(), "{entries} entries of two");
        }
        fs::write(index.path(), &good).unwrap();
        let checks = fs::read(index.checks_path()).unwrap();
        fs::write(index.checks_path(), &checks[..5]).unwrap();
        assert!(!unknown(&directory, 0).is_known().unwrap());
        fs::write(index.checks_path(), &checks).unwrap();
        assert!(unknown(&directory, 0).is_known().unwrap());
        assert!(!unknown(&directory, 6).is_known().unwrap(), "of another segment");
    }
}
