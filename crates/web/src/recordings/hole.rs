//! Where a stream goes on after a hole, by the index: what others sent meanwhile need not be read.

use super::{Cancel, Refused};
use lumenbus_bus::index::{IndexReader, KeyframeAt};
use lumenbus_frame::{FrameId, StreamId};

/// The end of a hole is known to about this by halving; the rest is gone from keyframe to keyframe.
const NEAR_NANOS: i64 = 1_000_000_000;
const MAX_HALVINGS: usize = 48;
const MAX_STEPS: usize = 64;
/// A camera's clock may be ahead of ours by so much: publishers replace only times further off.
const MAX_AHEAD_NANOS: i64 = 24 * 3_600 * 1_000_000_000;

/// Identity and capture time of a frame.
pub(super) type Mark = (FrameId, i64);

/// What is asked about a stream.
pub(super) trait Keyframes {
    type Keyframe;

    fn mark(keyframe: &Self::Keyframe) -> Mark;

    /// The keyframe at or before a moment.
    fn find(&mut self, capture_unix_nanos: i64) -> Result<Option<Self::Keyframe>, Refused>;

    /// The keyframe before this one.
    fn before(&mut self, keyframe: &Self::Keyframe) -> Result<Option<Self::Keyframe>, Refused>;

    /// The last frame before this keyframe in the log, without one the last of all; `None` when none is near.
    fn last_before(&mut self, keyframe: Option<&Self::Keyframe>) -> Result<Option<FrameId>, Refused>;

    /// Whether a keyframe after this frame is known, taken up to this moment.
    fn is_known_after(&mut self, frame: FrameId, until_unix_nanos: i64) -> Result<bool, Refused>;
}

/// How a stream goes on.
#[derive(Debug, PartialEq)]
pub(super) enum Onward<K> {
    /// With this keyframe: no other one is known between, and no frame after `last` was found close before it.
    With(K),
    /// No later keyframe is known, and no later frame was found at the end of what is recorded.
    Nowhere,
    /// Frames were sent late, clocks were set, or keyframes are very dense: what is there has to be read.
    Unclear,
}

/// How the stream goes on after its frame `last`.
pub(super) fn after<S: Keyframes>(stream: &mut S, last: Mark, now: i64) -> Result<Onward<S::Keyframe>, Refused> {
    let is_later = |found: &S::Keyframe| S::mark(found).0 > last.0;
    let until = now.saturating_add(MAX_AHEAD_NANOS);
    let Some(mut next) = stream.find(until)?.filter(is_later) else {
        // Where a clock was set back, what follows is of an earlier time.
        let is_unclear = stream.is_known_after(last.0, until)? || goes_on(stream, last.0, None)?;
        return Ok(if is_unclear { Onward::Unclear } else { Onward::Nowhere });
    };
    let mut silent_until = last.1;
    for _ in 0..MAX_HALVINGS {
        let apart = S::mark(&next).1.saturating_sub(silent_until);
        if apart <= NEAR_NANOS {
            break;
        }
        let middle = silent_until.saturating_add(apart / 2);
        match stream.find(middle)?.filter(is_later) {
            Some(nearer) => next = nearer,
            None => silent_until = middle,
        }
    }
    for _ in 0..MAX_STEPS {
        match stream.before(&next)?.filter(is_later) {
            Some(earlier) => next = earlier,
            None if goes_on(stream, last.0, Some(&next))? => return Ok(Onward::Unclear),
            None => return Ok(Onward::With(next)),
        }
    }
    Ok(Onward::Unclear)
}

/// Whether frames after `last` come before this keyframe: what a publisher without a connection kept and sent late goes
/// on in the middle of a GOP.
fn goes_on<S: Keyframes>(stream: &mut S, last: FrameId, keyframe: Option<&S::Keyframe>) -> Result<bool, Refused> {
    Ok(stream.last_before(keyframe)?.is_some_and(|found| found > last))
}

/// A stream in the log.
pub(super) struct Logged<'a> {
    pub(super) index: &'a mut IndexReader,
    pub(super) stream: &'a StreamId,
    /// Looked at before each question.
    pub(super) cancel: &'a Cancel,
}

impl Logged<'_> {
    fn go_on(&self) -> Result<(), Refused> {
        if self.cancel.is_set() { Err(Refused::Cancelled) } else { Ok(()) }
    }
}

