//! The data directory as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::partition::{self, Known};
use super::{Fault, InspectOptions, Inspection, TopicInspection, Usage, groups};
use crate::log::LogError;
use crate::log::files::{
    CLEAN_SHUTDOWN, LOG_STARTS, Offsets, RECOVERY_POINTS, TopicRecord, TopicState, disk_space, encode_id,
    existing_cluster_id, parse_directory_name, read_offsets,
};

/// Looks at a data directory without changing anything in it.
///
/// # Errors
/// It is no data directory, or cannot be listed. Damage inside is in [`Inspection::faults`].
pub fn inspect(data_dir: &Path, options: &InspectOptions) -> Result<Inspection, LogError> {
    let cluster_id = existing_cluster_id(data_dir)?;
    let usage = usage_of(data_dir)?;
    let mut faults = Vec::new();
    let topics = inspect_topics(data_dir, options, usage, &mut faults)?;
    let groups = groups::inspect_groups(data_dir, options, usage, &mut faults)?;
    let disk = disk_space(data_dir).ok().map(|space| (space.free_bytes, space.total_bytes));
    Ok(Inspection { cluster_id, usage, disk, topics, groups, faults })
}

/// A broker holds the lock of its directory as long as it lives. The lock is shared and given back at once:
/// a broker that starts in just this moment would have to be started again.
fn usage_of(data_dir: &Path) -> Result<Usage, LogError> {
    let path = data_dir.join(".lock");
    let is_held = match File::open(&path).map(|file| file.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => true,
        Ok(Ok(()) | Err(TryLockError::Error(_))) => false,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(LogError::storage("open", path)(error)),
    };
    Ok(match (is_held, data_dir.join(CLEAN_SHUTDOWN).exists()) {
        (true, _) => Usage::Running,
        (false, true) => Usage::Stopped,
        (false, false) => Usage::Crashed,
    })
}

fn checkpoint(data_dir: &Path, name: &str, faults: &mut Vec<Fault>) -> Offsets {
    let path = data_dir.join(name);
    read_offsets(&path).unwrap_or_else(|error| {
        faults.push(Fault::of(&path, &error));
        Offsets::new()
    })
}

fn inspect_topics(
    data_dir: &Path,
    options: &InspectOptions,
    usage: Usage,
    faults: &mut Vec<Fault>,
) -> Result<Vec<TopicInspection>, LogError> {
    let recovery_points = checkpoint(data_dir, RECOVERY_POINTS, faults);
    let log_starts = checkpoint(data_dir, LOG_STARTS, faults);
    let mut topics = list(data_dir, faults)?;
    topics.retain(|name, _| options.topics.is_empty() || options.topics.contains(name));
    let mut inspected = Vec::with_capacity(topics.len());
    for (name, found) in topics {
        let mut topic = TopicInspection {
            id: found.record.as_ref().map(|record| encode_id(record.id)),
            is_deleting: found.record.as_ref().is_some_and(|record| record.state == TopicState::Deleting),
            settings: found.record.map(|record| record.overrides).unwrap_or_default(),
            partitions: Vec::new(),
            name,
        };
        for index in found.partitions {
            let key = (topic.name.clone(), index);
            let known = Known {
                index,
                directory: &data_dir.join(format!("{}-{index}", topic.name)),
                log_start: log_starts.get(&key).copied(),
                recovery_point: recovery_points.get(&key).copied(),
                usage,
                depth: options.depth,
            };
            topic.partitions.extend(partition::inspect_partition(&known, faults));
        }
        inspected.push(topic);
    }
    Ok(inspected)
}

#[derive(Debug, Default)]
struct Found {
    record: Option<TopicRecord>,
    partitions: Vec<i32>,
}

/// Topics by their files and by their partitions' directories.
fn list(data_dir: &Path, faults: &mut Vec<Fault>) -> Result<BTreeMap<String, Found>, LogError> {
    let mut topics: BTreeMap<String, Found> = BTreeMap::new();
    for entry in fs::read_dir(data_dir).map_err(LogError::storage("list", data_dir))? {
        let entry = entry.map_err(LogError::storage("list", data_dir))?;
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str() else { continue };
        if path.is_dir() {
            if let Some((topic, index)) = parse_directory_name(name) {
                topics.entry(topic.to_owned()).or_default().partitions.push(index);
            }
            continue;
        }
        match TopicRecord::load(&path) {
            Ok(Some(record)) => {
                let name = record.name.clone();
                topics.entry(name).or_default().record = Some(record);
            }
            Ok(None) => {}
            Err(error) => faults.push(Fault::of(&path, &error)),
        }
    }
    for (name, found) in &mut topics {
        found.partitions.sort_unstable();
        let missing = found.record.iter().flat_map(|record| 0..record.partitions);
        for index in missing.filter(|index| !found.partitions.contains(index)) {
            let what = "the partition's directory is missing; the next start makes an empty one";
            faults.push(Fault::new(&data_dir.join(format!("{name}-{index}")), what));
        }
        if found.record.is_none() {
            let what = "the topic file is missing or damaged; without one a start takes its partitions over with default settings";
            faults.push(Fault::new(&data_dir.join(format!("{name}.topic")), what));
        }
    }
    Ok(topics)
}
