//! The partitions of a worker: how they come and go, and where reading them goes on.

use super::super::partition::{Beginning, PartitionConfig, PartitionReader, Preroll};
use super::super::progress::{Marks, Progress};
use super::super::queue::{PartitionShared, lock};
use super::super::start::{PartitionStart, Start};
use super::super::{SubscriberConfig, SubscriberStats};
use super::context::{Change, Context, WorkerShared};
use crate::offsets::{self, Place};
use lumenbus_frame::TopicName;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An incomplete frame without a new chunk for so long is given up, once everything else is read.
pub(super) const CHUNK_PATIENCE_NANOS: i64 = 30_000_000_000;

/// Longest wait for what partitions hold now: none is read meanwhile.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A partition of this worker.
pub(super) struct Slot {
    pub(super) reader: PartitionReader,
    pub(super) shared: Arc<PartitionShared>,
    /// Where to seek as soon as librdkafka takes it; until then its records are ignored.
    pub(super) seek: Option<i64>,
    pub(super) blocked: Option<Blocked>,
    /// The log's end as it was a moment ago.
    pub(super) seen_end: Option<(Instant, i64)>,
    /// The reader was given what the directory says.
    pub(super) knows_directory: bool,
}

impl Slot {
    pub(super) fn place(&self) -> Place {
        (self.shared.topic.clone(), self.shared.partition)
    }
}

/// Waits for a stream's old partition.
pub(super) struct Blocked {
    pub(super) offset: i64,
    pub(super) hash: u64,
    pub(super) epoch: u64,
    pub(super) old: Arc<PartitionShared>,
    /// What the old partition held when the wait began.
    pub(super) until: Option<i64>,
}
pub(super) fn apply_changes(
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

pub(super) fn add_slot(
    slots: &mut HashMap<String, HashMap<i32, Slot>>,
    shared: &Arc<WorkerShared>,
    start: PartitionStart,
) {
    let Ok(topic) = TopicName::new(&start.topic) else { return };
    let marks = match &start.beginning {
        Beginning::Resumed(marks) => marks.clone(),
        _ => Marks::default(),
    };
    let mut progress = Progress::new(start.offset, marks);
    if commits_start(&shared.config, &start.beginning) {
        progress.retry_commit();
    }
    let partition = Arc::new(PartitionShared {
        topic: start.topic.clone(),
        partition: start.partition,
        progress: Mutex::new(progress),
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
    let slot = Slot { reader, shared: partition, seek: None, blocked: None, seen_end: None, knows_directory: false };
    slots.entry(start.topic).or_default().insert(start.partition, slot);
}

/// Whether the beginning itself is committed: at the live end, the next owner would otherwise begin at a later one, and
/// nobody would know of what lies between. Who goes on in the middle of a GOP must not find one that nobody has begun.
fn commits_start(config: &SubscriberConfig, beginning: &Beginning) -> bool {
    let is_found_again = matches!(beginning, Beginning::Resumed(_)) || config.start == Start::Earliest;
    !is_found_again && config.preroll == Preroll::Deliver
}

pub(super) fn seek(consumer: &BaseConsumer<Context>, slot: &mut Slot) {
    let Some(offset) = slot.seek.filter(|_| slot.blocked.is_none()) else { return };
    // Fails while the partition is being assigned; the next tick tries again.
    if consumer.seek(&slot.shared.topic, slot.shared.partition, Offset::Offset(offset), Duration::ZERO).is_ok() {
        slot.reader.rewound(offset);
        slot.seek = None;
    }
}

/// What a partition holds now; asked again when there is no answer.
pub(super) fn end_of(consumer: &BaseConsumer<Context>, partition: &PartitionShared) -> Option<i64> {
    let marks = consumer.fetch_watermarks(&partition.topic, partition.partition, END_TIMEOUT);
    marks.ok().map(|(_, end)| end)
}

/// What partitions hold now. One that is in trouble must not hide the others, nor brokers that are gone hold up a stop:
/// who refuses does so at once, and silence is waited for only once more, by all together.
pub(super) fn ends_of(consumer: &BaseConsumer<Context>, places: &[Place]) -> HashMap<Place, i64> {
    offsets::ask(consumer, places, Offset::End, END_TIMEOUT).unwrap_or_else(|_| {
        let deadline = Instant::now() + END_TIMEOUT;
        let one = |place: &Place| {
            let left = deadline.saturating_duration_since(Instant::now());
            (!left.is_zero()).then(|| offsets::ask(consumer, std::slice::from_ref(place), Offset::End, left).ok())?
        };
        places.iter().filter_map(one).flatten().collect()
    })
}

/// `late`: who has not read after so long what was there is taken to the live end, and whether results hang on it.
/// `end`: what the partition holds now, where it was asked for.
pub(super) fn look_behind(
    consumer: &BaseConsumer<Context>,
    slot: &mut Slot,
    (late, is_linked): (Option<Duration>, bool),
    (now_unix_nanos, end): (i64, Option<i64>),
) {
    let is_rewinding = slot.reader.next_offset() < slot.reader.frontier() || slot.seek.is_some();
    match slot.seen_end {
        Some((seen, then)) if slot.reader.next_offset() < then => {
            if late.is_some_and(|late| seen.elapsed() >= late)
                && !is_rewinding
                && let Some(end) = end_of(consumer, &slot.shared)
            {
                if is_linked {
                    slot.reader.passed_over(end, now_unix_nanos);
                } else {
                    slot.reader.skipped(end, now_unix_nanos);
                }
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
        None => slot.seen_end = end.map(|end| (Instant::now(), end)),
    }
}

pub(super) fn seek_back(slots: &mut HashMap<String, HashMap<i32, Slot>>, message: &BorrowedMessage<'_>) {
    if let Some(slot) = slots.get_mut(message.topic()).and_then(|slots| slots.get_mut(&message.partition())) {
        slot.seek.get_or_insert(slot.reader.next_offset());
    }
}

/// Chunked frames that ended or were given up no longer hold the safe offset back.
pub(super) fn give_up(slot: &mut Slot) {
    if slot.reader.gave_up.is_empty() {
        return;
    }
    let mut progress = lock(&slot.shared.progress);
    for offset in slot.reader.gave_up.drain(..) {
        progress.done(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BusConfig;

    #[test]
    fn a_live_beginning_is_committed_before_anything_is_read() {
        let mut config = SubscriberConfig::new(BusConfig::new("127.0.0.1:1"), Vec::new());
        assert!(!commits_start(&config, &Beginning::Live), "the next owner would begin in the middle of a GOP");
        config.preroll = Preroll::Deliver;
        assert!(commits_start(&config, &Beginning::Live));
        assert!(commits_start(&config, &Beginning::OfTheLog), "by its next owner the end is found elsewhere");
        assert!(!commits_start(&config, &Beginning::Resumed(Marks::default())));
        config.start = Start::Earliest;
        assert!(!commits_start(&config, &Beginning::OfTheLog));
        let mut progress = Progress::new(7, Marks::default());
        assert_eq!(progress.take_commit(), None);
        progress.retry_commit();
        assert_eq!(progress.take_commit(), Some((7, Marks::default().encode())));
    }
}
