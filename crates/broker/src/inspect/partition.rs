//! One partition's directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::producers::inspect_producers;
use super::segment::{Place, inspect_segment};
use super::{Depth, Fault, PartitionInspection, SegmentInspection, Usage};
use crate::log::LogError;
use crate::log::files::Epochs;

/// What is known of a partition before its directory is looked at.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) index: i32,
    pub(super) directory: &'a Path,
    pub(super) log_start: Option<i64>,
    pub(super) recovery_point: Option<i64>,
    pub(super) usage: Usage,
    pub(super) depth: Depth,
}

/// The names in a partition's directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Base offsets of the segments.
    pub(super) segments: BTreeSet<i64>,
    /// Offsets of the producers' snapshots.
    pub(super) snapshots: BTreeSet<i64>,
    bytes: u64,
}

/// Looks at a partition that may be changing. What is a fault at every look is one.
const LOOKS: usize = 3;

/// Looks at a partition; `None` when it was deleted meanwhile.
pub(super) fn inspect_partition(known: &Known<'_>, faults: &mut Vec<Fault>) -> Option<PartitionInspection> {
    let mut found = Vec::new();
    let Some(mut partition) = look_once(known, &mut found) else {
        faults.append(&mut found);
        return None;
    };
    for _ in 1..LOOKS {
        if found.is_empty() || known.usage != Usage::Running {
            break;
        }
        let mut again = Vec::new();
        let Some(seen) = look_once(known, &mut again) else {
            faults.append(&mut again);
            return None;
        };
        partition = seen;
        found.retain(|fault| again.contains(fault));
    }
    faults.append(&mut found);
    Some(partition)
}

fn look_once(known: &Known<'_>, faults: &mut Vec<Fault>) -> Option<PartitionInspection> {
    let listing = match list(known.directory) {
        Ok(listing) => listing?,
        Err(error) => {
            faults.push(Fault::of(known.directory, &error));
            return None;
        }
    };
    let segments = match inspect_segments(known, &listing, faults) {
        Ok(segments) => segments,
        Err(error) => {
            faults.push(Fault::of(known.directory, &error));
            Vec::new()
        }
    };
    let first = listing.segments.first().copied().unwrap_or(0);
    let end_offset = segments.last().map_or(first, |last| last.next_offset);
    let mut partition = PartitionInspection {
        index: known.index,
        start_offset: known.log_start.unwrap_or(first).clamp(first, end_offset.max(first)),
        end_offset,
        leader_epoch: leader_epoch(known, faults),
        recovery_point: known.recovery_point,
        bytes: listing.bytes,
        segment_count: listing.segments.len(),
        first_timestamp_ms: segments.iter().find_map(|segment| segment.first_timestamp_ms),
        last_timestamp_ms: segments.iter().rev().find_map(|segment| segment.last_timestamp_ms),
        ..PartitionInspection::default()
    };
    inspect_producers(known.directory, &listing, &mut partition, faults);
    if known.depth >= Depth::Segments {
        partition.segments = segments;
    }
    Some(partition)
}

pub(super) fn list(directory: &Path) -> Result<Option<Listing>, LogError> {
    let mut listing = Listing::default();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::storage("list", directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(LogError::storage("list", directory))?;
        // A file that is gone by now counts nothing.
        listing.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('.')).filter(|(stem, _)| stem.len() == 20);
        let offset = parts.and_then(|(stem, extension)| Some((stem.parse::<i64>().ok()?, extension)));
        match offset {
            Some((offset, "log")) => drop(listing.segments.insert(offset)),
            Some((offset, "snapshot")) => drop(listing.snapshots.insert(offset)),
            _ => {}
        }
    }
    Ok(Some(listing))
}

/// All segments, or the first and the last.
fn inspect_segments(
    known: &Known<'_>,
    listing: &Listing,
    faults: &mut Vec<Fault>,
) -> Result<Vec<SegmentInspection>, LogError> {
    let (first, last) = (listing.segments.first().copied(), listing.segments.last().copied());
    let mut segments = Vec::new();
    for &base_offset in &listing.segments {
        let is_end = Some(base_offset) == first || Some(base_offset) == last;
        if known.depth == Depth::Ends && !is_end {
            continue;
        }
        let place = if Some(base_offset) == last { Place::Newest(known.usage) } else { Place::Closed };
        segments.extend(inspect_segment(known.directory, base_offset, known.depth, place, faults)?);
    }
    Ok(segments)
}

fn leader_epoch(known: &Known<'_>, faults: &mut Vec<Fault>) -> Option<i32> {
    // A partition without a recovery point is only just being made.
    let is_new = known.usage == Usage::Running && known.recovery_point.is_none();
    match Epochs::load(known.directory) {
        Ok(Some(epochs)) => epochs.latest(),
        Ok(None) if is_new => None,
        Ok(None) => {
            let what = "it is missing or damaged; the next start finds the epochs in the batches";
            faults.push(Fault::new(&known.directory.join("leader-epoch-checkpoint"), what));
            None
        }
        Err(error) => {
            faults.push(Fault::of(known.directory, &error));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_cannot_be_listed_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("t-0");
        std::fs::write(&directory, b"no directory").unwrap();
        for usage in [Usage::Running, Usage::Stopped] {
            let depth = Depth::Everything;
            let known = Known { index: 0, directory: &directory, log_start: None, recovery_point: None, usage, depth };
            let mut faults = Vec::new();
            assert!(inspect_partition(&known, &mut faults).is_none());
            assert_eq!(faults.iter().map(|fault| &fault.path).collect::<Vec<_>>(), [&directory]);
        }
    }
}
