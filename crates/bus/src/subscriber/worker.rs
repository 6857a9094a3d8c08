//! One consumer and its thread: polls Kafka, reads partitions, fills the delivery queue, commits.

use super::event::{Event, FrameRole, Notice, SubscriberStats};
use super::partition::{LogRecord, PartitionConfig, PartitionReader, Step};
use super::places::{At, Places, is_past};
use super::progress::{Marks, Progress, stream_hash};
use super::queue::{DeliveryQueue, Item, PartitionShared, Ticket, lock};
use super::start::{PartitionStart, partitions_of, starts};
use super::{Policy, SubscriberConfig};
use crate::diagnosis::{Attempt, explain};
use crate::trace::TRACEPARENT_HEADER;
use crate::{BusError, ClientStatistics};
use lumenbus_frame::{CameraId, FrameId, StreamId, TopicName};
use lumenbus_wire::StreamEntry;
use rdkafka::bindings::rd_kafka_resp_err_t as RespErr;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientContext, Offset, Timestamp, TopicPartitionList};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest sleep without looking at commits, the directory and shutdown.
const TICK: Duration = Duration::from_millis(20);
/// Records read before the queue is filled and timers are looked at.
const BATCH_RECORDS: usize = 512;
/// Payload bytes read before the queue is filled.
const BATCH_BYTES: usize = 1024 * 1024;
/// A caller that takes nothing for so long makes us pause partitions, so that the group goes on.
const STALL: Duration = Duration::from_secs(10);
/// Most directory changes that wait for a worker; beyond that the directory is read anew.
const MAX_ENTRIES: usize = 1_024;
/// An incomplete frame without a new chunk for so long is given up, once everything else is read.
const CHUNK_PATIENCE_NANOS: i64 = 30_000_000_000;
/// How often a reader looks how far behind it is.
const LAG_CHECK: Duration = Duration::from_secs(1);

/// What the rebalance callback leaves for the thread.
pub(crate) enum Change {
    Assigned(Vec<PartitionStart>),
    Revoked(Vec<(String, i32)>),
}

/// librdkafka's callbacks; they run on the worker's thread, inside `poll`.
pub(crate) struct Context {
    index: usize,
    /// Times the worker came for records.
    polls: AtomicU64,
    shared: Arc<WorkerShared>,
    changes: Mutex<Vec<Change>>,
    has_changes: AtomicBool,
}

/// What workers and the subscriber share.
pub(crate) struct WorkerShared {
    pub(crate) config: SubscriberConfig,
    pub(crate) filter: Arc<super::CameraFilter>,
    pub(crate) queue: DeliveryQueue,
    pub(crate) places: Places,
    pub(crate) stop: AtomicBool,
    pub(crate) commit_now: AtomicU32,
    /// Per worker, the last request it has carried out.
    pub(crate) commits_done: Mutex<HashMap<usize, u32>>,
    pub(crate) commit_error: Mutex<Option<KafkaError>>,
    pub(crate) stats: Mutex<HashMap<usize, SubscriberStats>>,
    pub(crate) entries: Mutex<VecDeque<(CameraId, StreamEntry)>>,
    pub(crate) entries_version: AtomicU32,
    pub(crate) assigned: AtomicI64,
    /// Per worker, what librdkafka counted last.
    pub(crate) statistics: Mutex<BTreeMap<usize, Arc<ClientStatistics>>>,
}

impl WorkerShared {
    pub(crate) fn explain(&self, error: KafkaError) -> BusError {
        let brokers = &self.config.bus.brokers;
        let is_about_group = error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed);
        match &self.config.group {
            Some(group) if is_about_group => explain(error, &Attempt::joining(brokers, group)),
            _ => {
                let topics = self.config.topics.iter().map(TopicName::as_str).collect::<Vec<_>>().join(", ");
                explain(error, &Attempt::reading(brokers, &topics))
            }
        }
    }
}

impl Context {
    fn new(index: usize, shared: Arc<WorkerShared>) -> Self {
        Self { index, polls: AtomicU64::new(0), shared, changes: Mutex::default(), has_changes: AtomicBool::new(false) }
    }

