//! Flushing, rolling by age and retention. Disk work is done without the writer's lock.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Maintenance, Partition, Writer};
use crate::log::config::LogConfig;
use crate::log::error::LogError;
use crate::log::producer;
use crate::log::segment::{Segment, segment_path};

/// Snapshots kept: the newest, and one before it in case the newest is damaged.
const SNAPSHOTS_KEPT: usize = 2;

const REMOVAL_ATTEMPTS: usize = 3;

/// Segments that left the log; their files are still to be deleted.
#[derive(Debug)]
pub(crate) struct Expired {
    segments: Vec<Arc<Segment>>,
}

impl Expired {
    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size()).sum()
    }

    /// Offsets the segments spanned: first base and the number of the last segment's base.
    pub(crate) fn first_offset(&self) -> Option<i64> {
        self.segments.first().map(|segment| segment.base_offset)
    }

    /// Deletes the files. Do it after the new log start is on the disk.
    pub(crate) fn delete_files(&self) -> Result<(), LogError> {
        self.segments.iter().try_for_each(|segment| segment.delete_files())
    }
}

/// What a flush has to make durable, taken in one moment.
struct FlushPlan {
    end_offset: i64,
    snapshot: Vec<u8>,
    segments: Vec<Arc<Segment>>,
}

impl Partition {
    /// Whether a flush was asked for before its time (after a roll).
    pub(crate) fn take_flush_due(&self) -> bool {
        self.flush_due.swap(false, Ordering::AcqRel)
    }

    /// Makes everything appended so far durable and moves the recovery point; `false` when nothing was new.
    pub(crate) fn flush(&self) -> Result<bool, LogError> {
        let mut maintenance = self.lock_maintenance();
        let is_new = self.recovery_point() != self.high_watermark();
        if is_new {
            self.flush_locked(&mut maintenance)?;
        }
        Ok(std::mem::take(&mut maintenance.flushed))
    }

    /// Nothing below `start` may leave the log before it and the producers who wrote it are on the disk: a start that
    /// finds neither would take a repeated batch for a new one.
    fn secure(&self, maintenance: &mut Maintenance, start: i64) -> Result<(), LogError> {
        let has_snapshot = maintenance.snapshots.last().is_some_and(|offset| *offset >= start);
        if has_snapshot && self.recovery_point() >= start {
            return Ok(());
        }
        self.check_online(&self.lock_writer())?;
        self.flush_locked(maintenance)?;
        // The checkpoint is to follow soon.
        self.flush_due.store(true, Ordering::Release);
        Ok(())
    }

    fn flush_locked(&self, maintenance: &mut Maintenance) -> Result<(), LogError> {
        let Some(plan) = self.plan_flush() else {
            return Ok(());
        };
        for segment in &plan.segments {
            self.sync_log(segment)?;
            self.sync_indexes(segment)?;
            // Entries below the recovery point are not derived again, so they must be there.
            segment.aborted.sync()?;
        }
        self.save_epochs()?;
        let disk = self.shared.disk.as_ref();
        producer::write_snapshot(disk, &self.directory, plan.end_offset, &plan.snapshot)?;
        disk.sync_directory(&self.directory).map_err(LogError::storage("sync", &*self.directory))?;
        maintenance.snapshots.retain(|offset| *offset != plan.end_offset);
        maintenance.snapshots.push(plan.end_offset);
        let surplus = maintenance.snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
        for offset in maintenance.snapshots.drain(..surplus) {
            let path = producer::snapshot_path(&self.directory, offset);
            disk.remove(&path).map_err(LogError::storage("delete", path))?;
        }
        self.recovery_point.store(plan.end_offset, Ordering::Release);
        maintenance.flushed = true;
        Ok(())
    }

