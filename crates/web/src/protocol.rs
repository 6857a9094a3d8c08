//! What a client may say on the WebSocket, checked; `docs/reference/viewer.md` is the contract.

use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// Version of the protocol.
pub const PROTOCOL: u32 = 1;
/// Longest message a client may send.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Most streams one client watches.
pub const MAX_WATCHED: usize = 64;
/// Most entries of each list in one report.
const MAX_REPORTS: usize = 256;
/// Longest that frames can wait for what was found in them, in milliseconds.
pub const MAX_BOXES_MS: u16 = 2_000;
/// Most events in one answer.
pub const MAX_EVENTS: u16 = 200;
/// Most kinds of media a page can name.
const MAX_MEDIA: usize = 16;

/// Slowest and fastest that a recording is played, forwards and backwards.
pub const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=16.0;
/// The year 2200: beyond it no nanoseconds fit.
pub(crate) const MAX_MILLIS: f64 = 7_258_118_400_000.0;

/// How a client wants a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Form {
    /// Access units as coded, for WebCodecs.
    AnnexB,
    /// Fragmented MP4, for Media Source.
    Fmp4,
    /// Picture files as coded.
    Jpeg,
    /// Whatever the stream holds.
    Raw,
}

/// One watched stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The stream's number.
    pub n: u16,
    /// How it is wanted.
    pub form: Form,
    /// What analysis found in its frames is wanted, too, and each frame waits so many milliseconds for that.
    #[serde(default)]
    pub boxes_ms: Option<u16>,
    /// Keyframes are enough, one a second at most.
    #[serde(default)]
    pub keyframes: bool,
}

/// One frame that a page has shown; times are Unix milliseconds in the server's clock.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Shown {
    /// The stream's number.
    pub n: u16,
    /// The frame's epoch; a string, because a JavaScript number cannot hold it.
    pub epoch: String,
    /// The frame's seq.
    pub seq: u64,
    /// When the page had it.
    pub received_ms: f64,
    /// When it was decoded.
    pub decoded_ms: f64,
    /// When it was on the screen.
    pub shown_ms: f64,
}

/// Frames of a stream, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// The stream's number.
    pub n: u16,
    /// How many.
    pub frames: u32,
}

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Sort {
    /// Things of a class were in view.
    Presence,
    /// Something is wrong with a camera's picture, or no longer.
    Health,
}

/// Which events a client wants; what is left out is not asked for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsWish {
    /// Returned with the answer.
    pub id: u32,
    /// How many at most.
    pub limit: u16,
    /// Whether new ones are told from now on.
    #[serde(default)]
    pub follow: bool,
    /// Only those that are listed after this one: its `cursor`.
    #[serde(default, deserialize_with = "place")]
    pub(crate) before: Option<Place>,
    /// Only of this camera.
    pub camera: Option<String>,
    /// Only of this kind.
    pub kind: Option<Sort>,
    /// Only presences of this class.
    pub class: Option<String>,
    /// Only changes to this state of health.
    pub state: Option<String>,
    /// Only from this moment on, Unix milliseconds.
    pub from_ms: Option<f64>,
    /// Only up to this moment, Unix milliseconds.
    pub to_ms: Option<f64>,
}

/// Where an event is in the list: by capture time, and of one time by arrival. Its text is what pages ask on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) at_nanos: i64,
    pub(crate) order: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.at_nanos, self.order)
    }
}

impl FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, order) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self { at_nanos: at.parse()?, order: order.parse()? })
    }
}

fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Place>, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(|_| serde::de::Error::custom("before is no cursor"))).transpose()
}

impl EventsWish {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be before 2200")]
    fn nanos(millis: f64) -> i64 {
        (millis * 1_000.0) as i64 * 1_000
    }

    pub(crate) fn first_nanos(&self) -> i64 {
        self.from_ms.map_or(i64::MIN, Self::nanos)
    }

    /// The last nanosecond of the last millisecond.
    pub(crate) fn last_nanos(&self) -> i64 {
        self.to_ms.map_or(i64::MAX, |millis| Self::nanos(millis) + 999_999)
    }

