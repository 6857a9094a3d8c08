//! Records as anybody could write them.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use crate::backend::Site;
use crate::load::PATIENCE;
use lumenbus_bus::Role;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;

/// A plain Kafka producer into one partition of one of a site's topics.
pub struct ForeignProducer {
    producer: BaseProducer,
    topic: String,
    partition: i32,
}

impl ForeignProducer {
    /// Connects.
    pub fn new(site: &Site, base: &str, partition: u32) -> Self {
        let producer = site.bus.client_config(Role::Producer).create().unwrap();
        Self { producer, topic: site.topic(base).to_string(), partition: partition.try_into().unwrap() }
    }

    /// Queues a record.
    pub fn send(&self, key: Option<&[u8]>, content_type: Option<&[u8]>, lb: Option<&[u8]>, value: Option<&[u8]>) {
        let mut headers = OwnedHeaders::new();
        for (name, value) in [("content-type", content_type), ("lb", lb)] {
            if let Some(value) = value {
                headers = headers.insert(Header { key: name, value: Some(value) });
            }
        }
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.topic).partition(self.partition).headers(headers);
        record.key = key;
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all are acknowledged.
    pub fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }
}

/// A record as anybody could read it.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// All records of one of a site's topics, partition by partition; none where there is no such topic.
///
/// # Panics
/// When it cannot be read.
pub fn read_all(site: &Site, base: &str) -> Vec<Record> {
    let mut config = site.bus.client_config(Role::Consumer);
    config.set("group.id", site.group("plain")).set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let topic = site.topic(base).to_string();
    let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap();
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap() {
        list.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut found, mut ends) = (Vec::new(), 0);
    while ends < partitions {
        match consumer.poll(PATIENCE).expect("a record or an end") {
            Ok(message) => found.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
            }),
            Err(KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("{error}"),
        }
    }
    found.sort_unstable_by_key(|record| (record.partition, record.offset));
    found
}
