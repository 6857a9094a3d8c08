//! What destinations do not have yet, and what nobody needs any more.
//!
//! The DICOM topics keep records until somebody deletes them. [`trim`] deletes metadata below what every destination has
//! committed, and chunks that no metadata above that refers to. Chunks of objects that are being sent have no metadata
//! yet: those younger than a grace stay, so an object has to be sent in less time than that.

use super::destinations::{Destination, destinations};
use super::failed::{FailedRecord, now_unix_millis, open_failures};
use super::{Family, TransportError, failed};
use crate::DicomError;
use crate::record::{HEADER, Metadata, PartCollector, RecordHeader};
use bytes::Bytes;
use lumenbus_bus::BusConfig;
use lumenbus_bus::objects::{Bounds, RecordView, TopicView, committed_offsets};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// Chunks without metadata are kept this long unless told otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a destination does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub destination: String,
    /// Which objects it gets.
    pub family: Family,
    /// When it was registered, in milliseconds of Unix time.
    pub registered_unix_millis: i64,
    /// Whether Kafka knows what it has; otherwise everything counts as waiting.
    pub has_committed: bool,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them was committed by its sender, in milliseconds of Unix time.
    pub oldest_unix_millis: Option<i64>,
    /// Objects that could not be delivered and were not retried since.
    pub failed: u64,
}

/// Every destination's queue, by name.
///
/// # Errors
/// What is wrong with the brokers.
pub fn list(bus: &BusConfig) -> Result<Vec<Waiting>, TransportError> {
    let mut all = Vec::new();
    for family in [Family::Original, Family::Deidentified] {
        let mut destinations = destinations(bus)?;
        destinations.retain(|_, destination| destination.family == family);
        if !destinations.is_empty() {
            all.extend(list_of(bus, family, destinations)?);
        }
    }
    all.sort_by(|a, b| a.destination.cmp(&b.destination));
    Ok(all)
}

fn list_of(
    bus: &BusConfig,
    family: Family,
    destinations: BTreeMap<String, Destination>,
) -> Result<Vec<Waiting>, TransportError> {
    let metadata = TopicView::open(bus, bus.topic_prefix.topic(family.topics()[0]))?;
    let bounds = metadata.bounds()?;
    let failures = open_failures(bus)?;
    let mut queues = Vec::new();
    for (name, destination) in destinations {
        let committed = committed_offsets(bus, &name, &metadata)?;
        let waiting = Waiting {
            registered_unix_millis: destination.registered_unix_millis,
            has_committed: !committed.is_empty(),
            objects: 0,
            bytes: 0,
            oldest_unix_millis: None,
            failed: failures.keys().filter(|(of, ..)| *of == name).count() as u64,
            destination: name,
            family,
        };
        queues.push((waiting, committed));
    }
    let lowest = lowest(&queues.iter().map(|(_, committed)| committed), &bounds);
    let ranges = bounds.iter().map(|(&partition, log)| (partition, Bounds { start: lowest[&partition], end: log.end }));
    scan(&metadata, &ranges.collect(), |record, found| {
        let bytes = match found {
            Found::Object(metadata) => metadata.file_length,
            // It is waiting for somebody who can read it.
            Found::Unreadable => 0,
            Found::Part => return,
        };
        for (waiting, committed) in &mut queues {
            if record.offset() >= committed.get(&record.partition()).copied().unwrap_or(0) {
                let oldest = waiting.oldest_unix_millis.unwrap_or(i64::MAX);
                waiting.oldest_unix_millis = Some(oldest.min(record.unix_millis()));
                waiting.objects += 1;
                waiting.bytes += bytes;
            }
        }
    })?;
    Ok(queues.into_iter().map(|(waiting, _)| waiting).collect())
}

/// Per partition, up to where all have committed; the log's beginning where one has not.
fn lowest<'a>(
    committed: &(impl Iterator<Item = &'a BTreeMap<i32, i64>> + Clone),
    bounds: &BTreeMap<i32, Bounds>,
) -> BTreeMap<i32, i64> {
    let of = |(&partition, log): (&i32, &Bounds)| {
        let each = committed.clone().map(|offsets| offsets.get(&partition).copied().unwrap_or(log.start));
        (partition, each.min().unwrap_or(log.start).clamp(log.start, log.end))
    };
    bounds.iter().map(of).collect()
}

