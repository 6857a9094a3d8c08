//! The camera directory `lumenbus.cameras`: which streams there are, where, and under which epoch.

mod partition;
mod reader;
mod state;
mod writer;

use crate::diagnosis::probe;
use crate::error::BusError;
use crate::topics::{self, CAMERAS};
use crate::{BusConfig, Role};
use lumenbus_frame::{CameraId, StreamId};
use lumenbus_wire::{CameraEntry, StreamEntry};
use reader::Reader;
use state::find;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use writer::Writer;

pub use partition::first_partition;
pub(crate) use partition::murmur2;
pub use reader::DirectoryWatch;
pub use state::{DirectoryEvent, MAX_CAMERAS};

/// How long a question to the directory may take.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The directory of cameras, read by a thread of its own; clones share it.
///
/// Per stream the highest epoch counts, whatever its offset. Records that are not directory entries are counted
/// ([`Directory::foreign_records`]) and logged, never fatal. At most [`MAX_CAMERAS`] cameras and 64 MiB are kept.
/// The thread ends with the last handle.
///
/// ```no_run
/// use lumenbus_bus::{BusConfig, Directory};
///
/// let directory = Directory::open(&BusConfig::new("127.0.0.1:9092"))?;
/// for (camera, entry) in directory.cameras() {
///     println!("{camera}: {} streams", entry.streams.len());
/// }
/// # Ok::<(), lumenbus_bus::BusError>(())
/// ```
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

/// Fields are dropped in this order: the writer's last records leave before the reader stops.
struct Inner {
    writer: Writer,
    reader: Reader,
    brokers: String,
}

impl Directory {
    /// Opens the directory of a publisher and reads it to its end.
    ///
    /// The topic is created when it is missing, unless [`BusConfig::keeps_topics_as_they_are`].
    ///
    /// # Errors
    /// An unusable broker, a missing topic that may not be created, or one that may not be read.
    pub fn open(config: &BusConfig) -> Result<Self, BusError> {
        topics::ensure_topics(config, &[CAMERAS])?;
        Self::start(config)
    }

    /// Opens the directory of a subscriber and reads it to its end; a missing topic counts as empty and is looked for
    /// until it appears.
    ///
    /// # Errors
    /// An unusable broker, or a topic that may not be read.
    pub fn open_reading(config: &BusConfig) -> Result<Self, BusError> {
        probe(config)?;
        Self::start(config)
    }

    fn start(config: &BusConfig) -> Result<Self, BusError> {
        let directory = Self::begin(config)?;
        directory.wait_for_beginning(config)?;
        Ok(directory)
    }

    /// Begins to read, as [`open_reading`](Self::open_reading) of a broker that is known to be usable, and does not wait
    /// for the end.
    pub(crate) fn begin(config: &BusConfig) -> Result<Self, BusError> {
        let reader = Reader::start(config)?;
        let writer = Writer::new(config);
        Ok(Self { inner: Arc::new(Inner { writer, reader, brokers: config.brokers.clone() }) })
    }

    /// Waits until what was there when reading began has been read.
    pub(crate) fn wait_for_beginning(&self, config: &BusConfig) -> Result<(), BusError> {
        let read = self.inner.reader.wait_for_beginning(READ_TIMEOUT);
        read.map_err(|error| crate::diagnosis::prefer_diagnosis(error, config))
    }

    /// What is known of a camera.
    #[must_use]
    pub fn entry(&self, camera: &CameraId) -> Option<CameraEntry> {
        self.inner.reader.look(|cameras| cameras.get(camera).cloned())
    }

    /// What is known of a stream: the entry with the highest epoch.
    #[must_use]
    pub fn stream(&self, stream: &StreamId) -> Option<StreamEntry> {
        self.inner.reader.look(|cameras| find(cameras.get(&stream.camera)?, stream).cloned())
    }

