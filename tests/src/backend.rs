//! The brokers a conformance case runs against: one cluster per kind and test binary.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use crate::cli::skip;
use crate::embedded::EmbeddedProcess;
use lumenbus_bus::publisher::{Publisher, PublisherConfig};
use lumenbus_bus::subscriber::{Start, Subscriber, SubscriberConfig};
use lumenbus_bus::topics::{self, Cluster as Topics, Growth, PlanOptions, TopicGroup};
use lumenbus_bus::{BusConfig, TopicPrefix};
use lumenbus_frame::TopicName;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use xtask::kafka::{KafkaCluster, KafkaOptions};

/// Partitions of a frame topic in these tests.
pub const PARTITIONS: u32 = 4;

/// Which brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `lumenbus broker`, a process of its own.
    Embedded,
    /// Apache Kafka, one node.
    Kafka1,
    /// Apache Kafka, three nodes.
    Kafka3,
}

impl Kind {
    /// How many brokers it has.
    pub fn nodes(self) -> u16 {
        match self {
            Self::Embedded | Self::Kafka1 => 1,
            Self::Kafka3 => 3,
        }
    }
}

/// A running cluster.
#[derive(Debug)]
pub enum Cluster {
    /// The embedded broker.
    Embedded(EmbeddedProcess),
    /// Apache Kafka.
    Kafka(Box<KafkaCluster>),
}

impl Cluster {
    fn bootstrap(&self) -> String {
        match self {
            Self::Embedded(broker) => broker.bootstrap(),
            Self::Kafka(cluster) => cluster.bootstrap().to_owned(),
        }
    }

    /// SIGKILL, and the process is gone.
    pub fn kill(&mut self, node: u16) {
        match self {
            Self::Embedded(broker) => broker.kill(),
            Self::Kafka(cluster) => cluster.kill(node).unwrap(),
        }
    }

    /// Starts a killed node on the same data and address, and waits until it serves.
    pub fn restart(&mut self, node: u16) {
        match self {
            Self::Embedded(broker) => broker.start(),
            Self::Kafka(cluster) => cluster.restart(node).unwrap(),
        }
    }

    /// After a failed case a broker may be missing.
    fn heal(&mut self) {
        match self {
            Self::Embedded(broker) => {
                if !broker.is_running() {
                    broker.start();
                }
            }
            Self::Kafka(cluster) => {
                let running = cluster.running();
                let gone: Vec<u16> =
                    cluster.state().nodes.iter().map(|node| node.id).filter(|id| !running.contains(id)).collect();
                if !gone.is_empty() {
                    cluster.restart_many(&gone).unwrap();
                }
            }
        }
    }
}

/// A cluster of these options, or a skip.
pub fn start_kafka(what: &str, options: &KafkaOptions) -> Option<KafkaCluster> {
    match KafkaCluster::start(options) {
        Ok(cluster) => Some(cluster),
        Err(error) if error.is_missing_prerequisite() => {
            skip(&format!("{what}: {error}"));
            None
        }
        Err(error) => panic!("{what} does not start: {error}"),
    }
}

type Shared = Option<RwLock<Cluster>>;

fn shared(kind: Kind) -> &'static Shared {
    static CLUSTERS: [OnceLock<Shared>; 3] = [const { OnceLock::new() }; 3];
    CLUSTERS[kind as usize].get_or_init(|| {
        let cluster = match kind {
            Kind::Embedded => Cluster::Embedded(EmbeddedProcess::new()),
            Kind::Kafka1 | Kind::Kafka3 => {
                let options = KafkaOptions { nodes: kind.nodes(), ..KafkaOptions::default() };
                let what = format!("Apache Kafka with {} node(s)", kind.nodes());
                Cluster::Kafka(Box::new(start_kafka(&what, &options)?))
            }
        };
        Some(RwLock::new(cluster))
    })
}

