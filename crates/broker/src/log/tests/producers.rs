use super::*;

fn batch(sequence: i32, count: usize) -> Bytes {
    let values = vec![&b"payload"[..]; count];
    BatchSpec::values(&values, NOW).producer(42, 3, sequence).bytes()
}

#[test]
fn repeats_answer_their_first_offsets_through_every_kind_of_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut log) = with_topic(dir.path(), &[("segment.bytes", "1024")]);
    for i in 0..20 {
        append(&log, batch(i * 3, 3)).unwrap();
        if i == 12 {
            checkpoint(&store);
        }
    }
    for restart in ["none", "crash", "clean", "crash without snapshots"] {
        if restart == "clean" {
            store.close().unwrap();
        }
        if restart != "none" {
            drop((store, log));
            if restart == "crash without snapshots" {
                files(dir.path(), "t-0", "snapshot").iter().for_each(|path| std::fs::remove_file(path).unwrap());
            }
            store = open(dir.path());
            log = store.partition("t", 0).unwrap();
        }
        for i in 15..20 {
            let again = append(&log, batch(i * 3, 3)).unwrap();
            let first = i64::from(i) * 3;
            assert_eq!((again.base_offset, again.last_offset, again.duplicate), (first, first + 2, true), "{restart}");
        }
        assert_eq!(append(&log, batch(14 * 3, 3)).unwrap_err().kafka_code(), 45, "{restart}");
        assert_eq!(append(&log, batch(61, 1)).unwrap_err().kafka_code(), 45, "{restart}");
        assert_eq!(log.high_watermark(), 60, "{restart}");
    }
    assert_eq!(append(&log, batch(60, 1)).unwrap().base_offset, 60);
}

#[test]
fn a_torn_batch_is_forgotten_and_may_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    append(&log, batch(0, 1)).unwrap();
    checkpoint(&store);
    append(&log, batch(1, 1)).unwrap();
    let length = log.size_bytes();
    drop((store, log));
    let path = &files(dir.path(), "t-0", "log")[0];
    std::fs::File::options().write(true).open(path).unwrap().set_len(length - 1).unwrap();
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    let again = append(&log, batch(1, 1)).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (1, false));
}

#[test]
fn sequences_wrap_around_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    append(&log, batch(i32::MAX - 1, 4)).unwrap();
    drop((store, log));
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    assert!(append(&log, batch(i32::MAX - 1, 4)).unwrap().duplicate);
    assert_eq!(append(&log, batch(3, 1)).unwrap_err().kafka_code(), 45);
    assert_eq!(append(&log, batch(2, 1)).unwrap().base_offset, 4);
}

#[test]
fn silent_producers_are_forgotten_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[("retention.ms", "-1")]);
    append(&log, batch(0, 1)).unwrap();
    store.run_housekeeping(NOW + 86_400_000);
    assert!(append(&log, batch(0, 1)).unwrap().duplicate);
    store.run_housekeeping(NOW + 86_400_000 + 60_001);
    assert!(!append(&log, batch(0, 1)).unwrap().duplicate);
}
