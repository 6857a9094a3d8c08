//! What can be wrong with a coded stream.

use super::bits::BitError;

/// A defect in bytes that came from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitstreamError {
    /// A header could not be read.
    #[error("{what} is damaged: {source}")]
    Malformed {
        /// What was being read, such as `H.264 sequence parameter set`.
        what: &'static str,
        /// What was wrong with it.
        #[source]
        source: BitError,
    },
    /// One access unit, or what lies between two start codes, is larger than any decoder would take.
    #[error(
        "an access unit exceeds {limit_bytes} bytes; {lost_units} access units were given up before the next keyframe"
    )]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
        /// Units left out, the large one included.
        lost_units: u64,
    },
    /// A length prefix points past the end of its access unit.
    #[error("a NAL unit at byte {offset} claims {claimed} bytes, the access unit has only {left} left")]
    BadLength {
        /// Position of the length prefix in the access unit.
        offset: usize,
        /// The length it states.
        claimed: u64,
        /// Bytes that follow it.
        left: usize,
    },
    /// A parameter set larger than the limit.
    #[error("a parameter set of {bytes} bytes exceeds the limit of {limit_bytes}")]
    ParameterSetTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// A keyframe whose parameter sets nobody sent.
    #[error("a keyframe came without parameter sets, and none came before it; the stream cannot be decoded from here")]
    NoParameterSets,
    /// An access unit without a picture.
    #[error("an access unit of {bytes} bytes holds no picture")]
    NoPicture {
        /// Its size.
        bytes: usize,
    },
}