    fn plan_flush(&self) -> Option<FlushPlan> {
        let recovery_point = self.recovery_point();
        let writer = self.lock_writer();
        if writer.offline.is_some() || self.check_readable().is_err() {
            return None;
        }
        let segments = self.segments();
        let first = segments.partition_point(|segment| segment.base_offset <= recovery_point).saturating_sub(1);
        Some(FlushPlan {
            end_offset: writer.next_offset,
            snapshot: writer.producers.encode(),
            segments: segments[first..].to_vec(),
        })
    }

    /// After a failed sync nobody knows what the disk holds: the partition takes nothing more.
    fn sync_log(&self, segment: &Segment) -> Result<(), LogError> {
        let Some(log) = segment.file(&self.shared)? else { return Ok(()) };
        self.shared.disk.sync(&log).map_err(|source| {
            self.take_offline(&mut self.lock_writer(), format!("sync failed: {source}"));
            LogError::storage("sync", segment.log_path())(source)
        })
    }

    /// Indexes can be built anew, so a failure here only keeps the recovery point where it is.
    fn sync_indexes(&self, segment: &Segment) -> Result<(), LogError> {
        let files = match segment.save_index()? {
            Some(files) => files,
            None => self.open_index_files(segment)?,
        };
        files.iter().try_for_each(|file| {
            let synced = self.shared.disk.sync(file);
            synced.map_err(LogError::storage("sync the index of", segment.log_path()))
        })
    }

    fn open_index_files(&self, segment: &Segment) -> Result<[File; 2], LogError> {
        let open = |extension| {
            let path = segment_path(&self.directory, segment.base_offset, extension);
            File::open(&path).map_err(LogError::storage("open", path))
        };
        Ok([open("index")?, open("timeindex")?])
    }

    /// Notes the largest timestamp of the growing segment in its time index, for the next start.
    pub(crate) fn seal(&self) {
        let writer = self.lock_writer();
        writer.segment.seal_times(writer.indexer.last_time());
    }

    /// After [`Self::shut`]: makes the log complete on the disk, with its last time entry.
    pub(crate) fn finish(&self) -> Result<(), LogError> {
        if self.check_opened().is_err() {
            // It was left as it is.
            return Ok(());
        }
        self.seal();
        self.flush()?;
        let files = self.lock_writer().segment.save_index()?;
        for file in files.iter().flatten() {
            self.shared.disk.sync(file).map_err(LogError::storage("sync an index in", &*self.directory))?;
        }
        let writer = self.lock_writer();
        self.check_online(&writer)
    }

    pub(super) fn check_online(&self, writer: &Writer) -> Result<(), LogError> {
        writer.offline.as_ref().map_or(Ok(()), |reason| Err(self.offline(reason)))
    }

    /// After [`Self::mark_deleted`]: removes the files.
    pub(crate) fn remove_directory(&self) -> Result<(), LogError> {
        let _maintenance = self.lock_maintenance();
        let mut removed = Ok(());
        // A reader may be writing an index anew at this moment.
        for _ in 0..REMOVAL_ATTEMPTS {
            removed = self.shared.disk.remove_directory(&self.directory);
            match &removed {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                _ => break,
            }
        }
        removed.map_err(LogError::storage("delete", &*self.directory))
    }

    /// Closes the growing segment when it is old enough, or holds nothing but expired records.
    pub(crate) fn roll_by_age(&self, now_ms: i64) -> Result<bool, LogError> {
        let config = self.config();
        let mut writer = self.lock_writer();
        if writer.size == 0 || self.check_writable(&writer).is_err() {
            return Ok(false);
        }
        let all_deleted = self.log_start_offset() >= writer.next_offset;
        let all_expired = config.cleanup_policy.delete
            && config.retention_ms.is_some_and(|keep| now_ms.saturating_sub(writer.indexer.max_timestamp()) > keep)
            && config.retention_ms.is_some_and(|keep| writer.is_older_than(keep, now_ms));
        if !all_deleted && !all_expired && !writer.is_older_than(config.effective_segment_ms(), now_ms) {
            return Ok(false);
        }
        self.roll(&mut writer).map(|()| true)
    }

