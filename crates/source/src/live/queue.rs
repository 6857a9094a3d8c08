//! Between the network and the thread that reads a camera: bounded, and never in the network's way.

use crate::SourceError;
use lumenbus_frame::EncodedFrame;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What each waiting item costs besides its payload.
const ITEM_BYTES: usize = 1024;

/// What waits.
#[derive(Debug)]
pub(super) enum Waiting {
    Frame(EncodedFrame),
    Damage { error: SourceError, frames: u64 },
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.payload.len() + ITEM_BYTES,
            Self::Damage { .. } => ITEM_BYTES,
        }
    }
}

/// What a reader gets.
#[derive(Debug)]
pub(super) enum Taken {
    Item(Waiting),
    /// Nothing came in time.
    Nothing,
    /// The camera is gone, and everything that it gave was taken.
    End(SourceError),
    /// As before; the reason was told already.
    Over,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Waiting>,
    bytes: usize,
    /// Frames not taken since the queue was full; until a keyframe fits.
    overrun: u64,
    is_skipping: bool,
    end: Option<SourceError>,
    is_over: bool,
}

/// Frames on their way to the reader.
///
/// When they are more than the limit, whole rests of GOPs are left out and counted; what waits already stays. One frame
/// always fits an empty queue.
#[derive(Debug)]
pub(super) struct Queue {
    name: Arc<str>,
    max_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    pub(super) fn new(name: Arc<str>, max_bytes: usize) -> Self {
        Self { name, max_bytes, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, frame: EncodedFrame) {
        let mut state = self.lock();
        let item = Waiting::Frame(frame);
        let fits = state.items.is_empty() || state.bytes + item.bytes() <= self.max_bytes;
        let Waiting::Frame(frame) = &item else { return };
        if !fits || (state.is_skipping && !frame.is_keyframe) {
            state.is_skipping = true;
            state.overrun += 1;
        } else {
            self.tell_overrun(&mut state);
            state.is_skipping = false;
            state.bytes += item.bytes();
            state.items.push_back(item);
        }
        self.changed.notify_all();
    }

    /// Something that cannot be used; neighbours become one.
    pub(super) fn damage(&self, error: SourceError, frames: u64) {
        let mut state = self.lock();
        self.tell_overrun(&mut state);
        if let Some(Waiting::Damage { frames: before, .. }) = state.items.back_mut() {
            *before += frames;
        } else {
            state.bytes += ITEM_BYTES;
            state.items.push_back(Waiting::Damage { error, frames });
        }
        self.changed.notify_all();
    }

    fn overrun(&self, state: &mut State) -> Option<Waiting> {
        let frames = std::mem::take(&mut state.overrun);
        let error = || SourceError::Overrun { name: Arc::clone(&self.name), frames };
        (frames > 0).then(|| Waiting::Damage { error: error(), frames })
    }

    fn tell_overrun(&self, state: &mut State) {
        if let Some(item) = self.overrun(state) {
            state.bytes += item.bytes();
            state.items.push_back(item);
        }
    }

    /// Nothing comes any more.
    pub(super) fn end(&self, error: SourceError) {
        let mut state = self.lock();
        state.end = Some(error);
        self.changed.notify_all();
    }

    /// The next item, waiting at most so long for it.
    pub(super) fn take(&self, wait: Duration) -> Taken {
        let is_idle =
            |state: &mut State| state.items.is_empty() && state.overrun == 0 && state.end.is_none() && !state.is_over;
        let waited = self.changed.wait_timeout_while(self.lock(), wait, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(item) = state.items.pop_front() {
            state.bytes -= item.bytes();
            return Taken::Item(item);
        }
        if let Some(item) = self.overrun(&mut state) {
            return Taken::Item(item);
        }
        if let Some(error) = state.end.take() {
            state.is_over = true;
            return Taken::End(error);
        }
        if state.is_over { Taken::Over } else { Taken::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lumenbus_frame::{CaptureTime, Codec};

    fn queue(max_bytes: usize) -> Queue {
        Queue::new(Arc::from("camera"), max_bytes)
    }

    fn frame(number: u8, is_keyframe: bool) -> EncodedFrame {
        let payload = Bytes::from(vec![number; 1024]);
        let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), payload);
        frame.is_keyframe = is_keyframe;
        frame
    }

    /// Numbers of frames, and negative ones for frames lost.
    fn drain(queue: &Queue) -> Vec<i64> {
        let mut all = Vec::new();
        loop {
            match queue.take(Duration::ZERO) {
                Taken::Item(Waiting::Frame(frame)) => all.push(i64::from(frame.payload[0])),
                Taken::Item(Waiting::Damage { frames, .. }) => all.push(-i64::try_from(frames).unwrap()),
                Taken::Nothing | Taken::End(_) | Taken::Over => return all,
            }
        }
    }

    #[test]
    fn a_full_queue_leaves_out_the_rest_of_the_gop_and_counts_it() {
        let queue = queue(6 * 1024);
        for number in 0..20 {
            queue.push(frame(number, number % 10 == 0));
        }
        assert!(queue.lock().bytes <= 6 * 1024);
        // Full at 3; the keyframe 10 did not fit either.
        assert_eq!(drain(&queue), [0, 1, 2, -17]);
        queue.push(frame(20, false));
        assert_eq!(drain(&queue), [-1], "nobody could decode it");
        queue.push(frame(30, true));
        queue.push(frame(31, false));
        assert_eq!(drain(&queue), [30, 31]);
    }

    #[test]
    fn what_was_left_out_stands_before_the_keyframe() {
        let queue = queue(6 * 1024);
        (0..5).for_each(|number| queue.push(frame(number, number == 0)));
        assert!(matches!(queue.take(Duration::ZERO), Taken::Item(Waiting::Frame(_))));
        queue.push(frame(5, false));
        queue.push(frame(6, true));
        assert_eq!(drain(&queue), [1, 2, -3, 6]);
    }

    #[test]
    fn a_frame_larger_than_the_limit_fits_an_empty_queue() {
        let queue = queue(1);
        queue.push(frame(1, true));
        assert_eq!(drain(&queue), [1]);
    }

    #[test]
    fn damage_without_end_takes_one_place_and_the_end_comes_last() {
        let queue = queue(6 * 1024);
        let error = || SourceError::Overrun { name: Arc::from("camera"), frames: 0 };
        (0..100_000).for_each(|_| queue.damage(error(), 1));
        queue.end(error());
        assert!(matches!(queue.take(Duration::ZERO), Taken::Item(Waiting::Damage { frames: 100_000, .. })));
        assert!(matches!(queue.take(Duration::ZERO), Taken::End(_)));
        assert!(matches!(queue.take(Duration::ZERO), Taken::Over));
    }
}
