//! H.265 parameter sets and slice headers (ITU-T H.265, 7.3.2.2, 7.3.2.3, 7.3.6.1, annex E).

use super::bits::{BitError, BitReader, BitResult};
use super::h264::{frame_rate, skip_vui_colour};
use crate::{Dimensions, FrameRate};

/// Largest width and height that is believed.
const MAX_SIDE: u32 = 32_768;

/// `profile_tier_level` (7.3.3) of the whole stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProfileTierLevel {
    space: u8,
    high_tier: bool,
    profile: u8,
    compatibility: u32,
    constraints: [u8; 6],
    level: u8,
}

/// A sequence parameter set, as far as it matters without decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) id: u8,
    profile: ProfileTierLevel,
    pub(super) dimensions: Dimensions,
    pub(super) log2_max_order: u32,
    separate_colour_planes: bool,
    pub(super) frame_rate: Option<FrameRate>,
    pub(super) max_reorder: usize,
    /// Highest temporal layer.
    pub(super) max_temporal_id: u8,
}

impl Sps {
    /// Parses the unit after its two-byte header.
    pub(super) fn parse(payload: &[u8]) -> BitResult<Self> {
        let r = &mut BitReader::new(payload);
        r.skip(4)?; // sps_video_parameter_set_id
        let max_temporal_id = r.bits(3)?.to_be_bytes()[3];
        if max_temporal_id > 6 {
            return Err(BitError::OutOfRange { field: "sps_max_sub_layers_minus1", value: u32::from(max_temporal_id) });
        }
        r.flag()?; // sps_temporal_id_nesting_flag
        let profile = read_profile(r, max_temporal_id)?;
        let id = r.ue_byte("sps_seq_parameter_set_id", 15)?;
        let chroma_format = r.ue_max("chroma_format_idc", 3)?;
        let separate_colour_planes = chroma_format == 3 && r.flag()?;
        let coded = Dimensions::new(
            r.ue_max("pic_width_in_luma_samples", MAX_SIDE)?,
            r.ue_max("pic_height_in_luma_samples", MAX_SIDE)?,
        );
        let dimensions = read_window(r, if separate_colour_planes { 0 } else { chroma_format }, coded)?;
        r.ue_max("bit_depth_luma_minus8", 8)?;
        r.ue_max("bit_depth_chroma_minus8", 8)?;
        let log2_max_order = r.ue_max("log2_max_pic_order_cnt_lsb_minus4", 12)? + 4;
        let max_reorder = read_reorder(r, max_temporal_id)?;
        // What follows only serves to find the frame rate: a set that ends early is still usable.
        let frame_rate = read_rate(r, log2_max_order).unwrap_or(None);
        Ok(Self {
            id,
            profile,
            dimensions,
            log2_max_order,
            separate_colour_planes,
            frame_rate,
            max_reorder,
            max_temporal_id,
        })
    }

    /// ISO/IEC 14496-15, annex E.3.
    pub(super) fn codec_string(&self) -> String {
        let p = &self.profile;
        let space = ["", "A", "B", "C"][usize::from(p.space & 3)];
        let tier = if p.high_tier { 'H' } else { 'L' };
        let mut text = format!("hev1.{space}{}.{:X}.{tier}{}", p.profile, p.compatibility.reverse_bits(), p.level);
        let used = p.constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        for byte in &p.constraints[..used] {
            text.push_str(&format!(".{byte:X}"));
        }
        text
    }
}

fn read_profile(r: &mut BitReader<'_>, max_temporal_id: u8) -> BitResult<ProfileTierLevel> {
    let space = r.bits(2)?.to_be_bytes()[3];
    let high_tier = r.flag()?;
    let profile = r.bits(5)?.to_be_bytes()[3];
    let compatibility = r.bits(32)?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = r.byte()?;
    }
    let level = r.byte()?;
    let mut present = Vec::with_capacity(6);
    for _ in 0..max_temporal_id {
        present.push((r.flag()?, r.flag()?));
    }
    if max_temporal_id > 0 {
        r.skip(u32::from(8 - max_temporal_id) * 2)?;
    }
    for (with_profile, with_level) in present {
        r.skip(if with_profile { 88 } else { 0 } + if with_level { 8 } else { 0 })?;
    }
    Ok(ProfileTierLevel { space, high_tier, profile, compatibility, constraints, level })
}

