//! Whether somebody waits for a stream's keyframe.

use super::KEYFRAME_REST;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One stream's; times are the publisher's monotonic nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// Whoever feeds the stream looks at it.
    is_answered: AtomicBool,
    is_open: AtomicBool,
    /// No further keyframe on request before this.
    rests_until: AtomicU64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The next picture will be a keyframe.
    Open,
    /// There was one just now.
    JustGiven,
    /// This stream gives none on request.
    NotGiven,
}

impl Wish {
    pub(crate) fn answer(&self) {
        self.is_answered.store(true, Ordering::Release);
    }

    pub(crate) fn ask(&self, now_nanos: u64) -> Asked {
        if !self.is_answered.load(Ordering::Acquire) {
            return Asked::NotGiven;
        }
        if now_nanos < self.rests_until.load(Ordering::Acquire) {
            return Asked::JustGiven;
        }
        self.is_open.store(true, Ordering::Release);
        Asked::Open
    }

    /// Whether the next picture shall be a keyframe; told once.
    pub(crate) fn take(&self, now_nanos: u64) -> bool {
        let is_open = self.is_open.load(Ordering::Relaxed) && self.is_open.swap(false, Ordering::AcqRel);
        if is_open {
            self.rest(now_nanos);
        }
        is_open
    }

    /// A keyframe was queued, whatever for: it answers who asked before.
    pub(crate) fn keyframe(&self, now_nanos: u64) {
        self.rest(now_nanos);
        self.is_open.store(false, Ordering::Release);
    }

    fn rest(&self, now_nanos: u64) {
        let rest = u64::try_from(KEYFRAME_REST.as_nanos()).unwrap_or(u64::MAX);
        self.rests_until.store(now_nanos.saturating_add(rest), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: u64 = 250_000_000;

    #[test]
    fn one_keyframe_for_any_number_of_requests() {
        let wish = Wish::default();
        assert_eq!(wish.ask(0), Asked::NotGiven);
        assert!(!wish.take(0));
        wish.answer();
        for now in 0..100 {
            assert_eq!(wish.ask(now), Asked::Open);
        }
        assert!(wish.take(100));
        assert!(!wish.take(101));
        assert_eq!(wish.ask(99 + REST), Asked::JustGiven);
        assert_eq!(wish.ask(100 + REST), Asked::Open);
    }

    #[test]
    fn a_keyframe_that_came_by_itself_is_an_answer() {
        let wish = Wish::default();
        wish.answer();
        assert_eq!(wish.ask(1_000), Asked::Open);
        wish.keyframe(2_000);
        assert!(!wish.take(3_000));
        assert_eq!(wish.ask(3_000), Asked::JustGiven);
    }
}
