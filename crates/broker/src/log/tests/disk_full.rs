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
        disk.left.store(size + left, Ordering::SeqCst);
        let dir = tempfile::tempdir().unwrap();
        let (store, log) = on(&disk, dir.path());
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
