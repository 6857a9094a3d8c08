//! One consumer and its thread: polls Kafka, reads partitions, fills the delivery queue, commits.

mod context;
mod intake;
mod slot;

pub(crate) use context::{Context, WorkerShared, add_commit};

use super::Policy;
use super::event::{Event, Notice, SubscriberStats};
use super::places::is_past;
use super::queue::{Item, lock};
use super::start::{PartitionStart, Start, partitions_of, starts};
use crate::BusError;
use context::Change;
use intake::Hands;
use lumenbus_frame::TopicName;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use slot::{CHUNK_PATIENCE_NANOS, Slot, apply_changes, end_of, ends_of, look_behind, seek, seek_back};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Longest wait for a record without looking at commits, the directory and shutdown: nothing else wakes librdkafka's poll.
const TICK: Duration = Duration::from_millis(20);
/// Records read before the queue is filled and timers are looked at.
const BATCH_RECORDS: usize = 512;
/// Payload bytes read before the queue is filled.
const BATCH_BYTES: usize = 1024 * 1024;
/// A caller that takes nothing for so long makes us pause partitions, so that the group goes on.
const STALL: Duration = Duration::from_secs(10);
/// How often a reader without a group looks for partitions that were added.
const PARTITION_CHECK: Duration = Duration::from_secs(5);
/// Longest wait for that: the partitions that are there are not read meanwhile.
const PARTITION_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a reader looks how far behind it is.
const LAG_CHECK: Duration = Duration::from_secs(1);
/// A group that comes back and wants the newest works through what it missed for so long.
const MISSED: Duration = Duration::from_secs(2);

