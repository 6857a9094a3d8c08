//! A record as it comes from Kafka.

use crate::trace::TRACEPARENT_HEADER;
use bytes::{BufMut as _, BytesMut};
use lumenbus_frame::TraceContext;
use lumenbus_wire::{CONTENT_TYPE_HEADER, FRAME_HEADER, RawRecord};
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

/// A record as it comes from Kafka.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogRecord<'a> {
    pub(crate) offset: i64,
    pub(crate) append_unix_millis: Option<i64>,
    pub(crate) received_unix_nanos: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) header: Option<&'a [u8]>,
    /// The record header of that name.
    pub(crate) traceparent: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> LogRecord<'a> {
    /// What librdkafka handed over at this moment.
    pub(crate) fn of(message: &'a BorrowedMessage<'_>, received_unix_nanos: i64) -> Self {
        let (mut content_type, mut header, mut traceparent) = (None, None, None);
        if let Some(headers) = message.headers() {
            for found in headers.iter() {
                match found.key {
                    CONTENT_TYPE_HEADER => content_type = found.value,
                    FRAME_HEADER => header = found.value,
                    TRACEPARENT_HEADER => traceparent = traceparent.or(found.value),
                    _ => {}
                }
            }
        }
        Self {
            offset: message.offset(),
            append_unix_millis: match message.timestamp() {
                Timestamp::LogAppendTime(millis) | Timestamp::CreateTime(millis) => Some(millis),
                Timestamp::NotAvailable => None,
            },
            received_unix_nanos,
            key: message.key(),
            content_type,
            header,
            traceparent,
            value: message.payload(),
        }
    }

    /// Somebody else's or damaged text is no trace.
    pub(super) fn trace(&self) -> Option<TraceContext> {
        self.traceparent.and_then(|text| TraceContext::from_traceparent(text).ok())
    }
}
/// Header and value go into one buffer: the one copy out of librdkafka's.
pub(crate) fn raw_record<'a>(record: &LogRecord<'a>) -> RawRecord<'a> {
    let (header, value) = (record.header.unwrap_or_default(), record.value.unwrap_or_default());
    let mut buffer = BytesMut::with_capacity(header.len() + value.len());
    buffer.put_slice(header);
    buffer.put_slice(value);
    let mut buffer = buffer.freeze();
    let header_bytes = buffer.split_to(header.len());
    RawRecord {
        content_type: record.content_type,
        header: record.header.map(|_| header_bytes),
        value: record.value.map(|_| buffer),
    }
}
