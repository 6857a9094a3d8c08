//! Opening a partition: nothing is read after a clean stop, only what follows the recovery point after a crash.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8};
use std::sync::{Arc, Mutex, RwLock};
use std::time::UNIX_EPOCH;

use super::append::new_segment;
use super::check::{Checked, Expect, check};
use super::epochs::FoundEpochs;
use super::listing::Listing;
use super::{Maintenance, OPEN, Partition, Writer};
use crate::log::config::LogConfig;
use crate::log::error::LogError;
use crate::log::index::{self, LiveIndex, OffsetEntry, TimeEntry};
use crate::log::indexer::Indexer;
use crate::log::producer;
use crate::log::segment::{Segment, Shared, segment_path};
use crate::log::store::RecoveryReport;
use crate::log::walk::Walker;

/// No checkpoint says anything of the partition: until its first flush nobody may conclude that nothing was compacted.
const UNKNOWN_RECOVERY_POINT: i64 = -1;

/// Everything a partition needs to open.
#[derive(Debug)]
pub(crate) struct OpenPartition<'a> {
    pub(crate) topic: Arc<str>,
    pub(crate) index: i32,
    pub(crate) directory: Arc<Path>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: Arc<LogConfig>,
    /// From the checkpoint; `None`: everything is checked.
    pub(crate) recovery_point: Option<i64>,
    pub(crate) log_start: Option<i64>,
    pub(crate) clean_offset: i64,
    pub(crate) now_ms: i64,
    pub(crate) report: &'a mut RecoveryReport,
}

/// The last segment as recovery leaves it.
struct Tail {
    file: Arc<File>,
    segment: Arc<Segment>,
    indexer: Indexer,
    size: u64,
    next_offset: i64,
}

