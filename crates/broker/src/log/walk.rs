//! Walking the batches of a segment file by their headers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::batch::{BatchHeader, CRC_START, HEADER_BYTES};
use super::control::{self, Marker};
use super::error::LogError;

/// Enough for the headers between two index entries.
pub(crate) const LOOKUP_CHUNK_BYTES: usize = 8 * 1024;
/// For reading a file from end to end.
pub(crate) const SCAN_CHUNK_BYTES: usize = 256 * 1024;

/// A cursor over a segment's batches; checks that each fits the file and that offsets ascend.
#[derive(Debug)]
pub(crate) struct Walker<'a> {
    file: &'a File,
    path: PathBuf,
    position: u64,
    end: u64,
    next_offset: i64,
    chunk: Vec<u8>,
    chunk_start: u64,
    chunk_bytes: usize,
}

impl<'a> Walker<'a> {
    /// Walks `file` from `position` to `end`; no batch may begin below `next_offset`.
    pub(crate) fn new(file: &'a File, path: &Path, span: std::ops::Range<u64>, next_offset: i64) -> Self {
        Self {
            file,
            path: path.to_owned(),
            position: span.start,
            end: span.end,
            next_offset,
            chunk: Vec::new(),
            chunk_start: 0,
            chunk_bytes: LOOKUP_CHUNK_BYTES,
        }
    }

    /// Reads larger pieces, for walks over whole files.
    pub(crate) fn sequential(mut self) -> Self {
        self.chunk_bytes = SCAN_CHUNK_BYTES;
        self
    }

    /// Where the next batch begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch's position and header, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchHeader)>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        if self.end - self.position < HEADER_BYTES as u64 {
            return Err(self.corrupt("the file ends inside a batch header"));
        }
        let position = self.position;
        let parsed = BatchHeader::parse(self.bytes(position, HEADER_BYTES)?);
        let header = parsed.map_err(|fault| self.corrupt(fault.reason()))?;
        if header.base_offset < self.next_offset {
            return Err(self.corrupt("its base offset lies before the end of the batch in front of it"));
        }
        if header.size_u64() > self.end - position {
            return Err(self.corrupt("the file ends inside the batch"));
        }
        self.position += header.size_u64();
        self.next_offset = header.last_offset() + 1;
        Ok(Some((position, header)))
    }

    /// Verifies a batch's checksum.
    pub(crate) fn verify(&mut self, position: u64, header: &BatchHeader) -> Result<(), LogError> {
        let (mut at, end) = (position + CRC_START as u64, position + header.size_u64());
        let mut crc = 0;
        while at < end {
            let piece = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.chunk_bytes);
            crc = crc32c::crc32c_append(crc, self.bytes(at, piece)?);
            at += piece as u64;
        }
        if crc == header.crc {
            return Ok(());
        }
        Err(self.refuse(position, "its checksum does not match"))
    }

    /// What a control batch says; `None` for other batches, and for markers that compaction emptied.
    pub(crate) fn marker(&mut self, position: u64, header: &BatchHeader) -> Result<Option<Marker>, LogError> {
        if !header.is_control() {
            return Ok(None);
        }
        let records = (header.size - HEADER_BYTES).min(control::MAX_RECORD_BYTES);
        self.bytes(position + HEADER_BYTES as u64, records).map(control::parse)
    }

    /// The fault of a batch that the walk went over already.
    pub(crate) fn refuse(&mut self, position: u64, reason: &'static str) -> LogError {
        self.position = position;
        self.corrupt(reason)
    }

    fn bytes(&mut self, position: u64, length: usize) -> Result<&[u8], LogError> {
        let held = self.chunk_start..self.chunk_start + self.chunk.len() as u64;
        if position < held.start || position + length as u64 > held.end {
            let available = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            self.fill(position, self.chunk_bytes.max(length).min(available))
                .map_err(LogError::storage("read", &self.path))?;
        }
        let from = usize::try_from(position - self.chunk_start).unwrap_or(usize::MAX);
        self.chunk.get(from..from + length).ok_or_else(|| self.corrupt("the file ends inside the batch"))
    }

    fn fill(&mut self, position: u64, length: usize) -> io::Result<()> {
        self.chunk.resize(length, 0);
        self.chunk_start = position;
        self.file.read_exact_at(&mut self.chunk, position).inspect_err(|_| self.chunk.clear())
    }

    fn corrupt(&self, reason: &'static str) -> LogError {
        LogError::CorruptSegment { path: self.path.clone(), position: self.position, reason }
    }
}
