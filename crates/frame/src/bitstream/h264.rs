//! H.264 parameter sets and slice headers (ITU-T H.264, 7.3.2.1, 7.3.2.2, 7.3.3, annex E).

use super::bits::{BitError, BitReader, BitResult};
use crate::{Dimensions, FrameRate};

/// Profiles whose parameter sets state chroma format and bit depth.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Largest width and height in macroblocks that is believed: 32,768 pixels.
const MAX_SIDE_MBS: u32 = 2048;

/// How picture order is coded (8.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OrderCoding {
    /// Type 0: the low bits are in each slice.
    LowBits { log2_max: u32 },
    /// Type 1: differences to an expected cycle.
    Cycle { always_zero: bool, non_reference: i32, top_to_bottom: i32, reference: Vec<i32> },
    /// Type 2: output order is decode order.
    DecodeOrder,
}

/// A sequence parameter set, as far as it matters without decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) id: u8,
    pub(super) profile: u8,
    pub(super) constraints: u8,
    pub(super) level: u8,
    pub(super) dimensions: Dimensions,
    pub(super) order: OrderCoding,
    pub(super) log2_max_frame_num: u32,
    pub(super) frame_mbs_only: bool,
    separate_colour_planes: bool,
    pub(super) frame_rate: Option<FrameRate>,
    /// Frames that may precede another in decode order and follow it in output order.
    pub(super) max_reorder: usize,
}

pub(super) struct Chroma {
    format: u32,
    separate_planes: bool,
}

#[derive(Default)]
struct Vui {
    frame_rate: Option<FrameRate>,
    max_reorder: Option<u32>,
}

impl Sps {
    /// Parses the unit after its one-byte header.
    pub(super) fn parse(payload: &[u8]) -> BitResult<Self> {
        let r = &mut BitReader::new(payload);
        let (profile, constraints, level) = (r.byte()?, r.byte()?, r.byte()?);
        let id = r.ue_byte("seq_parameter_set_id", 31)?;
        let chroma = read_chroma(r, profile)?;
        let log2_max_frame_num = r.ue_max("log2_max_frame_num_minus4", 12)? + 4;
        let order = read_order_coding(r)?;
        r.ue()?; // max_num_ref_frames
        r.flag()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = r.ue_max("pic_width_in_mbs_minus1", MAX_SIDE_MBS - 1)? + 1;
        let map_units = r.ue_max("pic_height_in_map_units_minus1", MAX_SIDE_MBS - 1)? + 1;
        let frame_mbs_only = r.flag()?;
        let height_mbs = if frame_mbs_only { map_units } else { map_units * 2 };
        if !frame_mbs_only {
            r.flag()?; // mb_adaptive_frame_field_flag
        }
        r.flag()?; // direct_8x8_inference_flag
        let dimensions = read_cropping(r, &chroma, Dimensions::new(width_mbs * 16, height_mbs * 16), frame_mbs_only)?;
        let mut vui = Vui::default();
        if r.flag()? {
            // Some cameras cut the optional part short; what was read before the end still counts.
            read_vui(r, &mut vui).ok();
        }
        let dpb = dpb_frames(level, constraints & 0x10 != 0, width_mbs * height_mbs);
        let inferred = match order {
            OrderCoding::DecodeOrder => 0,
            _ if constraints & 0x10 != 0 && matches!(profile, 44 | 86 | 100 | 110 | 122 | 244) => 0,
            _ => dpb,
        };
        let max_reorder = vui.max_reorder.map_or(inferred, |n| usize::try_from(n.min(16)).expect("at most 16"));
        let separate_colour_planes = chroma.separate_planes;
        let frame_rate = vui.frame_rate;
        Ok(Self {
            id,
            profile,
            constraints,
            level,
            dimensions,
            order,
            log2_max_frame_num,
            frame_mbs_only,
            separate_colour_planes,
            frame_rate,
            max_reorder,
        })
    }

    /// RFC 6381, section 3.3.
    pub(super) fn codec_string(&self) -> String {
        format!("avc1.{:02X}{:02X}{:02X}", self.profile, self.constraints, self.level)
    }
}