    fn leave(&self, change: Change) {
        lock(&self.changes).push(change);
        self.has_changes.store(true, Ordering::Release);
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) -> Result<(), KafkaError> {
        let config = &self.shared.config;
        let found = starts(consumer, partitions, config.start, config.group.is_some())?;
        for start in &found {
            partitions.set_partition_offset(&start.topic, start.partition, Offset::Offset(start.offset))?;
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions)?,
            _ => consumer.assign(partitions)?,
        }
        self.leave(Change::Assigned(found));
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<(), KafkaError> {
        let names: Vec<_> =
            partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let mut commits = TopicPartitionList::new();
        for shared in self.shared.places.held() {
            if names.iter().any(|(topic, partition)| *topic == shared.topic && *partition == shared.partition) {
                shared.is_revoked.store(true, Ordering::Release);
                add_commit(&mut commits, &shared)?;
            }
        }
        if commits.count() > 0 && !consumer.assignment_lost() {
            // Losing this commit costs repeats, which the next owner's marks catch only in part.
            if let Err(error) = consumer.commit(&commits, CommitMode::Sync) {
                tracing::warn!(%error, "offsets could not be committed on revocation");
            }
        }
        self.leave(Change::Revoked(names));
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        }
    }
}

impl ClientContext for Context {
    fn stats_raw(&self, statistics: &[u8]) {
        if let Some(found) = ClientStatistics::from_callback(statistics, self.polls.load(Ordering::Relaxed)) {
            lock(&self.shared.statistics).insert(self.index, found);
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: Result<(), KafkaError>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets could not be committed; they go with the next commit");
            for partition in self.shared.places.held() {
                lock(&partition.progress).retry_commit();
            }
        }
    }

    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RespErr, partitions: &mut TopicPartitionList) {
        let outcome = match err {
            RespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            RespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, partitions),
            other => Err(KafkaError::Rebalance(other.into())),
        };
        if let Err(error) = outcome {
            self.shared.queue.fail(self.shared.explain(error));
        }
    }
}

/// A partition of this worker.
struct Slot {
    reader: PartitionReader,
    shared: Arc<PartitionShared>,
    /// Where to seek as soon as librdkafka takes it; until then its records are ignored.
    seek: Option<i64>,
    blocked: Option<Blocked>,
    /// The log's end as it was a moment ago.
    seen_end: Option<(Instant, i64)>,
}

/// Waits for a stream's old partition.
struct Blocked {
    offset: i64,
    hash: u64,
    epoch: u64,
    old: Arc<PartitionShared>,
    /// What the old partition held when the wait began.
    until: Option<i64>,
}