    fn check(&self) -> Result<(), MessageError> {
        if self.limit > MAX_EVENTS {
            let (list, len, max) = ("events", usize::from(self.limit), usize::from(MAX_EVENTS));
            return Err(MessageError::TooMany { list, len, max });
        }
        let mut times = self.from_ms.iter().chain(&self.to_ms);
        let is_sound = times.all(|millis| (0.0..=MAX_MILLIS).contains(millis));
        is_sound.then_some(()).ok_or_else(|| malformed("from_ms and to_ms are Unix times in milliseconds".to_owned()))
    }
}

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum ClientMessage {
    /// The first one.
    Hello {
        /// What the client speaks.
        protocol: u32,
        /// What it can play.
        #[serde(default)]
        media: Vec<String>,
    },
    /// Replaces the watched set.
    Watch {
        /// All of them.
        streams: Vec<Watch>,
    },
    /// Send a stream again from its newest keyframe.
    Rejoin {
        /// The stream's number.
        n: u16,
    },
    /// What has become of frames.
    Shown {
        /// Frames shown.
        #[serde(default)]
        reports: Vec<Shown>,
        /// Frames that the page skipped.
        #[serde(default)]
        skipped: Vec<Count>,
        /// Frames that wait in the page.
        #[serde(default)]
        queue: Vec<Count>,
    },
    /// Play what was recorded, instead of what comes.
    Play {
        /// The stream's number.
        n: u16,
        /// Returned with the answer.
        id: u32,
        /// From when, Unix milliseconds.
        at_ms: f64,
        /// 0.25 to 16; negative: backwards.
        speed: f64,
    },
    /// Send nothing of this stream until `play` or `live`.
    Pause {
        /// The stream's number.
        n: u16,
        /// Returned with the answer.
        id: u32,
    },
    /// Back to what comes.
    Live {
        /// The stream's number.
        n: u16,
        /// Returned with the answer.
        id: u32,
    },
    /// Asks for events.
    Events(EventsWish),
    /// Asks for a pong.
    Ping {
        /// Returned as it is.
        t0: f64,
    },
}

/// Why a client's message is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Too long.
    #[error("the message has more than {MAX_MESSAGE_BYTES} bytes, which is the limit")]
    TooLong,
    /// Not JSON, or not a message of the protocol.
    #[error("the message is not of this protocol: {reason}")]
    Malformed {
        /// What serde says, at most 200 characters.
        reason: String,
    },
    /// A list that is longer than permitted.
    #[error("{list} has {len} entries; the limit is {max}")]
    TooMany {
        /// Which list.
        list: &'static str,
        /// Its length.
        len: usize,
        /// Longest permitted.
        max: usize,
    },
}

impl MessageError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "message-too-long",
            Self::Malformed { .. } => "malformed",
            Self::TooMany { .. } => "too-many",
        }
    }
}

fn malformed(reason: String) -> MessageError {
    MessageError::Malformed { reason }
}

