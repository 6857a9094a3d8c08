use super::faults::{Fault, FaultyDisk};
use super::transactions::{Writer, delivered_records};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;

const SETTINGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1500"),
    ("min.cleanable.dirty.ratio", "0"),
    ("delete.retention.ms", "1000"),
    ("index.interval.bytes", "100"),
];

type Write = (u8, Option<u8>);

fn put(log: &Partition, writes: &[Write], codec: i16) {
    let records = writes.iter().map(|(key, new)| (Some(vec![*key]), new.map(|new| vec![new; 100]))).collect();
    append(log, BatchSpec::records(records, NOW).compressed(codec).bytes()).unwrap();
}

/// What a reader that applies every record ends up with.
fn table(log: &Partition) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut table = BTreeMap::new();
    for record in read_all(log) {
        match record.value {
            Some(value) => table.insert(record.key.unwrap(), value),
            None => table.remove(&record.key.unwrap()),
        };
    }
    table
}

fn compact(store: &LogStore, now_ms: i64) -> usize {
    let flushed = store.run_housekeeping(now_ms);
    assert!(flushed.errors.is_empty(), "{flushed:?}");
    let report = store.run_housekeeping(now_ms);
    assert!(report.errors.is_empty(), "{report:?}");
    flushed.compacted + report.compacted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn compaction_keeps_the_newest_of_every_key(
        batches in proptest::collection::vec(
            (proptest::collection::vec((0_u8..6, proptest::option::of(any::<u8>())), 1..6), 0_i16..5), 1..60),
        passes in 1_usize..4,
        restart in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut log) = with_topic(dir.path(), &SETTINGS);
        let mut newest: BTreeMap<u8, (i64, Option<u8>)> = BTreeMap::new();
        let mut offset = 0;
        let per_pass = batches.len().div_ceil(passes);
        for (pass, chunk) in batches.chunks(per_pass).enumerate() {
            for (writes, codec) in chunk {
                put(&log, writes, *codec);
                for (key, new) in writes {
                    newest.insert(*key, (offset, *new));
                    offset += 1;
                }
            }
            compact(&store, NOW + 60_000 * (i64::try_from(pass).unwrap() + 1));
            if restart {
                drop((store, log));
                store = open(dir.path());
                log = store.partition("t", 0).unwrap();
            }
            let expected: BTreeMap<_, _> = newest
                .iter()
                .filter_map(|(key, (_, new))| Some((vec![*key], vec![(*new)?; 100])))
                .collect();
            prop_assert_eq!(table(&log), expected);
        }
        prop_assert_eq!(log.high_watermark(), offset);
        prop_assert_eq!(log.log_start_offset(), 0);
        let records = read_all(&log);
        for (key, (offset, new)) in &newest {
            let kept = records.iter().find(|record| record.offset == *offset);
            prop_assert!(new.is_none() || kept.is_some(), "key {key}: its newest record keeps its offset");
        }
        // Also record by record, with the smallest budget, from every offset.
        for from in 0..offset {
            let seen = read_from(&log, from, 1);
            prop_assert_eq!(&seen[..], &records[records.len() - seen.len()..]);
        }
    }
}

#[test]
fn superseded_records_go_below_the_growing_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &SETTINGS);
    for i in 0..100 {
        put(&log, &[(i % 3, Some(i))], 0);
    }
    let before = log.size_bytes();
    assert_eq!(compact(&store, NOW + 60_000), 1);
    assert!(log.size_bytes() < before / 3, "{} of {before}", log.size_bytes());
    assert_eq!(table(&log)[&vec![0]], vec![99; 100]);
    assert_eq!(compact(&store, NOW + 61_000), 0, "nothing new, nothing done");
}

