//! Indexes of aborted transactions that a reader finds lost.

use super::faults::open_on;
use super::transactions::{Writer, committed};
use super::*;
use crate::log::disk::{Disk, SystemDisk};
use std::fs::File;
use std::io;
use std::sync::{Barrier, Mutex, mpsc};
use std::time::Duration;

/// Only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A disk that takes notes, and can be held up.
#[derive(Default)]
struct WatchedDisk {
    notes: Mutex<Vec<String>>,
    at_next_sync: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for WatchedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatchedDisk")
    }
}

impl WatchedDisk {
    fn note(&self, note: &str) {
        self.notes.lock().unwrap().push(note.to_owned());
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }
}

impl Disk for WatchedDisk {
    fn sync(&self, file: &File) -> io::Result<()> {
        let held_up = self.at_next_sync.lock().unwrap().take();
        if let Some(held_up) = held_up {
            held_up();
        }
        self.note("sync");
        SystemDisk.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(&to.extension().unwrap_or_default().to_string_lossy());
        SystemDisk.rename(from, to)
    }
}

/// A log with eight aborted transactions in several segments of which all indexes are lost.
fn with_lost_indexes(dir: &Path) -> (LogStore, Arc<WatchedDisk>) {
    let (store, log) = with_topic(dir, &[("segment.bytes", "1024")]);
    let mut one = Writer::new(1);
    for round in 0..8 {
        one.write(&log, &[&value(round, 200)]);
        one.end(&log, Outcome::Abort);
    }
    store.close().unwrap();
    drop((store, log));
    files(dir, "t-0", "txnindex").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let disk = Arc::new(WatchedDisk::default());
    let store = open_on(Arc::clone(&disk) as Arc<dyn Disk>, dir);
    // What the start wrote is not what is watched.
    disk.notes.lock().unwrap().clear();
    (store, disk)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reader_that_builds_them_anew_holds_up_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (store, disk) = with_lost_indexes(dir.path());
    let log = store.partition("t", 0).unwrap();
    let (arrived, arrival) = tokio::sync::oneshot::channel();
    let (go_on, going_on) = mpsc::channel();
    *disk.at_next_sync.lock().unwrap() = Some(Box::new(move || {
        arrived.send(()).unwrap();
        going_on.recv_timeout(PATIENCE).expect("another task of the only worker runs meanwhile");
    }));
    let reader = tokio::spawn(async move { committed(&log, 0).aborted.len() });
    arrival.await.unwrap();
    tokio::spawn(async move { go_on.send(()).unwrap() }).await.unwrap();
    assert_eq!(reader.await.unwrap(), 8);
}

#[test]
fn however_many_readers_come_they_are_built_once_and_synced_before_they_get_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let (store, disk) = with_lost_indexes(dir.path());
    let log = store.partition("t", 0).unwrap();
    let closed = log.segment_count();
    assert!(closed > 3);
    let together = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                together.wait();
                assert_eq!(committed(&log, 0).aborted.len(), 8);
            });
        }
    });
    let notes = disk.notes();
    let built: Vec<_> = notes.iter().enumerate().filter(|(_, note)| *note == "txnindex").map(|(at, _)| at).collect();
    assert_eq!(built.len(), closed, "{notes:?}");
    assert!(built.iter().all(|at| *at > 0 && notes[at - 1] == "sync"), "{notes:?}");
}