fn read_window(r: &mut BitReader<'_>, chroma_format: u32, coded: Dimensions) -> BitResult<Dimensions> {
    let (mut width, mut height) = (Some(coded.width), Some(coded.height));
    if r.flag()? {
        let unit_x = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma_format == 1 { 2 } else { 1 };
        let (left, right, top, bottom) = (r.ue()?, r.ue()?, r.ue()?, r.ue()?);
        width = coded.width.checked_sub(left.saturating_add(right).saturating_mul(unit_x));
        height = coded.height.checked_sub(top.saturating_add(bottom).saturating_mul(unit_y));
    }
    match (width, height) {
        (Some(width @ 1..), Some(height @ 1..)) => Ok(Dimensions::new(width, height)),
        _ => Err(BitError::OutOfRange { field: "conformance window", value: coded.width }),
    }
}

fn read_reorder(r: &mut BitReader<'_>, max_temporal_id: u8) -> BitResult<usize> {
    let first = if r.flag()? { 0 } else { max_temporal_id };
    let mut reorder = 0;
    for _ in first..=max_temporal_id {
        r.ue()?; // sps_max_dec_pic_buffering_minus1
        reorder = r.ue_byte("sps_max_num_reorder_pics", 16)?;
        r.ue()?; // sps_max_latency_increase_plus1
    }
    Ok(usize::from(reorder))
}

/// From the block sizes to the timing in annex E.2.1.
fn read_rate(r: &mut BitReader<'_>, log2_max_order: u32) -> BitResult<Option<FrameRate>> {
    for _ in 0..6 {
        r.ue()?; // block sizes and hierarchy depths
    }
    if r.flag()? && r.flag()? {
        skip_scaling_lists(r)?;
    }
    r.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if r.flag()? {
        r.skip(8)?; // PCM bit depths
        r.ue()?;
        r.ue()?;
        r.flag()?;
    }
    skip_reference_sets(r)?;
    if r.flag()? {
        for _ in 0..r.ue_max("num_long_term_ref_pics_sps", 32)? {
            r.skip(log2_max_order + 1)?;
        }
    }
    r.skip(2)?; // temporal MVP, strong intra smoothing
    if !r.flag()? {
        return Ok(None);
    }
    skip_vui_colour(r)?;
    r.flag()?; // neutral_chroma_indication_flag
    let fields = r.flag()?;
    r.flag()?; // frame_field_info_present_flag
    if r.flag()? {
        for _ in 0..4 {
            r.ue()?; // default display window
        }
    }
    if !r.flag()? {
        return Ok(None);
    }
    let (units, scale) = (r.bits(32)?, r.bits(32)?);
    Ok(frame_rate(scale, u64::from(units) * if fields { 2 } else { 1 }))
}

/// 7.3.4.
fn skip_scaling_lists(r: &mut BitReader<'_>) -> BitResult<()> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !r.flag()? {
                r.ue()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            if size > 1 {
                r.se()?;
            }
            for _ in 0..64.min(1 << (4 + 2 * size)) {
                r.se()?;
            }
        }
    }
    Ok(())
}

/// 7.3.7: short-term reference picture sets; each may be predicted from the one before.
fn skip_reference_sets(r: &mut BitReader<'_>) -> BitResult<()> {
    let count = r.ue_max("num_short_term_ref_pic_sets", 64)?;
    let mut pictures = 0_u32;
    for set in 0..count {
        if set > 0 && r.flag()? {
            r.flag()?; // delta_rps_sign
            r.ue()?; // abs_delta_rps_minus1
            let mut kept = 0;
            for _ in 0..=pictures {
                let used = r.flag()?;
                kept += u32::from(used || r.flag()?);
            }
            pictures = kept;
        } else {
            pictures = r.ue_max("num_negative_pics", 16)? + r.ue_max("num_positive_pics", 16)?;
            for _ in 0..pictures {
                r.ue()?;
                r.flag()?;
            }
        }
    }
    Ok(())
}

/// A picture parameter set, as far as slice headers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pps {
    pub(super) id: u8,
    pub(super) sps_id: u8,
    output_flag_present: bool,
    extra_slice_header_bits: u32,
}

impl Pps {
    /// Parses the unit after its two-byte header.
    pub(super) fn parse(payload: &[u8]) -> BitResult<Self> {
        let r = &mut BitReader::new(payload);
        let id = r.ue_byte("pps_pic_parameter_set_id", 63)?;
        let sps_id = r.ue_byte("pps_seq_parameter_set_id", 15)?;
        r.flag()?; // dependent_slice_segments_enabled_flag
        Ok(Self { id, sps_id, output_flag_present: r.flag()?, extra_slice_header_bits: r.bits(3)? })
    }
}