impl OpenPartition<'_> {
    pub(crate) fn open(mut self) -> Result<Partition, LogError> {
        self.shared.disk.create_directory(&self.directory).map_err(LogError::storage("create", &*self.directory))?;
        let mut listing = self.list()?;
        let log_start = self.log_start.unwrap_or(0);
        self.drop_below(&mut listing, log_start)?;
        self.drop_overtaken(&mut listing)?;
        let mut epochs = self.known_epochs()?;
        let (mut segments, tail) = self.check_segments(&listing, &mut epochs)?;
        self.report.segments += segments.len();
        let log_start = log_start.max(segments.first().map_or(0, |segment| segment.base_offset));
        let tail = if tail.next_offset < log_start { self.begin_at(&mut segments, log_start)? } else { tail };
        let end = tail.next_offset;
        let epochs = epochs.settle(&segments, &self.shared, (log_start, end))?;
        let producers = self.load_producers(&mut listing.snapshots, &segments, (log_start, end))?;
        let stable_offset = producers.first_open_offset().unwrap_or(end);
        let writer = Writer {
            segment_since_ms: self.since_ms(&tail),
            segment: tail.segment,
            file: tail.file,
            indexer: tail.indexer,
            size: tail.size,
            next_offset: end,
            producers,
            unflushed_records: 0,
            has_new_file: true,
            last_flush_ms: self.now_ms,
            offline: None,
        };
        listing.snapshots.retain(|offset| producer::snapshot_path(&self.directory, *offset).exists());
        Ok(Partition {
            topic: self.topic,
            index: self.index,
            directory: self.directory,
            shared: self.shared,
            config: RwLock::new(self.config),
            leader_epoch: AtomicI32::new(epochs.latest().unwrap_or(0)),
            epochs: Mutex::new(epochs),
            writer: Mutex::new(writer),
            segments: RwLock::new(Arc::new(segments)),
            maintenance: Mutex::new(Maintenance { snapshots: listing.snapshots, ..Maintenance::default() }),
            log_start_offset: AtomicI64::new(log_start),
            end_offset: AtomicI64::new(end),
            stable_offset: AtomicI64::new(stable_offset),
            recovery_point: AtomicI64::new(self.recovery_point.map_or(UNKNOWN_RECOVERY_POINT, |point| point.min(end))),
            clean_offset: AtomicI64::new(self.clean_offset.min(end)),
            flush_due: AtomicBool::new(false),
            state: AtomicU8::new(OPEN),
            unreadable: None,
            waiters: Arc::default(),
            stable_waiters: Arc::default(),
        })
    }

    /// The partition where opening it failed: it keeps its place and what the checkpoints say of it.
    pub(crate) fn unreadable(self, reason: String) -> Result<Partition, LogError> {
        tracing::error!(topic = %self.topic, partition = self.index, reason, "partition is offline");
        self.report.notes.push(format!("{}-{} is offline: {reason}", self.topic, self.index));
        self.report.offline_partitions += 1;
        let place = self.directory.parent().unwrap_or(&self.directory);
        // Nothing is written to it, as every append is refused before.
        let file = File::open(place).map_err(LogError::storage("open", place))?;
        let writer = Writer {
            segment: Segment::closed(&self.shared, &self.directory, 0, 0),
            file: Arc::new(file),
            indexer: Indexer::new(0),
            size: 0,
            next_offset: 0,
            producers: producer::Producers::default(),
            segment_since_ms: self.now_ms,
            unflushed_records: 0,
            has_new_file: false,
            last_flush_ms: self.now_ms,
            offline: Some(reason.clone()),
        };
        Ok(Partition {
            topic: self.topic,
            index: self.index,
            directory: self.directory,
            shared: self.shared,
            config: RwLock::new(self.config),
            leader_epoch: AtomicI32::new(0),
            epochs: Mutex::default(),
            writer: Mutex::new(writer),
            segments: RwLock::default(),
            maintenance: Mutex::default(),
            log_start_offset: AtomicI64::new(self.log_start.unwrap_or(0)),
            end_offset: AtomicI64::new(self.log_start.unwrap_or(0)),
            stable_offset: AtomicI64::new(0),
            recovery_point: AtomicI64::new(self.recovery_point.unwrap_or(UNKNOWN_RECOVERY_POINT)),
            clean_offset: AtomicI64::new(self.clean_offset),
            flush_due: AtomicBool::new(false),
            state: AtomicU8::new(OPEN),
            unreadable: Some(reason),
            waiters: Arc::default(),
            stable_waiters: Arc::default(),
        })
    }

    /// A roll that failed half-way may leave an empty segment inside the one before it, which went on growing. It
    /// would hide records, or have their offsets given out again.
    fn drop_overtaken(&mut self, listing: &mut Listing) -> Result<(), LogError> {
        let mut before: Option<(i64, u64)> = None;
        for (base, size) in listing.logs.clone() {
            if size == 0
                && let Some((grown, bytes)) = before
            {
                let grown = Segment::closed(&self.shared, &self.directory, grown, bytes);
                let reaches = self.reaches(&grown, base);
                grown.retire(&self.shared);
                if reaches? {
                    let empty = Segment::closed(&self.shared, &self.directory, base, 0);
                    empty.delete_files()?;
                    listing.logs.remove(&base);
                    self.note(&empty, "empty, and the segment before it reaches beyond its start: deleted");
                    continue;
                }
            }
            before = Some((base, size));
        }
        Ok(())
    }

    /// Whether a segment holds something at or beyond `offset`, as far as it can be read.
    fn reaches(&self, segment: &Segment, offset: i64) -> Result<bool, LogError> {
        match segment.locate(&self.shared, offset) {
            // Also where a crash left neither an index nor a whole last batch.
            Err(LogError::CorruptSegment { .. }) => {}
            located => return Ok(located?.is_some_and(|located| located.header.is_some())),
        }
        let file = self.open_log(segment)?;
        let mut walker = Walker::new(&file, &segment.log_path(), 0..segment.size(), segment.base_offset).sequential();
        loop {
            match walker.next() {
                Ok(Some((_, header))) if header.last_offset() >= offset => return Ok(true),
                Ok(Some(_)) => {}
                Ok(None) | Err(LogError::CorruptSegment { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Trusts what lies below the recovery point and checks the rest; cuts the log at the first fault.
    fn check_segments(
        &mut self,
        listing: &Listing,
        epochs: &mut FoundEpochs,
    ) -> Result<(Vec<Arc<Segment>>, Tail), LogError> {
        let bases: Vec<i64> = listing.logs.keys().copied().collect();
        let recovery_point = self.recovery_point.unwrap_or(0);
        let mut segments = Vec::with_capacity(bases.len() + 1);
        for (at, (&base, &size)) in listing.logs.iter().enumerate() {
            let segment = Segment::closed(&self.shared, &self.directory, base, size);
            segments.push(Arc::clone(&segment));
            let next_base = bases.get(at + 1).copied();
            if next_base.is_some_and(|next| next <= recovery_point) {
                continue;
            }
            let file = self.open_log(&segment)?;
            let checked = self.check_segment(&file, &segment, recovery_point)?;
            let broken = checked.fault.is_some() || next_base.is_some_and(|next| !self.continues(&checked, next));
            self.account(&segment, &checked, size);
            epochs.take_note(&checked);
            if broken {
                self.cut_after(&segments, &file, &checked, &bases[at + 1..])?;
            }
            let last = broken || next_base.is_none();
            let tail = self.adopt(file, &segment, checked);
            if last {
                return Ok((segments, tail));
            }
            tail.segment.write_out(tail.indexer.last_time())?;
            tail.segment.close();
        }
        let tail = self.begin_at(&mut segments, self.log_start.unwrap_or(0))?;
        Ok((segments, tail))
    }

    /// From here on no offset may be missing; without a checkpoint nobody knows what was compacted.
    fn contiguous_from(&self) -> i64 {
        self.recovery_point.unwrap_or(i64::MAX)
    }

    fn continues(&self, checked: &Checked, next_base: i64) -> bool {
        let has_gap = next_base > checked.next_offset;
        next_base >= checked.next_offset && !(has_gap && checked.next_offset >= self.contiguous_from())
    }

    fn open_log(&self, segment: &Segment) -> Result<Arc<File>, LogError> {
        let path = segment.log_path();
        let file = self.shared.disk.open(File::options().read(true).write(true), &path);
        file.map(Arc::new).map_err(LogError::storage("open", path))
    }

    fn adopt(&self, file: Arc<File>, segment: &Arc<Segment>, checked: Checked) -> Tail {
        segment.set_size(checked.size);
        segment.revive(Arc::clone(&file), checked.index, checked.indexer.max_timestamp());
        Tail {
            file,
            segment: Arc::clone(segment),
            indexer: checked.indexer,
            size: checked.size,
            next_offset: checked.next_offset,
        }
    }

    /// From the recovery point by checksum; before it only along the index, as far as it can be believed.
    fn check_segment(&mut self, file: &File, segment: &Segment, recovery_point: i64) -> Result<Checked, LogError> {
        let contiguous_from = self.contiguous_from();
        let trusted =
            if recovery_point > segment.base_offset { self.load_index(segment, recovery_point)? } else { None };
        if let Some(index) = trusted {
            let checked = check(file, segment, index, Expect { verify_from: recovery_point, contiguous_from })?;
            if checked.next_offset >= recovery_point {
                return Ok(checked);
            }
        }
        check(file, segment, LiveIndex::default(), Expect { verify_from: 0, contiguous_from })
    }

    fn load_index(&mut self, segment: &Segment, recovery_point: i64) -> Result<Option<LiveIndex>, LogError> {
        let path = segment_path(&self.directory, segment.base_offset, "index");
        let offsets = index::load::<OffsetEntry>(&path).map_err(LogError::storage("read", path))?;
        let path = segment_path(&self.directory, segment.base_offset, "timeindex");
        let times = index::load::<TimeEntry>(&path).map_err(LogError::storage("read", path))?;
        let Some((offsets, times)) = offsets.zip(times) else {
            self.report.rebuilt_indexes += 1;
            self.note(segment, "index missing or damaged, built anew");
            return Ok(None);
        };
        let mut index = LiveIndex { offsets, times };
        index.truncate(recovery_point - segment.base_offset, segment.size());
        Ok(Some(index))
    }

    fn account(&mut self, segment: &Segment, checked: &Checked, size: u64) {
        self.report.scanned_bytes += checked.scanned_bytes;
        self.report.truncated_bytes += size - checked.size;
        if let Some(fault) = &checked.fault {
            self.note(
                segment,
                &format!("cut {} bytes after offset {}: {fault}", size - checked.size, checked.next_offset),
            );
        }
        if self.recovery_point.is_some_and(|point| checked.fault.is_some() && checked.next_offset < point) {
            self.note(segment, "records below the recovery point are lost: the disk did not keep what it had synced");
        }
    }

    fn note(&mut self, segment: &Segment, what: &str) {
        let line = format!("{}-{} segment {}: {what}", self.topic, self.index, segment.base_offset);
        tracing::warn!("{line}");
        self.report.notes.push(line);
    }

    /// Ends the log after a torn batch: what follows cannot be in order.
    fn cut_after(
        &mut self,
        segments: &[Arc<Segment>],
        file: &File,
        checked: &Checked,
        later: &[i64],
    ) -> Result<(), LogError> {
        let Some(segment) = segments.last() else {
            return Ok(());
        };
        file.set_len(checked.size).map_err(LogError::storage("truncate", segment.log_path()))?;
        // The last one first, so that a crash leaves none behind a gap.
        for &base in later.iter().rev() {
            let path = segment_path(&self.directory, base, "log");
            self.report.truncated_bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            Segment::closed(&self.shared, &self.directory, base, 0).delete_files()?;
            self.note(segment, &format!("segment {base} behind the cut was deleted"));
        }
        Ok(())
    }

    fn begin_at(&self, segments: &mut Vec<Arc<Segment>>, offset: i64) -> Result<Tail, LogError> {
        for segment in segments.drain(..) {
            segment.delete_files()?;
        }
        let (segment, file) = new_segment(&self.shared, &self.directory, offset)?;
        segments.push(Arc::clone(&segment));
        Ok(Tail { file, segment, indexer: Indexer::new(offset), size: 0, next_offset: offset })
    }

    /// When the growing segment began: its file's birth, as far as the file system knows.
    fn since_ms(&self, tail: &Tail) -> i64 {
        // Appends go to the cursor.
        let at_end = (&*tail.file).seek(SeekFrom::Start(tail.size));
        let born = at_end.and_then(|_| tail.file.metadata()).and_then(|metadata| metadata.created());
        let born = born.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        born.and_then(|since| i64::try_from(since.as_millis()).ok()).map_or(self.now_ms, |ms| ms.min(self.now_ms))
    }
}

/// Recovers one segment made of arbitrary bytes in `directory` and answers the log's end and the bytes it kept.
///
/// # Errors
/// A disk failure; never one about the bytes themselves.
pub(crate) fn recover_bytes(directory: &Path, bytes: &[u8]) -> Result<(i64, u64), LogError> {
    fs::create_dir_all(directory).map_err(LogError::storage("create", directory))?;
    let path = segment_path(directory, 0, "log");
    fs::write(&path, bytes).map_err(LogError::storage("write", path))?;
    let mut report = RecoveryReport::default();
    let config = crate::log::StoreConfig::new(directory);
    let partition = OpenPartition {
        topic: Arc::from("recovered"),
        index: 0,
        directory: Arc::from(directory),
        shared: Arc::new(Shared::new(&config)),
        config: Arc::new(config.defaults),
        recovery_point: None,
        log_start: None,
        clean_offset: 0,
        now_ms: 0,
        report: &mut report,
    };
    let partition = partition.open()?;
    Ok((partition.high_watermark(), partition.size_bytes()))
}
