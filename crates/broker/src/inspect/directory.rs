//! The data directory as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::partition::{self, Known};
use super::{Fault, InspectOptions, Inspection, TopicInspection, Usage, groups};
use crate::log::LogError;
use crate::log::files::{
    CLEAN_SHUTDOWN, LOG_STARTS, Offsets, RECOVERY_POINTS, TopicRecord, TopicState, disk_space, encode_id,
    existing_cluster_id, is_running, name_of_file, parse_directory_name, read_offsets,
};

/// Looks at a data directory without changing anything in it.
///
/// # Errors
/// It is no data directory, or cannot be listed. Damage inside is in [`Inspection::faults`].
pub fn inspect(data_dir: &Path, options: &InspectOptions) -> Result<Inspection, LogError> {
    let cluster_id = existing_cluster_id(data_dir)?;
    let usage = usage_of(data_dir)?;
    let mut faults = Vec::new();
    let look = Look { data_dir, options, usage };
    let topics = inspect_topics(look, &mut faults)?;
    let groups = groups::inspect_groups(look, &topics, &mut faults)?;
    let disk = disk_space(data_dir).ok().map(|space| (space.free_bytes, space.total_bytes));
    Ok(Inspection { cluster_id, usage, disk, topics, groups, faults })
}

fn usage_of(data_dir: &Path) -> Result<Usage, LogError> {
    Ok(match (is_running(data_dir)?, data_dir.join(CLEAN_SHUTDOWN).exists()) {
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

fn inspect_topics(look: Look<'_>, faults: &mut Vec<Fault>) -> Result<Vec<TopicInspection>, LogError> {
    let recovery_points = checkpoint(look.data_dir, RECOVERY_POINTS, faults);
    let log_starts = checkpoint(look.data_dir, LOG_STARTS, faults);
    let mut inspected = Vec::new();
    for (name, found) in list(look, faults)? {
        let record = found.record;
        let mut partitions = Vec::with_capacity(found.partitions.len());
        let mut of_topic = Vec::new();
        for index in found.partitions {
            let key = (name.clone(), index);
            let known = Known {
                index,
                directory: &look.directory(&name, index),
                log_start: log_starts.get(&key).copied(),
                recovery_point: recovery_points.get(&key).copied(),
                usage: look.usage,
                depth: look.options.depth,
            };
            partitions.extend(partition::inspect_partition(&known, &mut of_topic));
        }
        if !of_topic.is_empty() && !look.is_still(&name, record.as_ref()) {
            // It was deleted under our eyes.
            continue;
        }
        faults.append(&mut of_topic);
        inspected.push(TopicInspection {
            id: record.as_ref().map(|record| encode_id(record.id)),
            is_deleting: record.as_ref().is_some_and(|record| record.state == TopicState::Deleting),
            settings: record.map(|record| record.overrides).unwrap_or_default(),
            partitions,
            name,
        });
    }
    Ok(inspected)
}

/// What is looked at, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) options: &'a InspectOptions,
    pub(super) usage: Usage,
}

impl Look<'_> {
    pub(super) fn wants(&self, topic: &str) -> bool {
        self.options.topics.is_empty() || self.options.topics.iter().any(|wanted| wanted == topic)
    }

    fn directory(&self, topic: &str, index: i32) -> PathBuf {
        self.data_dir.join(format!("{topic}-{index}"))
    }

    fn topic_file(&self, topic: &str) -> PathBuf {
        self.data_dir.join(format!("{topic}.topic"))
    }

    /// Whether a topic is what it was: a running broker may have deleted it, or be at it.
    fn is_still(&self, name: &str, record: Option<&TopicRecord>) -> bool {
        if self.usage != Usage::Running {
            return true;
        }
        match (load(&self.topic_file(name)), record) {
            (Ok(Some(now)), Some(before)) => {
                let are_live = [now.state, before.state] == [TopicState::Live; 2];
                now.id == before.id && are_live
            }
            (Ok(None), Some(_)) => false,
            _ => true,
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    record: Option<TopicRecord>,
    /// There is a topic file, but it says nothing.
    is_damaged: bool,
    partitions: BTreeSet<i32>,
}

/// A topic's file; `None` where it is no topic's, or gone by now.
fn load(path: &Path) -> Result<Option<TopicRecord>, LogError> {
    match TopicRecord::load(path) {
        Err(LogError::Storage { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        loaded => loaded,
    }
}

/// The topics asked for, by their files and by their partitions' directories.
fn list(look: Look<'_>, faults: &mut Vec<Fault>) -> Result<BTreeMap<String, Found>, LogError> {
    let mut topics: BTreeMap<String, Found> = BTreeMap::new();
    for entry in fs::read_dir(look.data_dir).map_err(LogError::storage("list", look.data_dir))? {
        let entry = entry.map_err(LogError::storage("list", look.data_dir))?;
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str() else { continue };
        if path.is_dir() {
            if let Some((topic, index)) = parse_directory_name(name).filter(|(topic, _)| look.wants(topic)) {
                topics.entry(topic.to_owned()).or_default().partitions.insert(index);
            }
            continue;
        }
        let topic = name_of_file(name);
        if !look.wants(&topic) {
            continue;
        }
        match load(&path) {
            Ok(Some(record)) => topics.entry(topic).or_default().record = Some(record),
            Ok(None) => {}
            Err(error) => {
                faults.push(Fault::of(&path, &error));
                topics.entry(topic).or_default().is_damaged = true;
            }
        }
    }
    topics.retain(|name, found| complete(look, name, found, faults));
    Ok(topics)
}

/// Looks once more for what the listing lacks, as topics may come and go meanwhile; whether there is such a topic.
fn complete(look: Look<'_>, name: &str, found: &mut Found, faults: &mut Vec<Fault>) -> bool {
    if found.record.is_none() && !found.is_damaged {
        found.record = load(&look.topic_file(name)).ok().flatten();
    }
    let Some(record) = &found.record else {
        found.partitions.retain(|index| look.directory(name, *index).is_dir());
        if found.partitions.is_empty() {
            return false;
        }
        if !found.is_damaged {
            let what = "the topic file is missing; without one a start takes its partitions over";
            faults.push(Fault::new(&look.topic_file(name), what));
        }
        return true;
    };
    if record.state == TopicState::Deleting {
        return true;
    }
    // A running broker enters a new topic's partitions there when all of them are made.
    let made = match look.usage {
        Usage::Running => read_offsets(&look.data_dir.join(RECOVERY_POINTS)).ok(),
        _ => None,
    };
    let mut missing = Vec::new();
    for index in (0..record.partitions).filter(|index| !found.partitions.contains(index)) {
        if look.directory(name, index).is_dir() {
            missing.push((index, true));
        } else if made.as_ref().is_none_or(|made| made.contains_key(&(name.to_owned(), index))) {
            missing.push((index, false));
        }
    }
    if missing.iter().any(|(_, is_there)| !is_there) && !look.is_still(name, Some(record)) {
        return false;
    }
    for (index, is_there) in missing {
        if is_there {
            found.partitions.insert(index);
        } else {
            let what = "the partition's directory is missing; the next start makes an empty one";
            faults.push(Fault::new(&look.directory(name, index), what));
        }
    }
    true
}
