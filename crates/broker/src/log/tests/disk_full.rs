use super::faults::{Fault, FaultyDisk};
use super::*;
use crate::log::disk::Disk;
use crate::log::segment::Shared;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A disk with a given number of bytes left, which writes what still fits.
#[derive(Debug, Default)]
struct SmallDisk {
    left: AtomicUsize,
    sync_fails: AtomicBool,
    is_read_only: AtomicBool,
    syncs: AtomicUsize,
}

impl Disk for SmallDisk {
    fn write(&self, mut file: &File, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_read_only.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fits = slices[0].len().min(left);
        let written = file.write(&slices[0][..fits])?;
        self.left.fetch_sub(written, Ordering::SeqCst);
        Ok(written)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad sector"));
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        file.sync_data()
    }
}

fn on(disk: &Arc<SmallDisk>, dir: &Path) -> (LogStore, Arc<Partition>) {
    let config = StoreConfig::new(dir);
    let shared = Shared { disk: Arc::clone(disk) as Arc<dyn Disk>, ..Shared::new(&config) };
    let (store, _) = LogStore::open_with(config, Arc::new(shared), NOW).unwrap();
    if store.topic("t").is_none() {
        store.create_topic("t", 1, &Overrides::new()).unwrap();
    }
    let log = store.partition("t", 0).unwrap();
    (store, log)
}

#[test]
fn a_full_disk_is_an_error_and_no_torn_batch_stays() {
    let batch = |i: usize| BatchSpec::values(&[&value(i, 100)], NOW).producer(1, 0, i32::try_from(i).unwrap()).bytes();
    let size = batch(0).len();
    for left in 0..size * 2 {
        let disk = Arc::new(SmallDisk::default());
        disk.left.store(usize::MAX, Ordering::SeqCst);
        let dir = tempfile::tempdir().unwrap();
        let (store, log) = on(&disk, dir.path());
        disk.left.store(size + left, Ordering::SeqCst);
        let fitting = 1 + left / size;
        for i in 0..fitting {
            append(&log, batch(i)).unwrap();
        }
        let error = append(&log, batch(fitting)).unwrap_err();
        assert_eq!(error.kafka_code(), 56);
        assert!(error.to_string().contains("free space"), "{error}");
        assert_eq!(read_all(&log).len(), fitting);
        assert_eq!(std::fs::metadata(&files(dir.path(), "t-0", "log")[0]).unwrap().len(), (fitting * size) as u64);
        // Room again: the same batch is taken, at its offset, not as a repeat.
        disk.left.store(usize::MAX, Ordering::SeqCst);
        let appended = append(&log, batch(fitting)).unwrap();
        assert_eq!((appended.base_offset, appended.duplicate), (i64::try_from(fitting).unwrap(), false));
        drop((store, log));
        let store = open(dir.path());
        assert_eq!(read_all(&store.partition("t", 0).unwrap()).len(), fitting + 1);
    }
}

