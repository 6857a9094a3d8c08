//! A data directory that Apache Kafka has written: 50 partitions of each of the broker's own topics, no file of ours.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::group::{Committed, TopicPartition, encode_batch};
use super::*;
use crate::log::{AppendOrigin, Outcome, Overrides, StoreConfig, within_transaction};

const NOW: i64 = 1_700_000_000_000;
const PARTITIONS: i32 = 50;
/// The places are Java's `hashCode` of the name, modulo 50.
const READERS: (&str, i32) = ("readers", 28);
const OLD: (&str, i32) = ("old", 19);
const COPIER: (&str, i32) = ("copier", 24);

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// `OffsetCommitKey` 1.
fn offset_key(group: &str, topic: &str) -> Bytes {
    [&[0, 1][..], &text(group), &text(topic), &[0; 4]].concat().into()
}

/// `OffsetCommitValue` 3.
fn offset_value(offset: i64) -> Bytes {
    [&[0, 3][..], &offset.to_be_bytes(), &[0xff; 4], &text(""), &NOW.to_be_bytes()].concat().into()
}

/// `TransactionLogKey` 0.
fn transaction_key(id: &str) -> Bytes {
    [&[0, 0][..], &text(id)].concat().into()
}

/// `TransactionLogValue` of Kafka 4: a commit is decided, and to be told to the partition that keeps `readers`.
fn decided(version: u8) -> Bytes {
    let topic = OFFSETS_TOPIC.as_bytes();
    let partition = [&[2, u8::try_from(topic.len() + 1).unwrap()][..], topic, &[2], &READERS.1.to_be_bytes(), &[0]];
    let head = [&[0, version][..], &7000_i64.to_be_bytes(), &[0, 3], &60_000_i32.to_be_bytes(), &[2]];
    let times = [&NOW.to_be_bytes()[..], &NOW.to_be_bytes(), &[0]];
    [head.concat(), partition.concat(), times.concat()].concat().into()
}

struct KafkaDirectory(tempfile::TempDir);

impl KafkaDirectory {
    /// `write` is given the store under which Kafka's files come about.
    fn written(write: impl FnOnce(&LogStore)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = LogStore::open(StoreConfig::new(folder.path()), NOW).unwrap();
        for name in [OFFSETS_TOPIC, txn::TRANSACTIONS_TOPIC] {
            let settings = Overrides::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
            store.create_topic(name, PARTITIONS, &settings).unwrap();
        }
        store.create_topic("t", 1, &Overrides::new()).unwrap();
        write(&store);
        store.close().unwrap();
        let own = |name: &str| name.ends_with(".topic") || ["format", "leader-epoch", ".running"].contains(&name);
        for entry in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            if entry.file_name().to_str().is_some_and(own) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        fs::create_dir(folder.path().join("__cluster_metadata-0")).unwrap();
        fs::write(folder.path().join("__cluster_metadata-0/quorum-state"), "{}").unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&self) -> Result<Server, BrokerError> {
        let config = BrokerConfig::new(self.path()).listen(([127, 0, 0, 1], 0).into());
        Server::open(config, ("127.0.0.1".to_owned(), 0))
    }
}

fn put(store: &LogStore, topic: &str, index: i32, entries: Vec<(Bytes, Option<Bytes>)>) {
    let records = encode_batch(entries, NOW).unwrap();
    store.partition(topic, index).unwrap().append(&records, NOW, AppendOrigin::Coordinator).unwrap();
}

fn at(topic: &str) -> TopicPartition {
    (topic.to_owned(), 0)
}

fn offset(server: &Server, group: &str) -> Option<i64> {
    server.offsets.get(group, &at("t")).map(|committed| committed.offset)
}