#[test]
fn tombstones_stay_for_their_time_and_then_go() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &SETTINGS);
    let tombstones = |log: &Partition| read_all(log).iter().filter(|record| record.value.is_none()).count();
    let fill = |key: u8| (0..30).for_each(|i| put(&log, &[(key, Some(i))], 0));
    put(&log, &[(1, Some(1))], 0);
    put(&log, &[(1, None), (2, Some(2))], 0);
    fill(9);
    compact(&store, NOW + 60_000);
    assert_eq!(tombstones(&log), 1);
    let kept = read_all(&log).into_iter().find(|record| record.value.is_none()).unwrap();
    assert_eq!((kept.offset, kept.timestamp_ms), (1, NOW), "offset and time survive the rewriting");
    fill(9);
    compact(&store, NOW + 60_999);
    assert_eq!(tombstones(&log), 1, "within delete.retention.ms");
    fill(9);
    compact(&store, NOW + 80_000);
    assert_eq!(tombstones(&log), 0);
    assert_eq!(table(&log).get(&vec![1]), None);
    assert_eq!(table(&log)[&vec![2]], vec![2; 100]);
}

#[test]
fn a_restart_at_any_step_of_the_swap_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &SETTINGS);
    for i in 0..60 {
        put(&log, &[(i % 7, Some(i))], 0);
    }
    let expected = table(&log);
    let end = log.high_watermark();
    let partition = dir.path().join("t-0");
    let snapshot = |into: &Path| {
        fs::create_dir_all(into.join("t-0")).unwrap();
        for from in [dir.path(), &partition] {
            for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() && entry.file_name() != ".lock" {
                    let relative = entry.path().strip_prefix(dir.path()).unwrap().to_owned();
                    fs::copy(entry.path(), into.join(relative)).unwrap();
                }
            }
        }
    };
    checkpoint_without_compaction(&store, &log);
    let before = tempfile::tempdir().unwrap();
    snapshot(before.path());
    compact(&store, NOW + 60_000);
    let base = "00000000000000000000";
    let cleaned = fs::read(partition.join(format!("{base}.log"))).unwrap();
    let replaced: Vec<_> = files(before.path(), "t-0", "log")
        .into_iter()
        .filter(|path| !partition.join(path.file_name().unwrap()).exists())
        .collect();
    assert!(replaced.len() > 3, "several segments became one");

    let states = 4 + replaced.len();
    for state in 0..states {
        let at = tempfile::tempdir().unwrap();
        copy_tree(before.path(), at.path());
        let own = at.path().join("t-0");
        match state {
            // Still writing.
            0 => fs::write(own.join(format!("{base}.log.cleaned")), &cleaned[..cleaned.len() / 2]).unwrap(),
            1 => fs::write(own.join(format!("{base}.log.cleaned")), &cleaned).unwrap(),
            // Complete; the originals go one by one; the first one's indexes are the new ones already.
            _ => {
                fs::write(own.join(format!("{base}.log.swap")), &cleaned).unwrap();
                for gone in replaced.iter().take(state - 2) {
                    fs::remove_file(own.join(gone.file_name().unwrap())).unwrap();
                }
                if state == states - 1 {
                    let index = format!("{base}.index");
                    fs::copy(partition.join(&index), own.join(&index)).unwrap();
                }
            }
        }
        let (store, report) = open_reported(at.path());
        assert_eq!(report.truncated_bytes, 0, "{report:?}");
        let log = store.partition("t", 0).unwrap();
        assert_eq!(log.high_watermark(), end, "state {state}");
        assert_eq!(table(&log), expected, "state {state}");
        for i in 0..60 {
            put(&log, &[(i % 7, Some(i))], 0);
        }
        compact(&store, NOW + 60_000);
        assert_eq!(table(&log), expected, "state {state}, compacted again");
        let left: Vec<_> =
            fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(left.iter().all(|name| !name.ends_with(".swap") && !name.ends_with(".cleaned")), "{left:?}");
    }
}

