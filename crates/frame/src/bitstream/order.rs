//! Presentation order without timestamps.

use std::collections::VecDeque;

/// Most access units held until their place in presentation order is known; twice the standards' 16 and some.
pub const MAX_HELD_UNITS: usize = 64;
/// Most bytes held for that.
pub const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;

/// A picture's place in output order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureOrder {
    /// Picture order count: pictures are shown in its order, up to the next that restarts it.
    pub count: i64,
    /// Whether everything before this picture is shown before it, whatever the counts (IDR).
    pub restarts: bool,
}

struct Entry<T> {
    item: T,
    bytes: usize,
    count: i64,
    index: Option<u64>,
}

/// Numbers the pictures of a stream in presentation order while handing them on in decode order.
///
/// A picture's number is known once nothing can come before it: when more pictures wait than may be reordered
/// (`max_reorder`, H.264 C.4.5.3, H.265 C.5.2.2), when the count restarts, or at the end. With no B-frames nothing
/// waits. Times follow as number × frame interval. Bounded by [`MAX_HELD_UNITS`] and [`MAX_HELD_BYTES`]; a stream that
/// needs more gets numbers in decode order there.
pub struct DisplayOrder<T> {
    queue: VecDeque<Entry<T>>,
    waiting: usize,
    held_bytes: usize,
    next_index: u64,
}

impl<T> Default for DisplayOrder<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), waiting: 0, held_bytes: 0, next_index: 0 }
    }
}

impl<T> DisplayOrder<T> {
    /// Takes the next picture in decode order; `bytes` is what it counts against the limit.
    ///
    /// A picture without a known order is numbered as it comes.
    pub fn push(&mut self, item: T, bytes: usize, order: Option<PictureOrder>, max_reorder: usize) {
        let restarts = order.is_none_or(|order| order.restarts);
        if restarts {
            self.finish();
        }
        let count = order.map_or(i64::MIN, |order| order.count);
        self.queue.push_back(Entry { item, bytes, count, index: None });
        self.waiting += 1;
        self.held_bytes += bytes;
        let limit = if order.is_some() { max_reorder } else { 0 };
        while self.waiting > limit {
            self.number_lowest();
        }
        while self.queue.len() > MAX_HELD_UNITS || self.held_bytes > MAX_HELD_BYTES {
            if self.front_is_numbered() {
                break;
            }
            self.number(0);
        }
    }

    /// The next picture in decode order with its number in presentation order, when that is known.
    pub fn pop(&mut self) -> Option<(T, u64)> {
        let index = self.queue.front()?.index?;
        let entry = self.queue.pop_front()?;
        self.held_bytes -= entry.bytes;
        Some((entry.item, index))
    }

    /// Nothing more comes, or nothing that belongs before what is waiting.
    pub fn finish(&mut self) {
        while self.waiting > 0 {
            self.number_lowest();
        }
    }

    fn front_is_numbered(&self) -> bool {
        self.queue.front().is_none_or(|entry| entry.index.is_some())
    }

    fn number_lowest(&mut self) {
        let waiting = self.queue.iter().enumerate().filter(|(_, entry)| entry.index.is_none());
        if let Some((at, _)) = waiting.min_by_key(|(_, entry)| entry.count) {
            self.number(at);
        }
    }

    fn number(&mut self, at: usize) {
        self.queue[at].index = Some(self.next_index);
        self.next_index += 1;
        self.waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(counts: &[(i64, bool)], max_reorder: usize) -> Vec<u64> {
        let mut order = DisplayOrder::default();
        let mut out = Vec::new();
        for &(count, restarts) in counts {
            order.push((), 1, Some(PictureOrder { count, restarts }), max_reorder);
            out.extend(std::iter::from_fn(|| order.pop()).map(|(_, index)| index));
        }
        order.finish();
        out.extend(std::iter::from_fn(|| order.pop()).map(|(_, index)| index));
        out
    }

    #[test]
    fn b_frames_come_before_the_picture_they_refer_to() {
        let counts = [(0, true), (8, false), (4, false), (2, false), (6, false), (16, false), (0, true), (2, false)];
        assert_eq!(numbers(&counts, 2), [0, 4, 2, 1, 3, 5, 6, 7]);
    }

    #[test]
    fn a_picture_that_never_has_its_turn_is_given_one() {
        let mut counts = vec![(1000, true)];
        counts.extend((0..500).map(|count| (count, false)));
        let got = numbers(&counts, 1);
        assert_eq!(got.len(), 501);
        assert!(got[0] <= MAX_HELD_UNITS as u64);
    }

    proptest! {
        #[test]
        fn every_picture_gets_one_number(counts in proptest::collection::vec((any::<i64>(), any::<bool>()), 0..300), reorder in 0_usize..17) {
            let mut got = numbers(&counts, reorder);
            prop_assert_eq!(got.len(), counts.len());
            got.sort_unstable();
            prop_assert!(got.iter().enumerate().all(|(at, &number)| number == at as u64));
        }

        #[test]
        fn a_stream_without_reordering_is_never_delayed(counts in proptest::collection::vec(any::<i64>(), 0..50)) {
            let mut order = DisplayOrder::default();
            for (at, &count) in counts.iter().enumerate() {
                order.push(at, 1, Some(PictureOrder { count, restarts: false }), 0);
                prop_assert_eq!(order.pop(), Some((at, at as u64)));
            }
        }
    }
}
