//! Asks a cluster how it is, again and again, with the same clients.

use super::groups::Groups;
use super::usage::Usages;
use super::{BrokerStatus, ClusterStatus, GroupStatus, PartitionStatus, TopicStatus, TopicUsage};
use crate::diagnosis::{Attempt, ClusterFacts, explain};
use crate::offsets::{self, Place};
use crate::topics::{self, CAMERAS};
use crate::{BusConfig, BusError, Role, SystemClock};
use lumenbus_frame::{Clock as _, TopicName};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};
use rdkafka::{ClientConfig, Offset};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

/// How long one question may take unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions for offsets before each topic is asked for by itself.
const OFFSET_ATTEMPTS: usize = 3;
const OFFSET_RETRY: Duration = Duration::from_millis(100);
/// Errors taken out of a client's queue at a time.
const MAX_DRAINED: usize = 1_000;
/// A call of librdkafka with no time at all would not even look.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// What to look at, and how long to wait for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StatusConfig {
    /// How to reach Kafka.
    pub bus: BusConfig,
    /// Full topic names; by default all of the project's under the prefix. Those that do not exist are left out.
    pub topics: Vec<TopicName>,
    /// Groups to look at even where the broker does not list its groups.
    pub groups: Vec<String>,
    /// How long each question ([`StatusReader::cluster`] and so on) may take, all in all.
    pub patience: Duration,
}

impl StatusConfig {
    /// All topics of the project, all groups that read them, 5 s a question.
    #[must_use]
    pub fn new(bus: BusConfig) -> Self {
        let topics = topics::names().map(|base| bus.topic_prefix.topic(base)).collect();
        Self { bus, topics, groups: Vec::new(), patience: PATIENCE }
    }
}

/// Reads the status of a cluster; keeps its connections between reads.
///
/// Nothing is joined, committed or written. Every method returns within [`StatusConfig::patience`] and a little, also
/// when the broker is away: [`probe`](crate::probe) then says why.
///
/// ```no_run
/// use lumenbus_bus::BusConfig;
/// use lumenbus_bus::status::{StatusConfig, StatusReader};
///
/// let mut reader = StatusReader::open(StatusConfig::new(BusConfig::new("127.0.0.1:9092")))?;
/// let cluster = reader.cluster()?;
/// for group in reader.groups(&cluster)? {
///     println!("{}: {} records behind", group.group, group.lag_records());
/// }
/// # Ok::<(), lumenbus_bus::BusError>(())
/// ```
pub struct StatusReader {
    config: StatusConfig,
    consumer: BaseConsumer<Quiet>,
    groups: Groups,
    usages: Usages,
}

impl fmt::Debug for StatusReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusReader").field("config", &self.config).finish_non_exhaustive()
    }
}

impl StatusReader {
    /// Makes the client; no broker is asked yet.
    ///
    /// # Errors
    /// A property that librdkafka refuses.
    pub fn open(config: StatusConfig) -> Result<Self, BusError> {
        // In name only: librdkafka assigns partitions only to a consumer with a group.
        let consumer = connect(&client_config(&config.bus, "lumenbus-status"), &config.bus)?;
        let groups = Groups::new(config.bus.clone(), &config.groups);
        Ok(Self { config, consumer, groups, usages: Usages::default() })
    }

