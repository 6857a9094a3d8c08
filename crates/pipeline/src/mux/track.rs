//! The parameter sets of a stream, and what a player must be told because of them.

use super::movie::{Description, initialisation};
use super::{MuxError, configuration};
use bytes::Bytes;
use lumenbus_frame::bitstream::{NalCodec, ParameterSets, SequenceParameters, nal_units};

/// What a decoder must know of a stream before its first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    codec: NalCodec,
    sequence: SequenceParameters,
    sets: Vec<Vec<u8>>,
    configuration: Vec<u8>,
}

impl Track {
    /// Reads the parameter sets of a keyframe in Annex B.
    ///
    /// # Errors
    /// Sets that are missing, damaged, or more than MP4 can hold.
    pub fn of_keyframe(codec: NalCodec, access_unit: &[u8]) -> Result<Self, MuxError> {
        let mut known = ParameterSets::new(codec);
        for nal in nal_units(access_unit) {
            known.insert(nal)?;
        }
        let sets: Vec<Vec<u8>> = known.nal_units().map(|set| set.to_vec()).collect();
        let sequence = known.first_sequence().ok_or(MuxError::MissingParameters { what: "sequence parameter set" })?;
        let configuration = match codec {
            NalCodec::H264 => configuration::avc(&sets)?,
            NalCodec::H265 => configuration::hevc(&sets)?,
        };
        Ok(Self { codec, sequence, sets, configuration })
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> NalCodec {
        self.codec
    }

    /// What the sequence parameter set says.
    #[must_use]
    pub fn sequence(&self) -> &SequenceParameters {
        &self.sequence
    }

    /// `ftyp` and `moov`. `timescale` is in ticks per second; `delay_ticks` is what composition times were put off by
    /// so that none comes before its decode time: players then begin at the first picture (an edit list says so).
    ///
    /// # Errors
    /// A picture larger than 65,535 pixels a side.
    pub fn initialisation(&self, timescale: u32, delay_ticks: u32) -> Result<Bytes, MuxError> {
        initialisation(&self.description(), timescale, u64::from(delay_ticks), None)
    }

    /// As a sample entry.
    pub(super) fn description(&self) -> Description {
        let (entry, record) = match self.codec {
            NalCodec::H264 => (*b"avc1", *b"avcC"),
            NalCodec::H265 => (*b"hvc1", *b"hvcC"),
        };
        Description { entry, record, configuration: self.configuration.clone(), dimensions: self.sequence.dimensions }
    }

    /// Whether a keyframe brings the same parameter sets.
    pub(super) fn has_sets_of(&self, other: &Self) -> bool {
        self.sets == other.sets
    }
}
