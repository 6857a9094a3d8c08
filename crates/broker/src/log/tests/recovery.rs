use super::transactions::{Writer, committed, delivered};
use super::*;
use proptest::prelude::*;
use std::fs;

/// A log of forty single-record batches in several segments, checkpointed after `checkpointed` of them and then left
/// as a kill leaves it; answers its size at the checkpoint.
fn killed(dir: &Path, checkpointed: usize) -> u64 {
    let settings = [("segment.bytes", "3000"), ("index.interval.bytes", "200")];
    let (store, log) = with_topic(dir, &settings);
    let mut safe = 0;
    for i in 0..40 {
        if i == checkpointed {
            checkpoint(&store);
            safe = log.size_bytes();
        }
        append_values(&log, &[&value(i, 150)]);
    }
    safe
}

fn assert_prefix(log: &Partition, at_least: usize) {
    let records = read_all(log);
    assert!(records.len() >= at_least, "{} of at least {at_least}", records.len());
    for (i, record) in records.iter().enumerate() {
        assert_eq!(record.offset, i64::try_from(i).unwrap());
        assert_eq!(record.value.as_deref(), Some(&value(i, 150)[..]));
    }
}

/// The log goes on where it was cut.
fn assert_goes_on(log: &Partition) {
    let count = read_all(log).len();
    let appended = append_values(log, &[&value(count, 150)]);
    assert_eq!(appended.base_offset, i64::try_from(count).unwrap());
    assert_prefix(log, count + 1);
}

/// (file, position in it, whole batches before that position) for a position counted over all log files.
fn locate(dir: &Path, mut position: u64) -> (std::path::PathBuf, u64, usize) {
    let mut whole = 0;
    for path in files(dir, "t-0", "log") {
        let bytes = fs::read(&path).unwrap();
        let inside = position < bytes.len() as u64;
        let mut rest = &bytes[..];
        let mut end = 0;
        while !rest.is_empty() {
            let size = BatchHeader::parse(rest).unwrap().size;
            end += size as u64;
            if inside && end > position {
                return (path, position, whole);
            }
            whole += 1;
            rest = &rest[size..];
        }
        position -= bytes.len() as u64;
    }
    panic!("position beyond the log");
}