enum Found {
    Object(Box<Metadata>),
    /// Of a newer version, of another system, or damaged.
    Unreadable,
    /// One part of several.
    Part,
}

/// Reads the metadata of these ranges; each object once, with the record that commits it.
fn scan(
    view: &TopicView,
    ranges: &BTreeMap<i32, Bounds>,
    mut take: impl FnMut(&RecordView<'_>, Found),
) -> Result<(), TransportError> {
    let mut parts = PartCollector::new();
    view.read(ranges, PATIENCE, |record| {
        take(record, found(&mut parts, record));
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// The objects of these ranges, as far as they can be read.
pub(super) fn objects(
    view: &TopicView,
    ranges: &BTreeMap<i32, Bounds>,
    mut take: impl FnMut(&Metadata),
) -> Result<(), TransportError> {
    scan(view, ranges, |_, found| {
        if let Found::Object(metadata) = found {
            take(&metadata);
        }
    })
}

fn found(parts: &mut PartCollector, record: &RecordView<'_>) -> Found {
    let Some(Ok(RecordHeader::Part(header))) = record.header(HEADER).map(RecordHeader::decode) else {
        return Found::Unreadable;
    };
    let value = Bytes::copy_from_slice(record.value().unwrap_or_default());
    let whole: Result<_, DicomError> =
        parts.push(&header, &value).and_then(|whole| whole.as_ref().map(Metadata::decode).transpose());
    match whole {
        Ok(Some(metadata)) => Found::Object(Box::new(metadata)),
        Ok(None) => Found::Part,
        Err(_) => Found::Unreadable,
    }
}

/// Why nothing may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nobody is registered: everybody may still come.
    NoDestination,
}

/// What may be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trim {
    /// Per partition of the metadata, below which offset.
    pub metadata: BTreeMap<i32, i64>,
    /// Per partition of the chunks.
    pub pixels: BTreeMap<i32, i64>,
    /// Records of metadata that are below.
    pub metadata_records: u64,
    /// Records of chunks that are below.
    pub pixel_records: u64,
    /// Why it is nothing.
    pub kept: Option<Kept>,
}

/// Works out what no destination of the family needs, and deletes it unless `is_dry`.
///
/// # Errors
/// What is wrong with the brokers; nothing is deleted when any destination cannot be read.
pub fn trim(bus: &BusConfig, family: Family, grace: Duration, is_dry: bool) -> Result<Trim, TransportError> {
    let of_family = |(name, destination): (String, Destination)| (destination.family == family).then_some(name);
    let registered: BTreeSet<String> = destinations(bus)?.into_iter().filter_map(of_family).collect();
    if registered.is_empty() {
        return Ok(Trim { kept: Some(Kept::NoDestination), ..Trim::default() });
    }
    let [metadata, pixels] = family.topics();
    let metadata = TopicView::open(bus, bus.topic_prefix.topic(metadata))?;
    let pixels = TopicView::open(bus, bus.topic_prefix.topic(pixels))?;
    // Before the metadata is read: a chunk behind these may belong to an object that is committed meanwhile.
    let grace_millis = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    let old = pixels.offsets_at(now_unix_millis().saturating_sub(grace_millis).max(0))?;
    let pixel_bounds = pixels.bounds()?;
    let bounds = metadata.bounds()?;
    let committed = registered.iter().map(|name| committed_offsets(bus, name, &metadata));
    let committed = committed.collect::<Result<Vec<_>, _>>()?;
    let mut keep = lowest(&committed.iter(), &bounds);
    hold_for_retries(&mut keep, &open_failures(bus)?, &registered);
    let needed = needed_chunks(&metadata, &keep, &bounds)?;
    let pixel_limit = |(&partition, log): (&i32, &Bounds)| {
        let young = old.get(&partition).copied().unwrap_or(log.start);
        let needed = needed.get(&partition).copied().unwrap_or(i64::MAX);
        (partition, young.min(needed).clamp(log.start, log.end))
    };
    let mut trim = Trim { metadata: keep, pixels: pixel_bounds.iter().map(pixel_limit).collect(), ..Trim::default() };
    trim.metadata_records = shorten(&mut trim.metadata, &bounds);
    trim.pixel_records = shorten(&mut trim.pixels, &pixel_bounds);
    if !is_dry {
        // Metadata first: what is interrupted leaves chunks that the next trim takes, and no metadata without chunks.
        metadata.delete_below(&trim.metadata)?;
        pixels.delete_below(&trim.pixels)?;
    }
    Ok(trim)
}

/// Leaves those partitions out in which nothing would go; how many records go.
fn shorten(limits: &mut BTreeMap<i32, i64>, bounds: &BTreeMap<i32, Bounds>) -> u64 {
    let start = |partition: &i32| bounds.get(partition).map_or(i64::MAX, |log| log.start);
    limits.retain(|partition, limit| *limit > start(partition));
    limits.iter().map(|(partition, limit)| limit.abs_diff(start(partition))).sum()
}

/// What can be retried has to be there.
fn hold_for_retries(
    keep: &mut BTreeMap<i32, i64>,
    failures: &BTreeMap<(String, i32, i64), FailedRecord>,
    registered: &BTreeSet<String>,
) {
    for ((destination, partition, _), failure) in failures {
        if let Some(limit) = keep.get_mut(partition).filter(|_| registered.contains(destination)) {
            *limit = (*limit).min(failure.first_offset);
        }
    }
}

/// Per partition, the lowest chunk that kept metadata refers to; everything where that cannot be read.
fn needed_chunks(
    metadata: &TopicView,
    keep: &BTreeMap<i32, i64>,
    bounds: &BTreeMap<i32, Bounds>,
) -> Result<BTreeMap<i32, i64>, TransportError> {
    let start = |partition: &i32, log: &Bounds| keep.get(partition).copied().unwrap_or(log.start);
    let ranges =
        bounds.iter().map(|(partition, log)| (*partition, Bounds { start: start(partition, log), end: log.end }));
    let mut needed = BTreeMap::new();
    scan(metadata, &ranges.collect(), |record, found| {
        let lowest = match found {
            Found::Object(metadata) => metadata.chunks.first().map_or(i64::MAX, |chunk| chunk.kafka_offset),
            Found::Unreadable => 0,
            Found::Part => return,
        };
        let needed = needed.entry(record.partition()).or_insert(lowest);
        *needed = lowest.min(*needed);
    })?;
    Ok(needed)
}

/// Takes back everything of a destination that could not be delivered; how many objects that were.
///
/// # Errors
/// What is wrong with the brokers.
pub fn forget_failures(bus: &BusConfig, destination: &str) -> Result<u64, TransportError> {
    let writer = failed::FailedWriter::open(bus)?;
    let mut forgotten = 0;
    for ((of, ..), failure) in open_failures(bus)? {
        if of == destination {
            writer.write(&failure.resolved())?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Bounds = Bounds { start: 10, end: 100 };

    #[test]
    fn the_slowest_destination_counts_and_an_unknown_one_keeps_everything() {
        let bounds = BTreeMap::from([(0, LOG), (1, LOG)]);
        let fast = BTreeMap::from([(0, 90), (1, 80)]);
        let slow = BTreeMap::from([(0, 40)]);
        assert_eq!(lowest(&[&fast, &slow].into_iter(), &bounds), BTreeMap::from([(0, 40), (1, 10)]));
        assert_eq!(lowest(&[&fast].into_iter(), &bounds), BTreeMap::from([(0, 90), (1, 80)]));
        let beyond = BTreeMap::from([(0, 500), (1, 5)]);
        assert_eq!(lowest(&[&beyond].into_iter(), &bounds), BTreeMap::from([(0, 100), (1, 10)]));
    }

    #[test]
    fn what_can_be_retried_stays() {
        let mut keep = BTreeMap::from([(0, 90)]);
        let failures = ["here", "gone"].map(|name| {
            let first = if name == "here" { 50 } else { 20 };
            ((name.to_owned(), 0, first), FailedRecord::new(name, (0, first, first), "missing-chunk"))
        });
        hold_for_retries(&mut keep, &BTreeMap::from(failures), &BTreeSet::from(["here".to_owned()]));
        assert_eq!(keep, BTreeMap::from([(0, 50)]));
    }
}
