//! The way to the partition in which a stream goes on.
//!
//! The record `moved` tells it. Where there is none, because the publisher died or the topic has no such records, the
//! directory does; it is ahead of the frames, so the old partition is left only once the new one has a record of that
//! epoch, and is read to the end that it has then.

use super::{Beginning, Place, Position, Taken};
use crate::diagnosis::{Attempt, explain};
use crate::index::{IndexReader, is_lasting};
use crate::offsets;
use crate::subscriber::Event;
use crate::{BusError, Directory};
use lumenbus_frame::{Gap, GapReason, StreamId};
use lumenbus_wire::Moved;
use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for where a stream goes on.
const PATIENCE: Duration = Duration::from_secs(10);
/// Brokers' clocks may differ by this when a stream goes on in another partition.
const CLOCKS_MILLIS: i64 = 2_000;
/// A publisher that was superseded writes on no longer than this.
const SUPERSEDED_MILLIS: i64 = 60_000;
/// Between two attempts, and between two looks at the next partition.
const REST: Duration = Duration::from_millis(200);

/// What is known of where the stream goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Way {
    /// Here.
    #[default]
    Here,
    /// The directory says where; the partition there was read up to `next`, and has nothing of the epoch until now.
    Announced { moved: Moved, next: i64, looked: Instant, is_read: bool },
    /// There it begins, at or after this offset: left for at the next end of this partition.
    Begun { moved: Moved, offset: i64 },
    /// By the stream itself: nothing more comes here.
    Told(Moved),
}

impl Place {
    /// Not back to where it led from; within a partition reading goes on by itself.
    pub(super) fn leads_on(&self, moved: &Moved) -> bool {
        moved.epoch > self.newest_epoch() && i64::from(moved.partition) != i64::from(self.partition)
    }

    /// Where the directory says that the stream is, when that is elsewhere.
    fn announced_by(&self, directory: &Directory) -> Option<Moved> {
        let entry = directory.stream(&self.stream)?;
        let moved = Moved { epoch: entry.epoch, partition: entry.partition };
        self.leads_on(&moved).then_some(moved)
    }

    /// When the epoch began at the earliest: the others in the partition do not count, they may have gone on for hours.
    fn least_append_millis(&self, moved: &Moved) -> i64 {
        let own = self.own_append_unix_millis.unwrap_or(0);
        let begun = i64::try_from(moved.epoch.millis()).unwrap_or(i64::MAX);
        own.min(begun.max(own.saturating_sub(SUPERSEDED_MILLIS))).saturating_sub(CLOCKS_MILLIS).max(0)
    }
}

impl Position {
    /// Follows the record `moved`; the place is kept until that worked.
    pub(super) fn follow(
        &mut self,
        moved: Moved,
        wait: Duration,
        directory: &Directory,
        out: &mut VecDeque<Event>,
    ) -> Result<Taken, BusError> {
        let Some(place) = &mut self.place else { return Ok(Taken::Nothing) };
        place.way = Way::Told(moved);
        match self.beginning_of(&moved) {
            Ok(Some(offset)) => self.enter(moved, offset, directory, out)?,
            Ok(None) => self.stay()?,
            Err(error) if is_lasting(&error) => return Err(self.explained(error)),
            Err(error) => {
                // Nothing more is wanted of this partition: the poll is the rest between two attempts.
                self.consumer.unassign().map_err(|error| self.explained(error))?;
                drop(self.consumer.poll(wait.min(REST)));
                return Ok(Taken::Trouble(error.to_string()));
            }
        }
        Ok(Taken::Record)
    }

    /// At the end of the partition: follows the directory to where the stream is, once there is something of it.
    pub(super) fn look_ahead(&mut self, index: &mut IndexReader, out: &mut VecDeque<Event>) -> Result<Taken, BusError> {
        let Some(place) = &mut self.place else { return Ok(Taken::Nothing) };
        if let Way::Begun { moved, offset } = place.way {
            self.enter(moved, offset, index.directory(), out)?;
            return Ok(Taken::Record);
        }
        let Some(moved) = place.announced_by(index.directory()) else {
            place.way = Way::Here;
            return Ok(Taken::End);
        };
        let from = match place.way {
            Way::Announced { moved: known, looked, is_read: true, .. } if known == moved && looked.elapsed() < REST => {
                return Ok(Taken::End);
            }
            Way::Announced { moved: known, next, .. } if known == moved => next,
            _ => match self.beginning_of(&moved) {
                Ok(Some(offset)) => offset,
                // The directory names a partition that the topic has not.
                Ok(None) => return Ok(Taken::End),
                Err(error) if is_lasting(&error) => return Err(self.explained(error)),
                Err(error) => return Ok(Taken::Trouble(error.to_string())),
            },
        };
        self.look_at(moved, from, index)
    }

