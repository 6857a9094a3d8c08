//! Starts, stops and changes of topics on a disk that fails, is full or takes no writes.

use super::faults::{Fault, FaultyDisk, UnsyncedDisk, open_on, try_open_on};
use super::*;
use crate::log::disk::{Disk, SystemDisk};
use crate::log::reserve::RESERVE_BYTES;
use crate::log::topic::{TopicRecord, TopicState};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};

const FAULTS: [Fault; 2] = [Fault::Once, Fault::Lasting];

/// How a store ended before the start under test.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Clean,
    Killed,
}

/// A directory with records in several segments of `t`, a topic whose deletion was cut short and one without its file.
fn stopped(stop: Stop) -> (tempfile::TempDir, Vec<Stored>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open_unsynced(dir.path()).0;
    for topic in ["t", "deleted", "orphan"] {
        store.create_topic(topic, 1, &overrides(&[("segment.bytes", "1024")])).unwrap();
    }
    append_values(&store.partition("orphan", 0).unwrap(), &[b"x"]);
    let log = store.partition("t", 0).unwrap();
    for number in 0..6 {
        append_values(&log, &[&value(number, 300)]);
        if number == 3 {
            checkpoint(&store);
        }
    }
    let records = read_all(&log);
    match stop {
        Stop::Clean => store.close().unwrap(),
        Stop::Killed => drop(fs::remove_file(files(dir.path(), "t-0", "index").pop().unwrap())),
    }
    drop((store, log));
    fs::remove_file(dir.path().join("orphan.topic")).unwrap();
    let record = TopicRecord::load(&dir.path().join("deleted.topic")).unwrap().unwrap();
    TopicRecord { state: TopicState::Deleting, ..record }.save(&UnsyncedDisk, dir.path()).unwrap();
    (dir, records)
}

fn open_unsynced(dir: &Path) -> (LogStore, RecoveryReport) {
    try_open_on(Arc::new(UnsyncedDisk), dir).unwrap()
}

/// Nothing of what was acknowledged is missing, and the log goes on.
fn check_whole(dir: &Path, mut records: Vec<Stored>, case: &str) {
    for _ in 0..2 {
        let (store, report) = open_unsynced(dir);
        assert_eq!(report.offline_partitions, 0, "{case}: {report:?}");
        let log = store.partition("t", 0).unwrap();
        assert_eq!(read_all(&log), records, "{case}");
        let appended = append_values(&log, &[b"next"]);
        assert_eq!(appended.base_offset, i64::try_from(records.len()).unwrap(), "{case}");
        records = read_all(&log);
        store.close().unwrap();
    }
}

#[test]
fn a_start_that_fails_at_any_step_leaves_everything_for_the_next() {
    for (fault, stop) in FAULTS.iter().flat_map(|fault| [(*fault, Stop::Clean), (*fault, Stop::Killed)]) {
        let mut refused = 0;
        for at in 0.. {
            let case = format!("{fault:?} at {at} after {stop:?}");
            let (dir, mut records) = stopped(stop);
            let disk = FaultyDisk::new(fault);
            disk.fail_at(at);
            let opened = try_open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path());
            let failed = disk.mend();
            match opened {
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.kafka_code(), 56, "{case}: {error}");
                }
                Ok((store, report)) => {
                    let log = store.partition("t", 0).unwrap();
                    match append(&log, BatchSpec::values(&[b"acknowledged"], NOW).bytes()) {
                        Ok(_) => records = read_all(&log),
                        Err(error) => assert!(report.offline_partitions > 0, "{case}: {error}"),
                    }
                }
            }
            check_whole(dir.path(), records, &case);
            let store = open_unsynced(dir.path()).0;
            assert!(store.topic("deleted").is_none(), "{case}");
            assert_eq!(read_all(&store.partition("orphan", 0).unwrap()).len(), 1, "{case}");
            if failed == 0 {
                break;
            }
        }
        assert!(refused > 4, "{refused} steps of a start that nothing goes on without");
    }
}

#[test]
fn a_first_start_that_fails_at_any_step_is_in_nobodys_way() {
    for fault in FAULTS {
        let mut at = 0;
        loop {
            let dir = tempfile::tempdir().unwrap();
            let disk = FaultyDisk::new(fault);
            disk.fail_at(at);
            let opened = try_open_on(Arc::clone(&disk) as Arc<dyn Disk>, &dir.path().join("new"));
            if disk.mend() == 0 {
                opened.unwrap();
                break;
            }
            assert_eq!(opened.unwrap_err().kafka_code(), 56, "{fault:?} at {at}");
            let (store, report) = open_unsynced(&dir.path().join("new"));
            assert_eq!(report.notes, Vec::<String>::new(), "{fault:?} at {at}");
            store.close().unwrap();
            at += 1;
        }
        assert!(at > 10, "a first start has more than {at} operations");
    }
}

