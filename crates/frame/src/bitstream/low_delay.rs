//! H.264 for decoders that hold pictures back in vain (ITU-T H.264, C.4.5.3 and annex E).
//!
//! A sequence parameter set without `bitstream_restriction` lets a decoder assume that up to a whole picture buffer is
//! reordered, and hardware decoders then wait for that many pictures. Most cameras reorder nothing.

use super::bits::{BitReader, BitResult, BitWriter};
use super::h264::{OrderCoding, read_chroma, read_order_coding, skip_hrd, skip_vui_colour};
use super::h264_order::OrderCounter;
use super::parameter_sets::Slice;
use super::{NalCodec, NalKind, ParameterSets, nal_units};

/// Parameter sets and the first slice's header are in here; what is behind is not looked at.
const HEAD_BYTES: usize = 4_096;
/// Pictures in rising order after which a stream is taken to be without reordering: more than a picture buffer holds.
const CONVINCING_PICTURES: u32 = 20;
const BASELINE: u8 = 66;

/// Follows one H.264 stream and gives its keyframes parameter sets that promise what the stream keeps to: no picture
/// is reordered. For copies that are shown; never for what is stored.
#[derive(Debug)]
pub struct LowDelay {
    sets: ParameterSets,
    counter: OrderCounter,
    /// The highest order count since the last IDR picture.
    highest: Option<i64>,
    rising: u32,
    is_reordered: bool,
}

impl Default for LowDelay {
    fn default() -> Self {
        Self {
            sets: ParameterSets::new(NalCodec::H264),
            counter: OrderCounter::default(),
            highest: None,
            rising: 0,
            is_reordered: false,
        }
    }
}

impl LowDelay {
    /// Takes the next access unit in Annex B. Answers a copy with other parameter sets where that helps a decoder.
    pub fn take(&mut self, unit: &[u8]) -> Option<Vec<u8>> {
        let head = &unit[..unit.len().min(HEAD_BYTES)];
        let mut sets = Vec::new();
        for nal in nal_units(head) {
            match NalCodec::H264.kind(nal) {
                Some(NalKind::SequenceParameters) => sets.push(nal),
                Some(NalKind::Slice) => {
                    self.observe(nal);
                    break;
                }
                _ => {}
            }
            // A set that cannot be read is the decoder's trouble.
            self.sets.insert(nal).ok();
        }
        if sets.is_empty() || self.is_reordered {
            return None;
        }
        let mut copy = Vec::new();
        let mut copied = 0;
        for set in sets {
            let at = set.as_ptr().addr() - unit.as_ptr().addr();
            let is_cut = at + set.len() == head.len() && head.len() < unit.len();
            let Some(other) = self.promise(set).filter(|_| !is_cut) else { continue };
            copy.extend_from_slice(&unit[copied..at]);
            copy.extend_from_slice(&other);
            copied = at + set.len();
        }
        if copied == 0 {
            return None;
        }
        copy.extend_from_slice(&unit[copied..]);
        Some(copy)
    }

    fn observe(&mut self, slice: &[u8]) {
        let Some(Slice::H264(header, sps)) = self.sets.slice(slice) else { return };
        if header.idr.is_some() {
            self.highest = None;
        }
        let count = self.counter.next(sps, &header);
        if self.highest.is_some_and(|highest| count < highest) {
            self.is_reordered = true;
        }
        self.highest = Some(self.highest.map_or(count, |highest| highest.max(count)));
        self.rising = self.rising.saturating_add(1);
    }

    /// The set with the promise, where it is missing and can be given.
    fn promise(&self, set: &[u8]) -> Option<Vec<u8>> {
        let (header, payload) = set.split_first()?;
        let found = Restriction::find(payload).ok()??;
        let is_certain = payload.first() == Some(&BASELINE) || found.is_in_decode_order;
        if !is_certain && self.rising < CONVINCING_PICTURES {
            return None;
        }
        let mut nal = vec![*header];
        nal.extend(found.write(payload).ok()?);
        Some(nal)
    }
}

/// Where `bitstream_restriction` is missing.
struct Restriction {
    /// Bits before the flag that has to be set.
    at: usize,
    /// That flag is the one that says whether there is anything optional at all.
    is_all_missing: bool,
    reference_frames: u32,
    is_in_decode_order: bool,
}

impl Restriction {
    /// `None` when it is there. Follows 7.3.2.1.1 and E.1.1.
    fn find(payload: &[u8]) -> BitResult<Option<Self>> {
        let r = &mut BitReader::new(payload);
        let profile = r.byte()?;
        r.skip(16)?; // constraints and level
        r.ue()?; // seq_parameter_set_id
        read_chroma(r, profile)?;
        r.ue()?; // log2_max_frame_num_minus4
        let is_in_decode_order = read_order_coding(r)? == OrderCoding::DecodeOrder;
        let reference_frames = r.ue_max("max_num_ref_frames", 16)?;
        r.flag()?; // gaps_in_frame_num_value_allowed_flag
        r.ue()?; // width
        r.ue()?; // height
        if !r.flag()? {
            r.flag()?; // mb_adaptive_frame_field_flag
        }
        r.flag()?; // direct_8x8_inference_flag
        if r.flag()? {
            for _ in 0..4 {
                r.ue()?; // cropping
            }
        }
        let at = r.taken();
        let found = |at, is_all_missing| Some(Self { at, is_all_missing, reference_frames, is_in_decode_order });
        if !r.flag()? {
            return Ok(found(at, true));
        }
        skip_vui_colour(r)?;
        if r.flag()? {
            r.skip(65)?; // timing
        }
        let has_nal_hrd = r.flag()?;
        if has_nal_hrd {
            skip_hrd(r)?;
        }
        let has_vcl_hrd = r.flag()?;
        if has_vcl_hrd {
            skip_hrd(r)?;
        }
        if has_nal_hrd || has_vcl_hrd {
            r.flag()?; // low_delay_hrd_flag
        }
        r.flag()?; // pic_struct_present_flag
        let at = r.taken();
        Ok(if r.flag()? { None } else { found(at, false) })
    }