    /// Looks for the epoch in its partition, from this offset on.
    fn look_at(&mut self, moved: Moved, from: i64, index: &mut IndexReader) -> Result<Taken, BusError> {
        let Some(place) = &mut self.place else { return Ok(Taken::Nothing) };
        let partition = i32::try_from(moved.partition).unwrap_or(i32::MAX);
        let looked = Instant::now();
        place.way = Way::Announced { moved, next: from, looked, is_read: false };
        let ahead = match index.look_for_epoch(&place.stream, partition, from, moved.epoch) {
            Ok(ahead) => ahead,
            Err(error) => return Ok(Taken::Trouble(error.to_string())),
        };
        if !ahead.has_begun {
            place.way = Way::Announced { moved, next: ahead.next, looked, is_read: ahead.is_at_end };
            return Ok(Taken::End);
        }
        place.way = Way::Begun { moved, offset: from };
        self.stay_at_end()?;
        Ok(Taken::Record)
    }

    /// Where the epoch begins at the earliest; `None` when the topic has no such partition.
    fn beginning_of(&self, moved: &Moved) -> Result<Option<i64>, KafkaError> {
        let Some(place) = &self.place else { return Ok(None) };
        let topic = place.stream.topic.as_str();
        let metadata = self.consumer.fetch_metadata(Some(topic), PATIENCE)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let Some(partition) = i32::try_from(moved.partition).ok().filter(|partition| {
            found.is_some_and(|found| found.partitions().iter().any(|known| known.id() == *partition))
        }) else {
            tracing::debug!(stream = %place.stream, ?moved, "moved to a partition that is not there");
            return Ok(None);
        };
        let places = [(topic.to_owned(), partition)];
        // The end first: a record that comes between the two questions is after it.
        let end = offsets::ask(&self.consumer, &places, Offset::End, PATIENCE)?.into_values().next();
        let at = Offset::Offset(place.least_append_millis(moved));
        let found = offsets::ask(&self.consumer, &places, at, PATIENCE)?.into_values().next();
        found.or(end).map(Some).ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset))
    }

    /// Reads on there; an epoch without an end ends here.
    fn enter(
        &mut self,
        moved: Moved,
        offset: i64,
        directory: &Directory,
        out: &mut VecDeque<Event>,
    ) -> Result<(), BusError> {
        let Some(place) = &self.place else { return Ok(()) };
        let (stream, own_append_unix_millis) = (place.stream.clone(), place.own_append_unix_millis);
        let unfinished = place.last.filter(|_| !place.has_ended);
        let partition = i32::try_from(moved.partition).unwrap_or(i32::MAX);
        let is_cut = self.is_cut_at(&stream, partition, offset);
        self.go_to(&stream, (partition, offset), Beginning::OfTheLog, moved.epoch, directory)?;
        if let Some(place) = &mut self.place {
            place.own_append_unix_millis = own_append_unix_millis;
            if is_cut {
                place.reader.retention_passed();
            }
        }
        if let Some(last) = unfinished {
            let first = last.seq.next();
            let gap = Gap { epoch: Some(last.epoch), last: None, ..Gap::new(first, first, GapReason::Aborted) };
            out.push_back(Event::Gap { stream: Arc::new(stream), gap });
        }
        Ok(())
    }

    /// Whether retention took what was before this offset, as far as can be asked: it is only the reason that is told.
    fn is_cut_at(&self, stream: &StreamId, partition: i32, offset: i64) -> bool {
        let places = [(stream.topic.to_string(), partition)];
        let begin = offsets::ask(&self.consumer, &places, Offset::Beginning, PATIENCE);
        let begin = begin.ok().and_then(|begin| begin.into_values().next());
        begin.is_some_and(|begin| begin > 0 && begin >= offset)
    }

    /// Reads on here: the way leads nowhere.
    fn stay(&mut self) -> Result<(), BusError> {
        if let Some(place) = &mut self.place {
            place.way = Way::Here;
        }
        self.stay_at_end()
    }

    /// Reads on here; the end is told anew.
    fn stay_at_end(&mut self) -> Result<(), BusError> {
        let Some(place) = &mut self.place else { return Ok(()) };
        place.is_at_end = false;
        let (stream, partition, next) = (place.stream.clone(), place.partition, place.next_offset);
        self.consumer.unassign().map_err(|error| self.explained(error))?;
        self.assign(&stream, partition, next)
    }

    fn explained(&self, error: KafkaError) -> BusError {
        let topic = self.place.as_ref().map_or("", |place| place.stream.topic.as_str());
        explain(error, &Attempt::reading(&self.brokers, topic))
    }
}
