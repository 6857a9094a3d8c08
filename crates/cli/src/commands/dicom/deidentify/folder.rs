//! New files, each under its name as a whole or not at all.

use anyhow::Context as _;
use lumenbus_dicom::cut::{Chunk, Input, SplitLimits, Splitter};
use lumenbus_dicom::layout::Layout;
use lumenbus_dicom::record::ObjectId;
use std::convert::Infallible;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    layout: Layout,
}

impl Folder {
    pub(super) fn open(root: &Path, layout: Layout) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self { root: root.to_owned(), layout })
    }

    /// Returns where it is, from the folder on.
    pub(super) fn store(&self, file: &[u8]) -> anyhow::Result<PathBuf> {
        let mut splitter = Splitter::new(ObjectId::random(), Input::File, SplitLimits::default());
        let mut passed = |_: Chunk| Ok::<(), Infallible>(());
        let Ok(()) = splitter.push(file, &mut passed);
        let Ok(metadata) = splitter.finish(&mut passed);
        let plain = self.layout.path(&metadata);
        for path in [plain, self.layout.path_distinct(&metadata)] {
            if self.place(&path, file).with_context(|| format!("cannot write into {}", self.root.display()))? {
                return Ok(path);
            }
        }
        anyhow::bail!("two files with one SHA-256 differ")
    }

    /// Whether it is there now; not, when another file is in its place.
    fn place(&self, path: &Path, file: &[u8]) -> std::io::Result<bool> {
        let whole = self.root.join(path);
        match std::fs::read(&whole) {
            Ok(there) => return Ok(there == file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let folder = whole.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder)?;
        let mut draft = tempfile::Builder::new().prefix(".part-").tempfile_in(folder)?;
        draft.write_all(file)?;
        draft.as_file().sync_all()?;
        match draft.persist_noclobber(&whole) {
            Ok(_) => Ok(true),
            // Another worker was faster.
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(std::fs::read(&whole)? == file),
            Err(error) => Err(error.error),
        }
    }
}
