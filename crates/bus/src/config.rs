//! How to reach Kafka and what to spend on it.

use lumenbus_frame::{IdError, TopicName, UnknownName};
use rdkafka::ClientConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

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

/// Put before every topic name; empty by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicPrefix(String);

impl TopicPrefix {
    /// A prefix of Kafka's topic alphabet.
    pub fn new(prefix: &str) -> Result<Self, IdError> {
        if !prefix.is_empty() {
            TopicName::new(&format!("{prefix}x"))?;
        }
        Ok(Self(prefix.to_owned()))
    }

    /// The full name of one of our topics, such as `raw_video`.
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
#[derive(Debug, Clone, Default)]
pub struct BusConfig {
    /// `host:port,…`
    pub brokers: String,
    /// Before every topic name.
    pub topic_prefix: TopicPrefix,
    /// Latency or throughput.
    pub profile: Profile,
    /// Any librdkafka property, over the profile's.
    pub properties: BTreeMap<String, String>,
    /// Whether missing topics may be created (`topics.create`).
    pub keeps_topics_as_they_are: bool,
}

impl BusConfig {
    /// The default profile at these bootstrap servers.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), ..Self::default() }
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
            if applies(name, role) {
                config.set(name, value);
            }
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

/// librdkafka warns of a consumer's properties at a producer and the other way round; keep them apart.
fn applies(name: &str, role: Role) -> bool {
    const PRODUCER: &[&str] = &[
        "acks", "request.required.acks", "linger.ms", "queue.buffering.max.ms", "batch.size", "batch.num.messages",
        "enable.idempotence", "enable.gapless.guarantee", "message.timeout.ms", "delivery.timeout.ms",
        "compression.type", "compression.codec", "compression.level", "queue.buffering.max.messages",
        "queue.buffering.max.kbytes", "partitioner", "retries", "message.send.max.retries", "transactional.id",
        "transaction.timeout.ms", "request.timeout.ms", "sticky.partitioning.linger.ms", "max.in.flight",
    ];
    const CONSUMER: &[&str] = &[
        "group.id", "group.instance.id", "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms",
        "enable.auto.commit", "auto.commit.interval.ms", "auto.offset.reset", "isolation.level", "check.crcs",
        "partition.assignment.strategy", "queued.min.messages", "queued.max.messages.kbytes", "group.protocol",
    ];
    match role {
        Role::Producer => !CONSUMER.contains(&name) && !name.starts_with("fetch."),
        Role::Consumer => !PRODUCER.contains(&name),
        Role::Admin => !PRODUCER.contains(&name) && !CONSUMER.contains(&name) && !name.starts_with("fetch."),
    }
}

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
    fn a_prefix_is_part_of_a_topic_name() {
        let prefix = TopicPrefix::new("site-a.").unwrap();
        assert_eq!(prefix.topic("raw_video").as_str(), "site-a.raw_video");
        assert_eq!(prefix.strip("site-a.raw_video"), Some("raw_video"));
        assert!(TopicPrefix::new("a b").is_err());
    }
}
