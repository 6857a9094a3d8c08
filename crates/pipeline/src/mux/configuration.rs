//! Decoder configuration records (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1): parameter sets and what they say.

use super::MuxError;
use super::boxes::Boxes;
use super::rbsp::{EndOfPayload, Rbsp};
use lumenbus_frame::bitstream::{NalCodec, NalKind};

/// Bytes of a sequence parameter set that are looked at: what is needed stands before its variable parts.
const LOOKED_AT: usize = 512;
/// H.265 NAL unit types of parameter sets, as the record's arrays name them.
const H265_ARRAYS: [(NalKind, u8); 3] =
    [(NalKind::VideoParameters, 32), (NalKind::SequenceParameters, 33), (NalKind::PictureParameters, 34)];

/// The parameter sets of one kind, in their order.
fn of_kind(codec: NalCodec, sets: &[Vec<u8>], kind: NalKind) -> impl Iterator<Item = &[u8]> + Clone {
    sets.iter().map(Vec::as_slice).filter(move |set| codec.kind(set) == Some(kind))
}

fn nal(boxes: &mut Boxes, set: &[u8]) -> Result<(), MuxError> {
    boxes.u16(narrow("a parameter set", set.len())?);
    boxes.bytes(set);
    Ok(())
}

fn narrow<T: TryFrom<usize>>(what: &'static str, value: usize) -> Result<T, MuxError> {
    let limit = if size_of::<T>() == 1 { 31 } else { u64::from(u16::MAX) };
    let too_large = || MuxError::TooLarge { what, value: value as u64, limit };
    if value as u64 > limit { Err(too_large()) } else { T::try_from(value).map_err(|_| too_large()) }
}

/// The content of an `avcC` box.
pub(super) fn avc(sets: &[Vec<u8>]) -> Result<Vec<u8>, MuxError> {
    let sequence = of_kind(NalCodec::H264, sets, NalKind::SequenceParameters);
    let picture = of_kind(NalCodec::H264, sets, NalKind::PictureParameters);
    let first = sequence.clone().next().ok_or(MuxError::MissingParameters { what: "sequence parameter set" })?;
    if picture.clone().next().is_none() {
        return Err(MuxError::MissingParameters { what: "picture parameter set" });
    }
    let truncated = |_: EndOfPayload| MuxError::Truncated { what: "H.264 sequence parameter set" };
    let mut bits = Rbsp::new(first.get(1..).unwrap_or_default(), LOOKED_AT);
    let profile = bits.front(3).map_err(truncated)?.to_vec();
    let mut boxes = Boxes::default();
    boxes.bytes(&[1]);
    boxes.bytes(&profile);
    boxes.bytes(&[0xff, 0xe0 | narrow::<u8>("the number of sequence parameter sets", sequence.clone().count())?]);
    sequence.clone().try_for_each(|set| nal(&mut boxes, set))?;
    // The field has eight bits; a stream with more than 31 of them is no stream of a camera.
    boxes.bytes(&[narrow::<u8>("the number of picture parameter sets", picture.clone().count())?]);
    picture.clone().try_for_each(|set| nal(&mut boxes, set))?;
    if !matches!(profile[0], 66 | 77 | 88) {
        bits.skip(24);
        boxes.bytes(&avc_extension(&mut bits).map_err(truncated)?);
    }
    Ok(boxes.finish())
}

/// Chroma format and bit depths, which the high profiles repeat; no extension sets.
fn avc_extension(bits: &mut Rbsp) -> Result<[u8; 4], EndOfPayload> {
    bits.ue()?; // seq_parameter_set_id
    let chroma = bits.ue()?;
    if chroma == 3 {
        bits.bits(1)?; // separate_colour_plane_flag
    }
    let (luma, chroma_depth) = (bits.ue()?, bits.ue()?);
    Ok([0xfc | low(chroma, 3), 0xf8 | low(luma, 7), 0xf8 | low(chroma_depth, 7), 0])
}

fn low(value: u32, mask: u8) -> u8 {
    u8::try_from(value & u32::from(mask)).unwrap_or(0)
}

