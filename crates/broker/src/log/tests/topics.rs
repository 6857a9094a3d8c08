use super::*;
use crate::log::checkpoint::{CLEANER_OFFSETS, RECOVERY_POINTS};
use crate::log::disk::SystemDisk;
use std::fs;

#[test]
fn topics_survive_restarts_with_identity_and_settings() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let cluster = store.cluster_id().to_owned();
    let own = overrides(&[("retention.ms", "5"), ("max.message.bytes", "100")]);
    let id = store.create_topic("a.b-c_d", 3, &own).unwrap().id();
    assert_eq!(store.create_topic("a.b-c_d", 1, &own).unwrap_err().kafka_code(), 36);
    assert_eq!(store.create_topic("a_b-c.d", 1, &own).unwrap_err().kafka_code(), 17, "metrics would mix the two up");
    store.create_partitions("a.b-c_d", 5).unwrap();
    assert_eq!(store.create_partitions("a.b-c_d", 5).unwrap_err().kafka_code(), 37);
    append_values(&store.partition("a.b-c_d", 4).unwrap(), &[b"x"]);
    drop(store);
    let (store, report) = open_reported(dir.path());
    assert_eq!((report.partitions, store.cluster_id()), (5, cluster.as_str()));
    let topic = store.topic("a.b-c_d").unwrap();
    assert_eq!((topic.id(), topic.overrides()), (id, own));
    assert_eq!(topic.config().max_message_bytes, 100);
    assert_eq!(topic.partition(4).unwrap().high_watermark(), 1);
    assert_eq!(store.topics().len(), 1);
}

#[test]
fn wrong_names_counts_and_settings_create_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let none = Overrides::new();
    for (name, partitions, settings, code) in [
        ("../escape", 1, &none, 17),
        ("", 1, &none, 17),
        ("t", 0, &none, 37),
        ("t", 10_001, &none, 37),
        ("t", 1, &overrides(&[("nonsense", "1")]), 40),
    ] {
        assert_eq!(store.check_topic(name, partitions, settings).unwrap_err().kafka_code(), code);
        assert_eq!(store.create_topic(name, partitions, settings).unwrap_err().kafka_code(), code);
    }
    assert!(store.topics().is_empty());
    assert!(fs::read_dir(dir.path()).unwrap().all(|entry| !entry.unwrap().path().is_dir()));
}

#[test]
fn settings_take_effect_and_bad_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    store.set_config("t", &overrides(&[("max.message.bytes", "70")])).unwrap();
    assert_eq!(append(&log, BatchSpec::values(&[&[0; 99]], NOW).bytes()).unwrap_err().kafka_code(), 10);
    assert_eq!(store.set_config("t", &overrides(&[("max.message.bytes", "many")])).unwrap_err().kafka_code(), 40);
    assert_eq!(store.topic("t").unwrap().config().max_message_bytes, 70);
    assert_eq!(store.set_config("u", &Overrides::new()).unwrap_err().kafka_code(), 3);
}

#[test]
fn a_deleted_topic_is_gone_for_holders_too_and_a_new_one_starts_afresh() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    let id = store.topic("t").unwrap().id();
    append_values(&log, &[b"old"]);
    checkpoint(&store);
    store.delete_topic("t").unwrap();
    assert_eq!(log.read(0, 9, FirstBatch::Whole).unwrap_err().kafka_code(), 3);
    assert_eq!(append(&log, BatchSpec::values(&[b"x"], NOW).bytes()).unwrap_err().kafka_code(), 3);
    assert_eq!(store.delete_topic("t").unwrap_err().kafka_code(), 3);
    assert!(!dir.path().join("t-0").exists());
    checkpoint(&store);
    store.create_topic("t", 1, &Overrides::new()).unwrap();
    let fresh = store.partition("t", 0).unwrap();
    assert_eq!(fresh.high_watermark(), 0);
    assert_ne!(store.topic("t").unwrap().id(), id);
    append_values(&fresh, &[b"new"]);
    drop((store, log, fresh));
    assert_eq!(read_all(&open(dir.path()).partition("t", 0).unwrap())[0].value.as_deref(), Some(&b"new"[..]));
}

#[test]
fn an_interrupted_deletion_is_finished_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"x"]);
    drop((store, log));
    let path = dir.path().join("t.topic");
    let record = topic::TopicRecord::load(&path).unwrap().unwrap();
    topic::TopicRecord { state: topic::TopicState::Deleting, ..record }.save(&SystemDisk, dir.path()).unwrap();
    let store = open(dir.path());
    assert!(store.topics().is_empty());
    assert!(!path.exists() && !dir.path().join("t-0").exists());
}