    /// Brokers, topics, partitions and their offsets.
    ///
    /// # Errors
    /// A broker that does not answer. A topic that may not be described is left out.
    pub fn cluster(&mut self) -> Result<ClusterStatus, BusError> {
        let until = Until::after(self.config.patience);
        drain(&self.consumer);
        let (mut brokers, mut topics) = (Vec::new(), Vec::new());
        let cameras = self.config.bus.topic_prefix.topic(CAMERAS);
        let names = if self.config.topics.is_empty() { std::slice::from_ref(&cameras) } else { &self.config.topics };
        for name in names {
            let metadata = self.metadata(name, &until)?;
            brokers = ClusterFacts::from_metadata(&metadata, None).brokers;
            if let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name.as_str()) {
                topics.extend(topic_status(topic).filter(|_| self.config.topics.contains(name)));
            }
        }
        self.add_offsets(&mut topics, &until);
        let facts = ClusterFacts::new(brokers, self.consumer.client().fetch_cluster_id(until.left()));
        // Brokers in KRaft mode answer clients with any broker's id here; only one that is alone is known.
        let is_controller = (facts.is_embedded && facts.brokers.len() == 1).then_some(true);
        let broker = |known: crate::BrokerAddress| BrokerStatus {
            id: known.id,
            host: known.host,
            port: known.port,
            is_controller,
        };
        Ok(ClusterStatus {
            at_unix_millis: SystemClock.unix_nanos() / 1_000_000,
            cluster_id: facts.cluster_id,
            is_embedded: facts.is_embedded,
            brokers: facts.brokers.into_iter().map(broker).collect(),
            topics,
        })
    }

    /// The consumer groups that have committed offsets in these topics, and those named in the configuration.
    ///
    /// Where there are many groups, those that are not known to read our topics are looked at in turn, a few each time.
    ///
    /// # Errors
    /// A broker that does not answer.
    pub fn groups(&mut self, cluster: &ClusterStatus) -> Result<Vec<GroupStatus>, BusError> {
        let until = Until::after(self.config.patience);
        drain(&self.consumer);
        self.groups.read(&self.consumer, cluster, &until)
    }

    /// How much the topics hold, by the records' number and the mean size of some of them.
    ///
    /// The first calls look at a dozen records a topic, later ones at a few, at most every 30 s.
    pub fn usage(&mut self, cluster: &ClusterStatus) -> Vec<TopicUsage> {
        let until = Until::after(self.config.patience);
        drain(&self.consumer);
        self.usages.read(&self.consumer, cluster, &until)
    }

    fn metadata(&self, topic: &TopicName, until: &Until) -> Result<Metadata, BusError> {
        let found = self.consumer.fetch_metadata(Some(topic.as_str()), until.left());
        found.map_err(|error| explain(error, &Attempt::asking(&self.config.bus.brokers)))
    }

    /// Two questions to each leader, whatever the number of partitions; what is not answered stays unknown.
    fn add_offsets(&self, topics: &mut [TopicStatus], until: &Until) {
        let led = |topic: &TopicStatus| {
            let partitions = topic.partitions.iter().filter(|partition| partition.leader.is_some());
            partitions.map(|partition| (topic.name.clone(), partition.partition)).collect::<Vec<_>>()
        };
        let wanted: Vec<_> = topics.iter().flat_map(led).collect();
        let begins = self.offsets(&wanted, Offset::Beginning, until);
        let ends = self.offsets(&wanted, Offset::End, until);
        for topic in topics {
            for partition in &mut topic.partitions {
                let place = (topic.name.clone(), partition.partition);
                partition.begin_offset = begins.get(&place).copied();
                partition.end_offset = ends.get(&place).copied();
            }
        }
    }

    /// librdkafka fails for all partitions when one is in trouble: then each topic is asked for by itself.
    fn offsets(&self, wanted: &[Place], at: Offset, until: &Until) -> HashMap<Place, i64> {
        if let Some(found) = self.ask_offsets(wanted, at, until) {
            return found;
        }
        let topics = wanted.chunk_by(|one, other| one.0 == other.0);
        topics.filter_map(|topic| self.ask_offsets(topic, at, until)).flatten().collect()
    }

    fn ask_offsets(&self, wanted: &[Place], at: Offset, until: &Until) -> Option<HashMap<Place, i64>> {
        for _ in 0..OFFSET_ATTEMPTS {
            if until.is_over() {
                break;
            }
            match offsets::ask(&self.consumer, wanted, at, until.left()) {
                Ok(found) => return Some(found),
                Err(error) => tracing::debug!(%error, "offsets of partitions"),
            }
            // A leader that has just changed is known a moment later.
            let _ = self.consumer.poll(OFFSET_RETRY);
        }
        None
    }
}

impl ClusterStatus {
    /// Reads the status once; who reads it again uses a [`StatusReader`].
    ///
    /// # Errors
    /// As [`StatusReader::cluster`].
    pub fn read(bus: &BusConfig) -> Result<Self, BusError> {
        StatusReader::open(StatusConfig::new(bus.clone()))?.cluster()
    }
}

/// When an answer is of no use any more.
pub(crate) struct Until(Instant);

impl Until {
    pub(crate) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    pub(crate) fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).max(LEAST_WAIT)
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// A client whose trouble shows in its answers.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "status");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "status");
    }
}

impl ConsumerContext for Quiet {}

/// A consumer that fetches little ahead.
pub(crate) fn client_config(bus: &BusConfig, group: &str) -> ClientConfig {
    let mut client = bus.client_config(Role::Admin);
    client
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_uncommitted")
        .set("fetch.wait.max.ms", "100")
        .set("queued.min.messages", "1")
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.error.backoff.ms", "50")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.message.max.bytes", "65536");
    client
}

pub(crate) fn connect(client: &ClientConfig, bus: &BusConfig) -> Result<BaseConsumer<Quiet>, BusError> {
    client.create_with_context(Quiet).map_err(|error| explain(error, &Attempt::asking(&bus.brokers)))
}

/// Errors and log lines wait in a client's queue; what they say shows in its answers as well.
pub(super) fn drain(consumer: &BaseConsumer<Quiet>) {
    for _ in 0..MAX_DRAINED {
        if consumer.poll(Duration::ZERO).is_none() {
            return;
        }
    }
}

fn topic_status(topic: &MetadataTopic) -> Option<TopicStatus> {
    match topic.error().map(RDKafkaErrorCode::from) {
        None | Some(RDKafkaErrorCode::LeaderNotAvailable) if !topic.partitions().is_empty() => {}
        _ => return None,
    }
    let mut partitions: Vec<_> = topic.partitions().iter().map(partition_status).collect();
    partitions.sort_by_key(|partition| partition.partition);
    Some(TopicStatus { name: topic.name().to_owned(), partitions })
}

fn partition_status(partition: &MetadataPartition) -> PartitionStatus {
    let ids = |ids: &[i32]| ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    PartitionStatus {
        partition: partition.id(),
        leader: Some(partition.leader()).filter(|leader| *leader >= 0),
        replicas: ids(partition.replicas()),
        in_sync: ids(partition.isr()),
        begin_offset: None,
        end_offset: None,
    }
}
