use super::*;
use crate::log::{LogStore, StoreConfig};
use crate::server::config::GroupConfig;
use crate::server::group::member::{Admission, Caller, Join, ReturnOfLeader};
use crate::server::group::offsets::OffsetStore;
use crate::server::group::state::Sync;
use bytes::Bytes;
use std::sync::Arc;
use tempfile::TempDir;

const HOUR_MS: i64 = 3_600_000;

fn open(folder: &TempDir, max_groups: usize) -> Coordinator {
    let (store, _) = LogStore::open(StoreConfig::new(folder.path()), 0).unwrap();
    let (offsets, kept) = OffsetStore::open(&store, 1000).unwrap();
    let config = GroupConfig { initial_rebalance_delay: Duration::ZERO, max_groups, ..GroupConfig::default() };
    Coordinator::new(config, Arc::new(offsets), kept)
}

/// One consumer subscribes to `topic` and is assigned; its member id.
async fn settle(coordinator: &Coordinator, group: &str, topic: &str) -> String {
    let mut subscription = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    subscription.extend(topic.as_bytes());
    let join = Join {
        member_id: None,
        instance_id: None,
        new_id: "a".to_owned(),
        admission: Admission::AtOnce,
        session_timeout: Duration::from_secs(1000),
        rebalance_timeout: Duration::from_secs(1000),
        client_id: String::new(),
        client_host: String::new(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription.into())],
        return_of_leader: ReturnOfLeader::SkipAssignment,
    };
    let joined = coordinator.join(group, join).await.unwrap();
    let caller = Caller { member_id: &joined.member_id, instance_id: None, generation: joined.generation };
    let assignments = vec![(joined.member_id.clone(), Bytes::from_static(b"all"))];
    coordinator.sync(group, Sync { caller, believes: [None; 2], assignments }).await.unwrap();
    joined.member_id.clone()
}

fn leave(coordinator: &Coordinator, group: &str, member_id: &str) {
    coordinator.leave(group, Caller { member_id, instance_id: None, generation: -1 }).unwrap();
}

fn commit(coordinator: &Coordinator, group: &str, topic: &str, committed_ms: i64) {
    let committed = Committed { offset: 1, leader_epoch: -1, metadata: String::new(), committed_ms };
    let offsets = vec![((topic.to_owned(), 0), committed)];
    coordinator.offsets.commit(group, offsets, committed_ms).unwrap();
}

fn topics(coordinator: &Coordinator, group: &str) -> Vec<String> {
    coordinator.offsets.all(group).into_iter().map(|((topic, _), _)| topic).collect()
}

#[tokio::test]
async fn offsets_expire_when_nobody_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(&folder, 10);
    let now_ms = crate::server::now_ms();
    let long_ago = now_ms - 100 * HOUR_MS;
    settle(&coordinator, "reading", "read").await;
    let member = settle(&coordinator, "left", "read").await;
    for group in ["reading", "left", "by hand"] {
        commit(&coordinator, group, "read", long_ago);
        commit(&coordinator, group, "other", long_ago);
        commit(&coordinator, group, "fresh", now_ms);
    }
    leave(&coordinator, "left", &member);
    coordinator.expire(now_ms - HOUR_MS, now_ms).unwrap();
    assert_eq!(topics(&coordinator, "reading"), ["fresh", "read"], "its members subscribe to `read` only");
    assert_eq!(topics(&coordinator, "left"), ["fresh", "other", "read"], "it has been empty for a moment only");
    assert_eq!(topics(&coordinator, "by hand"), ["fresh"]);
    let later_ms = now_ms + 2 * HOUR_MS;
    coordinator.expire(later_ms, later_ms).unwrap();
    assert_eq!(topics(&coordinator, "reading"), ["read"]);
    assert_eq!(topics(&coordinator, "left"), [""; 0]);
    assert!(coordinator.view("left").is_none(), "a group without members and offsets is forgotten");
    assert!(coordinator.view("reading").is_some());
    drop(coordinator);
    let coordinator = open(&folder, 10);
    let names: Vec<_> = coordinator.list().into_iter().map(|(name, ..)| name).collect();
    assert_eq!((names, topics(&coordinator, "left")), (vec!["reading".to_owned()], Vec::new()), "also by the files");
}

