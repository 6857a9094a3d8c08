//! Records as anybody could write them.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use crate::backend::Site;
use crate::load::PATIENCE;
use lumenbus_bus::Role;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
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
