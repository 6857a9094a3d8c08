//! One segment: `<base offset>.log` with its indexes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use super::aborted::AbortedIndex;
use super::batch::{BatchHeader, NO_TIMESTAMP};
use super::blocking::blocking;
use super::config::StoreConfig;
use super::disk::{Disk, SystemDisk};
use super::error::LogError;
use super::handles::{HandleCache, Handles};
use super::index::{self, IndexFile, LiveIndex, OffsetEntry, TimeEntry};
use super::indexer::Indexer;
use super::walk::Walker;

/// A largest timestamp that nobody has asked the disk for yet.
const UNKNOWN_TIMESTAMP: i64 = i64::MIN;
/// An index is stale when more than this follows its last entry (and more than a few intervals).
const STALE_TAIL_BYTES: u64 = 1 << 20;

/// What all partitions of a store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) handles: HandleCache,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) next_segment_id: AtomicU64,
    pub(crate) max_producers: usize,
    pub(crate) producer_expiry_ms: i64,
    pub(crate) compaction_map_bytes: usize,
    pub(crate) batch_contents_limit: usize,
}

impl Shared {
    pub(crate) fn new(config: &StoreConfig) -> Self {
        Self {
            handles: HandleCache::new(config.max_open_segments),
            disk: Arc::new(SystemDisk),
            next_segment_id: AtomicU64::new(0),
            max_producers: config.max_producers_per_partition,
            producer_expiry_ms: config.producer_expiry_ms,
            compaction_map_bytes: config.compaction_map_bytes,
            batch_contents_limit: config.compaction_batch_bytes,
        }
    }
}

/// The state of a segment that may still grow.
#[derive(Debug)]
struct Live {
    log: Arc<File>,
    index: LiveIndex,
    saved_offsets: usize,
    saved_times: usize,
}

/// A segment. Readers share it; only the partition's writer grows it.
#[derive(Debug)]
pub(crate) struct Segment {
    id: u64,
    directory: Arc<Path>,
    disk: Arc<dyn Disk>,
    pub(crate) base_offset: i64,
    size: AtomicU64,
    max_timestamp: AtomicI64,
    /// Set before its files are removed or replaced; a reader that opened them later must look again.
    retired: AtomicBool,
    live: RwLock<Option<Live>>,
    /// A flush and the end of the segment may write its indexes out at the same time.
    saving: Mutex<()>,
    pub(crate) aborted: AbortedIndex,
}

/// Where a batch was found.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) file: Arc<File>,
    pub(crate) position: u64,
    /// `None`: the segment holds nothing at or beyond the offset.
    pub(crate) header: Option<BatchHeader>,
}

/// `<directory>/<base offset>.<extension>`.
pub(crate) fn segment_path(directory: &Path, base_offset: i64, extension: &str) -> PathBuf {
    directory.join(format!("{base_offset:020}.{extension}"))
}

impl Segment {
    /// A closed segment; nothing is opened before somebody reads.
    pub(crate) fn closed(shared: &Shared, directory: &Arc<Path>, base_offset: i64, size: u64) -> Arc<Self> {
        Arc::new(Self {
            id: shared.next_segment_id.fetch_add(1, Ordering::Relaxed),
            directory: Arc::clone(directory),
            disk: Arc::clone(&shared.disk),
            base_offset,
            size: AtomicU64::new(size),
            max_timestamp: AtomicI64::new(UNKNOWN_TIMESTAMP),
            retired: AtomicBool::new(false),
            live: RwLock::new(None),
            saving: Mutex::default(),
            aborted: AbortedIndex::unknown(&shared.disk, directory, base_offset),
        })
    }