/// How far a deletion had come when the process died.
#[derive(Debug, Clone, Copy)]
enum Died {
    Decided,
    FilesGone,
}

#[test]
fn a_topic_created_again_inherits_nothing_of_an_interrupted_deletion() {
    for died in [Died::Decided, Died::FilesGone] {
        let dir = tempfile::tempdir().unwrap();
        let (store, log) = with_topic(dir.path(), &[]);
        append_values(&log, &[b"1", b"2", b"3", b"4"]);
        checkpoint(&store);
        store.delete_records("t", 0, 3).unwrap();
        drop((store, log));
        fs::write(dir.path().join(CLEANER_OFFSETS), "0\n1\nt 0 4\n").unwrap();
        let path = dir.path().join("t.topic");
        match died {
            Died::Decided => {
                let record = topic::TopicRecord::load(&path).unwrap().unwrap();
                topic::TopicRecord { state: topic::TopicState::Deleting, ..record }
                    .save(&SystemDisk, dir.path())
                    .unwrap();
            }
            Died::FilesGone => {
                fs::remove_dir_all(dir.path().join("t-0")).unwrap();
                fs::remove_file(&path).unwrap();
            }
        }
        let store = open(dir.path());
        let topic = store.create_topic("t", 1, &Overrides::new()).unwrap();
        append_values(&topic.partition(0).unwrap(), &[b"new"]);
        drop((store, topic));
        let store = open(dir.path());
        let log = store.partition("t", 0).unwrap();
        assert_eq!(read_all(&log)[0].value.as_deref(), Some(&b"new"[..]), "{died:?}");
        assert_eq!((log.log_start_offset(), log.high_watermark(), log.clean_offset()), (0, 1, 0), "{died:?}");
    }
}

#[test]
fn a_lost_recovery_point_stays_unknown_until_the_next_flush() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"x"]);
    drop((store, log));
    let path = dir.path().join(RECOVERY_POINTS);
    fs::remove_file(&path).unwrap();
    let store = open(dir.path());
    store.create_topic("u", 1, &Overrides::new()).unwrap();
    // A zero would say that `t` has no gaps of compaction.
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n1\nu 0 0\n");
    checkpoint(&store);
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n2\nt 0 1\nu 0 0\n");
}

#[test]
fn nothing_behind_the_end_counts_as_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"x"]);
    drop((store, log));
    fs::write(dir.path().join(CLEANER_OFFSETS), "0\n1\nt 0 4\n").unwrap();
    assert_eq!(open(dir.path()).partition("t", 0).unwrap().clean_offset(), 1);
}

#[test]
fn leftovers_of_a_failed_deletion_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fs::create_dir(dir.path().join("t-1")).unwrap();
    fs::write(dir.path().join("t-1/00000000000000000000.log"), BatchSpec::values(&[b"old"], NOW).bytes()).unwrap();
    let topic = store.create_topic("t", 2, &Overrides::new()).unwrap();
    assert_eq!(topic.partition(1).unwrap().high_watermark(), 0);
}

#[test]
fn directories_without_a_topic_file_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    let id = store.topic("t").unwrap().id();
    append_values(&log, &[b"x"]);
    drop((store, log));
    fs::remove_file(dir.path().join("t.topic")).unwrap();
    let (store, report) = open_reported(dir.path());
    assert!(report.notes.iter().any(|note| note.contains("no topic file")), "{report:?}");
    assert_eq!(store.topic("t").unwrap().id(), id);
    assert_eq!(read_all(&store.partition("t", 0).unwrap()).len(), 1);
}

#[test]
fn two_brokers_cannot_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let second = LogStore::open(StoreConfig::new(dir.path()), NOW).unwrap_err();
    assert!(matches!(second, LogError::DirectoryInUse { .. }), "{second}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_topic_with_a_damaged_file_is_offline_and_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_topic(dir.path(), &[]));
    fs::write(dir.path().join("t.topic"), "version=1\n").unwrap();
    let store = open(dir.path());
    let error = store.partition("t", 0).unwrap().read(0, 1, FirstBatch::Whole).unwrap_err();
    assert!(error.to_string().contains("t.topic"), "{error}");
}
