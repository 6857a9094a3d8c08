//! Reads a little of a source and says what it is.

use crate::site::playback::{Playback, playback};
use lumenbus_codec::{CodecError, DecoderConfig, support};
use lumenbus_frame::bitstream::{NalCodec, Normaliser};
use lumenbus_frame::{CaptureSource, CaptureTime, Clock as _, Codec, EncodedFrame, Epoch, FrameId, Seq};
use lumenbus_frame::{FrameRate, StreamParameters};
use lumenbus_pipeline::decode::Decoding;
use lumenbus_pipeline::fleet::CameraConfig;
use lumenbus_source::{Source, SourceError, SourceItem, SourceOptions, SystemClock};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most frames that are looked at.
const MAX_FRAMES: u64 = 2_000;
/// Most payload that is looked at.
const MAX_BYTES: u64 = 256 << 20;
/// So many are decoded, to see whether this build can.
const MAX_DECODED: u64 = 60;
/// No codec here reorders more pictures than this.
const MAX_REORDER: usize = 32;
/// So many damaged places are told.
const MAX_DAMAGES: usize = 5;

/// What a source turned out to be.
#[derive(Debug)]
pub(crate) struct Inspection {
    pub(crate) parameters: Arc<StreamParameters>,
    pub(crate) stated_rate: Option<FrameRate>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) largest_bytes: u64,
    /// From the first to the last frame by the source's own times.
    pub(crate) media_span: Duration,
    /// Frames between keyframes, of those that are complete.
    pub(crate) gops: Vec<u64>,
    pub(crate) keyframes: u64,
    /// Pictures that may come before one that is shown earlier, as the stream states; `None` where it does not.
    pub(crate) stated_reorder: Option<usize>,
    /// As many did, by the frames' times.
    pub(crate) seen_reorder: usize,
    pub(crate) discardable: u64,
    pub(crate) capture: Option<CaptureSource>,
    /// Capture minus arrival, the median, where the source has a clock of its own.
    pub(crate) clock_offset: Option<f64>,
    pub(crate) damages: Vec<String>,
    pub(crate) damage_count: u64,
    pub(crate) decoding: DecodeTest,
    pub(crate) playback: Playback,
    /// Whether it ended before the time was up.
    pub(crate) is_whole: bool,
}

/// Whether this build can decode it.
#[derive(Debug, Default)]
pub(crate) struct DecodeTest {
    /// Why this build cannot, by name of what is missing.
    pub(crate) absent: Option<&'static str>,
    pub(crate) tried: u64,
    pub(crate) pictures: u64,
    pub(crate) time: Duration,
    pub(crate) error: Option<String>,
}

impl Inspection {
    /// Frames per second by the source's own times.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn measured_fps(&self) -> Option<f64> {
        let seconds = self.media_span.as_secs_f64();
        (self.frames > 1 && seconds > 0.0).then(|| (self.frames - 1) as f64 / seconds)
    }

    /// Mbit per second at that rate.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn mbit(&self) -> Option<f64> {
        Some(self.bytes as f64 * 8e-6 / self.frames as f64 * self.measured_fps()?)
    }

    /// Nothing to publish, damage, or nowhere to join.
    pub(crate) fn has_problems(&self) -> bool {
        self.frames == 0 || self.keyframes == 0 || self.damage_count > 0 || self.decoding.error.is_some()
    }
}

struct Look {
    found: Inspection,
    reorder: Option<Normaliser>,
    decoding: Option<Decoding>,
    first_time: Option<Duration>,
    since_keyframe: Option<u64>,
    offsets: Vec<i64>,
    /// Of the last frames, to see in what order they are shown.
    recent_pts: VecDeque<i64>,
}

/// Opens the camera's source and reads it for at most `wait`, as fast as it gives.
pub(crate) fn inspect(camera: &CameraConfig, wait: Duration) -> Result<Inspection, SourceError> {
    let credentials = camera.credentials.clone();
    let options = SourceOptions { frame_rate: camera.fps, credentials, ..SourceOptions::default() };
    let mut source = camera.source.open(&options)?;
    let end = Instant::now() + wait;
    let mut look = Look::new(source.as_ref());
    while look.found.frames < MAX_FRAMES && look.found.bytes < MAX_BYTES && Instant::now() < end {
        match source.next_frame()? {
            Some(item) => look.item(item),
            None => {
                look.found.is_whole = true;
                break;
            }
        }
    }
    Ok(look.finish(source.as_ref()))
}

