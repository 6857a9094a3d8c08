//! The regular rounds: rolling by age, retention, space, flushing, compaction. One failure never stops the rest.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::config::KeepFree;
use super::data_dir::{self, DiskSpace};
use super::error::LogError;
use super::partition::{Expired, Partition};
use super::store::LogStore;

/// Producers are looked through this often.
const PRODUCER_EXPIRY_INTERVAL_MS: i64 = 60_000;

/// What one housekeeping round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HousekeepingReport {
    /// Segments closed by age.
    pub rolled: usize,
    /// Partitions flushed.
    pub flushed: usize,
    /// How long the flushes took.
    pub flush_time: Duration,
    /// Segments deleted by retention or deletion of records.
    pub expired_segments: usize,
    /// Segments deleted to keep space free.
    pub space_segments: usize,
    /// Partitions compacted.
    pub compacted: usize,
    /// What failed; the rest went on.
    pub errors: Vec<String>,
}

/// When things were last done.
#[derive(Debug)]
pub(super) struct Rounds {
    last_flush_ms: i64,
    last_producer_expiry_ms: i64,
    /// Said already that nothing is left to delete for space.
    starved: bool,
}

impl Rounds {
    pub(super) fn starting(now_ms: i64) -> Self {
        Self { last_flush_ms: now_ms, last_producer_expiry_ms: now_ms, starved: false }
    }
}

impl HousekeepingReport {
    fn note<T>(&mut self, result: Result<T, LogError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            // Deleted or closed while the round was on its way; or offline, which was said when it went.
            Err(LogError::UnknownTopic { .. } | LogError::Closed | LogError::Offline { .. }) => None,
            Err(error) => {
                tracing::error!(%error, "housekeeping");
                self.errors.push(error.to_string());
                None
            }
        }
    }
}

impl LogStore {
    /// Rolls by age, flushes and checkpoints, applies retention, keeps space free, compacts. Call about once a
    /// second from a thread that may block; it never holds a partition's write lock during disk work.
    pub fn run_housekeeping(&self, now_ms: i64) -> HousekeepingReport {
        self.run_with_space(now_ms, &|| data_dir::disk_space(&self.config.data_dir))
    }

    pub(super) fn run_with_space(
        &self,
        now_ms: i64,
        space: &dyn Fn() -> Result<DiskSpace, LogError>,
    ) -> HousekeepingReport {
        let mut report = HousekeepingReport::default();
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        if self.check_open().is_err() {
            return report;
        }
        let partitions = self.all_partitions();
        for partition in &partitions {
            let rolled = report.note(partition.roll_by_age(now_ms)).unwrap_or(false);
            report.rolled += usize::from(rolled);
        }
        self.expire_producers(&partitions, &mut rounds, now_ms);
        self.apply_retention(&partitions, now_ms, &mut report);
        self.keep_free(&partitions, &mut rounds, space, &mut report);
        self.flush(&partitions, &mut rounds, now_ms, &mut report);
        self.compact(&partitions, now_ms, &mut report);
        self.reserve.refill(self.disk(), space);
        report
    }

    fn expire_producers(&self, partitions: &[Arc<Partition>], rounds: &mut Rounds, now_ms: i64) {
        if now_ms.saturating_sub(rounds.last_producer_expiry_ms) < PRODUCER_EXPIRY_INTERVAL_MS {
            return;
        }
        rounds.last_producer_expiry_ms = now_ms;
        for partition in partitions {
            partition.expire_producers(now_ms);
        }
    }

    fn apply_retention(&self, partitions: &[Arc<Partition>], now_ms: i64, report: &mut HousekeepingReport) {
        let mut expired = Vec::new();
        for partition in partitions {
            let found = report.note(partition.expire(now_ms));
            expired.extend(found.filter(|found| found.len() > 0));
        }
        report.expired_segments = expired.iter().map(Expired::len).sum();
        self.delete(&expired, report);
    }

    /// The new starts are on the disk before files go, so that a crash leaves no hole in a log.
    fn delete(&self, expired: &[Expired], report: &mut HousekeepingReport) {
        if expired.is_empty() {
            return;
        }
        // On a full disk this may fail; the files must go all the same.
        report.note(self.save_log_starts());
        for gone in expired {
            report.note(gone.delete_files());
        }
    }

