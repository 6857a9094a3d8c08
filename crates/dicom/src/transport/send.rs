//! Objects to Kafka: chunks first, then what commits them.

use super::{Family, TransportError};
use crate::attributes::Identity;
use crate::cut::{Chunk, Input, SplitLimits, Splitter};
use crate::record::{Framing, HEADER, Key, ObjectId, parts};
use bytes::Bytes;
use lumenbus_bus::objects::{Budget, Deliveries, Outgoing, RecordCompression, RecordWriter, partition_of_key};
use lumenbus_bus::topics::ensure_topics;
use lumenbus_bus::{BusConfig, BusError};
use std::fs::{File, Metadata as FileMetadata};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// What all objects of a sender may have on their way; librdkafka holds a copy of it.
const BUDGET_BYTES: usize = 8 << 20;
/// One read of a file.
const PIECE_BYTES: usize = 256 << 10;

/// Sends objects; shared by threads.
#[derive(Debug)]
pub struct Sender {
    /// Compresses.
    native: RecordWriter,
    /// Does not.
    coded: RecordWriter,
    metadata_topic: String,
    pixels_topic: String,
    partitions: u32,
    framing: Framing,
    limits: SplitLimits,
    taken_bytes: AtomicU64,
}

/// An object whose last record is acknowledged.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Of this transmission.
    pub object_id: ObjectId,
    /// What it is.
    pub identity: Identity,
    /// Key of its records.
    pub key: Key,
    /// Partition of its records, the same in both topics.
    pub partition: i32,
    /// Offset of the record that commits it.
    pub offset: i64,
    /// Bytes of the object.
    pub bytes: u64,
    /// SHA-256 of the object.
    pub sha256: [u8; 32],
    /// Records of the blob.
    pub chunks: usize,
    /// Code of the reason for which it was not cut.
    pub opaque: Option<String>,
    /// What is irregular about it, as stable codes.
    pub findings: Vec<String>,
}

impl Sender {
    /// Connects, and creates the topics that are missing.
    ///
    /// # Errors
    /// What is wrong with the brokers, and [`TransportError::Partitions`].
    pub fn open(bus: &BusConfig) -> Result<Self, TransportError> {
        Self::open_family(bus, Family::Original)
    }

    /// As [`Self::open`], for objects of this family.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_family(bus: &BusConfig, family: Family) -> Result<Self, TransportError> {
        let [metadata, pixels] = family.topics();
        ensure_topics(bus, &family.all_topics())?;
        let budget = Budget::new(BUDGET_BYTES);
        let native = RecordWriter::open(bus, RecordCompression::Lz4, &budget)?;
        let coded = RecordWriter::open(bus, RecordCompression::None, &budget)?;
        let name = |base| bus.topic_prefix.topic(base).as_str().to_owned();
        let (metadata_topic, pixels_topic) = (name(metadata), name(pixels));
        let partitions = same_partitions(&native, &metadata_topic, &pixels_topic)?;
        let (framing, limits, taken_bytes) = (Framing::SingleObject, SplitLimits::default(), AtomicU64::new(0));
        Ok(Self { native, coded, metadata_topic, pixels_topic, partitions, framing, limits, taken_bytes })
    }

    /// Bytes that were taken of all objects so far, also of those that are under way.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    /// Begins an object whose bytes come piece by piece.
    #[must_use]
    pub fn begin(&self, input: Input) -> Sending<'_> {
        let object_id = ObjectId::random();
        let splitter = Splitter::new(object_id, input, self.limits);
        Sending { sender: self, object_id, splitter, deliveries: Deliveries::new() }
    }

    /// Sends a file. One that changes while it is read is not committed.
    ///
    /// # Errors
    /// [`TransportError::Read`], [`TransportError::Changed`], and what Kafka refuses: then no reader sees the object.
    pub fn send_file(&self, path: &Path) -> Result<Sent, TransportError> {
        let unreadable = |source| TransportError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let before = Version::of(&file.metadata().map_err(unreadable)?);
        let mut sending = self.begin(Input::File);
        let mut piece = vec![0; PIECE_BYTES];
        let mut bytes = 0_u64;
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    bytes += length as u64;
                    sending.push(&piece[..length])?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        let finished = sending.finish()?;
        // Its chunks are acknowledged by now: the later the look, the more of a slow writer is seen.
        let after = Version::of(&file.metadata().map_err(unreadable)?);
        if before != after || before.bytes != bytes {
            return Err(TransportError::Changed { path: path.to_owned() });
        }
        finished.commit()
    }

    fn send_chunk(&self, id: ObjectId, chunk: &Chunk, deliveries: &Arc<Deliveries>) -> Result<(), BusError> {
        if deliveries.has_failed() {
            // The reason is told when the object is finished, which is now.
            return self.coded.wait(&self.pixels_topic, deliveries).map(|_| ());
        }
        let writer = if chunk.compressible { &self.native } else { &self.coded };
        let outgoing = Outgoing {
            topic: &self.pixels_topic,
            partition: self.partition(&chunk.key),
            key: chunk.key.as_str(),
            headers: &[(HEADER, &chunk.header(id).to_bytes())],
            value: Some(&chunk.bytes),
        };
        writer.send(&outgoing, deliveries)
    }

    fn partition(&self, key: &Key) -> i32 {
        // Kafka numbers partitions by i32.
        i32::try_from(partition_of_key(key.as_str().as_bytes(), self.partitions)).unwrap_or(0)
    }

    fn send_metadata(&self, id: ObjectId, key: &Key, encoded: &Bytes) -> Result<i64, BusError> {
        let deliveries = Deliveries::new();
        for part in parts(id, encoded) {
            let outgoing = Outgoing {
                topic: &self.metadata_topic,
                partition: self.partition(key),
                key: key.as_str(),
                headers: &[(HEADER, &part.header.to_bytes())],
                value: Some(&part.value),
            };
            self.native.send(&outgoing, &deliveries)?;
        }
        let offsets = self.native.wait(&self.metadata_topic, &deliveries)?;
        Ok(offsets.last().copied().unwrap_or(-1))
    }
}