#[test]
fn after_a_failed_sync_a_partition_takes_nothing_until_a_restart() {
    let disk = Arc::new(SmallDisk::default());
    disk.left.store(usize::MAX, Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = on(&disk, dir.path());
    append_values(&log, &[b"kept"]);
    disk.sync_fails.store(true, Ordering::SeqCst);
    let report = store.run_housekeeping(NOW + 60_000);
    assert!(report.errors[0].contains("bad sector"), "{report:?}");
    let error = append(&log, BatchSpec::values(&[b"x"], NOW).bytes()).unwrap_err();
    assert!(matches!(error, LogError::Offline { .. }), "{error}");
    assert_eq!(read_all(&log).len(), 1, "reading goes on");
    assert!(store.close().is_err());
    drop((store, log));
    disk.sync_fails.store(false, Ordering::SeqCst);
    let (_store, log) = on(&disk, dir.path());
    assert_eq!(append_values(&log, &[b"x"]).base_offset, 1);
}

#[test]
fn flush_messages_makes_an_append_fail_when_it_cannot_be_synced() {
    let disk = Arc::new(SmallDisk::default());
    disk.left.store(usize::MAX, Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = on(&disk, dir.path());
    store.set_config("t", &overrides(&[("flush.messages", "1")])).unwrap();
    append_values(&log, &[b"synced"]);
    disk.sync_fails.store(true, Ordering::SeqCst);
    assert_eq!(append(&log, BatchSpec::values(&[b"x"], NOW).bytes()).unwrap_err().kafka_code(), 56);
}

#[test]
fn synced_appends_leave_no_segment_behind_a_roll_unsynced() {
    let disk = Arc::new(SmallDisk::default());
    disk.left.store(usize::MAX, Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = on(&disk, dir.path());
    let settings = |messages| overrides(&[("segment.bytes", "1024"), ("flush.messages", messages)]);
    store.set_config("t", &settings("1")).unwrap();
    for number in 0..3 {
        let before = disk.syncs.load(Ordering::SeqCst);
        append_values(&log, &[&value(number, 300)]);
        assert!(disk.syncs.load(Ordering::SeqCst) > before);
    }
    store.set_config("t", &settings("3")).unwrap();
    let before = disk.syncs.load(Ordering::SeqCst);
    for number in 3..5 {
        append_values(&log, &[&value(number, 900)]);
    }
    assert_eq!((disk.syncs.load(Ordering::SeqCst), log.segment_count()), (before, 4));
    append_values(&log, &[&value(5, 900)]);
    // All segments since the last flush, and the growing one.
    assert_eq!(disk.syncs.load(Ordering::SeqCst) - before, log.segment_count());
}

#[test]
fn a_read_only_disk_refuses_appends_and_serves_reads_until_it_is_mounted_anew() {
    let disk = Arc::new(SmallDisk::default());
    disk.left.store(usize::MAX, Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = on(&disk, dir.path());
    append_values(&log, &[b"kept"]);
    disk.is_read_only.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let error = append(&log, BatchSpec::values(&[b"x"], NOW).bytes()).unwrap_err();
        assert_eq!(error.kafka_code(), 56);
        assert!(error.to_string().contains("read-only"), "{error}");
        assert_eq!(read_all(&log).len(), 1);
    }
    disk.is_read_only.store(false, Ordering::SeqCst);
    assert_eq!(append_values(&log, &[b"x"]).base_offset, 1);
}

/// One more record, of the next number.
fn grow(log: &Partition, values: &mut Vec<Vec<u8>>, len: usize) -> Result<(), LogError> {
    let next = value(values.len(), len);
    let appended = append(log, BatchSpec::values(&[&next], NOW).bytes())?;
    assert_eq!((appended.base_offset, appended.duplicate), (i64::try_from(values.len()).unwrap(), false));
    values.push(next);
    Ok(())
}

fn values_of(log: &Partition) -> Vec<Vec<u8>> {
    read_all(log).into_iter().map(|record| record.value.unwrap()).collect()
}

/// A roll that fails at its operation number `at`, then a smaller batch, which the old segment has room for. Answers
/// the records, or `None` when the roll has fewer operations.
fn failed_roll(disk: &Arc<FaultyDisk>, dir: &Path, at: usize) -> Option<Vec<Vec<u8>>> {
    let store = disk.open(dir);
    let settings = [("segment.bytes", "1024"), ("index.interval.bytes", "100")];
    store.create_topic("t", 1, &overrides(&settings)).unwrap();
    let log = store.partition("t", 0).unwrap();
    let mut values = Vec::new();
    for _ in 0..6 {
        grow(&log, &mut values, 300).unwrap();
    }
    disk.fail_at(at);
    let rolled = grow(&log, &mut values, 800);
    if disk.mend() == 0 {
        return None;
    }
    // The fault may have hit what a roll does without, as tidying up.
    let failed_with = rolled.err().map(|error| error.kafka_code());
    assert!(failed_with.is_none_or(|code| code == 56), "{failed_with:?}");
    assert_eq!(values_of(&log), values, "nothing is lost while it runs");
    // The old segment has room for small ones.
    for len in [10, 10, 800, 10, 800] {
        grow(&log, &mut values, len).unwrap();
    }
    checkpoint(&store);
    grow(&log, &mut values, 10).unwrap();
    assert_eq!(values_of(&log), values, "nothing is lost while it runs");
    Some(values)
}

#[test]
fn a_roll_that_fails_at_any_step_leaves_nothing_that_a_start_could_believe() {
    for fault in [Fault::Once, Fault::Lasting] {
        let mut at = 0;
        loop {
            let dir = tempfile::tempdir().unwrap();
            let Some(mut values) = failed_roll(&FaultyDisk::new(fault), dir.path(), at) else { break };
            for stop in ["kill", "clean"] {
                let store = open(dir.path());
                let log = store.partition("t", 0).unwrap();
                assert_eq!(values_of(&log), values, "{fault:?} at {at}, {stop}");
                for from in 0..log.high_watermark() {
                    assert_eq!(read_from(&log, from, 1)[0].offset, from, "{fault:?} at {at}, {stop}");
                }
                grow(&log, &mut values, 10).unwrap();
                store.close().unwrap();
            }
            at += 1;
        }
        assert!(at > 4, "a roll has more than {at} operations");
    }
}

#[test]
fn an_empty_segment_inside_the_one_before_it_is_dropped_at_the_start() {
    for is_clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut values = Vec::new();
        {
            let (store, log) = with_topic(dir.path(), &[("segment.bytes", "1024"), ("index.interval.bytes", "100")]);
            for _ in 0..8 {
                grow(&log, &mut values, 300).unwrap();
            }
            assert!(log.segment_count() > 2);
            checkpoint(&store);
            if is_clean {
                store.close().unwrap();
            }
        }
        // One in a closed segment, one in the growing one.
        let bases = [1, 7];
        for base in bases {
            for extension in ["log", "index", "timeindex", "txnindex"] {
                File::create(dir.path().join(format!("t-0/{base:020}.{extension}"))).unwrap();
            }
        }
        let (store, report) = open_reported(dir.path());
        for base in bases {
            let noted = report.notes.iter().any(|note| note.contains(&format!("segment {base}")));
            assert!(noted, "{report:?}");
            for extension in ["log", "index", "timeindex", "txnindex"] {
                assert!(!dir.path().join(format!("t-0/{base:020}.{extension}")).exists());
            }
        }
        let log = store.partition("t", 0).unwrap();
        assert_eq!(values_of(&log), values);
        grow(&log, &mut values, 10).unwrap();
        assert_eq!(values_of(&log), values);
    }
}

#[test]
fn an_empty_segment_behind_the_log_is_where_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut values = Vec::new();
    {
        let (store, log) = with_topic(dir.path(), &[("segment.ms", "1000")]);
        grow(&log, &mut values, 100).unwrap();
        assert_eq!(store.run_housekeeping(NOW + 5000).rolled, 1);
        store.close().unwrap();
    }
    let (store, report) = open_reported(dir.path());
    assert_eq!(report.notes, Vec::<String>::new());
    let log = store.partition("t", 0).unwrap();
    assert_eq!(log.segment_count(), 2);
    grow(&log, &mut values, 100).unwrap();
    assert_eq!(values_of(&log), values);
}
