//! From a source onto the bus, encoding on the way when asked to.

mod encoding;
mod snapshots;

pub use snapshots::{SNAPSHOTS, SnapshotBudget, SnapshotError, Snapshots, snapshot_stream};

use crate::Shutdown;
use crate::decode::{DecodeError, DecodedFrame, Decoding};
use crate::video::VideoOptions;
use encoding::{Coded, Encoding};
use lumenbus_bus::BusError;
use lumenbus_bus::publisher::StreamHandle;
use lumenbus_codec::{CodecError, DecoderConfig, EncoderConfig};
use lumenbus_frame::{CaptureTime, Clock, Codec, Deadline, EncodedFrame, Epoch, FrameId, GapReason, RawFrame, Seq};
use lumenbus_lanes::{Admission, Need};
use lumenbus_source::{Pacer, Source, SourceError, SourceItem};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// From one keyframe that makes good for a loss to the next: where everything is lost, each is too.
const REPAIR_REST: Duration = Duration::from_millis(500);

/// How fast a source that is not live is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// Each frame when it is due.
    #[default]
    RealTime,
    /// As fast as frames are taken; the lane must not overflow, so the feed waits for room.
    Unlimited,
}

/// How to feed a stream.
#[derive(Debug, Clone, Default)]
pub struct FeedConfig {
    /// Encode (or transcode) with these settings; `None` passes coded frames through.
    pub encoder: Option<EncoderConfig>,
    /// What comes before the encoder, and whether readers may ask for keyframes; what is for the encoder itself is in
    /// its settings already ([`VideoOptions::apply`]).
    pub video: VideoOptions,
    /// How fast.
    pub pace: Pace,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// For every frame.
    pub deadline: Option<Deadline>,
    /// With [`Pace::Unlimited`]: most bytes that may wait in the stream's lane.
    pub max_waiting_bytes: usize,
}

/// Why a feed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedEnding {
    /// The source had no more.
    #[default]
    SourceEnded,
    /// The time was up.
    Limit,
    /// Somebody asked for it.
    Interrupted,
}

/// What a feed did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedReport {
    /// Frames taken from the source.
    pub frames: u64,
    /// Payload bytes submitted.
    pub bytes: u64,
    /// Pictures that repeat the last one, and were told instead of sent.
    pub repeated: u64,
    /// Frames that the source knew to be lost.
    pub lost: u64,
    /// Frames that could not be decoded for transcoding.
    pub undecodable: u64,
    /// Why it ended.
    pub ending: FeedEnding,
}

/// Why a feed could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The encoder failed, or there is none.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Publishing failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Pixels cannot be published as they are without saying so.
    #[error("{source_name} gives uncompressed frames; choose an encoder (--codec h264, jpeg) or --codec raw")]
    NeedsEncoder {
        /// The source.
        source_name: String,
    },
}

/// Source → (encoder) → stream.
pub struct Feed<'a> {
    stream: &'a StreamHandle,
    config: FeedConfig,
    encoding: Option<Encoding>,
    decoding: Option<Decoding>,
    clock: Arc<dyn Clock>,
    pacer: Pacer,
    decode_seq: u64,
    encoded: Vec<EncodedFrame>,
    decoded: Vec<DecodedFrame>,
    /// When a keyframe may be forced again because the stream has lost the rest of its GOP.
    repairs_from: Option<Instant>,
    snapshots: Option<&'a mut Snapshots>,
    report: FeedReport,
}