/// Flushes with compaction held back, then lets small segments be merged.
fn checkpoint_without_compaction(store: &LogStore, log: &Partition) {
    let with = |name: &str, value: &'static str| {
        let changed = SETTINGS.map(|(key, old)| (key, if key == name { value } else { old }));
        store.set_config("t", &overrides(&changed)).unwrap();
    };
    with("min.cleanable.dirty.ratio", "1");
    assert_eq!(checkpoint(store).compacted, 0);
    with("segment.bytes", "1000000");
    assert!(log.segment_count() > 3);
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_producer_keeps_its_place_through_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &SETTINGS);
    let keyed =
        |i: i32| BatchSpec::records(vec![(Some(b"same".to_vec()), Some(vec![0; 200]))], NOW).producer(7, 0, i).bytes();
    for i in 0..20 {
        append(&log, keyed(i)).unwrap();
    }
    // Its last records lie in closed segments, superseded by somebody else's.
    for _ in 0..20 {
        append(&log, BatchSpec::records(vec![(Some(b"same".to_vec()), Some(vec![1; 200]))], NOW).bytes()).unwrap();
    }
    assert_eq!(compact(&store, NOW + 60_000), 1);
    assert_eq!(read_all(&log).iter().filter(|record| record.value == Some(vec![0; 200])).count(), 0);
    // Snapshots may be lost: the kept batch header is enough.
    drop((store, log));
    files(dir.path(), "t-0", "snapshot").iter().for_each(|path| fs::remove_file(path).unwrap());
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    let again = append(&log, keyed(19)).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (19, true));
    assert_eq!(append(&log, keyed(21)).unwrap_err().kafka_code(), 45);
    assert_eq!(append(&log, keyed(20)).unwrap().base_offset, 40);
}

#[test]
fn what_is_too_large_to_look_into_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { compaction_batch_bytes: 5000, ..StoreConfig::new(dir.path()) };
    let (store, _) = LogStore::open(config, NOW).unwrap();
    store.create_topic("t", 1, &overrides(&SETTINGS)).unwrap();
    let log = store.partition("t", 0).unwrap();
    let bomb = vec![(Some(vec![1]), Some(vec![0; 1 << 20]))];
    append(&log, BatchSpec::records(bomb, NOW).compressed(4).bytes()).unwrap();
    for i in 0..40 {
        put(&log, &[(1, Some(i))], 0);
    }
    put(&log, &[(1, None)], 0);
    (0..20).for_each(|_| put(&log, &[(2, Some(2))], 0));
    for late in [60_000, 120_000, 180_000] {
        assert_eq!(compact(&store, NOW + late), 1);
        let records = read_all(&log);
        assert_eq!((records[0].offset, records[0].value.as_ref().unwrap().len()), (0, 1 << 20));
        assert!(records.len() < 40);
        assert!(!table(&log).contains_key(&vec![1]), "the tombstone is all that hides it");
        (0..20).for_each(|_| put(&log, &[(2, Some(2))], 0));
    }
}

#[test]
fn a_small_key_table_only_means_more_passes() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { compaction_map_bytes: 300, ..StoreConfig::new(dir.path()) };
    let (store, _) = LogStore::open(config, NOW).unwrap();
    store.create_topic("t", 1, &overrides(&SETTINGS)).unwrap();
    let log = store.partition("t", 0).unwrap();
    for i in 0..200 {
        put(&log, &[(i % 50, Some(i))], 0);
    }
    let expected = table(&log);
    let before = read_all(&log).len();
    let mut passes = 0;
    while compact(&store, NOW + 60_000 + passes) > 0 {
        passes += 1;
        assert_eq!(table(&log), expected);
        assert!(passes < 100, "it must come to an end");
    }
    assert!(passes > 1 && read_all(&log).len() < before);
}

/// Ends the readers, also when the test fails.
struct Over<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn readers_never_notice_a_swap() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &SETTINGS);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for budget in [1, 5000] {
            let (log, done) = (&log, &done);
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    let records = read_from(log, 0, budget);
                    assert!(records.windows(2).all(|pair| pair[0].offset < pair[1].offset));
                }
            });
        }
        let _over = Over(&done);
        for i in 0..250 {
            put(&log, &[(i % 5, Some(i))], 0);
            if i % 20 == 0 {
                compact(&store, NOW + 60_000 * i64::from(i));
            }
        }
    });
    assert_eq!(table(&log)[&vec![4]], vec![249; 100]);
}

