//! The Kafka client: records in, delivery reports out.

use crate::diagnosis::{Attempt, explain};
use crate::publisher::core::Delivery;
use crate::publisher::hub::{Hub, lock};
use crate::publisher::outgoing::{OutRecord, RecordSink, Refusal};
use crate::trace::TRACEPARENT_HEADER;
use crate::{BusConfig, BusError, ClientStatistics, Role};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use std::sync::Weak;
use std::time::{Duration, Instant};

/// How long one look into the client's event queue takes at most; events wake it at once.
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// A purged client reports what it held within this.
const PURGE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) type Client = BaseProducer<Reports>;

/// Where the client's reports go.
pub(crate) struct Reports {
    hub: Weak<Hub>,
}

pub(crate) fn connect(config: &BusConfig, hub: Weak<Hub>) -> Result<Client, BusError> {
    let client_config = config.counting_client_config(Role::Producer);
    let made = client_config.create_with_context(Reports { hub });
    made.map_err(|error| explain(error, &Attempt::asking(&config.brokers)))
}

/// Which stream and which of its units a record belongs to, in one machine word.
fn tag(stream: u32, slot: u32) -> usize {
    const { assert!(usize::BITS == 64, "delivery tags need 64 bits") };
    usize::try_from((u64::from(stream) << 32) | u64::from(slot)).expect("checked above")
}

fn untag(tag: usize) -> (u32, u32) {
    let halves = (tag >> 32, tag & 0xffff_ffff);
    (u32::try_from(halves.0).expect("32 bits"), u32::try_from(halves.1).expect("32 bits"))
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // What matters comes as an error or a failed delivery as well.
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let (Some(hub), Some(found)) = (self.hub.upgrade(), ClientStatistics::from_callback(statistics, 0)) {
            *lock(&hub.statistics) = Some(found);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => hub.disconnected(reason),
            Some(RDKafkaErrorCode::Fatal) => hub.client_failed(reason),
            _ => tracing::debug!(%error, reason, "librdkafka"),
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        let (stream, slot) = untag(opaque);
        match result {
            Ok(message) => {
                let offset = u64::try_from(message.offset()).ok();
                hub.delivered(stream, slot, Delivery::InLog { offset }, message.payload_len());
            }
            Err((error, message)) => {
                hub.delivery_failed(stream, error, message.payload_len());
                hub.delivered(stream, slot, Delivery::Failed, message.payload_len());
            }
        }
    }
}

/// Sends the records of one stream.
pub(crate) struct ClientSink<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) client: &'a Client,
    pub(crate) stream: u32,
}

impl RecordSink for ClientSink<'_> {
    fn send(&self, record: &OutRecord<'_>) -> Result<(), Refusal> {
        let headers = [
            record.header.map(|bytes| ("lb", bytes)),
            record.json.map(|json| ("lb-json", json.as_bytes())),
            record.traceparent.map(|text| (TRACEPARENT_HEADER, text)),
        ];
        let content_type = Header { key: "content-type", value: Some(record.content_type) };
        let mut owned = OwnedHeaders::new_with_capacity(1 + headers.len()).insert(content_type);
        for (key, value) in headers.into_iter().flatten() {
            owned = owned.insert(Header { key, value: Some(value) });
        }
        let partition = i32::try_from(record.partition).unwrap_or(i32::MAX);
        let message = BaseRecord::with_opaque_to(record.topic, tag(self.stream, record.slot))
            .partition(partition)
            .key(record.key)
            .payload(record.value)
            .headers(owned);
        let Err((error, _)) = self.client.send(message) else {
            return Ok(());
        };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Err(Refusal::Later),
            Some(RDKafkaErrorCode::Fatal) => {
                self.hub.client_failed(&error.to_string());
                Err(Refusal::Later)
            }
            _ => {
                self.hub.refused(self.stream, &error, record.value.len());
                Err(Refusal::Failed)
            }
        }
    }
}

/// Makes a client report everything it holds as failed.
pub(crate) fn purge(client: &Client) {
    client.purge(PurgeConfig::default().queue().inflight());
    let deadline = Instant::now() + PURGE_TIMEOUT;
    while client.in_flight_count() > 0 && Instant::now() < deadline {
        client.poll(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_stream_and_slot() {
        for (stream, slot) in [(0, 0), (1, 0), (0, 1), (7, 9), (u32::MAX, u32::MAX)] {
            assert_eq!(untag(tag(stream, slot)), (stream, slot));
        }
    }
}
