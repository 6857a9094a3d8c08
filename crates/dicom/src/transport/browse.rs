//! Looking at what the topics hold, without a group and without files: the catalogue followed, single objects and frames read.

use super::{Family, TransportError};
use crate::catalogue::{Catalogue, Place};
use crate::picture::{FramePlace, Image, NoPicture};
use crate::record::{HEADER, Metadata, ObjectId, PartCollector, RecordHeader};
use bytes::Bytes;
use lumenbus_bus::BusConfig;
use lumenbus_bus::objects::{Bounds, RecordFetcher, RecordView, TopicView};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// Most records between the parts of one object's metadata.
const MAX_BETWEEN: i64 = 100_000;

/// Reads `dicom_metadata` from its beginning and follows it; reads no pixels.
#[derive(Debug)]
pub struct Follower {
    view: TopicView,
    next: BTreeMap<i32, i64>,
    starts: BTreeMap<i32, i64>,
    parts: PartCollector,
    /// Where objects began whose metadata has not ended.
    firsts: HashMap<ObjectId, i64>,
    unreadable: u64,
}

impl Follower {
    /// For the original objects of this bus.
    ///
    /// # Errors
    /// [`lumenbus_bus::BusError::UnknownTopic`] while there is no such topic, and what else is wrong with the brokers.
    pub fn open(bus: &BusConfig) -> Result<Self, TransportError> {
        let view = TopicView::open(bus, bus.topic_prefix.topic(Family::Original.topics()[0]))?;
        Ok(Self {
            view,
            next: BTreeMap::new(),
            starts: BTreeMap::new(),
            parts: PartCollector::new(),
            firsts: HashMap::new(),
            unreadable: 0,
        })
    }