    /// Every camera known, in the order of their ids.
    #[must_use]
    pub fn cameras(&self) -> Vec<(CameraId, CameraEntry)> {
        self.inner
            .reader
            .look(|cameras| cameras.iter().map(|(camera, entry)| (camera.clone(), entry.clone())).collect())
    }

    /// Reads up to what is the end of the topic now.
    ///
    /// # Errors
    /// When the end cannot be learnt or reached within 10 s; when called from a callback of [`Directory::on_change`].
    pub fn sync(&self) -> Result<(), BusError> {
        self.inner.reader.sync(READ_TIMEOUT)
    }

    /// Enters a stream: merges it into the newest known entry of its camera, as [`Directory::update`] does.
    ///
    /// # Errors
    /// [`BusError::Superseded`] when the directory knows a higher epoch of the stream; else as [`Directory::update`].
    pub fn put_stream(&self, camera: &CameraId, stream: StreamEntry) -> Result<(), BusError> {
        let id = StreamId { camera: camera.clone(), topic: stream.topic.clone(), name: stream.name.clone() };
        self.write(camera, |entry| {
            match find(entry, &id) {
                Some(known) if known.epoch > stream.epoch => {
                    return Err(BusError::Superseded { stream: id, ours: stream.epoch, theirs: known.epoch });
                }
                Some(_) | None => state::put(entry, stream),
            }
            Ok(())
        })
    }

    /// Changes the newest known entry of a camera (an empty one when unknown), writes it, waits until every in-sync
    /// replica has it and until it was read back. Writes through one directory keep their order.
    ///
    /// # Errors
    /// When it is not acknowledged in time (it may still have been written), is beyond the limits of an entry, or when
    /// called from a callback of [`Directory::on_change`].
    pub fn update(&self, camera: &CameraId, change: impl FnOnce(&mut CameraEntry)) -> Result<(), BusError> {
        self.write(camera, |entry| {
            change(entry);
            Ok(())
        })
    }

    fn write(
        &self,
        camera: &CameraId,
        change: impl FnOnce(&mut CameraEntry) -> Result<(), BusError>,
    ) -> Result<(), BusError> {
        let Inner { reader, writer, .. } = &*self.inner;
        reader.refuse_in_callback("directory update")?;
        let turn = writer.turn();
        let mut entry = self.entry(camera).unwrap_or_default();
        change(&mut entry)?;
        let offset = writer.write(&turn, camera, &entry)?;
        // Read back before the next turn, so that it builds on this entry.
        reader.wait_past(offset, READ_TIMEOUT)
    }

    /// Calls back for every record read from now on, in log order, on the directory's thread: also for entries with an
    /// epoch lower than known. It must be quick and must not write to or sync the directory. A panic in it is logged.
    ///
    /// Callbacks end when the returned watch is dropped.
    #[must_use]
    pub fn on_change(&self, callback: Arc<dyn Fn(&DirectoryEvent) + Send + Sync>) -> DirectoryWatch {
        self.inner.reader.watch(callback)
    }

    /// How many records of the topic were left out because they are not entries, or beyond a limit.
    #[must_use]
    pub fn foreign_records(&self) -> u64 {
        self.inner.reader.foreign_records()
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cameras = self.inner.reader.look(|cameras| cameras.iter().count());
        f.debug_struct("Directory").field("brokers", &self.inner.brokers).field("cameras", &cameras).finish()
    }
}

/// librdkafka's configuration of the directory's reader.
pub(crate) fn reader_config(config: &BusConfig) -> rdkafka::ClientConfig {
    let mut client = config.client_config(Role::Admin);
    client
        // librdkafka assigns partitions only to a consumer with a group; nothing is ever joined or committed.
        .set("group.id", "lumenbus-directory")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        // A transaction that somebody left open in this topic must not hide the entries behind it.
        .set("isolation.level", "read_uncommitted")
        // A question about the end waits behind the fetch on its connection.
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "4096");
    client
}