/// What readers of committed records end up with.
fn committed_table(log: &Partition) -> BTreeMap<u8, Vec<u8>> {
    let mut table = BTreeMap::new();
    for record in delivered_records(log, 1 << 20) {
        let key = record.key.unwrap()[0];
        match record.value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
    table
}

fn put_named(log: &Partition, key: u8, number: usize) {
    let records = vec![(Some(vec![key]), Some([vec![key], value(number, 60)].concat()))];
    append(log, BatchSpec::records(records, NOW).bytes()).unwrap();
}

/// Several segments with an aborted transaction in them, flushed and not compacted yet.
fn uncompacted(store: &LogStore) -> Arc<Partition> {
    store.create_topic("t", 1, &overrides(&SETTINGS)).unwrap();
    let log = store.partition("t", 0).unwrap();
    let mut aborting = Writer::new(7);
    for number in 0..20_usize {
        put_named(&log, u8::try_from(number % 6).unwrap(), number);
        if number % 10 == 3 {
            aborting.put(&log, &[1], b"\x01 aborted");
            aborting.end(&log, Outcome::Abort);
        }
    }
    // Of keys that nobody writes again.
    (100..106).for_each(|key| put_named(&log, key, 0));
    (0..6).for_each(|key| put_named(&log, key, 0));
    checkpoint_without_compaction(store, &log);
    log
}

/// What a partition serves must be right; it may refuse when it says that it is offline.
fn assert_right_or_offline(log: &Partition, expected: &BTreeMap<u8, Vec<u8>>, what: &str) {
    if !log.is_offline() {
        assert_eq!(committed_table(log), *expected, "{what}");
        return;
    }
    for from in 0..log.high_watermark() {
        match log.read(from, 1, FirstBatch::Whole) {
            Ok(slice) => assert!(last_offset(&slice.records) >= from, "{what}"),
            Err(error) => assert!(matches!(error, LogError::Offline { .. }), "{what}: {error}"),
        }
    }
    match log.offset_for_timestamp(NOW) {
        Err(error) => assert!(matches!(error, LogError::Offline { .. }), "{what}: {error}"),
        Ok(found) => {
            let first = decode(&log.read(0, 1, FirstBatch::Whole).unwrap().records)[0].offset;
            assert_eq!(found.unwrap().offset, first, "{what}");
        }
    }
}

#[test]
fn a_compaction_that_fails_at_any_step_loses_nothing() {
    for fault in [Fault::Once, Fault::Lasting] {
        let (mut at, mut offline) = (0, 0);
        loop {
            let what = format!("{fault:?} at {at}");
            let dir = tempfile::tempdir().unwrap();
            let disk = FaultyDisk::new(fault);
            let store = disk.open(dir.path());
            let log = uncompacted(&store);
            let (expected, end) = (committed_table(&log), log.high_watermark());
            disk.fail_at(at);
            let _ = log.compact(NOW + 60_000);
            if disk.mend() == 0 {
                break;
            }
            offline += usize::from(log.is_offline());
            assert_right_or_offline(&log, &expected, &what);
            // The next passes, on a disk that works again.
            for round in 1..3 {
                let report = store.run_housekeeping(NOW + 60_000 + round);
                assert_eq!(report.errors, Vec::<String>::new(), "{what}");
            }
            assert_right_or_offline(&log, &expected, &what);
            drop((store, log));
            let (store, report) = open_reported(dir.path());
            assert_eq!(report.truncated_bytes, 0, "{what}: {report:?}");
            let log = store.partition("t", 0).unwrap();
            assert_eq!((committed_table(&log), log.high_watermark()), (expected.clone(), end), "{what}");
            (0..6).for_each(|key| put_named(&log, key, 0));
            compact(&store, NOW + 120_000);
            assert_eq!(committed_table(&log), expected, "{what}");
            at += 1;
        }
        assert!(at > 10 && offline > 3, "{fault:?}: {at} steps, {offline} of them past return");
    }
}

/// A log whose middle segment, of which the path is answered, holds a key that is deleted behind it, and records of
/// transactions that end behind it. Flushed, not compacted.
fn with_a_precious_segment(dir: &Path) -> (LogStore, Arc<Partition>, std::path::PathBuf) {
    let (store, log) = with_topic(dir, &SETTINGS);
    let newest = |log: &Partition| (0..30_usize).for_each(|n| put_named(log, u8::try_from(n % 6).unwrap(), n));
    newest(&log);
    let before = log.segment_count();
    while log.segment_count() == before {
        put_named(&log, 0, 0);
    }
    let precious = files(dir, "t-0", "log").pop().unwrap();
    let (mut aborting, mut committing) = (Writer::new(7), Writer::new(8));
    put_named(&log, 50, 0);
    aborting.put(&log, &[60], &[60]);
    committing.put(&log, &[61], &[61]);
    assert_eq!(log.segment_count(), before + 1);
    newest(&log);
    put(&log, &[(50, None)], 0);
    aborting.end(&log, Outcome::Abort);
    committing.end(&log, Outcome::Commit);
    newest(&log);
    checkpoint_without_compaction(&store, &log);
    (store, log, precious)
}

fn tombstones_behind(log: &Partition, path: &Path) -> usize {
    let base: i64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let next = files(path.parent().unwrap().parent().unwrap(), "t-0", "log");
    let bases = next.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap());
    let behind = bases.filter(|other: &i64| *other > base).min().unwrap();
    let records = read_from(log, behind, 1 << 20);
    records.iter().filter(|record| record.value.is_none() && record.key.as_deref() == Some(&[50])).count()
}

