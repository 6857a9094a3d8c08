//! Playing one stream's recorded frames from a moment on, without a group.
//!
//! [`Player::seek`] finds the keyframe by the [index](crate::index); [`Player::recv`] hands over the frames from there,
//! through to the live end, in order and each once, with every hole explained, as a [`Subscriber`](crate::Subscriber)
//! does. Where the stream moved to another partition, it is followed.

mod position;

use crate::index::{IndexReader, KeyframeAt};
use crate::subscriber::{Event, FrameRole, Notice};
use crate::{BusConfig, BusError, SystemClock};
use lumenbus_frame::{Clock, StreamId};
use position::{Position, Taken};
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Plays one stream at a time; see the [module](self).
///
/// ```no_run
/// use lumenbus_bus::playback::Player;
/// use lumenbus_bus::subscriber::{Event, FrameRole};
/// use lumenbus_bus::BusConfig;
/// use lumenbus_frame::StreamId;
/// use std::time::Duration;
///
/// let config = BusConfig::new("127.0.0.1:9092");
/// let gate = StreamId::main("gate-7".parse()?, config.topic_prefix.topic("raw_video"));
/// let mut player = Player::open(&config)?;
/// if player.seek(&gate, 1_750_000_000_000_000_000)?.is_some() {
///     while let Some(event) = player.recv(Duration::from_secs(1))? {
///         if let Event::Frame(frame) = event {
///             // What is before the moment is for the decoder only.
///             let is_shown = frame.role != FrameRole::Preroll;
///             println!("{} {is_shown}", frame.id().seq);
///         }
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Player {
    index: IndexReader,
    position: Position,
    at: Option<KeyframeAt>,
    /// Frames before it are prerolls; `None` once one was at or after it.
    moment_unix_nanos: Option<i64>,
    events: VecDeque<Event>,
    is_disconnected: bool,
    clock: SystemClock,
}

impl Player {
    /// Connects and reads the directory.
    ///
    /// # Errors
    /// An unusable broker, a directory that cannot be read.
    pub fn open(config: &BusConfig) -> Result<Self, BusError> {
        Ok(Self {
            index: IndexReader::open(config)?,
            position: Position::open(config)?,
            at: None,
            moment_unix_nanos: None,
            events: VecDeque::new(),
            is_disconnected: false,
            clock: SystemClock,
        })
    }

    /// Goes to the keyframe at or before a moment, to its newest occurrence where a clock was set back. `None` when
    /// the log holds nothing of the stream as old as that; then nothing is played.
    ///
    /// # Errors
    /// As [`IndexReader::find`].
    pub fn seek(&mut self, stream: &StreamId, capture_unix_nanos: i64) -> Result<Option<KeyframeAt>, BusError> {
        self.stop();
        let found = self.index.find(stream, capture_unix_nanos)?.into_iter().next();
        if let Some(keyframe) = &found {
            self.play_from(stream, keyframe)?;
            self.moment_unix_nanos = Some(capture_unix_nanos);
        }
        Ok(found)
    }

    /// Goes to this keyframe.
    ///
    /// # Errors
    /// A broker that cannot be asked.
    pub fn play_from(&mut self, stream: &StreamId, keyframe: &KeyframeAt) -> Result<(), BusError> {
        self.stop();
        self.position.begin(stream, keyframe, self.index.directory())?;
        self.at = Some(keyframe.clone());
        Ok(())
    }

    /// Goes to the keyframe before the last one that was gone to: for playing backwards. `None`, and the player stays
    /// where it is, when there is none.
    ///
    /// # Errors
    /// As [`IndexReader::before`].
    pub fn step_back(&mut self) -> Result<Option<KeyframeAt>, BusError> {
        let (Some(at), Some(stream)) = (self.at.clone(), self.position.stream().cloned()) else { return Ok(None) };
        let found = self.index.before(&stream, &at)?;
        if let Some(keyframe) = &found {
            self.play_from(&stream, keyframe)?;
        }
        Ok(found)
    }

    /// The next event of the stream, waiting at most this long; `None` when nothing came.
    ///
    /// Frames before the moment that was sought have the role [`FrameRole::Preroll`].
    ///
    /// # Errors
    /// A topic that is gone or may not be read any more.
    pub fn recv(&mut self, wait: Duration) -> Result<Option<Event>, BusError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(self.with_role(event)));
            }
            if self.position.stream().is_none() {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let now = self.clock.unix_nanos();
            match self.position.take(left, now, &mut self.index, &mut self.events)? {
                Taken::Record => self.is_disconnected = false,
                Taken::End => {}
                Taken::Nothing => {}
                Taken::Trouble(reason) => {
                    if !std::mem::replace(&mut self.is_disconnected, true) {
                        return Ok(Some(Event::Notice(Notice::Disconnected { reason })));
                    }
                }
            }
            // Others' records count as well: they may come without end.
            if self.events.is_empty() && Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Whether everything there was when the log was read last was handed over.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.events.is_empty() && self.position.is_at_end()
    }

    /// When the broker appended the record that was read last since the player went to a keyframe, Unix milliseconds:
    /// of whichever camera, so that it tells how far reading is while the stream is silent.
    #[must_use]
    pub fn last_append_unix_millis(&self) -> Option<i64> {
        self.position.last_append_unix_millis()
    }

    /// The bootstrap servers, for messages.
    #[must_use]
    pub fn brokers(&self) -> &str {
        self.position.brokers()
    }

    /// The index, to ask it for something else.
    pub fn index(&mut self) -> &mut IndexReader {
        &mut self.index
    }

    /// Lets go of the log: nothing is played or fetched until the next [`Player::seek`].
    pub fn stop(&mut self) {
        self.position.leave();
        self.events.clear();
        self.at = None;
        self.moment_unix_nanos = None;
    }

    fn with_role(&mut self, mut event: Event) -> Event {
        let (Event::Frame(frame), Some(moment)) = (&mut event, self.moment_unix_nanos) else { return event };
        if frame.header.capture.unix_nanos < moment {
            frame.role = FrameRole::Preroll;
        } else {
            self.moment_unix_nanos = None;
        }
        event
    }
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").field("at", &self.at).finish_non_exhaustive()
    }
}
