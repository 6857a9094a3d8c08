//! Between a thread that takes frames from a device or a pipeline and the one that reads them.

use crate::{SourceError, SourceItem};
use lumenbus_frame::StreamParameters;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What each waiting item costs besides its payload.
const ITEM_BYTES: usize = 1024;

/// A frame on its way.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) item: SourceItem,
    /// Where they are other than before.
    pub(crate) parameters: Option<Arc<StreamParameters>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        let payload = match &self.item {
            SourceItem::Encoded { frame, .. } => frame.payload.len(),
            SourceItem::Raw { frame, .. } => frame.pixels().len(),
            SourceItem::Damaged { .. } | SourceItem::Nothing => 0,
        };
        payload + ITEM_BYTES
    }

    fn stands_alone(&self) -> bool {
        match &self.item {
            SourceItem::Encoded { frame, .. } => frame.is_keyframe,
            _ => true,
        }
    }
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Taken {
    Item(Waiting),
    /// Nothing came in time.
    Nothing,
    /// Everything was taken, and no more comes: the end, or why there cannot be more.
    End(Option<SourceError>),
}

/// The reader is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Waiting>,
    bytes: usize,
    /// Frames not taken since the queue was full; until one fits that stands alone.
    overrun: u64,
    is_skipping: bool,
    has_ended: bool,
    /// Told once.
    error: Option<SourceError>,
    is_closed: bool,
}

/// Frames on their way to the reader; one always fits an empty queue.
#[derive(Debug)]
pub(crate) struct Queue {
    name: Arc<str>,
    max_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    pub(crate) fn new(name: Arc<str>, max_bytes: usize) -> Self {
        Self { name, max_bytes, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A live source does not wait: when there is no room, the whole rest of the GOP is left out and counted.
    pub(crate) fn offer(&self, waiting: Waiting) -> Result<(), Closed> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Closed);
        }
        if !self.has_room(&state, &waiting) || (state.is_skipping && !waiting.stands_alone()) {
            state.is_skipping = true;
            state.overrun += 1;
        } else {
            self.tell_overrun(&mut state);
            state.is_skipping = false;
            append(&mut state, waiting);
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Any other source waits for room.
    #[cfg(any(feature = "gstreamer", test))]
    pub(crate) fn push(&self, waiting: Waiting) -> Result<(), Closed> {
        let is_full = |state: &mut State| !state.is_closed && !self.has_room(state, &waiting);
        let waited = self.changed.wait_while(self.lock(), is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return Err(Closed);
        }
        append(&mut state, waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// Something that cannot be used, and how many frames that costs; neighbours become one.
    pub(crate) fn damage(&self, error: SourceError, frames: u64) -> Result<(), Closed> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Closed);
        }
        self.tell_overrun(&mut state);
        let last = state.items.back_mut().map(|waiting| &mut waiting.item);
        if let Some(SourceItem::Damaged { frames: Some(before), .. }) = last {
            *before = before.saturating_add(frames);
        } else {
            append(&mut state, damaged(error, frames));
        }
        self.changed.notify_all();
        Ok(())
    }

    /// No more comes. Only the first reason counts: what follows an error is its consequence.
    pub(crate) fn end(&self, error: Option<SourceError>) {
        let mut state = self.lock();
        if !state.has_ended {
            (state.has_ended, state.error) = (true, error);
        }
        self.changed.notify_all();
    }

    /// Nobody reads any more: whoever waits for room stops waiting.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.items.clear();
        self.changed.notify_all();
    }

    /// The next item, waiting at most so long for it.
    pub(crate) fn take(&self, wait: Duration) -> Taken {
        let is_idle = |state: &mut State| state.items.is_empty() && state.overrun == 0 && !state.has_ended;
        let waited = self.changed.wait_timeout_while(self.lock(), wait, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.items.is_empty() {
            self.tell_overrun(&mut state);
        }
        if let Some(waiting) = state.items.pop_front() {
            state.bytes -= waiting.bytes();
            self.changed.notify_all();
            return Taken::Item(waiting);
        }
        if state.has_ended { Taken::End(state.error.take()) } else { Taken::Nothing }
    }

    fn has_room(&self, state: &State, waiting: &Waiting) -> bool {
        state.items.is_empty() || state.bytes + waiting.bytes() <= self.max_bytes
    }

    fn tell_overrun(&self, state: &mut State) {
        let frames = std::mem::take(&mut state.overrun);
        if frames > 0 {
            append(state, damaged(SourceError::Overrun { name: Arc::clone(&self.name), frames }, frames));
        }
    }
}

