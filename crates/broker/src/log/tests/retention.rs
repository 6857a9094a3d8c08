use super::*;
use crate::log::data_dir::DiskSpace;
use std::cell::Cell;

const HOUR: i64 = 3_600_000;

/// One segment an hour, ten of them, by append time.
fn ten_hours(dir: &Path, settings: &[(&str, &str)]) -> (LogStore, Arc<Partition>) {
    let common = [("message.timestamp.type", "LogAppendTime"), ("segment.ms", "3600000")];
    let (store, log) = with_topic(dir, &[&common[..], settings].concat());
    for hour in 0..10 {
        let batch = BatchSpec::values(&[&value(0, 100)], NOW).bytes();
        log.append(&batch, NOW + hour * HOUR, AppendOrigin::Client).unwrap();
    }
    assert_eq!(log.segment_count(), 10);
    (store, log)
}

#[test]
fn old_segments_go_and_a_slow_reader_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = ten_hours(dir.path(), &[("retention.ms", "14400000")]);
    let report = store.run_housekeeping(NOW + 9 * HOUR);
    assert_eq!((report.expired_segments, report.errors.len()), (5, 0));
    assert_eq!((log.log_start_offset(), log.segment_count()), (5, 5));
    let error = log.read(4, 100, FirstBatch::Whole).unwrap_err();
    assert_eq!(error.kafka_code(), 1);
    assert!(error.to_string().contains("5 up to 10"), "{error}");
    assert_eq!(read_all(&log).len(), 5);
    assert_eq!(files(dir.path(), "t-0", "log").len(), 5);
    drop((store, log));
    let store = open(dir.path());
    assert_eq!(store.partition("t", 0).unwrap().log_start_offset(), 5, "also after a crash");
}

#[test]
fn a_silent_partition_ends_up_empty_and_keeps_its_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = ten_hours(dir.path(), &[("retention.ms", "14400000")]);
    store.run_housekeeping(NOW + 40 * HOUR);
    assert_eq!((log.log_start_offset(), log.high_watermark(), log.size_bytes()), (10, 10, 0));
    store.close().unwrap();
    drop((store, log));
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    assert_eq!((log.log_start_offset(), log.high_watermark()), (10, 10));
    assert_eq!(append_values(&log, &[b"x"]).base_offset, 10);
}

#[test]
fn size_limits_count_closed_segments_from_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = ten_hours(dir.path(), &[("retention.ms", "-1")]);
    let segment = log.size_bytes() / 10;
    assert_eq!(store.run_housekeeping(NOW).expired_segments, 0);
    let limit = (segment * 3 + 1).to_string();
    let more = [("retention.ms", "-1"), ("retention.bytes", limit.as_str())];
    store.set_config("t", &overrides(&more)).unwrap();
    assert_eq!(store.run_housekeeping(NOW).expired_segments, 6);
    assert_eq!(log.size_bytes(), segment * 4);
}

#[test]
fn compacted_topics_do_not_expire() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = ten_hours(dir.path(), &[("retention.ms", "1")]);
    store.set_config("t", &overrides(&[("cleanup.policy", "compact"), ("retention.ms", "1")])).unwrap();
    let report = store.run_housekeeping(NOW + 100 * HOUR);
    assert_eq!((report.expired_segments, log.log_start_offset()), (0, 0));
}

#[test]
fn deleted_records_stay_deleted_and_their_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = ten_hours(dir.path(), &[]);
    assert_eq!(store.delete_records("t", 0, 3).unwrap(), 3);
    assert_eq!(store.delete_records("t", 0, 1).unwrap(), 3, "never backwards");
    assert_eq!(store.delete_records("t", 0, 11).unwrap_err().kafka_code(), 1);
    drop((store, log));
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    assert_eq!(log.log_start_offset(), 3, "also after a kill");
    assert_eq!(store.delete_records("t", 0, -1).unwrap(), 10);
    store.run_housekeeping(NOW);
    assert_eq!((log.size_bytes(), log.high_watermark()), (0, 10));
    assert_eq!(files(dir.path(), "t-0", "log").len(), 1);
    assert_eq!(store.delete_records("t", 7, 0).unwrap_err().kafka_code(), 3);
}

/// Appends a producer's batch once more, after the process died.
fn is_known_after_a_kill(dir: &Path, records: Bytes) {
    let store = open(dir);
    let log = store.partition("t", 0).unwrap();
    assert_eq!(log.log_start_offset(), 3);
    let appended = append(&log, records).unwrap();
    assert_eq!((appended.base_offset, appended.duplicate, log.high_watermark()), (0, true, 3));
}

