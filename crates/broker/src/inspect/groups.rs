//! Groups and what they have committed, out of `__consumer_offsets`.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::partition::{self, Known};
use super::{Depth, Fault, GroupInspection, InspectOptions, MemberInspection, OffsetInspection, Usage};
use crate::log::LogError;
use crate::log::files::{Walker, parse_directory_name, segment_path};
use crate::server::{KeptGroups, OFFSETS_TOPIC, StoredGroup};

/// Groups by name, with how far they are behind.
pub(super) fn inspect_groups(
    data_dir: &Path,
    options: &InspectOptions,
    usage: Usage,
    faults: &mut Vec<Fault>,
) -> Result<Vec<GroupInspection>, LogError> {
    let mut kept = KeptGroups::default();
    for entry in std::fs::read_dir(data_dir).map_err(LogError::storage("list", data_dir))? {
        let entry = entry.map_err(LogError::storage("list", data_dir))?;
        let name = entry.file_name();
        if matches!(name.to_str().and_then(parse_directory_name), Some((OFFSETS_TOPIC, _))) {
            read_partition(&entry.path(), usage, &mut kept, faults)?;
        }
    }
    let (groups, committed) = kept.into_parts();
    let mut found: BTreeMap<String, GroupInspection> =
        groups.into_iter().map(|(name, group)| (name.clone(), inspected(name, group))).collect();
    let mut ends = Ends { data_dir, usage, known: BTreeMap::new() };
    for (name, offsets) in committed {
        let group = found.entry(name.clone()).or_insert_with(|| GroupInspection { name, ..Default::default() });
        for ((topic, partition), committed) in offsets {
            if !options.topics.is_empty() && !options.topics.contains(&topic) {
                continue;
            }
            let end = ends.of(&topic, partition);
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
    let wanted = |group: &GroupInspection| options.topics.is_empty() || !group.offsets.is_empty();
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

/// Enters what one partition's segments say, up to the first damage.
fn read_partition(
    directory: &Path,
    usage: Usage,
    kept: &mut KeptGroups,
    faults: &mut Vec<Fault>,
) -> Result<(), LogError> {
    let Some(listing) = partition::list(directory)? else {
        return Ok(());
    };
    let last = listing.segments.last().copied();
    for &base_offset in &listing.segments {
        let path = segment_path(directory, base_offset, "log");
        // A segment that is gone by now was compacted; its records are in another one.
        let Ok(file) = File::open(&path) else { continue };
        match read_segment(&file, &path, base_offset, kept) {
            Ok(()) => {}
            Err(LogError::CorruptSegment { .. }) if usage == Usage::Running && last == Some(base_offset) => {}
            Err(error) => {
                let what = format!("{error}; groups and offsets behind that are not told");
                faults.push(Fault::new(&path, what));
            }
        }
    }
    Ok(())
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

/// Ends of partitions, each looked up once.
struct Ends<'a> {
    data_dir: &'a Path,
    usage: Usage,
    known: BTreeMap<(String, i32), Option<i64>>,
}

impl Ends<'_> {
    fn of(&mut self, topic: &str, index: i32) -> Option<i64> {
        let key = (topic.to_owned(), index);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let name = format!("{topic}-{index}");
        // Committed for a topic of any name; only names of topics lead into the directory.
        let end = parse_directory_name(&name).and_then(|_| {
            let known = Known {
                index,
                directory: &self.data_dir.join(&name),
                log_start: None,
                recovery_point: None,
                usage: self.usage,
                depth: Depth::Ends,
            };
            // Its faults were named when the topics were looked at.
            partition::inspect_partition(&known, &mut Vec::new()).map(|partition| partition.end_offset)
        });
        self.known.insert(key, end);
        end
    }
}