/// The content of an `hvcC` box.
pub(super) fn hevc(sets: &[Vec<u8>]) -> Result<Vec<u8>, MuxError> {
    for (kind, what) in [
        (NalKind::VideoParameters, "video parameter set"),
        (NalKind::SequenceParameters, "sequence parameter set"),
        (NalKind::PictureParameters, "picture parameter set"),
    ] {
        if of_kind(NalCodec::H265, sets, kind).next().is_none() {
            return Err(MuxError::MissingParameters { what });
        }
    }
    let first = of_kind(NalCodec::H265, sets, NalKind::SequenceParameters).next().unwrap_or_default();
    let facts = HevcFacts::read(first.get(2..).unwrap_or_default())
        .map_err(|_| MuxError::Truncated { what: "H.265 sequence parameter set" })?;
    let mut boxes = Boxes::default();
    boxes.bytes(&[1]);
    boxes.bytes(&facts.profile_tier_level);
    boxes.u16(0xf000); // min_spatial_segmentation_idc: unknown
    boxes.bytes(&[0xfc, 0xfc | facts.chroma, 0xf8 | facts.luma_depth, 0xf8 | facts.chroma_depth]);
    boxes.u16(0); // avgFrameRate: unknown
    // constantFrameRate 0, numTemporalLayers, temporalIdNested, lengths of four bytes.
    boxes.bytes(&[facts.temporal_layers << 3 | facts.is_nested << 2 | 3]);
    boxes.bytes(&[3]);
    for (kind, number) in H265_ARRAYS {
        let of_kind = of_kind(NalCodec::H265, sets, kind);
        boxes.bytes(&[0x80 | number]);
        boxes.u16(narrow("the number of parameter sets", of_kind.clone().count())?);
        of_kind.clone().try_for_each(|set| nal(&mut boxes, set))?;
    }
    Ok(boxes.finish())
}

/// H.265 7.3.2.2 up to the bit depths.
struct HevcFacts {
    profile_tier_level: Vec<u8>,
    temporal_layers: u8,
    is_nested: u8,
    chroma: u8,
    luma_depth: u8,
    chroma_depth: u8,
}

impl HevcFacts {
    fn read(payload: &[u8]) -> Result<Self, EndOfPayload> {
        let mut bits = Rbsp::new(payload, LOOKED_AT);
        let profile_tier_level = bits.front(13)?[1..].to_vec();
        bits.skip(4); // sps_video_parameter_set_id
        let sub_layers = bits.bits(3)?;
        let is_nested = low(bits.bits(1)?, 1);
        bits.skip(96);
        skip_sub_layers(&mut bits, sub_layers)?;
        bits.ue()?; // sps_seq_parameter_set_id
        let chroma = bits.ue()?;
        if chroma == 3 {
            bits.bits(1)?; // separate_colour_plane_flag
        }
        bits.ue()?; // pic_width_in_luma_samples
        bits.ue()?; // pic_height_in_luma_samples
        if bits.bits(1)? == 1 {
            for _ in 0..4 {
                bits.ue()?; // conformance window
            }
        }
        let (luma_depth, chroma_depth) = (low(bits.ue()?, 7), low(bits.ue()?, 7));
        let temporal_layers = low(sub_layers + 1, 7);
        Ok(Self { profile_tier_level, temporal_layers, is_nested, chroma: low(chroma, 3), luma_depth, chroma_depth })
    }
}

/// The rest of profile_tier_level (H.265 7.3.3).
fn skip_sub_layers(bits: &mut Rbsp, sub_layers: u32) -> Result<(), EndOfPayload> {
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.bits(1)? == 1, bits.bits(1)? == 1));
    }
    if sub_layers > 0 {
        bits.skip(usize::try_from(8 - sub_layers).unwrap_or(0) * 2);
    }
    for (has_profile, has_level) in present {
        bits.skip(if has_profile { 88 } else { 0 } + if has_level { 8 } else { 0 });
    }
    Ok(())
}
