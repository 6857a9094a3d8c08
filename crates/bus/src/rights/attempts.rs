//! Single operations, tried so that nothing changes.

use super::{Verdict, failed};
use crate::diagnosis::code_of;
use crate::status::{Quiet, Until, client_config, connect};
use crate::topics::block_on;
use crate::{BusConfig, BusError, Role};
use lumenbus_frame::TopicName;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A broker refuses a record beyond the topic's limit; a larger limit than this is not tried.
const MAX_REFUSED_BYTES: usize = 4 << 20;
/// One answer takes at most this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// librdkafka gives a coordinator that is not found so long.
const SESSION_TIMEOUT_MILLIS: &str = "6000";
/// How long an answer about a group is waited for before it is looked what librdkafka says aside.
const ASIDE_STEP: Duration = Duration::from_millis(500);
const MAX_ASIDES: usize = 100;
/// No topic has so many partitions.
const NO_PARTITION: i32 = i32::MAX - 1;

/// What has to be known of a topic to try something on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopicFacts {
    pub(super) exists: bool,
    /// It may not even be seen, so it may be neither read nor written: each of these rights would imply that.
    pub(super) is_hidden: bool,
}

/// Settings of a topic that decide which record it refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    max_message_bytes: usize,
    is_compacted: bool,
}

pub(super) struct Attempts {
    bus: BusConfig,
    admin: AdminClient<DefaultClientContext>,
    consumer: BaseConsumer<Quiet>,
    until: Until,
}

impl Attempts {
    pub(super) fn open(bus: &BusConfig, patience: Duration) -> Result<Self, BusError> {
        let admin = bus.client_config(Role::Admin).create().map_err(|error| failed(error, bus))?;
        let mut client = client_config(bus, "lumenbus-rights");
        client.set("enable.partition.eof", "true");
        Ok(Self { bus: bus.clone(), admin, consumer: connect(&client, bus)?, until: Until::after(patience) })
    }

