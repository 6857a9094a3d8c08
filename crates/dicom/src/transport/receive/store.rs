//! One object into its place.

use super::failure::Trouble;
use super::keeper::{Keeper, Keeping};
use super::{CHUNK_PATIENCE, Failure, Receiver, Run, Stored, Told};
use crate::assemble::Assembly;
use crate::record::{HEADER, Metadata, RecordHeader};
use crate::transport::TransportError;
use crate::transport::folder::Place;
use lumenbus_bus::objects::GroupEvent;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often an object is tried that lacks something, and the rest in between.
const ATTEMPTS: u32 = 3;
const REST: Duration = Duration::from_millis(500);
/// The rest while the disk is full or the brokers are away.
pub(super) const LONG_REST: Duration = Duration::from_secs(5);

impl Receiver {
    /// Tries until the object is in its place, is given up, or the run is stopped; also until its partition, where one
    /// has to be this member's, is not any more.
    pub(super) fn store_patiently(
        &mut self,
        own: Option<i32>,
        partition: i32,
        metadata: &Metadata,
        run: &mut Run<'_>,
    ) -> Result<Stored, Trouble> {
        let mut attempt = 1;
        loop {
            let trouble = match self.store(partition, metadata, run) {
                Ok(stored) => return Ok(stored),
                Err(trouble) => trouble,
            };
            let rest = match &trouble {
                Trouble::Object(failure) if failure.is_worth_another_look() && attempt < ATTEMPTS => REST * attempt,
                Trouble::Away(error) => {
                    (run.told)(Told::BrokersAway(error));
                    LONG_REST
                }
                Trouble::Full(error) => {
                    (run.told)(Told::DiskFull(error));
                    LONG_REST
                }
                _ => return Err(trouble),
            };
            attempt += u32::from(matches!(trouble, Trouble::Object(_)));
            if !self.rest(rest, run)? {
                return Err(Trouble::Stopped);
            }
            if own.is_some_and(|own| !self.partitions.has(own)) {
                return Err(Trouble::Lost);
            }
        }
    }

    fn store(&mut self, partition: i32, metadata: &Metadata, run: &mut Run<'_>) -> Result<Stored, Trouble> {
        let object = metadata.object_id;
        let stored = |path: PathBuf, was_there| Stored {
            object_id: object,
            identity: metadata.identity.clone(),
            path,
            bytes: metadata.file_length,
            sha256: metadata.file_sha256,
            was_there,
            opaque: metadata.opaque.as_ref().map(|opaque| opaque.code.clone()),
        };
        let path = self.config.layout.path(metadata);
        let distinct = self.config.layout.path_distinct(metadata);
        let known = (metadata.file_length, &metadata.file_sha256);
        for path in [path, distinct] {
            match self.out.look(&path, object, known)? {
                Place::Same => return Ok(stored(path, true)),
                Place::Free => {
                    self.write(partition, metadata, &path, run)?;
                    return Ok(stored(path, false));
                }
                Place::Taken => {}
            }
        }
        Err(Trouble::Object(Failure::PlaceTaken { object }))
    }

    fn write(&mut self, partition: i32, metadata: &Metadata, path: &Path, run: &mut Run<'_>) -> Result<(), Trouble> {
        let keeper = Keeper { group: &self.group, partition };
        let mut keeping =
            Keeping { waiting: &mut self.waiting, is_paused: &mut self.is_paused, looked: &mut self.looked };
        let file = self.out.begin(metadata.object_id)?;
        let mut assembly = Assembly::begin(metadata, file).map_err(TransportError::from)?;
        let mut bytes = 0;
        for (index, chunk) in metadata.chunks.iter().enumerate() {
            let at = (partition, chunk.kafka_offset);
            let pushed = self.fetcher.fetch(at, CHUNK_PATIENCE, |record| {
                match record.header(HEADER).map(RecordHeader::decode) {
                    Some(Ok(RecordHeader::Chunk(header))) => {
                        Some(assembly.push(&header, record.value().unwrap_or_default()))
                    }
                    _ => None,
                }
            });
            match pushed.map_err(TransportError::from)? {
                Some(Some(pushed)) => drop(pushed.map_err(TransportError::from)?),
                Some(None) | None => {
                    let (object, offset) = (metadata.object_id, chunk.kafka_offset);
                    let index = u32::try_from(index).unwrap_or(u32::MAX);
                    return Err(Trouble::Object(Failure::MissingChunk { object, index, offset }));
                }
            }
            bytes += u64::from(chunk.length);
            (run.told)(Told::Writing { object: metadata.object_id, bytes, of: metadata.file_length });
            if (run.is_stopped)() {
                return Err(Trouble::Stopped);
            }
            if keeping.is_due() && keeper.look(&mut keeping)?.is_break() {
                drop(assembly);
                self.drop_revoked();
                return Err(Trouble::Lost);
            }
        }
        assembly.finish().map_err(TransportError::from)?.name(path)?;
        Ok(())
    }

    /// Rests and looks for records all the while; false when the run is to stop.
    pub(super) fn rest(&mut self, time: Duration, run: &mut Run<'_>) -> Result<bool, TransportError> {
        let began = Instant::now();
        while began.elapsed() < time {
            if (run.is_stopped)() {
                return Ok(false);
            }
            let keeper = Keeper { group: &self.group, partition: -1 };
            let mut keeping =
                Keeping { waiting: &mut self.waiting, is_paused: &mut self.is_paused, looked: &mut self.looked };
            // With nothing to read this is the rest itself.
            let _ = keeper.look(&mut keeping)?;
            self.drop_revoked();
        }
        Ok(true)
    }

    /// What went away while an object was under way, and the records of it that came before.
    fn drop_revoked(&mut self) {
        let events = std::mem::take(&mut self.waiting);
        for event in events {
            if let GroupEvent::Revoked(gone) = &event {
                self.partitions.revoke(gone);
                self.waiting
                    .retain(|event| !matches!(event, GroupEvent::Record(record) if gone.contains(&record.partition)));
            } else {
                self.waiting.push_back(event);
            }
        }
    }
}
