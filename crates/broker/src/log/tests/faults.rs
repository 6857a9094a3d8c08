//! A disk that fails at a chosen operation.

use super::*;
use crate::log::disk::{Disk, SystemDisk};
use crate::log::segment::Shared;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// One operation fails.
    Once,
    /// All fail from there on, until the disk is mended.
    Lasting,
}

/// A disk of which one operation fails, counted from [`FaultyDisk::fail_at`].
#[derive(Debug)]
pub(super) struct FaultyDisk {
    fault: Fault,
    /// Operations that still succeed.
    left: AtomicUsize,
    failed: AtomicUsize,
}

impl FaultyDisk {
    pub(super) fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self { fault, left: AtomicUsize::new(usize::MAX), failed: AtomicUsize::new(0) })
    }

    /// Lets `operation` more succeed.
    pub(super) fn fail_at(&self, operation: usize) {
        self.left.store(operation, Ordering::SeqCst);
    }

    /// Nothing fails any more; answers how many operations did.
    pub(super) fn mend(&self) -> usize {
        self.left.store(usize::MAX, Ordering::SeqCst);
        self.failed.load(Ordering::SeqCst)
    }

    /// A store on this disk.
    pub(super) fn open(self: &Arc<Self>, dir: &Path) -> LogStore {
        open_on(Arc::clone(self) as Arc<dyn Disk>, dir)
    }

    fn step(&self) -> io::Result<()> {
        let fault = self.fault;
        let took = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match (left, fault) {
            (usize::MAX, _) => Some(usize::MAX),
            (0, Fault::Once) => Some(usize::MAX),
            (0, Fault::Lasting) => None,
            (left, _) => Some(left - 1),
        });
        match took {
            Ok(left) if left > 0 => Ok(()),
            _ => {
                self.failed.fetch_add(1, Ordering::SeqCst);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }
}

/// A disk that syncs nothing: where no machine fails, a test that opens hundreds of stores need not wait for it.
#[derive(Debug)]
pub(super) struct UnsyncedDisk;

impl Disk for UnsyncedDisk {
    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// A store on a disk.
pub(super) fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> LogStore {
    try_open_on(disk, dir).unwrap().0
}

/// As [`open_on`], of a disk that may refuse.
pub(super) fn try_open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<(LogStore, RecoveryReport), LogError> {
    let config = StoreConfig::new(dir);
    let shared = Shared { disk, ..Shared::new(&config) };
    LogStore::open_with(config, Arc::new(shared), NOW)
}

impl Disk for FaultyDisk {
    fn write(&self, file: &File, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.step().and_then(|()| SystemDisk.write(file, slices))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step().and_then(|()| UnsyncedDisk.sync(file))
    }

    fn open(&self, options: &OpenOptions, path: &Path) -> io::Result<File> {
        self.step().and_then(|()| SystemDisk.open(options, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step().and_then(|()| SystemDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step().and_then(|()| SystemDisk.remove(path))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.step().and_then(|()| SystemDisk.create_directory(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.step().and_then(|()| SystemDisk.remove_directory(path))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.step().and_then(|()| UnsyncedDisk.sync_directory(directory))
    }
}
