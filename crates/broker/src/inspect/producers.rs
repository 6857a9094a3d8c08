//! Producers of a partition and their open transactions: the newest snapshot, and the batches behind it.

use std::fs::{self, File};
use std::path::Path;

use super::partition::Listing;
use super::{Fault, PartitionInspection, ProducerInspection};
use crate::log::LogError;
use crate::log::files::{Producers, Walker, segment_path, snapshot_path};

/// Segments walked for the producers of one partition; beyond it, what the snapshot says has to do.
const WALK_BYTES: u64 = 256 << 20;

pub(super) fn inspect_producers(
    directory: &Path,
    listing: &Listing,
    partition: &mut PartitionInspection,
    faults: &mut Vec<Fault>,
) {
    let (from, mut producers) = newest_snapshot(directory, listing, partition.end_offset, faults);
    match catch_up(directory, listing, from, partition.end_offset, &mut producers) {
        Ok(true) => {}
        Ok(false) => partition.producers_as_of = Some(from),
        // What is wrong with the segment was named when it was looked at.
        Err(_) => partition.producers_as_of = Some(from),
    }
    let views = producers.views().into_iter().map(|view| ProducerInspection {
        id: view.producer_id,
        epoch: view.producer_epoch,
        last_sequence: view.last_sequence,
        last_timestamp_ms: view.last_timestamp_ms,
        transaction_start_offset: Some(view.transaction_start_offset).filter(|offset| *offset >= 0),
    });
    partition.producers = views.collect();
}

fn newest_snapshot(directory: &Path, listing: &Listing, end: i64, faults: &mut Vec<Fault>) -> (i64, Producers) {
    for &offset in listing.snapshots.range(..=end).rev() {
        let path = snapshot_path(directory, offset);
        // One that is gone by now was replaced by a newer one.
        let Ok(bytes) = fs::read(&path) else { continue };
        match Producers::decode(&bytes) {
            Some(producers) => return (offset, producers),
            None => faults.push(Fault::new(&path, "it is damaged; the next start reads the log instead")),
        }
    }
    (listing.segments.first().copied().unwrap_or(0), Producers::default())
}

/// Enters the batches from `from` on; whether that was little enough to be done.
fn catch_up(
    directory: &Path,
    listing: &Listing,
    from: i64,
    end: i64,
    producers: &mut Producers,
) -> Result<bool, LogError> {
    if from >= end {
        return Ok(true);
    }
    let first = listing.segments.range(..=from).next_back().copied().unwrap_or(from);
    let mut files = Vec::new();
    let mut bytes = 0;
    for &base_offset in listing.segments.range(first..) {
        let path = segment_path(directory, base_offset, "log");
        let file = File::open(&path).map_err(LogError::storage("open", &path))?;
        let size = file.metadata().map_err(LogError::storage("inspect", &path))?.len();
        bytes += size;
        files.push((base_offset, path, file, size));
    }
    if bytes > WALK_BYTES {
        return Ok(false);
    }
    for (base_offset, path, file, size) in &files {
        let mut walker = Walker::new(file, path, 0..*size, *base_offset);
        while let Some((position, header)) = walker.next()? {
            if header.base_offset >= end {
                return Ok(true);
            }
            if header.base_offset >= from {
                let marker = walker.marker(position, &header)?;
                producers.record(&header, marker, header.max_timestamp);
            }
        }
    }
    Ok(true)
}
