//! H.264 picture order counts (ITU-T H.264, 8.2.1).

use super::h264::{OrderCoding, Slice, Sps, Structure};

/// What the next picture's order count is computed from.
///
/// `memory_management_control_operation` 5, which restarts the count inside a sequence, lies behind the part of the
/// slice header that is read here; after it the order is an estimate until the next IDR picture.
#[derive(Debug, Clone, Default)]
pub(super) struct OrderCounter {
    previous_high: i64,
    previous_low: i64,
    previous_frame_num: u32,
    frame_num_offset: i64,
}

impl OrderCounter {
    /// The order count of the picture that `slice` begins; for a frame the lower of its two fields.
    pub(super) fn next(&mut self, sps: &Sps, slice: &Slice) -> i64 {
        if slice.idr.is_some() {
            *self = Self::default();
        }
        match &sps.order {
            OrderCoding::LowBits { log2_max } => self.low_bits_count(1 << log2_max, slice),
            OrderCoding::Cycle { non_reference, top_to_bottom, reference, .. } => {
                let frame = self.frame_number(sps, slice);
                cycle_count(frame, slice, *non_reference, *top_to_bottom, reference)
            }
            OrderCoding::DecodeOrder => {
                let frame = self.frame_number(sps, slice);
                2 * frame - i64::from(!slice.is_reference)
            }
        }
    }

    /// 8.2.1.1.
    fn low_bits_count(&mut self, max: i64, slice: &Slice) -> i64 {
        let low = i64::from(slice.order_low_bits);
        let high = if low < self.previous_low && self.previous_low - low >= max / 2 {
            self.previous_high + max
        } else if low > self.previous_low && low - self.previous_low > max / 2 {
            self.previous_high - max
        } else {
            self.previous_high
        };
        if slice.is_reference {
            (self.previous_high, self.previous_low) = (high, low);
        }
        let delta_bottom = match slice.structure {
            Structure::Frame => i64::from(slice.order_delta_bottom),
            Structure::TopField | Structure::BottomField => 0,
        };
        high + low + delta_bottom.min(0)
    }

    /// `FrameNumOffset + frame_num` of 8.2.1.2 and 8.2.1.3.
    fn frame_number(&mut self, sps: &Sps, slice: &Slice) -> i64 {
        if slice.idr.is_none() && self.previous_frame_num > slice.frame_num {
            self.frame_num_offset += 1 << sps.log2_max_frame_num;
        }
        self.previous_frame_num = slice.frame_num;
        self.frame_num_offset + i64::from(slice.frame_num)
    }
}

/// 8.2.1.2.
fn cycle_count(frame: i64, slice: &Slice, non_reference: i32, top_to_bottom: i32, reference: &[i32]) -> i64 {
    let length = i64::try_from(reference.len()).expect("at most 255");
    let mut number = if length == 0 { 0 } else { frame };
    if !slice.is_reference && number > 0 {
        number -= 1;
    }
    let mut expected = 0;
    if number > 0 {
        let whole: i64 = reference.iter().map(|&offset| i64::from(offset)).sum();
        let (cycles, within) = ((number - 1) / length, (number - 1) % length);
        let part = reference.iter().take(usize::try_from(within).expect("below 255") + 1);
        expected = cycles.saturating_mul(whole).saturating_add(part.map(|&offset| i64::from(offset)).sum());
    }
    if !slice.is_reference {
        expected = expected.saturating_add(i64::from(non_reference));
    }
    let top = expected.saturating_add(i64::from(slice.order_deltas[0]));
    match slice.structure {
        Structure::Frame => {
            top.min(top.saturating_add(i64::from(top_to_bottom)).saturating_add(i64::from(slice.order_deltas[1])))
        }
        Structure::TopField => top,
        Structure::BottomField => top.saturating_add(i64::from(top_to_bottom)),
    }
}
