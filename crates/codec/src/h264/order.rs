//! Output order of decoded pictures (ITU-T H.264, 8.2.1 and C.4): who waits for whom.
//!
//! The library below is driven so that it gives each picture in decode order; putting them into output order
//! here is what ties every picture to its own pts and capture time.

use super::syntax::{OrderCoding, Slice, Sps};

/// Most pictures held back: the largest decoded picture buffer of the standard (A.3.1).
pub(super) const MAX_HELD_PICTURES: usize = 16;
/// Pictures in rising order, jumps and all, after which a stream is taken to be without reordering.
const CONVINCING_PICTURES: u32 = 4;

/// Where a picture belongs: sequences (from IDR to IDR) in turn, order counts within them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    sequence: u64,
    count: i64,
}

/// Counts places from slice headers.
#[derive(Debug, Default)]
pub(super) struct Counter {
    sequence: u64,
    previous_high: i64,
    previous_low: i64,
    decoded: i64,
}

impl Counter {
    /// The place of the picture this slice begins.
    ///
    /// `memory_management_control_operation` 5 (a restart of the count without IDR) is not followed.
    pub(super) fn next(&mut self, sps: &Sps, slice: &Slice) -> Place {
        if slice.is_idr {
            *self = Self { sequence: self.sequence + 1, ..Self::default() };
        }
        self.decoded += 1;
        let count = match sps.order {
            OrderCoding::LowBits(bits) => self.low_bits_count(1 << bits, slice),
            OrderCoding::Cycle | OrderCoding::DecodeOrder => 2 * self.decoded,
        };
        Place { sequence: self.sequence, count }
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
        high + low + i64::from(slice.order_delta_bottom).min(0)
    }
}

/// Holds pictures back until none that belongs before them can follow.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    held: Vec<(Place, T)>,
    last: Option<Place>,
    /// `Some` when the stream says how many pictures may be held.
    depth: Option<usize>,
    /// Most that may be held in any case.
    capacity: usize,
    bidirectional_seen: bool,
    /// Pictures that came in rising order since the last that did not.
    rising: u32,
    newest: Option<Place>,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            last: None,
            depth: None,
            capacity: MAX_HELD_PICTURES,
            bidirectional_seen: false,
            rising: 0,
            newest: None,
        }
    }
}

impl<T> Reorder<T> {
    /// Learns what the stream says of itself.
    pub(super) fn configure(&mut self, sps: &Sps) {
        self.depth = match sps.max_reorder {
            _ if sps.is_in_decode_order() => Some(0),
            Some(frames) => Some(usize::try_from(frames).unwrap_or(MAX_HELD_PICTURES)),
            None => None,
        };
        self.capacity = sps.picture_buffer_frames().min(MAX_HELD_PICTURES);
    }

    /// Takes the next picture in decode order and hands out what is due.
    ///
    /// False when the picture belongs before one that is out already; it is dropped then.
    pub(super) fn push(&mut self, place: Place, bidirectional: bool, item: T, mut out: impl FnMut(T)) -> bool {
        self.bidirectional_seen |= bidirectional;
        let in_turn = self.newest.is_none_or(|newest| newest < place);
        self.rising = if in_turn { self.rising.saturating_add(1) } else { 0 };
        self.newest = self.newest.max(Some(place));
        if self.last.is_some_and(|last| place <= last) {
            self.bidirectional_seen = true;
            return false;
        }
        let at = self.held.partition_point(|(held, _)| *held < place);
        self.held.insert(at, (place, item));
        while self.is_due() {
            out(self.take_first());
        }
        true
    }

    fn take_first(&mut self) -> T {
        let (place, item) = self.held.remove(0);
        self.last = Some(place);
        item
    }

    /// Whether the first held picture can go.
    fn is_due(&self) -> bool {
        let Some((first, _)) = self.held.first() else {
            return false;
        };
        // A later IDR picture closes its sequence (C.4.4: no_output_of_prior_pics_flag is not obeyed).
        if self.newest.is_some_and(|newest| newest.sequence > first.sequence) {
            return true;
        }
        let depth = self.depth.unwrap_or(self.capacity).min(self.capacity);
        self.held.len() > depth || self.is_next(*first) || self.seems_in_decode_order()
    }

    /// Nothing fits between the last picture and this one.
    ///
    /// Frames count in steps of two, a field each, so a step of two has no room in practice. A stream that
    /// states its depth may count by one: there only a step of one is certain.
    fn is_next(&self, place: Place) -> bool {
        let step = if self.depth.is_none() { 2 } else { 1 };
        match self.last {
            Some(last) if last.sequence == place.sequence => place.count - last.count <= step,
            _ => place.count == 0,
        }
    }

    /// Jumps in the count, but nobody ever came late: frames were dropped, or the encoder counts in its own way.
    fn seems_in_decode_order(&self) -> bool {
        self.depth.is_none() && !self.bidirectional_seen && self.rising >= CONVINCING_PICTURES
    }

