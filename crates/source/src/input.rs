//! Bytes of a file with their place, so that every error can say where.

use crate::SourceError;
use bytes::Bytes;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// A seekable file of known length.
pub(crate) struct Input<R> {
    pub(crate) name: Arc<str>,
    reader: R,
    pub(crate) length: u64,
}

impl<R: Read + Seek> Input<R> {
    pub(crate) fn new(name: Arc<str>, mut reader: R) -> Result<Self, SourceError> {
        let length = reader.seek(SeekFrom::End(0)).map_err(|source| io_error(&name, "read", source))?;
        Ok(Self { name, reader, length })
    }

    /// Reads `bytes` at `offset`: nothing is allocated before both the file's length and the limit allow it.
    pub(crate) fn read_at(
        &mut self,
        what: &'static str,
        offset: u64,
        bytes: u64,
        limit: usize,
    ) -> Result<Bytes, SourceError> {
        if offset.checked_add(bytes).is_none_or(|end| end > self.length) {
            return Err(self.truncated(what, offset, bytes));
        }
        let Some(size) = usize::try_from(bytes).ok().filter(|&size| size <= limit) else {
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            return Err(SourceError::TooLarge { name: self.name.clone(), what, offset, bytes, limit });
        };
        let mut buffer = vec![0; size];
        let mut read = || {
            self.reader.seek(SeekFrom::Start(offset))?;
            self.reader.read_exact(&mut buffer)
        };
        read().map_err(|source| io_error(&self.name, "read", source))?;
        Ok(Bytes::from(buffer))
    }

    pub(crate) fn malformed(&self, offset: u64, what: &'static str) -> SourceError {
        SourceError::Malformed { name: self.name.clone(), offset, what }
    }

    pub(crate) fn truncated(&self, what: &'static str, offset: u64, needed: u64) -> SourceError {
        SourceError::Truncated { name: self.name.clone(), what, offset, needed, length: self.length }
    }
}

pub(crate) fn io_error(name: &Arc<str>, action: &'static str, source: io::Error) -> SourceError {
    SourceError::Io { name: name.clone(), action, source }
}

/// Reads at most `limit` bytes into `buffer`; 0 at the end.
pub(crate) fn read_some<R: Read>(reader: &mut R, buffer: &mut [u8], name: &Arc<str>) -> Result<usize, SourceError> {
    loop {
        match reader.read(buffer) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io_error(name, "read", error)),
        }
    }
}
