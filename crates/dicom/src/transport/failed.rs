//! Objects that a destination did not get: `dicom_failed`.
//!
//! A record says which one, of whom and why, in codes; what is known of the object is read from the metadata that it
//! refers to. A second record with the same reference and `"resolved": true` takes it back.

use super::TransportError;
use lumenbus_bus::BusConfig;
use lumenbus_bus::objects::{Budget, Deliveries, Outgoing, RecordCompression, RecordView, RecordWriter, TopicView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

/// Topic of what could not be delivered.
pub const FAILED_TOPIC: &str = "dicom_failed";
const VERSION: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(30);
const BUDGET_BYTES: usize = 1 << 20;

/// A value of `dicom_failed`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRecord {
    /// Of this form.
    pub version: u32,
    /// Which destination does not have the object.
    pub destination: String,
    /// Partition of the metadata.
    pub partition: i32,
    /// Offset of the metadata's first part.
    pub first_offset: i64,
    /// Offset of its last part, which commits the object.
    pub offset: i64,
    /// Whose: of the transmission; absent where the record does not say it.
    pub object_id: Option<String>,
    /// Why: a stable code.
    pub reason: String,
    /// Which chunk, where it is one.
    pub chunk: Option<u32>,
    /// Whether it has been delivered since, or was given up.
    pub resolved: bool,
    /// When, in milliseconds of Unix time.
    pub unix_millis: i64,
}

impl FailedRecord {
    /// The same, taken back.
    #[must_use]
    pub fn resolved(&self) -> Self {
        Self { resolved: true, unix_millis: now_unix_millis(), ..self.clone() }
    }
}

/// Milliseconds of Unix time.
pub(crate) fn now_unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes to `dicom_failed`.
#[derive(Debug)]
pub(crate) struct FailedWriter {
    writer: RecordWriter,
    topic: String,
}

impl FailedWriter {
    pub(crate) fn open(bus: &BusConfig) -> Result<Self, TransportError> {
        let topic = bus.topic_prefix.topic(FAILED_TOPIC).as_str().to_owned();
        let writer = RecordWriter::open(bus, RecordCompression::None, &Budget::new(BUDGET_BYTES))?;
        Ok(Self { writer, topic })
    }

    /// Writes it and waits until it is acknowledged: an offset is committed beyond what it refers to.
    pub(crate) fn write(&self, record: &FailedRecord) -> Result<(), TransportError> {
        let deliveries = Deliveries::new();
        // All of one reference meet in a partition, in order, also where the topic has fewer partitions.
        let partitions = i32::try_from(self.writer.partitions(&self.topic)?).unwrap_or(i32::MAX);
        let value = serde_json::to_vec(record).unwrap_or_default();
        let outgoing = Outgoing {
            topic: &self.topic,
            partition: record.partition.rem_euclid(partitions.max(1)),
            key: record.object_id.as_deref().unwrap_or_default(),
            headers: &[],
            value: Some(&value),
        };
        self.writer.send(&outgoing, &deliveries)?;
        self.writer.wait(&self.topic, &deliveries)?;
        Ok(())
    }
}

/// What is open, by destination, partition and offset.
///
/// # Errors
/// What is wrong with the brokers; no topic is nothing open.
pub fn open_failures(bus: &BusConfig) -> Result<BTreeMap<(String, i32, i64), FailedRecord>, TransportError> {
    let view = TopicView::open(bus, bus.topic_prefix.topic(FAILED_TOPIC))?;
    let mut open = BTreeMap::new();
    view.read(&view.bounds()?, PATIENCE, |record: &RecordView<'_>| {
        let read = record.value().and_then(|value| serde_json::from_slice::<FailedRecord>(value).ok());
        // What others wrote there is nothing that could be retried.
        if let Some(record) = read.filter(|record| record.version == VERSION) {
            let key = (record.destination.clone(), record.partition, record.offset);
            if record.resolved {
                open.remove(&key);
            } else {
                open.insert(key, record);
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(open)
}

impl FailedRecord {
    pub(crate) fn new(destination: &str, (partition, first_offset, offset): (i32, i64, i64), reason: &str) -> Self {
        Self {
            version: VERSION,
            destination: destination.to_owned(),
            partition,
            first_offset,
            offset,
            object_id: None,
            reason: reason.to_owned(),
            chunk: None,
            resolved: false,
            unix_millis: now_unix_millis(),
        }
    }
}
