//! A destination of the topics that is a Store SCP of somebody else.

use super::dimse::status;
use super::file_meta::FileMeta;
use super::scu::{Calling, Client, Pair};
use super::{GatewayError, is_storage};
use crate::DicomError;
use crate::assemble::Assembly;
use crate::attributes::Identity;
use crate::record::{
    HEADER, METADATA_TOPIC, Metadata, ObjectId, PIXELS_TOPIC, PartCollector, PartHeader, RecordHeader,
};
use crate::transport::failed::{FailedRecord, FailedWriter, open_failures};
use crate::transport::receive::partitions::Partitions;
use crate::transport::{Family, TOPICS, TransportError, destinations};
use bytes::Bytes;
use lumenbus_bus::objects::{
    Bounds, GroupEvent, GroupReader, GroupRecord, RecordFetcher, TopicView, committed_offsets,
};
use lumenbus_bus::topics::ensure_topics;
use lumenbus_bus::{BusConfig, BusError};
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How long one look for records takes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a chunk may take before its brokers are called silent.
const CHUNK_PATIENCE: Duration = Duration::from_secs(10);
/// The group takes a member for dead that does not look for records for minutes.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// An association on which nothing is sent is released after this time.
const IDLE: Duration = Duration::from_secs(3);
/// The first rest after a failure, and the longest: each is twice the one before.
const SHORTEST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// An object at which the peer answers that it failed, or breaks the association, is given up after so many attempts.
const MAX_ATTEMPTS: u32 = 4;
/// A chunk that is missing or damaged is looked for so often.
const MAX_LOOKS: u32 = 3;
/// Kinds of objects that are proposed in one association: as many as there are ids.
const MAX_PAIRS: usize = 128;

/// What a forwarder is told.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Name of the destination, which is that of its consumer group.
    pub name: String,
    /// The peer.
    pub calling: Calling,
    /// First try again what could not be delivered.
    pub retry_failed: bool,
}

/// What the caller hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum Forwarded<'a> {
    /// The group takes this forwarder: these partitions are its own.
    Joined(usize),
    /// The peer has an object.
    Delivered {
        /// Which.
        object_id: ObjectId,
        /// What it is.
        identity: &'a Identity,
        /// SHA-256 of its file.
        sha256: &'a [u8; 32],
        /// Bytes of its file.
        bytes: u64,
        /// What the peer said: 0, or a warning.
        status: u16,
    },
    /// An object could not be delivered; it is in `dicom_failed`.
    Failed(&'a FailedRecord),
    /// The peer is not there, or wants nothing now; it is tried again after the time.
    PeerAway(&'a str, Duration),
    /// Nothing goes on until the brokers answer.
    BrokersAway(&'a BusError),
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// Objects that the peer has.
    pub delivered: u64,
    /// Bytes of their files.
    pub delivered_bytes: u64,
    /// Objects that could not be delivered.
    pub failed: u64,
}

/// Why the peer does not have an object.
enum Trouble {
    /// It never will: a stable code.
    Object(&'static str),
    /// Chunks are not as they should be, which a second look may see otherwise.
    Chunks(&'static str),
    /// The peer failed at this object.
    Attempt(String),
    /// The peer is away or wants nothing now.
    Peer(String),
    Away(BusError),
    Fatal(TransportError),
    Lost,
    Stopped,
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Bus(error) if is_passing(&error) => Self::Away(error),
            TransportError::Dicom(error) => Self::Chunks(code(&error)),
            error => Self::Fatal(error),
        }
    }
}

impl From<BusError> for Trouble {
    fn from(error: BusError) -> Self {
        TransportError::from(error).into()
    }
}

fn is_passing(error: &BusError) -> bool {
    error.is_broker_trouble() && !matches!(error, BusError::NotAuthorised { .. })
}

fn code(error: &DicomError) -> &'static str {
    match error {
        DicomError::HeaderVersion { .. } | DicomError::Schema { .. } => "newer-version",
        DicomError::Chunk { .. } | DicomError::WrongChunk { .. } => "damaged-chunk",
        DicomError::Checksum { .. } => "checksum",
        DicomError::Part { .. } => "incomplete-metadata",
        DicomError::TooLarge { .. } => "too-large",
        _ => "damaged-metadata",
    }
}

/// The membership in the destination's group.
#[derive(Debug)]
struct Membership {
    group: GroupReader,
    /// What came while an object was under way.
    waiting: VecDeque<GroupEvent>,
    is_paused: bool,
    looked: Instant,
}

impl Membership {
    fn next(&mut self) -> Result<Option<GroupEvent>, BusError> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(Some(event));
        }
        if std::mem::take(&mut self.is_paused) {
            self.group.set_paused(false)?;
        }
        self.looked = Instant::now();
        self.group.turn(LOOK)
    }

    /// Looks for what the group says, not for records; breaks when the partition is gone.
    fn keep(&mut self, partition: i32) -> Result<ControlFlow<()>, BusError> {
        if !std::mem::replace(&mut self.is_paused, true) {
            self.group.set_paused(true)?;
        }
        self.looked = Instant::now();
        let mut flow = ControlFlow::Continue(());
        loop {
            match self.group.turn(LOOK) {
                Ok(None) => return Ok(flow),
                Ok(Some(event)) => {
                    match &event {
                        GroupEvent::Assigned(_) => self.group.set_paused(true)?,
                        GroupEvent::Revoked(gone) if gone.contains(&partition) => flow = ControlFlow::Break(()),
                        _ => {}
                    }
                    self.waiting.push_back(event);
                }
                Err(error) if is_passing(&error) => return Ok(flow),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What a run is told from outside.
struct Run<'a> {
    is_stopped: &'a (dyn Fn() -> bool + Sync),
    told: &'a mut dyn FnMut(Forwarded<'_>),
    put_on_record: &'a mut dyn FnMut() -> Result<(), String>,
}

/// An association that is open, and when it was last used.
struct Line<'a> {
    client: Option<Client<'a>>,
    used: Instant,
    /// What was asked for so far, the latest first.
    pairs: VecDeque<Pair>,
}

