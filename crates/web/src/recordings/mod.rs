//! What was recorded: where there is footage, the picture of a moment, playing from there, clips as files.
//!
//! Everything here asks Kafka through [`Player`] and blocks, so it runs on few threads of its own: [`Desk`] answers
//! questions one after another, each [`Tape`] that plays and each clip has a thread. Whoever goes away is no longer
//! worked for.

mod clip;
mod coverage;
mod ending;
mod finder;
mod hole;
mod http;
mod pace;
mod passage;
mod picture;
mod tape;

use coverage::Stretch;
pub(crate) use http::{clip_mjpeg, clip_mp4, moment_picture, timeline};
pub(crate) use tape::{Outcome, Tape, TapeFrame, TapeWish, is_by_keyframes};

use crate::http::refusal;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use lumenbus_bus::playback::Player;
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_codec::CodecError;
use lumenbus_frame::FrameId;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Questions answered at the same time.
const WORKERS: usize = 2;
/// Questions that may wait for their turn; more are refused at once.
const MAX_WAITING: usize = 32;
/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Players kept for the next question: opening one costs three connections.
const MAX_IDLE: usize = 4;
/// Recordings played at the same time, all clients together.
const MAX_TAPES: usize = 16;
/// Clips exported at the same time.
const MAX_CLIPS: usize = 2;
/// Pictures kept: who drags to and fro asks for the same ones again.
const MAX_KEPT: usize = 64;
const MAX_KEPT_BYTES: usize = 16 << 20;
/// The oldest footage of a stream changes by retention only.
const EXTENT_AGE: Duration = Duration::from_secs(10);
const MAX_EXTENTS: usize = 10_000;

/// The last nanosecond of a microsecond: pages know no finer times, and a frame of that microsecond is the one meant.
pub(crate) fn whole_micro(unix_nanos: i64) -> i64 {
    unix_nanos.saturating_add(999)
}

/// Set when nobody waits for the answer any more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets it when the request's future is dropped.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Refused {
    Busy,
    /// Nothing is as old as that.
    NoFootage,
    /// There is footage, and no picture could be made of it.
    NoPicture,
    Sealed,
    TooLong {
        what: String,
    },
    OtherForm {
        name: &'static str,
    },
    NoClip(String),
    /// Nobody waits for it any more.
    Cancelled,
    TookTooLong,
    Bus(BusError),
    Codec(CodecError),
}

impl From<BusError> for Refused {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

impl From<CodecError> for Refused {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl Refused {
    /// Status, code, and what to tell.
    pub(crate) fn parts(&self) -> (StatusCode, &'static str, String) {
        let fixed = |status, code, text: &str| (status, code, text.to_owned());
        match self {
            Self::Busy => {
                fixed(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many recordings are being read; ask again")
            }
            Self::NoFootage => {
                fixed(StatusCode::NOT_FOUND, "no-footage", "nothing of this stream is as old as that any more")
            }
            Self::NoPicture => fixed(
                StatusCode::UNPROCESSABLE_ENTITY,
                "undecodable",
                "there is no picture in the frames of that moment",
            ),
            Self::Sealed => {
                fixed(StatusCode::FORBIDDEN, "sealed", "the stream is sealed; this viewer has no key for it")
            }
            Self::TooLong { what } => fixed(StatusCode::BAD_REQUEST, "bad-stretch", what),
            Self::OtherForm { name } => (
                StatusCode::CONFLICT,
                "other-form",
                format!("frames of this codec are not put into this kind of file; ask for {name}"),
            ),
            Self::NoClip(why) => (StatusCode::UNPROCESSABLE_ENTITY, "no-clip", why.clone()),
            Self::Cancelled => fixed(StatusCode::REQUEST_TIMEOUT, "timeout", "nobody waits for it any more"),
            Self::TookTooLong => {
                fixed(StatusCode::GATEWAY_TIMEOUT, "timeout", "the frames of that moment took too long to read")
            }
            Self::Bus(error) => (StatusCode::BAD_GATEWAY, "recording-unreadable", error.to_string()),
            Self::Codec(error @ CodecError::NotBuilt { .. }) => {
                (StatusCode::NOT_IMPLEMENTED, "codec-not-built", error.to_string())
            }
            Self::Codec(error) => (StatusCode::UNPROCESSABLE_ENTITY, "undecodable", error.to_string()),
        }
    }

    fn answer(&self) -> Response<Body> {
        let (status, code, message) = self.parts();
        refusal(status, code, &message)
    }
}

/// Players that nobody uses now.
#[derive(Default)]
struct Idle(Mutex<Vec<Player>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Capture time of the oldest footage of a stream, and when that was found out.
type Extents = HashMap<u16, (Instant, Option<Stretch>)>;

/// Everything that reads recordings for clients.
pub(crate) struct Recordings {
    bus: BusConfig,
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    tapes: Arc<Semaphore>,
    clips: Arc<Semaphore>,
    idle: Idle,
    kept: Mutex<VecDeque<(u16, FrameId, Bytes)>>,
    extents: Mutex<Extents>,
    closing: Cancel,
}

impl fmt::Debug for Recordings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recordings").field("brokers", &self.bus.brokers).finish_non_exhaustive()
    }
}

impl Recordings {
    pub(crate) fn new(bus: BusConfig) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            bus,
            turns: places(WORKERS),
            queue: places(WORKERS + MAX_WAITING),
            tapes: places(MAX_TAPES),
            clips: places(MAX_CLIPS),
            idle: Idle::default(),
            kept: Mutex::default(),
            extents: Mutex::default(),
            closing: Cancel::default(),
        }
    }

