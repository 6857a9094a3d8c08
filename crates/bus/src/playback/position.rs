//! Where a player is in the log: one partition's reader, and the way to the next partition.

mod way;

use crate::diagnosis::{Attempt, explain};
use crate::index::{IndexReader, KeyframeAt, is_lasting};
use crate::status::Quiet;
use crate::subscriber::{
    Beginning, CameraFilter, Event, LogRecord, PartitionConfig, PartitionReader, Passport, Preroll, Step,
};
use crate::{BusConfig, BusError, Directory, Role};
use lumenbus_frame::{Epoch, FrameId, Seq, StreamId};
use lumenbus_wire::{Control, Header, MAX_FRAME_BYTES, Moved, content_type};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use way::Way;

/// Longest wait for a record, until the directory is asked again where the stream is.
const LOOK: Duration = Duration::from_millis(500);

/// One stream in one partition has nobody to wait for.
struct Free;

impl Passport for Free {
    fn may_enter(&self, _: &StreamId, _: u64, _: u64) -> bool {
        true
    }

    fn moved_away(&self, _: u64, _: u64) {}
}

/// What came of taking a record.
pub(super) enum Taken {
    Record,
    /// Everything there is was read.
    End,
    Nothing,
    /// Passing; it is tried again.
    Trouble(String),
}

struct Place {
    stream: StreamId,
    partition: i32,
    reader: PartitionReader,
    /// What is below was in another partition, or is not meant.
    least_epoch: Epoch,
    /// The last frame that was handed over.
    last: Option<FrameId>,
    has_ended: bool,
    append_unix_millis: Option<i64>,
    /// Of the stream's own last record.
    own_append_unix_millis: Option<i64>,
    next_offset: i64,
    is_at_end: bool,
    way: Way,
}

pub(super) struct Position {
    consumer: BaseConsumer<Quiet>,
    brokers: String,
    place: Option<Place>,
    scratch: Vec<Event>,
}

impl Position {
    pub(super) fn open(bus: &BusConfig) -> Result<Self, BusError> {
        let mut client = bus.client_config(Role::Consumer);
        client
            // In name only: librdkafka assigns partitions only to a consumer with a group.
            .set("group.id", "lumenbus-player")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true");
        let brokers = bus.brokers.clone();
        let consumer = client.create_with_context(Quiet);
        let consumer = consumer.map_err(|error| explain(error, &Attempt::asking(&brokers)))?;
        Ok(Self { consumer, brokers, place: None, scratch: Vec::new() })
    }

    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(super) fn stream(&self) -> Option<&StreamId> {
        self.place.as_ref().map(|place| &place.stream)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.place.as_ref().is_none_or(Place::is_at_end)
    }

    pub(super) fn last_append_unix_millis(&self) -> Option<i64> {
        self.place.as_ref()?.append_unix_millis
    }

    pub(super) fn leave(&mut self) {
        if self.place.take().is_some()
            && let Err(error) = self.consumer.unassign()
        {
            tracing::debug!(%error, "after playing a stream");
        }
    }

    pub(super) fn begin(
        &mut self,
        stream: &StreamId,
        keyframe: &KeyframeAt,
        directory: &Directory,
    ) -> Result<(), BusError> {
        let at = (keyframe.partition, keyframe.offset);
        self.go_to(stream, at, Beginning::Within, keyframe.id.epoch, directory)
    }

    fn go_to(
        &mut self,
        stream: &StreamId,
        (partition, offset): (i32, i64),
        beginning: Beginning,
        least_epoch: Epoch,
        directory: &Directory,
    ) -> Result<(), BusError> {
        let filter = CameraFilter::new([stream.camera.as_str()]).expect("a camera id is a pattern");
        let mut reader = PartitionReader::new(PartitionConfig {
            topic: stream.topic.clone(),
            partition,
            beginning,
            start: offset,
            filter: Arc::new(filter),
            preroll: Preroll::Skip,
            max_frame_bytes: MAX_FRAME_BYTES,
        });
        tell_directory(&mut reader, stream, partition, directory, &mut self.scratch);
        self.assign(stream, partition, offset)?;
        self.place = Some(Place {
            stream: stream.clone(),
            partition,
            reader,
            least_epoch,
            last: None,
            has_ended: false,
            append_unix_millis: None,
            own_append_unix_millis: None,
            next_offset: offset,
            is_at_end: false,
            way: Way::Here,
        });
        Ok(())
    }

    fn assign(&self, stream: &StreamId, partition: i32, offset: i64) -> Result<(), BusError> {
        let topic = stream.topic.as_str();
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(topic, partition, Offset::Offset(offset));
        let assigned = added.and_then(|()| self.consumer.assign(&list));
        assigned.map_err(|error| explain(error, &Attempt::reading(&self.brokers, topic)))
    }

