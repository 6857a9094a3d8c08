//! Groups and what they have committed, out of `__consumer_offsets`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::directory::Look;
use super::{Fault, GroupInspection, MemberInspection, OffsetInspection, TopicInspection, Usage, partition};
use crate::log::LogError;
use crate::log::files::{Walker, parse_directory_name, segment_path};
use crate::server::{KeptGroups, OFFSETS_TOPIC, StoredGroup};

/// A running broker may compact what is read; then it is read from the beginning, so often at most.
const ATTEMPTS: usize = 5;

/// Groups by name, with how far they are behind.
pub(super) fn inspect_groups(
    look: Look<'_>,
    topics: &[TopicInspection],
    faults: &mut Vec<Fault>,
) -> Result<Vec<GroupInspection>, LogError> {
    let ends: HashMap<(&str, i32), i64> = topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| ((&*topic.name, partition.index), partition.end_offset))
        })
        .collect();
    let mut kept = KeptGroups::default();
    let mut of_groups = Vec::new();
    for _ in 0..ATTEMPTS {
        kept = KeptGroups::default();
        of_groups.clear();
        if read_all(look, &mut kept, &mut of_groups)? == Reading::Whole {
            break;
        }
    }
    faults.append(&mut of_groups);
    let (groups, committed) = kept.into_parts();
    let mut found: BTreeMap<String, GroupInspection> =
        groups.into_iter().map(|(name, group)| (name.clone(), inspected(name, group))).collect();
    for (name, offsets) in committed {
        let group = found.entry(name.clone()).or_insert_with(|| GroupInspection { name, ..Default::default() });
        for ((topic, partition), committed) in offsets {
            if !look.wants(&topic) {
                continue;
            }
            let end = ends.get(&(&*topic, partition)).copied();
            group.offsets.push(OffsetInspection {
                lag: end.map(|end| end.saturating_sub(committed.offset).max(0)),
                topic,
                partition,
                offset: committed.offset,
                committed_ms: committed.committed_ms,
                metadata: committed.metadata,
            });
        }
    }
    let wanted = |group: &GroupInspection| look.options.topics.is_empty() || !group.offsets.is_empty();
    Ok(found.into_values().filter(wanted).collect())
}

fn inspected(name: String, group: StoredGroup) -> GroupInspection {
    let member = |member: crate::server::StoredMember| MemberInspection {
        id: member.id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
    };
    GroupInspection {
        name,
        protocol_type: group.protocol_type,
        protocol: group.protocol,
        generation: group.generation,
        members: group.members.into_iter().map(member).collect(),
        offsets: Vec::new(),
    }
}

/// Whether a partition was read as it was in one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Whole,
    /// A segment that was listed is gone: it was compacted, and its records may be in one that was read before.
    Overtaken,
}

fn read_all(look: Look<'_>, kept: &mut KeptGroups, faults: &mut Vec<Fault>) -> Result<Reading, LogError> {
    for entry in std::fs::read_dir(look.data_dir).map_err(LogError::storage("list", look.data_dir))? {
        let entry = entry.map_err(LogError::storage("list", look.data_dir))?;
        let name = entry.file_name();
        if matches!(name.to_str().and_then(parse_directory_name), Some((OFFSETS_TOPIC, _)))
            && read_partition(&entry.path(), look.usage, kept, faults)? == Reading::Overtaken
        {
            return Ok(Reading::Overtaken);
        }
    }
    Ok(Reading::Whole)
}

/// Enters what one partition's segments say, up to the first damage.
fn read_partition(
    directory: &Path,
    usage: Usage,
    kept: &mut KeptGroups,
    faults: &mut Vec<Fault>,
) -> Result<Reading, LogError> {
    let Some(listing) = partition::list(directory)? else {
        return Ok(Reading::Whole);
    };
    let last = listing.segments.last().copied();
    for &base_offset in &listing.segments {
        let path = segment_path(directory, base_offset, "log");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Reading::Overtaken),
            Err(error) => {
                faults.push(Fault::of(&path, &LogError::storage("open", &path)(error)));
                continue;
            }
        };
        match read_segment(&file, &path, base_offset, kept) {
            Ok(()) => {}
            Err(LogError::CorruptSegment { .. }) if usage == Usage::Running && last == Some(base_offset) => {}
            Err(error) => {
                let what = format!("{error}; groups and offsets behind that are not told");
                faults.push(Fault::new(&path, what));
            }
        }
    }
    Ok(Reading::Whole)
}

fn read_segment(file: &File, path: &Path, base_offset: i64, kept: &mut KeptGroups) -> Result<(), LogError> {
    let size = file.metadata().map_err(LogError::storage("inspect", path))?.len();
    let mut walker = Walker::new(file, path, 0..size, base_offset).sequential();
    while let Some((position, header)) = walker.next()? {
        walker.verify(position, &header)?;
        let mut batch = vec![0; header.size];
        file.read_exact_at(&mut batch, position).map_err(LogError::storage("read", path))?;
        kept.apply_batches(Bytes::from(batch))?;
    }
    Ok(())
}
