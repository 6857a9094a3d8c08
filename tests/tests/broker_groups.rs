//! Consumer groups of librdkafka on the embedded broker: incremental rebalancing with static members that restart,
//! members that come, go and die, and a broker that is killed under them.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

use lumenbus_tests::embedded::EmbeddedProcess;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TOPIC: &str = "frames";
const PARTITIONS: i32 = 6;
/// Long enough that only a broken broker meets it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Nobody is missed meanwhile.
const LONG_SESSION_MS: u32 = 300_000;
/// After so long a killed member is missed.
const SHORT_SESSION_MS: u32 = 6_000;
const BROKERS: &str = "GROUP_TEST_BROKERS";

/// What a member has seen.
#[derive(Debug, Default, Clone)]
struct Seen {
    owned: BTreeSet<i32>,
    /// Partitions taken away, one entry for each.
    revoked: Vec<i32>,
    /// Assignments and revocations, also empty ones.
    rebalances: u32,
    /// The highest offset delivered of each partition.
    read: BTreeMap<i32, i64>,
    lost: u32,
}

/// What all members of a test have seen; whoever waits is woken by every change.
#[derive(Debug, Default)]
struct Board {
    members: Mutex<BTreeMap<String, Seen>>,
    changed: Condvar,
}

impl Board {
    fn note(&self, name: &str, change: impl FnOnce(&mut Seen)) {
        change(self.members.lock().unwrap().entry(name.to_owned()).or_default());
        self.changed.notify_all();
    }

    fn of(&self, name: &str) -> Seen {
        self.members.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    #[track_caller]
    fn wait(&self, what: &str, is_so: impl Fn(&BTreeMap<String, Seen>) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut members = self.members.lock().unwrap();
        while !is_so(&members) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never: {what}; {members:#?}");
            members = self.changed.wait_timeout(members, left).unwrap().0;
        }
    }

    /// Waits until these members share all partitions fairly, each partition with one of them.
    #[track_caller]
    fn wait_until_shared(&self, names: &[&str]) {
        let share = usize::try_from(PARTITIONS).unwrap() / names.len();
        self.wait(&format!("{names:?} share all"), |members| {
            let owned: Vec<_> =
                names.iter().map(|name| members.get(*name).map_or(0, |seen| seen.owned.len())).collect();
            let all: BTreeSet<i32> =
                names.iter().filter_map(|name| members.get(*name)).flat_map(|s| s.owned.clone()).collect();
            owned.iter().all(|count| *count == share) && all.len() == share * names.len()
        });
    }
}

struct Context {
    name: String,
    board: Arc<Board>,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.board.note(&self.name, |seen| {
            seen.rebalances += 1;
            match rebalance {
                Rebalance::Assign(added) => {
                    seen.owned.extend(added.elements().iter().map(TopicPartitionListElem::partition));
                }
                Rebalance::Revoke(gone) => {
                    for element in gone.elements() {
                        seen.owned.remove(&element.partition());
                        seen.revoked.push(element.partition());
                    }
                }
                Rebalance::Error(_) => seen.lost += 1,
            }
        });
    }
}

fn settings(brokers: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", brokers)
        .set("group.id", "detectors")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("auto.offset.reset", "earliest")
        .set("auto.commit.interval.ms", "200")
        .set("heartbeat.interval.ms", "300")
        .set("reconnect.backoff.max.ms", "200")
        .set("fetch.wait.max.ms", "100");
    settings
}

fn static_member(brokers: &str, name: &str) -> ClientConfig {
    let mut settings = dynamic_member(brokers, LONG_SESSION_MS);
    settings.set("group.instance.id", name);
    settings
}

fn dynamic_member(brokers: &str, session_ms: u32) -> ClientConfig {
    let mut settings = settings(brokers);
    settings.set("session.timeout.ms", session_ms.to_string());
    settings
}

/// A member that reads on a thread of its own until it is told to go.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(name: &str, settings: &ClientConfig, board: &Arc<Board>) -> Self {
        let context = Context { name: name.to_owned(), board: Arc::clone(board) };
        let consumer: BaseConsumer<Context> = settings.create_with_context(context).unwrap();
        consumer.subscribe(&[TOPIC]).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (told, board, name) = (Arc::clone(&stop), Arc::clone(board), name.to_owned());
        let read = move || {
            while !told.load(Ordering::Relaxed) {
                // An error is a broker that is away, or a rebalance under way.
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                    let (partition, offset) = (message.partition(), message.offset());
                    board.note(&name, |seen| {
                        seen.read.insert(partition, offset);
                    });
                }
            }
        };
        Self { stop, thread: Some(std::thread::spawn(read)) }
    }

    /// Closes the consumer: a dynamic member leaves, a static one only goes silent.
    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Not a test of its own: a member that can be killed, in a process of its own.
