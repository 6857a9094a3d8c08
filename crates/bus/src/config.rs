//! How to reach Kafka and what to spend on it.

use crate::diagnosis::is_secret;
use lumenbus_frame::{IdError, TopicName, UnknownName};
use rdkafka::ClientConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A trade between latency and throughput, as a named set of Kafka properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Each frame leaves at once.
    #[default]
    Realtime,
    /// Frames travel in larger requests.
    Throughput,
}

impl FromStr for Profile {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "realtime" => Ok(Self::Realtime),
            "throughput" => Ok(Self::Throughput),
            _ => Err(UnknownName {
                what: "profile",
                name: name.chars().take(64).collect(),
                known: "realtime, throughput".to_owned(),
            }),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Realtime => "realtime",
            Self::Throughput => "throughput",
        })
    }
}

/// What a Kafka client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends frames.
    Producer,
    /// Reads frames.
    Consumer,
    /// Asks and changes topics; reads the directory.
    Admin,
}

/// Room for the longest name of ours and then some.
const MAX_BASE_BYTES: usize = 64;

/// Put before every topic name; empty by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicPrefix(String);

impl TopicPrefix {
    /// A prefix of Kafka's topic alphabet.
    ///
    /// # Errors
    /// Another character, or a prefix that leaves no room for the names.
    pub fn new(prefix: &str) -> Result<Self, IdError> {
        if !prefix.is_empty() {
            TopicName::new(&format!("{prefix}{}", "x".repeat(MAX_BASE_BYTES)))?;
        }
        Ok(Self(prefix.to_owned()))
    }

    /// The full name of one of our topics, such as `raw_video`.
    ///
    /// # Panics
    /// When `base` is not a topic name of at most 64 characters.
    #[must_use]
    pub fn topic(&self, base: &str) -> TopicName {
        TopicName::new(&format!("{}{base}", self.0)).expect("prefix and base are checked names")
    }

    /// The name without the prefix; `None` when it has another one.
    #[must_use]
    pub fn strip<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(&self.0)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How to reach Kafka.
///
/// `Debug` shows no secrets.
#[derive(Clone, Default)]
pub struct BusConfig {
    /// `host:port,…`
    pub brokers: String,
    /// Before every topic name.
    pub topic_prefix: TopicPrefix,
    /// Latency or throughput.
    pub profile: Profile,
    /// Any librdkafka property, over the profile's; see [`BusConfig::set_property`].
    pub properties: BTreeMap<String, String>,
    /// Whether missing topics may be created (`topics.create`).
    pub keeps_topics_as_they_are: bool,
    /// How often librdkafka counts what publishers and subscribers do
    /// ([`ClientStatistics`](crate::ClientStatistics)); `None`: never, which costs nothing.
    pub statistics_interval: Option<Duration>,
}

impl BusConfig {
    /// The default profile at these bootstrap servers.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), ..Self::default() }
    }

    /// Sets a property as `-X name=value` and `--kafka-config` do: over what was set before, under whichever of its names.
    ///
    /// `bootstrap.servers` becomes [`BusConfig::brokers`], `statistics.interval.ms` [`BusConfig::statistics_interval`].
    /// `max.poll.records` and `num.consumer.fetchers`, which librdkafka does not have, are kept for
    /// [`BusConfig::max_poll_records`] and [`BusConfig::consumers`].
    pub fn set_property(&mut self, name: &str, value: &str) {
        match canonical(name) {
            "bootstrap.servers" => value.clone_into(&mut self.brokers),
            STATISTICS if value.trim().parse::<u64>().is_ok() => {
                let millis = value.trim().parse().ok().filter(|millis| *millis > 0);
                self.statistics_interval = millis.map(Duration::from_millis);
            }
            name => {
                self.properties.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// `max.poll.records`: how many records a reader takes from Kafka's queue at a time; `None` when unset or no number.
    #[must_use]
    pub fn max_poll_records(&self) -> Option<usize> {
        self.positive(MAX_POLL_RECORDS)
    }

    /// `num.consumer.fetchers`: how many consumers a subscriber runs in this process; `None` when unset or no number.
    #[must_use]
    pub fn consumers(&self) -> Option<usize> {
        self.positive(CONSUMERS)
    }

    /// Sets what a producer for this topic (its name without the prefix) compresses with, unless it was set before.
    ///
    /// librdkafka compresses per producer here, so this is for one that writes frames to a single topic; what is chosen, and
    /// why, is in docs/design/compression.md.
    pub fn compress_for(&mut self, topic: &str) {
        let is_set = self.properties.keys().any(|name| canonical(name) == COMPRESSION);
        if topic == "raw_pixels" && !is_set {
            self.properties.insert(COMPRESSION.to_owned(), "lz4".to_owned());
        }
    }

    fn positive(&self, name: &str) -> Option<usize> {
        self.properties.get(name)?.trim().parse().ok().filter(|number| *number > 0)
    }

    /// The librdkafka configuration of a role: profile first, then the user's properties.
    #[must_use]
    pub fn client_config(&self, role: Role) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "lumenbus");
        for (name, value) in COMMON {
            config.set(*name, *value);
        }
        for (name, value) in self.role_properties(role) {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            // The binding keeps no order: of two names of one property either might win.
            let name = canonical(name);
            if applies(name, role) {
                config.set(name, value);
            }
        }
        config
    }

    /// [`client_config`](Self::client_config) of a client that counts, if any is to.
    pub(crate) fn counting_client_config(&self, role: Role) -> ClientConfig {
        let mut config = self.client_config(role);
        if let Some(interval) = self.statistics_interval {
            let millis = interval.as_millis().clamp(1, MAX_STATISTICS_MILLIS);
            config.set(STATISTICS, millis.to_string());
        }
        config
    }

    fn role_properties(&self, role: Role) -> &'static [(&'static str, &'static str)] {
        match (role, self.profile) {
            (Role::Producer, Profile::Realtime) => PRODUCER_REALTIME,
            (Role::Producer, Profile::Throughput) => PRODUCER_THROUGHPUT,
            (Role::Consumer, Profile::Realtime) => CONSUMER_REALTIME,
            (Role::Consumer, Profile::Throughput) => CONSUMER_THROUGHPUT,
            (Role::Admin, _) => &[],
        }
    }
}