impl<'a> Feed<'a> {
    /// Opens encoder and decoder as the configuration and the source's codec demand.
    pub fn new(
        stream: &'a StreamHandle,
        source_codec: Codec,
        config: FeedConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FeedError> {
        let encoding = config.encoder.as_ref().map(|encoder| Encoding::new(encoder, &config.video)).transpose()?;
        let is_transcoding = encoding.is_some() && source_codec != Codec::Raw;
        let is_video = config.encoder.as_ref().is_some_and(|encoder| !encoder.codec.is_intra_only());
        if is_video && config.video.keyframe_requests {
            stream.answer_keyframe_requests()?;
        }
        let decoding = is_transcoding.then(|| Decoding::new(DecoderConfig::default()));
        Ok(Self {
            stream,
            config,
            encoding,
            decoding,
            clock,
            pacer: Pacer::default(),
            decode_seq: 0,
            encoded: Vec::new(),
            decoded: Vec::new(),
            repairs_from: None,
            snapshots: None,
            report: FeedReport::default(),
        })
    }

    /// Stills are made of what is sent.
    #[must_use]
    pub fn with_snapshots(mut self, snapshots: Option<&'a mut Snapshots>) -> Self {
        self.snapshots = snapshots;
        self
    }

    /// Feeds until the source ends, a limit is reached or somebody asks to stop.
    ///
    /// `on_damage` hears what of the source could not be used; `on_progress` is called after every item.
    pub fn run(
        mut self,
        source: &mut dyn Source,
        shutdown: &Shutdown,
        mut on_damage: impl FnMut(&SourceError),
        mut on_progress: impl FnMut(&FeedReport),
    ) -> Result<FeedReport, FeedError> {
        let end = self.config.duration.map(|duration| Instant::now() + duration);
        let ending = || match end {
            _ if shutdown.is_requested() => Some(FeedEnding::Interrupted),
            Some(end) if Instant::now() >= end => Some(FeedEnding::Limit),
            _ => None,
        };
        self.report.ending = loop {
            if let Some(ending) = ending() {
                break ending;
            }
            // A live source is its own pace, and knows when its pictures were taken.
            let is_paced = !source.is_live();
            let is_announced = is_paced && self.wait(source.next_media_time(), end, shutdown);
            let Some(mut item) = source.next_frame()? else { break FeedEnding::SourceEnded };
            if is_paced && !is_announced {
                self.wait(item.media_time(), end, shutdown);
            }
            if let Some(ending) = ending() {
                break ending;
            }
            if is_paced && self.config.pace == Pace::RealTime {
                item.stamp(CaptureTime::arrival(self.clock.unix_nanos()));
            }
            self.item(item, source.name(), &mut on_damage)?;
            on_progress(&self.report);
            self.wait_for_room(shutdown);
        };
        self.flush()?;
        Ok(self.report)
    }

    /// Waits until the item is due, but not beyond the end; tells whether its time was known.
    fn wait(&mut self, media_time: Option<Duration>, end: Option<Instant>, shutdown: &Shutdown) -> bool {
        if let (Pace::RealTime, Some(media_time)) = (self.config.pace, media_time) {
            let wait = self.pacer.wait(media_time, self.clock.monotonic_nanos());
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if !wait.is_zero() {
                shutdown.sleep(wait.min(left));
            }
        }
        media_time.is_some()
    }

    /// Unpaced, the lane's fill level is the pace; the lane does not tell when it has room again.
    fn wait_for_room(&self, shutdown: &Shutdown) {
        if self.config.pace == Pace::Unlimited {
            while self.stream.queued_bytes() > self.config.max_waiting_bytes && !shutdown.is_requested() {
                shutdown.sleep(Duration::from_millis(1));
            }
        }
    }

    fn item(
        &mut self,
        item: SourceItem,
        source_name: &str,
        on_damage: &mut impl FnMut(&SourceError),
    ) -> Result<(), FeedError> {
        match item {
            SourceItem::Encoded { frame, .. } if self.encoding.is_none() => {
                self.report.frames += 1;
                self.submit(frame)
            }
            SourceItem::Encoded { frame, .. } => {
                self.report.frames += 1;
                self.transcode(&frame)
            }
            SourceItem::Raw { frame, .. } if self.encoding.is_some() => {
                self.report.frames += 1;
                self.encode(&frame)
            }
            SourceItem::Raw { .. } => Err(FeedError::NeedsEncoder { source_name: source_name.to_owned() }),
            SourceItem::Damaged { error, frames } => {
                on_damage(&error);
                let lost = frames.unwrap_or(1);
                self.report.lost += lost;
                let is_overrun = matches!(error, SourceError::Overrun { .. });
                self.lose(lost, if is_overrun { GapReason::Overflow } else { GapReason::SourceDamaged })
            }
            _ => Ok(()),
        }
    }

    fn transcode(&mut self, frame: &EncodedFrame) -> Result<(), FeedError> {
        let id = FrameId { epoch: Epoch(0), seq: Seq(self.decode_seq) };
        self.decode_seq += 1;
        let Some(decoding) = &mut self.decoding else { return Ok(()) };
        let mut decoded = std::mem::take(&mut self.decoded);
        let waited = decoding.counts().awaiting_keyframe;
        let done = decoding.push(id, frame, &mut decoded);
        // Behind a damaged frame nothing can be decoded until the source's next keyframe.
        let mut undecodable = decoding.counts().awaiting_keyframe - waited;
        if let Err(DecodeError { source, .. }) = done {
            tracing::debug!(%source, "a frame could not be decoded for transcoding");
            undecodable += 1;
        }
        if undecodable > 0 {
            self.report.undecodable += undecodable;
            self.lose(undecodable, GapReason::SourceDamaged)?;
        }
        for picture in decoded.drain(..) {
            self.encode(&picture.picture)?;
        }
        self.decoded = decoded;
        Ok(())
    }

    fn encode(&mut self, frame: &RawFrame) -> Result<(), FeedError> {
        self.make_good();
        let Some(encoding) = &mut self.encoding else { return Ok(()) };
        if self.stream.take_keyframe_request() {
            encoding.force_keyframe();
        }
        let mut encoded = std::mem::take(&mut self.encoded);
        if encoding.encode(frame, &mut encoded)? == Coded::Repeat {
            self.report.repeated += 1;
            self.stream.repeat(1)?;
        }
        for frame in encoded.drain(..) {
            self.submit(frame)?;
        }
        self.encoded = encoded;
        Ok(())
    }

    /// What was lost between here and Kafka, now or since it was queued: a picture that repeats one of those is sent, and
    /// where others would have built on it, as a keyframe; the next may be far. While everything is lost, one in a while
    /// is enough.
    fn make_good(&mut self) {
        let Some(encoding) = &mut self.encoding else { return };
        let need = self.stream.need();
        if need != Need::Nothing {
            encoding.send_next();
        }
        let now = Instant::now();
        if need == Need::Keyframe && self.repairs_from.is_none_or(|from| now >= from) {
            encoding.force_keyframe();
            self.repairs_from = Some(now + REPAIR_REST);
        }
    }

    /// Frames that the source does not have: what comes next must not build on what was before.
    fn lose(&mut self, frames: u64, reason: GapReason) -> Result<(), FeedError> {
        self.stream.lose(frames, reason)?;
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.cut();
        }
        if let Some(encoding) = &mut self.encoding {
            encoding.force_keyframe();
        }
        Ok(())
    }

    fn submit(&mut self, mut frame: EncodedFrame) -> Result<(), FeedError> {
        if self.config.deadline.is_some() {
            frame.deadline = self.config.deadline;
        }
        self.report.bytes += frame.payload.len() as u64;
        // Shares the payload.
        let shown = self.snapshots.is_some().then(|| frame.clone());
        let admission = self.stream.submit(frame)?;
        if let (Some(snapshots), Some(shown)) = (&mut self.snapshots, shown) {
            match admission {
                Admission::Queued(seq) => snapshots.frame(FrameId { epoch: self.stream.epoch(), seq }, shown),
                // Readers do not get it, so no still shows it.
                Admission::Dropped(..) => snapshots.cut(),
            }
        }
        Ok(())
    }

    /// Pictures that a decoder with reordering still holds.
    fn flush(&mut self) -> Result<(), FeedError> {
        if let Some(decoding) = &mut self.decoding {
            let mut decoded = std::mem::take(&mut self.decoded);
            decoding.finish(&mut decoded);
            for picture in decoded {
                self.encode(&picture.picture)?;
            }
        }
        Ok(())
    }
}