/// Sends objects to one peer, in the order of each partition, each until the peer has it.
#[derive(Debug)]
pub struct Forwarder {
    config: ForwardConfig,
    membership: Membership,
    metadata: TopicView,
    fetcher: RecordFetcher,
    failed: FailedWriter,
    parts: PartCollector,
    partitions: Partitions,
    stats: ForwardStats,
}

impl Forwarder {
    /// Registers the destination and joins its group.
    ///
    /// # Errors
    /// What is wrong with the brokers.
    pub fn open(config: ForwardConfig) -> Result<Self, TransportError> {
        let bus = &config.bus;
        ensure_topics(bus, &TOPICS)?;
        destinations::register(bus, &config.name, Family::Original)?;
        let topic = bus.topic_prefix.topic(METADATA_TOPIC);
        let metadata = TopicView::open(bus, topic.clone())?;
        let fetcher = RecordFetcher::open(bus, bus.topic_prefix.topic(PIXELS_TOPIC))?;
        let failed = FailedWriter::open(bus)?;
        let group = GroupReader::join(bus, topic, &config.name, HEADER)?;
        let membership = Membership { group, waiting: VecDeque::new(), is_paused: false, looked: Instant::now() };
        Ok(Self {
            membership,
            metadata,
            fetcher,
            failed,
            parts: PartCollector::new(),
            partitions: Partitions::default(),
            stats: ForwardStats::default(),
            config,
        })
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ForwardStats {
        self.stats
    }

    /// Forwards until it is stopped; what the peer has is committed then, after `put_on_record` has seen to it that what was
    /// told so far is where it has to be, such as in an audit trail.
    ///
    /// # Errors
    /// What the brokers' coming back does not mend, and [`TransportError::NotOnRecord`].
    pub fn run(
        &mut self,
        is_stopped: &(dyn Fn() -> bool + Sync),
        told: &mut dyn FnMut(Forwarded<'_>),
        put_on_record: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<(), TransportError> {
        let mut run = Run { is_stopped, told, put_on_record };
        let mut line = Line { client: None, used: Instant::now(), pairs: VecDeque::new() };
        let retried = if self.config.retry_failed { self.retry(&mut line, &mut run) } else { Ok(()) };
        let result = retried.and_then(|()| self.work(&mut line, &mut run));
        let committed = self.commit(&mut run);
        if let Some(client) = line.client.take() {
            client.release();
        }
        result.and(committed)
    }

    fn work<'a>(&mut self, line: &mut Line<'a>, run: &mut Run<'a>) -> Result<(), TransportError> {
        let mut committed = Instant::now();
        while !(run.is_stopped)() {
            let event = match self.membership.next() {
                Ok(event) => event,
                Err(error) if is_passing(&error) => {
                    (run.told)(Forwarded::BrokersAway(&error));
                    None
                }
                Err(error) => return Err(error.into()),
            };
            let is_idle = event.is_none();
            match event {
                Some(GroupEvent::Record(record)) => drop(self.take(&record, line, run)?),
                Some(GroupEvent::Assigned(own)) => self.assign(&own, run)?,
                Some(GroupEvent::Revoked(gone)) => self.partitions.revoke(&gone),
                None => {}
            }
            if is_idle || committed.elapsed() >= COMMIT_INTERVAL {
                self.commit(run)?;
                committed = Instant::now();
            }
            if is_idle
                && line.used.elapsed() >= IDLE
                && let Some(client) = line.client.take()
            {
                client.release();
            }
        }
        Ok(())
    }

    /// Where each partition begins: where the group has committed, else at the log's beginning.
    fn assign(&mut self, own: &[i32], run: &mut Run<'_>) -> Result<(), TransportError> {
        let (committed, bounds) = loop {
            let committed = committed_offsets(&self.config.bus, &self.config.name, &self.metadata);
            match committed.and_then(|committed| Ok((committed, self.metadata.bounds()?))) {
                Ok(places) => break places,
                Err(error) if is_passing(&error) && !(run.is_stopped)() => {
                    (run.told)(Forwarded::BrokersAway(&error));
                }
                Err(error) => return Err(error.into()),
            }
        };
        for &partition in own {
            let start = bounds.get(&partition).map_or(0, |bounds| bounds.start);
            let begins = committed.get(&partition).copied().unwrap_or(start).max(start);
            self.partitions.assign(partition, begins);
        }
        (run.told)(Forwarded::Joined(self.partitions.len()));
        Ok(())
    }

    /// Whatever fails is tried again with the next commit; an object that is read again until then is sent again.
    fn commit(&mut self, run: &mut Run<'_>) -> Result<(), TransportError> {
        (run.put_on_record)().map_err(|why| TransportError::NotOnRecord { why })?;
        for (partition, offset) in self.partitions.safe() {
            self.membership.group.set_safe(partition, offset);
        }
        if let Err(error) = self.membership.group.commit() {
            tracing::debug!(%error, "committing");
            if is_passing(&error) {
                (run.told)(Forwarded::BrokersAway(&error));
            }
        }
        Ok(())
    }

    /// Takes a record; false when the run was stopped or the partition went before it was dealt with.
    fn take<'a>(
        &mut self,
        record: &GroupRecord,
        line: &mut Line<'a>,
        run: &mut Run<'a>,
    ) -> Result<bool, TransportError> {
        let place = (record.partition, record.offset, record.offset);
        if !self.partitions.expects(record.partition, record.offset) {
            return Ok(true);
        }
        match record.header.as_deref().map(RecordHeader::decode) {
            Some(Ok(RecordHeader::Part(header))) => self.take_part(&header, record, line, run),
            Some(Ok(RecordHeader::Chunk(chunk))) => self.fail(place, Some(chunk.object_id), "foreign-record", run),
            Some(Err(error)) => self.fail(place, None, code(&error), run),
            None => self.fail(place, None, "foreign-record", run),
        }
    }

    fn take_part<'a>(
        &mut self,
        header: &PartHeader,
        record: &GroupRecord,
        line: &mut Line<'a>,
        run: &mut Run<'a>,
    ) -> Result<bool, TransportError> {
        let (object, partition, offset) = (header.object_id, record.partition, record.offset);
        let first = self.partitions.begin_part(partition, offset, header.index, object);
        let is_last = header.index.checked_add(1).is_none_or(|next| next >= header.count);
        let place = (partition, first, offset);
        let done = match self.parts.push(header, &record.value) {
            Ok(None) => true,
            Ok(Some(whole)) => match Metadata::decode(&whole) {
                Ok(metadata) => self.deliver(place, &metadata, line, run)?,
                Err(error) => self.fail(place, Some(object), code(&error), run)?,
            },
            // Of a repeat of what is complete, the first part is not there: nothing is missing.
            Err(_) if self.partitions.is_known(object) => true,
            Err(error) => match self.partitions.reason(object, error, is_last) {
                Some(error) => self.fail(place, Some(object), code(&error), run)?,
                None => true,
            },
        };
        if done {
            self.partitions.done(partition, offset, is_last.then_some(object));
        }
        Ok(done)
    }

