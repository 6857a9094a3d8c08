//! A data directory that Apache Kafka has written, taken over by the embedded broker.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use lumenbus_tests::backend::start_kafka;
use lumenbus_tests::load::PATIENCE;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use std::path::Path;
use std::time::Instant;
use xtask::kafka::KafkaOptions;

/// Enough that they lie in many of the partitions of `__consumer_offsets`.
const GROUPS: i64 = 20;
const TOPIC: &str = "taken-over";

#[derive(Debug, Clone, Copy)]
enum Stop {
    Clean,
    Kill,
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("isolation.level", "read_committed");
    config
}

fn member(bootstrap: &str, group: &str) -> BaseConsumer {
    config(bootstrap).set("group.id", group).set("enable.auto.commit", "false").create().unwrap()
}

fn at(offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, offset).unwrap();
    list
}

fn copier(bootstrap: &str) -> BaseProducer {
    let producer: BaseProducer = config(bootstrap).set("transactional.id", "copier").create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn send(producer: &BaseProducer, value: &str) {
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(TOPIC).partition(0).payload(value)).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// What a reader of committed records sees up to `last`.
fn values(bootstrap: &str, last: &str) -> Vec<String> {
    let reader = member(bootstrap, "reader");
    reader.assign(&at(Offset::Beginning)).unwrap();
    let mut values = Vec::new();
    while values.last().is_none_or(|value| value != last) {
        let message = reader.poll(PATIENCE).expect("the last record comes").unwrap();
        values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
    }
    values
}

fn commit(bootstrap: &str, group: &str, offset: i64) {
    let consumer = member(bootstrap, group);
    let deadline = Instant::now() + PATIENCE;
    // A Kafka that has just made the topic of the groups refuses for a moment, and nothing tells when that is over.
    while let Err(error) = consumer.commit(&at(Offset::Offset(offset)), CommitMode::Sync) {
        assert!(Instant::now() < deadline, "{group}: {error}");
    }
}

fn committed(bootstrap: &str, group: &str) -> Offset {
    let list = member(bootstrap, group).committed_offsets(at(Offset::Invalid), PATIENCE).unwrap();
    list.find_partition(TOPIC, 0).unwrap().offset()
}

/// Offsets of many groups; of a transactional producer one transaction that is committed, one that is aborted and one
/// that stays open.
fn fill(bootstrap: &str) {
    for number in 0..GROUPS {
        commit(bootstrap, &format!("group {number}"), number);
    }
    let producer = copier(bootstrap);
    send(&producer, "committed");
    let group = member(bootstrap, "copiers").group_metadata().unwrap();
    producer.send_offsets_to_transaction(&at(Offset::Offset(7)), &group, PATIENCE).unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
    send(&producer, "aborted");
    producer.abort_transaction(PATIENCE).unwrap();
    send(&producer, "open");
}

fn start(data: &Path) -> RunningBroker {
    Broker::start_blocking(BrokerConfig::new(data).listen(([127, 0, 0, 1], 0).into())).unwrap()
}

fn check_groups(bootstrap: &str) {
    for number in 0..GROUPS {
        assert_eq!(committed(bootstrap, &format!("group {number}")), Offset::Offset(number));
    }
    assert_eq!(committed(bootstrap, "copiers"), Offset::Offset(7));
}

fn is_taken_over(stop: Stop) {
    let own = ["offsets.topic.num.partitions", "transaction.state.log.num.partitions"];
    let properties = own.map(|name| (name.to_owned(), "50".to_owned())).to_vec();
    let options = KafkaOptions { properties, ..KafkaOptions::default() };
    let Some(mut kafka) = start_kafka("Apache Kafka with 50 partitions of its own topics", &options) else { return };
    let arguments = ["--create", "--topic", TOPIC, "--partitions", "1", "--config", "retention.ms=-1"];
    kafka.tool("org.apache.kafka.tools.TopicCommand", &arguments).unwrap();
    fill(kafka.bootstrap());
    match stop {
        Stop::Clean => kafka.stop(1).unwrap(),
        Stop::Kill => kafka.kill(1).unwrap(),
    }
    let data = kafka.state().nodes[0].dir.join("data");
    let broker = start(&data);
    let bootstrap = broker.bootstrap_servers();
    check_groups(&bootstrap);
    // Ends what was left open.
    let producer = copier(&bootstrap);
    send(&producer, "new");
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(values(&bootstrap, "new"), ["committed", "new"]);
    commit(&bootstrap, "group 3", 33);
    drop(producer);
    broker.shutdown_blocking().unwrap();

    let broker = start(&data);
    let bootstrap = broker.bootstrap_servers();
    assert_eq!(committed(&bootstrap, "group 3"), Offset::Offset(33));
    assert_eq!(committed(&bootstrap, "group 4"), Offset::Offset(4));
    assert_eq!(values(&bootstrap, "new"), ["committed", "new"]);
    broker.shutdown_blocking().unwrap();
}

#[test]
fn the_directory_of_a_kafka_that_stopped_or_was_killed_is_taken_over() {
    for stop in [Stop::Clean, Stop::Kill] {
        is_taken_over(stop);
    }
}
