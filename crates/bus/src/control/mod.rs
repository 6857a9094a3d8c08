//! Requests of readers to publishers, through the topic `lumenbus.control`: for now, that the next picture is a keyframe.
//!
//! A reader that joins where the newest keyframe is old asks for another ([`ControlSender`], [`JoinAid`]); a publisher
//! that encodes answers with its next picture
//! ([`StreamHandle::answer_keyframe_requests`](crate::StreamHandle::answer_keyframe_requests)). Nothing waits for an
//! answer: a publisher that passes video through, or is older than this, ignores the request, and the reader goes on as if
//! it had not asked.
//!
//! The same topic carries the beats of shared fleets ([`BeatPort`]), which publishers ignore.
//!
//! What arrives is hostile until shown otherwise: a stream gives at most one keyframe every [`KEYFRAME_REST`], a
//! request older than [`MAX_REQUEST_AGE`] counts no more, and a flood is skipped.

mod beats;
mod inbox;
mod join;
mod listener;
mod sender;
mod wish;

pub use beats::{BeatPort, NothingCame};
pub use join::JoinAid;
pub use sender::ControlSender;

pub(crate) use listener::Listener;
pub(crate) use wish::{Asked, Wish};

use std::time::Duration;

/// Base name of the topic.
pub const CONTROL: &str = "lumenbus.control";
/// After a keyframe, another is not given on request for so long: whoever asks meanwhile has that one. Its eight frames are
/// decoded in a third of the 300 ms within which who joins is to be up to date.
pub const KEYFRAME_REST: Duration = Duration::from_millis(250);
/// Requests older than this, by the clocks of both sides, are ignored. One from a clock that is ahead is fresh.
pub const MAX_REQUEST_AGE: Duration = Duration::from_secs(10);
/// A reader asks again for the same stream after this at the earliest: sooner it would be given none.
pub const REPEAT_REST: Duration = KEYFRAME_REST;
/// A keyframe older than this is worth a request: decoding forward from a younger one is as soon done.
pub const OLD_KEYFRAME: Duration = Duration::from_millis(250);