fn same_partitions(writer: &RecordWriter, metadata: &str, pixels: &str) -> Result<u32, TransportError> {
    let (metadata_partitions, pixels_partitions) = (writer.partitions(metadata)?, writer.partitions(pixels)?);
    if metadata_partitions == pixels_partitions {
        return Ok(metadata_partitions);
    }
    let (metadata, pixels) = (metadata.to_owned(), pixels.to_owned());
    Err(TransportError::Partitions { metadata, metadata_partitions, pixels, pixels_partitions })
}

/// An object that is being sent. Dropped, it is as if it had never been.
#[derive(Debug)]
pub struct Sending<'a> {
    sender: &'a Sender,
    object_id: ObjectId,
    splitter: Splitter,
    deliveries: Arc<Deliveries>,
}

impl<'a> Sending<'a> {
    /// Of this transmission.
    #[must_use]
    pub fn object_id(&self) -> ObjectId {
        self.object_id
    }

    /// Takes the object's next bytes; waits while too much is on its way.
    ///
    /// # Errors
    /// What Kafka refuses.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), TransportError> {
        let Self { sender, object_id, splitter, deliveries } = self;
        splitter.push(piece, &mut |chunk| sender.send_chunk(*object_id, &chunk, deliveries))?;
        sender.taken_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The bytes are complete: waits until all chunks are acknowledged.
    ///
    /// # Errors
    /// What Kafka refuses.
    pub fn finish(self) -> Result<Finished<'a>, TransportError> {
        let Self { sender, object_id, splitter, deliveries } = self;
        let mut metadata = splitter.finish(&mut |chunk| sender.send_chunk(object_id, &chunk, &deliveries))?;
        metadata.set_offsets(&sender.coded.wait(&sender.pixels_topic, &deliveries)?)?;
        let encoded = metadata.encode_as(sender.framing)?;
        let identity = metadata.identity.clone();
        let key = metadata.key();
        let sent = Sent {
            object_id,
            identity: metadata.identity,
            partition: sender.partition(&key),
            key,
            offset: -1,
            bytes: metadata.file_length,
            sha256: metadata.file_sha256,
            chunks: metadata.chunks.len(),
            opaque: metadata.opaque.map(|opaque| opaque.code),
            findings: metadata.findings,
        };
        Ok(Finished { sender, encoded, identity, sent })
    }

    /// Finishes and commits the object.
    ///
    /// # Errors
    /// What Kafka refuses: then no reader sees the object.
    pub fn commit(self) -> Result<Sent, TransportError> {
        self.finish()?.commit()
    }
}

/// An object whose chunks are in Kafka and that no reader sees yet.
#[derive(Debug)]
pub struct Finished<'a> {
    sender: &'a Sender,
    encoded: Bytes,
    identity: Identity,
    sent: Sent,
}

impl Finished<'_> {
    /// SHA-256 of the object.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sent.sha256
    }

    /// What the object calls itself.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Code of the reason for which it was not cut.
    #[must_use]
    pub fn opaque(&self) -> Option<&str> {
        self.sent.opaque.as_deref()
    }

    /// Writes the record that commits the object and waits until it is acknowledged.
    ///
    /// # Errors
    /// What Kafka refuses. An error after a long silence of the brokers leaves open whether readers see the object.
    pub fn commit(self) -> Result<Sent, TransportError> {
        let Self { sender, encoded, mut sent, .. } = self;
        sent.offset = sender.send_metadata(sent.object_id, &sent.key, &encoded)?;
        Ok(sent)
    }
}

/// What differs when somebody writes to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    bytes: u64,
    modified: Option<SystemTime>,
    changed: (i64, i64),
}

impl Version {
    #[cfg(unix)]
    fn of(metadata: &FileMetadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), changed }
    }

    #[cfg(not(unix))]
    fn of(metadata: &FileMetadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), changed: (0, 0) }
    }
}