#[tokio::test]
async fn groups_in_use_are_not_deleted_and_others_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(&folder, 10);
    let member = settle(&coordinator, "g", "read").await;
    commit(&coordinator, "g", "read", 1);
    commit(&coordinator, "by hand", "read", 1);
    assert_eq!(coordinator.delete("g", 1), Err(ResponseError::NonEmptyGroup));
    assert_eq!(coordinator.topics_in_use("g"), Ok(Some(HashSet::from(["read".to_owned()]))));
    leave(&coordinator, "g", &member);
    assert_eq!(coordinator.topics_in_use("g"), Ok(Some(HashSet::new())));
    for (name, expected) in [
        ("g", Ok(())),
        ("g", Err(ResponseError::GroupIdNotFound)),
        ("by hand", Ok(())),
        ("nobody", Err(ResponseError::GroupIdNotFound)),
        ("", Err(ResponseError::InvalidGroupId)),
    ] {
        assert_eq!(coordinator.delete(name, 2), expected, "{name}");
    }
    assert_eq!(coordinator.topics_in_use("g"), Err(ResponseError::GroupIdNotFound));
    drop(coordinator);
    let coordinator = open(&folder, 10);
    assert!(coordinator.list().is_empty() && coordinator.offsets.groups().is_empty());
}

#[tokio::test]
async fn groups_that_nobody_is_in_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(&folder, 3);
    for number in 0..20 {
        let name = format!("g{number}");
        let member = settle(&coordinator, &name, "read").await;
        leave(&coordinator, &name, &member);
        assert!(coordinator.list().len() <= 4);
    }
    for number in 0..3 {
        settle(&coordinator, &format!("stays{number}"), "read").await;
    }
    let groups = coordinator.lock();
    assert_eq!(groups.occupied, 3);
    assert!(!groups.is_occupied("g19"));
}

#[tokio::test]
async fn room_is_made_by_forgetting_a_few_groups_that_have_long_been_empty() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = LogStore::open(StoreConfig::new(folder.path()), 0).unwrap();
    let (offsets, kept) = OffsetStore::open(&store, 1000).unwrap();
    let config = GroupConfig { initial_rebalance_delay: Duration::ZERO, max_groups: 300, ..GroupConfig::default() };
    let coordinator = Coordinator::new(config, Arc::new(offsets), kept);
    let empty = async |name: &str| {
        let member = settle(&coordinator, name, "read").await;
        leave(&coordinator, name, &member);
    };
    for name in ["old 0", "old 1", "old 2"] {
        empty(name).await;
    }
    let made_ms = crate::server::now_ms();
    // Of groups that became empty in the same millisecond none is older.
    while crate::server::now_ms() <= made_ms {}
    for number in 3..300 {
        empty(&format!("young {number}")).await;
    }
    assert_eq!(coordinator.list().len(), 300);
    let log = store.partition("__consumer_offsets", 0).unwrap();
    let before = log.high_watermark();
    settle(&coordinator, "new", "read").await;
    let names: HashSet<String> = coordinator.list().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), 298);
    assert!(names.iter().all(|name| !name.starts_with("old")), "the oldest go");
    let mut appended = log.read(before, 1 << 20, crate::log::FirstBatch::Whole).unwrap().records;
    let batches = kafka_protocol::records::RecordBatchDecoder::decode_all(&mut appended).unwrap();
    let records: Vec<usize> = batches.iter().map(|batch| batch.records.len()).collect();
    assert_eq!(records, [3, 1], "the tombstones in one append, and the new group");
}

#[tokio::test]
async fn all_groups_that_nothing_is_kept_of_expire_whatever_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(&folder, 1000);
    for number in 0..FORGOTTEN_AT_ONCE + 10 {
        let name = number.to_string();
        let member = settle(&coordinator, &name, "read").await;
        leave(&coordinator, &name, &member);
    }
    commit(&coordinator, "7", "read", crate::server::now_ms());
    coordinator.expire(0, crate::server::now_ms()).unwrap();
    assert_eq!(coordinator.list().len(), 1);
    drop(coordinator);
    assert_eq!(open(&folder, 1000).list().len(), 1, "also by the files");
}

/// The alarm rings for the earliest deadline; signs of life neither move nor ring it.
#[tokio::test]
async fn signs_of_life_leave_the_alarm_alone() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(&folder, 10);
    let member_id = settle(&coordinator, "g", "read").await;
    let alarm = coordinator.lock().alarm.unwrap();
    for _ in 0..100 {
        let caller = Caller { member_id: &member_id, instance_id: None, generation: 1 };
        coordinator.heartbeat("g", caller).unwrap();
    }
    assert_eq!(coordinator.lock().alarm, Some(alarm));
    let next = coordinator.tick(Instant::now()).unwrap();
    assert!(next > alarm, "what the signs of life put off is seen when it rings");
}

#[tokio::test]
async fn members_survive_a_standstill_of_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = open(&folder, 10);
    let member_id = settle(&coordinator, "g", "read").await;
    coordinator.tick(Instant::now() + Duration::from_secs(100_000));
    let caller = Caller { member_id: &member_id, instance_id: None, generation: 1 };
    assert_eq!(coordinator.heartbeat("g", caller), Ok(()));
}
