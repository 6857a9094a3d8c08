//! Decoding of many streams on a bounded number of threads.
//!
//! Each stream is decoded in its own order by one thread at a time, frame by frame in turn with the others: a stream that is
//! slow, damaged or not listened to costs the others nothing but its turns. What waits, before and after decoding, is
//! bounded in bytes per stream.
//!
//! ```
//! # use lumenbus_pipeline::pool::{DecoderPool, Outcome, PoolConfig};
//! # use lumenbus_frame::*;
//! # use lumenbus_codec::*;
//! # let size = Dimensions::new(16, 16);
//! # let gray = RawFrame::new(PixelFormat::Gray8, size, vec![90; 256].into(), CaptureTime::arrival(1))?;
//! # let mut frames = Vec::new();
//! # encoder(&EncoderConfig::new(Codec::Jpeg))?.encode(&gray, &mut frames)?;
//! let pool = DecoderPool::new(&PoolConfig::default());
//! let gate = pool.stream(DecoderConfig::default());
//! gate.submit(FrameId { epoch: Epoch(1), seq: Seq(0) }, frames.remove(0))?;
//! gate.finish();
//! assert!(matches!(gate.next(), Some(Outcome::Picture(picture)) if picture.id.seq == Seq(0)));
//! assert!(gate.next().is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::decode::{DecodeError, DecodedFrame, Decoding, breaks_decoding};
use lumenbus_codec::{CodecError, DecoderConfig};
use lumenbus_frame::{EncodedFrame, FrameId, Gap, GapReason};
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads by default: more would only take processors from those who use the pictures.
const MAX_USUAL_THREADS: usize = 4;
/// What a frame costs beside its payload.
const BYTES_PER_ITEM: usize = 512;

/// Size of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolConfig {
    /// Threads. Default: as many as there are processors, at most four.
    pub threads: NonZeroUsize,
    /// Coded bytes of a stream that may wait; one frame always may. Default 16 MiB.
    pub coded_bytes: usize,
    /// Bytes of a stream's pictures that may wait; beyond them the stream is not decoded on. One frame's pictures
    /// always may. Default 32 MiB.
    pub picture_bytes: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let most = NonZeroUsize::MIN.saturating_add(MAX_USUAL_THREADS - 1);
        Self { threads: processors.min(most), coded_bytes: 16 << 20, picture_bytes: 32 << 20 }
    }
}

/// What became of a frame.
#[derive(Debug)]
pub enum Outcome {
    /// A picture, in output order.
    Picture(DecodedFrame),
    /// A frame gave none; the stream goes on at its next keyframe.
    Failed(DecodeError),
}

/// Why a frame was not taken; it comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The stream's bytes are used up: take pictures, then try again.
    #[error("frames of this stream wait for the decoder; take what is decoded first")]
    Full(Box<EncodedFrame>),
    /// The pool is gone, or the stream was told to have ended.
    #[error("the decoder pool takes no more frames of this stream")]
    Ended(Box<EncodedFrame>),
}

enum Job {
    Frame(FrameId, Box<EncodedFrame>),
    Gap(Gap),
    End,
    #[cfg(test)]
    Panic,
}

impl Job {
    fn bytes(&self) -> usize {
        let payload = if let Self::Frame(_, frame) = self { frame.payload.len() } else { 0 };
        payload + BYTES_PER_ITEM
    }
}

/// One stream as the pool sees it.
struct Stream {
    jobs: VecDeque<Job>,
    job_bytes: usize,
    outcomes: VecDeque<Outcome>,
    outcome_bytes: usize,
    /// `None` while a thread has it.
    decoding: Option<Decoding>,
    config: DecoderConfig,
    is_listed: bool,
    /// No frame may follow.
    is_finished: bool,
    /// No outcome will follow.
    has_ended: bool,
    changed: Arc<Condvar>,
}

struct State {
    streams: HashMap<u64, Stream>,
    /// Streams that can be decoded on, in turn.
    ready: VecDeque<u64>,
    next_key: u64,
    is_stopping: bool,
}

struct Shared {
    config: PoolConfig,
    state: Mutex<State>,
    work: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked; a decoder that does runs outside.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the stream in the queue if there is something to do and room for what comes of it.
    fn enlist(&self, state: &mut State, key: u64) {
        let Some(stream) = state.streams.get_mut(&key) else { return };
        let has_room = stream.outcome_bytes < self.config.picture_bytes;
        if !stream.is_listed && !stream.jobs.is_empty() && stream.decoding.is_some() && has_room {
            stream.is_listed = true;
            state.ready.push_back(key);
            self.work.notify_one();
        }
    }

