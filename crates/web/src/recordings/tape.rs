//! A recording that is played to one client: a thread reads ahead into a bounded queue, the client's session takes from
//! it at the speed that was asked for.

use super::finder::Finder;
use super::hole::{self, Logged, Mark, Onward};
use super::passage::Passage;
use super::{Cancel, Recordings, Refused, lock, whole_micro};
use crate::hub::HubFrame;
use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use lumenbus_bus::BusError;
use lumenbus_bus::playback::Player;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole};
use lumenbus_frame::bitstream::LowDelay;
use lumenbus_frame::{Codec, FrameId, StreamId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Bytes read ahead; at least one frame.
const MAX_AHEAD_BYTES: usize = 8 << 20;
/// Frames read ahead.
const MAX_AHEAD: usize = 512;
const WAIT: Duration = Duration::from_millis(100);
/// Faster than this, and backwards, only keyframes are shown.
const MAX_WHOLE_SPEED: f64 = 4.0;

/// Whether frames between keyframes are left out at this speed.
pub(crate) fn is_by_keyframes(speed: f64) -> bool {
    !(0.0..=MAX_WHOLE_SPEED).contains(&speed)
}

/// Pictures closer than this on the screen are left out where only keyframes are shown.
const MIN_INTERVAL_NANOS: f64 = 40e6;

/// From when, and how fast.
#[derive(Debug, Clone)]
pub(crate) struct TapeWish {
    pub(crate) stream: StreamId,
    /// To the microsecond.
    pub(crate) at_unix_nanos: i64,
    /// Negative: backwards.
    pub(crate) speed: f64,
    /// What was found is wanted, too, in messages about the stream of this number. Backwards nothing is looked up.
    pub(crate) found: Option<u16>,
}

/// A recorded frame.
#[derive(Debug, Clone)]
pub(crate) struct TapeFrame {
    pub(crate) frame: Arc<HubFrame>,
    /// On the way to the moment: decoded, not shown.
    pub(crate) is_preroll: bool,
    /// Messages about what was found in it.
    pub(crate) found: Vec<Utf8Bytes>,
}

/// Why nothing more comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Backwards, to the beginning.
    AtBeginning,
    Failed {
        code: &'static str,
        message: String,
    },
}

impl From<Refused> for Outcome {
    fn from(refused: Refused) -> Self {
        let (_, code, message) = refused.parts();
        Self::Failed { code, message }
    }
}

#[derive(Default)]
struct Ahead {
    frames: VecDeque<TapeFrame>,
    bytes: usize,
    /// Everything in the log was read.
    is_at_end: bool,
    outcome: Option<Outcome>,
}

/// Shared by the thread that reads and the session that plays; dropping the session's side stops the thread.
struct Shared {
    ahead: Mutex<Ahead>,
    room: Condvar,
    wake: Arc<Notify>,
    cancel: Cancel,
    /// Told once, when the session's side is dropped.
    cancelled: Notify,
}

impl Shared {
    /// Waits for room; false when nobody plays it any more.
    fn push(&self, frame: TapeFrame) -> bool {
        let ahead = lock(&self.ahead);
        let is_full = |ahead: &mut Ahead| {
            !self.cancel.is_set()
                && !ahead.frames.is_empty()
                && (ahead.bytes >= MAX_AHEAD_BYTES || ahead.frames.len() >= MAX_AHEAD)
        };
        let mut ahead = self.room.wait_while(ahead, is_full).unwrap_or_else(PoisonError::into_inner);
        ahead.bytes += frame.frame.payload.len();
        ahead.frames.push_back(frame);
        ahead.is_at_end = false;
        drop(ahead);
        self.wake.notify_one();
        !self.cancel.is_set()
    }

    fn set_at_end(&self) {
        if !std::mem::replace(&mut lock(&self.ahead).is_at_end, true) {
            self.wake.notify_one();
        }
    }

    fn finish(&self, outcome: Outcome) {
        lock(&self.ahead).outcome = Some(outcome);
        self.wake.notify_one();
    }
}

