//! The parameter sets of one stream, kept so that any keyframe can be given them.

use super::bits::{BitError, BitResult};
use super::{BitstreamError, NalCodec, NalKind, h264, h265};
use crate::{Dimensions, FrameRate, StreamParameters};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Largest parameter set that is kept. Real ones have tens of bytes; with scaling lists, some hundreds.
pub const MAX_PARAMETER_SET_BYTES: usize = 16 * 1024;

/// What a sequence parameter set says about the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceParameters {
    /// The codec.
    pub codec: NalCodec,
    /// Size of the shown picture, after cropping.
    pub dimensions: Dimensions,
    /// Frame rate by the optional timing information.
    pub frame_rate: Option<FrameRate>,
    /// How many pictures may precede another in decode order and follow it in output order; 0 without B-frames.
    pub max_reorder: usize,
    /// RFC 6381 codec string, such as `avc1.640028` or `hev1.1.6.L93.B0`.
    pub codec_string: String,
}

impl SequenceParameters {
    /// As stream parameters with the 90 kHz timebase.
    #[must_use]
    pub fn to_stream_parameters(&self) -> StreamParameters {
        let mut parameters = StreamParameters::new(self.codec.into(), self.dimensions);
        parameters.frame_rate = self.frame_rate;
        parameters.codec_string = Some(self.codec_string.clone());
        parameters
    }
}

#[derive(Debug, Clone)]
enum Parsed {
    Video,
    H264Sequence(Box<h264::Sps>),
    H264Picture(h264::Pps),
    H265Sequence(Box<h265::Sps>),
    H265Picture(h265::Pps),
}

#[derive(Debug, Clone)]
struct Stored {
    nal: Bytes,
    parsed: Parsed,
}

/// Emission order: a set comes after those it refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Video,
    Sequence,
    Picture,
}

/// A slice header together with the sequence it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slice<'a> {
    H264(h264::Slice, &'a h264::Sps),
    H265(h265::Slice, &'a h265::Sps),
}

/// Cache of a stream's newest parameter sets, one for each kind and id.
///
/// Bounded by the ids that exist (H.264: 32 + 256; H.265: 16 + 16 + 64) times [`MAX_PARAMETER_SET_BYTES`].
#[derive(Debug, Clone)]
pub struct ParameterSets {
    codec: NalCodec,
    sets: BTreeMap<(Level, u8), Stored>,
}

impl ParameterSets {
    /// An empty cache.
    #[must_use]
    pub fn new(codec: NalCodec) -> Self {
        Self { codec, sets: BTreeMap::new() }
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> NalCodec {
        self.codec
    }

    /// Keeps a parameter set given with its NAL unit header; says whether it differs from the one it replaces.
    ///
    /// Units of other kinds are ignored.
    pub fn insert(&mut self, nal: &[u8]) -> Result<bool, BitstreamError> {
        let level = match self.codec.kind(nal) {
            Some(NalKind::VideoParameters) => Level::Video,
            Some(NalKind::SequenceParameters) => Level::Sequence,
            Some(NalKind::PictureParameters) => Level::Picture,
            _ => return Ok(false),
        };
        if self.sets.iter().any(|(key, stored)| key.0 == level && stored.nal == nal) {
            return Ok(false);
        }
        if nal.len() > MAX_PARAMETER_SET_BYTES {
            return Err(BitstreamError::ParameterSetTooLarge {
                bytes: nal.len(),
                limit_bytes: MAX_PARAMETER_SET_BYTES,
            });
        }
        let (id, parsed) =
            self.parse(level, nal).map_err(|source| BitstreamError::Malformed { what: self.name_of(level), source })?;
        // A copy, so that one small set does not keep a whole access unit alive.
        self.sets.insert((level, id), Stored { nal: Bytes::copy_from_slice(nal), parsed });
        Ok(true)
    }

    fn name_of(&self, level: Level) -> &'static str {
        match (self.codec, level) {
            (NalCodec::H264, Level::Picture) => "H.264 picture parameter set",
            (NalCodec::H264, Level::Sequence | Level::Video) => "H.264 sequence parameter set",
            (NalCodec::H265, Level::Picture) => "H.265 picture parameter set",
            (NalCodec::H265, Level::Sequence) => "H.265 sequence parameter set",
            (NalCodec::H265, Level::Video) => "H.265 video parameter set",
        }
    }

    fn parse(&self, level: Level, nal: &[u8]) -> BitResult<(u8, Parsed)> {
        let payload = nal.get(self.codec.header_bytes()..).ok_or(BitError::EndOfData)?;
        Ok(match (self.codec, level) {
            (NalCodec::H264, Level::Picture) => {
                let pps = h264::Pps::parse(payload)?;
                (pps.id, Parsed::H264Picture(pps))
            }
            (NalCodec::H264, Level::Sequence | Level::Video) => {
                let sps = h264::Sps::parse(payload)?;
                (sps.id, Parsed::H264Sequence(Box::new(sps)))
            }
            (NalCodec::H265, Level::Picture) => {
                let pps = h265::Pps::parse(payload)?;
                (pps.id, Parsed::H265Picture(pps))
            }
            (NalCodec::H265, Level::Sequence) => {
                let sps = h265::Sps::parse(payload)?;
                (sps.id, Parsed::H265Sequence(Box::new(sps)))
            }
            (NalCodec::H265, Level::Video) => (payload.first().ok_or(BitError::EndOfData)? >> 4, Parsed::Video),
        })
    }

    /// The sets as NAL units, each after those it refers to; the second value says whether it is a picture parameter set.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&Bytes, bool)> {
        self.sets.iter().map(|((level, _), stored)| (&stored.nal, *level == Level::Picture))
    }

    /// The sets as NAL units without start codes, each after those it refers to.
    pub fn nal_units(&self) -> impl Iterator<Item = &Bytes> {
        self.sets.values().map(|stored| &stored.nal)
    }

    /// What the sequence parameter set with the lowest id says.
    #[must_use]
    pub fn first_sequence(&self) -> Option<SequenceParameters> {
        self.sets.values().find_map(|stored| match &stored.parsed {
            Parsed::H264Sequence(sps) => Some(sps.describe()),
            Parsed::H265Sequence(sps) => Some(sps.describe()),
            Parsed::Video | Parsed::H264Picture(_) | Parsed::H265Picture(_) => None,
        })
    }

    fn parsed(&self, level: Level, id: u8) -> Option<&Parsed> {
        self.sets.get(&(level, id)).map(|stored| &stored.parsed)
    }

    /// The header of a slice unit; `None` when its parameter sets are unknown or it is damaged.
    pub(super) fn slice(&self, nal: &[u8]) -> Option<Slice<'_>> {
        match self.codec {
            NalCodec::H264 => {
                let Some(Parsed::H264Picture(pps)) = self.parsed(Level::Picture, h264::slice_pps_id(nal).ok()?) else {
                    return None;
                };
                let Some(Parsed::H264Sequence(sps)) = self.parsed(Level::Sequence, pps.sps_id) else {
                    return None;
                };
                h264::Slice::parse(nal, sps, *pps).ok().map(|slice| Slice::H264(slice, sps))
            }
            NalCodec::H265 => {
                let Some(Parsed::H265Picture(pps)) = self.parsed(Level::Picture, h265::slice_pps_id(nal).ok()?) else {
                    return None;
                };
                let Some(Parsed::H265Sequence(sps)) = self.parsed(Level::Sequence, pps.sps_id) else {
                    return None;
                };
                h265::Slice::parse(nal, sps, *pps).ok().map(|slice| Slice::H265(slice, sps))
            }
        }
    }
}

