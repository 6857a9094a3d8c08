//! What decoding needs to know of H.264 parameter sets and slice headers before the library sees them
//! (ITU-T H.264, 7.3.2.1, 7.3.2.2, 7.3.3, annexes B and E).

use crate::{CodecError, Color, Matrix, Range};
use lumenbus_frame::{Codec, Dimensions};

pub(super) fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: Codec::H264, what }
}

/// The NAL units of an Annex B access unit, without start codes; trailing zeros stay.
pub(super) fn nal_units(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = behind_start_code(unit);
    std::iter::from_fn(move || {
        let current = rest?;
        rest = behind_start_code(current);
        let length = rest.map_or(current.len(), |next| current.len() - next.len() - 3);
        Some(&current[..length])
    })
    .filter(|nal| !nal.is_empty())
}

fn behind_start_code(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    // Looks at the third byte first: most positions are ruled out three at a time.
    while let Some(&third) = bytes.get(at + 2) {
        match third {
            0 => at += 1,
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => return Some(&bytes[at + 3..]),
            _ => at += 3,
        }
    }
    None
}

/// Bits of a NAL unit's payload, emulation prevention bytes left out.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    next: usize,
    zeros: u8,
    current: u8,
    left: u8,
}

const ENDS: &str = "a header ends too early";

impl<'a> Bits<'a> {
    /// Of a whole NAL unit, behind its one-byte header.
    pub(super) fn of(nal: &'a [u8]) -> Self {
        Self { bytes: nal, next: 1, zeros: 0, current: 0, left: 0 }
    }

    fn take_byte(&mut self) -> Result<u8, CodecError> {
        let byte = *self.bytes.get(self.next).ok_or_else(|| malformed(ENDS))?;
        self.next += 1;
        Ok(byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, CodecError> {
        if self.left == 0 {
            let mut byte = self.take_byte()?;
            if self.zeros >= 2 && byte == 3 {
                self.zeros = 0;
                byte = self.take_byte()?;
            }
            self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
            (self.current, self.left) = (byte, 8);
        }
        self.left -= 1;
        Ok(self.current >> self.left & 1 == 1)
    }

    pub(super) fn bits(&mut self, count: u32) -> Result<u32, CodecError> {
        (0..count).try_fold(0_u32, |value, _| Ok(value << 1 | u32::from(self.flag()?)))
    }

    /// `ue(v)`, at most 2³² − 2.
    pub(super) fn ue(&mut self) -> Result<u32, CodecError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(malformed("a variable-length code is too long"));
            }
        }
        Ok((1_u32 << zeros) - 1 + self.bits(zeros)?)
    }

    fn ue_max(&mut self, max: u32, what: &'static str) -> Result<u32, CodecError> {
        self.ue().and_then(|value| if value <= max { Ok(value) } else { Err(malformed(what)) })
    }

    /// `se(v)`.
    pub(super) fn se(&mut self) -> Result<i32, CodecError> {
        let code = i64::from(self.ue()?);
        let value = if code % 2 == 0 { -(code / 2) } else { code / 2 + 1 };
        i32::try_from(value).map_err(|_| malformed("a number is out of range"))
    }
}

/// How output order is coded (8.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderCoding {
    /// Type 0, with so many low bits in each slice.
    LowBits(u32),
    /// Type 1 is not followed: such streams come out in decode order, as their B-less encoders mean them.
    Cycle,
    /// Type 2.
    DecodeOrder,
}

/// A sequence parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) id: u32,
    pub(super) profile: u8,
    pub(super) constraints: u8,
    pub(super) level: u8,
    pub(super) chroma_format: u32,
    pub(super) bit_depth: u32,
    pub(super) log2_max_frame_num: u32,
    pub(super) order: OrderCoding,
    pub(super) frames_only: bool,
    /// Coded size, before cropping.
    pub(super) coded: Dimensions,
    /// Full range, and matrix coefficients by ITU-T H.273 (2 is unspecified).
    pub(super) full_range: bool,
    pub(super) matrix_coefficients: u32,
    /// `max_num_reorder_frames`, where the stream says it.
    pub(super) max_reorder: Option<u32>,
}