    /// Objects whose metadata could not be read.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Reads what has come up to now, or until told to stop. `with` is called with a function for each object, so that a
    /// lock is held for one of them at a time. True when everything was read.
    ///
    /// # Errors
    /// What is wrong with the brokers; what was read before is in the catalogue, and the next turn goes on behind it.
    pub fn turn(
        &mut self,
        mut with: impl FnMut(&mut dyn FnMut(&mut Catalogue)),
        mut is_stopped: impl FnMut() -> bool,
    ) -> Result<bool, TransportError> {
        let bounds = self.view.bounds()?;
        let starts: BTreeMap<_, _> = bounds.iter().map(|(&partition, log)| (partition, log.start)).collect();
        if starts != self.starts {
            with(&mut |catalogue| catalogue.forget_below(&starts));
            self.starts = starts;
        }
        let range = |(&partition, log): (&i32, &Bounds)| {
            let next = self.next.get(&partition).copied().unwrap_or(log.start);
            // A topic that was made anew begins again.
            let start = if next > log.end { log.start } else { next };
            (partition, Bounds { start, end: log.end })
        };
        let ranges: BTreeMap<_, _> = bounds.iter().map(range).collect();
        let Self { view, next, parts, firsts, unreadable, .. } = self;
        let mut is_complete = true;
        view.read(&ranges, PATIENCE, |record| {
            next.insert(record.partition(), record.offset() + 1);
            match whole(parts, firsts, record) {
                Ok(Some((place, metadata))) => {
                    with(&mut |catalogue| catalogue.take(place, record.unix_millis(), &metadata));
                }
                Ok(None) => {}
                Err(_) => *unreadable += 1,
            }
            if is_stopped() {
                is_complete = false;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if is_complete {
            self.next.extend(ranges.iter().map(|(&partition, range)| (partition, range.end)));
        }
        Ok(is_complete)
    }
}

/// The object that a record completes.
fn whole(
    parts: &mut PartCollector,
    firsts: &mut HashMap<ObjectId, i64>,
    record: &RecordView<'_>,
) -> Result<Option<(Place, Metadata)>, TransportError> {
    let Some(Ok(RecordHeader::Part(header))) = record.header(HEADER).map(RecordHeader::decode) else {
        return Err(crate::DicomError::Framing.into());
    };
    if header.index == 0 {
        firsts.insert(header.object_id, record.offset());
    }
    let value = Bytes::copy_from_slice(record.value().unwrap_or_default());
    let pushed = parts.push(&header, &value);
    if firsts.len() > crate::record::MAX_OPEN_OBJECTS {
        let open: Vec<_> = parts.open_objects().collect();
        firsts.retain(|id, _| open.contains(id) || *id == header.object_id);
    }
    let Some(encoded) = pushed? else { return Ok(None) };
    let first = firsts.remove(&header.object_id).unwrap_or(record.offset());
    let place = Place { partition: record.partition(), first, last: record.offset() };
    Ok(Some((place, Metadata::decode(&encoded)?)))
}

/// Why a frame cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowseError {
    /// Kafka, or what a record holds.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// There is no picture in it.
    #[error(transparent)]
    NoPicture(#[from] NoPicture),
    /// The object's records are no longer, or not yet, in the log.
    #[error("the object is not in the log any more")]
    Gone,
    /// A chunk is not what its metadata says.
    #[error("chunk {index} of the object is damaged: its checksum differs from the metadata's")]
    Damaged {
        /// Which, from 0.
        index: usize,
    },
}

/// Reads metadata of single objects, and frames by the chunks that they lie in.
#[derive(Debug)]
pub struct ObjectReader {
    metadata: RecordFetcher,
    pixels: RecordFetcher,
}

impl ObjectReader {
    /// For the original objects of this bus.
    ///
    /// # Errors
    /// A property that librdkafka does not take.
    pub fn open(bus: &BusConfig) -> Result<Self, TransportError> {
        let [metadata, pixels] = Family::Original.topics().map(|topic| bus.topic_prefix.topic(topic));
        Ok(Self { metadata: RecordFetcher::open(bus, metadata)?, pixels: RecordFetcher::open(bus, pixels)? })
    }

    /// The metadata at a place of the catalogue.
    ///
    /// # Errors
    /// [`BrowseError::Gone`] when it is not there any more; what is wrong with the brokers or the record.
    pub fn metadata(&mut self, place: Place) -> Result<Metadata, BrowseError> {
        let mut parts = PartCollector::new();
        let mut of = None;
        if place.last - place.first > MAX_BETWEEN {
            return Err(BrowseError::Gone);
        }
        for offset in place.first..=place.last {
            let part = self.metadata.fetch((place.partition, offset), PATIENCE, |record| {
                let header = record.header(HEADER).map(RecordHeader::decode);
                (header, Bytes::copy_from_slice(record.value().unwrap_or_default()))
            });
            // Others' parts lie between; a record that is not there cannot be one of ours but at both ends.
            let Some((Some(Ok(RecordHeader::Part(header))), value)) = part.map_err(TransportError::from)? else {
                continue;
            };
            if *of.get_or_insert(header.object_id) != header.object_id {
                continue;
            }
            let whole = parts.push(&header, &value).map_err(TransportError::from)?;
            if let Some(encoded) = whole {
                return Ok(Metadata::decode(&encoded).map_err(TransportError::from)?);
            }
        }
        Err(BrowseError::Gone)
    }

    /// The bytes of one frame, each chunk checked against the metadata; no other chunks are read.
    ///
    /// # Errors
    /// As the kinds of [`BrowseError`] say.
    pub fn frame(
        &mut self,
        partition: i32,
        metadata: &Metadata,
        image: &Image,
        frame: u64,
    ) -> Result<(FramePlace, Vec<u8>), BrowseError> {
        let place = image.place(metadata, frame)?;
        let mut bytes = Vec::with_capacity(usize::try_from(place.length()).unwrap_or(0));
        for (index, start) in place.chunks(metadata) {
            let chunk = metadata.chunks[index];
            let taken = self.pixels.fetch((partition, chunk.kafka_offset), PATIENCE, |record| {
                let Some(Ok(RecordHeader::Chunk(header))) = record.header(HEADER).map(RecordHeader::decode) else {
                    return false;
                };
                let value = record.value().unwrap_or_default();
                let is_right = header.object_id == metadata.object_id
                    && (header.index as usize, header.offset) == (index, start)
                    && value.len() == chunk.length as usize
                    && crc32c::crc32c(value) == chunk.crc32c;
                if is_right {
                    place.of_chunk(start, value).for_each(|piece| bytes.extend_from_slice(piece));
                }
                is_right
            });
            match taken.map_err(TransportError::from)? {
                Some(true) => {}
                Some(false) => return Err(BrowseError::Damaged { index }),
                None => return Err(BrowseError::Gone),
            }
        }
        Ok((place, bytes))
    }
}