/// Lets `change` fail at each of its steps, on a store whose topic `t` holds one record; `check` looks at what it
/// answered, at the store it ran on and at the directory's next one.
fn at_each_step(
    change: impl Fn(&LogStore) -> Result<(), LogError>,
    check: impl Fn(&Result<(), LogError>, &LogStore, &str),
) {
    for fault in FAULTS {
        let mut at = 0;
        loop {
            let case = format!("{fault:?} at {at}");
            let dir = tempfile::tempdir().unwrap();
            let disk = FaultyDisk::new(fault);
            let store = disk.open(dir.path());
            store.create_topic("t", 1, &Overrides::new()).unwrap();
            let log = store.partition("t", 0).unwrap();
            append_values(&log, &[b"kept"]);
            let records = read_all(&log);
            disk.fail_at(at);
            let changed = change(&store);
            if disk.mend() == 0 {
                changed.unwrap();
                break;
            }
            if let Err(error) = &changed {
                assert_eq!(error.kafka_code(), 56, "{case}: {error}");
            }
            check(&changed, &store, &case);
            drop((store, log));
            let next = open_unsynced(dir.path()).0;
            check(&changed, &next, &case);
            drop(next);
            check_whole(dir.path(), records, &case);
            at += 1;
        }
        assert!(at > 3, "it has more than {at} operations");
    }
}

#[test]
fn a_clean_stop_that_fails_at_any_step_loses_nothing() {
    at_each_step(LogStore::close, |_, _, _| {});
}

#[test]
fn a_checkpoint_that_fails_at_any_step_loses_nothing() {
    let housekeeping = |store: &LogStore| {
        let errors = store.run_housekeeping(NOW + 60_000).errors;
        assert!(errors.iter().all(|error| error.contains("free space")), "{errors:?}");
        Ok(())
    };
    at_each_step(housekeeping, |_, _, _| {});
}

#[test]
fn a_topic_whose_creation_fails_at_any_step_is_whole_or_absent() {
    let create = |store: &LogStore| store.create_topic("new", 3, &overrides(&[("retention.ms", "5")])).map(drop);
    at_each_step(create, |created, store, case| {
        let Some(topic) = store.topic("new") else {
            assert!(created.is_err(), "{case}");
            return;
        };
        assert_eq!((topic.partitions().len(), topic.config().retention_ms), (3, Some(5)), "{case}");
        for log in topic.partitions() {
            let end = log.high_watermark();
            assert_eq!(append_values(&log, &[b"x"]).base_offset, end, "{case}");
        }
    });
}

#[test]
fn partitions_that_could_not_be_added_do_not_bring_a_deleted_topic_back() {
    let grow = |store: &LogStore| {
        store.create_topic("grown", 1, &Overrides::new())?;
        let grown = store.create_partitions("grown", 3).map(drop);
        // Where the disk fails for good nothing can be deleted either.
        let _ = store.delete_topic("grown");
        grown
    };
    at_each_step(grow, |_, store, case| {
        let partitions = store.topic("grown").map_or(0, |topic| topic.partitions().len());
        assert!([0, 1, 3].contains(&partitions), "{case}: {partitions}");
    });
}

#[test]
fn settings_whose_change_fails_at_any_step_are_the_old_or_the_new_ones() {
    let change = |store: &LogStore| store.set_config("t", &overrides(&[("retention.ms", "-1")]));
    at_each_step(change, |changed, store, case| {
        let own = store.topic("t").unwrap().overrides();
        assert!(own.is_empty() && changed.is_err() || own == overrides(&[("retention.ms", "-1")]), "{case}: {own:?}");
    });
}

/// A disk with so many bytes left; removing files gives theirs back.
#[derive(Debug)]
struct Small {
    left: AtomicU64,
}

impl Small {
    fn new() -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(1 << 40) })
    }

    fn fill(&self) {
        self.left.store(0, Ordering::SeqCst);
    }

    fn give_back(&self, path: &Path) {
        self.left.fetch_add(fs::metadata(path).map_or(0, |metadata| metadata.len()), Ordering::SeqCst);
    }
}

