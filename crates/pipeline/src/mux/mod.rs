//! Fragmented MP4 out of access units (ISO/IEC 14496-12 and 14496-15).
//!
//! [`Track`] reads the parameter sets of a keyframe and writes the initialisation segment; [`media_segment`] writes
//! samples; [`LiveMuxer`] does both for a stream as it comes, one segment per frame, for Media Source in a browser;
//! [`recording`] writes files. The coded pictures are not touched: start codes become lengths, and parameter sets move
//! into the initialisation segment.
//!
//! ```
//! use lumenbus_frame::bitstream::NalCodec;
//! use lumenbus_pipeline::mux::{LiveFrame, LiveMuxer};
//!
//! let mut muxer = LiveMuxer::new(NalCodec::H264);
//! // Not before a keyframe.
//! let delta = LiveFrame { access_unit: &[0, 0, 0, 1, 0x41, 0x9a], pts_micros: 0, is_keyframe: false, begins_anew: false };
//! assert!(muxer.push(&delta)?.is_none());
//! # Ok::<(), lumenbus_pipeline::mux::MuxError>(())
//! ```

mod av1;
mod boxes;
mod configuration;
mod decode_order;
mod live;
mod movie;
pub(crate) mod presentation;
mod rbsp;
pub mod recording;
mod segment;
mod timeline;
mod track;

pub use live::{LiveFrame, LiveMuxer, Muxed};
pub use segment::{Sample, media_segment};
pub use timeline::{Timed, Timeline};
pub use track::Track;

use lumenbus_frame::bitstream::BitstreamError;

/// Why a stream cannot be put into MP4.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// A keyframe without the parameter sets that its decoder needs.
    #[error("the keyframe has no {what}: it cannot be played from here")]
    MissingParameters {
        /// Which set is missing.
        what: &'static str,
    },
    /// A parameter set that cannot be read.
    #[error("the keyframe's parameter sets cannot be read")]
    Parameters(#[from] BitstreamError),
    /// A parameter set that ends too early for what it claims to hold.
    #[error("the {what} ends too early")]
    Truncated {
        /// Which set.
        what: &'static str,
    },
    /// More than an MP4 file can say.
    #[error("{what} is {value}; MP4 can hold {limit}")]
    TooLarge {
        /// Which field.
        what: &'static str,
        /// As it is.
        value: u64,
        /// The field's limit.
        limit: u64,
    },
}
