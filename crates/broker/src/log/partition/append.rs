//! Appending: validate without a lock, then order, write and publish under the writer's lock.

use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{AppendOrigin, Appended, Partition, Writer};
use crate::log::batch::{HEADER_BYTES, NO_TIMESTAMP};
use crate::log::config::{LogConfig, TimestampType};
use crate::log::disk;
use crate::log::error::LogError;
use crate::log::index::{LiveIndex, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use crate::log::indexer::Indexer;
use crate::log::producer::Duplicate;
use crate::log::segment::{Segment, Shared};
use crate::log::validate::{self, CheckedBatch};

impl Partition {
    /// Appends one or more v2 batches, all or none; assigns offsets.
    ///
    /// # Errors
    /// What is wrong with the batches, the producer's sequence, or the disk; nothing was appended then.
    pub fn append(&self, records: &Bytes, now_ms: i64, origin: AppendOrigin) -> Result<Appended, LogError> {
        let config = self.config();
        let mut batches = validate::batches(records, &config, now_ms, origin)?;
        let mut writer = self.lock_writer();
        self.check_writable(&writer)?;
        if let Some(known) = writer.producers.check(batches.iter().map(|batch| &batch.header), origin)? {
            return Ok(self.repeated(known, &config));
        }
        let base_offset = writer.next_offset;
        let last_offset = self.assign_offsets(&mut batches, base_offset)?;
        if writer.must_roll(&config, records.len() as u64, last_offset, now_ms) || writer.lacks_aborted(&batches)? {
            self.roll(&mut writer)?;
        }
        let stable_before = self.stable_offset.load(Ordering::Acquire);
        self.write(&mut writer, &batches, records)?;
        self.publish(&mut writer, &batches, &config, now_ms);
        let flushed = self.flush_if_asked(&mut writer, &config, now_ms);
        drop(writer);
        // Readers see it, synced or not.
        self.wake(records.len() as u64, (stable_before, base_offset));
        flushed?;
        Ok(Appended {
            base_offset,
            last_offset,
            append_time_ms: append_time(&config, now_ms),
            log_start_offset: self.log_start_offset(),
            duplicate: false,
        })
    }

    fn repeated(&self, known: Duplicate, config: &LogConfig) -> Appended {
        Appended {
            base_offset: known.base_offset,
            last_offset: known.last_offset,
            append_time_ms: append_time(config, known.timestamp_ms),
            log_start_offset: self.log_start_offset(),
            duplicate: true,
        }
    }

    fn assign_offsets(&self, batches: &mut [CheckedBatch], base_offset: i64) -> Result<i64, LogError> {
        let leader_epoch = self.leader_epoch();
        let mut next = base_offset;
        for batch in batches {
            batch.header.base_offset = next;
            batch.header.leader_epoch = leader_epoch;
            let end = next.checked_add(i64::from(batch.header.count));
            next = end.ok_or(LogError::InvalidRecord { reason: "the partition has used up its offsets" })?;
        }
        Ok(next - 1)
    }

    /// One vectored write of patched headers and the producer's bytes; a partial write is cut off again.
    fn write(&self, writer: &mut Writer, batches: &[CheckedBatch], records: &[u8]) -> Result<(), LogError> {
        let headers: Vec<[u8; HEADER_BYTES]> = batches.iter().map(|batch| batch.header.encode()).collect();
        let mut slices = Vec::with_capacity(batches.len() * 2);
        for (header, batch) in headers.iter().zip(batches) {
            slices.push(IoSlice::new(header));
            slices.push(IoSlice::new(&records[batch.body.clone()]));
        }
        let written = disk::write_all(self.shared.disk.as_ref(), &writer.file, &mut slices);
        written.map_err(|source| {
            self.undo_write(writer);
            LogError::storage("append to", writer.segment.log_path())(source)
        })
    }

    fn undo_write(&self, writer: &mut Writer) {
        let size = writer.size;
        // Where nothing was written there is nothing to cut, which a read-only disk would refuse.
        let cut = |length| if length == size { Ok(()) } else { writer.file.set_len(size) };
        let undone = writer.file.metadata().and_then(|metadata| cut(metadata.len()));
        let undone = undone.and_then(|()| (&*writer.file).seek(SeekFrom::Start(size)));
        if let Err(error) = undone {
            self.take_offline(writer, format!("a partial append could not be cut off: {error}"));
        }
    }

    pub(super) fn take_offline(&self, writer: &mut Writer, reason: String) {
        tracing::error!(topic = %self.topic, partition = self.index, reason, "partition goes offline");
        writer.offline = Some(reason);
    }

    /// Makes written batches visible: index, size, then the end offset.
    fn publish(&self, writer: &mut Writer, batches: &[CheckedBatch], config: &LogConfig, now_ms: i64) {
        if writer.size == 0 {
            writer.segment_since_ms = now_ms;
        }
        for CheckedBatch { header, marker, .. } in batches {
            if let Some(entries) = writer.indexer.observe(writer.size, header, config.index_interval_bytes) {
                writer.segment.push_index(entries);
            }
            if let Some(aborted) = writer.producers.record(header, *marker, now_ms)
                && let Err(error) = writer.segment.aborted.append(&aborted)
            {
                tracing::warn!(%error, "the index of aborted transactions will be built anew");
            }
            writer.size += header.size_u64();
            writer.next_offset = header.last_offset() + 1;
            writer.unflushed_records += i64::from(header.count);
        }
        writer.producers.enforce(self.shared.max_producers);
        writer.segment.set_max_timestamp(writer.indexer.max_timestamp());
        writer.segment.set_size(writer.size);
        self.end_offset.store(writer.next_offset, Ordering::Release);
        let stable_offset = writer.producers.first_open_offset().unwrap_or(writer.next_offset);
        self.stable_offset.store(stable_offset, Ordering::Release);
    }

    /// Wakes whoever waits for bytes, and when a transaction ended whoever waits for committed ones.
    fn wake(&self, bytes: u64, (stable_before, base_offset): (i64, i64)) {
        self.waiters.appended(bytes);
        let stable_offset = self.stable_offset.load(Ordering::Acquire);
        if stable_before < base_offset && stable_offset > stable_before {
            self.stable_waiters.wake_all();
        } else if stable_offset > base_offset {
            self.stable_waiters.appended(bytes);
        }
    }

    fn flush_if_asked(&self, writer: &mut Writer, config: &LogConfig, now_ms: i64) -> Result<(), LogError> {
        let by_time = config.flush_ms < i64::MAX && now_ms.saturating_sub(writer.last_flush_ms) >= config.flush_ms;
        if writer.unflushed_records < config.flush_messages && !by_time {
            return Ok(());
        }
        let synced = self.sync_appended(writer);
        writer.unflushed_records = 0;
        writer.last_flush_ms = now_ms;
        synced.map_err(|source| {
            // After a failed sync nobody knows what the disk holds (pages may be marked clean all the same).
            self.take_offline(writer, format!("sync failed: {source}"));
            LogError::storage("sync", writer.segment.log_path())(source)
        })
    }

    /// The growing segment; behind a roll also those before it that no flush has reached, and the directory that
    /// names the new file.
    fn sync_appended(&self, writer: &mut Writer) -> io::Result<()> {
        if std::mem::take(&mut writer.has_new_file) {
            let segments = self.segments();
            let recovery_point = self.recovery_point();
            let reached = segments.partition_point(|segment| segment.base_offset <= recovery_point).saturating_sub(1);
            let closed = segments[reached..].iter().filter(|segment| segment.base_offset < writer.segment.base_offset);
            for segment in closed {
                // Without a file when retention took it meanwhile.
                if let Some(file) = segment.file(&self.shared).map_err(io::Error::other)? {
                    self.shared.disk.sync(&file)?;
                }
            }
            self.shared.disk.sync_directory(&self.directory)?;
        }
        self.shared.disk.sync(&writer.file)
    }

    /// Closes the growing segment and begins the next one at the log's end. An empty segment stays.
    pub(super) fn roll(&self, writer: &mut Writer) -> Result<(), LogError> {
        if writer.size == 0 {
            return Ok(());
        }
        // After a failure this segment goes on growing, so nothing of the next one may stay.
        writer.segment.write_out(writer.indexer.last_time())?;
        let (segment, file) = new_segment(&self.shared, &self.directory, writer.next_offset)?;
        writer.segment.close();
        self.change_segments(|list| list.push(Arc::clone(&segment)));
        writer.indexer = Indexer::new(segment.base_offset);
        (writer.segment, writer.file, writer.size) = (segment, file, 0);
        writer.has_new_file = true;
        self.flush_due.store(true, Ordering::Release);
        Ok(())
    }
}

impl Writer {
    /// Kafka's `LogSegment.shouldRoll`: by size, age, full index, or an offset too far from the base.
    fn must_roll(&self, config: &LogConfig, bytes: u64, last_offset: i64, now_ms: i64) -> bool {
        if self.size == 0 {
            return false;
        }
        let index_bytes = self.segment.index_bytes() + OFFSET_ENTRY_BYTES.max(TIME_ENTRY_BYTES);
        self.size + bytes > config.segment_bytes
            || self.is_older_than(config.effective_segment_ms(), now_ms)
            || index_bytes > config.segment_index_bytes
            || last_offset - self.segment.base_offset > i64::from(i32::MAX)
    }

    /// A transactional batch goes where an abort can be noted.
    fn lacks_aborted(&self, batches: &[CheckedBatch]) -> Result<bool, LogError> {
        let transactional = batches.iter().any(|batch| batch.header.is_transactional());
        Ok(transactional && self.size > 0 && !self.segment.aborted.is_known()?)
    }

    pub(super) fn is_older_than(&self, age_ms: i64, now_ms: i64) -> bool {
        self.size > 0 && now_ms.saturating_sub(self.segment_since_ms) >= age_ms
    }
}

fn append_time(config: &LogConfig, timestamp_ms: i64) -> i64 {
    match config.message_timestamp_type {
        TimestampType::LogAppendTime => timestamp_ms,
        TimestampType::CreateTime => NO_TIMESTAMP,
    }
}

/// Creates an empty growing segment, or nothing.
pub(super) fn new_segment(
    shared: &Shared,
    directory: &Arc<std::path::Path>,
    base_offset: i64,
) -> Result<(Arc<Segment>, Arc<File>), LogError> {
    let segment = Segment::closed(shared, directory, base_offset, 0);
    let created = create_files(shared, &segment);
    if created.is_err()
        && let Err(error) = segment.delete_files()
    {
        tracing::warn!(%error, "an empty segment stays behind; the next start removes it");
    }
    let file = Arc::new(created?);
    segment.revive(Arc::clone(&file), LiveIndex::default(), NO_TIMESTAMP);
    Ok((segment, file))
}

fn create_files(shared: &Shared, segment: &Segment) -> Result<File, LogError> {
    let path = segment.log_path();
    let file = shared.disk.open(File::options().create(true).truncate(true).read(true).write(true), &path);
    let file = file.map_err(LogError::storage("create", path))?;
    segment.aborted.replace(&[]).map(|()| file)
}