/// Damages the end of a file.
type Damaging = fn(&mut Vec<u8>);

#[test]
fn damage_is_told_of_once_and_the_rest_is_compacted() {
    let flip: Damaging = |bytes| *bytes.last_mut().unwrap() ^= 1;
    let cut: Damaging = |bytes| bytes.truncate(bytes.len() - 1);
    for damage in [flip, cut] {
        let dir = tempfile::tempdir().unwrap();
        let (store, log, precious) = with_a_precious_segment(dir.path());
        let (whole, end) = (fs::read(&precious).unwrap(), log.high_watermark());
        let expected = committed_table(&log);
        assert!(expected.contains_key(&61) && !expected.contains_key(&60));
        let mut damaged = whole.clone();
        damage(&mut damaged);
        fs::write(&precious, &damaged).unwrap();
        let told = |store: &LogStore, now_ms| {
            let errors = store.run_housekeeping(now_ms).errors;
            errors.iter().for_each(|error| assert!(error.contains(precious.to_str().unwrap()), "{error}"));
            errors.len()
        };
        assert_eq!(told(&store, NOW + 60_000), 1);
        let report = store.run_housekeeping(NOW + 61_000);
        assert_eq!((report.errors, report.compacted), (Vec::new(), 1), "around the damage");
        assert_eq!(log.segment_count(), 4, "before it, itself, behind it, and the growing one");
        assert_eq!(store.run_housekeeping(NOW + 62_000).compacted, 0, "nothing new, nothing done");
        for late in [120_000, 180_000] {
            (0..30).for_each(|_| put_named(&log, 0, 0));
            assert_eq!((told(&store, NOW + late), told(&store, NOW + late + 1000)), (0, 0));
            assert_eq!(tombstones_behind(&log, &precious), 1, "what it deletes is perhaps in the damage");
        }
        drop((store, log));
        // A start with the damage still there.
        let store = open(dir.path());
        put_named(&store.partition("t", 0).unwrap(), 5, 5);
        let tellings = (0..5).map(|round| told(&store, NOW + 300_000 + round * 1000)).sum::<usize>();
        assert_eq!(tellings, 1);
        drop(store);
        // The file is restored, and nothing but the log says what is in it.
        fs::write(&precious, &whole).unwrap();
        files(dir.path(), "t-0", "snapshot").iter().for_each(|path| fs::remove_file(path).unwrap());
        let store = open(dir.path());
        let log = store.partition("t", 0).unwrap();
        assert!(log.high_watermark() > end && log.last_stable_offset() == log.high_watermark());
        let names = |table: BTreeMap<u8, Vec<u8>>| table.into_keys().collect::<Vec<_>>();
        for late in [400_000, 500_000, 600_000] {
            assert_eq!(names(committed_table(&log)), names(expected.clone()));
            (0..30).for_each(|_| put_named(&log, 0, 0));
            compact(&store, NOW + late);
        }
        let deleted = read_all(&log).iter().filter(|record| record.key.as_deref() == Some(&[50])).count();
        assert_eq!(deleted, 0, "neither record nor tombstone is left");
    }
}
