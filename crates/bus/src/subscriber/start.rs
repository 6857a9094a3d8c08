//! Where reading begins.

use super::partition::Beginning;
use super::progress::Marks;
use super::worker::Context;
use crate::BusError;
use crate::diagnosis::{Attempt, code_of, explain};
use crate::offsets::{self, Place};
use lumenbus_frame::TopicName;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::time::Duration;

/// Longest wait for each answer about offsets.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Kafka tells no client of a new leader: it is asked again.
const RETRY: Duration = Duration::from_millis(50);
const MAX_RETRIES: usize = 100;

/// Where a subscription begins in a partition that its group (if any) has not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the live end; each stream from its newest keyframe.
    #[default]
    Live,
    /// At the oldest record there is.
    Earliest,
    /// At this moment: without a group, each stream from the keyframe before it, and frames taken before it have the
    /// role [`Preroll`](super::FrameRole::Preroll); of a group, at the first record appended at or after it.
    At {
        /// Unix time in milliseconds.
        unix_millis: i64,
    },
}

/// One partition's start.
#[derive(Debug)]
pub(crate) struct PartitionStart {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) beginning: Beginning,
}

/// Asks Kafka where each partition of the list begins.
pub(crate) fn starts(
    consumer: &BaseConsumer<Context>,
    partitions: &TopicPartitionList,
    (start, has_group): (Start, bool),
    is_stopped: &dyn Fn() -> bool,
) -> Result<Vec<PartitionStart>, KafkaError> {
    let committed = if has_group { Some(committed(consumer, partitions, is_stopped)?) } else { None };
    let (mut found, mut fresh) = (Vec::with_capacity(partitions.count()), Vec::new());
    for element in partitions.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let left = committed.as_ref().and_then(|list| list.find_partition(topic, partition));
        match left.as_ref().map(|left| (left.offset(), left.metadata())) {
            Some((Offset::Offset(offset), marks)) => {
                let beginning = Beginning::Resumed(Marks::decode(marks));
                found.push(PartitionStart { topic: topic.to_owned(), partition, offset, beginning });
            }
            _ => fresh.push((topic.to_owned(), partition)),
        }
    }
    found.extend(fresh_starts(consumer, &fresh, (start, has_group))?);
    Ok(found)
}

/// What the group has committed. A transaction that holds an offset back ends within its timeout; until then there is no
/// answer, and going on without one would begin anew.
fn committed(
    consumer: &BaseConsumer<Context>,
    partitions: &TopicPartitionList,
    is_stopped: &dyn Fn() -> bool,
) -> Result<TopicPartitionList, KafkaError> {
    loop {
        let list = consumer.committed_offsets(partitions.clone(), QUERY_TIMEOUT)?;
        let is_open = |element: &TopicPartitionListElem<'_>| {
            element.error().is_err_and(|error| code_of(&error) == Some(Code::UnstableOffsetCommit))
        };
        if !list.elements().iter().any(is_open) {
            return Ok(list);
        }
        if is_stopped() {
            return Err(KafkaError::Canceled);
        }
        // Kafka tells nobody of the end of a transaction: it is asked again.
        std::thread::sleep(RETRY);
    }
}

fn fresh_starts(
    consumer: &BaseConsumer<Context>,
    partitions: &[Place],
    (start, has_group): (Start, bool),
) -> Result<Vec<PartitionStart>, KafkaError> {
    let (known, otherwise) = match start {
        Start::Live => (HashMap::new(), Offset::End),
        Start::Earliest => (HashMap::new(), Offset::Beginning),
        Start::At { unix_millis } => {
            let at = Offset::Offset(unix_millis);
            (patiently(|| offsets::ask(consumer, partitions, at, QUERY_TIMEOUT))?, Offset::End)
        }
    };
    let others: Vec<_> = partitions.iter().filter(|partition| !known.contains_key(*partition)).cloned().collect();
    let is_live = |partition: &Place| !matches!(start, Start::Earliest) && !known.contains_key(partition);
    let others = bounds(consumer, &others, otherwise)?;
    let begin = |((topic, partition), offset): (&Place, &i64)| {
        let place = (topic.clone(), *partition);
        let beginning = match *offset {
            // Of an empty partition, too, every stream is seen from its first frame on.
            0 => Beginning::OfTheLog,
            _ if is_live(&place) => Beginning::Live,
            _ => match start {
                Start::At { unix_millis } if !has_group => {
                    Beginning::Moment { unix_nanos: unix_millis.saturating_mul(1_000_000) }
                }
                _ => Beginning::Within,
            },
        };
        PartitionStart { topic: place.0, partition: place.1, offset: *offset, beginning }
    };
    Ok(known.iter().chain(&others).map(begin).collect())
}

/// The beginnings or ends of all these partitions.
pub(super) fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Place],
    at: Offset,
) -> Result<HashMap<Place, i64>, KafkaError> {
    patiently(|| offsets::ask(consumer, partitions, at, QUERY_TIMEOUT))
}

/// Asks again while a partition has no leader that knows of itself: just created, or just moved.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let is_passing = |error: &KafkaError| {
        let code = code_of(error);
        matches!(code, Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::ReplicaNotAvailable))
    };
    for _ in 0..MAX_RETRIES {
        match ask() {
            Err(error) if is_passing(&error) => std::thread::sleep(RETRY),
            answer => return answer,
        }
    }
    ask()
}

/// Every partition of these topics; a missing topic is an error, and so is one that may not be seen. Waits at most so long for each topic.
pub(crate) fn partitions_of<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[TopicName],
    brokers: &str,
    wait: Duration,
) -> Result<Vec<(String, i32)>, BusError> {
    let mut found = Vec::new();
    for topic in topics {
        let attempt = Attempt::reading(brokers, topic.as_str());
        let metadata = consumer.fetch_metadata(Some(topic.as_str()), wait).map_err(|e| explain(e, &attempt))?;
        let described = metadata.topics().first();
        // Told of the topic alone; the request as such goes well.
        if described.and_then(MetadataTopic::error).map(Code::from) == Some(Code::TopicAuthorizationFailed) {
            return Err(explain(KafkaError::MetadataFetch(Code::TopicAuthorizationFailed), &attempt));
        }
        let partitions = described.map_or(&[][..], |topic| topic.partitions());
        if partitions.is_empty() {
            let topic = topic.as_str().to_owned();
            return Err(BusError::UnknownTopic { topic, brokers: brokers.to_owned() });
        }
        found.extend(partitions.iter().map(|partition| (topic.as_str().to_owned(), partition.id())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_is_not_ready_is_asked_again_and_other_errors_are_told() {
        let mut answers = vec![Ok(7), Err(Code::LeaderNotAvailable), Err(Code::NotLeaderForPartition)];
        let found = patiently(|| answers.pop().unwrap().map_err(KafkaError::MetadataFetch));
        assert_eq!(found.ok(), Some(7));
        let mut asked = 0;
        let refused = patiently(|| {
            asked += 1;
            Err::<(), _>(KafkaError::MetadataFetch(Code::TopicAuthorizationFailed))
        });
        assert_eq!((refused.is_err(), asked), (true, 1));
    }
}
