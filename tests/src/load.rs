//! Cameras whose frames can be recognised on the other side.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use bytes::{BufMut as _, Bytes, BytesMut};
use lumenbus_bus::publisher::{StreamHandle, StreamSummary};
use lumenbus_bus::{BusError, Publisher, StreamOptions, SystemClock};
use lumenbus_frame::{CaptureTime, Clock as _, Codec, EncodedFrame, FrameId, Seq, StreamId};
use lumenbus_lanes::Admission;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(90);
const MAGIC: u64 = 0x6c75_6d65_6e62_7573;
/// Magic, session, number.
const HEAD_BYTES: usize = 24;

/// What a payload says of itself: which session made it, and as its how-manieth frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// One per [`Camera`].
    pub session: u64,
    /// From 0, in order of submission.
    pub number: u64,
}

impl Content {
    /// At least 24 bytes that follow from content and length alone.
    pub fn payload(self, bytes: usize) -> Bytes {
        let mut payload = BytesMut::with_capacity(bytes.max(HEAD_BYTES) + 8);
        for word in [MAGIC, self.session, self.number] {
            payload.put_u64(word);
        }
        let mut word = (self.session << 32) ^ self.number ^ bytes as u64 ^ MAGIC;
        while payload.len() < bytes {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            payload.put_u64(word);
        }
        payload.truncate(bytes.max(HEAD_BYTES));
        payload.freeze()
    }

    /// Reads a payload; `None` when it is not one of these.
    ///
    /// # Panics
    /// When it is one of these, but damaged.
    pub fn of(payload: &Bytes) -> Option<Self> {
        let word = |at: usize| Some(u64::from_be_bytes(payload.get(at..at + 8)?.try_into().ok()?));
        if word(0)? != MAGIC {
            return None;
        }
        let content = Self { session: word(8)?, number: word(16)? };
        assert!(*payload == content.payload(payload.len()), "the payload of {content:?} is damaged");
        Some(content)
    }
}

/// Publishes one stream.
pub struct Camera {
    /// The stream as its publisher sees it.
    pub handle: StreamHandle,
    codec: Codec,
    session: u64,
    number: u64,
    gop: u64,
    /// Every frame that was queued.
    pub queued: BTreeMap<FrameId, Content>,
    /// Every frame that was dropped at submission.
    pub refused: u64,
}

impl Camera {
    /// The camera's `main` stream on a topic, with a keyframe every ten frames where the codec has any other.
    pub fn open(publisher: &Publisher, camera: &str, base: &str) -> Self {
        Self::open_with(publisher, camera, base, None)
    }

    /// As [`open`](Self::open), in a given partition.
    pub fn open_with(publisher: &Publisher, camera: &str, base: &str, partition: Option<u32>) -> Self {
        let codec = codec_of(base);
        let options = StreamOptions { partition, ..StreamOptions::new(codec) };
        let handle = publisher.main_stream(camera.parse().unwrap(), base, options).unwrap();
        Self::on(handle, codec)
    }

    /// Another stream of a camera.
    pub fn open_stream(publisher: &Publisher, id: StreamId, codec: Codec) -> Self {
        Self::on(publisher.stream(id, StreamOptions::new(codec)).unwrap(), codec)
    }

    fn on(handle: StreamHandle, codec: Codec) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let session = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { handle, codec, session, number: 0, gop: 10, queued: BTreeMap::new(), refused: 0 }
    }

    /// Frames from one keyframe to the next.
    #[must_use]
    pub fn with_gop(mut self, frames: u64) -> Self {
        self.gop = frames;
        self
    }

    /// The next frame as [`send`](Self::send) submits it.
    pub fn next_frame(&self, bytes: usize) -> EncodedFrame {
        let content = Content { session: self.session, number: self.number };
        let capture = CaptureTime::arrival(SystemClock.unix_nanos());
        let frame = EncodedFrame::new(self.codec, capture, content.payload(bytes));
        if self.number.is_multiple_of(self.gop) { frame.keyframe() } else { frame }
    }

    /// Submits the next frame, of this size.
    ///
    /// # Errors
    /// As the stream's handle.
    pub fn try_send(&mut self, bytes: usize) -> Result<Admission, BusError> {
        self.submit(self.next_frame(bytes))
    }

    /// Submits a frame made by [`next_frame`](Self::next_frame).
    ///
    /// # Errors
    /// As the stream's handle.
    pub fn submit(&mut self, frame: EncodedFrame) -> Result<Admission, BusError> {
        let admission = self.handle.submit(frame)?;
        let content = Content { session: self.session, number: self.number };
        self.number += 1;
        match admission {
            Admission::Queued(seq) => {
                self.queued.insert(FrameId { epoch: self.handle.epoch(), seq }, content);
            }
            Admission::Dropped(..) => self.refused += 1,
        }
        Ok(admission)
    }

    /// Submits the next frame.
    ///
    /// # Panics
    /// When it is refused.
    pub fn send(&mut self, bytes: usize) -> Seq {
        let admission = self.try_send(bytes).unwrap();
        assert!(matches!(admission, Admission::Queued(_)), "{admission:?}");
        admission.seq()
    }

    /// Submits so many frames of sizes around this one, and waits for the lane where it fills.
    pub fn send_many(&mut self, frames: u64, bytes: usize) {
        for _ in 0..frames {
            let varied = bytes / 2 + usize::try_from(self.number * 7919).unwrap_or(0) % bytes.max(1);
            self.send(varied);
            if self.handle.queued_bytes() > 8 << 20 {
                assert!(self.handle.flush(PATIENCE), "frames do not get through");
            }
        }
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Panics
    /// When it is not.
    pub fn flush(&self) {
        assert!(self.handle.flush(PATIENCE), "not acknowledged: {:?}", self.handle.stats());
    }

    /// Ends the stream; what was queued and what came of it.
    ///
    /// # Panics
    /// When the end is not written or the numbers do not add up.
    pub fn finish(self) -> (BTreeMap<FrameId, Content>, StreamSummary) {
        let summary = self.handle.finish(PATIENCE).unwrap();
        assert!(summary.is_end_written, "{summary:?}");
        assert_eq!(summary.unresolved_frames, 0, "{summary:?}");
        let stats = &summary.stats;
        let accounted = stats.acknowledged_frames + stats.repeated_frames + stats.dropped_frames();
        assert_eq!(stats.submitted_frames, accounted, "{summary:?}");
        (self.queued, summary)
    }
}

/// The codec whose frames belong on a topic.
pub fn codec_of(base: &str) -> Codec {
    match base {
        "raw_video" => Codec::H264,
        "raw_pixels" => Codec::Raw,
        _ => Codec::Jpeg,
    }
}

/// Cameras that send on and on, from a thread, until told to stop.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Vec<Camera>>,
}

impl Traffic {
    /// One frame of every camera each interval.
    pub fn start(mut cameras: Vec<Camera>, bytes: usize, interval: Duration) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                for camera in &mut cameras {
                    camera.try_send(bytes).unwrap();
                }
                counter.fetch_add(1, Ordering::AcqRel);
                // The pace of a camera.
                std::thread::sleep(interval);
            }
            cameras
        });
        Self { stop, sent, thread }
    }

    /// Frames of each camera so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Waits until each camera has sent so many more.
    pub fn wait_for(&self, frames: u64) {
        let until = self.sent() + frames;
        await_that("the cameras send", || self.sent() >= until);
    }

    /// Stops the thread and gives the cameras back.
    pub fn stop(self) -> Vec<Camera> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// Waits for something that must happen.
///
/// # Panics
/// When it does not.
pub fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
