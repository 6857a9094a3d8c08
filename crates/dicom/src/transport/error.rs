//! What goes wrong between files and Kafka.

use crate::DicomError;
use crate::record::ObjectId;
use lumenbus_bus::BusError;
use std::path::PathBuf;

/// Why an object was not sent, received or compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Kafka.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The object or its record.
    #[error(transparent)]
    Dicom(#[from] DicomError),
    /// A file or folder to be sent or compared.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A destination gets objects as they came or de-identified ones, not both.
    #[error(
        "destination {name} gets the other kind of objects (as they came, or de-identified); give this one another name"
    )]
    OtherFamily {
        /// Its name.
        name: String,
    },
    /// What has to be on record first could not be put there.
    #[error("what was done cannot be put on record, so nothing more is done: {why}")]
    NotOnRecord {
        /// What stands in the way.
        why: String,
    },
    /// Somebody wrote to a file while it was sent; no reader will see it.
    #[error("{} changed while it was read: it is not sent; send it again when its writer is done", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// A path that is no file, no folder and no pattern that anything matches.
    #[error("{}: there is no such file or folder, and nothing matches it as a pattern", path.display())]
    Nothing {
        /// As it was given.
        path: PathBuf,
    },
    /// The folder of received objects.
    #[error("cannot {what} in {} for object {object}", folder.display())]
    Write {
        /// What was tried.
        what: &'static str,
        /// The folder of all objects: the path in it would name a patient.
        folder: PathBuf,
        /// Which object.
        object: ObjectId,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The folder of received objects cannot be used at all.
    #[error("cannot use {} for received objects", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Two receivers would overwrite each other's files.
    #[error("another `lumenbus dicom receive` writes to {}; give each its own folder", folder.display())]
    FolderInUse {
        /// Which.
        folder: PathBuf,
    },
    /// Chunks are found by their metadata's partition number.
    #[error(
        "topic {metadata} has {metadata_partitions} partitions and {pixels} has {pixels_partitions}; give both as many (`kafka-topics.sh --alter`)"
    )]
    Partitions {
        /// Topic of metadata.
        metadata: String,
        /// Its partitions.
        metadata_partitions: u32,
        /// Topic of chunks.
        pixels: String,
        /// Its partitions.
        pixels_partitions: u32,
    },
    /// A name under which nothing is registered.
    #[error("there is no destination {name}; `lumenbus dicom queue list` shows those that there are")]
    UnknownDestination {
        /// As it was given.
        name: String,
    },
}