/// The beginning of a slice segment header, with the NAL unit header's facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) nal_type: u8,
    pub(super) temporal_id: u8,
    pub(super) is_first_in_picture: bool,
    /// Low bits of the order count; 0 in IDR pictures and in segments that are not the first.
    pub(super) order_low_bits: u32,
}

/// Whether a slice unit (with its header) is the first of its picture.
pub(super) fn is_first_segment(nal: &[u8]) -> bool {
    nal.get(2).is_some_and(|&byte| byte & 0x80 != 0)
}

/// The parameter set id of a slice, read before the sets it needs are known. The unit is given with its header.
pub(super) fn slice_pps_id(nal: &[u8]) -> BitResult<u8> {
    let r = &mut BitReader::new(nal.get(2..).ok_or(BitError::EndOfData)?);
    r.flag()?;
    if is_irap(nal[0] >> 1 & 0x3f) {
        r.flag()?; // no_output_of_prior_pics_flag
    }
    r.ue_byte("slice_pic_parameter_set_id", 63)
}

/// Random access pictures (table 7-1: types 16 to 23).
fn is_irap(nal_type: u8) -> bool {
    (16..=23).contains(&nal_type)
}

impl Slice {
    /// Parses a slice unit given with its header.
    pub(super) fn parse(nal: &[u8], sps: &Sps, pps: Pps) -> BitResult<Self> {
        let header = nal.first_chunk::<2>().ok_or(BitError::EndOfData)?;
        let nal_type = header[0] >> 1 & 0x3f;
        let temporal_id = (header[1] & 7).saturating_sub(1);
        let is_first_in_picture = is_first_segment(nal);
        let mut slice = Self { nal_type, temporal_id, is_first_in_picture, order_low_bits: 0 };
        if is_first_in_picture && !slice.is_idr() {
            slice.order_low_bits = read_order_low_bits(&nal[2..], nal_type, sps, pps)?;
        }
        Ok(slice)
    }

    pub(super) fn is_idr(&self) -> bool {
        matches!(self.nal_type, 19 | 20)
    }

    pub(super) fn is_irap(&self) -> bool {
        is_irap(self.nal_type)
    }

    /// Broken-link pictures restart the order count as IDR pictures do (types 16 to 18).
    pub(super) fn is_broken_link(&self) -> bool {
        (16..=18).contains(&self.nal_type)
    }

    /// Nothing in its own temporal layer refers to it (even types below 16).
    pub(super) fn is_sub_layer_non_reference(&self) -> bool {
        self.nal_type < 16 && self.nal_type.is_multiple_of(2)
    }

    /// Leading pictures (types 6 to 9).
    pub(super) fn is_leading(&self) -> bool {
        (6..=9).contains(&self.nal_type)
    }
}

fn read_order_low_bits(segment: &[u8], nal_type: u8, sps: &Sps, pps: Pps) -> BitResult<u32> {
    let r = &mut BitReader::new(segment);
    r.flag()?; // first_slice_segment_in_pic_flag
    if is_irap(nal_type) {
        r.flag()?;
    }
    r.ue()?; // slice_pic_parameter_set_id
    r.skip(pps.extra_slice_header_bits)?;
    r.ue_max("slice_type", 2)?;
    if pps.output_flag_present {
        r.flag()?;
    }
    if sps.separate_colour_planes {
        r.skip(2)?;
    }
    r.bits(sps.log2_max_order)
}

/// What the next picture's order count is computed from (8.3.1).
#[derive(Debug, Clone, Default)]
pub(super) struct OrderCounter {
    previous: i64,
    has_begun: bool,
}

impl OrderCounter {
    /// The order count, and whether counting begins anew with this picture.
    pub(super) fn next(&mut self, sps: &Sps, slice: &Slice) -> (i64, bool) {
        let max = 1_i64 << sps.log2_max_order;
        let low = i64::from(slice.order_low_bits);
        let restarts = slice.is_idr() || slice.is_broken_link() || (slice.is_irap() && !self.has_begun);
        let mut count = low;
        if !restarts {
            let previous_low = self.previous.rem_euclid(max);
            let high = self.previous - previous_low;
            count += high;
            if low < previous_low && previous_low - low >= max / 2 {
                count += max;
            } else if low > previous_low && low - previous_low > max / 2 {
                count -= max;
            }
        }
        self.has_begun = true;
        if slice.temporal_id == 0 && !slice.is_leading() && !slice.is_sub_layer_non_reference() {
            self.previous = count;
        }
        (count, restarts)
    }
}