pub(crate) struct Worker {
    index: usize,
    consumer: BaseConsumer<Context>,
    shared: Arc<WorkerShared>,
    slots: HashMap<String, HashMap<i32, Slot>>,
    events: Vec<Event>,
    items: Vec<Item>,
    pending_bytes: usize,
    last_commit: Instant,
    last_lag_check: Instant,
    entries_seen: u32,
    commits_done: u32,
    is_disconnected: bool,
    past: SubscriberStats,
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<WorkerShared>) -> Result<Self, BusError> {
        let mut client = shared.config.bus.counting_client_config(crate::Role::Consumer);
        client.set("group.id", shared.config.group.as_deref().unwrap_or("lumenbus-without-group"));
        // A jump that this causes is seen by its offsets and told as retention.
        client.set("auto.offset.reset", "earliest");
        let context = Context::new(index, Arc::clone(&shared));
        let consumer: BaseConsumer<Context> =
            client.create_with_context(context).map_err(|error| shared.explain(error))?;
        Ok(Self {
            index,
            consumer,
            shared,
            slots: HashMap::new(),
            events: Vec::new(),
            items: Vec::new(),
            pending_bytes: 0,
            last_commit: Instant::now(),
            last_lag_check: Instant::now(),
            entries_seen: 0,
            commits_done: 0,
            is_disconnected: false,
            past: SubscriberStats::default(),
        })
    }

    /// Every partition of the subscription's topics.
    pub(crate) fn partitions(&self) -> Result<Vec<(String, i32)>, BusError> {
        partitions_of(&self.consumer, &self.shared.config.topics, &self.shared.config.bus.brokers)
    }

    /// Joins the group, or takes these partitions.
    pub(crate) fn begin(&mut self, partitions: &[(String, i32)]) -> Result<(), BusError> {
        let shared = Arc::clone(&self.shared);
        let as_error = |error| shared.explain(error);
        if self.shared.config.group.is_some() {
            let topics: Vec<_> = self.shared.config.topics.iter().map(TopicName::as_str).collect();
            return self.consumer.subscribe(&topics).map_err(as_error);
        }
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let found = starts(&self.consumer, &list, self.shared.config.start, false).map_err(as_error)?;
        for start in &found {
            list.set_partition_offset(&start.topic, start.partition, Offset::Offset(start.offset)).map_err(as_error)?;
        }
        self.consumer.assign(&list).map_err(as_error)?;
        self.take_assignment(found);
        Ok(())
    }

    /// Until told to stop.
    pub(crate) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.read_some();
            self.deliver();
            self.tick();
        }
        self.commit(CommitMode::Sync);
        self.publish_stats();
    }

    fn read_some(&mut self) {
        self.consumer.context().polls.fetch_add(1, Ordering::Relaxed);
        let mut wait = TICK;
        for _ in 0..BATCH_RECORDS {
            // The message borrows the consumer, which the handling of it must not touch through `self`.
            let polled = self.consumer.poll(wait);
            if self.consumer.context().has_changes.swap(false, Ordering::AcqRel) {
                let changes = std::mem::take(&mut *lock(&self.consumer.context().changes));
                apply_changes(&mut self.slots, &self.shared, &mut self.past, changes);
            }
            let Some(polled) = polled else { return };
            match polled {
                Ok(message) => {
                    self.is_disconnected = false;
                    let mut hands = Hands {
                        shared: &self.shared,
                        consumer: &self.consumer,
                        events: &mut self.events,
                        items: &mut self.items,
                        pending_bytes: &mut self.pending_bytes,
                    };
                    let slot =
                        self.slots.get_mut(message.topic()).and_then(|slots| slots.get_mut(&message.partition()));
                    if let Some(slot) = slot {
                        hands.message(slot, &message);
                    }
                }
                Err(error) => {
                    self.error(error);
                    return;
                }
            }
            if self.pending_bytes >= BATCH_BYTES {
                return;
            }
            wait = Duration::ZERO;
        }
    }

    fn deliver(&mut self) {
        self.pending_bytes = 0;
        self.shared.queue.push(&mut self.items);
        self.say_handed_over();
        // The other policies make room themselves; only what is no frame can fill their queue.
        let since = Instant::now();
        let mut is_paused = false;
        while !self.shared.queue.has_room(TICK) && !self.shared.stop.load(Ordering::Acquire) {
            self.commit_in_time();
            if is_paused {
                // Nothing but rebalances and errors comes now; a record that was on its way is read again.
                if let Some(Ok(message)) = self.consumer.poll(Duration::ZERO) {
                    seek_back(&mut self.slots, &message);
                }
                self.apply_left_changes();
            } else if since.elapsed() >= STALL {
                is_paused = true;
                self.for_all_partitions(BaseConsumer::pause);
            }
        }
        if is_paused {
            self.for_all_partitions(BaseConsumer::resume);
            let next: Vec<_> = self.slots.values_mut().flat_map(HashMap::values_mut).collect();
            for slot in next {
                // A partition that waits for its old one stays paused.
                slot.seek.get_or_insert(slot.reader.next_offset());
            }
            self.seek_waiting();
        }
    }

    /// What must be read again, behind a seek or a wait, does not count.
    fn say_handed_over(&self) {
        for slot in self.slots.values().flat_map(HashMap::values) {
            let again = slot.seek.or(slot.blocked.as_ref().map(|blocked| blocked.offset)).unwrap_or(i64::MAX);
            let reader = &slot.reader;
            let offset = reader.frontier().min(reader.next_offset()).min(again);
            slot.shared.handed_over.store(offset, Ordering::Release);
        }
    }

    fn for_all_partitions(&self, act: impl Fn(&BaseConsumer<Context>, &TopicPartitionList) -> Result<(), KafkaError>) {
        let mut list = TopicPartitionList::new();
        for slot in self.slots.values().flat_map(HashMap::values).filter(|slot| slot.blocked.is_none()) {
            list.add_partition(&slot.shared.topic, slot.shared.partition);
        }
        if let Err(error) = act(&self.consumer, &list) {
            tracing::warn!(%error, "partitions could not be paused or resumed");
        }
    }

    fn apply_left_changes(&mut self) {
        if self.consumer.context().has_changes.swap(false, Ordering::AcqRel) {
            let changes = std::mem::take(&mut *lock(&self.consumer.context().changes));
            apply_changes(&mut self.slots, &self.shared, &mut self.past, changes);
        }
    }

    fn tick(&mut self) {
        self.seek_waiting();
        self.release_blocked();
        self.read_directory();
        self.look_behind();
        self.commit_in_time();
    }

    fn take_assignment(&mut self, found: Vec<PartitionStart>) {
        apply_changes(&mut self.slots, &self.shared, &mut self.past, vec![Change::Assigned(found)]);
    }

    fn seek_waiting(&mut self) {
        for slot in self.slots.values_mut().flat_map(HashMap::values_mut) {
            seek(&self.consumer, slot);
        }
    }

    fn release_blocked(&mut self) {
        for slot in self.slots.values_mut().flat_map(HashMap::values_mut) {
            let Some(blocked) = &slot.blocked else { continue };
            let until = blocked.until.or_else(|| end_of(&self.consumer, &blocked.old));
            let is_done = self.shared.places.has_arrived(blocked.hash, blocked.epoch)
                || until.is_some_and(|until| is_past(&blocked.old, until));
            if let Some(blocked) = &mut slot.blocked {
                blocked.until = until;
            }
            let Some(blocked) = &slot.blocked else { continue };
            if !is_done {
                continue;
            }
            self.shared.places.arrive(blocked.hash, blocked.epoch);
            let mut list = TopicPartitionList::new();
            list.add_partition(&slot.shared.topic, slot.shared.partition);
            if self.consumer.resume(&list).is_ok() {
                slot.seek = Some(blocked.offset);
                slot.blocked = None;
            }
        }
    }

    fn read_directory(&mut self) {
        let version = self.shared.entries_version.load(Ordering::Acquire);
        let entries: Vec<_> = if version == self.entries_seen {
            Vec::new()
        } else {
            self.entries_seen = version;
            lock(&self.shared.entries).iter().cloned().collect()
        };
        let mut told = Vec::new();
        for slot in self.slots.values_mut().flat_map(HashMap::values_mut) {
            for (camera, entry) in &entries {
                if i64::from(entry.partition) == i64::from(slot.shared.partition) {
                    slot.reader.directory(camera, entry.clone(), &mut told);
                }
            }
            slot.reader.apply_entries(&mut told);
        }
        self.items.extend(told.into_iter().map(|event| Item { event, ticket: None }));
    }

    /// Looks at partitions that are behind: `live` skips what is too old, incomplete frames are given up.
    ///
    /// No clock is compared with another: behind is who has not yet read what was in the log some time ago.
    fn look_behind(&mut self) {
        if self.last_lag_check.elapsed() < LAG_CHECK {
            return;
        }
        self.last_lag_check = Instant::now();
        let late = match self.shared.config.policy {
            Policy::Live { max_age } => Some(max_age + LAG_CHECK),
            Policy::Lossless | Policy::Newest => None,
        };
        let now = self.shared.config.clock.unix_nanos();
        for slot in self.slots.values_mut().flat_map(HashMap::values_mut).filter(|slot| slot.blocked.is_none()) {
            let is_stale = |nanos: i64| now.saturating_sub(nanos) >= CHUNK_PATIENCE_NANOS;
            let has_stale_frame = slot.reader.oldest_open_nanos().is_some_and(is_stale);
            if late.is_some() || has_stale_frame {
                look_behind(&self.consumer, slot, late, now);
            }
        }
    }

    fn commit_in_time(&mut self) {
        let asked = self.shared.commit_now.load(Ordering::Acquire);
        let is_asked = asked != self.commits_done;
        if is_asked {
            self.commit(CommitMode::Sync);
        } else if self.last_commit.elapsed() >= self.shared.config.commit_interval {
            self.commit(CommitMode::Async);
        } else {
            return;
        }
        self.publish_stats();
        self.last_commit = Instant::now();
        if is_asked {
            self.commits_done = asked;
            lock(&self.shared.commits_done).insert(self.index, asked);
        }
    }

    fn commit(&self, mode: CommitMode) {
        if self.shared.config.group.is_none() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for slot in self.slots.values().flat_map(HashMap::values) {
            if let Err(error) = add_commit(&mut list, &slot.shared) {
                tracing::warn!(%error, topic = slot.shared.topic, "offset cannot be committed");
            }
        }
        if list.count() == 0 {
            return;
        }
        if let Err(error) = self.consumer.commit(&list, mode) {
            tracing::warn!(%error, "offsets could not be committed; they go with the next commit");
            for slot in self.slots.values().flat_map(HashMap::values) {
                lock(&slot.shared.progress).retry_commit();
            }
            lock(&self.shared.commit_error).get_or_insert(error);
        }
    }

    fn publish_stats(&self) {
        let mut sum = self.past.clone();
        for slot in self.slots.values().flat_map(HashMap::values) {
            sum.add(&slot.reader.stats);
        }
        lock(&self.shared.stats).insert(self.index, sum);
    }

    fn error(&mut self, error: KafkaError) {
        let KafkaError::MessageConsumption(code) = error else {
            return self.shared.queue.fail(self.shared.explain(error));
        };
        match code {
            RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure => {
                if !std::mem::replace(&mut self.is_disconnected, true) {
                    let reason = code.to_string();
                    self.items.push(Item { event: Event::Notice(Notice::Disconnected { reason }), ticket: None });
                }
            }
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication => {
                self.shared.queue.fail(self.shared.explain(KafkaError::MessageConsumption(code)));
            }
            other => tracing::warn!(error = %other, "the consumer reports an error and goes on"),
        }
    }
}

