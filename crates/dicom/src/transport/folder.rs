//! The folder of received objects: a file has its name only when all of it is right and on the disk.

use super::TransportError;
use crate::DicomError;
use crate::record::ObjectId;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

/// Where files are until they have their names; on the same file system as these.
pub(super) const RECEIVING: &str = ".lumenbus-receiving";
const LOCK: &str = "lock";
const PIECE_BYTES: usize = 256 << 10;

/// A folder that belongs to one receiver.
#[derive(Debug)]
pub struct OutFolder {
    root: PathBuf,
    receiving: PathBuf,
    /// Held as long as this.
    _lock: File,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// A file with the same bytes.
    Same,
    /// Something else.
    Taken,
}

impl OutFolder {
    /// Takes the folder, makes it where it is missing, and removes what a receiver left that was killed.
    ///
    /// # Errors
    /// [`TransportError::FolderInUse`] and [`TransportError::Folder`].
    pub fn open(root: &Path) -> Result<Self, TransportError> {
        let unusable = |source| TransportError::Folder { folder: root.to_owned(), source };
        let receiving = root.join(RECEIVING);
        fs::create_dir_all(&receiving).map_err(unusable)?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(receiving.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TransportError::FolderInUse { folder: root.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        for entry in fs::read_dir(&receiving).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            if entry.path().extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(entry.path()).map_err(unusable)?;
            }
        }
        Ok(Self { root: root.to_owned(), receiving, _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn failed(&self, what: &'static str, object: ObjectId) -> impl FnOnce(io::Error) -> TransportError {
        let folder = self.root.clone();
        move |source| TransportError::Write { what, folder, object, source }
    }

    /// What is where the object would go.
    pub(super) fn look(
        &self,
        path: &Path,
        object: ObjectId,
        (bytes, sha256): (u64, &[u8; 32]),
    ) -> Result<Place, TransportError> {
        let path = self.root.join(path);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
            Err(error) if is_in_the_way(&error) => return Ok(Place::Taken),
            Err(error) => return Err(self.failed("look at a file", object)(error)),
        };
        if !metadata.is_file() || metadata.len() != bytes {
            return Ok(Place::Taken);
        }
        let found = sha256_of(&path).map_err(self.failed("read a file", object))?;
        Ok(if found.1 == *sha256 { Place::Same } else { Place::Taken })
    }

    /// A file without a name yet.
    pub(super) fn begin(&self, object: ObjectId) -> Result<Unnamed<'_>, TransportError> {
        let path = self.receiving.join(format!("{object}.part"));
        let file = File::create(&path).map_err(self.failed("make a file", object))?;
        Ok(Unnamed { folder: self, object, path, file, is_named: false })
    }

    /// Makes the folders of a path, each on the disk before the next.
    fn make_folders(&self, path: &Path) -> io::Result<()> {
        let mut here = self.root.clone();
        for component in path.parent().unwrap_or(Path::new("")).components() {
            let above = here.clone();
            here.push(component);
            match fs::create_dir(&here) {
                Ok(()) => sync_folder(&above)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && here.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A file that goes away unless it gets its name.
#[derive(Debug)]
pub(super) struct Unnamed<'a> {
    folder: &'a OutFolder,
    object: ObjectId,
    path: PathBuf,
    file: File,
    is_named: bool,
}

impl Write for Unnamed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Unnamed<'_> {
    /// Everything is on the disk, then the file has its name, then the disk has the name.
    pub(super) fn name(mut self, path: &Path) -> Result<(), TransportError> {
        let folder = self.folder;
        self.file.sync_all().map_err(folder.failed("write", self.object))?;
        folder.make_folders(path).map_err(folder.failed("make a folder", self.object))?;
        let named = folder.root.join(path);
        // The place was free, and the folder is nobody else's.
        fs::rename(&self.path, &named).map_err(folder.failed("name a file", self.object))?;
        self.is_named = true;
        let parent = named.parent().unwrap_or(&folder.root);
        sync_folder(parent).map_err(folder.failed("write a folder", self.object))
    }
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        if !self.is_named
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, object = %self.object, "a file without a name stays until the next start");
        }
    }
}

/// Something that is no folder of ours, or a name that the file system does not take: the object's own trouble.
pub(super) fn is_in_the_way(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let kinds = [Kind::NotADirectory, Kind::IsADirectory, Kind::AlreadyExists, Kind::InvalidFilename];
    kinds.contains(&error.kind())
}

/// Room that somebody may make.
pub(super) fn is_full(error: &TransportError) -> bool {
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    match error {
        TransportError::Write { source, .. } | TransportError::Dicom(DicomError::Write { source, .. }) => full(source),
        _ => false,
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Length and SHA-256 of a file.
pub(super) fn sha256_of(path: &Path) -> io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((bytes, hash.finalize().into())),
            Ok(length) => {
                bytes += length as u64;
                hash.update(&piece[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