    fn fail(
        &mut self,
        place: (i32, i64, i64),
        object: Option<ObjectId>,
        reason: &'static str,
        run: &mut Run<'_>,
    ) -> Result<bool, TransportError> {
        let mut record = FailedRecord::new(&self.config.name, place, reason);
        record.object_id = object.map(|object| object.to_string());
        loop {
            match self.failed.write(&record) {
                Ok(()) => break,
                Err(TransportError::Bus(error)) if is_passing(&error) => {
                    (run.told)(Forwarded::BrokersAway(&error));
                    if !self.rest(SHORTEST_REST, run)? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.stats.failed += 1;
        (run.told)(Forwarded::Failed(&record));
        self.partitions.done(place.0, place.2, object);
        Ok(true)
    }

    fn deliver<'a>(
        &mut self,
        place: (i32, i64, i64),
        metadata: &Metadata,
        line: &mut Line<'a>,
        run: &mut Run<'a>,
    ) -> Result<bool, TransportError> {
        match self.send_patiently(Some(place.0), place.0, metadata, line, run) {
            Ok(status) => {
                self.delivered(metadata, status, run);
                Ok(true)
            }
            Err(Trouble::Object(reason) | Trouble::Chunks(reason)) => {
                self.fail(place, Some(metadata.object_id), reason, run)
            }
            Err(Trouble::Attempt(_)) => self.fail(place, Some(metadata.object_id), "peer-fails", run),
            Err(Trouble::Lost | Trouble::Stopped | Trouble::Peer(_)) => Ok(false),
            Err(Trouble::Away(error)) => Err(error.into()),
            Err(Trouble::Fatal(error)) => Err(error),
        }
    }

    fn delivered(&mut self, metadata: &Metadata, status: u16, run: &mut Run<'_>) {
        self.stats.delivered += 1;
        self.stats.delivered_bytes += metadata.file_length;
        let (object_id, bytes) = (metadata.object_id, metadata.file_length);
        let (identity, sha256) = (&metadata.identity, &metadata.file_sha256);
        (run.told)(Forwarded::Delivered { object_id, identity, sha256, bytes, status });
    }

    /// Tries until the peer has the object, the object is given up, or the run is stopped; also until its partition, where
    /// one has to be this member's, is not any more.
    fn send_patiently<'a>(
        &mut self,
        own: Option<i32>,
        partition: i32,
        metadata: &Metadata,
        line: &mut Line<'a>,
        run: &mut Run<'a>,
    ) -> Result<u16, Trouble> {
        let (mut attempts, mut looks, mut next_rest) = (0, 0, SHORTEST_REST);
        loop {
            let trouble = match self.send(partition, metadata, line, run) {
                Ok(status) => return Ok(status),
                Err(trouble) => trouble,
            };
            if (run.is_stopped)() {
                return Err(Trouble::Stopped);
            }
            match &trouble {
                Trouble::Peer(why) => (run.told)(Forwarded::PeerAway(why, next_rest)),
                Trouble::Attempt(why) if attempts + 1 < MAX_ATTEMPTS => {
                    attempts += 1;
                    (run.told)(Forwarded::PeerAway(why, next_rest));
                }
                Trouble::Chunks(_) if looks + 1 < MAX_LOOKS => looks += 1,
                Trouble::Away(error) => (run.told)(Forwarded::BrokersAway(error)),
                _ => return Err(trouble),
            }
            if !self.rest(next_rest, run)? {
                return Err(Trouble::Stopped);
            }
            next_rest = (next_rest * 2).min(LONGEST_REST);
            if own.is_some_and(|own| !self.partitions.has(own)) {
                return Err(Trouble::Lost);
            }
        }
    }

    fn send<'a>(
        &mut self,
        partition: i32,
        metadata: &Metadata,
        line: &mut Line<'a>,
        run: &Run<'a>,
    ) -> Result<u16, Trouble> {
        let Named { pair, instance } = named(metadata).ok_or(Trouble::Object("not-storable"))?;
        let context = line.context(&self.config.calling, &pair, run.is_stopped)?;
        let Some(client) = line.client.as_mut() else { return Err(Trouble::Peer("no association".to_owned())) };
        let result = self.pass(partition, metadata, (client, context), (&pair.0, &instance));
        line.used = Instant::now();
        match result {
            Ok(status) => judge(status),
            Err(trouble) => {
                // What was sent is no whole object: only the end of the association tells the peer so.
                if let Some(client) = line.client.take() {
                    client.abort(&GatewayError::Stopping);
                }
                Err(trouble)
            }
        }
    }

