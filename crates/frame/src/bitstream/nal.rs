//! NAL units of an Annex B byte stream, and what kind they are.

use crate::Codec;
use bytes::Bytes;

/// A codec whose streams are made of NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NalCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

impl From<NalCodec> for Codec {
    fn from(codec: NalCodec) -> Self {
        match codec {
            NalCodec::H264 => Self::H264,
            NalCodec::H265 => Self::H265,
        }
    }
}

/// What a NAL unit holds, as far as access units and parameter sets are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NalKind {
    /// Coded picture data of the base layer, with a slice header.
    Slice,
    /// H.265 video parameter set.
    VideoParameters,
    /// Sequence parameter set.
    SequenceParameters,
    /// Picture parameter set.
    PictureParameters,
    /// Access unit delimiter.
    Delimiter,
    /// Supplemental enhancement information that precedes the picture.
    Supplemental,
    /// Anything else that, after a picture, can only belong to the next access unit.
    Prefix,
    /// Anything else that belongs to the current access unit.
    Other,
}

impl NalKind {
    /// Whether such a unit, coming after picture data, begins the next access unit.
    pub(super) fn begins_unit(self) -> bool {
        !matches!(self, Self::Slice | Self::Other)
    }

    /// Whether it is a parameter set.
    #[must_use]
    pub fn is_parameter_set(self) -> bool {
        matches!(self, Self::VideoParameters | Self::SequenceParameters | Self::PictureParameters)
    }
}

impl NalCodec {
    /// Bytes of the NAL unit header.
    pub(super) fn header_bytes(self) -> usize {
        match self {
            Self::H264 => 1,
            Self::H265 => 2,
        }
    }

    /// The kind of a NAL unit given with its header; `None` when it is too short to have one.
    #[must_use]
    pub fn kind(self, nal: &[u8]) -> Option<NalKind> {
        match self {
            Self::H264 => nal.first().map(|&header| h264_kind(header & 0x1f)),
            Self::H265 => {
                let layer = (nal.first()? & 1) << 5 | nal.get(1)? >> 3;
                // Higher layers (scalability, multiview) belong to the unit of their base layer.
                nal.first().map(|&header| if layer == 0 { h265_kind(header >> 1 & 0x3f) } else { NalKind::Other })
            }
        }
    }
}

/// H.264 table 7-1 and 7.4.1.2.3.
fn h264_kind(nal_unit_type: u8) -> NalKind {
    match nal_unit_type {
        1 | 2 | 5 => NalKind::Slice,
        6 => NalKind::Supplemental,
        7 => NalKind::SequenceParameters,
        8 => NalKind::PictureParameters,
        9 => NalKind::Delimiter,
        14..=18 => NalKind::Prefix,
        _ => NalKind::Other,
    }
}

/// H.265 table 7-1 and 7.4.2.4.4.
fn h265_kind(nal_unit_type: u8) -> NalKind {
    match nal_unit_type {
        0..=9 | 16..=21 => NalKind::Slice,
        32 => NalKind::VideoParameters,
        33 => NalKind::SequenceParameters,
        34 => NalKind::PictureParameters,
        35 => NalKind::Delimiter,
        39 => NalKind::Supplemental,
        41..=44 | 48..=55 => NalKind::Prefix,
        _ => NalKind::Other,
    }
}

/// Position of the next `00 00 01` at or after `from`.
pub(super) fn find_start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    // Looks at the third byte first: most positions are ruled out three at a time.
    while let Some(&third) = bytes.get(at + 2) {
        match third {
            0 => at += 1,
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => return Some(at),
            _ => at += 3,
        }
    }
    None
}

/// The NAL units between start codes, in order; see [`nal_units`].
#[derive(Debug, Clone)]
pub struct NalUnits<'a> {
    bytes: &'a [u8],
    /// First byte of the next unit; `None` at the end.
    start: Option<usize>,
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some(start) = self.start {
            let code = find_start_code(self.bytes, start);
            self.start = code.map(|at| at + 3);
            let nal = trim_zeros(&self.bytes[start..code.unwrap_or(self.bytes.len())]);
            if !nal.is_empty() {
                return Some(nal);
            }
        }
        None
    }
}