impl fmt::Debug for BusConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        f.debug_struct("BusConfig")
            .field("brokers", &self.brokers)
            .field("topic_prefix", &self.topic_prefix.as_str())
            .field("profile", &self.profile)
            .field("properties", &self.properties.iter().map(shown).collect::<BTreeMap<_, _>>())
            .field("keeps_topics_as_they_are", &self.keeps_topics_as_they_are)
            .field("statistics_interval", &self.statistics_interval)
            .finish()
    }
}

/// Names that librdkafka has two of; the first is the one that the profiles use.
const ALIASES: &[(&str, &str)] = &[
    ("acks", "request.required.acks"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.type", "compression.codec"),
    ("enable.auto.commit", "auto.commit.enable"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("retries", "message.send.max.retries"),
    ("sasl.mechanism", "sasl.mechanisms"),
];

fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(_, alias)| *alias == name).map_or(name, |(canonical, _)| canonical)
}

/// librdkafka warns of a consumer's properties at a producer and the other way round; keep them apart.
fn applies(name: &str, role: Role) -> bool {
    if matches!(name, "bootstrap.servers" | MAX_POLL_RECORDS | CONSUMERS) {
        return false;
    }
    match role {
        Role::Producer => !CONSUMER_ONLY.contains(&name),
        Role::Consumer => !PRODUCER_ONLY.contains(&name),
        Role::Admin => !PRODUCER_ONLY.contains(&name) && !CONSUMER_ONLY.contains(&name),
    }
}

const COMPRESSION: &str = "compression.type";
/// How often librdkafka calls back with its statistics.
const STATISTICS: &str = "statistics.interval.ms";
/// librdkafka's limit.
const MAX_STATISTICS_MILLIS: u128 = 86_400_000;
/// Kafka's name in Java clients; librdkafka has no such property.
pub(crate) const MAX_POLL_RECORDS: &str = "max.poll.records";
/// A name of other tools (MirrorMaker, Connect sinks) for consumers in one process.
pub(crate) const CONSUMERS: &str = "num.consumer.fetchers";

/// Marked P in librdkafka's CONFIGURATION.md.
const PRODUCER_ONLY: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.level",
    "compression.type",
    "delivery.report.only.error",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.timeout.ms",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queuing.strategy",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Marked C in librdkafka's CONFIGURATION.md.
const CONSUMER_ONLY: &[&str] = &[
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

const COMMON: &[(&str, &str)] = &[
    ("socket.nagle.disable", "true"),
    ("socket.timeout.ms", "2000"),
    ("socket.connection.setup.timeout.ms", "1000"),
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "500"),
    // Without this a topic that was just created stays unknown for up to this long.
    ("topic.metadata.refresh.fast.interval.ms", "100"),
    ("log.connection.close", "false"),
    // A topic made by asking for it would have the broker's defaults, not ours.
    ("allow.auto.create.topics", "false"),
];

const PRODUCER_REALTIME: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "0"),
    ("compression.type", "none"),
    ("message.timeout.ms", "30000"),
    ("message.max.bytes", "104857600"),
    // Frames wait in our lanes; this is only a ceiling for what our own window lets through.
    ("queue.buffering.max.kbytes", "262144"),
];

const PRODUCER_THROUGHPUT: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "5"),
    ("batch.size", "1000000"),
    ("compression.type", "none"),
    ("message.timeout.ms", "30000"),
    ("message.max.bytes", "104857600"),
    ("queue.buffering.max.kbytes", "262144"),
];