fn damaged(error: SourceError, frames: u64) -> Waiting {
    Waiting { item: SourceItem::Damaged { error, frames: Some(frames) }, parameters: None }
}

fn append(state: &mut State, waiting: Waiting) {
    state.bytes += waiting.bytes();
    state.items.push_back(waiting);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lumenbus_frame::{CaptureTime, Codec, EncodedFrame};

    const LIMIT: usize = 6 * 1024;

    fn queue() -> Queue {
        Queue::new(Arc::from("camera"), LIMIT)
    }

    fn frame(number: u8, is_keyframe: bool) -> Waiting {
        let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), Bytes::from(vec![number; 1024]));
        frame.is_keyframe = is_keyframe;
        Waiting { item: SourceItem::Encoded { frame, media_time: Duration::ZERO }, parameters: None }
    }

    fn lost() -> SourceError {
        SourceError::Lost { name: Arc::from("camera"), what: "a test" }
    }

    /// Numbers of frames, and negative ones for frames lost.
    fn drain(queue: &Queue) -> Vec<i64> {
        let mut all = Vec::new();
        while let Taken::Item(waiting) = queue.take(Duration::ZERO) {
            all.push(match waiting.item {
                SourceItem::Encoded { frame, .. } => i64::from(frame.payload[0]),
                SourceItem::Damaged { frames, .. } => -i64::try_from(frames.unwrap()).unwrap(),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(queue.lock().bytes, 0);
        all
    }

    #[test]
    fn a_full_queue_leaves_out_the_rest_of_the_gop_and_counts_it() {
        let queue = queue();
        (0..20).for_each(|number| queue.offer(frame(number, number % 10 == 0)).unwrap());
        assert!(queue.lock().bytes <= LIMIT);
        assert_eq!(drain(&queue), [0, 1, 2, -17]);
        queue.offer(frame(20, false)).unwrap();
        assert_eq!(drain(&queue), [-1], "nobody could decode it");
        queue.offer(frame(30, true)).unwrap();
        queue.damage(lost(), 1).unwrap();
        (0..1000).for_each(|_| queue.damage(lost(), 1).unwrap());
        queue.offer(frame(31, false)).unwrap();
        assert_eq!(drain(&queue), [30, -1001, 31]);
    }

    #[test]
    fn a_source_that_can_wait_waits_and_loses_nothing() {
        let queue = Arc::new(queue());
        let feeder = Arc::clone(&queue);
        let feeding = std::thread::spawn(move || {
            (0..100).for_each(|number| feeder.push(frame(number, number == 0)).unwrap());
            feeder.end(None);
        });
        let mut numbers = Vec::new();
        loop {
            match queue.take(Duration::from_secs(60)) {
                Taken::Item(Waiting { item: SourceItem::Encoded { frame, .. }, .. }) => numbers.push(frame.payload[0]),
                Taken::End(None) => break,
                other => panic!("{other:?}"),
            }
            assert!(queue.lock().bytes <= LIMIT);
        }
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        feeding.join().unwrap();
    }

    #[test]
    fn closing_wakes_who_waits_for_room() {
        let queue = Arc::new(queue());
        let feeder = Arc::clone(&queue);
        let feeding = std::thread::spawn(move || while feeder.push(frame(0, true)).is_ok() {});
        while queue.lock().items.len() < 3 {
            std::thread::yield_now();
        }
        queue.close();
        feeding.join().unwrap();
        assert_eq!((queue.offer(frame(1, true)), queue.damage(lost(), 1)), (Err(Closed), Err(Closed)));
    }

    #[test]
    fn the_first_reason_to_end_counts_and_comes_last() {
        let queue = queue();
        queue.offer(frame(1, true)).unwrap();
        queue.end(Some(lost()));
        queue.end(None);
        assert_eq!(drain(&queue), [1]);
        assert!(matches!(queue.take(Duration::ZERO), Taken::End(None)), "told once, by the drain");
        let queue = Queue::new(Arc::from("camera"), LIMIT);
        queue.end(Some(lost()));
        assert!(matches!(queue.take(Duration::ZERO), Taken::End(Some(_))));
    }
}
