//! A stream as a file: fragmented MP4 that can be played up to wherever writing ended.
//!
//! Coded pictures are not touched. The file begins with a keyframe, and its time line is the stream's own: what is
//! missing keeps its duration (the picture before it stays). Every second, every keyframe and every 8 MiB end a
//! fragment, which is written and flushed at once; before each stands a `prft` box with the capture time of its first
//! picture. Where a player is to begin later than the first keyframe, an edit list says so.
//!
//! ```
//! use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, Epoch, FrameId, Seq};
//! use lumenbus_pipeline::mux::recording::{Recording, RecordingOptions, Taken};
//!
//! let mut recording = Recording::new(Vec::new(), RecordingOptions::default());
//! let id = FrameId { epoch: Epoch(1), seq: Seq(0) };
//! let delta = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), vec![0, 0, 0, 1, 0x41, 0x9a].into());
//! assert_eq!(recording.push(id, &delta)?, Taken::AwaitingKeyframe);
//! let (file, report) = recording.finish()?;
//! assert_eq!((file.len(), report.frames), (0, 0));
//! # Ok::<(), lumenbus_pipeline::mux::recording::RecordingError>(())
//! ```

use super::boxes::Boxes;
use super::decode_order::{DecodeOrder, Timed};
use super::movie::{Description, TRACK_ID, initialisation};
use super::presentation::Presentation;
use super::segment::{Coding, segment};
use super::{MuxError, Sample, Track, av1};
use bytes::Bytes;
use lumenbus_frame::bitstream::NalCodec;
use lumenbus_frame::{Codec, EncodedFrame, FrameId};
use std::io::Write;
use std::time::Duration;

/// Ticks per second.
const TIMESCALE: u32 = 90_000;
/// Fragments end at this length, or at this size.
const FRAGMENT_TICKS: i64 = TIMESCALE as i64;
const FRAGMENT_BYTES: usize = 8 << 20;
/// A player is told to begin at most that long after the first keyframe: no GOP is longer.
const MAX_PREROLL_NANOS: i64 = 600 * 1_000_000_000;
/// From 1900, where NTP begins to count, to 1970.
const NTP_SECONDS: i64 = 2_208_988_800;

/// How a recording is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordingOptions {
    /// Players begin with the picture of this moment, Unix nanoseconds, where the first keyframe is older.
    pub begin_unix_nanos: Option<i64>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is in the file, or will be with the next fragment.
    Written,
    /// It is left out: nothing to decode it with has come since the beginning or the last gap.
    AwaitingKeyframe,
    /// It is left out: it begins a part with other parameter sets or another codec, which needs a file of its own.
    /// Finish this one and give the frame to a new one.
    OtherParameters,
}

/// What a recording holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordingReport {
    /// Frames written.
    pub frames: u64,
    /// Bytes written.
    pub bytes: u64,
    /// From the first picture to the end of the last.
    pub duration: Duration,
    /// Capture time of the first frame, Unix nanoseconds.
    pub first_capture_unix_nanos: Option<i64>,
}

