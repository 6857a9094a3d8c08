//! Offsets of many partitions with one question to each leader.

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::time::Duration;

/// Topic and partition.
pub(crate) type Place = (String, i32);

pub(crate) fn list_of(partitions: &[Place], at: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, at)?;
    }
    Ok(list)
}

/// Those elements that have an offset and no error.
pub(crate) fn known(list: &TopicPartitionList) -> HashMap<Place, i64> {
    let elements = list.elements();
    let known =
        elements.iter().filter(|element| element.error().is_ok()).filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
            _ => None,
        });
    known.collect()
}

/// The first offsets at or after a Unix time in milliseconds (`Offset::Offset`), or the log's beginnings or ends, which
/// Kafka takes in place of a time. A partition without such an offset is left out; one in trouble fails all.
pub(crate) fn ask<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Place],
    at: Offset,
    wait: Duration,
) -> Result<HashMap<Place, i64>, KafkaError> {
    if partitions.is_empty() {
        return Ok(HashMap::new());
    }
    let found = consumer.offsets_for_times(list_of(partitions, at)?, wait)?;
    found.elements().iter().try_for_each(TopicPartitionListElem::error)?;
    Ok(known(&found))
}