pub(super) fn read_chroma(r: &mut BitReader<'_>, profile: u8) -> BitResult<Chroma> {
    if !HIGH_PROFILES.contains(&profile) {
        return Ok(Chroma { format: 1, separate_planes: false });
    }
    let format = r.ue_max("chroma_format_idc", 3)?;
    let separate_planes = format == 3 && r.flag()?;
    r.ue_max("bit_depth_luma_minus8", 6)?;
    r.ue_max("bit_depth_chroma_minus8", 6)?;
    r.flag()?; // qpprime_y_zero_transform_bypass_flag
    if r.flag()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if r.flag()? {
                skip_scaling_list(r, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(Chroma { format, separate_planes })
}

/// 7.3.2.1.1.1.
fn skip_scaling_list(r: &mut BitReader<'_>, size: usize) -> BitResult<()> {
    let mut last = 8_i32;
    for _ in 0..size {
        let delta = r.se()?;
        last = last.wrapping_add(delta).rem_euclid(256);
        if last == 0 {
            break; // the rest repeats the value before
        }
    }
    Ok(())
}

pub(super) fn read_order_coding(r: &mut BitReader<'_>) -> BitResult<OrderCoding> {
    match r.ue_max("pic_order_cnt_type", 2)? {
        0 => Ok(OrderCoding::LowBits { log2_max: r.ue_max("log2_max_pic_order_cnt_lsb_minus4", 12)? + 4 }),
        1 => {
            let always_zero = r.flag()?;
            let (non_reference, top_to_bottom) = (r.se()?, r.se()?);
            let count = r.ue_max("num_ref_frames_in_pic_order_cnt_cycle", 255)?;
            let reference = (0..count).map(|_| r.se()).collect::<BitResult<_>>()?;
            Ok(OrderCoding::Cycle { always_zero, non_reference, top_to_bottom, reference })
        }
        _ => Ok(OrderCoding::DecodeOrder),
    }
}

/// Crop units of table 6-1 and 7.4.2.1.1.
fn read_cropping(
    r: &mut BitReader<'_>,
    chroma: &Chroma,
    coded: Dimensions,
    frame_mbs_only: bool,
) -> BitResult<Dimensions> {
    if !r.flag()? {
        return Ok(coded);
    }
    let subsampled = !chroma.separate_planes;
    let unit_x = if subsampled && matches!(chroma.format, 1 | 2) { 2 } else { 1 };
    let unit_y = if subsampled && chroma.format == 1 { 2 } else { 1 } * if frame_mbs_only { 1 } else { 2 };
    let (left, right, top, bottom) = (r.ue()?, r.ue()?, r.ue()?, r.ue()?);
    let crop = |side: u32, unit: u32, first: u32, second: u32| {
        let cut = first.saturating_add(second).saturating_mul(unit);
        side.checked_sub(cut)
            .filter(|&rest| rest > 0)
            .ok_or(BitError::OutOfRange { field: "frame_crop_offset", value: cut })
    };
    Ok(Dimensions::new(crop(coded.width, unit_x, left, right)?, crop(coded.height, unit_y, top, bottom)?))
}

/// Annex E.1.1, up to `max_num_reorder_frames`.
fn read_vui(r: &mut BitReader<'_>, vui: &mut Vui) -> BitResult<()> {
    skip_vui_colour(r)?;
    if r.flag()? {
        let (units, scale) = (r.bits(32)?, r.bits(32)?);
        r.flag()?; // fixed_frame_rate_flag
        // A frame lasts two ticks, since a tick is a field.
        vui.frame_rate = frame_rate(scale, u64::from(units) * 2);
    }
    let nal_hrd = r.flag()?;
    if nal_hrd {
        skip_hrd(r)?;
    }
    let vcl_hrd = r.flag()?;
    if vcl_hrd {
        skip_hrd(r)?;
    }
    if nal_hrd || vcl_hrd {
        r.flag()?; // low_delay_hrd_flag
    }
    r.flag()?; // pic_struct_present_flag
    if r.flag()? {
        r.flag()?; // motion_vectors_over_pic_boundaries_flag
        for _ in 0..4 {
            r.ue()?;
        }
        vui.max_reorder = Some(r.ue_max("max_num_reorder_frames", 16)?);
    }
    Ok(())
}

/// The part that H.264 E.1.1 and H.265 E.2.1 have in common: aspect ratio to chroma location.
pub(super) fn skip_vui_colour(r: &mut BitReader<'_>) -> BitResult<()> {
    if r.flag()? && r.bits(8)? == 255 {
        r.skip(32)?; // sar_width, sar_height
    }
    if r.flag()? {
        r.flag()?; // overscan_appropriate_flag
    }
    if r.flag()? {
        r.skip(4)?; // video_format, video_full_range_flag
        if r.flag()? {
            r.skip(24)?; // colour primaries, transfer characteristics, matrix
        }
    }
    if r.flag()? {
        r.ue()?;
        r.ue()?;
    }
    Ok(())
}

/// Annex E.1.2.
pub(super) fn skip_hrd(r: &mut BitReader<'_>) -> BitResult<()> {
    let count = r.ue_max("cpb_cnt_minus1", 31)? + 1;
    r.skip(8)?;
    for _ in 0..count {
        r.ue()?;
        r.ue()?;
        r.flag()?;
    }
    r.skip(20)
}

/// `scale / units` in lowest terms, when it is a rate a camera could have.
pub(super) fn frame_rate(scale: u32, units: u64) -> Option<FrameRate> {
    let scale = u64::from(scale);
    if scale == 0 || units == 0 || scale > units.saturating_mul(1000) {
        return None;
    }
    let (mut a, mut b) = (scale, units);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let frames = u32::try_from(scale / a).ok()?;
    let seconds = u32::try_from(units / a).ok()?;
    Some(FrameRate { frames, seconds })
}

/// `MaxDpbFrames` of A.3.1 (h) and table A-1.
fn dpb_frames(level: u8, constraint_set3: bool, frame_mbs: u32) -> usize {
    let max_mbs: u32 = match level {
        9 | 10 => 396,
        11 if constraint_set3 => 396,
        11 => 900,
        12 | 13 | 20 => 2376,
        21 => 4752,
        22 | 30 => 8100,
        31 => 18_000,
        32 => 20_480,
        40 | 41 => 32_768,
        42 => 34_816,
        50 => 110_400,
        51 | 52 => 184_320,
        _ => 696_320,
    };
    usize::try_from((max_mbs / frame_mbs.max(1)).min(16)).expect("at most 16")
}

/// A picture parameter set, as far as slice headers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pps {
    pub(super) id: u8,
    pub(super) sps_id: u8,
    bottom_field_order_present: bool,
}

impl Pps {
    /// Parses the unit after its one-byte header.
    pub(super) fn parse(payload: &[u8]) -> BitResult<Self> {
        let r = &mut BitReader::new(payload);
        let id = r.ue_byte("pic_parameter_set_id", 255)?;
        let sps_id = r.ue_byte("seq_parameter_set_id", 31)?;
        r.flag()?; // entropy_coding_mode_flag
        Ok(Self { id, sps_id, bottom_field_order_present: r.flag()? })
    }
}

/// Which lines a picture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Structure {
    Frame,
    TopField,
    BottomField,
}