#[test]
fn a_repeat_of_deleted_records_is_known_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    let records = BatchSpec::values(&[b"1", b"2", b"3"], NOW).producer(7, 0, 0).bytes();
    append(&log, records.clone()).unwrap();
    store.delete_records("t", 0, -1).unwrap();
    drop((store, log));
    is_known_after_a_kill(dir.path(), records);
}

#[test]
fn a_repeat_of_expired_records_is_known_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[("retention.ms", "1")]);
    let records = BatchSpec::values(&[b"1", b"2", b"3"], NOW).producer(7, 0, 0).bytes();
    append(&log, records.clone()).unwrap();
    assert!(log.roll_by_age(NOW + HOUR).unwrap());
    let expired = log.expire(NOW + HOUR).unwrap();
    store.save_log_starts().unwrap();
    expired.delete_files().unwrap();
    drop((store, log));
    is_known_after_a_kill(dir.path(), records);
}

#[test]
fn a_start_that_cannot_be_secured_does_not_move() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"1", b"2"]);
    // A directory in the way of the snapshot.
    std::fs::create_dir(dir.path().join("t-0/00000000000000000002.snapshot")).unwrap();
    assert_eq!(store.delete_records("t", 0, 1).unwrap_err().kafka_code(), 56);
    assert_eq!((log.log_start_offset(), read_all(&log).len()), (0, 2));
}

#[test]
fn readers_meet_retention_without_an_error_but_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[("segment.bytes", "1024"), ("retention.bytes", "3000")]);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut next, mut seen) = (0, 0);
            while next < 600 {
                match log.read(next, 2000, FirstBatch::Whole) {
                    Ok(slice) => {
                        let records = decode(&slice.records);
                        let fresh = records.iter().filter(|record| record.offset >= next);
                        for (record, expected) in fresh.zip(next..) {
                            assert_eq!(record.offset, expected, "no hole inside the log");
                            seen += 1;
                        }
                        next = records.last().map_or(next, |record| record.offset + 1);
                    }
                    Err(LogError::OffsetOutOfRange { log_start_offset, .. }) => {
                        assert!(log_start_offset > next);
                        next = log_start_offset;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            seen
        });
        for i in 0..600 {
            append_values(&log, &[&value(i, 100)]);
            if i % 3 == 0 {
                checkpoint(&store);
            }
        }
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn low_space_takes_the_oldest_segments_of_all_and_spares_what_must_stay() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { keep_free: KeepFree::Share(0.25), ..StoreConfig::new(dir.path()) };
    let (store, _) = LogStore::open(config, NOW).unwrap();
    let settings = [("segment.bytes", "1024"), ("message.timestamp.type", "LogAppendTime")];
    let forever = [&settings[..], &[("retention.ms", "-1")]].concat();
    let compacted = [&settings[..], &[("cleanup.policy", "compact")]].concat();
    for (topic, settings) in [("a", &settings[..]), ("b", &settings[..]), ("kept", &forever), ("keyed", &compacted)] {
        store.create_topic(topic, 1, &overrides(settings)).unwrap();
        for i in 0..5 {
            let keyed = vec![(Some(b"k".to_vec()), Some(vec![0; 900]))];
            let at = NOW + i64::from(i) * 1000 + if topic == "b" { 500 } else { 0 };
            let batch = BatchSpec::records(keyed, NOW).bytes();
            store.partition(topic, 0).unwrap().append(&batch, at, AppendOrigin::Client).unwrap();
        }
    }
    let starts = || ["a", "b", "kept", "keyed"].map(|topic| store.partition(topic, 0).unwrap().log_start_offset());
    let free_bytes = Cell::new(22);
    let space = || {
        free_bytes.set(free_bytes.get() + 1);
        Ok(DiskSpace { free_bytes: free_bytes.get(), total_bytes: 100 })
    };
    let report = store.run_with_space(NOW, &space);
    assert_eq!((report.space_segments, starts()), (2, [1, 1, 0, 0]), "one of each, oldest first");
    free_bytes.set(0);
    let space = || Ok(DiskSpace { free_bytes: 0, total_bytes: 100 });
    let report = store.run_with_space(NOW, &space);
    assert_eq!((report.space_segments, starts()), (6, [4, 4, 0, 0]), "then all that may go");
    assert_eq!(store.run_with_space(NOW, &space).space_segments, 0);
    assert!(report.errors.is_empty());
}