    /// Threads that read stop soon.
    pub(crate) fn close(&self) {
        self.closing.set();
        lock(&self.idle.0).clear();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_set()
    }

    /// A player, from among those kept or a new one.
    fn player(&self) -> Result<Player, BusError> {
        let kept = lock(&self.idle.0).pop();
        kept.map_or_else(|| Player::open(&self.bus), Ok)
    }

    /// Keeps a player that did well.
    fn give_back(&self, mut player: Player) {
        player.stop();
        let mut idle = lock(&self.idle.0);
        if idle.len() < MAX_IDLE && !self.is_closing() {
            idle.push(player);
        }
    }

    /// Answers a question on one of few threads. When the caller goes away, what waits is forgotten and what runs is told.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&mut Player, &Cancel) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let _place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| Refused::Busy)?;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn: OwnedSemaphorePermit = turn.map_err(|_| Refused::Busy)?.map_err(|_| Refused::Busy)?;
        let cancel = Cancel::default();
        let _guard = CancelOnDrop(cancel.clone());
        let recordings = Arc::clone(self);
        let work = move || {
            let mut player = recordings.player()?;
            let outcome = job(&mut player, &cancel);
            // A player whose client is in trouble is not given to the next one.
            if !matches!(outcome, Err(Refused::Bus(_))) {
                recordings.give_back(player);
            }
            drop(turn);
            outcome
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refused::NoPicture))
    }

    fn kept(&self, n: u16, id: FrameId) -> Option<Bytes> {
        lock(&self.kept).iter().find(|(of, frame, _)| (*of, *frame) == (n, id)).map(|(.., file)| file.clone())
    }

    fn keep(&self, n: u16, id: FrameId, file: &Bytes) {
        let mut kept = lock(&self.kept);
        if kept.iter().any(|(of, frame, _)| (*of, *frame) == (n, id)) {
            return;
        }
        kept.push_back((n, id, file.clone()));
        while kept.len() > MAX_KEPT || kept.iter().map(|(.., file)| file.len()).sum::<usize>() > MAX_KEPT_BYTES {
            kept.pop_front();
        }
    }

    /// The oldest footage, where it is known and was asked for lately.
    fn extent(&self, n: u16) -> Option<Option<Stretch>> {
        let extents = lock(&self.extents);
        extents.get(&n).filter(|(at, _)| at.elapsed() < EXTENT_AGE).map(|(_, extent)| *extent)
    }

    fn set_extent(&self, n: u16, extent: Option<Stretch>) {
        let mut extents = lock(&self.extents);
        if extents.len() < MAX_EXTENTS || extents.contains_key(&n) {
            extents.insert(n, (Instant::now(), extent));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::StreamId;
    use tokio::sync::Notify;

    fn is_busy<T>(outcome: Result<T, Refused>) -> bool {
        let Err(refused) = outcome else { return false };
        let (status, code, _) = refused.parts();
        refused.answer().status() == StatusCode::SERVICE_UNAVAILABLE && (status.as_u16(), code) == (503, "busy")
    }

    #[tokio::test]
    async fn who_finds_no_place_is_told_so_at_once() {
        // Nothing is asked of Kafka: there is none.
        let recordings = Arc::new(Recordings::new(BusConfig::new("127.0.0.1:1")));
        let stream = StreamId::main("gate".parse().unwrap(), "raw_video".parse().unwrap());
        let all = [
            (&recordings.queue, WORKERS + MAX_WAITING),
            (&recordings.clips, MAX_CLIPS),
            (&recordings.tapes, MAX_TAPES),
        ];
        let held: Vec<_> = all
            .iter()
            .map(|(places, count)| places.try_acquire_many(u32::try_from(*count).unwrap()).unwrap())
            .collect();
        assert!(is_busy(recordings.ask(|_, _| Ok(())).await));
        let order = clip::Order {
            stream: stream.clone(),
            stretch: Stretch { from: 0, to: 1 },
            form: clip::Form::Mp4,
            is_check: false,
        };
        assert!(is_busy(clip::begin(&recordings, order).await));
        let (own, wake) = (Arc::new(Semaphore::new(1)), Arc::new(Notify::new()));
        let wish = TapeWish { stream, at_unix_nanos: 0, speed: 1.0, found: None };
        assert!(is_busy(Tape::start(&recordings, &own, wish, &wake)));
        drop(held);
        assert_eq!(own.available_permits(), 1, "who is refused holds nothing");
    }
}
