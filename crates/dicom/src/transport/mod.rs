//! DICOM objects through Kafka: sent, received, queued for destinations, compared.
//!
//! A [`Sender`] writes an object's chunks, waits for every acknowledgement, and then writes the record that commits it:
//! what a sender leaves behind that dies in between is chunks that nobody looks for. A [`Receiver`] is a member of a
//! consumer group on the metadata; it reads chunks by their offsets, gives a file its name only when both checksums are
//! right and the disk has it, and commits an offset only when everything below it is in its place. The group is a
//! *destination*: while it is registered ([`destinations`]), [`queue`] keeps what it does not have.
//!
//! No message, error or record of this module holds a value of an attribute, nor a path made of them.

pub mod browse;
pub mod destinations;
mod error;
pub mod failed;
mod files;
mod folder;
pub mod queue;
pub(crate) mod receive;
mod send;
pub mod verify;

pub use error::TransportError;
pub use files::{FileToSend, Files, PassedOver};
pub use folder::OutFolder;
pub use receive::{Ending, Failure, Receiver, ReceiverConfig, ReceiverStats, Stored, Told};
pub use send::{Sender, Sending, Sent};

/// Which objects: as they came, or de-identified. Each has a pair of topics of its own, so rights can differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// `dicom_metadata`, `dicom_pixels`.
    #[default]
    Original,
    /// `dicom_deid_metadata`, `dicom_deid_pixels`.
    Deidentified,
}

impl Family {
    /// Base names of the topics of metadata and of pixels.
    #[must_use]
    pub fn topics(self) -> [&'static str; 2] {
        match self {
            Self::Original => [crate::record::METADATA_TOPIC, crate::record::PIXELS_TOPIC],
            Self::Deidentified => ["dicom_deid_metadata", "dicom_deid_pixels"],
        }
    }

    /// Base names of all topics that senders and receivers of it need.
    pub(crate) fn all_topics(self) -> [&'static str; 4] {
        let [metadata, pixels] = self.topics();
        [metadata, pixels, failed::FAILED_TOPIC, lumenbus_bus::topics::DESTINATIONS]
    }
}

/// The topics that [`Sender`] and [`Receiver`] need, by their base names.
pub const TOPICS: [&str; 4] = [
    crate::record::METADATA_TOPIC,
    crate::record::PIXELS_TOPIC,
    failed::FAILED_TOPIC,
    lumenbus_bus::topics::DESTINATIONS,
];