/// Who has not read after this time what was in the log goes to its live end.
fn late_after(policy: Policy, start: Start, is_linked: bool) -> Option<Duration> {
    match policy {
        Policy::Live { max_age } => Some(max_age + LAG_CHECK),
        // Results of long ago are no news; but who asked for the log has all of it.
        Policy::Newest if is_linked && start == Start::Live => Some(MISSED + LAG_CHECK),
        Policy::Newest | Policy::Lossless => None,
    }
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
    /// Of all workers together; only without a group.
    known_partitions: HashSet<(String, i32)>,
    last_partition_check: Instant,
    /// Changes of the directory that were taken.
    news_seen: u64,
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
        if shared.config.results.is_some() {
            // With another one, offsets of a transaction under way would count as none at all.
            client.set("isolation.level", "read_committed");
        }
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
            known_partitions: HashSet::new(),
            last_partition_check: Instant::now(),
            news_seen: 0,
            commits_done: 0,
            is_disconnected: false,
            past: SubscriberStats::default(),
        })
    }

    /// Every partition of the subscription's topics.
    pub(crate) fn partitions(&self, wait: Duration) -> Result<Vec<(String, i32)>, BusError> {
        partitions_of(&self.consumer, &self.shared.config.topics, &self.shared.config.bus.brokers, wait)
    }

    /// Joins the group, or takes these partitions of all that there are.
    pub(crate) fn begin(&mut self, partitions: &[(String, i32)], all: &[(String, i32)]) -> Result<(), BusError> {
        self.known_partitions.extend(all.iter().cloned());
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
        let found = starts(&self.consumer, &list, (self.shared.config.start, false), &|| false).map_err(as_error)?;
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
        self.look_for_partitions();
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
        // Before the directory is read: what it learns in between comes once more, which changes nothing.
        let news = self.shared.news.after(&mut self.news_seen);
        let (mut told, mut all) = (Vec::new(), None);
        for slot in self.slots.values_mut().flat_map(HashMap::values_mut) {
            let is_new = !std::mem::replace(&mut slot.knows_directory, true);
            let entries = match &news {
                Some(news) if !is_new => news,
                _ => all.get_or_insert_with(|| self.shared.places.entries()),
            };
            for (camera, entry) in entries {
                if i64::from(entry.partition) == i64::from(slot.shared.partition) {
                    slot.reader.directory(camera, entry.clone(), &mut told);
                }
            }
            slot.reader.apply_entries(&mut told);
        }
        self.items.extend(told.into_iter().map(|event| Item { event, ticket: None }));
    }

    /// Looks at partitions that are behind: `live` skips what is too old, as does `newest` with results of the live end,
    /// and incomplete frames are given up.
    ///
    /// No clock is compared with another: behind is who has not yet read what was in the log some time ago.
    fn look_behind(&mut self) {
        if self.last_lag_check.elapsed() < LAG_CHECK {
            return;
        }
        self.last_lag_check = Instant::now();
        let is_linked = self.shared.config.results.is_some();
        let late = late_after(self.shared.config.policy, self.shared.config.start, is_linked);
        let now = self.shared.config.clock.unix_nanos();
        let is_stale = |nanos: i64| now.saturating_sub(nanos) >= CHUNK_PATIENCE_NANOS;
        let is_watched = |slot: &&mut Slot| {
            slot.blocked.is_none() && (late.is_some() || slot.reader.oldest_open_nanos().is_some_and(is_stale))
        };
        let mut slots: Vec<_> = self.slots.values_mut().flat_map(HashMap::values_mut).filter(is_watched).collect();
        let unseen = slots.iter().filter(|slot| slot.seen_end.is_none()).map(|slot| slot.place());
        let ends = ends_of(&self.consumer, &unseen.collect::<Vec<_>>());
        for slot in &mut slots {
            let end = ends.get(&slot.place()).copied();
            look_behind(&self.consumer, slot, (late, is_linked), (now, end));
        }
    }

    /// A topic may grow; a group's coordinator sees to it, a reader without one looks for itself.
    fn look_for_partitions(&mut self) {
        let is_alone = self.shared.config.group.is_none() && !self.is_disconnected;
        if !is_alone || self.last_partition_check.elapsed() < PARTITION_CHECK {
            return;
        }
        self.last_partition_check = Instant::now();
        let added = self.partitions(PARTITION_TIMEOUT).and_then(|found| {
            let is_new = |partition: &(String, i32)| !self.known_partitions.contains(partition);
            self.take_partitions(found.into_iter().filter(is_new).collect())
        });
        if let Err(error) = added {
            tracing::debug!(%error, "partitions that may have been added");
        }
        self.last_partition_check = Instant::now();
    }

    /// Takes this worker's share of new partitions, from their beginning: nothing in them was to be had before.
    fn take_partitions(&mut self, new: Vec<(String, i32)>) -> Result<(), BusError> {
        let consumers = self.shared.config.consumers.max(1);
        let is_ours = |partition: i32| usize::try_from(partition).is_ok_and(|number| number % consumers == self.index);
        let mut list = TopicPartitionList::new();
        for (topic, partition) in new.iter().filter(|(_, partition)| is_ours(*partition)) {
            list.add_partition(topic, *partition);
        }
        if list.count() > 0 {
            let shared = Arc::clone(&self.shared);
            let as_error = |error| shared.explain(error);
            let found = starts(&self.consumer, &list, (Start::Earliest, false), &|| false).map_err(as_error)?;
            for start in &found {
                let offset = Offset::Offset(start.offset);
                list.set_partition_offset(&start.topic, start.partition, offset).map_err(as_error)?;
            }
            self.consumer.incremental_assign(&list).map_err(as_error)?;
            self.take_assignment(found);
        }
        self.known_partitions.extend(new);
        Ok(())
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
            self.shared.commit_done.notify_all();
        }
    }

    fn commit(&self, mode: CommitMode) {
        if self.shared.config.group.is_none() || self.shared.config.results.is_some() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_wants_what_is_live_is_taken_to_the_end() {
        let max_age = Duration::from_millis(500);
        assert_eq!(late_after(Policy::Live { max_age }, Start::Live, false), Some(max_age + LAG_CHECK));
        assert_eq!(late_after(Policy::Newest, Start::Live, true), Some(MISSED + LAG_CHECK));
        let others = [
            (Policy::Newest, Start::Live, false),
            (Policy::Newest, Start::Earliest, true),
            (Policy::Newest, Start::At { unix_millis: 1 }, true),
            (Policy::Lossless, Start::Live, true),
        ];
        assert!(others.iter().all(|(policy, start, is_linked)| late_after(*policy, *start, *is_linked).is_none()));
    }
}
