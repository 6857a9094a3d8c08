//! Objects that are many records: chunks that are read again by their offsets, and records that tell of them.
//!
//! A [`RecordWriter`] sends to explicit partitions and says where each record went; a [`RecordFetcher`] reads records by
//! their offsets, those in a row ahead of time; a [`GroupReader`] is one member of a consumer group that commits only what
//! its caller calls safe. [`TopicView`] looks at a topic's offsets and contents without a group, and removes records.

mod fetcher;
mod group;
mod view;
mod writer;

pub use fetcher::RecordFetcher;
pub use group::{GroupEvent, GroupReader, GroupRecord};
pub use view::{Bounds, TopicView, committed_offsets, set_committed_offsets};
pub use writer::{Budget, Deliveries, Outgoing, RecordCompression, RecordWriter};

use crate::directory::murmur2;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

/// The partition that a Java client gives this key: murmur2, masked, not negated. Zero partitions are taken as one.
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// A record as the client holds it.
#[derive(Debug)]
pub struct RecordView<'a> {
    message: &'a BorrowedMessage<'a>,
}

impl<'a> RecordView<'a> {
    fn new(message: &'a BorrowedMessage<'a>) -> Self {
        Self { message }
    }

    /// Partition number.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// Offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// Unix time in milliseconds; 0 where the record has none.
    #[must_use]
    pub fn unix_millis(&self) -> i64 {
        self.message.timestamp().to_millis().unwrap_or(0)
    }

    /// The key; empty where there is none.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.message.key().unwrap_or_default()
    }

    /// The value; `None` is a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.message.payload()
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let headers = self.message.headers()?;
        headers.iter().find(|header| header.key == name).and_then(|header| header.value)
    }
}

/// Keeps librdkafka's words for those who ask for more.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}