    /// Makes it the segment that grows; `index` is what it holds so far.
    pub(crate) fn revive(&self, log: Arc<File>, index: LiveIndex, max_timestamp: i64) {
        self.max_timestamp.store(max_timestamp, Ordering::Release);
        let live = Live { log, index, saved_offsets: 0, saved_times: 0 };
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live);
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        segment_path(&self.directory, self.base_offset, "log")
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    pub(crate) fn set_max_timestamp(&self, timestamp_ms: i64) {
        self.max_timestamp.store(timestamp_ms, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Announces that the files go away or change their meaning.
    pub(crate) fn retire(&self, shared: &Shared) {
        self.retired.store(true, Ordering::SeqCst);
        shared.handles.remove(self.id);
    }

    pub(crate) fn relative(&self, offset: i64) -> u32 {
        u32::try_from((offset - self.base_offset).max(0)).unwrap_or(u32::MAX)
    }

    pub(crate) fn push_index(&self, entries: (OffsetEntry, TimeEntry)) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.as_mut() {
            live.index.push_offset(entries.0);
            live.index.push_time(entries.1);
        }
    }

    /// Bytes of the larger index, if the segment is the growing one.
    pub(crate) fn index_bytes(&self) -> u64 {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().map_or(0, |live| {
            let offsets = live.index.offsets.len() as u64 * index::OFFSET_ENTRY_BYTES;
            offsets.max(live.index.times.len() as u64 * index::TIME_ENTRY_BYTES)
        })
    }

    /// Writes index entries that the files lack; answers the files to sync.
    pub(crate) fn save_index(&self) -> Result<Option<[File; 2]>, LogError> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (offsets, times, saved_offsets, saved_times) = {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            let Some(live) = live.as_ref() else {
                return Ok(None);
            };
            let offsets = live.index.offsets[live.saved_offsets..].to_vec();
            let times = live.index.times[live.saved_times..].to_vec();
            (offsets, times, live.saved_offsets, live.saved_times)
        };
        let files = self.store_index(&offsets, saved_offsets, &times, saved_times)?;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.as_mut() {
            live.saved_offsets = saved_offsets + offsets.len();
            live.saved_times = saved_times + times.len();
        }
        Ok(Some(files))
    }

    /// Writes both indexes of a segment that just came to be.
    pub(crate) fn store_whole_index(&self, index: &LiveIndex) -> Result<(), LogError> {
        self.store_index(&index.offsets, 0, &index.times, 0).map(|_| ())
    }

    fn store_index(
        &self,
        offsets: &[OffsetEntry],
        first_offset: usize,
        times: &[TimeEntry],
        first_time: usize,
    ) -> Result<[File; 2], LogError> {
        let path = segment_path(&self.directory, self.base_offset, "index");
        let offset_file = index::store(self.disk.as_ref(), &path, first_offset, offsets);
        let offset_file = offset_file.map_err(LogError::storage("write", path))?;
        let path = segment_path(&self.directory, self.base_offset, "timeindex");
        let time_file = index::store(self.disk.as_ref(), &path, first_time, times);
        let time_file = time_file.map_err(LogError::storage("write", path))?;
        Ok([offset_file, time_file])
    }

