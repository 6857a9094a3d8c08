//! The data directory itself: its lock, its identity and the clean-stop marker.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::{CLEAN_SHUTDOWN, replace_file};
use super::disk::Disk;
use super::error::LogError;
use super::topic::{decode_id, encode_id};

/// Free and total bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// Held by the broker whose directory it is.
const LOCK: &str = ".lock";
/// Locked as well while a broker runs; others may try it without being in the way of one that starts.
const RUNNING: &str = ".running";

/// A data directory's locks. They last as long as this lives, also through a kill.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    lock: File,
    running: File,
}

impl DirectoryLock {
    /// Gives the directory to the next broker.
    pub(crate) fn release(&self) -> io::Result<()> {
        self.running.unlock()?;
        self.lock.unlock()
    }
}

/// Creates the directory and takes its locks.
pub(crate) fn lock(disk: &dyn Disk, data_dir: &Path) -> Result<DirectoryLock, LogError> {
    disk.create_directory(data_dir).map_err(|source| refused("create", data_dir, data_dir, source))?;
    let open = |path: &PathBuf| {
        let file = disk.open(File::options().create(true).truncate(false).write(true), path);
        file.map_err(|source| refused("open", path, data_dir, source))
    };
    let path = data_dir.join(LOCK);
    let lock = open(&path)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => LogError::DirectoryInUse { path: data_dir.to_owned() },
        TryLockError::Error(error) => LogError::storage("lock", path)(error),
    })?;
    let path = data_dir.join(RUNNING);
    let running = open(&path)?;
    // No other broker can hold it; who only looks lets go at once.
    running.lock().map_err(LogError::storage("lock", path))?;
    Ok(DirectoryLock { lock, running })
}

/// The first files a start opens for writing are the first to tell that the directory takes nothing.
fn refused(operation: &'static str, path: &Path, data_dir: &Path, source: io::Error) -> LogError {
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => LogError::ReadOnlyDirectory { path: data_dir.to_owned(), source },
        _ => LogError::storage(operation, path)(source),
    }
}

/// Whether a broker runs on the directory.
pub(crate) fn is_running(data_dir: &Path) -> Result<bool, LogError> {
    let path = data_dir.join(RUNNING);
    match File::open(&path).map(|file| file.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => Ok(true),
        Ok(Ok(()) | Err(TryLockError::Error(_))) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LogError::storage("open", path)(error)),
    }
}

/// How every embedded broker's cluster id begins.
const CLUSTER_PREFIX: &str = "lumenbus-";

/// The cluster id in `meta.properties`, in Kafka's form; made up in a new directory.
pub(crate) fn cluster_id(disk: &dyn Disk, data_dir: &Path) -> Result<String, LogError> {
    let path = data_dir.join("meta.properties");
    match fs::read_to_string(&path) {
        Ok(text) => parse_cluster_id(&text, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // As long as Kafka's ids, and told apart from them: clients plan other topics for an embedded broker.
            let (cluster, directory) = (encode_id(random_id()), encode_id(random_id()));
            let cluster = format!("{CLUSTER_PREFIX}{}", &cluster[CLUSTER_PREFIX.len()..]);
            let text = format!("version=1\ncluster.id={cluster}\nnode.id=1\ndirectory.id={directory}\n");
            replace_file(disk, &path, text.as_bytes()).map(|()| cluster)
        }
        Err(error) => Err(LogError::storage("read", path)(error)),
    }
}

fn parse_cluster_id(text: &str, path: PathBuf) -> Result<String, LogError> {
    let id = text.lines().find_map(|line| line.strip_prefix("cluster.id="));
    let id = id.map(str::trim).filter(|id| !id.is_empty());
    id.map(str::to_owned).ok_or(LogError::BadFile { path, reason: "it names no cluster.id".to_owned() })
}

/// The cluster id of a directory that a broker has used before.
pub(crate) fn existing_cluster_id(data_dir: &Path) -> Result<String, LogError> {
    let path = data_dir.join("meta.properties");
    match fs::read_to_string(&path) {
        Ok(text) => parse_cluster_id(&text, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LogError::BadFile {
            path: data_dir.to_owned(),
            reason: "it has no meta.properties, so it is not the data directory of a broker".to_owned(),
        }),
        Err(error) => Err(LogError::storage("read", path)(error)),
    }
}

/// A version 4 UUID.
pub(crate) fn random_id() -> [u8; 16] {
    let mut id: [u8; 16] = rand::random();
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    // Kafka keeps text forms that begin with a dash out of the way of command lines.
    if encode_id(id).starts_with('-') {
        id[0] ^= 0x80;
    }
    debug_assert_eq!(decode_id(&encode_id(id)), Some(id));
    id
}

/// Whether the last stop was clean. The marker is gone for good before anything is appended.
pub(crate) fn take_clean_marker(disk: &dyn Disk, data_dir: &Path) -> Result<bool, LogError> {
    let path = data_dir.join(CLEAN_SHUTDOWN);
    let clean = path.exists();
    disk.remove(&path).map_err(LogError::storage("delete", path))?;
    if clean {
        disk.sync_directory(data_dir).map_err(LogError::storage("sync", data_dir))?;
    }
    Ok(clean)
}

/// Says that everything is on the disk.
pub(crate) fn put_clean_marker(disk: &dyn Disk, data_dir: &Path) -> Result<(), LogError> {
    replace_file(disk, &data_dir.join(CLEAN_SHUTDOWN), b"{\"version\":0,\"brokerEpoch\":-1}")
}

/// What is left for unprivileged users on the directory's file system.
pub(crate) fn disk_space(data_dir: &Path) -> Result<DiskSpace, LogError> {
    let stat = rustix::fs::statvfs(data_dir).map_err(|error| LogError::storage("inspect", data_dir)(error.into()))?;
    Ok(DiskSpace { free_bytes: stat.f_bavail * stat.f_frsize, total_bytes: stat.f_blocks * stat.f_frsize })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::SystemDisk;

    #[test]
    fn who_looks_is_not_in_the_way_of_a_broker_that_starts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_running(dir.path()).unwrap());
        drop(lock(&SystemDisk, dir.path()).unwrap());
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| (0..20_000).filter(|_| is_running(dir.path()).unwrap()).count());
            while !looking.is_finished() {
                let held = lock(&SystemDisk, dir.path()).unwrap();
                assert!(is_running(dir.path()).unwrap());
                held.release().unwrap();
                assert!(
                    lock(&SystemDisk, dir.path()).is_ok(),
                    "the next one may begin before the last one has let go of the files"
                );
            }
        });
        assert!(!is_running(dir.path()).unwrap());
    }
}