/// The beginning of a slice header, with the NAL unit header's facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) is_reference: bool,
    pub(super) first_mb: u32,
    pub(super) is_intra: bool,
    pub(super) pps_id: u8,
    pub(super) frame_num: u32,
    pub(super) structure: Structure,
    /// `idr_pic_id` of an IDR picture.
    pub(super) idr: Option<u32>,
    pub(super) order_low_bits: u32,
    pub(super) order_delta_bottom: i32,
    pub(super) order_deltas: [i32; 2],
}

/// The parameter set id of a slice, read before the sets it needs are known. The unit is given with its header.
pub(super) fn slice_pps_id(nal: &[u8]) -> BitResult<u8> {
    let r = &mut BitReader::new(nal.get(1..).ok_or(BitError::EndOfData)?);
    r.ue()?; // first_mb_in_slice
    r.ue()?; // slice_type
    r.ue_byte("pic_parameter_set_id", 255)
}

impl Slice {
    /// Parses a slice unit given with its header.
    pub(super) fn parse(nal: &[u8], sps: &Sps, pps: Pps) -> BitResult<Self> {
        let header = *nal.first().ok_or(BitError::EndOfData)?;
        let r = &mut BitReader::new(&nal[1..]);
        let first_mb = r.ue()?;
        let slice_type = r.ue_max("slice_type", 9)?;
        let pps_id = r.ue_byte("pic_parameter_set_id", 255)?;
        if sps.separate_colour_planes {
            r.skip(2)?; // colour_plane_id
        }
        let frame_num = r.bits(sps.log2_max_frame_num)?;
        let structure = read_structure(r, sps)?;
        let idr = if header & 0x1f == 5 { Some(r.ue()?) } else { None };
        let mut slice = Self {
            is_reference: header >> 5 & 3 != 0,
            first_mb,
            is_intra: matches!(slice_type % 5, 2 | 4),
            pps_id,
            frame_num,
            structure,
            idr,
            order_low_bits: 0,
            order_delta_bottom: 0,
            order_deltas: [0; 2],
        };
        slice.read_order(r, sps, pps)?;
        Ok(slice)
    }

    fn read_order(&mut self, r: &mut BitReader<'_>, sps: &Sps, pps: Pps) -> BitResult<()> {
        let with_bottom = pps.bottom_field_order_present && self.structure == Structure::Frame;
        match sps.order {
            OrderCoding::LowBits { log2_max } => {
                self.order_low_bits = r.bits(log2_max)?;
                if with_bottom {
                    self.order_delta_bottom = r.se()?;
                }
            }
            OrderCoding::Cycle { always_zero: false, .. } => {
                self.order_deltas[0] = r.se()?;
                if with_bottom {
                    self.order_deltas[1] = r.se()?;
                }
            }
            OrderCoding::Cycle { .. } | OrderCoding::DecodeOrder => {}
        }
        Ok(())
    }