    /// Hands out everything that is held.
    pub(super) fn flush(&mut self, mut out: impl FnMut(T)) {
        while !self.held.is_empty() {
            out(self.take_first());
        }
    }

    /// Forgets what is held and where it stood; keeps what was learned of the stream.
    pub(super) fn reset(&mut self) {
        self.held.clear();
        (self.last, self.newest, self.rising) = (None, None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(sequence: u64, count: i64) -> Place {
        Place { sequence, count }
    }

    /// Feeds (sequence, count, is B) and notes what is out after each.
    fn run(depth: Option<usize>, pictures: &[(u64, i64, bool)]) -> Vec<Vec<i64>> {
        let mut order = Reorder { depth, ..Reorder::default() };
        let mut steps: Vec<Vec<i64>> = Vec::new();
        for &(sequence, count, bidirectional) in pictures {
            let mut out = Vec::new();
            order.push(place(sequence, count), bidirectional, count, |item| {
                out.push(item);
            });
            steps.push(out);
        }
        let mut rest = Vec::new();
        order.flush(|item| rest.push(item));
        steps.push(rest);
        steps
    }

    #[test]
    fn a_stream_without_b_pictures_is_never_held_back() {
        let pictures: Vec<_> = (0..6).map(|n| (1, 2 * n, false)).collect();
        for depth in [None, Some(0)] {
            let steps = run(depth, &pictures);
            assert!(steps[..6].iter().enumerate().all(|(n, out)| out == &[2 * i64::try_from(n).unwrap()]), "{steps:?}");
        }
    }

    #[test]
    fn a_pyramid_comes_out_in_order_with_and_without_a_declared_depth() {
        let pyramid = [(1, 0, false), (1, 8, false), (1, 4, true), (1, 2, true), (1, 6, true), (2, 0, false)];
        assert_eq!(run(None, &pyramid), [vec![0], vec![], vec![], vec![2, 4], vec![6, 8], vec![0], vec![]]);
        assert_eq!(run(Some(2), &pyramid), [vec![0], vec![], vec![], vec![2], vec![4], vec![6, 8, 0], vec![]]);
    }

    #[test]
    fn an_encoder_with_its_own_step_is_soon_believed() {
        let pictures: Vec<_> = (0..12).map(|n| (1, 6 * n, false)).collect();
        let steps = run(None, &pictures);
        assert!(steps[CONVINCING_PICTURES as usize..12].iter().all(|out| out.len() == 1), "{steps:?}");
        assert_eq!(steps.concat(), (0..12).map(|n| 6 * n).collect::<Vec<_>>());
    }

    #[test]
    fn a_late_picture_is_dropped_not_misplaced() {
        let mut order = Reorder::default();
        let mut out = Vec::new();
        for count in [0, 2, 4] {
            assert!(order.push(place(1, count), false, count, |item| out.push(item)));
        }
        assert!(!order.push(place(1, 3), true, 3, |item| out.push(item)));
        assert_eq!(out, [0, 2, 4]);
    }

    #[test]
    fn low_bits_wrap() {
        // Main profile, level 3.1; id 0, 4 bits of frame_num, order type 0 with 4 bits, 1 reference, 1 x 1 macroblocks.
        let sps = Sps::parse(&[0x67, 77, 0, 31, 0b1111_1010, 0b0111_1100, 0]).unwrap();
        let mut counter = Counter::default();
        let slice = |is_idr, low| Slice {
            is_idr,
            is_reference: true,
            is_bidirectional: false,
            order_low_bits: low,
            order_delta_bottom: 0,
        };
        assert_eq!(sps.order, OrderCoding::LowBits(4));
        let counts: Vec<i64> = [(true, 0), (false, 6), (false, 12), (false, 2), (false, 8), (true, 0)]
            .map(|(idr, low)| counter.next(&sps, &slice(idr, low)).count)
            .to_vec();
        assert_eq!(counts, [0, 6, 12, 18, 24, 0]);
    }

    proptest! {
        /// Whatever comes, it goes out in rising order, bounded, nothing twice and nothing lost but the late.
        #[test]
        fn output_rises(depth in prop::option::of(0_usize..17), counts in prop::collection::vec((0_u64..3, -40_i64..40, any::<bool>()), 0..120)) {
            let mut order = Reorder { depth, ..Reorder::default() };
            let (mut out, mut late) = (Vec::new(), 0);
            for &(sequence, count, bidirectional) in &counts {
                let at = place(sequence, count);
                if !order.push(at, bidirectional, at, |item| out.push(item)) {
                    late += 1;
                }
                prop_assert!(order.held.len() <= MAX_HELD_PICTURES);
            }
            order.flush(|item| out.push(item));
            prop_assert!(out.is_sorted());
            prop_assert_eq!(out.len() + late, counts.len());
        }
    }
}
