//! Where a stretch ends in a stream whose frames may come in another order than they are shown in.

/// More frames than one that are shown after it may not come before a frame (ITU-T H.264, A.3.1: the picture buffer).
const MAX_REORDERED: usize = 16;

/// Holds frames of after the moment back: frames that are shown before them, and refer to them, may follow.
#[derive(Debug)]
pub(super) struct Ending<T> {
    moment: i64,
    held: Vec<T>,
    /// Capture time of the first one that was held.
    first: Option<i64>,
}

/// What becomes of a frame.
#[derive(Debug, PartialEq)]
pub(super) enum Place<T> {
    /// It belongs to the stretch, and these do, too, because it may refer to them: in the order of the log.
    Within(Vec<T>),
    /// Nothing is known yet.
    Held,
    /// Nothing that belongs to the stretch comes any more.
    Past,
}

impl<T> Ending<T> {
    /// `moment` belongs to the stretch.
    pub(super) fn new(moment: i64) -> Self {
        Self { moment, held: Vec::new(), first: None }
    }

    /// The next frame of the log. `is_reordered`: its codec can have frames that are shown before it and come after it.
    pub(super) fn take(&mut self, frame: T, capture: i64, is_reordered: bool) -> Place<T> {
        if capture <= self.moment {
            self.held.push(frame);
            return Place::Within(std::mem::take(&mut self.held));
        }
        // Once something comes that is shown after the first one held, everything shown before that has come.
        let is_past = self.first.is_some_and(|first| capture >= first) || self.held.len() >= MAX_REORDERED;
        if is_past || !is_reordered {
            return Place::Past;
        }
        self.first = self.first.or(Some(capture));
        self.held.push(frame);
        Place::Held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of the stretch up to `moment`, and how many were looked at; a frame is its place on the screen.
    fn check(frames: &[i64], moment: i64, is_reordered: bool, expected: (&[i64], usize)) {
        let mut ending = Ending::new(moment);
        let (mut within, mut looked) = (Vec::new(), 0);
        for frame in frames {
            looked += 1;
            match ending.take(*frame, *frame, is_reordered) {
                Place::Within(all) => within.extend(all),
                Place::Held => {}
                Place::Past => break,
            }
        }
        assert_eq!((within.as_slice(), looked), expected, "{frames:?} up to {moment}");
    }

    #[test]
    fn frames_in_order_end_with_the_first_later_one_but_one() {
        check(&[0, 1, 2, 3, 4, 5], 2, true, (&[0, 1, 2], 5));
        check(&[0, 1, 2, 3, 4, 5], 2, false, (&[0, 1, 2], 4));
        check(&[0, 1, 2], 2, true, (&[0, 1, 2], 3));
    }

    #[test]
    fn frames_that_are_shown_before_others_and_come_after_them_are_not_lost() {
        let bidirectional = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8];
        check(&bidirectional, 1, true, (&[0, 3, 1], 5));
        check(&bidirectional, 2, true, (&[0, 3, 1, 2], 5));
        check(&bidirectional, 4, true, (&[0, 3, 1, 2, 6, 4], 8));
        let pyramid = [0, 8, 4, 2, 1, 3, 6, 5, 7, 16, 12, 10, 9];
        check(&pyramid, 1, true, (&[0, 8, 4, 2, 1], 10));
        check(&pyramid, 5, true, (&[0, 8, 4, 2, 1, 3, 6, 5], 10));
    }

    #[test]
    fn a_clock_that_is_set_back_and_forth_is_not_waited_for() {
        let falling: Vec<i64> = (0..100).map(|n| 1_000 - n).collect();
        check(&falling, 5, true, (&[], MAX_REORDERED + 1));
    }
}