impl Look {
    fn new(source: &dyn Source) -> Self {
        let parameters = Arc::clone(source.parameters());
        let codec = parameters.codec;
        let absent = support().find(|row| row.codec == codec).and_then(|row| row.decode.err());
        let nal = match codec {
            Codec::H264 => Some(NalCodec::H264),
            Codec::H265 => Some(NalCodec::H265),
            _ => None,
        };
        let can_decode = absent.is_none() && codec != Codec::Raw;
        let found = Inspection {
            playback: playback(&parameters),
            stated_rate: source.nominal_rate(),
            parameters,
            frames: 0,
            bytes: 0,
            largest_bytes: 0,
            media_span: Duration::ZERO,
            gops: Vec::new(),
            keyframes: 0,
            stated_reorder: codec.is_intra_only().then_some(0),
            seen_reorder: 0,
            discardable: 0,
            capture: None,
            clock_offset: None,
            damages: Vec::new(),
            damage_count: 0,
            decoding: DecodeTest { absent, ..DecodeTest::default() },
            is_whole: false,
        };
        Self {
            found,
            reorder: nal.map(Normaliser::annex_b),
            decoding: can_decode.then(|| Decoding::new(DecoderConfig::default())),
            first_time: None,
            since_keyframe: None,
            offsets: Vec::new(),
            recent_pts: VecDeque::new(),
        }
    }

    fn item(&mut self, item: SourceItem) {
        match item {
            SourceItem::Encoded { frame, media_time } => {
                self.count(frame.payload.len() as u64, frame.is_keyframe, media_time, frame.capture);
                self.coded(&frame);
            }
            SourceItem::Raw { frame, media_time, .. } => {
                self.count(frame.pixels().len() as u64, true, media_time, frame.capture);
            }
            SourceItem::Damaged { error, frames } => {
                self.found.damage_count += frames.unwrap_or(1);
                if self.found.damages.len() < MAX_DAMAGES {
                    self.found.damages.push(error.to_string());
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, bytes: u64, is_keyframe: bool, media_time: Duration, capture: CaptureTime) {
        let found = &mut self.found;
        found.frames += 1;
        found.bytes += bytes;
        found.largest_bytes = found.largest_bytes.max(bytes);
        let first = *self.first_time.get_or_insert(media_time);
        found.media_span = found.media_span.max(media_time.saturating_sub(first));
        found.capture = Some(capture.source);
        if capture.source != CaptureSource::Arrival {
            self.offsets.push(capture.unix_nanos.saturating_sub(SystemClock::default().unix_nanos()));
        }
        if is_keyframe {
            found.keyframes += 1;
            found.gops.extend(self.since_keyframe.replace(1));
        } else if let Some(frames) = &mut self.since_keyframe {
            *frames += 1;
        }
    }

    fn coded(&mut self, frame: &EncodedFrame) {
        self.found.discardable += u64::from(frame.is_discardable);
        if let Some(normaliser) = &mut self.reorder
            && normaliser.normalise(&frame.payload).is_ok()
        {
            self.found.stated_reorder = Some(normaliser.sequence_reorder());
        }
        if frame.is_discontinuity {
            self.recent_pts.clear();
        }
        if let Some(pts) = frame.pts {
            let before = self.recent_pts.iter().filter(|earlier| **earlier > pts).count();
            self.found.seen_reorder = self.found.seen_reorder.max(before);
            if self.recent_pts.len() == MAX_REORDER {
                self.recent_pts.pop_front();
            }
            self.recent_pts.push_back(pts);
        }
        self.decode(frame);
    }

    fn decode(&mut self, frame: &EncodedFrame) {
        let test = &mut self.found.decoding;
        let Some(decoding) = &mut self.decoding else { return };
        if test.tried >= MAX_DECODED {
            return;
        }
        let id = FrameId { epoch: Epoch(0), seq: Seq(test.tried) };
        test.tried += 1;
        let began = Instant::now();
        let mut pictures = Vec::new();
        let pushed = decoding.push(id, frame, &mut pictures);
        if test.tried == MAX_DECODED {
            decoding.finish(&mut pictures);
        }
        test.time += began.elapsed();
        test.pictures += pictures.len() as u64;
        if let Err(error) = pushed
            && !matches!(error.source, CodecError::NeedsKeyframe { .. })
        {
            test.error.get_or_insert(error.source.to_string());
        }
    }

    fn finish(mut self, source: &dyn Source) -> Inspection {
        if let Some(decoding) = &mut self.decoding
            && self.found.decoding.tried < MAX_DECODED
        {
            let mut pictures = Vec::new();
            decoding.finish(&mut pictures);
            self.found.decoding.pictures += pictures.len() as u64;
        }
        // The first keyframe may have said more than the container.
        self.found.parameters = Arc::clone(source.parameters());
        self.found.playback = playback(&self.found.parameters);
        self.offsets.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
        let median = self.offsets.get(self.offsets.len() / 2).map(|nanos| *nanos as f64 / 1e9);
        self.found.clock_offset = median;
        self.found
    }
}