/// Profiles whose parameter sets state chroma format and bit depth (7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

impl Sps {
    pub(super) fn parse(nal: &[u8]) -> Result<Self, CodecError> {
        let r = &mut Bits::of(nal);
        let byte = |value: u32| u8::try_from(value).expect("eight bits were read");
        let (profile, constraints, level) = (byte(r.bits(8)?), byte(r.bits(8)?), byte(r.bits(8)?));
        let id = r.ue_max(31, "seq_parameter_set_id is above 31")?;
        let (chroma_format, bit_depth) = if HIGH_PROFILES.contains(&profile) { read_chroma(r)? } else { (1, 8) };
        let log2_max_frame_num = r.ue_max(12, "log2_max_frame_num_minus4 is above 12")? + 4;
        let order = read_order_coding(r)?;
        r.ue()?; // max_num_ref_frames
        r.flag()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = r.ue_max(0xFFFF, "the picture is impossibly wide")? + 1;
        let height_units = r.ue_max(0xFFFF, "the picture is impossibly high")? + 1;
        let frames_only = r.flag()?;
        let coded = Dimensions::new(width_mbs * 16, height_units * if frames_only { 16 } else { 32 });
        let mut sps = Self {
            id,
            profile,
            constraints,
            level,
            chroma_format,
            bit_depth,
            log2_max_frame_num,
            order,
            frames_only,
            coded,
            full_range: false,
            matrix_coefficients: 2,
            max_reorder: None,
        };
        sps.read_optional(r)?;
        Ok(sps)
    }

    fn read_optional(&mut self, r: &mut Bits<'_>) -> Result<(), CodecError> {
        if !self.frames_only {
            r.flag()?; // mb_adaptive_frame_field_flag
        }
        r.flag()?; // direct_8x8_inference_flag
        if r.flag()? {
            (0..4).try_for_each(|_| r.ue().map(drop))?; // frame_crop_*: the library applies them
        }
        if r.flag()? {
            // Some cameras cut the optional part short; what was read before the end still counts.
            self.read_vui(r).ok();
        }
        Ok(())
    }

    /// Annex E.1.1, to `max_num_reorder_frames`.
    fn read_vui(&mut self, r: &mut Bits<'_>) -> Result<(), CodecError> {
        if r.flag()? && r.bits(8)? == 255 {
            r.bits(32)?; // sar_width, sar_height
        }
        if r.flag()? {
            r.flag()?; // overscan_appropriate_flag
        }
        if r.flag()? {
            r.bits(3)?; // video_format
            self.full_range = r.flag()?;
            if r.flag()? {
                r.bits(16)?; // colour_primaries, transfer_characteristics
                self.matrix_coefficients = r.bits(8)?;
            }
        }
        if r.flag()? {
            r.ue()?; // chroma_sample_loc_type_top_field
            r.ue()?; // chroma_sample_loc_type_bottom_field
        }
        if r.flag()? {
            r.bits(32)?; // num_units_in_tick
            r.bits(32)?; // time_scale
            r.flag()?; // fixed_frame_rate_flag
        }
        let nal_hrd = r.flag()? && skip_hrd(r)?;
        let vcl_hrd = r.flag()? && skip_hrd(r)?;
        if nal_hrd || vcl_hrd {
            r.flag()?; // low_delay_hrd_flag
        }
        r.flag()?; // pic_struct_present_flag
        if r.flag()? {
            r.flag()?; // motion_vectors_over_pic_boundaries_flag
            (0..4).try_for_each(|_| r.ue().map(drop))?;
            self.max_reorder = Some(r.ue()?.min(16));
        }
        Ok(())
    }