fn add_commit(list: &mut TopicPartitionList, shared: &PartitionShared) -> Result<(), KafkaError> {
    let Some((offset, metadata)) = lock(&shared.progress).take_commit() else { return Ok(()) };
    let mut element = list.add_partition(&shared.topic, shared.partition);
    element.set_offset(Offset::Offset(offset))?;
    element.set_metadata(metadata);
    Ok(())
}

fn apply_changes(
    slots: &mut HashMap<String, HashMap<i32, Slot>>,
    shared: &Arc<WorkerShared>,
    past: &mut SubscriberStats,
    changes: Vec<Change>,
) {
    for change in changes {
        match change {
            Change::Assigned(starts) => {
                for start in starts {
                    add_slot(slots, shared, start);
                }
                // A new partition must see what the directory already said.
                shared.entries_version.fetch_add(1, Ordering::AcqRel);
            }
            Change::Revoked(names) => {
                for (topic, partition) in names {
                    shared.places.release(&topic, partition);
                    let slot = slots.get_mut(&topic).and_then(|slots| slots.remove(&partition));
                    if let Some(slot) = slot {
                        past.add(&slot.reader.stats);
                        shared.assigned.fetch_sub(1, Ordering::AcqRel);
                    }
                }
            }
        }
    }
}

fn add_slot(slots: &mut HashMap<String, HashMap<i32, Slot>>, shared: &Arc<WorkerShared>, start: PartitionStart) {
    let Ok(topic) = TopicName::new(&start.topic) else { return };
    let marks = match &start.beginning {
        super::partition::Beginning::Resumed(marks) => marks.clone(),
        _ => Marks::default(),
    };
    let partition = Arc::new(PartitionShared {
        topic: start.topic.clone(),
        partition: start.partition,
        progress: Mutex::new(Progress::new(start.offset, marks)),
        is_revoked: AtomicBool::new(false),
        frontier: AtomicI64::new(start.offset),
        handed_over: AtomicI64::new(start.offset),
    });
    let reader = PartitionReader::new(PartitionConfig {
        topic,
        partition: start.partition,
        beginning: start.beginning,
        start: start.offset,
        filter: Arc::clone(&shared.filter),
        preroll: shared.config.preroll,
        max_frame_bytes: shared.config.max_frame_bytes,
    });
    shared.places.hold(Arc::clone(&partition));
    shared.assigned.fetch_add(1, Ordering::AcqRel);
    let slot = Slot { reader, shared: partition, seek: None, blocked: None, seen_end: None };
    slots.entry(start.topic).or_default().insert(start.partition, slot);
}

