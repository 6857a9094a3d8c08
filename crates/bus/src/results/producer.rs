//! The transactional producer: librdkafka's, with what may be tried again tried again.

use super::{Output, ResultRecord, ResultWriterConfig};
use crate::diagnosis::{Attempt, explain};
use crate::{BusError, Role};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, TopicPartitionList};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One look at the client's events while something is tried again.
const POLL: Duration = Duration::from_millis(20);
/// Longest wait for the topic's partitions.
const LOOK_UP: Duration = Duration::from_secs(10);

pub(super) struct TransactionalProducer {
    client: BaseProducer<Reports>,
    topic: Target,
    features: Option<Target>,
    events: Option<Target>,
    /// How long each step may take.
    patience: Duration,
}

/// A topic and its number of partitions.
struct Target {
    topic: String,
    partitions: i32,
}

impl Target {
    fn find<C: ProducerContext>(client: &BaseProducer<C>, topic: &str, brokers: &str) -> Result<Self, BusError> {
        let attempt = Attempt::writing(brokers, topic);
        let metadata =
            client.client().fetch_metadata(Some(topic), LOOK_UP).map_err(|error| explain(error, &attempt))?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if partitions == 0 {
            return Err(BusError::UnknownTopic { topic: topic.to_owned(), brokers: brokers.to_owned() });
        }
        Ok(Self { topic: topic.to_owned(), partitions: i32::try_from(partitions).unwrap_or(i32::MAX) })
    }
}

/// What the brokers will not take, however often it is sent.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) error: KafkaError,
    /// Key and value of the record, where it was about one.
    pub(super) record_bytes: usize,
    /// Its topic, where that is known.
    pub(super) topic: Option<String>,
}

impl Refusal {
    /// `None` where the same may go well another time.
    pub(super) fn of(error: &KafkaError, record_bytes: usize) -> Option<Self> {
        let is_final = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::MessageSizeTooLarge
                    | RDKafkaErrorCode::InvalidMessageSize
            )
        );
        is_final.then(|| Self { error: error.clone(), record_bytes, topic: None })
    }
}

#[derive(Default)]
struct Reports {
    /// The first since it was looked at.
    refusal: Mutex<Option<Refusal>>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "writing results");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            // The commit fails with it, and does not say why.
            tracing::debug!(%error, "a result was not delivered");
            let refusal = Refusal::of(error, record.key().map_or(0, <[u8]>::len) + record.payload_len());
            let refusal = refusal.map(|refusal| Refusal { topic: Some(record.topic().to_owned()), ..refusal });
            let mut first = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
            *first = first.take().or(refusal);
        }
    }
}

impl TransactionalProducer {
    pub(super) fn open(config: &ResultWriterConfig) -> Result<Self, BusError> {
        let topic = config.topic.as_str().to_owned();
        let attempt = Attempt::writing(&config.bus.brokers, &topic);
        let mut client = config.bus.client_config(Role::Producer);
        // What is another's is told by the group's generation, so no two writers need the same id.
        client.set("transactional.id", format!("lumenbus-{}-{:016x}", config.group, rand::random::<u64>()));
        let is_set = |name: &str| config.bus.properties.contains_key(name);
        let millis = config.transaction_timeout.as_millis().to_string();
        if !is_set("transaction.timeout.ms") {
            client.set("transaction.timeout.ms", &millis);
        }
        let timeout = client.get("transaction.timeout.ms").unwrap_or(&millis).to_owned();
        if !is_set("message.timeout.ms") {
            client.set("message.timeout.ms", &timeout);
        }
        for name in ["message.timeout.ms", "socket.timeout.ms"] {
            shorten(&mut client, name, &timeout);
        }
        if !is_set("compression.type") {
            client.set("compression.type", "zstd");
        }
        let client: BaseProducer<Reports> =
            client.create_with_context(Reports::default()).map_err(|error| explain(error, &attempt))?;
        let find = |topic: &str| Target::find(&client, topic, &config.bus.brokers);
        let (target, more) = (find(&topic)?, config.more.as_ref());
        let features = more.map(|more| find(more.features.as_str())).transpose()?;
        let events = more.map(|more| find(more.events.as_str())).transpose()?;
        let producer = Self { client, topic: target, features, events, patience: config.transaction_timeout };
        let patience = producer.patience.max(LOOK_UP);
        producer
            .patiently(patience, |left| producer.client.init_transactions(left))
            .map_err(|error| explain(error, &attempt))?;
        Ok(producer)
    }