    /// What the samples mean; [`Color::assumed`] where the stream does not say.
    pub(super) fn color(&self, shown: Dimensions) -> Color {
        let matrix = match self.matrix_coefficients {
            1 => Matrix::Bt709,
            4..=7 => Matrix::Bt601,
            _ => Color::assumed(shown).matrix,
        };
        Color { matrix, range: if self.full_range { Range::Full } else { Range::Limited } }
    }

    /// Whether output order is decode order, by the stream's own word (A.2.1, 7.4.2.1.1, E.2.1).
    pub(super) fn is_in_decode_order(&self) -> bool {
        let intra_only = self.constraints & 0x10 != 0 && matches!(self.profile, 44 | 100 | 110 | 122 | 244);
        !matches!(self.order, OrderCoding::LowBits(_))
            || self.profile == 66
            || intra_only
            || self.max_reorder == Some(0)
    }

    /// `MaxDpbFrames` of A.3.1 (h) and table A-1: the most pictures that reordering can hold back.
    pub(super) fn picture_buffer_frames(&self) -> usize {
        let max_mbs: u32 = match self.level {
            0..=10 => 396,
            11 => 900,
            12..=20 => 2_376,
            21 => 4_752,
            22..=30 => 8_100,
            31 => 18_000,
            32 => 20_480,
            33..=41 => 32_768,
            42 => 34_816,
            43..=50 => 110_400,
            51..=52 => 184_320,
            53.. => 696_320,
        };
        usize::try_from((max_mbs / self.macroblocks().max(1)).clamp(1, 16)).expect("at most 16")
    }

    /// Coded area in macroblocks of 16 × 16.
    pub(super) fn macroblocks(&self) -> u32 {
        (self.coded.width / 16).saturating_mul(self.coded.height / 16)
    }

    /// RFC 6381, section 3.3.
    pub(super) fn codec_string(&self) -> String {
        format!("avc1.{:02X}{:02X}{:02X}", self.profile, self.constraints, self.level)
    }
}