    /// Notes the largest timestamp, as Kafka does when a segment ends or the broker stops.
    pub(crate) fn seal_times(&self, entry: TimeEntry) {
        if entry.timestamp_ms == NO_TIMESTAMP {
            return;
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.as_mut() {
            live.index.push_time(entry);
        }
    }

    /// Writes out what the index files lack of a segment that is about to end. It may go on growing all the same.
    pub(crate) fn write_out(&self, last: TimeEntry) -> Result<(), LogError> {
        self.seal_times(last);
        self.save_index().map(drop)
    }

    /// No longer grows: the memory of its indexes is released, which [`Self::write_out`] has written.
    pub(crate) fn close(&self) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Finds the first batch that ends at or beyond `offset`; `None` when the segment was retired meanwhile.
    pub(crate) fn locate(&self, shared: &Shared, offset: i64) -> Result<Option<Located>, LogError> {
        self.locate_where(shared, offset, |header| header.last_offset() >= offset)
    }

    /// Finds the first batch at or beyond `offset` whose largest timestamp reaches `timestamp_ms`.
    pub(crate) fn locate_time(
        &self,
        shared: &Shared,
        timestamp_ms: i64,
        offset: i64,
    ) -> Result<Option<Located>, LogError> {
        let from_time = self.offset_for_time(shared, timestamp_ms)?;
        self.locate_where(shared, from_time.max(offset), |header| {
            header.max_timestamp >= timestamp_ms && header.last_offset() >= offset
        })
    }

    fn locate_where(
        &self,
        shared: &Shared,
        from_offset: i64,
        wanted: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<Located>, LogError> {
        let Some((file, entry)) = self.entry_for_offset(shared, from_offset)? else {
            return Ok(None);
        };
        match self.walk_to(&file, entry, &wanted) {
            Err(error @ LogError::CorruptSegment { .. }) if entry.is_some() => {
                tracing::warn!(%error, "an index does not match its segment; it is built anew");
                self.rebuild_index(shared, &file)?;
                self.walk_to(&file, None, &wanted).map(Some)
            }
            found => found.map(Some),
        }
    }

    fn walk_to(
        &self,
        file: &Arc<File>,
        entry: Option<OffsetEntry>,
        wanted: &impl Fn(&BatchHeader) -> bool,
    ) -> Result<Located, LogError> {
        let start = entry.map_or(0, |entry| u64::from(entry.position));
        let mut named = entry.map(|entry| self.base_offset + i64::from(entry.relative));
        let mut walker = Walker::new(file, &self.log_path(), start..self.size(), self.base_offset);
        if named.is_some() && start >= self.size() {
            // Nothing to be found there must not mean that the segment ends before.
            let reason = "the index points behind the end";
            return Err(LogError::CorruptSegment { path: self.log_path(), position: start, reason });
        }
        while let Some((position, header)) = walker.next()? {
            if named.take().is_some_and(|named| named != header.last_offset()) {
                let reason = "the index names another batch here";
                return Err(LogError::CorruptSegment { path: self.log_path(), position, reason });
            }
            if wanted(&header) {
                return Ok(Located { file: Arc::clone(file), position, header: Some(header) });
            }
        }
        Ok(Located { file: Arc::clone(file), position: walker.position(), header: None })
    }

    /// The file, and the index entry at or before the batch that holds `offset`.
    #[expect(clippy::type_complexity, reason = "retired or not, file, entry: a name would say no more")]
    fn entry_for_offset(
        &self,
        shared: &Shared,
        offset: i64,
    ) -> Result<Option<(Arc<File>, Option<OffsetEntry>)>, LogError> {
        let relative = self.relative(offset);
        {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(live) = live.as_ref() {
                return Ok(Some((Arc::clone(&live.log), live.index.entry_for(relative))));
            }
        }
        let Some(handles) = self.handles(shared)? else {
            return Ok(None);
        };
        let entry = handles.offsets.last_where(|entry: OffsetEntry| entry.relative <= relative);
        let entry = entry.map_err(LogError::storage("read the index of", self.log_path()))?;
        Ok(Some((Arc::clone(&handles.log), entry)))
    }

    fn offset_for_time(&self, shared: &Shared, timestamp_ms: i64) -> Result<i64, LogError> {
        {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(live) = live.as_ref() {
                return Ok(self.base_offset + i64::from(live.index.relative_for_time(timestamp_ms)));
            }
        }
        let Some(handles) = self.handles(shared)? else {
            return Ok(self.base_offset);
        };
        let entry = handles.times.last_where(|entry: TimeEntry| entry.timestamp_ms < timestamp_ms);
        let entry = entry.map_err(LogError::storage("read the time index of", self.log_path()))?;
        Ok(self.base_offset + entry.map_or(0, |entry| i64::from(entry.relative)))
    }

    /// The log file, from the growing segment or the cache; `None` when the segment was retired.
    pub(crate) fn file(&self, shared: &Shared) -> Result<Option<Arc<File>>, LogError> {
        {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(live) = live.as_ref() {
                return Ok(Some(Arc::clone(&live.log)));
            }
        }
        Ok(self.handles(shared)?.map(|handles| Arc::clone(&handles.log)))
    }

    fn handles(&self, shared: &Shared) -> Result<Option<Arc<Handles>>, LogError> {
        if let Some(handles) = shared.handles.get(self.id) {
            return Ok(Some(handles));
        }
        let opened = self.open_handles();
        // Opened before it was retired: the files are still this segment's.
        if self.is_retired() {
            return Ok(None);
        }
        let handles = Arc::new(opened?);
        shared.handles.insert(self.id, &handles);
        if self.is_retired() {
            shared.handles.remove(self.id);
        }
        Ok(Some(handles))
    }

    fn open_handles(&self) -> Result<Handles, LogError> {
        let log = File::open(self.log_path()).map_err(LogError::storage("open", self.log_path()))?;
        let indexes = self.open_indexes()?;
        if let Some((offsets, times)) = indexes
            && self.index_reaches_end(&log, &offsets)?
        {
            return Ok(Handles { log: Arc::new(log), offsets, times });
        }
        tracing::warn!(segment = %self.log_path().display(), "index missing, cut or stale; it is built anew");
        self.write_rebuilt_index(&log)?;
        let (offsets, times) = self.open_indexes()?.ok_or_else(|| LogError::BadFile {
            path: segment_path(&self.directory, self.base_offset, "index"),
            reason: "it vanished while it was opened".to_owned(),
        })?;
        Ok(Handles { log: Arc::new(log), offsets, times })
    }

    fn open_indexes(&self) -> Result<Option<(IndexFile, IndexFile)>, LogError> {
        let path = segment_path(&self.directory, self.base_offset, "index");
        let offsets = IndexFile::open::<OffsetEntry>(&path).map_err(LogError::storage("open", path))?;
        let path = segment_path(&self.directory, self.base_offset, "timeindex");
        let times = IndexFile::open::<TimeEntry>(&path).map_err(LogError::storage("open", path))?;
        Ok(offsets.zip(times))
    }

    /// Whether the last entry points at the batch it names and not much follows it.
    fn index_reaches_end(&self, log: &File, offsets: &IndexFile) -> Result<bool, LogError> {
        let path = self.log_path();
        let last = offsets.last::<OffsetEntry>().map_err(LogError::storage("read the index of", &path))?;
        let start = last.map_or(0, |entry| u64::from(entry.position));
        let mut walker = Walker::new(log, &path, start..self.size(), self.base_offset);
        let Ok(Some((_, first))) = walker.next() else {
            return Ok(self.size() == 0);
        };
        let fits = last.is_none_or(|entry| first.last_offset() == self.base_offset + i64::from(entry.relative));
        let after_first = walker.position();
        Ok(fits && self.size() - after_first <= STALE_TAIL_BYTES + first.size_u64())
    }

    fn rebuild_index(&self, shared: &Shared, log: &File) -> Result<(), LogError> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.as_mut() {
            live.index = LiveIndex::default();
            (live.saved_offsets, live.saved_times) = (0, 0);
            return Ok(());
        }
        drop(live);
        shared.handles.remove(self.id);
        self.write_rebuilt_index(log)
    }

    fn write_rebuilt_index(&self, log: &File) -> Result<(), LogError> {
        blocking(|| self.read_and_index(log))
    }

    fn read_and_index(&self, log: &File) -> Result<(), LogError> {
        let mut indexer = Indexer::new(self.base_offset);
        let mut index = LiveIndex::default();
        let mut walker = Walker::new(log, &self.log_path(), 0..self.size(), self.base_offset).sequential();
        while let Some((position, header)) = walker.next()? {
            indexer.observe_into(&mut index, position, &header, REBUILD_INTERVAL_BYTES);
        }
        index.push_time(indexer.last_time());
        self.store_whole_index(&index)
    }

    /// The largest timestamp of a segment: from its time index, or its file's time when that is empty.
    pub(crate) fn largest_timestamp(&self, shared: &Shared) -> Result<i64, LogError> {
        let known = self.max_timestamp.load(Ordering::Acquire);
        if known != UNKNOWN_TIMESTAMP && known != NO_TIMESTAMP {
            return Ok(known);
        }
        let last = if known == UNKNOWN_TIMESTAMP { self.last_time_entry(shared)? } else { None };
        let timestamp = match last {
            Some(entry) => entry.timestamp_ms,
            None => modified_ms(&self.log_path()).map_err(LogError::storage("inspect", self.log_path()))?,
        };
        if known == UNKNOWN_TIMESTAMP {
            self.max_timestamp.store(timestamp, Ordering::Release);
        }
        Ok(timestamp)
    }

    fn last_time_entry(&self, shared: &Shared) -> Result<Option<TimeEntry>, LogError> {
        let Some(handles) = self.handles(shared)? else {
            return Ok(None);
        };
        handles.times.last().map_err(LogError::storage("read the time index of", self.log_path()))
    }

    /// Removes the files, the log first: what remains after a crash in between is swept at the next start.
    pub(crate) fn delete_files(&self) -> Result<(), LogError> {
        for extension in ["log", "index", "timeindex", "txnindex", "txncheck"] {
            let path = segment_path(&self.directory, self.base_offset, extension);
            self.disk.remove(&path).map_err(LogError::storage("delete", path))?;
        }
        Ok(())
    }
}

/// Kafka's default `index.interval.bytes`, for indexes built anew.
const REBUILD_INTERVAL_BYTES: u64 = 4096;

fn modified_ms(path: &Path) -> io::Result<i64> {
    let modified = fs::metadata(path)?.modified()?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
