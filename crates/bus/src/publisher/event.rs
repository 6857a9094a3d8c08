//! What a publisher has to tell besides its numbers.

use crate::BusError;
use lumenbus_frame::{Epoch, StreamId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Events kept for a reader that does not come; the oldest go first.
const MAX_EVENTS: usize = 256;

/// Something happened that the operator of a publisher wants to know; each is told when it begins, not per frame.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PublisherEvent {
    /// The first record after opening or after [`PublisherEvent::Disconnected`] was acknowledged.
    Connected,
    /// No broker can be reached; frames wait in their lanes.
    Disconnected {
        /// What librdkafka says.
        reason: String,
    },
    /// Records of a stream do not get into the log; frames are dropped, with gaps. Told once until one gets through.
    DeliveryProblem {
        /// Which stream.
        stream: StreamId,
        /// Why, and what to do.
        error: Arc<BusError>,
    },
    /// Records of this stream get into the log again.
    DeliveryResumed {
        /// Which stream.
        stream: StreamId,
    },
    /// Another publisher has the stream: this one sends no more of it.
    Superseded {
        /// Which stream.
        stream: StreamId,
        /// The other one's epoch.
        theirs: Epoch,
    },
    /// The directory entry of a stream could not be written; it is tried again.
    DirectoryProblem {
        /// Which stream.
        stream: StreamId,
        /// Why.
        error: Arc<BusError>,
    },
    /// This machine's wall clock was set; every stream's next frame is marked as coming after a jump.
    ClockStep {
        /// By how much, in milliseconds; negative: back.
        millis: i64,
    },
    /// A camera's clock is wrong: its capture times are replaced by arrival time. Told once a stream.
    WrongCaptureTime {
        /// Which stream.
        stream: StreamId,
        /// Camera minus arrival, in milliseconds.
        offset_millis: i64,
    },
    /// Keyframes do not get into the index; they are found by the frames instead. Told once until they do again.
    IndexProblem {
        /// Why, and what to do.
        error: Arc<BusError>,
    },
    /// The Kafka client failed for good and was replaced; every stream goes on under a new epoch.
    ClientReplaced {
        /// What librdkafka says.
        reason: String,
    },
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<PublisherEvent>,
    forgotten: u64,
}

/// A bounded queue of events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl Events {
    pub(crate) fn tell(&self, event: PublisherEvent) {
        log(&event);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.events.len() == MAX_EVENTS {
            queue.events.pop_front();
            queue.forgotten += 1;
        }
        queue.events.push_back(event);
        self.arrived.notify_all();
    }

    pub(crate) fn next(&self, wait: Duration) -> Option<PublisherEvent> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut queue, _) = self
            .arrived
            .wait_timeout_while(queue, wait, |queue| queue.events.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        queue.events.pop_front()
    }

    pub(crate) fn forgotten(&self) -> u64 {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).forgotten
    }
}

fn log(event: &PublisherEvent) {
    match event {
        PublisherEvent::Connected => tracing::info!("connected"),
        PublisherEvent::DeliveryResumed { stream } => {
            tracing::info!(%stream, "records get through again");
        }
        PublisherEvent::DeliveryProblem { stream, error } => {
            tracing::warn!(%stream, %error, "records are lost");
        }
        PublisherEvent::DirectoryProblem { stream, error } => {
            tracing::warn!(%stream, %error, "the directory entry could not be written");
        }
        PublisherEvent::Disconnected { reason } => {
            tracing::warn!("no broker answers ({reason}); frames wait as long as there is room, and it is tried again");
        }
        PublisherEvent::Superseded { stream, theirs } => {
            tracing::warn!(%stream, "another publisher has the stream, with epoch {theirs}; this one sends no more of it");
        }
        PublisherEvent::ClockStep { millis } => {
            tracing::warn!("this machine's clock was set by {millis} ms; each stream's next frame is marked");
        }
        PublisherEvent::WrongCaptureTime { stream, offset_millis } => {
            tracing::warn!(%stream, "the camera's clock is {offset_millis} ms off; arrival times are used instead");
        }
        PublisherEvent::IndexProblem { error } => {
            tracing::warn!(%error, "the keyframe index is not written; moments are found by the frames, more slowly");
        }
        PublisherEvent::ClientReplaced { reason } => {
            tracing::warn!("the Kafka client was replaced ({reason}); every stream goes on under a new epoch");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_and_the_newest_stay() {
        let events = Events::default();
        for millis in 0..1_000 {
            events.tell(PublisherEvent::ClockStep { millis });
        }
        assert_eq!(events.forgotten(), 1_000 - MAX_EVENTS as u64);
        let first = events.next(Duration::ZERO);
        assert!(matches!(first, Some(PublisherEvent::ClockStep { millis: 744 })), "{first:?}");
        while events.next(Duration::ZERO).is_some() {}
        assert!(events.next(Duration::from_millis(1)).is_none());
    }
}
