//! Small text files of the data directory, in Kafka's forms, replaced whole and atomically.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::disk::{Disk, write_all};
use super::error::LogError;

/// Up to where every partition is known to be on the disk.
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Where partitions begin that begin later than their first segment.
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Up to where compacted partitions are compacted.
pub(crate) const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
/// Present after a clean stop only.
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Offset per topic and partition.
pub(crate) type Offsets = BTreeMap<(String, i32), i64>;

/// Writes beside the target, syncs, renames over it and syncs the directory.
pub(crate) fn replace_file(disk: &dyn Disk, path: &Path, contents: &[u8]) -> Result<(), LogError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = temporary_of(path);
    let opened = disk.open(File::options().create(true).write(true).truncate(true), &temporary);
    let written = opened.and_then(|file| {
        write_all(disk, &file, &mut [IoSlice::new(contents)])?;
        disk.sync(&file)
    });
    let renamed = written.and_then(|()| disk.rename(&temporary, path)).inspect_err(|_| {
        // A full disk needs the room; where this fails as well, the next attempt writes over it.
        let _ = disk.remove(&temporary);
    });
    renamed.and_then(|()| disk.sync_directory(directory)).map_err(LogError::storage("write", path))
}

/// A name that differs from the target's in its last four bytes only, so that the longest topic name still fits.
fn temporary_of(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kept = if name.len() > 240 { &name[..name.len() - 4] } else { name };
    path.with_file_name(format!("{kept}.tmp"))
}

/// Reads a checkpoint; an absent file is an empty one.
pub(crate) fn read_offsets(path: &Path) -> Result<Offsets, LogError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Offsets::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(LogError::BadFile { path: path.to_owned(), reason: "it is not text".to_owned() });
        }
        Err(error) => return Err(LogError::storage("read", path)(error)),
    };
    parse_offsets(&text).map_err(|reason| LogError::BadFile { path: path.to_owned(), reason: reason.to_owned() })
}

fn parse_offsets(text: &str) -> Result<Offsets, &'static str> {
    if !text.ends_with('\n') {
        return Err("its last line is cut");
    }
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("0") {
        return Err("it does not begin with version 0");
    }
    let count: usize = lines.next().and_then(|line| line.trim().parse().ok()).ok_or("it has no entry count")?;
    let offsets = lines.map(parse_line).collect::<Option<Offsets>>().ok_or("a line is not topic, partition, offset")?;
    if offsets.len() == count { Ok(offsets) } else { Err("it has more or fewer entries than it says") }
}

fn parse_line(line: &str) -> Option<((String, i32), i64)> {
    let mut words = line.split_whitespace();
    let entry = ((words.next()?.to_owned(), words.next()?.parse().ok()?), words.next()?.parse().ok()?);
    words.next().is_none().then_some(entry)
}

/// Replaces a checkpoint.
pub(crate) fn write_offsets(disk: &dyn Disk, path: &Path, offsets: &Offsets) -> Result<(), LogError> {
    use std::fmt::Write as _;
    let mut text = format!("0\n{}\n", offsets.len());
    for ((topic, partition), offset) in offsets {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{topic} {partition} {offset}");
    }
    replace_file(disk, path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SystemDisk;

    #[test]
    fn checkpoints_round_trip_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINTS);
        assert!(read_offsets(&path).unwrap().is_empty());
        let offsets = Offsets::from([(("a.b".to_owned(), 0), 7), (("a.b".to_owned(), 11), 0)]);
        write_offsets(&SystemDisk, &path, &offsets).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n2\na.b 0 7\na.b 11 0\n");
        assert_eq!(read_offsets(&path).unwrap(), offsets);
        for broken in ["", "1\n0\n", "0\nx\n", "0\n2\na 0 7\n", "0\n1\na 0\n", "0\n1\na 0 7 8\n", "0\n1\na 0 7"] {
            fs::write(&path, broken).unwrap();
            assert!(matches!(read_offsets(&path), Err(LogError::BadFile { .. })), "{broken:?}");
        }
    }
}