/// A NAL unit never ends in a zero byte (H.264 7.4.1); what does is padding or the next start code's beginning.
pub(super) fn trim_zeros(nal: &[u8]) -> &[u8] {
    let length = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &nal[..length]
}

/// The NAL units of an Annex B byte stream, without start codes, padding and empty units.
///
/// Bytes before the first start code are left out.
#[must_use]
pub fn nal_units(stream: &[u8]) -> NalUnits<'_> {
    NalUnits { bytes: stream, start: find_start_code(stream, 0).map(|at| at + 3) }
}

/// The NAL units of a stream as slices of the same allocation; see [`shared_nal_units`].
#[derive(Debug, Clone)]
pub struct SharedNalUnits<'a> {
    stream: &'a Bytes,
    units: NalUnits<'a>,
}

impl Iterator for SharedNalUnits<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.units.next().map(|nal| self.stream.slice_ref(nal))
    }
}

/// Like [`nal_units`], but each unit shares the stream's allocation.
#[must_use]
pub fn shared_nal_units(stream: &Bytes) -> SharedNalUnits<'_> {
    SharedNalUnits { stream, units: nal_units(stream) }
}

/// The NAL units that a repackaging must keep: all but delimiters and parameter sets.
///
/// Two access units with equal content units decode to the same picture, given the same parameter sets.
pub fn content_nal_units(codec: NalCodec, unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    nal_units(unit)
        .filter(move |nal| codec.kind(nal).is_some_and(|kind| kind != NalKind::Delimiter && !kind.is_parameter_set()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive_find(bytes: &[u8], from: usize) -> Option<usize> {
        (from..bytes.len().saturating_sub(2)).find(|&at| bytes[at..at + 3] == [0, 0, 1])
    }

    proptest! {
        #[test]
        fn the_fast_search_finds_what_the_slow_one_finds(
            bytes in proptest::collection::vec(prop_oneof![3 => Just(0_u8), 2 => Just(1), 1 => any::<u8>()], 0..64),
            from in 0_usize..8,
        ) {
            prop_assert_eq!(find_start_code(&bytes, from), naive_find(&bytes, from));
        }

        #[test]
        fn joined_units_are_split_into_the_same_units(
            nals in proptest::collection::vec(proptest::collection::vec(4_u8.., 1..20), 0..12),
            long_codes in any::<u16>(),
            padding in 0_usize..4,
        ) {
            let mut stream = Vec::new();
            for (at, nal) in nals.iter().enumerate() {
                if long_codes >> (at % 16) & 1 == 1 {
                    stream.push(0);
                }
                stream.extend_from_slice(&[0, 0, 1]);
                stream.extend_from_slice(nal);
                stream.extend(std::iter::repeat_n(0, padding));
            }
            let stream = Bytes::from(stream);
            prop_assert_eq!(nal_units(&stream).map(<[u8]>::to_vec).collect::<Vec<_>>(), nals.clone());
            prop_assert_eq!(shared_nal_units(&stream).map(|nal| nal.to_vec()).collect::<Vec<_>>(), nals);
        }
    }

    #[test]
    fn empty_units_and_a_lead_in_are_left_out() {
        assert_eq!(nal_units(&[7, 7, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1]).count(), 0);
        assert_eq!(nal_units(&[7, 0, 0, 1, 5]).collect::<Vec<_>>(), [[5]]);
        assert_eq!(nal_units(&[]).count(), 0);
    }

    #[test]
    fn layers_above_the_base_are_not_slices() {
        assert_eq!(NalCodec::H265.kind(&[1 << 1, 1]), Some(NalKind::Slice));
        assert_eq!(NalCodec::H265.kind(&[1 << 1, 1 << 3 | 1]), Some(NalKind::Other));
        assert_eq!(NalCodec::H265.kind(&[0x40]), None);
    }
}
