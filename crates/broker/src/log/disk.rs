//! What a store that writes asks of the disk, behind a trait so that tests can fill it or let it fail.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Creates, writes, syncs, names and removes the files of a data directory.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Writes some of `slices` at the file's cursor.
    fn write(&self, mut file: &File, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(slices)
    }

    /// Makes the file's contents durable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Opens or creates a file that is to be written.
    fn open(&self, options: &OpenOptions, path: &Path) -> io::Result<File> {
        options.open(path)
    }

    /// Gives a file another name; what had that name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file; an absent one is no error.
    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Creates a directory and those above it; one that is there already is no error.
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    /// Removes a directory and all in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    /// Makes new names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// The operating system's.
#[derive(Debug)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {}

/// Writes all of `slices`.
pub(crate) fn write_all(disk: &dyn Disk, file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty slices in front would look like a disk that takes nothing.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match disk.write(file, slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a small file in its place, unsynced; nothing is left of one that failed.
pub(crate) fn write_unsynced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(File::options().create(true).write(true).truncate(true), path)?;
    write_all(disk, &file, &mut [IoSlice::new(bytes)]).inspect_err(|_| {
        // Of two failures the first one counts.
        let _ = disk.remove(path);
    })
}

/// What a file is to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) sync: bool,
}

/// Writes a file beside its place and moves it there, so that nobody ever sees a part of it.
///
/// Two may do so at once, hence each writes under a name of its own; recovery removes what a crash leaves of it.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, contents: Contents<'_>) -> io::Result<File> {
    static FILES: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.cleaned", FILES.fetch_add(1, Ordering::Relaxed)));
    let unfinished = Path::new(&name);
    let file = disk.open(File::options().create(true).write(true).truncate(true), unfinished)?;
    let written = write_all(disk, &file, &mut [IoSlice::new(contents.bytes)])
        .and_then(|()| if contents.sync { disk.sync(&file) } else { Ok(()) })
        .and_then(|()| disk.rename(unfinished, path));
    if let Err(error) = written {
        // The next start removes it when this fails as well.
        let _ = disk.remove(unfinished);
        return Err(error);
    }
    Ok(file)
}