    /// Forgets idempotent producers that have been silent too long.
    pub(crate) fn expire_producers(&self, now_ms: i64) {
        let shared = &self.shared;
        self.lock_writer().producers.expire(now_ms, shared.producer_expiry_ms, shared.max_producers);
    }

    /// Takes closed segments out of the log that retention no longer keeps.
    pub(crate) fn expire(&self, now_ms: i64) -> Result<Expired, LogError> {
        let mut maintenance = self.lock_maintenance();
        self.check_readable()?;
        let config = self.config();
        let segments = self.segments();
        let log_start = self.log_start_offset();
        let mut remaining = self.size_bytes();
        let mut expired = 0;
        for pair in segments.windows(2) {
            // A swap that failed left it; its files are in no known state before a restart.
            if pair[0].is_retired() {
                break;
            }
            let below_start = pair[1].base_offset <= log_start;
            if !below_start && !self.is_expired(&pair[0], remaining, &config, now_ms)? {
                break;
            }
            remaining -= pair[0].size();
            expired += 1;
        }
        Ok(self.drop_oldest(&mut maintenance, expired))
    }

    fn is_expired(&self, segment: &Segment, log_bytes: u64, config: &LogConfig, now_ms: i64) -> Result<bool, LogError> {
        if !config.cleanup_policy.delete {
            return Ok(false);
        }
        if config.retention_bytes.is_some_and(|limit| log_bytes - segment.size() >= limit) {
            return Ok(true);
        }
        let Some(retention_ms) = config.retention_ms else {
            return Ok(false);
        };
        Ok(now_ms.saturating_sub(segment.largest_timestamp(&self.shared)?) > retention_ms)
    }

    /// Takes the oldest closed segment out of the log, to make room on the disk.
    pub(crate) fn expire_oldest(&self) -> Expired {
        let mut maintenance = self.lock_maintenance();
        let closed = self.segments().len().saturating_sub(1);
        self.drop_oldest(&mut maintenance, closed.min(1))
    }

    /// The largest timestamp of the oldest closed segment; `None` when there is no closed one.
    pub(crate) fn oldest_closed_timestamp(&self) -> Result<Option<i64>, LogError> {
        match self.segments().as_slice() {
            [oldest, _, ..] if !oldest.is_retired() => oldest.largest_timestamp(&self.shared).map(Some),
            _ => Ok(None),
        }
    }

    fn drop_oldest(&self, maintenance: &mut Maintenance, count: usize) -> Expired {
        let mut segments = Vec::new();
        if count > 0 {
            let secured = self.secure(maintenance, self.segments()[count].base_offset);
            if let Err(error) = secured {
                // A full disk needs the room.
                tracing::warn!(topic = %self.topic, partition = self.index, %error, "a crash may forget who wrote deleted records");
            }
            self.change_segments(|list| {
                segments = list.drain(..count).collect();
                self.log_start_offset.fetch_max(list[0].base_offset, Ordering::AcqRel);
            });
            self.cut_epochs_below(self.log_start_offset());
        }
        for segment in &segments {
            segment.retire(&self.shared);
        }
        Expired { segments }
    }

    /// Moves the log's start up to `offset` (-1: the end); answers the new start.
    pub(crate) fn move_log_start(&self, offset: i64) -> Result<i64, LogError> {
        self.check_readable()?;
        let mut maintenance = self.lock_maintenance();
        let end_offset = self.high_watermark();
        let wanted = if offset == -1 { end_offset } else { offset };
        let log_start_offset = self.log_start_offset();
        if wanted < 0 || wanted > end_offset {
            return Err(LogError::OffsetOutOfRange { offset, log_start_offset, end_offset });
        }
        if wanted > log_start_offset {
            self.secure(&mut maintenance, wanted)?;
        }
        self.log_start_offset.fetch_max(wanted, Ordering::AcqRel);
        self.cut_epochs_below(self.log_start_offset());
        self.wake_all();
        Ok(wanted.max(log_start_offset))
    }
}
