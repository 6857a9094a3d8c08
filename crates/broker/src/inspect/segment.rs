//! One segment: its ends by the index, or every batch of it.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{Depth, Fault, SegmentInspection, Usage};
use crate::log::LogError;
use crate::log::files::{IndexFile, OffsetEntry, TimeEntry, Walker, segment_path};

/// Where a segment stands in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is closed: nothing in it changes.
    Closed,
    /// It is the newest, the one that grows while a broker runs.
    Newest(Usage),
}

impl Place {
    /// Whether the last batch may still be on its way into the file.
    fn is_growing(self) -> bool {
        self == Self::Newest(Usage::Running)
    }

    /// Whether its index is complete on the disk. Else it is in the broker's memory, or was.
    fn has_index(self) -> bool {
        matches!(self, Self::Closed | Self::Newest(Usage::Stopped))
    }
}

/// Looks at a segment; `None` when it was deleted meanwhile.
pub(super) fn inspect_segment(
    directory: &Path,
    base_offset: i64,
    depth: Depth,
    place: Place,
    faults: &mut Vec<Fault>,
) -> Result<Option<SegmentInspection>, LogError> {
    let path = segment_path(directory, base_offset, "log");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::storage("open", path)(error)),
    };
    let bytes = file.metadata().map_err(LogError::storage("inspect", &path))?.len();
    let index_bytes = ["index", "timeindex", "txnindex"].map(|extension| {
        segment_path(directory, base_offset, extension).metadata().map_or(0, |metadata| metadata.len())
    });
    let mut segment = SegmentInspection {
        base_offset,
        next_offset: base_offset,
        bytes,
        index_bytes: index_bytes.iter().sum(),
        ..SegmentInspection::default()
    };
    let Some(start) = starting_position(directory, base_offset, bytes, place, faults) else {
        return Ok(Some(segment));
    };
    let mut first = Walker::new(&file, &path, 0..bytes, base_offset);
    if let Ok(Some((_, header))) = first.next() {
        segment.first_timestamp_ms = known_time(header.base_timestamp);
    }
    let walked = match depth {
        Depth::Everything => walk(&file, &path, 0, depth, &mut segment),
        _ => walk(&file, &path, start, depth, &mut segment).or_else(|fault| match start {
            0 => Err(fault),
            // The index may be what is wrong.
            _ => walk(&file, &path, 0, depth, &mut segment),
        }),
    };
    match walked {
        Err(fault @ LogError::CorruptSegment { .. }) if !place.is_growing() => {
            faults.push(Fault::of(&path, &fault));
        }
        Err(LogError::CorruptSegment { .. }) | Ok(()) => {}
        Err(error) => return Err(error),
    }
    let times = IndexFile::open::<TimeEntry>(&segment_path(directory, base_offset, "timeindex")).ok().flatten();
    let last = times.and_then(|times| times.last::<TimeEntry>().ok().flatten());
    let last_timestamp_ms = last.and_then(|entry| known_time(entry.timestamp_ms));
    segment.last_timestamp_ms = segment.last_timestamp_ms.max(last_timestamp_ms);
    Ok(Some(segment))
}

/// Where the last indexed batch begins; names an index that cannot be right.
fn starting_position(
    directory: &Path,
    base_offset: i64,
    bytes: u64,
    place: Place,
    faults: &mut Vec<Fault>,
) -> Option<u64> {
    let mut start = 0;
    for (extension, opened) in [
        ("index", IndexFile::open::<OffsetEntry>(&segment_path(directory, base_offset, "index"))),
        ("timeindex", IndexFile::open::<TimeEntry>(&segment_path(directory, base_offset, "timeindex"))),
    ] {
        let path = segment_path(directory, base_offset, extension);
        match opened {
            Ok(Some(index)) if extension == "index" => {
                let last = index.last::<OffsetEntry>().ok().flatten();
                let position = last.map_or(0, |entry| u64::from(entry.position));
                match position < bytes || position == 0 {
                    true => start = position,
                    false => faults
                        .push(Fault::new(&path, "it points behind the segment's end; it is built anew when needed")),
                }
            }
            Ok(Some(_)) => {}
            Ok(None) if !place.has_index() || bytes == 0 => {}
            Ok(None) => faults.push(Fault::new(&path, "it is missing or cut; it is built anew when needed")),
            Err(error) => faults.push(Fault::new(&path, format!("it cannot be read: {error}"))),
        }
    }
    (bytes > 0).then_some(start)
}

/// Walks from `start` to the end, or to the first fault.
fn walk(file: &File, path: &Path, start: u64, depth: Depth, segment: &mut SegmentInspection) -> Result<(), LogError> {
    let mut walker = Walker::new(file, path, start..segment.bytes, segment.base_offset);
    if depth == Depth::Everything {
        walker = walker.sequential();
        (segment.batches, segment.records) = (Some(0), Some(0));
    }
    while let Some((position, header)) = walker.next()? {
        if depth == Depth::Everything {
            walker.verify(position, &header)?;
            segment.batches = segment.batches.map(|count| count + 1);
            let records = u64::try_from(header.count).unwrap_or(0);
            segment.records = segment.records.map(|count| count + records);
        }
        segment.next_offset = header.last_offset() + 1;
        segment.last_timestamp_ms = segment.last_timestamp_ms.max(known_time(header.max_timestamp));
    }
    Ok(())
}

/// −1 stands for no time.
fn known_time(timestamp_ms: i64) -> Option<i64> {
    (timestamp_ms >= 0).then_some(timestamp_ms)
}