    /// Whether this slice belongs to another primary coded picture than `previous` (7.4.1.2.4).
    pub(super) fn begins_picture_after(&self, previous: &Self) -> bool {
        self.frame_num != previous.frame_num
            || self.pps_id != previous.pps_id
            || self.structure != previous.structure
            || self.is_reference != previous.is_reference
            || self.idr != previous.idr
            || self.order_low_bits != previous.order_low_bits
            || self.order_delta_bottom != previous.order_delta_bottom
            || self.order_deltas != previous.order_deltas
    }

    /// Whether this slice begins the second field of the frame whose first field `first` belongs to (3.30, 3.31).
    pub(super) fn completes_frame_of(&self, first: &Self) -> bool {
        let opposite = matches!(
            (first.structure, self.structure),
            (Structure::TopField, Structure::BottomField) | (Structure::BottomField, Structure::TopField)
        );
        opposite
            && self.frame_num == first.frame_num
            && self.is_reference == first.is_reference
            && (self.idr.is_none() || self.idr == first.idr)
    }
}

fn read_structure(r: &mut BitReader<'_>, sps: &Sps) -> BitResult<Structure> {
    if sps.frame_mbs_only || !r.flag()? {
        return Ok(Structure::Frame);
    }
    Ok(if r.flag()? { Structure::BottomField } else { Structure::TopField })
}

/// Whether an SEI unit (with its header) holds a recovery point with `recovery_frame_cnt` 0 (annex D.1.8, D.2.8).
pub(super) fn has_recovery_point_zero(nal: &[u8]) -> bool {
    let r = &mut BitReader::new(nal.get(1..).unwrap_or_default());
    // Ends at the first unreadable message: each step consumes at least two bytes.
    while let (Ok(kind), Ok(bytes)) = (sei_number(r), sei_number(r)) {
        if kind == 6 {
            return r.ue() == Ok(0);
        }
        if r.skip(bytes.saturating_mul(8)).is_err() {
            break;
        }
    }
    false
}

/// 7.3.2.3.1: bytes of 255 add up, the first other byte ends the number.
fn sei_number(r: &mut BitReader<'_>) -> BitResult<u32> {
    let mut number = 0_u32;
    loop {
        let byte = r.bits(8)?;
        number = number.saturating_add(byte);
        if byte != 255 {
            return Ok(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::BitWriter;
    use super::*;

    #[test]
    fn cropping_and_timing_of_a_real_1080p_set() {
        // From a Baseline 1080p camera stream: 1920x1088 coded, 8 lines cropped.
        let mut w = BitWriter::default();
        [66, 0xc0, 40].into_iter().for_each(|byte| w.bits(byte, 8));
        for code in [0, 0, 2, 1] {
            w.ue(code); // id, frame_num bits, order type 2, reference frames
        }
        w.flag(false);
        w.ue(119);
        w.ue(67);
        w.flag(true); // frames only
        w.flag(true);
        w.flag(true); // cropping
        [0, 0, 0, 4].into_iter().for_each(|code| w.ue(code));
        w.flag(true); // VUI
        (0..4).for_each(|_| w.flag(false));
        w.flag(true);
        w.bits(1001, 32);
        w.bits(60_000, 32);
        let sps = Sps::parse(&w.finish_escaped()).unwrap();
        assert_eq!(sps.dimensions, Dimensions::new(1920, 1080));
        assert_eq!(sps.frame_rate, Some(FrameRate { frames: 30_000, seconds: 1001 }));
        assert_eq!((sps.max_reorder, sps.codec_string().as_str()), (0, "avc1.42C028"));
    }

    #[test]
    fn a_recovery_point_is_found_behind_other_messages() {
        assert!(has_recovery_point_zero(&[6, 5, 2, 9, 9, 6, 1, 0xc4, 0x80]));
        assert!(!has_recovery_point_zero(&[6, 6, 1, 0x44, 0x80])); // count 1
        assert!(!has_recovery_point_zero(&[6, 5, 255]));
        assert!(!has_recovery_point_zero(&[]));
    }

    #[test]
    fn impossible_sizes_are_errors() {
        assert_eq!(Sps::parse(&[]), Err(BitError::EndOfData));
        assert!(Sps::parse(&[66, 0, 40, 0, 0, 0, 0]).is_err());
        assert_eq!(frame_rate(0, 5), None);
        assert_eq!(frame_rate(u32::MAX, 1), None);
    }

    #[test]
    fn the_decoded_picture_buffer_follows_the_level() {
        assert_eq!(dpb_frames(40, false, 120 * 68), 4);
        assert_eq!(dpb_frames(31, false, 80 * 45), 5);
        assert_eq!(dpb_frames(51, false, 22 * 18), 16);
    }
}