/// The session's side.
pub(crate) struct Tape(Arc<Shared>);

impl Tape {
    /// Begins to read; refused when too many are read already. `own` are the places of one client, of which each thread
    /// holds one until it ends: while all are held by threads that were told to stop, this one waits.
    pub(crate) fn start(
        recordings: &Arc<Recordings>,
        own: &Arc<Semaphore>,
        wish: TapeWish,
        wake: &Arc<Notify>,
    ) -> Result<Self, Refused> {
        let shared = Arc::new(Shared {
            ahead: Mutex::default(),
            room: Condvar::new(),
            wake: Arc::clone(wake),
            cancel: Cancel::default(),
            cancelled: Notify::new(),
        });
        let tape = Self(Arc::clone(&shared));
        if let Ok(place) = Arc::clone(own).try_acquire_owned() {
            spawn(recordings, wish, shared, place)?;
            return Ok(tape);
        }
        let (recordings, own) = (Arc::clone(recordings), Arc::clone(own));
        tokio::spawn(async move {
            let place = tokio::select! {
                biased;
                () = shared.cancelled.notified() => return,
                place = own.acquire_owned() => place,
            };
            let Ok(place) = place else { return };
            if let Err(refused) = spawn(&recordings, wish, Arc::clone(&shared), place) {
                shared.finish(refused.into());
            }
        });
        Ok(tape)
    }

    /// Looks at the next frame.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&TapeFrame) -> T) -> Option<T> {
        lock(&self.0.ahead).frames.front().map(look)
    }

    pub(crate) fn take(&self) -> Option<TapeFrame> {
        let mut ahead = lock(&self.0.ahead);
        let frame = ahead.frames.pop_front()?;
        ahead.bytes -= frame.frame.payload.len();
        drop(ahead);
        self.0.room.notify_one();
        Some(frame)
    }

    /// Everything that was recorded so far was taken.
    pub(crate) fn is_at_end(&self) -> bool {
        let ahead = lock(&self.0.ahead);
        ahead.is_at_end && ahead.frames.is_empty()
    }

    /// Why nothing more comes, once everything before was taken.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let ahead = lock(&self.0.ahead);
        ahead.outcome.clone().filter(|_| ahead.frames.is_empty())
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.0.cancel.set();
        self.0.cancelled.notify_one();
        // Taken, so that the thread is not between its look and its wait.
        drop(lock(&self.0.ahead));
        self.0.room.notify_all();
    }
}

/// A thread that breaks is told like any other end: nobody waits for it.
struct Broken<'a>(&'a Shared);

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "reading the recording broke; the log of the viewer says more".to_owned();
            self.0.finish(Outcome::Failed { code: "recording-unreadable", message });
        }
    }
}

/// Places that a thread holds until it ends: that of its client, and one of all.
struct Places {
    // Given back in this order: who waits for the client's finds the other one.
    _of_all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

fn spawn(
    recordings: &Arc<Recordings>,
    wish: TapeWish,
    shared: Arc<Shared>,
    own: OwnedSemaphorePermit,
) -> Result<(), Refused> {
    let of_all = Arc::clone(&recordings.tapes).try_acquire_owned().map_err(|_| Refused::Busy)?;
    let places = Places { _of_all: of_all, _own: own };
    let recordings = Arc::clone(recordings);
    let work = move || {
        run(&recordings, &wish, &shared);
        drop(places);
    };
    let thread = std::thread::Builder::new().name("viewer-playback".to_owned()).spawn(work);
    thread.map(drop).map_err(|_| Refused::Busy)
}

fn run(recordings: &Recordings, wish: &TapeWish, shared: &Shared) {
    let _broken = Broken(shared);
    match read(recordings, wish, shared) {
        Ok(Some(outcome)) => shared.finish(outcome),
        // Nobody plays it any more.
        Ok(None) | Err(Refused::Cancelled) => {}
        Err(refused) => shared.finish(refused.into()),
    }
}

fn read(recordings: &Recordings, wish: &TapeWish, shared: &Shared) -> Result<Option<Outcome>, Refused> {
    if shared.cancel.is_set() {
        return Ok(None);
    }
    let finder = wish.found.filter(|_| wish.speed > 0.0).map(|n| Finder::new(recordings.bus.clone(), n));
    let mut reel = Reel::new(recordings.player()?, wish, shared, &recordings.closing);
    reel.finder = finder;
    let outcome = if wish.speed < 0.0 { reel.backwards() } else { reel.forwards() };
    // A player whose client is in trouble is not given to the next one.
    if !matches!(outcome, Err(Refused::Bus(_))) {
        recordings.give_back(reel.player);
    }
    outcome
}

/// What the thread reads from.
struct Reel<'a> {
    player: Player,
    wish: &'a TapeWish,
    shared: &'a Shared,
    closing: &'a Cancel,
    /// The last frame handed on.
    last: Option<Mark>,
    /// The last frame read.
    read: Option<Mark>,
    passage: Passage,
    /// After this frame it was looked for how the stream goes on.
    crossed: Option<FrameId>,
    low_delay: LowDelay,
    finder: Option<Finder>,
}