/// Why a recording could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// MP4 does not hold this codec here.
    #[error("MP4 files hold h264, h265 and av1, not {codec}")]
    Codec {
        /// Of the stream.
        codec: Codec,
    },
    /// This frame cannot be in a file; the recording goes on with the next keyframe.
    #[error(transparent)]
    Frame(#[from] MuxError),
    /// The writer failed; what was written before can be played.
    #[error("the recording could not be written")]
    Write(#[from] std::io::Error),
}

/// A frame that waits for its place.
#[derive(Debug)]
struct Held {
    payload: Bytes,
    capture_unix_nanos: i64,
    is_keyframe: bool,
    is_discardable: bool,
}

/// The part that is being written: one set of parameters.
#[derive(Debug)]
struct Running {
    coding: Coding,
    codec: Codec,
    track: Option<Track>,
    description: Description,
    order: DecodeOrder<Held>,
    fragment: Vec<Timed<Held>>,
    fragment_bytes: usize,
    sequence: u32,
}

/// Writes one stream; see the [module](self).
#[derive(Debug)]
pub struct Recording<W> {
    writer: W,
    options: RecordingOptions,
    presentation: Presentation,
    running: Option<Running>,
    /// When the keyframe is shown since which references are complete.
    joined_nanos: Option<i64>,
    end_ticks: i64,
    report: RecordingReport,
}

impl<W: Write> Recording<W> {
    /// Waits for a keyframe; writes nothing before.
    #[must_use]
    pub fn new(writer: W, options: RecordingOptions) -> Self {
        Self {
            writer,
            options,
            presentation: Presentation::default(),
            running: None,
            joined_nanos: None,
            end_ticks: 0,
            report: RecordingReport::default(),
        }
    }

    /// What was written so far.
    #[must_use]
    pub fn report(&self) -> RecordingReport {
        self.report
    }

    /// Takes the stream's next frame in decode order.
    ///
    /// # Errors
    /// [`RecordingError::Frame`]: this frame is left out, and what follows up to the next keyframe. After any other
    /// error the recording is over.
    pub fn push(&mut self, id: FrameId, frame: &EncodedFrame) -> Result<Taken, RecordingError> {
        if frame.is_keyframe {
            // A keyframe that cannot be used breaks what follows.
            let before = self.joined_nanos.take().filter(|_| !frame.is_discontinuity);
            if !self.follow(frame)? {
                return Ok(Taken::OtherParameters);
            }
            self.joined_nanos = before;
        }
        let Some(running) = &mut self.running else {
            // The file's time begins with its first keyframe.
            return Ok(Taken::AwaitingKeyframe);
        };
        let media_nanos = self.presentation.place(id, frame);
        if frame.is_keyframe {
            self.joined_nanos = Some(self.joined_nanos.unwrap_or(media_nanos).min(media_nanos.max(0)));
        }
        // What is shown before the keyframe that it comes after refers to what is not in the file.
        if self.joined_nanos.is_none_or(|joined| media_nanos < joined) {
            return Ok(Taken::AwaitingKeyframe);
        }
        let held = Held {
            payload: frame.payload.clone(),
            capture_unix_nanos: frame.capture.unix_nanos,
            is_keyframe: frame.is_keyframe,
            is_discardable: frame.is_discardable,
        };
        running.order.push(held, ticks(media_nanos));
        self.report.first_capture_unix_nanos.get_or_insert(frame.capture.unix_nanos);
        let interval = ticks(self.presentation.interval_nanos());
        self.end_ticks = self.end_ticks.max(ticks(media_nanos) + interval);
        self.drain(None)?;
        Ok(Taken::Written)
    }

    /// Frames that others refer to are missing here.
    pub fn gap(&mut self) {
        self.joined_nanos = None;
    }

    /// Writes what is held back; gives the writer back, flushed.
    ///
    /// # Errors
    /// A writer that fails.
    pub fn finish(mut self) -> Result<(W, RecordingReport), RecordingError> {
        self.drain(Some(self.end_ticks))?;
        self.writer.flush()?;
        Ok((self.writer, self.report))
    }

    /// Whether a keyframe can go into this file; the first one decides what file it is.
    fn follow(&mut self, keyframe: &EncodedFrame) -> Result<bool, RecordingError> {
        let (coding, track, description) = describe(keyframe)?;
        if let Some(running) = &self.running {
            let is_same = running.codec == keyframe.codec
                && match (&running.track, &track) {
                    (Some(known), Some(found)) => known.has_sets_of(found),
                    _ => running.description == description,
                };
            return Ok(is_same);
        }
        // What the file's head cannot say is told of now, and costs this frame only.
        initialisation(&description, TIMESCALE, 0, None)?;
        let reorder = track.as_ref().map_or(0, |track| track.sequence().max_reorder);
        self.running = Some(Running {
            coding,
            codec: keyframe.codec,
            track,
            description,
            order: DecodeOrder::new(reorder),
            fragment: Vec::new(),
            fragment_bytes: 0,
            sequence: 0,
        });
        Ok(true)
    }

    /// Writes the fragments that are due; with `end`, everything, and the last picture stays until then.
    fn drain(&mut self, end: Option<i64>) -> Result<(), RecordingError> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let done = self.drain_running(&mut running, end);
        self.running = Some(running);
        done
    }

    fn drain_running(&mut self, running: &mut Running, end: Option<i64>) -> Result<(), RecordingError> {
        while let Some(next) = running.order.pop(end) {
            let first = running.fragment.first().map_or(next.decode, |first| first.decode);
            let is_long = next.decode - first >= FRAGMENT_TICKS || running.fragment_bytes >= FRAGMENT_BYTES;
            if !running.fragment.is_empty() && (next.item.is_keyframe || is_long) {
                self.write_fragment(running)?;
            }
            running.fragment_bytes += next.item.payload.len();
            running.fragment.push(next);
        }
        if end.is_some() && !running.fragment.is_empty() {
            self.write_fragment(running)?;
        }
        Ok(())
    }

    fn write_fragment(&mut self, running: &mut Running) -> Result<(), RecordingError> {
        if running.sequence == 0 {
            let first = self.report.first_capture_unix_nanos.unwrap_or(0);
            let preroll = self.options.begin_unix_nanos.map_or(0, |begin| begin.saturating_sub(first));
            let begin = u64::try_from(ticks(preroll.clamp(0, MAX_PREROLL_NANOS))).unwrap_or(0);
            let created = first.div_euclid(1_000_000_000);
            let head = initialisation(&running.description, TIMESCALE, begin, Some(created))?;
            self.write(&head)?;
        }
        running.sequence = running.sequence.wrapping_add(1);
        let fragment = std::mem::take(&mut running.fragment);
        running.fragment_bytes = 0;
        let samples: Vec<_> = fragment.iter().map(sample).collect();
        let Some(first) = fragment.first() else { return Ok(()) };
        let decode = u64::try_from(first.decode).unwrap_or(0);
        let bytes = segment(running.coding, running.sequence, decode, &samples)?;
        self.write(&reference_time(first.item.capture_unix_nanos, decode))?;
        self.write(&bytes)?;
        self.writer.flush()?;
        self.report.frames += fragment.len() as u64;
        let last = fragment.last().map_or(0, |last| last.decode + i64::from(last.duration));
        self.report.duration = Duration::from_nanos(u64::try_from(nanos(last)).unwrap_or(0));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        self.writer.write_all(bytes)?;
        self.report.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn sample(timed: &Timed<Held>) -> Sample<'_> {
    Sample {
        access_unit: &timed.item.payload,
        duration: timed.duration,
        composition_offset: timed.composition_offset,
        is_keyframe: timed.item.is_keyframe,
        is_discardable: timed.item.is_discardable,
    }
}

fn describe(keyframe: &EncodedFrame) -> Result<(Coding, Option<Track>, Description), RecordingError> {
    let nal = match keyframe.codec {
        Codec::H264 => NalCodec::H264,
        Codec::H265 => NalCodec::H265,
        Codec::Av1 => return Ok((Coding::Av1, None, av1::description(&keyframe.payload)?)),
        codec => return Err(RecordingError::Codec { codec }),
    };
    let track = Track::of_keyframe(nal, &keyframe.payload)?;
    let description = track.description();
    Ok((Coding::Nal(nal), Some(track), description))
}

/// `prft` (ISO/IEC 14496-12, 8.16.5): the capture time of the picture at `media_ticks`.
fn reference_time(capture_unix_nanos: i64, media_ticks: u64) -> Vec<u8> {
    let seconds = capture_unix_nanos.div_euclid(1_000_000_000).saturating_add(NTP_SECONDS);
    let fraction = (capture_unix_nanos.rem_euclid(1_000_000_000).unsigned_abs() << 32) / 1_000_000_000;
    let mut boxes = Boxes::with_capacity(32);
    boxes.full(b"prft", 1, 0, |b| {
        b.u32(TRACK_ID);
        // NTP counts seconds in 32 bits and begins again in 2036.
        b.u64(seconds.unsigned_abs() << 32 | fraction);
        b.u64(media_ticks);
    });
    boxes.finish()
}

/// Nearest, so that times that are whole ticks stay what they are.
fn ticks(nanos: i64) -> i64 {
    let ticks = (i128::from(nanos) * i128::from(TIMESCALE) + 500_000_000).div_euclid(1_000_000_000);
    i64::try_from(ticks).unwrap_or(0)
}

fn nanos(ticks: i64) -> i64 {
    i64::try_from(i128::from(ticks) * 1_000_000_000 / i128::from(TIMESCALE)).unwrap_or(i64::MAX)
}