const CONSUMER_REALTIME: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.queue.backoff.ms", "2"),
    ("queued.max.messages.kbytes", "16384"),
    ("partition.assignment.strategy", "range"),
    ("session.timeout.ms", "10000"),
];

const CONSUMER_THROUGHPUT: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("fetch.min.bytes", "102400"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.queue.backoff.ms", "5"),
    ("queued.max.messages.kbytes", "65536"),
    ("partition.assignment.strategy", "range"),
    ("session.timeout.ms", "10000"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_properties_win_and_stay_with_their_role() {
        let mut config = BusConfig::new("127.0.0.1:1");
        config.properties.insert("linger.ms".to_owned(), "7".to_owned());
        config.properties.insert("fetch.min.bytes".to_owned(), "9".to_owned());
        assert_eq!(config.client_config(Role::Producer).get("linger.ms"), Some("7"));
        assert_eq!(config.client_config(Role::Producer).get("fetch.min.bytes"), None);
        assert_eq!(config.client_config(Role::Consumer).get("linger.ms"), None);
        assert_eq!(config.client_config(Role::Consumer).get("fetch.min.bytes"), Some("9"));
    }

    #[test]
    fn pixels_are_compressed_and_coded_frames_are_not() {
        let compression = |set: Option<&str>, topic: &str| {
            let mut config = BusConfig::new("127.0.0.1:1");
            if let Some(set) = set {
                config.properties.insert("compression.codec".to_owned(), set.to_owned());
            }
            config.compress_for(topic);
            config.client_config(Role::Producer).get(COMPRESSION).map(str::to_owned)
        };
        assert_eq!(compression(None, "raw_pixels").as_deref(), Some("lz4"));
        assert_eq!(compression(Some("zstd"), "raw_pixels").as_deref(), Some("zstd"));
        for topic in ["raw_video", "raw_images"] {
            assert_eq!(compression(None, topic).as_deref(), Some("none"));
        }
    }

    #[test]
    fn a_prefix_is_part_of_a_topic_name() {
        let prefix = TopicPrefix::new("site-a.").unwrap();
        assert_eq!(prefix.topic("raw_video").as_str(), "site-a.raw_video");
        assert_eq!(prefix.strip("site-a.raw_video"), Some("raw_video"));
        assert!(TopicPrefix::new("a b").is_err());
        assert!(TopicPrefix::new(&"x".repeat(200)).is_err(), "no room for a name");
    }

    #[test]
    fn two_names_of_one_property_are_one() {
        let mut config = BusConfig::new("127.0.0.1:1");
        config.set_property("delivery.timeout.ms", "1234");
        config.set_property("metadata.broker.list", "127.0.0.1:2");
        config.properties.insert("queue.buffering.max.ms".to_owned(), "3".to_owned());
        let client = config.client_config(Role::Producer);
        assert_eq!(client.get("message.timeout.ms"), Some("1234"));
        assert_eq!(client.get("delivery.timeout.ms"), None);
        assert_eq!(client.get("linger.ms"), Some("3"));
        assert_eq!(client.get("bootstrap.servers"), Some("127.0.0.1:2"));
    }

    #[test]
    fn every_profile_is_taken_by_librdkafka() {
        for profile in [Profile::Realtime, Profile::Throughput] {
            let config = BusConfig { profile, ..BusConfig::new("127.0.0.1:1") };
            config.client_config(Role::Producer).create::<rdkafka::producer::BaseProducer>().unwrap();
            config.client_config(Role::Consumer).create::<rdkafka::consumer::BaseConsumer>().unwrap();
            config.client_config(Role::Admin).create::<rdkafka::consumer::BaseConsumer>().unwrap();
        }
    }

    #[test]
    fn only_clients_that_count_are_told_how_often() {
        let mut config = BusConfig::new("127.0.0.1:1");
        assert_eq!(config.counting_client_config(Role::Producer).get("statistics.interval.ms"), None);
        config.set_property("statistics.interval.ms", "2500");
        assert_eq!(config.statistics_interval, Some(Duration::from_millis(2_500)));
        assert_eq!(config.client_config(Role::Producer).get("statistics.interval.ms"), None);
        assert_eq!(config.counting_client_config(Role::Consumer).get("statistics.interval.ms"), Some("2500"));
        config.set_property("statistics.interval.ms", "0");
        assert_eq!(config.statistics_interval, None);
    }

    #[test]
    fn what_librdkafka_does_not_have_is_kept_from_it() {
        let mut config = BusConfig::new("127.0.0.1:1");
        config.set_property("max.poll.records", "500");
        config.set_property("num.consumer.fetchers", "0");
        assert_eq!((config.max_poll_records(), config.consumers()), (Some(500), None));
        assert_eq!(config.client_config(Role::Consumer).get("max.poll.records"), None);
    }
}