impl h264::Sps {
    pub(super) fn describe(&self) -> SequenceParameters {
        SequenceParameters {
            codec: NalCodec::H264,
            dimensions: self.dimensions,
            frame_rate: self.frame_rate,
            max_reorder: self.max_reorder,
            codec_string: self.codec_string(),
        }
    }
}

impl h265::Sps {
    pub(super) fn describe(&self) -> SequenceParameters {
        SequenceParameters {
            codec: NalCodec::H265,
            dimensions: self.dimensions,
            frame_rate: self.frame_rate,
            max_reorder: self.max_reorder,
            codec_string: self.codec_string(),
        }
    }
}

impl Slice<'_> {
    pub(super) fn describe(&self) -> SequenceParameters {
        match self {
            Self::H264(_, sps) => sps.describe(),
            Self::H265(_, sps) => sps.describe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_set_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..120),
            header in prop_oneof![Just(vec![0x67_u8]), Just(vec![0x68]), Just(vec![0x40, 1]), Just(vec![0x42, 1]), Just(vec![0x44, 1])],
        ) {
            let nal = [header, bytes].concat();
            for codec in [NalCodec::H264, NalCodec::H265] {
                let mut sets = ParameterSets::new(codec);
                if sets.insert(&nal) == Ok(true) {
                    prop_assert_eq!(sets.insert(&nal), Ok(false));
                    prop_assert_eq!(sets.nal_units().count(), 1);
                }
                sets.slice(&nal);
            }
        }
    }

    #[test]
    fn a_huge_set_is_refused() {
        let mut nal = vec![0xff; MAX_PARAMETER_SET_BYTES + 1];
        nal[0] = 0x67;
        let error = ParameterSets::new(NalCodec::H264).insert(&nal).unwrap_err();
        assert!(matches!(error, BitstreamError::ParameterSetTooLarge { .. }));
    }
}