#[test]
fn member_process() {
    let Ok(brokers) = std::env::var(BROKERS) else {
        return;
    };
    let board = Arc::new(Board::default());
    let _reader = Reader::start("mortal", &dynamic_member(&brokers, SHORT_SESSION_MS), &board);
    let mut told = BTreeSet::new();
    loop {
        board.wait("a change of partitions", |members| members.get("mortal").is_some_and(|seen| seen.owned != told));
        told = board.of("mortal").owned;
        writeln!(std::io::stdout(), "\nowns {}", told.len()).unwrap();
    }
}

/// Ends with the test, also when it fails.
struct Mortal(Child);

impl Mortal {
    /// Starts it and waits until it owns `share` partitions.
    fn start(brokers: &str, share: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["member_process", "--exact", "--nocapture"])
            .env(BROKERS, brokers)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let expected = format!("owns {share}");
        assert!(lines.any(|line| line == expected), "the member's process ended");
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        // It may be dead already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn create_topic(brokers: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    let created = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let created = created.block_on(admin.create_topics(&[topic], &AdminOptions::new())).unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}

/// Writes `count` records to each partition.
fn produce(producer: &BaseProducer, count: usize) {
    for partition in (0..PARTITIONS).flat_map(|partition| std::iter::repeat_n(partition, count)) {
        producer.send(BaseRecord::<(), [u8]>::to(TOPIC).partition(partition).payload(b"frame")).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Waits until every partition was read up to `end` by its owner.
#[track_caller]
fn wait_until_read(board: &Board, names: &[&str], end: i64) {
    board.wait(&format!("all is read up to {end}"), |members| {
        let of = |partition| names.iter().filter_map(|name| members.get(*name)?.read.get(&partition).copied()).max();
        (0..PARTITIONS).all(|partition| of(partition) == Some(end - 1))
    });
}

#[test]
fn members_come_and_go_and_nobody_loses_more_than_it_must() {
    let broker = EmbeddedProcess::new();
    let brokers = broker.bootstrap();
    create_topic(&brokers);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let board = Arc::new(Board::default());

    let _first = Reader::start("first", &static_member(&brokers, "box-1"), &board);
    board.wait_until_shared(&["first"]);
    let second = Reader::start("second", &static_member(&brokers, "box-2"), &board);
    board.wait_until_shared(&["first", "second"]);
    let revoked = board.of("first").revoked;
    assert_eq!(revoked.len(), 3, "three partitions moved, the other three stayed: {revoked:?}");
    produce(&producer, 10);
    wait_until_read(&board, &["first", "second"], 10);

    // A static member restarts within its session: it gets its partitions back and nobody else notices.
    let before = board.of("second").owned;
    let rebalances = board.of("first").rebalances;
    second.end();
    board.note("second", |seen| *seen = Seen::default());
    produce(&producer, 10);
    let _second = Reader::start("second", &static_member(&brokers, "box-2"), &board);
    board.wait("the second is back", |members| members["second"].owned == before);
    wait_until_read(&board, &["first", "second"], 20);
    assert_eq!(board.of("first").rebalances, rebalances);

    // A third member takes two partitions, and leaves them again.
    let third = Reader::start("third", &dynamic_member(&brokers, LONG_SESSION_MS), &board);
    board.wait_until_shared(&["first", "second", "third"]);
    let revoked = board.of("first").revoked.len() + board.of("second").revoked.len();
    assert_eq!(revoked, 3 + 2, "two partitions moved and the other four stayed");
    third.end();
    board.wait_until_shared(&["first", "second"]);

    // One that is killed is missed after its session.
    let mut mortal = Mortal::start(&brokers, 2);
    board.wait("the two gave two partitions", |members| {
        members["first"].owned.len() + members["second"].owned.len() == 4
    });
    mortal.kill();
    board.wait_until_shared(&["first", "second"]);
    produce(&producer, 10);
    wait_until_read(&board, &["first", "second"], 30);
    assert_eq!(board.of("first").lost + board.of("second").lost, 0);
}

#[test]
fn members_outlive_a_broker_that_is_killed() {
    let mut broker = EmbeddedProcess::new();
    let brokers = broker.bootstrap();
    create_topic(&brokers);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let board = Arc::new(Board::default());
    let _static = Reader::start("static", &static_member(&brokers, "box-1"), &board);
    let _dynamic = Reader::start("dynamic", &dynamic_member(&brokers, LONG_SESSION_MS), &board);
    board.wait_until_shared(&["static", "dynamic"]);
    let rebalances = ["static", "dynamic"].map(|name| board.of(name).rebalances);
    for round in 1..=3 {
        broker.kill();
        broker.start();
        produce(&producer, 10);
        wait_until_read(&board, &["static", "dynamic"], 10 * round);
    }
    assert_eq!(["static", "dynamic"].map(|name| board.of(name).rebalances), rebalances, "nobody had to join again");
}
