//! Objects from Kafka into a folder, each once, whole or not at all.

mod partitions;

use super::failed::{FailedRecord, FailedWriter, open_failures};
use super::folder::{Place, is_full, is_in_the_way};
use super::{OutFolder, TOPICS, TransportError, destinations};
use crate::DicomError;
use crate::assemble::Assembly;
use crate::layout::Layout;
use crate::record::{
    HEADER, METADATA_TOPIC, Metadata, ObjectId, PIXELS_TOPIC, PartCollector, PartHeader, RecordHeader,
};
use bytes::Bytes;
use lumenbus_bus::objects::{
    Bounds, GroupEvent, GroupReader, GroupRecord, RecordFetcher, TopicView, committed_offsets, set_committed_offsets,
};
use lumenbus_bus::topics::ensure_topics;
use lumenbus_bus::{BusConfig, BusError};
use partitions::Partitions;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one look for records takes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a chunk may take before its brokers are called silent.
const CHUNK_PATIENCE: Duration = Duration::from_secs(10);
/// How often an object is tried that lacks something, and the rest in between.
const ATTEMPTS: u32 = 3;
const REST: Duration = Duration::from_millis(500);
/// The rest while the disk is full or the brokers are away.
const LONG_REST: Duration = Duration::from_secs(5);
/// How often safe offsets are committed while objects come.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// The group takes a member for dead that does not look for records for minutes.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What a receiver is told.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Consumer group, which is the destination's name.
    pub group: String,
    /// Folder of all objects.
    pub out: PathBuf,
    /// Names of files in it.
    pub layout: Layout,
    /// Begin at the log's beginning whatever the group has committed; the group must have no other member.
    pub from_start: bool,
    /// Stop at what is there now.
    pub until_end: bool,
    /// First try again what could not be delivered.
    pub retry_failed: bool,
}

/// An object in its place.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Of the transmission.
    pub object_id: ObjectId,
    /// Relative to the folder. It may tell of a patient.
    pub path: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Whether it was there already.
    pub was_there: bool,
    /// Code of the reason for which it was not cut.
    pub opaque: Option<String>,
}

/// What the caller hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told<'a> {
    /// The group takes this receiver: these partitions are its own.
    Joined(usize),
    /// An object is in its place.
    Stored(&'a Stored),
    /// An object could not be delivered; it is in `dicom_failed`.
    Failed(&'a FailedRecord, &'a Failure),
    /// Nothing goes on until somebody makes room.
    DiskFull(&'a TransportError),
    /// Nothing goes on until the brokers answer.
    BrokersAway(&'a BusError),
}

/// Why an object could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A record without the header `lbd`.
    #[error("the record has no `lbd` header: it was not written by lumenbus")]
    Foreign,
    /// A chunk that Kafka does not have.
    #[error(
        "chunk {index} of object {object} is not at offset {offset} of {PIXELS_TOPIC}: it was deleted, or never written"
    )]
    MissingChunk {
        /// Whose.
        object: ObjectId,
        /// Which.
        index: u32,
        /// Where it should be.
        offset: i64,
    },
    /// What is wrong with the records.
    #[error(transparent)]
    Record(#[from] DicomError),
    /// Its path, also the distinct one, belongs to something else.
    #[error("the place of object {object} in the folder is taken by something else")]
    PlaceTaken {
        /// Whose place.
        object: ObjectId,
    },
    /// The metadata is not there any more.
    #[error("the metadata of the object is not in {METADATA_TOPIC} any more")]
    MissingMetadata,
}

