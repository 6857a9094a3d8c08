//! Why a broker cannot be used, in words worth reading.
//!
//! librdkafka reports most of it as "broker transport failure". [`probe`] therefore first talks to each bootstrap
//! server by hand (connect, one ApiVersions request, one TLS greeting), then lets librdkafka fetch the metadata and
//! reads what it logs.

mod explain;
mod preflight;
mod problem;

use crate::config::{BusConfig, Role};
use crate::topics::CAMERAS;
use preflight::{Dialect, Preflight};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::util::Timeout;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use explain::{Attempt, code_of, explain, is_secret, prefer_diagnosis};
pub use problem::BrokerProblem;

/// How the ids of embedded brokers' clusters begin; Apache Kafka's are 22 characters of Base64.
const EMBEDDED_PREFIX: &str = "lumenbus-";
/// For the metadata, after the connection is known to work.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// The texts are read this often.
const METADATA_STEP: Duration = Duration::from_millis(200);
const DRAIN_STEP: Duration = Duration::from_millis(10);
/// So many of them are no accident.
const HANG_UPS: usize = 4;
/// Texts kept of what librdkafka says; the first ones tell the cause.
const MAX_TEXTS: usize = 32;

/// Where a broker says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// `node.id`
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
}

/// What a cluster says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterFacts {
    /// Its brokers, by id.
    pub brokers: Vec<BrokerAddress>,
    /// Its id.
    pub cluster_id: Option<String>,
    /// Whether it is an embedded broker: it creates topics but does not alter them.
    pub is_embedded: bool,
}

impl ClusterFacts {
    /// Facts as a cluster reports them; whether it is an embedded broker follows from its id.
    #[must_use]
    pub fn new(mut brokers: Vec<BrokerAddress>, cluster_id: Option<String>) -> Self {
        brokers.sort_by_key(|broker| broker.id);
        let is_embedded = cluster_id.as_deref().is_some_and(|id| id.starts_with(EMBEDDED_PREFIX));
        Self { brokers, cluster_id, is_embedded }
    }

    pub(crate) fn from_metadata(metadata: &Metadata, cluster_id: Option<String>) -> Self {
        let address = |broker: &rdkafka::metadata::MetadataBroker| BrokerAddress {
            id: broker.id(),
            host: broker.host().to_owned(),
            port: u16::try_from(broker.port()).unwrap_or(0),
        };
        Self::new(metadata.brokers().iter().map(address).collect(), cluster_id)
    }
}

/// Reaches the cluster and asks who it is; takes seconds at worst.
///
/// # Errors
/// The most telling [`BrokerProblem`] of all bootstrap servers, when none of them can be used.
pub fn probe(config: &BusConfig) -> Result<ClusterFacts, BrokerProblem> {
    Preflight::new(&config.brokers, Dialect::of(config))?.run()?;
    let consumer = listening(config.client_config(Role::Admin))?;
    let metadata = fetch_metadata(&consumer, config).map_err(|failure| diagnose(config, failure))?;
    let facts = ClusterFacts::from_metadata(&metadata, consumer.client().fetch_cluster_id(METADATA_TIMEOUT));
    preflight::reach_advertised(&facts, &config.brokers)?;
    Ok(facts)
}

fn listening(mut client: ClientConfig) -> Result<BaseConsumer<Listener>, BrokerProblem> {
    // A server that hangs up is a finding here.
    client.set("log.connection.close", "true");
    client.create_with_context(Listener::default()).map_err(|error| explain::unusable(&error))
}

/// Why no metadata came.
struct Failure {
    error: KafkaError,
    texts: Vec<String>,
}

/// Asks until there is an answer, a text that says why not, or no time left.
fn fetch_metadata(consumer: &BaseConsumer<Listener>, config: &BusConfig) -> Result<Metadata, Failure> {
    // Of one topic: every topic of a large cluster would be a long answer.
    let topic = config.topic_prefix.topic(CAMERAS);
    let deadline = Instant::now() + METADATA_TIMEOUT;
    loop {
        match consumer.fetch_metadata(Some(topic.as_str()), Timeout::After(METADATA_STEP)) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => {
                let texts = drain(consumer);
                let is_telling = wants_login(config, &texts) || problem::from_texts(&texts, &config.brokers).is_some();
                if is_telling || Instant::now() >= deadline {
                    return Err(Failure { error, texts });
                }
            }
        }
    }
}

/// Collects what librdkafka says about its connections.
#[derive(Default)]
struct Listener {
    texts: Mutex<Vec<String>>,
}

impl Listener {
    fn hear(&self, text: &str) {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.len() < MAX_TEXTS {
            texts.push(text.to_owned());
        }
    }

    fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Listener {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, text: &str) {
        tracing::debug!(text, "probe");
        self.hear(text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "probe");
        self.hear(reason);
    }
}

impl ConsumerContext for Listener {}

fn diagnose(config: &BusConfig, failure: Failure) -> BrokerProblem {
    let Failure { error, texts } = failure;
    let brokers = config.brokers.clone();
    if let Some(problem) = problem::from_texts(&texts, &config.brokers) {
        return refine(config, problem);
    }
    if wants_login(config, &texts) {
        return BrokerProblem::LoginRequired { brokers };
    }
    let reason = texts.first().cloned().unwrap_or_else(|| error.to_string());
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
        return BrokerProblem::LoginRefused { brokers, reason };
    }
    BrokerProblem::NoAnswer { brokers, reason, millis: millis(METADATA_TIMEOUT) }
}

/// A TLS listener with SASL completes the handshake, answers ApiVersions and hangs up at the first other request.
fn wants_login(config: &BusConfig, texts: &[String]) -> bool {
    let hang_ups = texts.iter().filter(|text| text.ends_with("brokers are down")).count();
    let is_other = |text: &&String| !text.ends_with("brokers are down") && !text.contains("in state UP");
    Dialect::of(config) == Dialect::Tls && hang_ups >= HANG_UPS && !texts.iter().any(|text| is_other(&text))
}

/// Log lines and errors wait in the consumer's queue until it is polled.
fn drain(consumer: &BaseConsumer<Listener>) -> Vec<String> {
    while consumer.poll(Timeout::After(DRAIN_STEP)).is_some() {}
    consumer.context().texts()
}

/// OpenSSL says "certificate verify failed" for an unknown CA and for another host's certificate alike.
///
/// One more handshake without the check of the name tells them apart. It is made without SASL: a password must not
/// reach a server that was not verified.
fn refine(config: &BusConfig, problem: BrokerProblem) -> BrokerProblem {
    let BrokerProblem::CertificateNotTrusted { brokers, .. } = &problem else { return problem };
    let mut client = config.client_config(Role::Admin);
    client.set("security.protocol", "ssl").set("ssl.endpoint.identification.algorithm", "none");
    for name in ["sasl.username", "sasl.password", "sasl.mechanism", "sasl.mechanisms"] {
        client.remove(name);
    }
    let Ok(consumer) = listening(client) else { return problem };
    let texts = fetch_metadata(&consumer, config).err().map(|failure| failure.texts).unwrap_or_default();
    let untrusted = matches!(problem::from_texts(&texts, brokers), Some(BrokerProblem::CertificateNotTrusted { .. }));
    if untrusted { problem } else { BrokerProblem::CertificateOfAnotherHost { brokers: brokers.clone() } }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