fn log_bytes(dir: &Path) -> u64 {
    files(dir, "t-0", "log").iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_behind_the_checkpoint_costs_only_what_lies_behind_it(
        checkpointed in 0_usize..40,
        place in 0.0..1.0_f64,
        flip in proptest::option::of(0_u8..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let safe = killed(dir.path(), checkpointed);
        let total = log_bytes(dir.path());
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a small file")]
        let position = (safe + ((total - safe) as f64 * place) as u64).min(total - 1);
        let (path, at, whole) = locate(dir.path(), position);
        match flip {
            None => {
                // Later segments never reached the disk either.
                for later in files(dir.path(), "t-0", "log").into_iter().filter(|other| *other > path) {
                    fs::remove_file(later).unwrap();
                }
                fs::File::options().write(true).open(&path).unwrap().set_len(at).unwrap();
            }
            Some(bit) => {
                let mut bytes = fs::read(&path).unwrap();
                bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
                fs::write(&path, bytes).unwrap();
            }
        }
        let (store, report) = open_reported(dir.path());
        prop_assert!(!report.clean);
        prop_assert!(report.scanned_bytes <= total - safe, "{report:?}");
        let log = store.partition("t", 0).unwrap();
        assert_prefix(&log, whole);
        assert_goes_on(&log);
        drop((store, log));
        let (store, _) = open_reported(dir.path());
        assert_prefix(&store.partition("t", 0).unwrap(), whole + 1);
    }

    #[test]
    fn arbitrary_bytes_recover_to_whole_batches(
        kept in 0_usize..6,
        junk in proptest::collection::vec(any::<u8>(), 0..300),
        flip in proptest::option::of((any::<prop::sample::Index>(), 0_u8..8)),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        for i in 0..kept {
            let mut batch = BatchSpec::values(&[&value(i, 20)], NOW).bytes().to_vec();
            batch[..8].copy_from_slice(&(i as u64).to_be_bytes());
            bytes.extend_from_slice(&batch);
        }
        bytes.extend_from_slice(&junk);
        if let Some((at, bit)) = flip.filter(|_| !bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let (end, size) = recover_segment(dir.path(), &bytes).unwrap();
        let left = fs::read(dir.path().join("00000000000000000000.log")).unwrap();
        prop_assert_eq!(left.len() as u64, size);
        prop_assert!(bytes.starts_with(&left));
        prop_assert_eq!(end, if left.is_empty() { 0 } else { last_offset(&left) + 1 });
        decode(&left);
        prop_assert!(flip.is_some() || end >= i64::try_from(kept).unwrap());
    }
}

#[test]
fn a_clean_stop_is_opened_without_reading_logs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[("segment.bytes", "3000")]);
    for i in 0..100 {
        append_values(&log, &[&value(i, 150)]);
    }
    store.close().unwrap();
    assert!(matches!(append(&log, BatchSpec::values(&[b"x"], NOW).bytes()), Err(LogError::Closed)));
    drop((store, log));
    // Closed segments could be anything now: nobody looks before somebody reads.
    let closed = &files(dir.path(), "t-0", "log")[0];
    let length = fs::metadata(closed).unwrap().len();
    let original = fs::read(closed).unwrap();
    fs::write(closed, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let (store, report) = open_reported(dir.path());
    assert!(report.clean && report.scanned_bytes == 0 && report.notes.is_empty(), "{report:?}");
    assert_eq!(report.partitions, 1);
    fs::write(closed, original).unwrap();
    assert_prefix(&store.partition("t", 0).unwrap(), 100);
}

#[test]
fn a_kill_costs_a_scan_of_what_followed_the_checkpoint_only() {
    let dir = tempfile::tempdir().unwrap();
    let safe = killed(dir.path(), 38);
    let (store, report) = open_reported(dir.path());
    assert!(!report.clean);
    assert_eq!(report.scanned_bytes, log_bytes(dir.path()) - safe, "{report:?}");
    assert_prefix(&store.partition("t", 0).unwrap(), 40);
}

#[test]
fn lost_stale_cut_and_wrong_indexes_are_built_anew() {
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 5] = [
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("cut", |path| fs::write(path, [1; 5]).unwrap()),
        ("empty", |path| fs::write(path, []).unwrap()),
        ("zeroed", |path| fs::write(path, vec![0; fs::read(path).unwrap().len()]).unwrap()),
        ("shifted", |path| {
            let mut bytes = fs::read(path).unwrap();
            for field in bytes.chunks_exact_mut(4) {
                field[3] = field[3].wrapping_add(1);
            }
            fs::write(path, bytes).unwrap();
        }),
    ];
    for (name, damage) in damages {
        for extension in ["index", "timeindex"] {
            for clean in [true, false] {
                let dir = tempfile::tempdir().unwrap();
                killed(dir.path(), 30);
                if clean {
                    let (store, _) = open_reported(dir.path());
                    store.close().unwrap();
                }
                files(dir.path(), "t-0", extension).iter().for_each(|path| damage(path));
                let (store, report) = open_reported(dir.path());
                let log = store.partition("t", 0).unwrap();
                assert_eq!(report.truncated_bytes, 0, "{name} {extension} {report:?}");
                for from in (0..40).rev() {
                    let records = read_from(&log, from, 400);
                    assert_eq!(records.len(), usize::try_from(40 - from).unwrap(), "{name} {extension}");
                }
                assert_goes_on(&log);
            }
        }
    }
}

#[test]
fn an_index_that_points_too_far_never_hides_records() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path(), 0);
    open(dir.path()).close().unwrap();
    let log_file = fs::read(&files(dir.path(), "t-0", "log")[0]).unwrap();
    let batch = u32::try_from(log_file.len() / 12).unwrap();
    // Well-formed, ascending, and each entry one batch further than the truth.
    let entries: Vec<u8> =
        (1..10_u32).flat_map(|i| [i.to_be_bytes(), ((i + 1) * batch).to_be_bytes()].concat()).collect();
    fs::write(&files(dir.path(), "t-0", "index")[0], entries).unwrap();
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    for from in 0..12 {
        assert_eq!(read_from(&log, from, 1)[0].offset, from);
    }
}