    /// The payload with what is missing; all else as it was.
    fn write(&self, payload: &[u8]) -> BitResult<Vec<u8>> {
        let r = &mut BitReader::new(payload);
        let mut w = BitWriter::default();
        for _ in 0..self.at {
            w.flag(r.flag()?);
        }
        if self.is_all_missing {
            w.flag(true); // vui_parameters_present_flag
            // Aspect ratio, overscan, video signal, chroma location, timing, two HRDs, pic_struct: absent.
            w.bits(0, 8);
        }
        w.flag(true); // bitstream_restriction_flag
        w.flag(true); // motion_vectors_over_pic_boundaries_flag
        // What holds where these are absent.
        w.ue(2); // max_bytes_per_pic_denom
        w.ue(1); // max_bits_per_mb_denom
        w.ue(15); // log2_max_mv_length_horizontal
        w.ue(15); // log2_max_mv_length_vertical
        w.ue(0); // max_num_reorder_frames
        w.ue(self.reference_frames); // max_dec_frame_buffering
        Ok(w.finish_escaped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A set of the main profile for 640×480 with low-bit order counts; `vui` writes what is optional.
    fn set(profile: u8, vui: impl FnOnce(&mut BitWriter)) -> Vec<u8> {
        let mut w = BitWriter::default();
        w.bits(profile.into(), 8);
        w.bits(0x001e, 16);
        w.ue(0);
        w.ue(0); // log2_max_frame_num
        w.ue(0); // order by low bits
        w.ue(4);
        w.ue(3); // reference frames
        w.flag(false);
        w.ue(39);
        w.ue(29);
        w.flag(true);
        w.flag(true);
        w.flag(false);
        vui(&mut w);
        [vec![0x67], w.finish_escaped()].concat()
    }

    fn reorder(nal: &[u8]) -> usize {
        let mut sets = ParameterSets::new(NalCodec::H264);
        sets.insert(nal).unwrap();
        sets.first_sequence().unwrap().max_reorder
    }

    fn convinced() -> LowDelay {
        LowDelay { rising: CONVINCING_PICTURES, ..LowDelay::default() }
    }

    fn unit(nal: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 1][..], nal, &[0, 0, 1, 0x68, 0xce, 0x38, 0x80, 0, 0, 1, 0x65, 0x88, 0x84]].concat()
    }

    #[test]
    fn a_set_that_promises_nothing_gets_the_promise() {
        for nal in [
            set(77, |w| w.flag(false)),
            set(77, |w| {
                w.flag(true);
                w.bits(0, 4);
                // 25 frames a second, so that zeros have to be escaped.
                w.flag(true);
                w.bits(1, 32);
                w.bits(50, 32);
                w.flag(true);
                w.bits(0, 3);
                w.flag(false);
            }),
        ] {
            assert!(reorder(&nal) > 0);
            let whole = unit(&nal);
            let copy = convinced().take(&whole).unwrap();
            let others: Vec<_> = nal_units(&copy).collect();
            assert_eq!(reorder(others[0]), 0);
            assert_eq!(others[1..], nal_units(&whole).skip(1).collect::<Vec<_>>());
            let mut sets = ParameterSets::new(NalCodec::H264);
            sets.insert(others[0]).unwrap();
            let mut before = ParameterSets::new(NalCodec::H264);
            before.insert(&nal).unwrap();
            let (before, after) = (before.first_sequence().unwrap(), sets.first_sequence().unwrap());
            assert_eq!((before.dimensions, before.frame_rate), (after.dimensions, after.frame_rate));
            assert_eq!(convinced().take(&copy), None, "once is enough");
        }
    }

    #[test]
    fn nothing_is_promised_before_it_is_known_nor_when_pictures_are_reordered() {
        let whole = unit(&set(77, |w| w.flag(false)));
        assert_eq!(LowDelay::default().take(&whole), None);
        assert_eq!(LowDelay { is_reordered: true, ..convinced() }.take(&whole), None);
        assert!(LowDelay::default().take(&unit(&set(BASELINE, |w| w.flag(false)))).is_some());
    }

    #[test]
    fn a_set_that_says_it_all_stays() {
        let whole = unit(&set(77, |w| {
            w.flag(true);
            w.bits(0, 8);
            w.flag(true);
            w.flag(true);
            [2, 1, 15, 15, 2, 3].into_iter().for_each(|value| w.ue(value));
        }));
        assert_eq!(convinced().take(&whole), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(units in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..12)) {
            let mut following = convinced();
            for bytes in units {
                let whole = [&[0, 0, 1, 0x67][..], &bytes, &[0, 0, 1, 0x65], &bytes].concat();
                if let Some(copy) = following.take(&whole) {
                    prop_assert!(copy.len() <= whole.len() + 32 + whole.len() / 2);
                    prop_assert_eq!(nal_units(&copy).count(), nal_units(&whole).count());
                }
            }
        }
    }
}
