//! The two disk operations an append depends on, behind a trait so that tests can fill the disk.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Write};

/// Writes to and syncs segment files.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Writes some of `slices` at the file's cursor.
    fn write(&self, file: &File, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Makes the file's contents durable.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn write(&self, mut file: &File, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(slices)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Writes all of `slices`.
pub(crate) fn write_all(disk: &dyn Disk, file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
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
