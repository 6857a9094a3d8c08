//! Why an object could not be delivered.

use crate::DicomError;
use crate::record::ObjectId;
use crate::transport::TransportError;
use crate::transport::folder::{is_full, is_in_the_way};
use lumenbus_bus::BusError;

/// Why an object could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A record without the header `lbd`.
    #[error("the record has no `lbd` header: it was not written by lumenbus")]
    Foreign,
    /// A chunk that Kafka does not have.
    #[error(
        "chunk {index} of object {object} is not at offset {offset} of its topic: it was deleted, or never written"
    )]
    MissingChunk {
        /// Whose.
        object: ObjectId,
        /// Which.
        index: u32,
        /// Where it should be.
        offset: i64,
    },
    /// What is wrong with the records.
    #[error(transparent)]
    Record(#[from] DicomError),
    /// Its path, also the distinct one, belongs to something else.
    #[error("the place of object {object} in the folder is taken by something else")]
    PlaceTaken {
        /// Whose place.
        object: ObjectId,
    },
    /// The metadata is not there any more.
    #[error("the metadata of the object is not in its topic any more")]
    MissingMetadata,
}

impl Failure {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Foreign => "foreign-record",
            Self::MissingChunk { .. } => "missing-chunk",
            Self::PlaceTaken { .. } => "place-taken",
            Self::MissingMetadata => "missing-metadata",
            Self::Record(error) => match error {
                DicomError::HeaderVersion { .. } | DicomError::Schema { .. } => "newer-version",
                DicomError::Chunk { .. } | DicomError::WrongChunk { .. } => "damaged-chunk",
                DicomError::Checksum { .. } => "checksum",
                DicomError::Part { .. } => "incomplete-metadata",
                DicomError::TooLarge { .. } => "too-large",
                _ => "damaged-metadata",
            },
        }
    }

    pub(super) fn chunk(&self) -> Option<u32> {
        match self {
            Self::MissingChunk { index, .. } | Self::Record(DicomError::Chunk { index, .. }) => Some(*index),
            Self::Record(DicomError::WrongChunk { expected, .. }) => Some(*expected),
            _ => None,
        }
    }

    /// Whether a second look may see something else.
    pub(super) fn is_worth_another_look(&self) -> bool {
        matches!(
            self,
            Self::MissingChunk { .. }
                | Self::Record(DicomError::Chunk { .. } | DicomError::WrongChunk { .. } | DicomError::Checksum { .. })
        )
    }
}

/// Why an object is not in its place.
pub(super) enum Trouble {
    Object(Failure),
    Away(BusError),
    Full(TransportError),
    Fatal(TransportError),
    /// The partition went to another member.
    Lost,
    Stopped,
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        match error {
            error if is_full(&error) => Self::Full(error),
            TransportError::Bus(error) if is_passing(&error) => Self::Away(error),
            TransportError::Write { object, source, .. } if is_in_the_way(&source) => {
                Self::Object(Failure::PlaceTaken { object })
            }
            TransportError::Dicom(error) if !matches!(error, DicomError::Write { .. }) => {
                Self::Object(Failure::Record(error))
            }
            error => Self::Fatal(error),
        }
    }
}

pub(super) fn is_passing(error: &BusError) -> bool {
    error.is_broker_trouble() && !matches!(error, BusError::NotAuthorised { .. })
}
