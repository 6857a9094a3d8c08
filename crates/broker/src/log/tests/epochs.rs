//! Leader epochs over starts, crashes and both ends of a log.

use super::*;
use std::fs::{self, File};

fn file(dir: &Path) -> String {
    fs::read_to_string(dir.join("t-0/leader-epoch-checkpoint")).unwrap()
}

fn epoch_of_batch(log: &Partition, offset: i64) -> i32 {
    let slice = log.read(offset, 1, FirstBatch::Whole).unwrap();
    BatchHeader::parse(&slice.records).unwrap().leader_epoch
}

/// Starts the store, appends one record and stops as `stop` says.
fn start(dir: &Path, stop: impl Fn(&LogStore)) -> i32 {
    let store = open(dir);
    let log = store.partition("t", 0).unwrap();
    append_values(&log, &[b"x"]);
    stop(&store);
    log.leader_epoch()
}

#[test]
fn every_start_begins_an_epoch_and_knows_where_the_others_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    assert_eq!((log.leader_epoch(), file(dir.path()).as_str()), (0, "0\n1\n0 0\n"));
    append_values(&log, &[b"a", b"b"]);
    drop((store, log));
    // Flushed, killed without a flush, killed before anything was appended, stopped cleanly.
    assert_eq!(start(dir.path(), |store| drop(checkpoint(store))), 1);
    assert_eq!(start(dir.path(), |_| ()), 2);
    drop(open(dir.path()));
    assert_eq!(start(dir.path(), |store| store.close().unwrap()), 4);
    assert_eq!(file(dir.path()), "0\n4\n0 0\n1 2\n2 3\n4 4\n");
    let (store, report) = open_reported(dir.path());
    let log = store.partition("t", 0).unwrap();
    assert!(report.clean);
    for (epoch, expected) in [
        (0, Some((0, 2))),
        (1, Some((1, 3))),
        (2, Some((2, 4))),
        (3, Some((2, 4))),
        (4, Some((4, 5))),
        (5, Some((5, 5))),
        (6, None),
    ] {
        assert_eq!(log.end_of_epoch(epoch), expected, "epoch {epoch}");
    }
    assert_eq!([0, 2, 3, 4].map(|offset| epoch_of_batch(&log, offset)), [0, 1, 2, 4]);
    assert_eq!([0, 2, 3, 4].map(|offset| log.epoch_at(offset).unwrap()), [0, 1, 2, 4]);
    assert_eq!(file(dir.path()), "0\n4\n0 0\n1 2\n2 3\n4 4\n", "a start that appends nothing writes nothing");
}

#[test]
fn a_cut_log_forgets_the_epochs_behind_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_topic(dir.path(), &[]));
    let kept = start(dir.path(), |store| store.close().unwrap());
    let size = fs::metadata(dir.path().join("t-0/00000000000000000000.log")).unwrap().len();
    let lost = start(dir.path(), |_| ());
    let log = File::options().write(true).open(dir.path().join("t-0/00000000000000000000.log")).unwrap();
    log.set_len(size + 20).unwrap();
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    assert_eq!(log.high_watermark(), 1);
    let now = log.leader_epoch();
    assert!(kept < lost && lost < now);
    assert_eq!(log.end_of_epoch(lost), Some((kept, 1)), "who read what is lost learns where to go on");
    assert_eq!(append_values(&log, &[b"y"]).base_offset, 1);
    drop((store, log));
    let log = open(dir.path()).partition("t", 0).unwrap();
    assert_eq!((log.end_of_epoch(kept), log.end_of_epoch(now)), (Some((kept, 1)), Some((now, 2))));
}

#[test]
fn deleted_records_take_their_epochs_along() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_topic(dir.path(), &[]));
    let epochs: Vec<i32> = (0..4).map(|_| start(dir.path(), |store| store.close().unwrap())).collect();
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    store.delete_records("t", 0, 2).unwrap();
    assert_eq!(log.end_of_epoch(epochs[0]), Some((epochs[0], 2)), "before all that is there");
    assert_eq!(log.epoch_at(1), None);
    append_values(&log, &[b"z"]);
    let now = log.leader_epoch();
    store.close().unwrap();
    assert_eq!(file(dir.path()), format!("0\n3\n{} 2\n{} 3\n{now} 4\n", epochs[2], epochs[3]));
}

#[test]
fn lost_files_are_found_again_in_the_batches() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_topic(dir.path(), &[]));
    let epochs: Vec<i32> = (0..3).map(|_| start(dir.path(), |store| store.close().unwrap())).collect();
    fs::remove_file(dir.path().join("t-0/leader-epoch-checkpoint")).unwrap();
    fs::write(dir.path().join("leader-epoch"), "torn").unwrap();
    let log = open(dir.path()).partition("t", 0).unwrap();
    assert!(log.leader_epoch() > epochs[2]);
    assert_eq!([0, 1, 2].map(|offset| log.epoch_at(offset).unwrap()), *epochs);
}

#[test]
fn a_topic_created_anew_does_not_go_back() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_topic(dir.path(), &[]));
    let store = open(dir.path());
    let before = store.partition("t", 0).unwrap().leader_epoch();
    store.delete_topic("t").unwrap();
    store.create_topic("t", 1, &Overrides::new()).unwrap();
    assert_eq!((before, store.partition("t", 0).unwrap().leader_epoch()), (1, 1));
    assert_eq!(store.create_partitions("t", 2).unwrap().partition(1).unwrap().leader_epoch(), 1);
}
