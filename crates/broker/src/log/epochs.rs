//! Leader epochs: which start of the broker wrote which part of a log.
//!
//! A broker of one leads every partition, under an epoch that grows at each start. Consumers that remember the epoch of
//! the last record they read can ask where it ended and so learn that a log was cut behind their back (KIP-320). The
//! file of a partition has Kafka's form; the broker's own epoch is one number in the data directory, so that a topic
//! that was deleted and created again never goes back to a lower one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::replace_file;
use super::disk::{self, Disk};
use super::error::LogError;

/// The broker's epoch, in the data directory (ours).
const BROKER_EPOCH: &str = "leader-epoch";
/// A partition's epochs (Kafka's).
const PARTITION_EPOCHS: &str = "leader-epoch-checkpoint";

/// The offset at which an epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Epoch {
    epoch: i32,
    start_offset: i64,
}

/// The epochs of one log, ascending in number and offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    entries: Vec<Epoch>,
    /// The file says something else.
    changed: bool,
}

impl Epochs {
    /// What a partition's file says; `None` when it is missing or damaged.
    pub(crate) fn load(directory: &Path) -> Result<Option<Self>, LogError> {
        let path = path_of(directory);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(parse(&text)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
            Err(error) => Err(LogError::storage("read", path)(error)),
        }
    }

    /// Writes the file when it says something else; synced.
    pub(crate) fn save(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        replace_file(disk, &path_of(directory), self.to_string().as_bytes())
    }

    /// Writes the file of a new partition. Not synced: recovery finds the same in the batches.
    pub(crate) fn save_new(&mut self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        let path = path_of(directory);
        self.changed = false;
        disk::write_unsynced(disk, &path, self.to_string().as_bytes()).map_err(LogError::storage("write", path))
    }

    /// Whether the file is behind; the caller saves what it got.
    pub(crate) fn take_changed(&mut self) -> Option<Self> {
        std::mem::replace(&mut self.changed, false).then(|| self.clone())
    }

    /// Says that saving failed.
    pub(crate) fn keep_changed(&mut self) {
        self.changed = true;
    }

    /// A batch of `epoch` was found at `offset`.
    pub(crate) fn observe(&mut self, epoch: i32, offset: i64) {
        let fits = |last: &Epoch| last.epoch < epoch && last.start_offset < offset;
        if epoch >= 0 && self.entries.last().is_none_or(fits) {
            self.entries.push(Epoch { epoch, start_offset: offset });
            self.changed = true;
        }
    }

    /// Begins an epoch at the log's end; epochs without records make room.
    pub(crate) fn begin(&mut self, epoch: i32, end_offset: i64) {
        self.truncate_end(end_offset);
        self.observe(epoch, end_offset);
    }

    /// The log ends at `end_offset` now.
    pub(crate) fn truncate_end(&mut self, end_offset: i64) {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        self.changed |= kept < self.entries.len();
        self.entries.truncate(kept);
    }

    /// The log begins at `start_offset` now.
    pub(crate) fn truncate_start(&mut self, start_offset: i64) {
        let below = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(floor) = below.checked_sub(1) else { return };
        self.changed |= floor > 0 || self.entries[floor].start_offset < start_offset;
        self.entries.drain(..floor);
        self.entries[0].start_offset = start_offset;
    }

    /// The newest epoch.
    pub(crate) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The epoch of the record at `offset`.
    pub(crate) fn at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries[after.checked_sub(1)?].epoch)
    }

    /// The largest epoch that is not above `epoch`, and where it ended (Kafka's `LeaderEpochFileCache.endOffsetFor`);
    /// `None` for an epoch above all. Below all, the log's first epoch begins where the wanted one ended.
    pub(crate) fn end_of(&self, epoch: i32, end_offset: i64) -> Option<(i32, i64)> {
        if self.latest() == Some(epoch) {
            return Some((epoch, end_offset));
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let next = self.entries.get(above).filter(|_| epoch >= 0)?;
        let floor = above.checked_sub(1).map_or(epoch, |at| self.entries[at].epoch);
        Some((floor, next.start_offset))
    }
}

impl std::fmt::Display for Epochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "0\n{}", self.entries.len())?;
        self.entries.iter().try_for_each(|entry| writeln!(f, "{} {}", entry.epoch, entry.start_offset))
    }
}

fn path_of(directory: &Path) -> PathBuf {
    directory.join(PARTITION_EPOCHS)
}

