//! Between the thread that decodes and the one that detects: pictures that wait, and what became of each frame, in order.
//!
//! Results leave in the order of their stream's frames, whatever order pictures come in: so a commit says of a stream
//! "done up to here", and means it.

use super::counts::{Counter, Counters};
use super::freshness::Freshness;
use super::window::Seen;
use lumenbus_bus::BusError;
use lumenbus_bus::results::ResultRecord;
use lumenbus_bus::subscriber::Receipt;
use lumenbus_frame::{Epoch, FrameId, RawFrame, StreamId};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Frames and other events of a stream that are not submitted.
const MAX_ENTRIES: usize = 4_096;

/// Which pictures wait for the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// All, up to this many bytes of pixels; one always may.
    All { bytes: usize },
    /// The newest of each stream.
    Newest,
}

/// A picture on its way to the detector.
pub(super) struct Waiting {
    pub(super) stream: Arc<StreamId>,
    pub(super) id: FrameId,
    pub(super) picture: RawFrame,
    pub(super) facts: Facts,
    /// When the frame came with which it left the decoder.
    pub(super) arrived: Instant,
    /// Whether others waited behind that one to be decoded.
    pub(super) has_more: bool,
}

/// What is known of a frame beside its picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) id: FrameId,
    pub(super) partition: i32,
    pub(super) received_unix_nanos: i64,
    pub(super) received: Instant,
    pub(super) decode: Duration,
    /// It was handed over before, and is here so that decoder and detector can go on.
    pub(super) is_preroll: bool,
    /// What came before has nothing to do with it.
    pub(super) resets: bool,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Frame {
        id: FrameId,
        partition: i32,
        /// When it was taken.
        unix_nanos: i64,
        is_preroll: bool,
    },
    /// The stream is over in this epoch, or the camera is away.
    Ended { epoch: Epoch },
    /// Something that only moves offsets.
    Nothing,
}

/// What became of a frame.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) result: Option<ResultRecord>,
    /// What was seen, where somebody looked.
    pub(super) seen: Option<Seen>,
}

/// Done with, and to be submitted.
pub(super) struct Done {
    pub(super) what: What,
    pub(super) outcome: Outcome,
    pub(super) receipt: Receipt,
}

struct Entry {
    what: What,
    /// What to submit, when that is known.
    outcome: Option<Outcome>,
    receipt: Receipt,
}

struct Stream {
    id: Arc<StreamId>,
    entries: VecDeque<Entry>,
    pictures: VecDeque<Waiting>,
    last_look: Instant,
    /// What was passed over last was a beginning.
    resets: bool,
}

impl Stream {
    /// Whether pictures of frames that came after this one are on their way.
    fn has_newer(&self, frame: FrameId) -> bool {
        let is_it = |entry: &&Entry| matches!(entry.what, What::Frame { id, .. } if id == frame);
        let newer = self.entries.iter().rev().take_while(|entry| !is_it(entry));
        newer.into_iter().any(|entry| matches!(entry.what, What::Frame { .. }) && entry.outcome.is_none())
    }

    fn has_outcome(&self) -> bool {
        self.entries.front().is_some_and(|entry| entry.outcome.is_some())
    }
}

#[derive(Default)]
struct State {
    streams: HashMap<u64, Stream>,
    next_key: u64,
    /// Streams with pictures, in turn.
    turns: VecDeque<u64>,
    /// Streams whose oldest entry may have its outcome.
    settled: VecDeque<u64>,
    /// Streams that are over.
    gone: Vec<u64>,
    picture_bytes: usize,
    is_busy: bool,
    is_closed: bool,
    freshness: Freshness,
    /// Why the detecting thread gave up.
    failure: Option<BusError>,
}

/// What the detecting thread does next.
pub(super) enum Work {
    /// To be submitted, in order.
    Submit(u64, Arc<StreamId>, Vec<Done>),
    /// To be looked at.
    Look(u64, Box<Waiting>),
    /// Streams of which nothing more comes.
    Forget(Vec<u64>),
    /// The end.
    Closed,
}

pub(super) struct Desk {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    keeps: Keeps,
    counters: Arc<Counters>,
}