    fn pass(
        &mut self,
        partition: i32,
        metadata: &Metadata,
        (client, context): (&mut Client<'_>, u8),
        uids: (&str, &str),
    ) -> Result<u16, Trouble> {
        let attempt = |error: GatewayError| Trouble::Attempt(error.to_string());
        let storing = client.store(context, uids).map_err(|error| Trouble::Peer(error.to_string()))?;
        let mut assembly = Assembly::begin(metadata, storing).map_err(written)?;
        for chunk in &metadata.chunks {
            let at = (partition, chunk.kafka_offset);
            let pushed = self.fetcher.fetch(at, CHUNK_PATIENCE, |record| {
                match record.header(HEADER).map(RecordHeader::decode) {
                    Some(Ok(RecordHeader::Chunk(header))) => {
                        Some(assembly.push(&header, record.value().unwrap_or_default()))
                    }
                    _ => None,
                }
            })?;
            pushed.flatten().ok_or(Trouble::Chunks("missing-chunk"))?.map_err(written)?;
            if self.membership.looked.elapsed() >= LOOK_INTERVAL && self.membership.keep(partition)?.is_break() {
                return Err(Trouble::Lost);
            }
        }
        assembly.finish().map_err(written)?.complete().map_err(attempt)
    }

    /// Rests and looks for what the group says all the while; false when the run is to stop.
    fn rest(&mut self, time: Duration, run: &Run<'_>) -> Result<bool, TransportError> {
        let began = Instant::now();
        while began.elapsed() < time {
            if (run.is_stopped)() {
                return Ok(false);
            }
            // With nothing to read this is the rest itself.
            let _ = self.membership.keep(-1)?;
            self.drop_revoked();
        }
        Ok(true)
    }

    /// What went away while an object was under way, and the records of it that came before.
    fn drop_revoked(&mut self) {
        let waiting = &mut self.membership.waiting;
        for event in std::mem::take(waiting) {
            if let GroupEvent::Revoked(gone) = &event {
                self.partitions.revoke(gone);
                waiting
                    .retain(|event| !matches!(event, GroupEvent::Record(record) if gone.contains(&record.partition)));
            } else {
                waiting.push_back(event);
            }
        }
    }

    /// Tries again what could not be delivered to this destination.
    fn retry<'a>(&mut self, line: &mut Line<'a>, run: &mut Run<'a>) -> Result<(), TransportError> {
        for ((destination, ..), record) in open_failures(&self.config.bus)? {
            if destination != self.config.name || (run.is_stopped)() {
                continue;
            }
            let Some(metadata) = self.metadata_of(&record)? else { continue };
            match self.send_patiently(None, record.partition, &metadata, line, run) {
                Ok(status) => {
                    self.failed.write(&record.resolved())?;
                    self.delivered(&metadata, status, run);
                }
                Err(Trouble::Object(_) | Trouble::Chunks(_) | Trouble::Attempt(_)) => {
                    self.stats.failed += 1;
                    (run.told)(Forwarded::Failed(&record));
                }
                Err(Trouble::Lost | Trouble::Stopped | Trouble::Peer(_)) => return Ok(()),
                Err(Trouble::Away(error)) => return Err(error.into()),
                Err(Trouble::Fatal(error)) => return Err(error),
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
}

/// Bytes that could not be written are the peer's trouble; others are the records'.
fn written(error: DicomError) -> Trouble {
    match error {
        DicomError::Write { source, .. } => Trouble::Attempt(source.to_string()),
        error => Trouble::Chunks(code(&error)),
    }
}

impl<'a> Line<'a> {
    /// A context for such objects, in an association that is opened where none is, or none that knows of them.
    fn context(
        &mut self,
        calling: &Calling,
        pair: &Pair,
        is_stopped: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<u8, Trouble> {
        let known = self.client.as_ref().and_then(|client| client.context(pair));
        let context = match known {
            Some(context) => context,
            None => {
                if let Some(client) = self.client.take() {
                    client.release();
                }
                self.pairs.retain(|known| known != pair);
                self.pairs.push_front(pair.clone());
                self.pairs.truncate(MAX_PAIRS);
                let client = Client::open(calling, self.pairs.make_contiguous(), is_stopped);
                let client = client.map_err(|error| Trouble::Peer(error.to_string()))?;
                let context = client.context(pair).flatten();
                self.client = Some(client);
                context
            }
        };
        self.used = Instant::now();
        context.ok_or(Trouble::Object("context-refused"))
    }
}

struct Named {
    pair: Pair,
    instance: String,
}

/// What a C-STORE has to say of an object; group 2 where the data set does not say it.
fn named(metadata: &Metadata) -> Option<Named> {
    let meta = FileMeta::read(&metadata.header).unwrap_or_default();
    let class = metadata.identity.sop_class.clone().or(meta.sop_class).filter(|class| is_storage(class))?;
    let instance = metadata.identity.sop_instance.clone().or(meta.sop_instance)?;
    let syntax = metadata.transfer_syntax.clone().or(meta.transfer_syntax)?;
    Some(Named { pair: (class, syntax), instance })
}

/// What a status means (PS3.4, table B.2-1; PS3.7, annex C).
fn judge(status: u16) -> Result<u16, Trouble> {
    /// It has the object, as it says by this code that Storage does not know.
    const DUPLICATE_INSTANCE: u16 = 0x0111;
    match status {
        status::SUCCESS | DUPLICATE_INSTANCE | 0x0001 | 0x0107 | 0x0116 | 0xb000..=0xbfff => Ok(status),
        0xa700..=0xa7ff => Err(Trouble::Peer(format!("the peer is out of resources (status {status:04X})"))),
        0xa900..=0xa9ff => Err(Trouble::Object("peer-refused-mismatch")),
        0xc000..=0xcfff => Err(Trouble::Object("peer-cannot-understand")),
        status::CLASS_NOT_SUPPORTED => Err(Trouble::Object("peer-refused-class")),
        other => Err(Trouble::Attempt(format!("the peer answers with status {other:04X}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whether_the_object_is_there_and_whether_it_ever_will_be() {
        let check = |status: u16, expected: &str| {
            let found = match judge(status) {
                Ok(_) => "there",
                Err(Trouble::Peer(_)) => "later",
                Err(Trouble::Attempt(_)) => "perhaps",
                Err(_) => "never",
            };
            assert_eq!(found, expected, "{status:04X}");
        };
        check(0x0000, "there");
        check(0xb007, "there");
        check(0xa700, "later");
        check(0xa7ff, "later");
        check(0xa900, "never");
        check(0xc123, "never");
        check(0x0122, "never");
        check(0x0110, "perhaps");
    }
}