impl Disk for Small {
    fn write(&self, file: &File, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let left = usize::try_from(self.left.load(Ordering::SeqCst)).unwrap();
        if left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fits = slices[0].len().min(left);
        let written = SystemDisk.write(file, &[IoSlice::new(&slices[0][..fits])])?;
        self.left.fetch_sub(written as u64, Ordering::SeqCst);
        Ok(written)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.give_back(path);
        SystemDisk.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            self.give_back(&entry?.path());
        }
        SystemDisk.remove_directory(path)
    }
}

fn reserved(dir: &Path) -> u64 {
    fs::metadata(dir.join(".reserve")).map_or(0, |metadata| metadata.len())
}

/// A directory on a full disk, as a kill leaves it; with a reserve where housekeeping ran.
fn filled(has_reserve: bool) -> (Arc<Small>, tempfile::TempDir, Vec<Stored>) {
    let disk = Small::new();
    let dir = tempfile::tempdir().unwrap();
    let store = open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path());
    store.create_topic("t", 1, &overrides(&[("segment.bytes", "1024"), ("retention.ms", "-1")])).unwrap();
    let log = store.partition("t", 0).unwrap();
    if has_reserve {
        checkpoint(&store);
        assert_eq!(reserved(dir.path()), RESERVE_BYTES as u64);
    }
    for number in 0..8 {
        append_values(&log, &[&value(number, 300)]);
    }
    disk.fill();
    let records = read_all(&log);
    (disk, dir, records)
}

#[test]
fn a_full_disk_refuses_no_start_and_no_way_to_make_room() {
    type MakeRoom = fn(&LogStore);
    let ways: [(&str, MakeRoom); 3] = [
        ("deletion", |store| store.delete_topic("t").unwrap()),
        ("records", |store| assert_eq!(store.delete_records("t", 0, -1).unwrap(), 8)),
        ("retention", |store| store.set_config("t", &overrides(&[("retention.ms", "1")])).unwrap()),
    ];
    for (way, make_room) in ways {
        let (disk, dir, records) = filled(true);
        // Each start takes a little of it, and no record what is over.
        for _ in 0..3 {
            drop(open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path()));
        }
        let store = open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir.path());
        assert!((1..RESERVE_BYTES as u64).contains(&reserved(dir.path())), "{way}");
        let batch = BatchSpec::values(&[b"x"], NOW).bytes();
        assert_eq!(append(&store.partition("t", 0).unwrap(), batch).unwrap_err().kafka_code(), 56, "{way}");
        assert_eq!(read_all(&store.partition("t", 0).unwrap()), records, "{way}");
        make_room(&store);
        // It is kept again as soon as there is room: the test's disk is larger than it says.
        disk.left.store(1 << 40, Ordering::SeqCst);
        store.run_housekeeping(NOW + 60_000);
        assert_eq!(reserved(dir.path()), RESERVE_BYTES as u64, "{way}");
        // What runs may use it as well.
        disk.fill();
        if store.topic("t").is_some() {
            let error = append(&store.partition("t", 0).unwrap(), BatchSpec::values(&[b"x"], NOW).bytes()).unwrap_err();
            assert_eq!(error.kafka_code(), 56);
            assert_eq!(reserved(dir.path()), RESERVE_BYTES as u64, "records do not get it");
            store.delete_topic("t").unwrap();
        }
        assert!(open_after(store, dir.path()).topic("t").is_none(), "{way}");
    }
}

/// The next start, on a disk with room.
fn open_after(store: LogStore, dir: &Path) -> LogStore {
    drop(store);
    open_unsynced(dir).0
}

#[test]
fn a_full_disk_without_a_reserve_refuses_the_start_and_says_why() {
    let (disk, dir, records) = filled(false);
    let error = try_open_on(disk, dir.path()).unwrap_err();
    assert!(error.to_string().contains("free space"), "{error}");
    check_whole(dir.path(), records, "room again");
}

/// A disk that cannot be opened for writing.
#[derive(Debug)]
struct ReadOnly;

impl Disk for ReadOnly {
    fn open(&self, _: &OpenOptions, _: &Path) -> io::Result<File> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        if path.exists() { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }
}

#[test]
fn a_read_only_directory_is_refused_with_what_to_do() {
    let (dir, records) = stopped(Stop::Clean);
    for path in [dir.path().to_owned(), dir.path().join("new")] {
        let error = try_open_on(Arc::new(ReadOnly), &path).unwrap_err();
        assert!(matches!(error, LogError::ReadOnlyDirectory { .. }), "{error}");
        let said = error.to_string();
        let names_all = ["read-only", "remount", "--data", &path.display().to_string()].map(|part| said.contains(part));
        assert_eq!(names_all, [true; 4], "{said}");
    }
    check_whole(dir.path(), records, "mounted for writing");
}