fn seek(consumer: &BaseConsumer<Context>, slot: &mut Slot) {
    let Some(offset) = slot.seek.filter(|_| slot.blocked.is_none()) else { return };
    // Fails while the partition is being assigned; the next tick tries again.
    if consumer.seek(&slot.shared.topic, slot.shared.partition, Offset::Offset(offset), Duration::ZERO).is_ok() {
        slot.reader.rewound(offset);
        slot.seek = None;
    }
}

/// What a partition holds now; asked again when there is no answer.
fn end_of(consumer: &BaseConsumer<Context>, partition: &PartitionShared) -> Option<i64> {
    let marks = consumer.fetch_watermarks(&partition.topic, partition.partition, Duration::from_secs(1));
    marks.ok().map(|(_, end)| end)
}

fn look_behind(consumer: &BaseConsumer<Context>, slot: &mut Slot, late: Option<Duration>, now_unix_nanos: i64) {
    let shared = &slot.shared;
    let end =
        || consumer.fetch_watermarks(&shared.topic, shared.partition, Duration::from_secs(1)).map(|marks| marks.1);
    let is_rewinding = slot.reader.next_offset() < slot.reader.frontier() || slot.seek.is_some();
    match slot.seen_end {
        Some((seen, then)) if slot.reader.next_offset() < then => {
            if late.is_some_and(|late| seen.elapsed() >= late)
                && !is_rewinding
                && let Ok(end) = end()
            {
                slot.reader.skipped(end);
                give_up(slot);
                slot.seek = Some(end);
                slot.seen_end = None;
            }
        }
        Some(_) => {
            // Everything that was there a while ago is read: what is still incomplete will stay so.
            slot.reader.expire_open_frames(now_unix_nanos.saturating_sub(CHUNK_PATIENCE_NANOS));
            give_up(slot);
            slot.seen_end = None;
        }
        None => slot.seen_end = end().ok().map(|end| (Instant::now(), end)),
    }
}

