//! A stream as its user holds it.

use crate::BusError;
use crate::control::Listener;
use crate::publisher::core::{Now, StreamCore};
use crate::publisher::epoch::next_epoch;
use crate::publisher::event::PublisherEvent;
use crate::publisher::hub::{Hub, lock};
use crate::publisher::scribe::write_entry;
use crate::publisher::stats::{StreamStats, StreamSummary, stream_stats};
use crate::publisher::stream::Stream;
use lumenbus_frame::{EncodedFrame, Epoch, GapReason, StreamId};
use lumenbus_lanes::{Admission, Need};
use lumenbus_wire::{Moved, StreamState};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// Of a deadline this part is kept for writing the end, after what waits was sent or given up.
const END_PART: u32 = 5;

/// Sends one stream's frames.
///
/// A handle that is dropped without [`finish`](Self::finish) leaves its stream like a crash would: what is queued still
/// goes out while the publisher lives, but no end is written.
pub struct StreamHandle {
    hub: Arc<Hub>,
    pub(super) stream: Arc<Stream>,
}

impl StreamHandle {
    pub(crate) fn new(hub: Arc<Hub>, stream: Arc<Stream>) -> Self {
        Self { hub, stream }
    }

    /// Which stream.
    #[must_use]
    pub fn id(&self) -> &StreamId {
        &self.stream.id
    }

    /// The epoch that frames get now.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        lock(&self.stream.core).epoch()
    }

    /// Numbers a frame and sends or queues it; never waits for Kafka.
    ///
    /// The answer says whether it is queued or in a gap. Its seq belongs to [`epoch`](Self::epoch) as it is after the
    /// call; should the Kafka client fail for good before it was sent, it gets another one in the epoch after that.
    ///
    /// # Errors
    /// [`BusError::Superseded`] when another publisher took the stream over; [`BusError::Closed`].
    pub fn submit(&self, frame: EncodedFrame) -> Result<Admission, BusError> {
        let (mut core, now) = self.begin()?;
        let is_keyframe = frame.is_keyframe;
        let admission = core.submit(frame, now);
        // One that was dropped answers nobody.
        if is_keyframe && matches!(admission, Admission::Queued(_)) {
            self.stream.wish.keyframe(now.monotonic_nanos);
        }
        let wrong = core.counts.replaced_captures > 0;
        let offset_millis = core.counts.last_capture_offset_nanos / 1_000_000;
        self.hub.pump(&self.stream, core, now);
        if wrong && !self.stream.is_clock_wrong.swap(true, Ordering::AcqRel) {
            let stream = self.stream.id.clone();
            self.hub.events.tell(PublisherEvent::WrongCaptureTime { stream, offset_millis });
        }
        Ok(admission)
    }

    /// The source lost `count` frames before they got here: they get numbers and are explained.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn lose(&self, count: u64, reason: GapReason) -> Result<(), BusError> {
        let (mut core, now) = self.begin()?;
        core.lose(count, reason);
        self.hub.pump(&self.stream, core, now);
        Ok(())
    }

    /// The next `count` frames equal the last one: they get numbers, are counted as repeated, and are not sent.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn repeat(&self, count: u64) -> Result<(), BusError> {
        let (mut core, now) = self.begin()?;
        core.repeat(count, now);
        self.hub.pump(&self.stream, core, now);
        Ok(())
    }

    /// The camera is away. Readers are told; the next frame is marked as coming after a jump.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn offline(&self, reason: &str) -> Result<(), BusError> {
        let (mut core, now) = self.begin()?;
        core.offline(reason, now);
        self.hub.pump(&self.stream, core, now);
        self.hub.add_entry_job(&self.stream);
        Ok(())
    }

    /// From now on readers may ask this stream for keyframes ([`control`](crate::control)): look at
    /// [`take_keyframe_request`](Self::take_keyframe_request) before each picture.
    ///
    /// The first stream of a publisher that answers starts the thread that listens.
    ///
    /// # Errors
    /// [`BusError::Closed`]; [`BusError::Thread`]. That requests cannot be read is logged, and no error.
    pub fn answer_keyframe_requests(&self) -> Result<(), BusError> {
        let mut listener = lock(&self.hub.listener);
        // Whoever closes takes the listener away after this is known.
        self.hub.check_open()?;
        self.stream.wish.answer();
        if listener.is_none() {
            *listener = Some(Listener::start(&self.hub)?);
        }
        Ok(())
    }

    /// Whether a reader waits for a keyframe: the next picture should be one. Each wish is told once, and none for
    /// [`KEYFRAME_REST`](crate::control::KEYFRAME_REST) after a keyframe.
    #[must_use]
    pub fn take_keyframe_request(&self) -> bool {
        self.stream.wish.take(self.hub.clock.monotonic_nanos())
    }

    /// What the next picture must be after what was lost on the way here: a frame that was queued may have expired since,
    /// made room for others or not been delivered. Whoever encodes looks at it before each picture.
    #[must_use]
    pub fn need(&self) -> Need {
        lock(&self.stream.core).newest().lane.need()
    }

    /// Whether nothing but a keyframe is of use to readers now: what comes before one is dropped.
    #[must_use]
    pub fn needs_keyframe(&self) -> bool {
        self.need() == Need::Keyframe
    }

    /// From its next keyframe on the stream is in another partition, under a new epoch, which is returned.
    ///
    /// Waits until the directory has it. The old epoch is ended first, with `moved` behind it.
    ///
    /// # Errors
    /// [`BusError::TopicUnfit`] for a partition that the topic does not have; when the directory cannot be written (the
    /// stream stays where it is); as [`submit`](Self::submit).
    pub fn move_to(&self, partition: u32) -> Result<Epoch, BusError> {
        if partition >= self.stream.partitions {
            let what = format!("it has {} partitions, no number {partition}", self.stream.partitions);
            return Err(BusError::TopicUnfit { topic: self.stream.id.topic.as_str().to_owned(), what });
        }
        let (core, now) = self.begin()?;
        let epoch = next_epoch(Some(core.announced_epoch()), now);
        let facts = core.facts_moved(Moved { epoch, partition });
        drop(core);
        self.stream.announcing.store(epoch.0, Ordering::Release);
        let written = write_entry(&self.hub, &self.stream, facts, StreamState::Live);
        if written.is_ok() {
            lock(&self.stream.core).move_to(Moved { epoch, partition });
        }
        self.stream.announcing.store(0, Ordering::Release);
        written.map(|()| epoch)
    }

    /// Sends what waits, writes the stream's end and closes it.
    ///
    /// What cannot be sent within `deadline` becomes a gap, which the end tells; when not even the end can be written,
    /// the summary says so.
    ///
    /// # Errors
    /// [`BusError::Superseded`] when another publisher took the stream over; [`BusError::Closed`].
    pub fn finish(self, deadline: Duration) -> Result<StreamSummary, BusError> {
        drop(self.begin()?.0);
        finish(&self.hub, &self.stream, deadline)
    }

    /// Waits until everything submitted so far is settled, at most so long; whether it is.
    #[must_use]
    pub fn flush(&self, wait: Duration) -> bool {
        self.stream.wait_until(wait, StreamCore::is_drained);
        lock(&self.stream.core).is_drained()
    }

    /// Bytes that wait in the lane, bookkeeping included; cheaper than [`stats`](Self::stats).
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        lock(&self.stream.core).queued_bytes()
    }

    /// The stream's numbers.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        stream_stats(&lock(&self.stream.core))
    }

    /// The stream's core, when it may be used; a clock step since the last call is a jump in the stream.
    fn begin(&self) -> Result<(MutexGuard<'_, StreamCore>, Now), BusError> {
        self.hub.check_open()?;
        let now = self.hub.now();
        let steps = self.hub.clock_steps(now);
        let mut core = lock(&self.stream.core);
        if let Some(theirs) = core.superseded_by() {
            let (stream, ours) = (self.stream.id.clone(), core.epoch());
            return Err(BusError::Superseded { stream, ours, theirs });
        }
        if self.stream.steps_seen.swap(steps, Ordering::AcqRel) != steps {
            core.jump();
        }
        Ok((core, now))
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        if !self.stream.is_finished.load(Ordering::Acquire) {
            self.hub.abandon(&self.stream);
        }
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle").field("stream", &self.stream.id).finish_non_exhaustive()
    }
}

