//! Objects from Kafka into a folder, each once, whole or not at all.

pub(crate) mod failure;
mod keeper;
pub(crate) mod partitions;
mod retry;
mod store;

pub use failure::Failure;

use super::failed::{FailedRecord, FailedWriter};
use super::{Family, OutFolder, TransportError, destinations};
use crate::attributes::Identity;
use crate::layout::Layout;
use crate::record::{HEADER, Metadata, ObjectId, PartCollector, PartHeader, RecordHeader};
use bytes::Bytes;
use failure::{Trouble, is_passing};
use lumenbus_bus::objects::{
    Bounds, GroupEvent, GroupReader, GroupRecord, RecordFetcher, TopicView, committed_offsets, set_committed_offsets,
};
use lumenbus_bus::topics::ensure_topics;
use lumenbus_bus::{BusConfig, BusError};
use partitions::Partitions;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use store::LONG_REST;

/// How long one look for records takes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a chunk may take before its brokers are called silent.
const CHUNK_PATIENCE: Duration = Duration::from_secs(10);
/// How often safe offsets are committed while objects come.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// What a receiver is told.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Consumer group, which is the destination's name.
    pub group: String,
    /// Which objects.
    pub family: Family,
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
    /// What it is.
    pub identity: Identity,
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
    /// An object is under way: so many of its bytes.
    Writing {
        /// Of the transmission.
        object: ObjectId,
        /// Written so far.
        bytes: u64,
        /// All of them.
        of: u64,
    },
    /// An object is in its place.
    Stored(&'a Stored),
    /// An object could not be delivered; it is in `dicom_failed`.
    Failed(&'a FailedRecord, &'a Failure),
    /// Nothing goes on until somebody makes room.
    DiskFull(&'a TransportError),
    /// Nothing goes on until the brokers answer.
    BrokersAway(&'a BusError),
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
    put_on_record: &'a mut dyn FnMut() -> Result<(), String>,
}

impl Receiver {
    /// Takes the folder, registers the destination, and joins the group.
    ///
    /// # Errors
    /// [`TransportError::FolderInUse`], and what is wrong with folder or brokers.
    pub fn open(config: ReceiverConfig) -> Result<Self, TransportError> {
        let bus = &config.bus;
        ensure_topics(bus, &config.family.all_topics())?;
        let out = OutFolder::open(&config.out)?;
        destinations::register(bus, &config.group, config.family)?;
        let [metadata, pixels] = config.family.topics();
        let topic = bus.topic_prefix.topic(metadata);
        let metadata = TopicView::open(bus, topic.clone())?;
        if config.from_start {
            let starts = metadata.bounds()?.into_iter().map(|(partition, bounds)| (partition, bounds.start));
            set_committed_offsets(bus, &config.group, &metadata, &starts.collect())?;
        }
        let fetcher = RecordFetcher::open(bus, bus.topic_prefix.topic(pixels))?;
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

    /// Receives until the end that is wanted or until it is stopped; what is in its place is committed then, after
    /// `put_on_record` has seen to it that what was told so far is where it has to be, such as in an audit trail.
    ///
    /// # Errors
    /// What neither the brokers' coming back nor room on the disk mends, and [`TransportError::NotOnRecord`]. Nothing is
    /// committed that is not in its place and on record.
    pub fn run(
        &mut self,
        is_stopped: &dyn Fn() -> bool,
        told: &mut dyn FnMut(Told<'_>),
        put_on_record: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<Ending, TransportError> {
        let mut run = Run { is_stopped, told, put_on_record };
        let ends = if self.config.until_end { Some(self.metadata.bounds()?) } else { None };
        let retried = if self.config.retry_failed { self.retry(&mut run) } else { Ok(()) };
        let result = retried.and_then(|()| self.work(ends.as_ref(), &mut run));
        let committed = self.commit(&mut run);
        result.and_then(|ending| committed.map(|()| ending))
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
            if is_idle {
                self.fetcher.rest()?;
            }
            if is_idle || committed.elapsed() >= COMMIT_INTERVAL {
                self.commit(run)?;
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
    fn commit(&mut self, run: &mut Run<'_>) -> Result<(), TransportError> {
        (run.put_on_record)().map_err(|why| TransportError::NotOnRecord { why })?;
        for (partition, offset) in self.partitions.safe() {
            self.group.set_safe(partition, offset);
        }
        if let Err(error) = self.group.commit() {
            tracing::debug!(%error, "committing");
            if is_passing(&error) {
                (run.told)(Told::BrokersAway(&error));
            }
        }
        Ok(())
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
}