    fn left(&self) -> Duration {
        self.until.left().min(ANSWER_TIMEOUT)
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.left())).operation_timeout(Some(self.left()))
    }

    pub(super) fn describe(&self, topic: &TopicName) -> Result<(Verdict, TopicFacts), BusError> {
        let metadata = self.consumer.fetch_metadata(Some(topic.as_str()), self.left());
        let metadata = metadata.map_err(|error| failed(error, &self.bus))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic.as_str());
        let exists = found.is_some_and(|found| !found.partitions().is_empty());
        let code = found.and_then(MetadataTopic::error).map(Code::from);
        let verdict = Verdict::of(code, &[Code::UnknownTopicOrPartition, Code::LeaderNotAvailable]);
        let is_hidden = matches!(verdict, Verdict::Denied { .. });
        Ok((verdict, TopicFacts { exists, is_hidden }))
    }

    pub(super) fn describe_configs(&self, topic: &TopicName) -> (Verdict, Option<Settings>) {
        let options = self.options();
        let specifier = ResourceSpecifier::Topic(topic.as_str());
        let asked = self.admin.describe_configs([&specifier], &options);
        let answer = match block_on(asked).map(|mut answers| answers.pop()) {
            Ok(Some(Ok(resource))) => resource,
            Ok(Some(Err(code))) => return (Verdict::of(Some(code), &[]), None),
            Ok(None) => return (Verdict::unknown("the broker answered nothing"), None),
            Err(error) => return (verdict_of(&error, &[]), None),
        };
        let value = |name: &str| answer.get(name).and_then(|entry| entry.value.clone());
        let settings = value("max.message.bytes").and_then(|bytes| bytes.parse().ok()).map(|max_message_bytes| {
            let is_compacted = value("cleanup.policy").is_some_and(|policy| policy.contains("compact"));
            Settings { max_message_bytes, is_compacted }
        });
        (Verdict::Allowed, settings)
    }

    /// Only checked by the broker, not done.
    pub(super) fn create(&self, topic: &TopicName) -> Verdict {
        let new = NewTopic::new(topic.as_str(), 1, TopicReplication::Fixed(1));
        let options = self.options().validate_only(true);
        match block_on(self.admin.create_topics([&new], &options)).map(|mut answers| answers.pop()) {
            Ok(Some(Ok(_))) => Verdict::Allowed,
            Ok(Some(Err((_, code)))) => Verdict::of(Some(code), &[Code::TopicAlreadyExists, Code::PolicyViolation]),
            Ok(None) => Verdict::unknown("the broker answered nothing"),
            Err(error) => verdict_of(&error, &[]),
        }
    }

    /// A fetch at the end of one partition.
    pub(super) fn read(&self, topic: &TopicName) -> Verdict {
        let verdict = self.fetch(topic).unwrap_or_else(|error| verdict_of(&error, &[]));
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "after a fetch that was only tried");
        }
        verdict
    }

    fn fetch(&self, topic: &TopicName) -> Result<Verdict, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic.as_str(), 0, Offset::End)?;
        self.consumer.assign(&list)?;
        let until = Until::after(self.left());
        while !until.is_over() {
            match self.consumer.poll(until.left()) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(Verdict::Allowed),
                Some(Err(error)) if code_of(&error) == Some(Code::PartitionEOF) => return Ok(Verdict::Allowed),
                Some(Err(error)) if code_of(&error) == Some(Code::TopicAuthorizationFailed) => {
                    return Ok(verdict_of(&error, &[]));
                }
                // The consumer's own group is in name only; brokers that come and go are waited for.
                Some(Err(_)) | None => {}
            }
        }
        Ok(Verdict::unknown("a fetch was not answered in time"))
    }

    /// A record that the topic cannot take.
    pub(super) fn write(&self, topic: &TopicName, settings: Option<Settings>) -> Verdict {
        let Some(settings) = settings else {
            return Verdict::unknown("its settings are not known, so no record is sure to be refused");
        };
        if !settings.is_compacted && settings.max_message_bytes > MAX_REFUSED_BYTES {
            return Verdict::unknown("it takes such large records that none was sent to be refused");
        }
        let value_bytes = if settings.is_compacted { 0 } else { settings.max_message_bytes + 1 };
        let outcome = self.send(topic, &vec![0; value_bytes]).unwrap_or_else(Some);
        let is_refused =
            |code| matches!(code, Code::MessageSizeTooLarge | Code::InvalidRecord | Code::InvalidMessageSize);
        match outcome {
            None => Verdict::unknown("the broker did not answer in time"),
            Some(KafkaError::MessageProduction(code)) if is_refused(code) => Verdict::Allowed,
            Some(error) => verdict_of(&error, &[]),
        }
    }

    /// Sends a record without a key and waits for what becomes of it.
    fn send(&self, topic: &TopicName, value: &[u8]) -> Result<Option<KafkaError>, KafkaError> {
        let mut client = self.bus.client_config(Role::Producer);
        client
            .set("enable.idempotence", "false")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("retries", "0")
            .set("compression.type", "none")
            .set("message.max.bytes", "104857600")
            .set("message.timeout.ms", self.left().as_millis().max(1_000).to_string());
        let context = Report::default();
        let producer: BaseProducer<Report> = client.create_with_context(context.clone())?;
        producer
            .send(BaseRecord::<(), [u8]>::to(topic.as_str()).partition(0).payload(value))
            .map_err(|(error, _)| error)?;
        let until = Until::after(self.left());
        while !until.is_over() {
            producer.poll(until.left().min(Duration::from_millis(100)));
            if let Some(error) = context.take() {
                return Ok(Some(error));
            }
        }
        Ok(None)
    }

    /// Whoever may not describe a group never learns its coordinator: librdkafka says so aside, and goes on asking.
    pub(super) fn describe_group(&self, group: &str, topic: &TopicName) -> Verdict {
        let client = match self.group_client(group) {
            Ok(client) => client,
            Err(error) => return verdict_of(&error, &[]),
        };
        let until = Until::after(self.left());
        loop {
            let mut list = TopicPartitionList::new();
            list.add_partition(topic.as_str(), 0);
            let Err(error) = client.committed_offsets(list, until.left().min(ASIDE_STEP)) else {
                return Verdict::Allowed;
            };
            let asides = std::iter::from_fn(|| client.poll(Duration::ZERO)).take(MAX_ASIDES);
            let is_denied = |error: &KafkaError| code_of(error) == Some(Code::GroupAuthorizationFailed);
            let denied = asides.filter_map(Result::err).find(is_denied);
            let is_waiting = matches!(code_of(&error), Some(Code::OperationTimedOut | Code::WaitingForCoordinator));
            if denied.is_some() || until.is_over() || !is_waiting {
                return verdict_of(&denied.unwrap_or(error), &[Code::TopicAuthorizationFailed]);
            }
        }
    }

    /// Offsets of a partition that cannot exist; a group in use answers that we are no member.
    pub(super) fn read_group(&self, group: &str, topic: &TopicName) -> Verdict {
        let after_authorisation = [
            Code::UnknownTopicOrPartition,
            Code::UnknownPartition,
            Code::TopicAuthorizationFailed,
            Code::UnknownMemberId,
            Code::IllegalGeneration,
            Code::RebalanceInProgress,
        ];
        let tried = self.group_client(group).and_then(|client| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic.as_str(), NO_PARTITION, Offset::Offset(0))?;
            client.commit(&list, CommitMode::Sync)
        });
        tried.map_or_else(|error| verdict_of(&error, &after_authorisation), |()| Verdict::Allowed)
    }

    fn group_client(&self, group: &str) -> Result<BaseConsumer<Quiet>, KafkaError> {
        let mut client = client_config(&self.bus, group);
        client.set("session.timeout.ms", SESSION_TIMEOUT_MILLIS);
        client.create_with_context(Quiet)
    }
}

fn verdict_of(error: &KafkaError, refusals: &[Code]) -> Verdict {
    match code_of(error) {
        Some(code) => Verdict::of(Some(code), refusals),
        None => Verdict::unknown(error.to_string()),
    }
}

/// What became of the one record that was sent.
#[derive(Clone, Default)]
struct Report(Arc<Mutex<Option<KafkaError>>>);

impl Report {
    fn take(&self) -> Option<KafkaError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, error: KafkaError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

impl ClientContext for Report {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a record that is to be refused");
    }
}

impl ProducerContext for Report {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Err((error, _)) => self.put(error.clone()),
            Ok(message) => {
                use rdkafka::message::Message as _;
                tracing::warn!(topic = message.topic(), "a record that had to be refused was taken");
                self.put(KafkaError::MessageProduction(Code::InvalidRecord));
            }
        }
    }
}