fn parse(text: &str) -> Option<Epochs> {
    let mut lines = text.lines();
    let (version, count) = (lines.next()?, lines.next()?.trim().parse::<usize>().ok()?);
    let mut epochs = Epochs::default();
    for line in lines {
        let (epoch, start_offset) = line.trim().split_once(' ')?;
        epochs.observe(epoch.parse().ok()?, start_offset.parse().ok().filter(|offset| *offset >= 0)?);
    }
    epochs.changed = false;
    (version.trim() == "0" && epochs.entries.len() == count).then_some(epochs)
}

/// The epoch of the broker's last start; `None` in a new directory, and where the file is damaged.
pub(crate) fn load_broker_epoch(data_dir: &Path) -> Result<Option<i32>, LogError> {
    let path = data_dir.join(BROKER_EPOCH);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok().filter(|epoch| *epoch >= 0)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(LogError::storage("read", path)(error)),
    }
}

/// Written before the first append of the start, so that no two starts share an epoch.
pub(crate) fn save_broker_epoch(disk: &dyn Disk, data_dir: &Path, epoch: i32) -> Result<(), LogError> {
    replace_file(disk, &data_dir.join(BROKER_EPOCH), format!("{epoch}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SystemDisk;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        let entries = entries.iter().map(|(epoch, start_offset)| Epoch { epoch: *epoch, start_offset: *start_offset });
        Epochs { entries: entries.collect(), changed: false }
    }

    #[test]
    fn ends_are_found_as_kafka_finds_them() {
        let known = epochs(&[(2, 10), (4, 30), (7, 50)]);
        for (epoch, expected) in [
            (-1, None),
            (0, Some((0, 10))),
            (2, Some((2, 30))),
            (3, Some((2, 30))),
            (4, Some((4, 50))),
            (6, Some((4, 50))),
            (7, Some((7, 99))),
            (8, None),
        ] {
            assert_eq!(known.end_of(epoch, 99), expected, "epoch {epoch}");
        }
        for (offset, expected) in [(9, None), (10, Some(2)), (49, Some(4)), (50, Some(7)), (1000, Some(7))] {
            assert_eq!(known.at(offset), expected, "offset {offset}");
        }
        assert_eq!(Epochs::default().end_of(0, 0), None);
    }

    #[test]
    fn epochs_without_records_make_room() {
        let mut known = epochs(&[(2, 10), (4, 30)]);
        known.begin(5, 30);
        assert_eq!(known.entries, epochs(&[(2, 10), (5, 30)]).entries);
        assert!(known.take_changed().is_some() && known.take_changed().is_none());
        known.begin(6, 31);
        assert_eq!(known.entries, epochs(&[(2, 10), (5, 30), (6, 31)]).entries);
    }

    #[test]
    fn both_ends_are_cut_with_the_log() {
        let mut known = epochs(&[(2, 10), (4, 30), (7, 50)]);
        known.truncate_start(5);
        assert_eq!(known, epochs(&[(2, 10), (4, 30), (7, 50)]));
        known.truncate_start(35);
        assert_eq!(known.entries, epochs(&[(4, 35), (7, 50)]).entries);
        known.truncate_end(50);
        assert_eq!(known.entries, epochs(&[(4, 35)]).entries);
        known.truncate_start(80);
        assert_eq!(known.entries, epochs(&[(4, 80)]).entries);
    }

    #[test]
    fn files_round_trip_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Epochs::load(dir.path()).unwrap(), None);
        let known = epochs(&[(0, 0), (3, 12)]);
        known.save(&SystemDisk, dir.path()).unwrap();
        assert_eq!(fs::read_to_string(path_of(dir.path())).unwrap(), "0\n2\n0 0\n3 12\n");
        assert_eq!(Epochs::load(dir.path()).unwrap(), Some(known));
        for broken in ["", "0", "1\n0\n", "0\n2\n0 0\n", "0\n1\n0\n", "0\n2\n3 0\n1 7\n", "0\n1\n0 -4\n"] {
            fs::write(path_of(dir.path()), broken).unwrap();
            assert_eq!(Epochs::load(dir.path()).unwrap(), None, "{broken:?}");
        }
        fs::write(path_of(dir.path()), [0xff]).unwrap();
        assert_eq!(Epochs::load(dir.path()).unwrap(), None);
        assert_eq!(load_broker_epoch(dir.path()).unwrap(), None);
        save_broker_epoch(&SystemDisk, dir.path(), 7).unwrap();
        assert_eq!(load_broker_epoch(dir.path()).unwrap(), Some(7));
    }
}
