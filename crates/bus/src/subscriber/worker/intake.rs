//! A record's way from librdkafka through its partition's reader towards the queue.

use super::super::event::{Event, FrameRole};
use super::super::partition::{LogRecord, Step};
use super::super::places::At;
use super::super::progress::stream_hash;
use super::super::queue::{Item, Ticket, lock};
use super::context::{Context, WorkerShared};
use super::slot::{Blocked, Slot, end_of, seek};
use lumenbus_frame::{FrameId, StreamId};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What an event tells of a stream: everything up to a frame, or how it stands, from the record at an offset.
struct Told {
    hash: u64,
    upto: Option<FrameId>,
    offset: i64,
    is_preroll: bool,
}

impl Told {
    fn of(event: &Event, record_offset: i64) -> Option<Self> {
        let of = |stream: &StreamId, upto| Self {
            hash: stream_hash(stream),
            upto,
            offset: record_offset,
            is_preroll: false,
        };
        let told = |stream: &StreamId, epoch, seq| of(stream, Some(FrameId { epoch, seq }));
        match event {
            Event::Frame(frame) => Some(Self {
                offset: frame.offset,
                is_preroll: frame.role == FrameRole::Preroll,
                ..told(&frame.stream, frame.id().epoch, frame.id().seq)
            }),
            Event::Gap { stream, gap } => Some(told(stream, gap.epoch?, gap.last?)),
            Event::Repeat { stream, epoch, range } => Some(told(stream, *epoch, range.last)),
            Event::End { stream, .. } | Event::Offline { stream, .. } => Some(of(stream, None)),
            Event::Notice(_) => None,
        }
    }
}

/// What handling one message needs of the worker.
pub(super) struct Hands<'a> {
    pub(super) shared: &'a Arc<WorkerShared>,
    pub(super) consumer: &'a BaseConsumer<Context>,
    pub(super) events: &'a mut Vec<Event>,
    pub(super) items: &'a mut Vec<Item>,
    pub(super) pending_bytes: &'a mut usize,
}

impl Hands<'_> {
    pub(super) fn message(&mut self, slot: &mut Slot, message: &BorrowedMessage<'_>) {
        if slot.seek.is_some() || slot.blocked.is_some() {
            return;
        }
        let record = LogRecord::of(message, self.shared.config.clock.unix_nanos());
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
