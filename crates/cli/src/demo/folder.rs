//! The temporary folder of a demo's broker: nobody else's, and not left behind.
//!
//! Demo and broker each hold a shared lock of the folder, which goes with them however they end. What nobody holds was
//! left by a demo that was killed together with its broker, and the next demo removes it.

use std::fs::{self, DirEntry, File, TryLockError};
use std::io;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "lumenbus-demo-";
/// Another demo that clears up may take a new folder before it is held; not again and again.
const ATTEMPTS: usize = 16;

/// A new folder in `base`, in use as long as the file is open.
pub(super) fn claim(base: &Path) -> io::Result<(TempDir, File)> {
    for _ in 0..ATTEMPTS {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base)?;
        if let Ok(file) = hold(folder.path())
            && folder.path().exists()
        {
            return Ok((folder, file));
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Says that a folder is in use, as long as the file is open.
pub(crate) fn hold(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        // A file system without locks: then nobody clears up either.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Removes the folders in `base` that nobody holds.
pub(super) fn clear_up(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten().filter(is_ours) {
        let path = entry.path();
        // While it is locked nobody begins to use it.
        let Some(_unused) = File::open(&path).ok().filter(|file| file.try_lock().is_ok()) else { continue };
        match fs::remove_dir_all(&path) {
            Ok(()) => tracing::info!("removed {}, left by a demo that was killed", path.display()),
            // Another user's.
            Err(error) => tracing::debug!(%error, "cannot remove {}", path.display()),
        }
    }
}

/// By its name; a link is not followed.
fn is_ours(entry: &DirEntry) -> bool {
    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
    is_folder && entry.file_name().to_string_lossy().starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_and_what_nobody_holds_goes() {
        let base = tempfile::tempdir().unwrap();
        let (mine, demo) = claim(base.path()).unwrap();
        let (left, dead) = claim(base.path()).unwrap();
        fs::write(left.path().join("data"), "x").unwrap();
        let other = base.path().join("another-folder");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, base.path().join(format!("{PREFIX}link"))).unwrap();
        // The demo is gone, its broker is not.
        let broker = hold(mine.path()).unwrap();
        drop((dead, demo));
        clear_up(base.path());
        assert!(mine.path().exists() && other.exists() && !left.path().exists());
        drop(broker);
        clear_up(base.path());
        assert!(!mine.path().exists());
    }

    #[test]
    fn what_is_being_removed_is_not_taken() {
        let base = tempfile::tempdir().unwrap();
        let (folder, in_use) = claim(base.path()).unwrap();
        drop(in_use);
        let removing = File::open(folder.path()).unwrap();
        removing.try_lock().unwrap();
        assert_eq!(hold(folder.path()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
}