    /// Serves the client's events.
    pub(super) fn poll(&self) {
        self.client.poll(Duration::ZERO);
    }

    /// What was refused for good since this was asked last.
    pub(super) fn take_refusal(&self) -> Option<Refusal> {
        self.client.context().refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn begin(&self) -> Result<(), KafkaError> {
        self.client.begin_transaction()
    }

    pub(super) fn send(&self, result: &ResultRecord) -> Result<(), KafkaError> {
        let deadline = Instant::now() + self.patience;
        let content_type = Header { key: "content-type", value: Some(result.content_type) };
        let mut headers = OwnedHeaders::new_with_capacity(2).insert(content_type);
        if let Some((key, value)) = &result.header {
            headers = headers.insert(Header { key, value: Some(&value[..]) });
        }
        let target = match result.output {
            Output::Results => Some(&self.topic),
            Output::Features => self.features.as_ref(),
            Output::Events => self.events.as_ref(),
        };
        let Some(target) = target else { return Err(KafkaError::Canceled) };
        let mut record = BaseRecord::to(&target.topic)
            .partition(result.frame_partition.rem_euclid(target.partitions))
            .key(result.key.as_str())
            .payload(&result.value[..])
            .headers(headers);
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !is_full || Instant::now() >= deadline {
                        return Err(error);
                    }
                    record = back;
                    self.client.poll(POLL);
                }
            }
        }
    }

    /// Commits what was sent together with these offsets.
    pub(super) fn commit(&self, offsets: &TopicPartitionList, group: &ConsumerGroupMetadata) -> Result<(), KafkaError> {
        if offsets.count() > 0 {
            self.patiently(self.patience, |left| self.client.send_offsets_to_transaction(offsets, group, left))?;
        }
        self.patiently(self.patience, |left| self.client.commit_transaction(left))
    }

    /// Why the transaction under way has failed: those who send hear only that it has. It is to be aborted afterwards.
    pub(super) fn failure(&self, offsets: &TopicPartitionList, group: &ConsumerGroupMetadata) -> Option<KafkaError> {
        self.client.send_offsets_to_transaction(offsets, group, LOOK_UP).err()
    }

    pub(super) fn abort(&self) -> Result<(), KafkaError> {
        self.patiently(self.patience, |left| {
            // Reports that nobody takes would keep the abort waiting.
            self.client.flush(left)?;
            self.client.abort_transaction(left)
        })
    }

    fn patiently(
        &self,
        patience: Duration,
        act: impl Fn(Duration) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match act(left) {
                Err(error) if is_passing(&error) && !left.is_zero() => {
                    self.client.poll(POLL);
                }
                done => return done,
            }
        }
    }
}

/// librdkafka refuses a client that waits for longer than its transactions live; these are set for other clients as well.
fn shorten(client: &mut ClientConfig, name: &str, limit: &str) {
    let millis = |text: &str| text.parse::<u64>().ok();
    let (Some(set), Some(limit)) = (client.get(name).and_then(millis), millis(limit)) else { return };
    // 0: for ever.
    if set == 0 || set > limit {
        client.set(name, limit.to_string());
    }
}

/// Whether the same call may go well when it is made again.
fn is_passing(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal() && !error.txn_requires_abort(),
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_waited_for_longer_than_a_transaction_lives() {
        let mut client = ClientConfig::new();
        client.set("message.timeout.ms", "60000").set("socket.timeout.ms", "0").set("request.timeout.ms", "500");
        for name in ["message.timeout.ms", "socket.timeout.ms", "request.timeout.ms", "linger.ms"] {
            shorten(&mut client, name, "10000");
        }
        let set = |name| client.get(name);
        assert_eq!((set("message.timeout.ms"), set("socket.timeout.ms")), (Some("10000"), Some("10000")));
        assert_eq!((set("request.timeout.ms"), set("linger.ms")), (Some("500"), None));
    }

    #[test]
    fn only_what_stays_so_is_a_refusal() {
        use RDKafkaErrorCode as Code;
        let refused = |code| Refusal::of(&KafkaError::MessageProduction(code), 7).is_some();
        assert!([Code::TopicAuthorizationFailed, Code::MessageSizeTooLarge].into_iter().all(refused));
        assert!(![Code::MessageTimedOut, Code::PurgeQueue, Code::NotEnoughReplicas].into_iter().any(refused));
    }
}
