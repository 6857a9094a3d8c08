//! Bitstream parsing: NAL units, access units and parameter sets, without decoding.
//!
//! Everything here takes bytes from outside: no length in them is believed, nothing panics, nothing loops without
//! consuming, and what is kept is bounded by the limits named beside each type.
//!
//! * [`nal_units`] and [`shared_nal_units`] walk an Annex B byte stream (H.264 and H.265, annex B).
//! * [`AccessUnitSplitter`] cuts a byte stream into access units (H.264 7.4.1.2.3, H.265 7.4.2.4.4). The two fields of
//!   one H.264 frame stay together, so that one unit is always one picture to show.
//! * [`DecoderConfiguration`] reads `avcC` and `hvcC` records (ISO/IEC 14496-15).
//! * [`Normaliser`] takes units in either form and gives Annex B units with parameter sets before every keyframe.
//! * [`DisplayOrder`] computes presentation order from picture order counts where a stream has no timestamps.
//!
//! ```
//! use bytes::Bytes;
//! use lumenbus_frame::bitstream::{content_nal_units, nal_units, NalCodec};
//!
//! let unit = Bytes::from_static(&[0, 0, 0, 1, 9, 0x10, 0, 0, 1, 0x65, 0x88, 0x80]);
//! assert_eq!(nal_units(&unit).count(), 2);
//! assert_eq!(content_nal_units(NalCodec::H264, &unit).count(), 1); // without the access unit delimiter
//! ```

mod bits;
mod boundary;
mod configuration;
mod error;
mod h264;
mod h264_order;
mod h265;
mod low_delay;
mod nal;
mod normalise;
mod order;
mod parameter_sets;
mod split;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use bits::BitError;
pub use configuration::{DecoderConfiguration, LengthSize};
pub use error::BitstreamError;
pub use low_delay::LowDelay;
pub use nal::{NalCodec, NalKind, NalUnits, SharedNalUnits, content_nal_units, nal_units, shared_nal_units};
pub use normalise::{AccessUnit, Framing, Normaliser};
pub use order::{DisplayOrder, MAX_HELD_BYTES, MAX_HELD_UNITS, PictureOrder};
pub use parameter_sets::{MAX_PARAMETER_SET_BYTES, ParameterSets, SequenceParameters};
pub use split::{AccessUnitSplitter, MAX_ACCESS_UNIT_BYTES, split_access_units};