impl Failure {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Foreign => "foreign-record",
            Self::MissingChunk { .. } => "missing-chunk",
            Self::PlaceTaken { .. } => "place-taken",
            Self::MissingMetadata => "missing-metadata",
            Self::Record(error) => match error {
                DicomError::HeaderVersion { .. } | DicomError::Schema { .. } => "newer-version",
                DicomError::Chunk { .. } | DicomError::WrongChunk { .. } => "damaged-chunk",
                DicomError::Checksum { .. } => "checksum",
                DicomError::Part { .. } => "incomplete-metadata",
                DicomError::TooLarge { .. } => "too-large",
                _ => "damaged-metadata",
            },
        }
    }

    fn chunk(&self) -> Option<u32> {
        match self {
            Self::MissingChunk { index, .. } | Self::Record(DicomError::Chunk { index, .. }) => Some(*index),
            Self::Record(DicomError::WrongChunk { expected, .. }) => Some(*expected),
            _ => None,
        }
    }

    /// Whether a second look may see something else.
    fn is_worth_another_look(&self) -> bool {
        matches!(
            self,
            Self::MissingChunk { .. }
                | Self::Record(DicomError::Chunk { .. } | DicomError::WrongChunk { .. } | DicomError::Checksum { .. })
        )
    }
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// Objects that got their place.
    pub stored: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Objects that were in their place already.
    pub were_there: u64,
    /// Objects that could not be delivered.
    pub failed: u64,
    /// Objects that could not be delivered before and were now; they are among the others.
    pub retried: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything that was there when it began is delivered.
    AtEnd,
    /// It was asked to stop.
    Stopped,
}

/// Why an object is not in its place.
enum Trouble {
    Object(Failure),
    Away(BusError),
    Full(TransportError),
    Fatal(TransportError),
    /// The partition went to another member.
    Lost,
    Stopped,
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        match error {
            error if is_full(&error) => Self::Full(error),
            TransportError::Bus(error) if is_passing(&error) => Self::Away(error),
            TransportError::Write { object, source, .. } if is_in_the_way(&source) => {
                Self::Object(Failure::PlaceTaken { object })
            }
            TransportError::Dicom(error) if !matches!(error, DicomError::Write { .. }) => {
                Self::Object(Failure::Record(error))
            }
            error => Self::Fatal(error),
        }
    }
}

fn is_passing(error: &BusError) -> bool {
    error.is_broker_trouble() && !matches!(error, BusError::NotAuthorised { .. })
}

/// A member of the destination's group.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    group: GroupReader,
    metadata: TopicView,
    fetcher: RecordFetcher,
    failed: FailedWriter,
    out: OutFolder,
    parts: PartCollector,
    partitions: Partitions,
    /// What came while an object was under way.
    waiting: VecDeque<GroupEvent>,
    is_paused: bool,
    looked: Instant,
    stats: ReceiverStats,
}

/// What a run is told from outside.
struct Run<'a> {
    is_stopped: &'a dyn Fn() -> bool,
    told: &'a mut dyn FnMut(Told<'_>),
}