#[test]
fn damaged_checkpoints_cost_a_scan_and_no_record() {
    for file in ["recovery-point-offset-checkpoint", "cleaner-offset-checkpoint", "log-start-offset-checkpoint"] {
        let dir = tempfile::tempdir().unwrap();
        killed(dir.path(), 20);
        fs::write(dir.path().join(file), "scribble").unwrap();
        let (store, report) = open_reported(dir.path());
        assert!(report.notes.iter().any(|note| note.contains(file)), "{report:?}");
        assert_prefix(&store.partition("t", 0).unwrap(), 40);
    }
}

#[test]
fn kafka_can_tell_the_files_apart() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path(), 20);
    let store = open(dir.path());
    store.close().unwrap();
    let partition = dir.path().join("t-0");
    let text = |path: &str| fs::read_to_string(partition.join(path)).unwrap();
    assert_eq!(text("leader-epoch-checkpoint"), "0\n2\n0 0\n1 40\n", "the second start has its own");
    let id = topic::encode_id(store.topic("t").unwrap().id());
    assert_eq!(text("partition.metadata"), format!("version: 0\ntopic_id: {id}"));
    assert!(partition.join("00000000000000000040.snapshot").exists());
    assert!(dir.path().join(".kafka_cleanshutdown").exists());
    let points = fs::read_to_string(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(points, "0\n1\nt 0 40\n");
    for path in files(dir.path(), "t-0", "index") {
        assert_eq!(fs::metadata(path).unwrap().len() % 8, 0);
    }
}

/// A log of several segments, all of which end aborted transactions that began in the one before.
fn with_aborts(dir: &Path) -> usize {
    let (store, log) = with_topic(dir, &[("segment.bytes", "1024")]);
    let mut writers = [Writer::new(1), Writer::new(2)];
    for round in 0..12 {
        writers[round % 2].write(&log, &[&value(round, 300)]);
        if round > 0 {
            writers[(round + 1) % 2].end(&log, Outcome::Abort);
        }
    }
    writers[1].end(&log, Outcome::Abort);
    assert_eq!(committed(&log, 0).aborted.len(), 12);
    store.close().unwrap();
    log.segment_count()
}

#[test]
fn a_lost_segment_that_ended_transactions_keeps_its_partition_offline_until_it_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    assert!(with_aborts(dir.path()) > 4);
    let lost = files(dir.path(), "t-0", "log").remove(2);
    let contents = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    let store = open(dir.path());
    let error = store.partition("t", 0).unwrap().read(0, 1, FirstBatch::Whole).unwrap_err();
    assert!(matches!(error, LogError::Offline { .. }) && error.to_string().contains(lost.to_str().unwrap()), "{error}");
    drop(store);
    fs::write(&lost, contents).unwrap();
    let store = open(dir.path());
    let log = store.partition("t", 0).unwrap();
    assert_eq!(committed(&log, 0).aborted.len(), 12);
    assert_eq!(delivered(&log, 1 << 20), Vec::<Vec<u8>>::new());
}

#[test]
fn a_swap_that_a_crash_left_half_done_has_no_lost_segments() {
    let dir = tempfile::tempdir().unwrap();
    with_aborts(dir.path());
    // What a compaction makes of the first three: here all of them, one after the other.
    let merged = files(dir.path(), "t-0", "log").into_iter().take(3).collect::<Vec<_>>();
    let contents: Vec<u8> = merged.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    fs::write(merged[0].with_extension("log.swap"), contents).unwrap();
    fs::remove_file(&merged[1]).unwrap();
    assert!(merged[1].with_extension("txnindex").metadata().unwrap().len() > 0);
    for _ in 0..2 {
        let store = open(dir.path());
        let log = store.partition("t", 0).unwrap();
        assert_eq!(committed(&log, 0).aborted.len(), 12);
        assert_eq!(delivered(&log, 300), Vec::<Vec<u8>>::new());
    }
}