/// Chroma format and the larger of the two bit depths.
fn read_chroma(r: &mut Bits<'_>) -> Result<(u32, u32), CodecError> {
    let format = r.ue_max(3, "chroma_format_idc is above 3")?;
    if format == 3 {
        r.flag()?; // separate_colour_plane_flag
    }
    let luma = r.ue_max(6, "bit_depth_luma_minus8 is above 6")?;
    let chroma = r.ue_max(6, "bit_depth_chroma_minus8 is above 6")?;
    r.flag()?; // qpprime_y_zero_transform_bypass_flag
    if r.flag()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if r.flag()? {
                skip_scaling_list(r, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok((format, 8 + luma.max(chroma)))
}

/// 7.3.2.1.1.1.
fn skip_scaling_list(r: &mut Bits<'_>, size: usize) -> Result<(), CodecError> {
    let mut last = 8_i32;
    for _ in 0..size {
        last = last.wrapping_add(r.se()?).rem_euclid(256);
        if last == 0 {
            break;
        }
    }
    Ok(())
}

fn read_order_coding(r: &mut Bits<'_>) -> Result<OrderCoding, CodecError> {
    match r.ue_max(2, "pic_order_cnt_type is above 2")? {
        0 => Ok(OrderCoding::LowBits(r.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4 is above 12")? + 4)),
        1 => {
            r.flag()?; // delta_pic_order_always_zero_flag
            r.se()?; // offset_for_non_ref_pic
            r.se()?; // offset_for_top_to_bottom_field
            let count = r.ue_max(255, "num_ref_frames_in_pic_order_cnt_cycle is above 255")?;
            (0..count).try_for_each(|_| r.se().map(drop))?;
            Ok(OrderCoding::Cycle)
        }
        _ => Ok(OrderCoding::DecodeOrder),
    }
}

/// Annex E.1.2; always true, to be chained.
fn skip_hrd(r: &mut Bits<'_>) -> Result<bool, CodecError> {
    let count = r.ue_max(31, "cpb_cnt_minus1 is above 31")? + 1;
    r.bits(8)?;
    for _ in 0..count {
        r.ue()?; // bit_rate_value_minus1
        r.ue()?; // cpb_size_value_minus1
        r.flag()?; // cbr_flag
    }
    r.bits(20)?;
    Ok(true)
}

/// A picture parameter set, as far as slice headers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pps {
    pub(super) id: u32,
    pub(super) sps_id: u32,
    bottom_field_order_present: bool,
}

impl Pps {
    pub(super) fn parse(nal: &[u8]) -> Result<Self, CodecError> {
        let r = &mut Bits::of(nal);
        let id = r.ue_max(255, "pic_parameter_set_id is above 255")?;
        let sps_id = r.ue_max(31, "seq_parameter_set_id is above 31")?;
        r.flag()?; // entropy_coding_mode_flag
        Ok(Self { id, sps_id, bottom_field_order_present: r.flag()? })
    }
}

/// The beginning of a slice header of a frame (never a field), with its NAL unit header's facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) is_idr: bool,
    pub(super) is_reference: bool,
    pub(super) is_bidirectional: bool,
    pub(super) order_low_bits: u32,
    pub(super) order_delta_bottom: i32,
}

/// `first_mb_in_slice` and the parameter set id of a slice, before its parameter sets are known.
pub(super) fn slice_start(nal: &[u8]) -> Result<(u32, u32), CodecError> {
    let r = &mut Bits::of(nal);
    let first_mb = r.ue()?;
    r.ue()?; // slice_type
    Ok((first_mb, r.ue()?))
}

impl Slice {
    pub(super) fn parse(nal: &[u8], sps: &Sps, pps: Pps) -> Result<Self, CodecError> {
        let header = nal[0];
        let r = &mut Bits::of(nal);
        r.ue()?; // first_mb_in_slice
        let slice_type = r.ue_max(9, "slice_type is above 9")?;
        r.ue()?; // pic_parameter_set_id
        r.bits(sps.log2_max_frame_num)?; // frame_num
        let is_idr = header & 0x1F == 5;
        if is_idr {
            r.ue()?; // idr_pic_id
        }
        let (mut order_low_bits, mut order_delta_bottom) = (0, 0);
        if let OrderCoding::LowBits(count) = sps.order {
            order_low_bits = r.bits(count)?;
            if pps.bottom_field_order_present {
                order_delta_bottom = r.se()?;
            }
        }
        let (is_reference, is_bidirectional) = (header >> 5 & 3 != 0, slice_type % 5 == 1);
        Ok(Self { is_idr, is_reference, is_bidirectional, order_low_bits, order_delta_bottom })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_found_between_both_kinds_of_start_code() {
        let unit = [9, 9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 1, 0, 0, 1, 0x65, 3];
        let found: Vec<&[u8]> = nal_units(&unit).collect();
        assert_eq!(found, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
        assert_eq!(nal_units(b"no start code").count(), 0);
    }

    #[test]
    fn exp_golomb_codes_of_table_9_1() {
        // 1 | 010 | 011 | 00100 | 00101 → 0 1 2 3 4
        let nal = [0, 0b1010_0110, 0b0100_0010, 0b1000_0000];
        let r = &mut Bits::of(&nal);
        assert_eq!([0; 5].map(|_| r.ue().unwrap()), [0, 1, 2, 3, 4]);
        let r = &mut Bits::of(&nal);
        assert_eq!([0; 5].map(|_| r.se().unwrap()), [0, 1, -1, 2, -2]);
        assert!(Bits::of(&[0, 0, 0, 0, 0, 0, 0, 0]).ue().is_err());
    }

    proptest! {
        #[test]
        fn random_headers_never_panic(bytes in prop::collection::vec(any::<u8>(), 1..80)) {
            if let (Ok(sps), Ok(pps)) = (Sps::parse(&bytes), Pps::parse(&bytes)) {
                let _ = Slice::parse(&bytes, &sps, pps);
            }
            let _ = slice_start(&bytes);
            prop_assert!(nal_units(&bytes).map(<[u8]>::len).sum::<usize>() <= bytes.len());
        }
    }
}
