//! Decode times for frames of which it is known when each is shown; pure.

use std::collections::{BTreeMap, VecDeque};

/// Frames may wait for that many others at most (the standards allow 16).
const MAX_REORDER: usize = 16;

/// A frame with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timed<T> {
    pub(super) item: T,
    /// When it is decoded: later than every frame before.
    pub(super) decode: i64,
    /// When it is shown, minus that; negative where the pictures before it come late.
    pub(super) composition_offset: i32,
    /// Until the next frame is decoded.
    pub(super) duration: u32,
}

/// Gives the n-th frame in decode order the n-th time in display order to be decoded at.
///
/// Decode times then have the rhythm of the display times, holes included, whatever the order of pictures. Holds
/// `reorder` frames and the one whose duration is not yet known.
#[derive(Debug)]
pub(super) struct DecodeOrder<T> {
    reorder: usize,
    held: VecDeque<(T, i64)>,
    /// Display times that are not taken yet, and how often.
    times: BTreeMap<i64, usize>,
    open: Option<(T, i64, i64)>,
}

impl<T> DecodeOrder<T> {
    /// `reorder`: how many frames may come before one that is shown earlier.
    pub(super) fn new(reorder: usize) -> Self {
        Self { reorder: reorder.min(MAX_REORDER), held: VecDeque::new(), times: BTreeMap::new(), open: None }
    }

    /// The next frame in decode order.
    pub(super) fn push(&mut self, item: T, shown: i64) {
        self.held.push_back((item, shown));
        *self.times.entry(shown).or_default() += 1;
    }

    /// The next frame whose duration is known. With `end` all of them, and the last one's goes on until then.
    pub(super) fn pop(&mut self, end: Option<i64>) -> Option<Timed<T>> {
        loop {
            if self.held.len() <= self.reorder && end.is_none() {
                return None;
            }
            let Some((item, shown)) = self.held.pop_front() else {
                let (item, shown, decode) = self.open.take()?;
                return Some(timed(item, shown, decode, end.unwrap_or(decode)));
            };
            let least = self.open.as_ref().map_or(i64::MIN, |open| open.2 + 1);
            let decode = self.earliest().max(least);
            if let Some((item, shown, before)) = self.open.replace((item, shown, decode)) {
                return Some(timed(item, shown, before, decode));
            }
        }
    }

    fn earliest(&mut self) -> i64 {
        let Some(mut entry) = self.times.first_entry() else { return i64::MIN };
        let time = *entry.key();
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
        time
    }
}

fn timed<T>(item: T, shown: i64, decode: i64, next: i64) -> Timed<T> {
    let offset = (shown - decode).clamp(i32::MIN.into(), i32::MAX.into());
    let duration = (next - decode).clamp(1, u32::MAX.into());
    Timed {
        item,
        decode,
        composition_offset: i32::try_from(offset).unwrap_or(0),
        duration: u32::try_from(duration).unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (decode, offset, duration) of frames shown at these times.
    fn check(reorder: usize, shown: &[i64], end: i64, expected: &[(i64, i32, u32)]) {
        let (mut order, mut found) = (DecodeOrder::new(reorder), Vec::new());
        for time in shown {
            order.push((), *time);
            found.extend(std::iter::from_fn(|| order.pop(None)));
        }
        assert!(order.held.len() <= reorder, "no more is held than has to be");
        found.extend(std::iter::from_fn(|| order.pop(Some(end))));
        let found: Vec<_> =
            found.iter().map(|timed| (timed.decode, timed.composition_offset, timed.duration)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn without_reordering_decode_is_display_and_holes_are_durations() {
        check(0, &[0, 10, 20, 500, 510], 520, &[(0, 0, 10), (10, 0, 10), (20, 0, 480), (500, 0, 10), (510, 0, 10)]);
    }

    #[test]
    fn pictures_out_of_order_are_shown_when_they_should() {
        // I0 P3 B1 B2 P6 B4 B5
        let expected =
            [(0, 0, 10), (10, 20, 10), (20, -10, 10), (30, -10, 10), (40, 20, 10), (50, -10, 10), (60, -10, 10)];
        check(1, &[0, 30, 10, 20, 60, 40, 50], 70, &expected);
    }

    #[test]
    fn decode_times_rise_whatever_comes() {
        let mut order = DecodeOrder::new(0);
        let mut last = None;
        for shown in [5, 5, 5, 1, 1_000_000_000_000, 7, 6] {
            order.push((), shown);
            while let Some(timed) = order.pop(None) {
                assert!(last.is_none_or(|last| timed.decode > last));
                last = Some(timed.decode);
            }
        }
    }
}