fn seek_back(slots: &mut HashMap<String, HashMap<i32, Slot>>, message: &BorrowedMessage<'_>) {
    if let Some(slot) = slots.get_mut(message.topic()).and_then(|slots| slots.get_mut(&message.partition())) {
        slot.seek.get_or_insert(slot.reader.next_offset());
    }
}

/// Chunked frames that ended or were given up no longer hold the safe offset back.
fn give_up(slot: &mut Slot) {
    if slot.reader.gave_up.is_empty() {
        return;
    }
    let mut progress = lock(&slot.shared.progress);
    for offset in slot.reader.gave_up.drain(..) {
        progress.done(offset);
    }
}

/// What an event tells of a stream: everything up to a frame, from the record at an offset.
struct Told {
    hash: u64,
    upto: FrameId,
    offset: i64,
    is_preroll: bool,
}

impl Told {
    fn of(event: &Event, record_offset: i64) -> Option<Self> {
        let told = |stream: &StreamId, epoch, seq| Self {
            hash: stream_hash(stream),
            upto: FrameId { epoch, seq },
            offset: record_offset,
            is_preroll: false,
        };
        match event {
            Event::Frame(frame) => Some(Self {
                offset: frame.offset,
                is_preroll: frame.role == FrameRole::Preroll,
                ..told(&frame.stream, frame.id().epoch, frame.id().seq)
            }),
            Event::Gap { stream, gap } => Some(told(stream, gap.epoch?, gap.last?)),
            Event::Repeat { stream, epoch, range } => Some(told(stream, *epoch, range.last)),
            _ => None,
        }
    }
}

/// What handling one message needs of the worker.
struct Hands<'a> {
    shared: &'a Arc<WorkerShared>,
    consumer: &'a BaseConsumer<Context>,
    events: &'a mut Vec<Event>,
    items: &'a mut Vec<Item>,
    pending_bytes: &'a mut usize,
}