    /// Reads one record; its events of the stream are appended.
    pub(super) fn take(
        &mut self,
        wait: Duration,
        now_unix_nanos: i64,
        index: &mut IndexReader,
        out: &mut VecDeque<Event>,
    ) -> Result<Taken, BusError> {
        let Some(place) = &mut self.place else { return Ok(Taken::Nothing) };
        if let Way::Told(moved) = place.way {
            return self.follow(moved, wait, index.directory(), out);
        }
        let (mut moved, mut rewind, mut append_unix_millis) = (None, None, None);
        match self.consumer.poll(wait.min(LOOK)) {
            None if place.is_at_end => {
                let taken = self.look_ahead(index, out)?;
                return Ok(if matches!(taken, Taken::End) { Taken::Nothing } else { taken });
            }
            None => return Ok(Taken::Nothing),
            Some(Ok(message)) => {
                let record = LogRecord::of(&message, now_unix_nanos);
                place.is_at_end = false;
                place.next_offset = record.offset + 1;
                append_unix_millis = record.append_unix_millis;
                place.append_unix_millis = append_unix_millis.or(place.append_unix_millis);
                if let Step::Rewind { offset } = place.reader.record(&record, &Free, &mut self.scratch) {
                    place.reader.rewound(offset);
                    rewind = Some(offset);
                }
                moved = moved_of(&record, &place.stream);
                place.reader.apply_entries(&mut self.scratch);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                place.is_at_end = true;
                tell_directory(&mut place.reader, &place.stream, place.partition, index.directory(), &mut self.scratch);
            }
            Some(Err(error)) if is_lasting(&error) => {
                return Err(explain(error, &Attempt::reading(&self.brokers, place.stream.topic.as_str())));
            }
            Some(Err(error)) => return Ok(Taken::Trouble(error.to_string())),
        }
        let is_at_end = place.is_at_end;
        for event in self.scratch.drain(..) {
            if let Some(event) = place.wanted(event) {
                place.own_append_unix_millis = append_unix_millis.or(place.own_append_unix_millis);
                out.push_back(event);
            }
        }
        // Chunked frames hold nothing back here.
        place.reader.began.clear();
        place.reader.gave_up.clear();
        if let Some(offset) = rewind {
            place.next_offset = offset;
            let (stream, partition) = (place.stream.clone(), place.partition);
            self.assign(&stream, partition, offset)?;
        } else if let Some(moved) = moved.filter(|moved| place.leads_on(moved)) {
            return self.follow(moved, wait, index.directory(), out);
        } else if is_at_end {
            return self.look_ahead(index, out);
        }
        Ok(Taken::Record)
    }
}

impl Place {
    fn is_at_end(&self) -> bool {
        self.is_at_end && matches!(self.way, Way::Here | Way::Announced { is_read: true, .. })
    }

    /// The newest epoch that was handed over.
    fn newest_epoch(&self) -> Epoch {
        self.last.map_or(self.least_epoch, |last| last.epoch)
    }

    /// The event, if it is of the stream and of an epoch that is played.
    fn wanted(&mut self, event: Event) -> Option<Event> {
        let (stream, epoch) = match &event {
            Event::Frame(frame) => (&frame.stream, frame.id().epoch),
            Event::Gap { stream, gap } => (stream, gap.epoch.unwrap_or(Epoch(0))),
            Event::Repeat { stream, epoch, .. }
            | Event::Offline { stream, epoch, .. }
            | Event::End { stream, epoch, .. } => (stream, *epoch),
            Event::Notice(_) => return Some(event),
        };
        if **stream != self.stream || epoch < self.least_epoch {
            return None;
        }
        let seq = |seq: Seq| Some(FrameId { epoch, seq });
        match &event {
            Event::Frame(frame) => {
                self.last = Some(frame.id());
                self.has_ended = false;
            }
            Event::Gap { gap, .. } => self.last = gap.last.and_then(seq).or(self.last),
            Event::Repeat { range, .. } => self.last = seq(range.last),
            Event::End { .. } => self.has_ended = true,
            _ => {}
        }
        Some(event)
    }
}

/// On topics without control records the directory says how an epoch ends.
fn tell_directory(
    reader: &mut PartitionReader,
    stream: &StreamId,
    partition: i32,
    directory: &Directory,
    out: &mut Vec<Event>,
) {
    if let Some(entry) = directory.stream(stream)
        && i64::from(entry.partition) == i64::from(partition)
    {
        reader.directory(&stream.camera, entry, out);
    }
}

/// What a `moved` record of the stream says.
fn moved_of(record: &LogRecord<'_>, stream: &StreamId) -> Option<Moved> {
    let is_ours = record.key == Some(stream.camera.as_str().as_bytes());
    if !is_ours || record.content_type != Some(content_type::MOVED.as_bytes()) {
        return None;
    }
    let header = Header::decode(record.header?).ok()?;
    let is_stream = header.stream.as_ref().map_or(stream.name.is_main(), |name| *name == stream.name);
    match header.control {
        Some(Control::Moved(moved)) if is_stream => Some(moved),
        _ => None,
    }
}