/// Begins to end a stream: no more frames.
pub(crate) fn begin_finish(hub: &Hub, stream: &Arc<Stream>) {
    let now = hub.now();
    let mut core = lock(&stream.core);
    core.begin_finish();
    hub.pump(stream, core, now);
}

/// Ends a stream; see [`StreamHandle::finish`].
pub(crate) fn finish(hub: &Hub, stream: &Arc<Stream>, deadline: Duration) -> Result<StreamSummary, BusError> {
    let start = Instant::now();
    begin_finish(hub, stream);
    let is_over = |core: &StreamCore| core.is_finished() || core.superseded_by().is_some();
    stream.wait_until(deadline - deadline / END_PART, is_over);
    let now = hub.now();
    let mut core = lock(&stream.core);
    if !is_over(&core) {
        core.drop_waiting(GapReason::Stopped);
    }
    hub.pump(stream, core, now);
    stream.wait_until(deadline.saturating_sub(start.elapsed()), is_over);
    stream.is_finished.store(true, Ordering::Release);

    let core = lock(&stream.core);
    let superseded = core.superseded_by();
    let mut summary = StreamSummary {
        stats: stream_stats(&core),
        unresolved_frames: core.in_flight_frames() + core.queued_frames() as u64,
        is_end_written: core.is_end_written(),
    };
    let mut facts = core.entry_facts();
    (facts.last_seq, facts.next_offset) = core.last();
    let (is_finished, is_pictures_only, ours) = (core.is_finished(), core.is_pictures_only(), core.epoch());
    drop(core);
    hub.remove_stream(stream.number);
    if let Some(theirs) = superseded {
        return Err(BusError::Superseded { stream: stream.id.clone(), ours, theirs });
    }
    if is_finished {
        let written = write_entry(hub, stream, facts, StreamState::Ended);
        summary.is_end_written &= written.is_ok() || !is_pictures_only;
        tell_directory_problem(hub, stream, written);
    }
    Ok(summary)
}

fn tell_directory_problem(hub: &Hub, stream: &Stream, written: Result<(), BusError>) {
    if let Err(error) = written {
        let error = Arc::new(error);
        hub.events.tell(PublisherEvent::DirectoryProblem { stream: stream.id.clone(), error });
    }
}