impl Hands<'_> {
    fn message(&mut self, slot: &mut Slot, message: &BorrowedMessage<'_>) {
        if slot.seek.is_some() || slot.blocked.is_some() {
            return;
        }
        let record = self.log_record(message);
        let at = At { places: &self.shared.places, partition: slot.shared.partition };
        let step = slot.reader.record(&record, &at, self.events);
        self.keep_progress(slot, message.offset(), &step);
        self.hand_over(slot, message.offset());
        match step {
            Step::Continue => {}
            Step::Rewind { offset } => {
                slot.seek = Some(offset);
                seek(self.consumer, slot);
            }
            Step::Blocked { stream, hash, epoch } => self.block(slot, &stream, (hash, epoch), message.offset()),
        }
    }

    fn log_record<'m>(&self, message: &'m BorrowedMessage<'_>) -> LogRecord<'m> {
        let (mut content_type, mut header, mut traceparent) = (None, None, None);
        if let Some(headers) = message.headers() {
            for found in headers.iter() {
                match found.key {
                    "content-type" => content_type = found.value,
                    "lb" => header = found.value,
                    TRACEPARENT_HEADER => traceparent = traceparent.or(found.value),
                    _ => {}
                }
            }
        }
        LogRecord {
            offset: message.offset(),
            append_unix_millis: match message.timestamp() {
                Timestamp::LogAppendTime(millis) | Timestamp::CreateTime(millis) => Some(millis),
                Timestamp::NotAvailable => None,
            },
            received_unix_nanos: self.shared.config.clock.unix_nanos(),
            key: message.key(),
            content_type,
            header,
            traceparent,
            value: message.payload(),
        }
    }

    /// Before the events may be taken by the caller: what they hold open is known.
    fn keep_progress(&mut self, slot: &mut Slot, offset: i64, step: &Step) {
        let mut progress = lock(&slot.shared.progress);
        for first_offset in slot.reader.began.drain(..) {
            progress.begin(first_offset);
        }
        // First what is given up: a whole chunked frame gives its place to the event that carries it.
        for first_offset in slot.reader.gave_up.drain(..) {
            progress.done(first_offset);
        }
        for event in self.events.iter() {
            if let Some(told) =
                Told::of(event, offset).filter(|told| !told.is_preroll && slot.reader.holds(told.offset))
            {
                progress.begin(told.offset);
            }
        }
        if !matches!(step, Step::Blocked { .. } | Step::Rewind { .. }) {
            progress.read(offset);
        }
        slot.shared.frontier.store(slot.reader.frontier(), Ordering::Release);
    }

    fn hand_over(&mut self, slot: &Slot, offset: i64) {
        for event in self.events.drain(..) {
            if let Event::Frame(frame) = &event {
                *self.pending_bytes += frame.payload.len();
            }
            let ticket = Told::of(&event, offset).map(|told| Ticket {
                partition: Arc::clone(&slot.shared),
                first_offset: told.offset,
                hash: told.hash,
                id: told.upto,
                is_preroll: told.is_preroll || !slot.reader.holds(told.offset),
            });
            self.items.push(Item { event, ticket });
        }
    }

    fn block(&self, slot: &mut Slot, stream: &StreamId, (hash, epoch): (u64, u64), offset: i64) {
        let Some(old) = self.shared.places.old_partition(stream, epoch, slot.shared.partition) else {
            // It was given away in between: nothing is left to wait for.
            slot.seek = Some(offset);
            return;
        };
        let mut list = TopicPartitionList::new();
        list.add_partition(&slot.shared.topic, slot.shared.partition);
        if let Err(error) = self.consumer.pause(&list) {
            tracing::warn!(%error, "a partition could not be paused");
        }
        let until = end_of(self.consumer, &old);
        slot.blocked = Some(Blocked { offset, hash, epoch, old, until });
    }
}

/// Keeps directory changes for the workers, newest entry per stream.
pub(crate) fn remember(entries: &mut VecDeque<(CameraId, StreamEntry)>, camera: &CameraId, entry: &StreamEntry) {
    entries.retain(|(known, old)| !(known == camera && old.topic == entry.topic && old.name == entry.name));
    if entries.len() >= MAX_ENTRIES {
        entries.pop_front();
    }
    entries.push_back((camera.clone(), entry.clone()));
}