fn written_by_kafka() -> KafkaDirectory {
    KafkaDirectory::written(|store| {
        put(store, "t", 0, vec![(Bytes::from_static(b"k"), None)]);
        let producer = encode_batch(vec![(Bytes::from_static(b"k"), None)], NOW).unwrap();
        let producer = within_transaction(&producer, (8000, 1)).unwrap();
        let log = store.partition("t", 0).unwrap();
        log.append(&producer.into(), NOW, AppendOrigin::Coordinator).unwrap();
        log.end_transaction((8000, 1), Outcome::Commit, 0, NOW).unwrap();
        put(store, OFFSETS_TOPIC, OLD.1, vec![(offset_key(OLD.0, "t"), Some(offset_value(5)))]);
        put(store, OFFSETS_TOPIC, OLD.1, vec![(offset_key(OLD.0, "deleted"), Some(offset_value(5)))]);
        // A member of a group of the newer protocol.
        put(store, OFFSETS_TOPIC, OLD.1, vec![(Bytes::from_static(&[0, 3, 0, 0]), Some(Bytes::from_static(b"?")))]);
        let pending = encode_batch(vec![(offset_key(READERS.0, "t"), Some(offset_value(9)))], NOW).unwrap();
        let pending = within_transaction(&pending, (7000, 3)).unwrap();
        let log = store.partition(OFFSETS_TOPIC, READERS.1).unwrap();
        log.append(&pending.into(), NOW, AppendOrigin::Coordinator).unwrap();
        put(store, txn::TRANSACTIONS_TOPIC, COPIER.1, vec![(transaction_key(COPIER.0), Some(decided(1)))]);
    })
}

#[test]
fn groups_transactions_and_producer_ids_of_kafka_go_on() {
    let directory = written_by_kafka();
    let server = directory.open().unwrap();
    for name in [OFFSETS_TOPIC, txn::TRANSACTIONS_TOPIC] {
        let topic = server.store.topic(name).unwrap();
        assert_eq!(topic.partitions().len(), 50);
        let policy = topic.config().cleanup_policy;
        assert!(policy.compact && !policy.delete, "{name}");
    }
    let config = server.store.topic("t").unwrap().config();
    assert_eq!((config.retention_ms, config.retention_bytes), (None, None), "nobody said how long");
    assert!(server.store.topic("__cluster_metadata").is_none());
    assert_eq!(offset(&server, OLD.0), Some(5));
    assert_eq!(server.offsets.get(OLD.0, &at("deleted")), None, "its topic is gone");
    assert_eq!(offset(&server, READERS.0), Some(9), "what was decided is done");
    assert!(server.store.partition(OFFSETS_TOPIC, READERS.1).unwrap().open_transactions().is_empty());
    assert_eq!(server.transactions.get(COPIER.0).unwrap().status, txn::Status::CompleteCommit);
    assert!(server.producer_ids.next().unwrap() > 8000);

    let ends = || -> Vec<i64> {
        server.store.topic(OFFSETS_TOPIC).unwrap().partitions().iter().map(|log| log.high_watermark()).collect()
    };
    let before = ends();
    let committed = Committed { offset: 6, leader_epoch: -1, metadata: String::new(), committed_ms: NOW };
    server.offsets.commit(OLD.0, vec![(at("t"), committed)], NOW).unwrap();
    let grown: Vec<usize> =
        ends().iter().zip(&before).enumerate().filter(|(_, (a, b))| a > b).map(|(i, _)| i).collect();
    assert_eq!(grown, [usize::try_from(OLD.1).unwrap()], "where Kafka looks for it");
    drop(server);
    assert_eq!(offset(&directory.open().unwrap(), OLD.0), Some(6));
    assert!(directory.path().join("__cluster_metadata-0/quorum-state").exists());
}

#[test]
fn a_transaction_in_an_unknown_form_is_refused_by_name() {
    let directory = KafkaDirectory::written(|store| {
        put(store, txn::TRANSACTIONS_TOPIC, COPIER.1, vec![(transaction_key(COPIER.0), Some(decided(2)))]);
    });
    let error = directory.open().unwrap_err().to_string();
    assert!(error.contains("__transaction_state-24") && error.contains("\"copier\""), "{error}");
    let forgotten = |name: &str| name.starts_with("__transaction_state");
    for entry in fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().is_some_and(forgotten) && entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else if entry.file_name().to_str().is_some_and(forgotten) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    directory.open().unwrap();
}

#[test]
fn a_directory_with_a_part_of_the_groups_is_refused() {
    let directory = written_by_kafka();
    for index in READERS.1 + 1..PARTITIONS {
        fs::remove_dir_all(directory.path().join(format!("{OFFSETS_TOPIC}-{index}"))).unwrap();
    }
    // Of 29 partitions another one would be asked for `old`.
    let error = directory.open().unwrap_err().to_string();
    assert!(error.contains("__consumer_offsets-19") && error.contains("\"old\""), "{error}");
}