    /// A thread's life: one frame of the next stream, again and again.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.is_stopping {
                return;
            }
            let Some(key) = state.ready.pop_front() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let Some(stream) = state.streams.get_mut(&key) else { continue };
            stream.is_listed = false;
            let (Some(job), Some(mut decoding)) = (stream.jobs.pop_front(), stream.decoding.take()) else { continue };
            stream.job_bytes -= job.bytes();
            stream.changed.notify_all();
            let config = stream.config;
            drop(state);
            let is_end = matches!(job, Job::End);
            let outcomes = run(&job, &mut decoding, config);
            state = self.lock();
            // A stream that was let go of in the meantime is gone with what came of it.
            if let Some(stream) = state.streams.get_mut(&key) {
                stream.decoding = Some(decoding);
                stream.outcome_bytes += outcomes.iter().map(bytes_of).sum::<usize>();
                stream.outcomes.extend(outcomes);
                stream.has_ended |= is_end;
                stream.changed.notify_all();
                self.enlist(&mut state, key);
            }
        }
    }
}

/// One gap that does to decoding what two in a row do.
fn merged(queued: &Gap, next: &Gap) -> Gap {
    if let Some(breaking) = [queued, next].into_iter().find(|gap| breaks_decoding(gap)) {
        return *breaking;
    }
    let adjoins = queued.last.is_some_and(|last| last.next() >= next.first) && queued.epoch == next.epoch;
    // What lies between two gaps that do not adjoin is missing without a word.
    let reason = if adjoins { queued.reason } else { GapReason::Unexplained };
    Gap { last: queued.last.max(next.last), reason, is_discardable: queued.is_discardable && adjoins, ..*queued }
}

fn bytes_of(outcome: &Outcome) -> usize {
    let pixels = if let Outcome::Picture(decoded) = outcome { decoded.picture.pixels().len() } else { 0 };
    pixels + BYTES_PER_ITEM
}

fn run(job: &Job, decoding: &mut Decoding, config: DecoderConfig) -> Vec<Outcome> {
    let mut pictures = Vec::new();
    let id = if let Job::Frame(id, _) = job { Some(*id) } else { None };
    // The parsers read hostile bytes: a panic in one must stay this frame's trouble.
    let done = catch_unwind(AssertUnwindSafe(|| match job {
        Job::Frame(id, frame) => decoding.push(*id, frame, &mut pictures),
        Job::Gap(gap) => {
            decoding.gap(gap, &mut pictures);
            Ok(())
        }
        Job::End => {
            decoding.finish(&mut pictures);
            Ok(())
        }
        #[cfg(test)]
        Job::Panic => panic!("asked for by a test"),
    }));
    let error = match done {
        Ok(done) => done.err(),
        Err(_) => {
            *decoding = Decoding::new(config);
            let gave_up = |codec| CodecError::Malformed { codec, what: "the decoder gave up on this frame" };
            let codec = if let Job::Frame(_, frame) = job { Some(frame.codec) } else { None };
            id.zip(codec).map(|(id, codec)| DecodeError { id, source: gave_up(codec) })
        }
    };
    pictures.into_iter().map(Outcome::Picture).chain(error.map(Outcome::Failed)).collect()
}

/// Threads that decode; they end with it.
pub struct DecoderPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl DecoderPool {
    /// Starts the threads.
    ///
    /// # Panics
    /// When the system cannot start a single thread.
    #[must_use]
    pub fn new(config: &PoolConfig) -> Self {
        let state = State { streams: HashMap::new(), ready: VecDeque::new(), next_key: 0, is_stopping: false };
        let shared = Arc::new(Shared { config: *config, state: Mutex::new(state), work: Condvar::new() });
        let start = |number| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("decode-{number}")).spawn(move || shared.work()).ok()
        };
        let threads: Vec<_> = (0..config.threads.get()).filter_map(start).collect();
        assert!(!threads.is_empty(), "the system starts no thread");
        Self { shared, threads }
    }

    /// Begins a stream.
    #[must_use]
    pub fn stream(&self, config: DecoderConfig) -> PoolStream {
        let mut state = self.shared.lock();
        let (key, changed) = (state.next_key, Arc::new(Condvar::new()));
        state.next_key += 1;
        let stream = Stream {
            jobs: VecDeque::new(),
            job_bytes: 0,
            outcomes: VecDeque::new(),
            outcome_bytes: 0,
            decoding: Some(Decoding::new(config)),
            config,
            is_listed: false,
            is_finished: false,
            has_ended: false,
            changed: Arc::clone(&changed),
        };
        state.streams.insert(key, stream);
        PoolStream { shared: Arc::clone(&self.shared), key, changed }
    }
}