impl ClientMessage {
    /// Reads one message. Nesting is limited by `serde_json` (128 levels), length by [`MAX_MESSAGE_BYTES`].
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(MessageError::TooLong);
        }
        let message: Self = serde_json::from_str(text)
            .map_err(|error| MessageError::Malformed { reason: error.to_string().chars().take(200).collect() })?;
        message.check()?;
        Ok(message)
    }

    fn check(&self) -> Result<(), MessageError> {
        let limit = |list, len, max| if len > max { Err(MessageError::TooMany { list, len, max }) } else { Ok(()) };
        match self {
            Self::Hello { media, .. } => limit("media", media.len(), MAX_MEDIA),
            Self::Watch { streams } => {
                let longest = streams.iter().filter_map(|watch| watch.boxes_ms).max();
                if longest.is_some_and(|longest| longest > MAX_BOXES_MS) {
                    return Err(malformed(format!("boxes_ms is at most {MAX_BOXES_MS}")));
                }
                limit("streams", streams.len(), MAX_WATCHED)
            }
            Self::Shown { reports, skipped, queue } => {
                limit("reports", reports.len(), MAX_REPORTS)?;
                limit("skipped", skipped.len(), MAX_REPORTS)?;
                limit("queue", queue.len(), MAX_REPORTS)
            }
            Self::Play { at_ms, speed, .. } => {
                let is_moment = (0.0..=MAX_MILLIS).contains(at_ms);
                let is_speed = SPEEDS.contains(&speed.abs());
                let reason = "at_ms is a Unix time in milliseconds, and speed is 0.25 to 16 or negative";
                (is_moment && is_speed).then_some(()).ok_or_else(|| malformed(reason.to_owned()))
            }
            Self::Events(wish) => wish.check(),
            Self::Rejoin { .. } | Self::Pause { .. } | Self::Live { .. } | Self::Ping { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, code: &str) {
        assert_eq!(ClientMessage::parse(text).unwrap_err().code(), code, "{text:.80}");
    }

    #[test]
    fn the_messages_of_the_protocol() {
        let watch = ClientMessage::parse(r#"{"type":"watch","streams":[{"n":3,"form":"fmp4"}]}"#).unwrap();
        assert_eq!(
            watch,
            ClientMessage::Watch { streams: vec![Watch { n: 3, form: Form::Fmp4, boxes_ms: None, keyframes: false }] }
        );
        let boxes = ClientMessage::parse(
            r#"{"type":"watch","streams":[{"n":3,"form":"raw","boxes_ms":300,"keyframes":true}]}"#,
        )
        .unwrap();
        let wanted = Watch { n: 3, form: Form::Raw, boxes_ms: Some(300), keyframes: true };
        assert_eq!(boxes, ClientMessage::Watch { streams: vec![wanted] });
        assert_eq!(
            ClientMessage::parse(r#"{"type":"hello","protocol":1,"media":["annexb","jpeg"],"later":{}}"#).unwrap(),
            ClientMessage::Hello { protocol: 1, media: vec!["annexb".to_owned(), "jpeg".to_owned()] }
        );
        assert_eq!(ClientMessage::parse(r#"{"type":"rejoin","n":0}"#).unwrap(), ClientMessage::Rejoin { n: 0 });
        assert_eq!(ClientMessage::parse(r#"{"type":"ping","t0":1.5}"#).unwrap(), ClientMessage::Ping { t0: 1.5 });
        assert_eq!(
            ClientMessage::parse(r#"{"type":"play","n":1,"id":4,"at_ms":1.5,"speed":-4}"#).unwrap(),
            ClientMessage::Play { n: 1, id: 4, at_ms: 1.5, speed: -4.0 }
        );
        assert_eq!(
            ClientMessage::parse(r#"{"type":"live","n":1,"id":4}"#).unwrap(),
            ClientMessage::Live { n: 1, id: 4 }
        );
        let shown = r#"{"type":"shown","reports":[{"n":0,"epoch":"18446744073709551615","seq":7,"received_ms":1.0,"decoded_ms":2.0,"shown_ms":3.5}],"skipped":[{"n":0,"frames":3}]}"#;
        assert!(
            matches!(ClientMessage::parse(shown).unwrap(), ClientMessage::Shown { reports, .. } if reports.len() == 1)
        );
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        for text in ["", "{", "[]", "null", "7", r#"{"type":"exec"}"#, r#"{"type":"watch"}"#, r#"{"n":1}"#] {
            refused(text, "malformed");
        }
        for n in ["-1", "65536", "1.5", "\"1\"", "1e99"] {
            refused(&format!(r#"{{"type":"rejoin","n":{n}}}"#), "malformed");
        }
        refused(r#"{"type":"watch","streams":[{"n":0,"form":"exe"}]}"#, "malformed");
        refused(r#"{"type":"watch","streams":[{"n":0,"form":"raw","boxes_ms":2001}]}"#, "malformed");
        refused(r#"{"type":"ping","t0":NaN}"#, "malformed");
        for play in [
            r#""at_ms":-1,"speed":1"#,
            r#""at_ms":1e300,"speed":1"#,
            r#""at_ms":1,"speed":0"#,
            r#""at_ms":1,"speed":-17"#,
        ] {
            refused(&format!(r#"{{"type":"play","n":0,"id":1,{play}}}"#), "malformed");
        }
    }

    #[test]
    fn a_wish_for_events_is_checked() {
        let text = r#"{"type":"events","id":3,"limit":50,"follow":true,"before":"-7:9","camera":"gate","kind":"health","state":"dark","from_ms":1.5}"#;
        let ClientMessage::Events(wish) = ClientMessage::parse(text).unwrap() else { panic!("{text}") };
        assert_eq!((wish.id, wish.limit, wish.follow, wish.kind), (3, 50, true, Some(Sort::Health)));
        assert_eq!(wish.before.map(|place| place.to_string()), Some("-7:9".to_owned()));
        assert_eq!((wish.first_nanos(), wish.last_nanos()), (1_500_000, i64::MAX));
        refused(r#"{"type":"events","id":3,"limit":201}"#, "too-many");
        for wrong in [
            r#""before":"7""#,
            r#""before":"x:1""#,
            r#""before":"1:-1""#,
            r#""before":7"#,
            r#""kind":"alarm""#,
            r#""from_ms":-1"#,
            r#""to_ms":1e300"#,
            r#""what":1"#,
        ] {
            refused(&format!(r#"{{"type":"events","id":3,"limit":1,{wrong}}}"#), "malformed");
        }
    }

    #[test]
    fn length_depth_and_lists_are_limited() {
        refused(&" ".repeat(MAX_MESSAGE_BYTES + 1), "message-too-long");
        refused(&"[".repeat(MAX_MESSAGE_BYTES), "malformed");
        refused(&format!(r#"{{"type":"ping","t0":1,"x":{}1{}}}"#, "[".repeat(4_000), "]".repeat(4_000)), "malformed");
        let many = vec![r#"{"n":0,"form":"raw"}"#; MAX_WATCHED + 1].join(",");
        refused(&format!(r#"{{"type":"watch","streams":[{many}]}}"#), "too-many");
    }
}
