//! Looks at single records.

use super::reader::{Quiet, Until};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Assignments for one call: as many records of one partition can be looked at.
const MAX_ROUNDS: usize = 16;
/// What Kafka's format adds to a record that is alone in its batch.
const RECORD_BYTES: usize = 72;

/// Topic, partition, offset.
pub(super) type Place = (String, i32, i64);

/// What is known of a record without keeping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// With key, headers and Kafka's own fields, before compression.
    pub(super) bytes: usize,
    /// When it was appended, or made where the topic keeps that; Unix milliseconds.
    pub(super) unix_millis: Option<i64>,
}

impl Sample {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or(0, |headers| {
            headers.iter().map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len) + 2).sum()
        });
        Self {
            bytes: message.key_len() + message.payload_len() + headers + RECORD_BYTES,
            unix_millis: message.timestamp().to_millis(),
        }
    }
}

/// Reads the records at these places, or the next ones after them; what does not come in time is left out.
pub(super) fn look_at(
    consumer: &BaseConsumer<Quiet>,
    places: &BTreeSet<Place>,
    until: &Until,
) -> HashMap<Place, Sample> {
    let mut wanted: BTreeMap<(String, i32), Vec<i64>> = BTreeMap::new();
    for (topic, partition, offset) in places {
        wanted.entry((topic.clone(), *partition)).or_default().push(*offset);
    }
    let mut found = HashMap::new();
    for _ in 0..MAX_ROUNDS {
        let round: HashMap<_, _> =
            wanted.iter_mut().filter_map(|(at, offsets)| offsets.pop().map(|offset| (at.clone(), offset))).collect();
        if round.is_empty() || until.is_over() {
            break;
        }
        if let Err(error) = look(consumer, round, until, &mut found) {
            tracing::debug!(%error, "records could not be looked at");
            break;
        }
    }
    // Nothing is fetched between two calls.
    if let Err(error) = consumer.unassign() {
        tracing::debug!(%error, "after looking at records");
    }
    found
}

fn look(
    consumer: &BaseConsumer<Quiet>,
    mut waiting: HashMap<(String, i32), i64>,
    until: &Until,
    found: &mut HashMap<Place, Sample>,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::with_capacity(waiting.len());
    for ((topic, partition), offset) in &waiting {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&list)?;
    while !waiting.is_empty() && !until.is_over() {
        let Some(Ok(message)) = consumer.poll(until.left()) else { continue };
        let at = (message.topic().to_owned(), message.partition());
        if let Some(offset) = waiting.remove(&at).filter(|offset| *offset <= message.offset()) {
            found.insert((at.0, at.1, offset), Sample::of(&message));
        }
    }
    Ok(())
}