impl Drop for DecoderPool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_stopping = true;
        state.streams.values().for_each(|stream| stream.changed.notify_all());
        drop(state);
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // What a decoder panics with is caught; there is nothing else to hear.
            thread.join().ok();
        }
    }
}

impl std::fmt::Debug for DecoderPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecoderPool").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

/// One stream in a pool; dropping it lets go of everything that waits.
///
/// Frames may go in from one thread and pictures be taken on another. A single thread takes what is decoded
/// ([`try_next`](Self::try_next)) whenever [`try_submit`](Self::try_submit) finds no room.
pub struct PoolStream {
    shared: Arc<Shared>,
    key: u64,
    changed: Arc<Condvar>,
}

impl PoolStream {
    /// Hands in the stream's next frame; waits while there is no room.
    ///
    /// # Errors
    /// When the pool is gone or the stream was finished.
    pub fn submit(&self, id: FrameId, frame: EncodedFrame) -> Result<(), SubmitError> {
        let mut frame = Box::new(frame);
        let mut state = self.shared.lock();
        loop {
            match self.put(&mut state, id, frame) {
                Err(SubmitError::Full(back)) => frame = back,
                done => return done,
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands in the stream's next frame if there is room.
    ///
    /// # Errors
    /// With the frame, when there is none, the pool is gone or the stream was finished.
    pub fn try_submit(&self, id: FrameId, frame: EncodedFrame) -> Result<(), SubmitError> {
        self.put(&mut self.shared.lock(), id, Box::new(frame))
    }

    fn put(&self, state: &mut State, id: FrameId, frame: Box<EncodedFrame>) -> Result<(), SubmitError> {
        let is_stopping = state.is_stopping;
        let Some(stream) = state.streams.get_mut(&self.key).filter(|stream| !stream.is_finished && !is_stopping) else {
            return Err(SubmitError::Ended(frame));
        };
        let bytes = frame.payload.len() + BYTES_PER_ITEM;
        if !stream.jobs.is_empty() && stream.job_bytes + bytes > self.shared.config.coded_bytes {
            return Err(SubmitError::Full(frame));
        }
        self.push(state, Job::Frame(id, frame));
        Ok(())
    }

    /// Frames are missing here.
    pub fn gap(&self, gap: Gap) {
        self.push(&mut self.shared.lock(), Job::Gap(gap));
    }

    /// The stream ends here: what is held back comes out, then [`next`](Self::next) gives `None`.
    pub fn finish(&self) {
        let mut state = self.shared.lock();
        self.push(&mut state, Job::End);
        if let Some(stream) = state.streams.get_mut(&self.key) {
            stream.is_finished = true;
        }
    }

    fn push(&self, state: &mut State, job: Job) {
        if let Some(stream) = state.streams.get_mut(&self.key).filter(|stream| !stream.is_finished) {
            match (&job, stream.jobs.back_mut()) {
                // One waits at most, however many come.
                (Job::Gap(gap), Some(Job::Gap(queued))) => *queued = merged(queued, gap),
                _ => {
                    stream.job_bytes += job.bytes();
                    stream.jobs.push_back(job);
                }
            }
        }
        self.shared.enlist(state, self.key);
    }

    /// What comes next; waits for it. `None` after the end, or when the pool is gone.
    #[must_use]
    pub fn next(&self) -> Option<Outcome> {
        let mut state = self.shared.lock();
        loop {
            let outcome = self.take(&mut state);
            let is_over = state.is_stopping || state.streams.get(&self.key).is_none_or(|stream| stream.has_ended);
            if outcome.is_some() || is_over {
                return outcome;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What comes next, if it is there.
    #[must_use]
    pub fn try_next(&self) -> Option<Outcome> {
        self.take(&mut self.shared.lock())
    }

    fn take(&self, state: &mut State) -> Option<Outcome> {
        let stream = state.streams.get_mut(&self.key)?;
        let outcome = stream.outcomes.pop_front()?;
        stream.outcome_bytes -= bytes_of(&outcome);
        self.shared.enlist(state, self.key);
        Some(outcome)
    }
}

impl Drop for PoolStream {
    fn drop(&mut self) {
        let stream = self.shared.lock().streams.remove(&self.key);
        // Outside the lock: a decoder may take its time to go.
        drop(stream);
    }
}

impl std::fmt::Debug for PoolStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolStream").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