    fn keep_free(
        &self,
        partitions: &[Arc<Partition>],
        rounds: &mut Rounds,
        space: &dyn Fn() -> Result<DiskSpace, LogError>,
        report: &mut HousekeepingReport,
    ) {
        if self.config.keep_free == KeepFree::Off {
            return;
        }
        while let Some(now) = report.note(space()) {
            let wanted_bytes = wanted_bytes(self.config.keep_free, now.total_bytes);
            if now.free_bytes >= wanted_bytes {
                rounds.starved = false;
                return;
            }
            let Some(partition) = oldest(partitions, report) else {
                if !std::mem::replace(&mut rounds.starved, true) {
                    tracing::error!(
                        free_bytes = now.free_bytes,
                        wanted_bytes,
                        "disk space is low and no closed segment may be deleted; lower retention or add space"
                    );
                }
                return;
            };
            let gone = partition.expire_oldest();
            tracing::warn!(
                topic = partition.topic(),
                partition = partition.index(),
                bytes = gone.bytes(),
                from_offset = gone.first_offset(),
                new_log_start = partition.log_start_offset(),
                free_bytes = now.free_bytes,
                wanted_bytes,
                "records deleted before their retention ended, to keep disk space free"
            );
            report.space_segments += gone.len();
            self.delete(&[gone], report);
        }
    }

    fn flush(&self, partitions: &[Arc<Partition>], rounds: &mut Rounds, now_ms: i64, report: &mut HousekeepingReport) {
        let interval = i64::try_from(self.config.flush_interval.as_millis()).unwrap_or(i64::MAX);
        let due = now_ms.saturating_sub(rounds.last_flush_ms) >= interval;
        if due {
            rounds.last_flush_ms = now_ms;
        }
        let started = Instant::now();
        for partition in partitions {
            if partition.take_flush_due() || due {
                let flushed = report.note(partition.flush()).unwrap_or(false);
                report.flushed += usize::from(flushed);
            }
        }
        report.flush_time = started.elapsed();
        if report.flushed > 0 {
            report.note(self.save_recovery_points());
        }
    }

    fn compact(&self, partitions: &[Arc<Partition>], now_ms: i64, report: &mut HousekeepingReport) {
        for partition in partitions {
            let Some(Some(done)) = report.note(partition.compact(now_ms)) else {
                continue;
            };
            tracing::info!(
                topic = partition.topic(),
                partition = partition.index(),
                bytes_before = done.bytes_before,
                bytes_after = done.bytes_after,
                kept_unread = done.kept_unread,
                "compacted"
            );
            report.compacted += 1;
        }
        if report.compacted > 0 {
            report.note(self.save_cleaner_offsets());
        }
    }
}

/// The partition whose oldest closed segment ended first, among topics that let records go at all.
fn oldest<'a>(partitions: &'a [Arc<Partition>], report: &mut HousekeepingReport) -> Option<&'a Arc<Partition>> {
    let mut oldest: Option<(i64, &Arc<Partition>)> = None;
    for partition in partitions.iter().filter(|partition| may_lose_records(partition)) {
        let Some(Some(timestamp)) = report.note(partition.oldest_closed_timestamp()) else {
            continue;
        };
        if oldest.is_none_or(|(known, _)| timestamp < known) {
            oldest = Some((timestamp, partition));
        }
    }
    oldest.map(|(_, partition)| partition)
}

/// Compacted topics and those kept for ever are never shortened for space.
fn may_lose_records(partition: &Partition) -> bool {
    let config = partition.config();
    config.cleanup_policy.delete && (config.retention_ms.is_some() || config.retention_bytes.is_some())
}

fn wanted_bytes(keep_free: KeepFree, total_bytes: u64) -> u64 {
    match keep_free {
        KeepFree::Off => 0,
        KeepFree::Bytes(bytes) => bytes,
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a disk, clamped to 0..=1"
        )]
        KeepFree::Share(share) => (total_bytes as f64 * share.clamp(0.0, 1.0)) as u64,
    }
}
