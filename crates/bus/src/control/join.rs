//! Asks for keyframes where a live reader begins, so that it need not begin at an old one.

use super::{ControlSender, OLD_KEYFRAME};
use crate::subscriber::{DeliveredFrame, Event, Subscriber};
use lumenbus_frame::{Clock, GapReason, StreamId};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// Streams that are followed; of others nothing is asked.
const MAX_STREAMS: usize = 10_000;

/// Asks for a keyframe of every stream that a live reader [begins](Self::begin) with; looks at what it receives, and asks
/// for one of every stream that it joins, or skips forward in, at a keyframe older than [`OLD_KEYFRAME`].
///
/// For readers of the live end only: one that reads the past meets old keyframes all the time.
pub struct JoinAid {
    sender: Arc<ControlSender>,
    clock: Arc<dyn Clock>,
    /// Streams that go on where they were.
    joined: HashSet<Arc<StreamId>>,
}

impl JoinAid {
    /// Asks through `sender`.
    #[must_use]
    pub fn new(sender: Arc<ControlSender>, clock: Arc<dyn Clock>) -> Self {
        Self { sender, clock, joined: HashSet::new() }
    }

    /// At the beginning of a subscription: asks for a keyframe of every stream of its topics that the directory knows to
    /// be live, before their first frames come. Where the newest keyframe is young its publisher gives no other; tells how
    /// many were asked for.
    pub fn begin(&mut self, subscriber: &Subscriber) -> usize {
        let streams = subscriber.live_streams().into_iter().filter(|(_, codec)| !codec.is_intra_only());
        streams.take(MAX_STREAMS).filter(|(stream, _)| self.sender.request_keyframe(stream)).count()
    }

    /// Every event, in the order they come; whether a keyframe was asked for.
    pub fn see(&mut self, event: &Event) -> bool {
        match event {
            Event::Frame(frame) => self.frame(frame),
            Event::Gap { stream, gap } if matches!(gap.reason, GapReason::Lagging | GapReason::Joining) => {
                self.joined.remove(stream);
                false
            }
            Event::End { stream, .. } => {
                self.joined.remove(stream);
                false
            }
            _ => false,
        }
    }

    fn frame(&mut self, frame: &DeliveredFrame) -> bool {
        if self.joined.contains(&frame.stream) || self.joined.len() >= MAX_STREAMS {
            return false;
        }
        self.joined.insert(Arc::clone(&frame.stream));
        let age_nanos = self.clock.unix_nanos().saturating_sub(frame.header.capture.unix_nanos);
        let is_old = u128::try_from(age_nanos).is_ok_and(|age| age > OLD_KEYFRAME.as_nanos());
        is_old && !frame.codec.is_intra_only() && self.sender.request_keyframe(&frame.stream)
    }
}

impl fmt::Debug for JoinAid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAid").field("streams", &self.joined.len()).finish_non_exhaustive()
    }
}
