//! One open file or pipe: buffered, counted, with errors that say where and how far.

use super::{SinkError, SinkOptions};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 256 << 10;

pub(super) struct Output {
    path: PathBuf,
    writer: BufWriter<Box<dyn Write + Send>>,
    bytes: u64,
}

impl Output {
    /// Creates the file; refuses to replace one unless asked to.
    pub(super) fn create(path: &Path, options: &SinkOptions) -> Result<Self, SinkError> {
        Ok(Self::to(path.to_owned(), Box::new(open_file(path, options.overwrite)?)))
    }

    /// Any writer under a name for messages.
    pub(super) fn to(path: PathBuf, writer: Box<dyn Write + Send>) -> Self {
        Self { path, writer: BufWriter::with_capacity(BUFFER_BYTES, writer), bytes: 0 }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let done = self.writer.write_all(bytes);
        done.map_err(|source| self.failure(source))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        let done = self.writer.flush();
        done.map_err(|source| self.failure(source))
    }

    /// What a failed write means, where something else did it.
    pub(super) fn failure(&self, source: std::io::Error) -> SinkError {
        let bytes = self.bytes.saturating_sub(self.writer.buffer().len() as u64);
        SinkError::Write { path: self.path.clone(), bytes, source }
    }

    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// For what writes into anything.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

fn open_file(path: &Path, overwrite: bool) -> Result<File, SinkError> {
    let mut how = OpenOptions::new();
    if overwrite {
        how.write(true).create(true).truncate(true);
    } else {
        how.write(true).create_new(true);
    }
    how.open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => SinkError::Exists { path: path.to_owned() },
        _ => SinkError::Create { path: path.to_owned(), source },
    })
}
