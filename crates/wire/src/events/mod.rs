//! What happened at a camera: the values of the topic `lumenbus.events`.

mod json;

use crate::features::check_group;
use crate::results::check_name;
use crate::{HealthState, WireError};
use bytes::Bytes;
use lumenbus_frame::{FrameId, StreamId};
use std::fmt;
use std::sync::Arc;

/// Longest event written or read.
pub const MAX_EVENT_BYTES: usize = 4 * 1024;

/// Something that happened, at a frame. The record's key is the camera id.
///
/// ```
/// use lumenbus_frame::{Epoch, FrameId, Seq, StreamId};
/// use lumenbus_wire::{CameraEvent, EventKind, HealthState};
///
/// let stream = StreamId::main("gate-7".parse()?, "raw_video".parse()?);
/// let kind = EventKind::Health { state: HealthState::Dark, previous: HealthState::Ok, lasted_millis: None };
/// let event = CameraEvent::new(stream, FrameId { epoch: Epoch(1 << 16), seq: Seq(60) }, 0, kind);
/// assert_eq!(CameraEvent::decode_json(&event.encode_json()?)?, Some(event));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CameraEvent {
    /// The same for the same event, whoever saw it and however often it is written.
    pub id: EventId,
    /// The stream.
    pub stream: StreamId,
    /// The frame that it happened at.
    pub frame: FrameId,
    /// When that was taken.
    pub capture_unix_nanos: i64,
    /// The group of workers that saw it; empty where it is not said.
    pub group: String,
    /// What happened.
    pub kind: EventKind,
}

/// A number that tells events apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// The camera is well, or something is wrong with its pictures.
    Health {
        /// How it is now.
        state: HealthState,
        /// How it was before.
        previous: HealthState,
        /// How long that lasted; where it is known, and something was wrong.
        lasted_millis: Option<u64>,
    },
    /// Things of a class came into view, or all have left it.
    Presence {
        /// Which class.
        class: Arc<str>,
        /// Which of the two.
        phase: PresencePhase,
        /// At the beginning: how many there are; at the end: the most there were at once.
        count: u32,
        /// How sure the detector was, at most so far; 0 to 1.
        score: f32,
        /// At the end: from the beginning until one was last seen.
        lasted_millis: Option<u64>,
    },
}

/// Beginning or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresencePhase {
    /// The first has come.
    Begin,
    /// The last has left.
    End,
}

impl PresencePhase {
    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::End => "end",
        }
    }
}

impl EventKind {
    /// The stable lower-case name of the kind.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Health { .. } => "health",
            Self::Presence { .. } => "presence",
        }
    }

    /// The name of what is so now: the state of a camera, or `begin` and `end`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Health { state, .. } => state.as_str(),
            Self::Presence { phase, .. } => phase.as_str(),
        }
    }
}

impl CameraEvent {
    /// An event with the id that follows from the rest.
    #[must_use]
    pub fn new(stream: StreamId, frame: FrameId, capture_unix_nanos: i64, kind: EventKind) -> Self {
        let id = identity(&stream, frame, &kind);
        Self { id, stream, frame, capture_unix_nanos, group: String::new(), kind }
    }

    /// The event as a JSON object.
    ///
    /// # Errors
    /// [`WireError::Field`] and [`WireError::TooLarge`] for what [`decode_json`](Self::decode_json) would refuse.
    pub fn encode_json(&self) -> Result<Bytes, WireError> {
        self.check()?;
        let bytes = json::encode(self);
        check_bytes(bytes.len())?;
        Ok(bytes.into())
    }

    /// Reads an event; `None` when it is of a kind that is not known here. Unknown fields are ignored.
    ///
    /// # Errors
    /// Another major version, bytes that are no event, or numbers beyond the limits.
    pub fn decode_json(value: &[u8]) -> Result<Option<Self>, WireError> {
        check_bytes(value.len())?;
        let event = json::decode(value)?;
        event.as_ref().map_or(Ok(()), Self::check)?;
        Ok(event)
    }

    fn check(&self) -> Result<(), WireError> {
        check_group(&self.group)?;
        match &self.kind {
            EventKind::Health { .. } => Ok(()),
            EventKind::Presence { class, score, .. } => {
                check_name("class", class)?;
                if (0.0..=1.0).contains(score) {
                    return Ok(());
                }
                Err(WireError::Field { field: "score", found: score.to_string(), expected: "0 to 1" })
            }
        }
    }
}

fn check_bytes(bytes: usize) -> Result<(), WireError> {
    if bytes <= MAX_EVENT_BYTES {
        return Ok(());
    }
    Err(WireError::TooLarge { what: "an event", bytes: bytes as u64, limit: MAX_EVENT_BYTES as u64 })
}

/// FNV-1a over what an event is about, parts told apart by a zero.
fn identity(stream: &StreamId, frame: FrameId, kind: &EventKind) -> EventId {
    let class = match kind {
        EventKind::Health { .. } => "",
        EventKind::Presence { class, .. } => class,
    };
    let names =
        [stream.camera.as_str(), stream.topic.as_str(), stream.name.as_str(), kind.as_str(), kind.state(), class];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for name in names {
        take(name.as_bytes());
        take(&[0]);
    }
    take(&frame.epoch.0.to_be_bytes());
    take(&frame.seq.0.to_be_bytes());
    EventId(hash)
}