impl<'a> Reel<'a> {
    fn new(player: Player, wish: &'a TapeWish, shared: &'a Shared, closing: &'a Cancel) -> Self {
        let (passage, low_delay) = (Passage::default(), LowDelay::default());
        Self { player, wish, shared, closing, last: None, read: None, passage, crossed: None, low_delay, finder: None }
    }

    fn is_over(&self) -> bool {
        self.shared.cancel.is_set() || self.closing.is_set()
    }

    fn go_on(&self) -> Result<(), Refused> {
        if self.is_over() { Err(Refused::Cancelled) } else { Ok(()) }
    }

    /// Goes to a moment; looked at before and after, because it takes a while.
    fn seek(&mut self, unix_nanos: i64) -> Result<bool, Refused> {
        self.go_on()?;
        let found = self.player.seek(&self.wish.stream, unix_nanos)?;
        self.go_on()?;
        Ok(found.is_some())
    }

    /// Until nobody plays it any more: at the log's end it waits for what is recorded next.
    fn forwards(&mut self) -> Result<Option<Outcome>, Refused> {
        let only_keyframes = is_by_keyframes(self.wish.speed);
        self.begin()?;
        while !self.is_over() {
            match self.player.recv(WAIT)? {
                Some(Event::Frame(frame)) => {
                    if frame.header.seal.is_some() {
                        return Err(Refused::Sealed);
                    }
                    self.passage.frame(&frame);
                    self.read = Some((frame.id(), frame.header.capture.unix_nanos));
                    let is_wanted = !only_keyframes || (self.is_keyframe(&frame) && self.is_far(&frame));
                    let is_before = frame.header.capture.unix_nanos < self.wish.at_unix_nanos;
                    let is_preroll = frame.role == FrameRole::Preroll && is_before && !only_keyframes;
                    if is_wanted && !self.give(&frame, is_preroll) {
                        return Ok(None);
                    }
                }
                None if self.player.is_at_end() => self.shared.set_at_end(),
                Some(_) | None => self.cross_hole()?,
            }
        }
        Ok(None)
    }

    /// The camera was silent for a time: what the others of its partition sent then is not read.
    fn cross_hole(&mut self) -> Result<(), Refused> {
        let Some(last) = self.read.filter(|(id, _)| self.crossed != Some(*id)) else { return Ok(()) };
        if !self.passage.is_past(last.1, self.player.last_append_unix_millis()) {
            return Ok(());
        }
        self.crossed = Some(last.0);
        let now = crate::hub::now_micros().saturating_mul(1_000);
        let (stream, cancel) = (&self.wish.stream, &self.shared.cancel);
        match hole::after(&mut Logged { index: self.player.index(), stream, cancel }, last, now)? {
            Onward::With(keyframe) => self.player.play_from(stream, &keyframe)?,
            Onward::Nowhere => self.shared.set_at_end(),
            Onward::Unclear => {}
        }
        Ok(())
    }