impl Desk {
    pub(super) fn new(keeps: Keeps, counters: Arc<Counters>) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), room: Condvar::new(), keeps, counters }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, is_full: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| !state.is_closed && is_full(state);
        self.room.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a stream.
    pub(super) fn open(&self, id: &Arc<StreamId>) -> u64 {
        let mut state = self.lock();
        let key = state.next_key;
        state.next_key += 1;
        let (id, entries, pictures) = (Arc::clone(id), VecDeque::new(), VecDeque::new());
        state.streams.insert(key, Stream { id, entries, pictures, last_look: Instant::now(), resets: false });
        key
    }

    /// Takes a frame whose outcome is to come; waits while too many are.
    pub(super) fn frame(&self, key: u64, facts: &Facts, unix_nanos: i64, receipt: Receipt) {
        let Facts { id, partition, is_preroll, .. } = *facts;
        self.entry(key, Entry { what: What::Frame { id, partition, unix_nanos, is_preroll }, outcome: None, receipt });
    }

    /// Takes something else that moves offsets.
    pub(super) fn event(&self, key: u64, what: What, receipt: Receipt) {
        self.entry(key, Entry { what, outcome: Some(Outcome::default()), receipt });
    }

    fn entry(&self, key: u64, entry: Entry) {
        let entries = |state: &State| state.streams.get(&key).map_or(0, |stream| stream.entries.len());
        let mut state = self.wait_while(|state| entries(state) >= MAX_ENTRIES);
        if let Some(stream) = state.streams.get_mut(&key) {
            stream.entries.push_back(entry);
            self.settle(&mut state, key);
        }
    }

    /// What became of a frame: its result, or that it has none.
    pub(super) fn resolve(&self, key: u64, id: FrameId, outcome: Outcome) {
        let mut state = self.lock();
        Self::set(&mut state, key, id, outcome);
        self.settle(&mut state, key);
    }

    fn set(state: &mut State, key: u64, frame: FrameId, outcome: Outcome) {
        let Some(stream) = state.streams.get_mut(&key) else { return };
        let is_it =
            |entry: &&mut Entry| matches!(entry.what, What::Frame { id, .. } if id == frame) && entry.outcome.is_none();
        if let Some(entry) = stream.entries.iter_mut().find(is_it) {
            entry.outcome = Some(outcome);
        }
    }

    fn settle(&self, state: &mut State, key: u64) {
        let Some(stream) = state.streams.get(&key) else { return };
        if stream.has_outcome() && !state.settled.contains(&key) {
            state.settled.push_back(key);
            self.work.notify_one();
        }
    }

    /// Takes a picture, under the policy: waits for room, or lets go of an older one.
    pub(super) fn picture(&self, key: u64, waiting: Waiting) {
        let bytes = waiting.picture.pixels().len();
        let mut state = match self.keeps {
            Keeps::All { bytes: limit } => {
                self.wait_while(|state| state.picture_bytes > 0 && state.picture_bytes + bytes > limit)
            }
            Keeps::Newest => self.lock(),
        };
        let Some(stream) = state.streams.get_mut(&key) else { return };
        let mut waiting = waiting;
        let old = if self.keeps == Keeps::Newest { std::mem::take(&mut stream.pictures) } else { VecDeque::new() };
        let resets = std::mem::take(&mut stream.resets);
        waiting.facts.resets |= resets || old.iter().any(|old| old.facts.resets);
        stream.pictures.push_back(waiting);
        state.picture_bytes += bytes;
        for old in old {
            self.let_go(&mut state, key, &old);
        }
        if !state.turns.contains(&key) {
            state.turns.push_back(key);
        }
        self.settle(&mut state, key);
        self.work.notify_one();
    }

    /// What waits of this stream is older than what is to come, and too old.
    pub(super) fn overtake(&self, key: u64) {
        let mut state = self.lock();
        let Some(stream) = state.streams.get_mut(&key) else { return };
        let old = std::mem::take(&mut stream.pictures);
        stream.resets |= old.iter().any(|old| old.facts.resets);
        for old in old {
            self.let_go(&mut state, key, &old);
        }
        self.settle(&mut state, key);
    }

    /// A picture that nobody looks at.
    fn let_go(&self, state: &mut State, key: u64, old: &Waiting) {
        state.picture_bytes -= old.picture.pixels().len();
        Self::set(state, key, old.id, Outcome::default());
        if !old.facts.is_preroll {
            self.counters.add(Counter::Superseded, 1);
        }
    }

    /// The detector took so long for a picture.
    pub(super) fn looked(&self, took: Duration) {
        self.lock().freshness.looked(took);
    }

    /// How long a frame may wait to be decoded without its result being too old; see [`Freshness`].
    pub(super) fn allowance(&self) -> Option<Duration> {
        (self.keeps == Keeps::Newest).then(|| self.lock().freshness.allowance()).flatten()
    }

    /// Lets go of a stream that others have now.
    pub(super) fn discard(&self, key: u64) {
        let mut state = self.lock();
        if let Some(stream) = state.streams.remove(&key) {
            let bytes: usize = stream.pictures.iter().map(|waiting| waiting.picture.pixels().len()).sum();
            state.picture_bytes -= bytes;
            state.gone.push(key);
        }
        drop(state);
        self.room.notify_all();
    }

    /// The next piece of work; waits for it.
    pub(super) fn take(&self) -> Work {
        let mut state = self.lock();
        state.is_busy = false;
        self.room.notify_all();
        loop {
            if state.is_closed {
                return Work::Closed;
            }
            if let Some(work) = self.next(&mut state, Instant::now()) {
                state.is_busy = true;
                return work;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next(&self, state: &mut State, now: Instant) -> Option<Work> {
        if !state.gone.is_empty() {
            return Some(Work::Forget(std::mem::take(&mut state.gone)));
        }
        while let Some(key) = state.settled.pop_front() {
            let Some(stream) = state.streams.get_mut(&key) else { continue };
            let mut done = Vec::new();
            while stream.has_outcome() {
                let Some(entry) = stream.entries.pop_front() else { break };
                let Entry { what, outcome, receipt } = entry;
                done.push(Done { what, outcome: outcome.unwrap_or_default(), receipt });
            }
            if !done.is_empty() {
                return Some(Work::Submit(key, Arc::clone(&stream.id), done));
            }
        }
        while let Some(key) = state.turns.pop_front() {
            let Some(stream) = state.streams.get_mut(&key) else { continue };
            let Some(waiting) = stream.pictures.pop_front() else { continue };
            if !stream.pictures.is_empty() {
                state.turns.push_back(key);
            }
            let lag = now.saturating_duration_since(waiting.arrived).saturating_sub(waiting.facts.decode);
            let starved = now.saturating_duration_since(stream.last_look);
            let is_old = self.keeps == Keeps::Newest
                && !waiting.facts.is_preroll
                && (waiting.has_more || stream.has_newer(waiting.id))
                && state.freshness.passes_over(lag, starved);
            if is_old {
                stream.resets |= waiting.facts.resets;
                self.let_go(state, key, &waiting);
                self.settle(state, key);
                return self.next(state, now);
            }
            stream.last_look = now;
            state.picture_bytes -= waiting.picture.pixels().len();
            return Some(Work::Look(key, Box::new(waiting)));
        }
        None
    }

    /// Waits until nothing is left to do, at most so long; whether that is so.
    pub(super) fn is_idle(&self, wait: Duration) -> bool {
        let is_at_work = |state: &mut State| !state.is_closed && !Self::has_nothing(state);
        let state = self.room.wait_timeout_while(self.lock(), wait, is_at_work);
        Self::has_nothing(&state.unwrap_or_else(PoisonError::into_inner).0)
    }

    fn has_nothing(state: &State) -> bool {
        let is_done = |stream: &Stream| stream.pictures.is_empty() && !stream.has_outcome();
        !state.is_busy && state.streams.values().all(is_done)
    }

    /// The detecting thread ends after what it does now; nobody waits any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// As [`close`](Self::close), because of this.
    pub(super) fn fail(&self, error: BusError) {
        self.lock().failure = Some(error);
        self.close();
    }

    pub(super) fn take_failure(&self) -> Option<BusError> {
        self.lock().failure.take()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }
}
