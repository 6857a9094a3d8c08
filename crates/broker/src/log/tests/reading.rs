use super::*;
use proptest::prelude::*;

/// Fifty segments with batches of one to five records.
fn fifty_segments(dir: &Path) -> (LogStore, Arc<Partition>, usize) {
    let (store, log) = with_topic(dir, &[("segment.bytes", "4096"), ("index.interval.bytes", "500")]);
    let mut count = 0;
    while log.segment_count() < 50 {
        let values: Vec<Vec<u8>> = (0..count % 5 + 1).map(|i| value(count + i, count % 97)).collect();
        let borrowed: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        append_values(&log, &borrowed);
        count += values.len();
    }
    (store, log, count)
}

fn assert_complete(log: &Partition, from: usize, count: usize, budget: usize) {
    let records = read_from(log, i64::try_from(from).unwrap(), budget);
    assert_eq!(records.len(), count - from, "budget {budget} from {from}");
    for (number, record) in (from..count).zip(&records) {
        assert_eq!(record.offset, i64::try_from(number).unwrap());
        let name = format!("value {number} ");
        assert!(record.value.as_ref().unwrap().starts_with(name.as_bytes()));
    }
}

#[test]
fn fifty_segments_give_every_offset_once_whatever_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log, count) = fifty_segments(dir.path());
    for budget in [0, 1, 61, 700, 4096, 5000, 100_000, usize::MAX] {
        assert_complete(&log, 0, count, budget);
    }
    for from in 0..count {
        assert_complete(&log, from, count, 1 << 16);
    }
    store.close().unwrap();
    drop(store);
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    assert_eq!(log.segment_count(), 50);
    for budget in [1, 3000, usize::MAX] {
        assert_complete(&log, 0, count, budget);
    }
}

#[test]
fn few_open_files_are_enough_for_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, count) = fifty_segments(dir.path());
    drop(store);
    let config = StoreConfig { max_open_segments: 1, ..StoreConfig::new(dir.path()) };
    let (store, _) = LogStore::open(config, NOW).unwrap();
    let log = store.partition("t", 0).unwrap();
    std::thread::scope(|scope| {
        for budget in [500, 9000] {
            let log = &log;
            scope.spawn(move || assert_complete(log, 0, count, budget));
        }
    });
}

#[test]
fn budgets_and_ranges_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    let empty = log.read(0, 100, FirstBatch::Whole).unwrap();
    assert!(empty.records.is_empty());
    let size = BatchSpec::values(&[&value(0, 100)], NOW).bytes().len();
    for i in 0..4 {
        append_values(&log, &[&value(i, 100)]);
    }
    let length = |offset, budget, first| log.read(offset, budget, first).unwrap().records.len();
    assert_eq!(length(0, size - 1, FirstBatch::WithinBudget), 0);
    assert_eq!(length(0, size - 1, FirstBatch::Whole), size);
    assert_eq!(length(0, 3 * size - 1, FirstBatch::WithinBudget), 2 * size);
    assert_eq!(length(1, usize::MAX, FirstBatch::WithinBudget), 3 * size);
    assert_eq!(length(4, usize::MAX, FirstBatch::Whole), 0);
    for outside in [-1, 5, i64::MIN, i64::MAX] {
        let error = log.read(outside, 100, FirstBatch::Whole).unwrap_err();
        assert_eq!(error.kafka_code(), 1);
    }
}

#[test]
fn a_batch_is_returned_whole_from_any_offset_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"a", b"b", b"c"]);
    append_values(&log, &[b"d"]);
    for offset in 0..3 {
        let slice = log.read(offset, 1, FirstBatch::Whole).unwrap();
        assert_eq!(decode(&slice.records).len(), 3);
    }
}

#[test]
fn damage_found_while_reading_is_named_and_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    for i in 0..10 {
        append_values(&log, &[&value(i, 10)]);
    }
    let path = &files(dir.path(), "t-0", "log")[0];
    let mut bytes = std::fs::read(path).unwrap();
    let batch = bytes.len() / 10;
    bytes[5 * batch + 16] = 7;
    std::fs::write(path, bytes).unwrap();
    let good = log.read(0, 1 << 20, FirstBatch::Whole).unwrap();
    assert_eq!(decode(&good.records).len(), 5, "what lies in front of it is served");
    let error = log.read(5, 1 << 20, FirstBatch::Whole).unwrap_err();
    assert!(matches!(error, LogError::CorruptSegment { .. }), "{error}");
    assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn times_are_found_as_a_naive_search_finds_them(
        times in proptest::collection::vec((0_i64..500, 0_i16..5), 1..60),
        asked in proptest::collection::vec(-2_i64..502, 10),
        start in 0_i64..30,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let settings = [("segment.bytes", "1024"), ("index.interval.bytes", "100"), ("retention.ms", "-1")];
        let (store, log) = with_topic(dir.path(), &settings);
        for (time, codec) in &times {
            let batch = BatchSpec::values(&[b"one", b"two"], NOW - 1000 + time).compressed(*codec);
            append(&log, batch.bytes()).unwrap();
        }
        let start = start.min(log.high_watermark());
        store.delete_records("t", 0, start).unwrap();
        let found = |log: &Partition, asked: i64| {
            log.offset_for_timestamp(NOW - 1000 + asked).unwrap().map(|found| (found.offset, found.timestamp_ms - NOW + 1000))
        };
        let naive = |asked: i64| {
            let all = times.iter().enumerate().flat_map(|(at, (time, _))| [(at * 2, *time), (at * 2 + 1, *time)]);
            let mut all = all.map(|(offset, time)| (i64::try_from(offset).unwrap(), time));
            all.find(|(offset, time)| *offset >= start && *time >= asked)
        };
        for asked in &asked {
            prop_assert_eq!(found(&log, *asked), naive(*asked));
        }
        store.close().unwrap();
        drop(store);
        let store = open(dir.path());
        let log = store.partition("t", 0).unwrap();
        for asked in &asked {
            prop_assert_eq!(found(&log, *asked), naive(*asked));
        }
        let largest = times.iter().enumerate().filter(|(at, _)| i64::try_from(at * 2 + 1).unwrap() >= start);
        let largest = largest.map(|(_, (time, _))| *time).max();
        let found = log.max_timestamp().unwrap().map(|found| (found.offset, found.timestamp_ms - NOW + 1000));
        prop_assert_eq!(found, largest.and_then(naive));
    }
}

#[test]
fn the_largest_timestamp_is_that_of_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[("segment.bytes", "1024")]);
    assert_eq!(log.max_timestamp().unwrap(), None);
    append(&log, BatchSpec::values(&[b"no time"], -1).bytes()).unwrap();
    assert_eq!(log.max_timestamp().unwrap(), None, "the time of the file is not a record's");
    append(&log, BatchSpec::values(&[b"x"], NOW - 9).bytes()).unwrap();
    // A producer's header may claim more than its records say.
    append(&log, BatchSpec::values(&[b"y"], NOW - 5).claiming(NOW).bytes()).unwrap();
    append(&log, BatchSpec::values(&[&[7; 900]], -1).bytes()).unwrap();
    append(&log, BatchSpec::values(&[&[7; 900]], -1).bytes()).unwrap();
    assert!(log.segment_count() > 1);
    let expected = TimestampOffset { offset: 2, timestamp_ms: NOW - 5 };
    assert_eq!(log.max_timestamp().unwrap(), Some(expected));
}