    /// To the moment, or to the first footage after it.
    fn begin(&mut self) -> Result<(), Refused> {
        let TapeWish { stream, at_unix_nanos, .. } = self.wish;
        if self.seek(whole_micro(*at_unix_nanos))? {
            return Ok(());
        }
        let now = crate::hub::now_micros().saturating_mul(1_000);
        let coverage = self.player.index().coverage(stream, *at_unix_nanos, now, 2)?;
        let first = coverage.spans.first().ok_or(Refused::NoFootage)?.from_unix_nanos;
        if self.seek(first)? { Ok(()) } else { Err(Refused::NoFootage) }
    }

    /// From keyframe to keyframe, to the first one.
    fn backwards(&mut self) -> Result<Option<Outcome>, Refused> {
        let mut is_found = self.seek(whole_micro(self.wish.at_unix_nanos))?;
        if !is_found {
            return Err(Refused::NoFootage);
        }
        while is_found {
            let Some(frame) = self.next_frame()? else { return Ok(None) };
            if frame.header.seal.is_some() {
                return Err(Refused::Sealed);
            }
            if !self.give(&frame, false) {
                return Ok(None);
            }
            is_found = self.step_back()?;
        }
        Ok(Some(Outcome::AtBeginning))
    }

    /// The keyframe that the player stands at.
    fn next_frame(&mut self) -> Result<Option<DeliveredFrame>, BusError> {
        while !self.is_over() {
            match self.player.recv(WAIT)? {
                Some(Event::Frame(frame)) => return Ok(Some(frame)),
                None if self.player.is_at_end() => return Ok(None),
                Some(_) | None => {}
            }
        }
        Ok(None)
    }

    /// Not every keyframe where they are dense: a picture for each refresh is enough.
    fn step_back(&mut self) -> Result<bool, BusError> {
        let Some((id, capture)) = self.last else { return Ok(false) };
        let found = self.player.step_back()?;
        let target = capture.saturating_sub(self.interval());
        if found.as_ref().is_some_and(|near| near.capture_unix_nanos > target && near.id.epoch == id.epoch) {
            let far = self.player.index().find(&self.wish.stream, target)?.into_iter().find(|far| far.id < id);
            if let Some(far) = far {
                self.player.play_from(&self.wish.stream, &far)?;
            }
        }
        Ok(found.is_some())
    }

    /// Least distance of pictures, in capture time.
    #[expect(clippy::cast_possible_truncation, reason = "below a second")]
    fn interval(&self) -> i64 {
        (MIN_INTERVAL_NANOS * self.wish.speed.abs()) as i64
    }

    fn is_keyframe(&self, frame: &DeliveredFrame) -> bool {
        frame.header.is_keyframe || frame.codec.is_intra_only()
    }

    fn is_far(&self, frame: &DeliveredFrame) -> bool {
        let capture = frame.header.capture.unix_nanos;
        self.last.is_none_or(|(_, last)| capture < last || capture - last >= self.interval())
    }

    /// Hands a frame on; false when nobody plays it any more.
    fn give(&mut self, frame: &DeliveredFrame, is_preroll: bool) -> bool {
        let is_new_epoch = self.last.is_none_or(|(last, _)| last.epoch != frame.id().epoch);
        if is_new_epoch {
            self.low_delay = LowDelay::default();
        }
        let copy = if frame.codec == Codec::H264 { self.low_delay.take(&frame.payload) } else { None };
        let payload = copy.map_or_else(|| frame.payload.clone(), Bytes::from);
        let recorded = HubFrame::recorded(frame, payload, is_new_epoch);
        self.last = Some((frame.id(), frame.header.capture.unix_nanos));
        let is_over = || self.shared.cancel.is_set() || self.closing.is_set();
        let finder = self.finder.as_mut().filter(|_| !is_preroll);
        let found = finder.map(|finder| finder.find(frame, is_over)).unwrap_or_default();
        self.shared.push(TapeFrame { frame: Arc::new(recorded), is_preroll, found })
    }
}