impl Receiver {
    /// Takes the folder, registers the destination, and joins the group.
    ///
    /// # Errors
    /// [`TransportError::FolderInUse`], and what is wrong with folder or brokers.
    pub fn open(config: ReceiverConfig) -> Result<Self, TransportError> {
        let bus = &config.bus;
        ensure_topics(bus, &TOPICS)?;
        let out = OutFolder::open(&config.out)?;
        destinations::register(bus, &config.group)?;
        let topic = bus.topic_prefix.topic(METADATA_TOPIC);
        let metadata = TopicView::open(bus, topic.clone())?;
        if config.from_start {
            let starts = metadata.bounds()?.into_iter().map(|(partition, bounds)| (partition, bounds.start));
            set_committed_offsets(bus, &config.group, &metadata, &starts.collect())?;
        }
        let fetcher = RecordFetcher::open(bus, bus.topic_prefix.topic(PIXELS_TOPIC))?;
        let failed = FailedWriter::open(bus)?;
        let group = GroupReader::join(bus, topic, &config.group, HEADER)?;
        Ok(Self {
            group,
            metadata,
            fetcher,
            failed,
            out,
            parts: PartCollector::new(),
            partitions: Partitions::default(),
            waiting: VecDeque::new(),
            is_paused: false,
            looked: Instant::now(),
            stats: ReceiverStats::default(),
            config,
        })
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ReceiverStats {
        self.stats
    }

    /// Receives until the end that is wanted or until it is stopped; what is in its place is committed then.
    ///
    /// # Errors
    /// What neither the brokers' coming back nor room on the disk mends. Nothing is committed that is not in its place.
    pub fn run(
        &mut self,
        is_stopped: &dyn Fn() -> bool,
        told: &mut dyn FnMut(Told<'_>),
    ) -> Result<Ending, TransportError> {
        let mut run = Run { is_stopped, told };
        let ends = if self.config.until_end { Some(self.metadata.bounds()?) } else { None };
        let retried = if self.config.retry_failed { self.retry(&mut run) } else { Ok(()) };
        let result = retried.and_then(|()| self.work(ends.as_ref(), &mut run));
        self.commit(&mut run);
        result
    }

    fn work(&mut self, ends: Option<&BTreeMap<i32, Bounds>>, run: &mut Run<'_>) -> Result<Ending, TransportError> {
        let mut committed = Instant::now();
        loop {
            if (run.is_stopped)() {
                return Ok(Ending::Stopped);
            }
            let event = self.next_event(run)?;
            let is_idle = event.is_none();
            let is_taken = match event {
                Some(GroupEvent::Record(record)) => self.take(&record, run)?,
                Some(GroupEvent::Assigned(own)) => {
                    self.assign(&own, run)?;
                    true
                }
                Some(GroupEvent::Revoked(gone)) => {
                    self.partitions.revoke(&gone);
                    true
                }
                None => true,
            };
            if !is_taken {
                continue;
            }
            if is_idle || committed.elapsed() >= COMMIT_INTERVAL {
                self.commit(run);
                committed = Instant::now();
            }
            if is_idle && ends.is_some_and(|ends| self.partitions.are_at(ends)) {
                return Ok(Ending::AtEnd);
            }
        }
    }

    fn next_event(&mut self, run: &mut Run<'_>) -> Result<Option<GroupEvent>, TransportError> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(Some(event));
        }
        if std::mem::take(&mut self.is_paused) {
            self.group.set_paused(false)?;
        }
        self.looked = Instant::now();
        match self.group.turn(LOOK) {
            Ok(event) => Ok(event),
            Err(error) if is_passing(&error) => {
                (run.told)(Told::BrokersAway(&error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where each partition begins: where the group has committed, else at the log's beginning.
    fn assign(&mut self, own: &[i32], run: &mut Run<'_>) -> Result<(), TransportError> {
        let places = loop {
            let committed = committed_offsets(&self.config.bus, &self.config.group, &self.metadata);
            match committed.and_then(|committed| Ok((committed, self.metadata.bounds()?))) {
                Ok(places) => break places,
                Err(error) if is_passing(&error) && !(run.is_stopped)() => (run.told)(Told::BrokersAway(&error)),
                Err(error) => return Err(error.into()),
            }
        };
        let (committed, bounds) = places;
        for &partition in own {
            let start = bounds.get(&partition).map_or(0, |bounds| bounds.start);
            let begins = committed.get(&partition).copied().unwrap_or(start).max(start);
            self.partitions.assign(partition, begins);
        }
        (run.told)(Told::Joined(self.partitions.len()));
        Ok(())
    }

    /// Whatever fails is tried again with the next commit; who reads it again until then finds it done.
    fn commit(&mut self, run: &mut Run<'_>) {
        for (partition, offset) in self.partitions.safe() {
            self.group.set_safe(partition, offset);
        }
        if let Err(error) = self.group.commit() {
            tracing::debug!(%error, "committing");
            if !is_passing(&error) {
                return;
            }
            (run.told)(Told::BrokersAway(&error));
        }
    }

    /// Takes a record; false when it could not be dealt with because the run was stopped or the partition went.
    fn take(&mut self, record: &GroupRecord, run: &mut Run<'_>) -> Result<bool, TransportError> {
        let place = (record.partition, record.offset, record.offset);
        if !self.partitions.expects(record.partition, record.offset) {
            return Ok(true);
        }
        let header = match record.header.as_deref().map(RecordHeader::decode) {
            None => return self.fail(place, None, &Failure::Foreign, run),
            Some(Err(error)) => return self.fail(place, None, &error.into(), run),
            Some(Ok(RecordHeader::Chunk(chunk))) => {
                return self.fail(place, Some(chunk.object_id), &Failure::Foreign, run);
            }
            Some(Ok(RecordHeader::Part(header))) => header,
        };
        self.take_part(&header, record, run)
    }

    fn take_part(
        &mut self,
        header: &PartHeader,
        record: &GroupRecord,
        run: &mut Run<'_>,
    ) -> Result<bool, TransportError> {
        let object = header.object_id;
        let (partition, offset) = (record.partition, record.offset);
        let first = self.partitions.begin_part(partition, offset, header.index, object);
        let is_last = header.index.checked_add(1).is_none_or(|next| next >= header.count);
        let done = match self.parts.push(header, &record.value) {
            Ok(None) => true,
            Ok(Some(whole)) => self.deliver((partition, first, offset), object, &whole, run)?,
            // Of a repeat of what is complete, the first part is not there: nothing is missing.
            Err(_) if self.partitions.is_known(object) => true,
            Err(error) => {
                let error = self.partitions.reason(object, error, is_last);
                match error {
                    Some(error) => self.fail((partition, first, offset), Some(object), &error.into(), run)?,
                    None => true,
                }
            }
        };
        if done {
            self.partitions.done(partition, offset, (is_last).then_some(object));
        }
        Ok(done)
    }

    fn fail(
        &mut self,
        place: (i32, i64, i64),
        object: Option<ObjectId>,
        failure: &Failure,
        run: &mut Run<'_>,
    ) -> Result<bool, TransportError> {
        let mut record = FailedRecord::new(&self.config.group, place, failure.code());
        record.object_id = object.map(|object| object.to_string());
        record.chunk = failure.chunk();
        loop {
            match self.failed.write(&record) {
                Ok(()) => break,
                Err(TransportError::Bus(error)) if is_passing(&error) => {
                    (run.told)(Told::BrokersAway(&error));
                    if !self.rest(LONG_REST, run)? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.stats.failed += 1;
        (run.told)(Told::Failed(&record, failure));
        self.partitions.done(place.0, place.2, object);
        Ok(true)
    }

    /// Tries again what could not be delivered to this destination.
    fn retry(&mut self, run: &mut Run<'_>) -> Result<(), TransportError> {
        for ((destination, ..), record) in open_failures(&self.config.bus)? {
            if destination != self.config.group {
                continue;
            }
            let result = match self.metadata_of(&record)? {
                Some(metadata) => self.store_patiently(None, record.partition, &metadata, run),
                None => Err(Trouble::Object(Failure::MissingMetadata)),
            };
            match result {
                Ok(stored) => {
                    self.failed.write(&record.resolved())?;
                    self.count(&stored);
                    self.stats.retried += 1;
                    (run.told)(Told::Stored(&stored));
                }
                Err(Trouble::Object(failure)) => {
                    self.stats.failed += 1;
                    (run.told)(Told::Failed(&record, &failure));
                }
                Err(Trouble::Lost | Trouble::Stopped) => return Ok(()),
                Err(Trouble::Away(error)) => return Err(error.into()),
                Err(Trouble::Fatal(error) | Trouble::Full(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The object that a failure refers to.
    fn metadata_of(&self, record: &FailedRecord) -> Result<Option<Metadata>, TransportError> {
        let mut parts = PartCollector::new();
        let mut found = None;
        let range = Bounds { start: record.first_offset, end: record.offset.saturating_add(1) };
        self.metadata.read(&BTreeMap::from([(record.partition, range)]), CHUNK_PATIENCE, |part| {
            if let Some(Ok(RecordHeader::Part(header))) = part.header(HEADER).map(RecordHeader::decode)
                && record.object_id.as_deref() == Some(header.object_id.to_string().as_str())
            {
                let whole = parts.push(&header, &Bytes::copy_from_slice(part.value().unwrap_or_default()));
                found = whole.ok().flatten().and_then(|whole| Metadata::decode(&whole).ok());
            }
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// Puts an object into its place, or what is wrong with it into `dicom_failed`.
    fn deliver(
        &mut self,
        place: (i32, i64, i64),
        object: ObjectId,
        whole: &Bytes,
        run: &mut Run<'_>,
    ) -> Result<bool, TransportError> {
        let metadata = match Metadata::decode(whole) {
            Ok(metadata) => metadata,
            Err(error) => return self.fail(place, Some(object), &error.into(), run),
        };
        match self.store_patiently(Some(place.0), place.0, &metadata, run) {
            Ok(stored) => {
                self.count(&stored);
                (run.told)(Told::Stored(&stored));
                Ok(true)
            }
            Err(Trouble::Object(failure)) => self.fail(place, Some(object), &failure, run),
            Err(Trouble::Lost | Trouble::Stopped) => Ok(false),
            Err(Trouble::Away(error)) => Err(error.into()),
            Err(Trouble::Fatal(error) | Trouble::Full(error)) => Err(error),
        }
    }

    fn count(&mut self, stored: &Stored) {
        if stored.was_there {
            self.stats.were_there += 1;
        } else {
            self.stats.stored += 1;
            self.stats.stored_bytes += stored.bytes;
        }
    }

    /// Tries until the object is in its place, is given up, or the run is stopped; also until its partition, where one
    /// has to be this member's, is not any more.
    fn store_patiently(
        &mut self,
        own: Option<i32>,
        partition: i32,
        metadata: &Metadata,
        run: &mut Run<'_>,
    ) -> Result<Stored, Trouble> {
        let mut attempt = 1;
        loop {
            let trouble = match self.store(partition, metadata) {
                Ok(stored) => return Ok(stored),
                Err(trouble) => trouble,
            };
            let rest = match &trouble {
                Trouble::Object(failure) if failure.is_worth_another_look() && attempt < ATTEMPTS => REST * attempt,
                Trouble::Away(error) => {
                    (run.told)(Told::BrokersAway(error));
                    LONG_REST
                }
                Trouble::Full(error) => {
                    (run.told)(Told::DiskFull(error));
                    LONG_REST
                }
                _ => return Err(trouble),
            };
            attempt += u32::from(matches!(trouble, Trouble::Object(_)));
            if !self.rest(rest, run)? {
                return Err(Trouble::Stopped);
            }
            if own.is_some_and(|own| !self.partitions.has(own)) {
                return Err(Trouble::Lost);
            }
        }
    }

    fn store(&mut self, partition: i32, metadata: &Metadata) -> Result<Stored, Trouble> {
        let object = metadata.object_id;
        let stored = |path: PathBuf, was_there| Stored {
            object_id: object,
            path,
            bytes: metadata.file_length,
            sha256: metadata.file_sha256,
            was_there,
            opaque: metadata.opaque.as_ref().map(|opaque| opaque.code.clone()),
        };
        let path = self.config.layout.path(metadata);
        let distinct = self.config.layout.path_distinct(metadata);
        let known = (metadata.file_length, &metadata.file_sha256);
        for path in [path, distinct] {
            match self.out.look(&path, object, known)? {
                Place::Same => return Ok(stored(path, true)),
                Place::Free => {
                    self.write(partition, metadata, &path)?;
                    return Ok(stored(path, false));
                }
                Place::Taken => {}
            }
        }
        Err(Trouble::Object(Failure::PlaceTaken { object }))
    }

    fn write(&mut self, partition: i32, metadata: &Metadata, path: &Path) -> Result<(), Trouble> {
        let keeper = Keeper { group: &self.group, partition };
        let mut keeping =
            Keeping { waiting: &mut self.waiting, is_paused: &mut self.is_paused, looked: &mut self.looked };
        let file = self.out.begin(metadata.object_id)?;
        let mut assembly = Assembly::begin(metadata, file).map_err(TransportError::from)?;
        for (index, chunk) in metadata.chunks.iter().enumerate() {
            let at = (partition, chunk.kafka_offset);
            let pushed = self.fetcher.fetch(at, CHUNK_PATIENCE, |record| {
                match record.header(HEADER).map(RecordHeader::decode) {
                    Some(Ok(RecordHeader::Chunk(header))) => {
                        Some(assembly.push(&header, record.value().unwrap_or_default()))
                    }
                    _ => None,
                }
            });
            match pushed.map_err(TransportError::from)? {
                Some(Some(pushed)) => drop(pushed.map_err(TransportError::from)?),
                Some(None) | None => {
                    let (object, offset) = (metadata.object_id, chunk.kafka_offset);
                    let index = u32::try_from(index).unwrap_or(u32::MAX);
                    return Err(Trouble::Object(Failure::MissingChunk { object, index, offset }));
                }
            }
            if keeping.is_due() && keeper.look(&mut keeping)?.is_break() {
                drop(assembly);
                self.drop_revoked();
                return Err(Trouble::Lost);
            }
        }
        assembly.finish().map_err(TransportError::from)?.name(path)?;
        Ok(())
    }

    /// Rests and looks for records all the while; false when the run is to stop.
    fn rest(&mut self, time: Duration, run: &mut Run<'_>) -> Result<bool, TransportError> {
        let began = Instant::now();
        while began.elapsed() < time {
            if (run.is_stopped)() {
                return Ok(false);
            }
            let keeper = Keeper { group: &self.group, partition: -1 };
            let mut keeping =
                Keeping { waiting: &mut self.waiting, is_paused: &mut self.is_paused, looked: &mut self.looked };
            // With nothing to read this is the rest itself.
            let _ = keeper.look(&mut keeping)?;
            self.drop_revoked();
        }
        Ok(true)
    }

    /// What went away while an object was under way, and the records of it that came before.
    fn drop_revoked(&mut self) {
        let events = std::mem::take(&mut self.waiting);
        for event in events {
            if let GroupEvent::Revoked(gone) = &event {
                self.partitions.revoke(gone);
                self.waiting
                    .retain(|event| !matches!(event, GroupEvent::Record(record) if gone.contains(&record.partition)));
            } else {
                self.waiting.push_back(event);
            }
        }
    }
}

/// Keeps the membership of a group while something else is done.
struct Keeper<'a> {
    group: &'a GroupReader,
    partition: i32,
}

struct Keeping<'a> {
    waiting: &'a mut VecDeque<GroupEvent>,
    is_paused: &'a mut bool,
    looked: &'a mut Instant,
}

impl Keeping<'_> {
    fn is_due(&self) -> bool {
        self.looked.elapsed() >= LOOK_INTERVAL
    }
}

impl Keeper<'_> {
    /// Looks for what the group says, not for records; breaks when the partition is gone.
    fn look(&self, keeping: &mut Keeping<'_>) -> Result<ControlFlow<()>, TransportError> {
        if !std::mem::replace(keeping.is_paused, true) {
            self.group.set_paused(true)?;
        }
        *keeping.looked = Instant::now();
        let mut flow = ControlFlow::Continue(());
        loop {
            match self.group.turn(LOOK) {
                Ok(Some(event)) => {
                    match &event {
                        GroupEvent::Assigned(_) => self.group.set_paused(true)?,
                        GroupEvent::Revoked(gone) if gone.contains(&self.partition) => flow = ControlFlow::Break(()),
                        _ => {}
                    }
                    keeping.waiting.push_back(event);
                }
                Ok(None) => return Ok(flow),
                Err(error) if is_passing(&error) => return Ok(flow),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