impl Keyframes for Logged<'_> {
    type Keyframe = KeyframeAt;

    fn mark(keyframe: &KeyframeAt) -> Mark {
        (keyframe.id, keyframe.capture_unix_nanos)
    }

    fn find(&mut self, capture_unix_nanos: i64) -> Result<Option<KeyframeAt>, Refused> {
        self.go_on()?;
        Ok(self.index.find(self.stream, capture_unix_nanos)?.into_iter().next())
    }

    fn before(&mut self, keyframe: &KeyframeAt) -> Result<Option<KeyframeAt>, Refused> {
        self.go_on()?;
        Ok(self.index.before(self.stream, keyframe)?)
    }

    fn last_before(&mut self, keyframe: Option<&KeyframeAt>) -> Result<Option<FrameId>, Refused> {
        self.go_on()?;
        Ok(self.index.last_frame_before(self.stream, keyframe)?)
    }

    fn is_known_after(&mut self, frame: FrameId, until_unix_nanos: i64) -> Result<bool, Refused> {
        self.go_on()?;
        // The work is bounded by the index, not by the number of keyframes told.
        let all = self.index.coverage(self.stream, 0, until_unix_nanos, usize::MAX)?;
        Ok(all.keyframes.iter().any(|keyframe| keyframe.id > frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{Epoch, Seq};

    const SECOND: i64 = 1_000_000_000;

    /// Keyframes in the order of the log, seq and capture time in seconds.
    struct Known {
        keyframes: Vec<(u64, i64)>,
        /// The last frame between keyframes.
        delta: Option<u64>,
        asked: usize,
    }

    impl Known {
        fn mark_of((seq, second): (u64, i64)) -> Mark {
            (FrameId { epoch: Epoch(1), seq: Seq(seq) }, second * SECOND)
        }
    }

    impl Keyframes for Known {
        type Keyframe = (u64, i64);

        fn mark(keyframe: &(u64, i64)) -> Mark {
            Self::mark_of(*keyframe)
        }

        /// Between stretches, that of the one that came closest.
        fn find(&mut self, at: i64) -> Result<Option<(u64, i64)>, Refused> {
            self.asked += 1;
            Ok(self
                .keyframes
                .iter()
                .filter(|(_, second)| second * SECOND <= at)
                .max_by_key(|(_, second)| *second)
                .copied())
        }

        fn before(&mut self, keyframe: &(u64, i64)) -> Result<Option<(u64, i64)>, Refused> {
            self.asked += 1;
            Ok(self.keyframes.iter().rev().find(|(seq, _)| *seq < keyframe.0).copied())
        }

        fn last_before(&mut self, keyframe: Option<&(u64, i64)>) -> Result<Option<FrameId>, Refused> {
            self.asked += 1;
            let is_before = |seq: &u64| keyframe.is_none_or(|keyframe| *seq < keyframe.0);
            let seqs = self.keyframes.iter().map(|(seq, _)| *seq).chain(self.delta);
            Ok(seqs.filter(is_before).max().map(|seq| Self::mark_of((seq, 0)).0))
        }

        fn is_known_after(&mut self, frame: FrameId, until: i64) -> Result<bool, Refused> {
            Ok(self.keyframes.iter().any(|(seq, second)| *seq > frame.seq.0 && second * SECOND <= until))
        }
    }

    const NOW: i64 = 1_000_000;

    fn check(keyframes: &[(u64, i64)], last: (u64, i64), expected: &Onward<(u64, i64)>) {
        check_with(keyframes, None, last, expected);
    }

    fn check_with(keyframes: &[(u64, i64)], delta: Option<u64>, last: (u64, i64), expected: &Onward<(u64, i64)>) {
        let mut known = Known { keyframes: keyframes.to_vec(), delta, asked: 0 };
        let found = after(&mut known, Known::mark_of(last), NOW * SECOND).unwrap();
        assert_eq!(&found, expected, "{keyframes:?} and {delta:?} after {last:?}");
        assert!(known.asked < 100, "{} questions", known.asked);
    }

    #[test]
    fn a_hole_ends_with_the_first_keyframe_after_it() {
        check(
            &[(0, 0), (50, 2), (100, 600_000), (150, 600_002), (200, 600_004)],
            (60, 3),
            &Onward::With((100, 600_000)),
        );
        // The hole is followed by hours of footage, with more holes.
        let hours: Vec<_> = (0..20_000_u64).map(|n| (100 + n, 5_000 + 2 * n.cast_signed())).collect();
        let all: Vec<_> = [(0, 0)].into_iter().chain(hours).chain([(90_000, 900_000)]).collect();
        check(&all, (7, 1), &Onward::With((100, 5_000)));
        check(&[(0, 0), (1, 900_000)], (0, 0), &Onward::With((1, 900_000)));
    }

    #[test]
    fn a_camera_that_is_silent_for_good_goes_nowhere() {
        check(&[(0, 0), (50, 2)], (60, 3), &Onward::Nowhere);
        check(&[], (60, 3), &Onward::Nowhere);
    }

    #[test]
    fn frames_that_were_sent_late_are_not_jumped() {
        // The connection was lost behind frame 100, in the middle of a GOP; the rest of it came later.
        check_with(&[(0, 0), (300, 10)], Some(299), (100, 3), &Onward::Unclear);
        check_with(&[(0, 0)], Some(299), (100, 3), &Onward::Unclear);
        // Nothing was kept.
        check_with(&[(0, 0), (300, 10)], Some(100), (100, 3), &Onward::With((300, 10)));
        check_with(&[(0, 0)], Some(100), (100, 3), &Onward::Nowhere);
    }

    #[test]
    fn a_camera_whose_clock_is_ahead_goes_on_in_our_future() {
        let ahead = NOW + 23 * 3_600;
        check(&[(0, 0), (100, ahead)], (60, 3), &Onward::With((100, ahead)));
        // It was further ahead before: what follows is of an earlier time, and still to come.
        check(&[(0, ahead + 600), (100, ahead)], (60, ahead + 603), &Onward::Unclear);
    }

    #[test]
    fn what_may_lie_between_is_not_jumped() {
        // The clock was set back while it was away.
        let back: Vec<_> = (0..200_u64).map(|n| (100 + n, 1_000 + n.cast_signed())).collect();
        let all: Vec<_> = [(0, 9_000), (50, 9_002)].into_iter().chain(back).collect();
        check(&all, (60, 9_003), &Onward::Unclear);
        let dense: Vec<_> = (0..200_u64).map(|n| (100 + n, 500)).collect();
        check(&dense, (0, 0), &Onward::Unclear);
    }
}
