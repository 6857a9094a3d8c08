//! librdkafka's transactional producer and its readers of committed records on the embedded broker.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use lumenbus_tests::embedded::EmbeddedProcess;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough that only a broken broker meets it.
const PATIENCE: Duration = Duration::from_secs(120);

fn start() -> (TempDir, RunningBroker) {
    let folder = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new(folder.path()).listen(([127, 0, 0, 1], 0).into());
    let broker = Broker::start_blocking(config).unwrap();
    (folder, broker)
}

fn create(brokers: &str, names: &[&str]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topics: Vec<_> = names.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let created = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new())).unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}

fn producer(brokers: &str, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", id)
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, value: &str) {
    producer.send(BaseRecord::<(), str>::to(topic).payload(value)).map_err(|(error, _)| error).unwrap();
}

fn consumer(brokers: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap()
}

fn at(topic: &str, offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, offset).unwrap();
    list
}

/// Everything committed in partition 0 of a topic.
fn committed(brokers: &str, topic: &str) -> Vec<String> {
    let consumer = consumer(brokers, "reader");
    consumer.assign(&at(topic, Offset::Beginning)).unwrap();
    let until = Instant::now() + PATIENCE;
    let mut values = Vec::new();
    loop {
        assert!(Instant::now() < until, "never at the end after {values:?}");
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(record)) => values.push(record.payload_view::<str>().unwrap().unwrap().to_owned()),
            Some(Err(KafkaError::PartitionEOF(_))) => return values,
            Some(Err(_)) | None => {}
        }
    }
}

#[test]
fn transactions_are_committed_and_aborted() {
    let (_folder, broker) = start();
    let brokers = broker.bootstrap_servers();
    create(&brokers, &["t", "u"]);
    let producer = producer(&brokers, "one");
    for round in 0..6 {
        producer.begin_transaction().unwrap();
        for number in 0..50 {
            send(&producer, "t", &format!("{round}-{number}"));
            send(&producer, "u", &format!("{round}-{number}"));
        }
        producer.flush(PATIENCE).unwrap();
        match round % 2 {
            0 => producer.commit_transaction(PATIENCE).unwrap(),
            _ => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }
    let expected: Vec<_> =
        [0, 2, 4].iter().flat_map(|round| (0..50).map(move |number| format!("{round}-{number}"))).collect();
    assert_eq!(committed(&brokers, "t"), expected);
    assert_eq!(committed(&brokers, "u"), expected);
}

#[test]
fn a_second_instance_shuts_the_first_out() {
    let (_folder, broker) = start();
    let brokers = broker.bootstrap_servers();
    create(&brokers, &["t"]);
    let old = producer(&brokers, "one");
    old.begin_transaction().unwrap();
    send(&old, "t", "of the old one");
    old.flush(PATIENCE).unwrap();
    let new = producer(&brokers, "one");
    new.begin_transaction().unwrap();
    send(&new, "t", "of the new one");
    new.flush(PATIENCE).unwrap();
    new.commit_transaction(PATIENCE).unwrap();
    let error = old.commit_transaction(PATIENCE).unwrap_err();
    let code = error.rdkafka_error_code().unwrap();
    assert!(matches!(code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced), "{error}");
    assert_eq!(committed(&brokers, "t"), ["of the new one"]);
}

/// Copies `count` records from `in` to `out` in transactions that hold the consumer's offsets; some are aborted and
/// done again. `disturb` is called in the middle of every transaction that has records.
fn copy(brokers: &str, count: usize, mut disturb: impl FnMut(usize)) {
    let consumer = consumer(brokers, "copier");
    consumer.subscribe(&["in"]).unwrap();
    let producer = producer(brokers, "copier");
    let until = Instant::now() + PATIENCE;
    let (mut copied, mut round) = (0, 0);
    while copied < count {
        producer.begin_transaction().unwrap();
        let mut next = None;
        for _ in 0..20 {
            assert!(Instant::now() < until, "only {copied} of {count} were copied");
            match consumer.poll(Duration::from_millis(500)) {
                Some(Ok(record)) => {
                    send(&producer, "out", record.payload_view::<str>().unwrap().unwrap());
                    let first = next.map_or(record.offset(), |(first, _)| first);
                    next = Some((first, record.offset() + 1));
                }
                Some(Err(_)) | None => break,
            }
        }
        let Some((first, end)) = next else {
            producer.abort_transaction(PATIENCE).unwrap();
            continue;
        };
        disturb(round);
        round += 1;
        let group = consumer.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&at("in", Offset::Offset(end)), &group, PATIENCE).unwrap();
        producer.flush(PATIENCE).unwrap();
        if round % 3 == 0 {
            producer.abort_transaction(PATIENCE).unwrap();
            consumer.seek("in", 0, Offset::Offset(first), PATIENCE).unwrap();
        } else {
            producer.commit_transaction(PATIENCE).unwrap();
            copied = usize::try_from(end).unwrap();
        }
    }
    let offsets = consumer.committed_offsets(at("in", Offset::Invalid), PATIENCE).unwrap();
    let expected = i64::try_from(count).unwrap();
    assert_eq!(offsets.elements()[0].offset(), Offset::Offset(expected));
}

fn fill(brokers: &str, count: usize) -> Vec<String> {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let values: Vec<_> = (0..count).map(|number| format!("record {number}")).collect();
    values.iter().for_each(|value| send(&producer, "in", value));
    producer.flush(PATIENCE).unwrap();
    values
}

#[test]
fn read_process_write_is_exactly_once() {
    let (_folder, broker) = start();
    let brokers = broker.bootstrap_servers();
    create(&brokers, &["in", "out"]);
    let values = fill(&brokers, 300);
    copy(&brokers, values.len(), |_| {});
    assert_eq!(committed(&brokers, "out"), values);
}

#[test]
fn read_process_write_is_exactly_once_across_kills_of_the_broker() {
    let mut broker = EmbeddedProcess::new();
    let brokers = broker.bootstrap();
    create(&brokers, &["in", "out"]);
    let values = fill(&brokers, 200);
    copy(&brokers, values.len(), |round| {
        if round % 4 == 2 {
            broker.kill();
            broker.start();
        }
    });
    assert_eq!(committed(&brokers, "out"), values);
}