enum Guard {
    Together { lock: RwLockReadGuard<'static, Cluster> },
    Alone(RwLockWriteGuard<'static, Cluster>),
}

/// What one case sees of its cluster: topics of its own.
pub struct Site {
    /// Which brokers these are.
    pub kind: Kind,
    /// How to reach them; the topic prefix is this case's own.
    pub bus: BusConfig,
    guard: Guard,
}

impl Site {
    fn new(kind: Kind, bootstrap: String, guard: Guard) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut bus = BusConfig::new(bootstrap);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        bus.topic_prefix = TopicPrefix::new(&format!("c{}-{number}.", std::process::id())).unwrap();
        Self { kind, bus, guard }
    }

    /// A site on a cluster that other cases use at the same time; `None` when it cannot run here.
    pub fn together(kind: Kind) -> Option<Self> {
        let cluster = shared(kind).as_ref()?;
        let mut lock = cluster.read().unwrap_or_else(PoisonError::into_inner);
        if cluster.is_poisoned() {
            drop(lock);
            cluster.write().unwrap_or_else(PoisonError::into_inner).heal();
            cluster.clear_poison();
            lock = cluster.read().unwrap_or_else(PoisonError::into_inner);
        }
        let bootstrap = lock.bootstrap();
        Some(Self::new(kind, bootstrap, Guard::Together { lock }))
    }

    /// A site on a cluster that nobody else uses at this time, so that its brokers may be killed.
    pub fn alone(kind: Kind) -> Option<Self> {
        let cluster = shared(kind).as_ref()?;
        let mut lock = cluster.write().unwrap_or_else(PoisonError::into_inner);
        lock.heal();
        cluster.clear_poison();
        let bootstrap = lock.bootstrap();
        Some(Self::new(kind, bootstrap, Guard::Alone(lock)))
    }

    /// The brokers, to kill them.
    ///
    /// # Panics
    /// When others use them as well.
    pub fn cluster(&mut self) -> &mut Cluster {
        match &mut self.guard {
            Guard::Alone(lock) => lock,
            Guard::Together { .. } => panic!("this case shares its cluster"),
        }
    }

    /// Creates frame topics, index and directory as planned, but with few partitions.
    pub fn create_topics(&self, bases: &[&str]) {
        self.create_topics_with(bases, &[]);
    }

    /// As [`create_topics`](Self::create_topics), with further settings for the frame topics.
    pub fn create_topics_with(&self, bases: &[&str], settings: &[(&'static str, &str)]) {
        let cluster = Topics::open(&self.bus).unwrap();
        let groups = BTreeSet::from([TopicGroup::Frames, TopicGroup::Bus]);
        let options = PlanOptions { groups, frame_partitions: Some(PARTITIONS), ..PlanOptions::default() };
        let mut plan = topics::plan(cluster.facts(), &self.bus.topic_prefix, &options);
        let wanted: Vec<String> = bases.iter().map(|base| self.topic(base).to_string()).collect();
        let ours = [topics::CAMERAS, topics::INDEX].map(|base| self.topic(base).to_string());
        plan.topics.retain(|topic| wanted.contains(&topic.name) || ours.contains(&topic.name));
        for topic in plan.topics.iter_mut().filter(|topic| !ours.contains(&topic.name)) {
            topic.configs.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        }
        let applied = topics::apply(&cluster, &plan, Growth::Keep).unwrap();
        assert_eq!(applied.remaining, [], "topics are not as planned");
    }

    /// A topic's full name.
    pub fn topic(&self, base: &str) -> TopicName {
        self.bus.topic_prefix.topic(base)
    }

    /// A publisher with the defaults.
    pub fn publisher(&self) -> Publisher {
        Publisher::open(PublisherConfig::new(self.bus.clone())).unwrap()
    }

    /// A publisher whose configuration is changed first.
    pub fn publisher_with(&self, change: impl FnOnce(&mut PublisherConfig)) -> Publisher {
        let mut config = PublisherConfig::new(self.bus.clone());
        change(&mut config);
        Publisher::open(config).unwrap()
    }

    /// A subscriber from the oldest record on.
    pub fn subscriber(&self, bases: &[&str]) -> Subscriber {
        self.subscriber_with(bases, |_| {})
    }

    /// As [`subscriber`](Self::subscriber), with a configuration that is changed first.
    pub fn subscriber_with(&self, bases: &[&str], change: impl FnOnce(&mut SubscriberConfig)) -> Subscriber {
        let topics = bases.iter().map(|base| self.topic(base)).collect();
        let mut config = SubscriberConfig::new(self.bus.clone(), topics);
        config.start = Start::Earliest;
        change(&mut config);
        Subscriber::open(config).unwrap()
    }

    /// The embedded broker's data directory.
    ///
    /// # Panics
    /// On other brokers.
    pub fn embedded_data(&self) -> &Path {
        let cluster: &Cluster = match &self.guard {
            Guard::Alone(lock) => lock,
            Guard::Together { lock } => lock,
        };
        let Cluster::Embedded(broker) = cluster else { panic!("this is not the embedded broker") };
        broker.data()
    }

    /// A group that no other case uses.
    pub fn group(&self, name: &str) -> String {
        format!("lumenbus-{}{name}", self.bus.topic_prefix.as_str())
    }
}
