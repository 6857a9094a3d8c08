//! From the bytes of a device's buffers to frames in the queue.

use crate::error::CameraFault;
use crate::frame_queue::{Closed, Queue, Waiting};
use crate::live::capture::CaptureClock;
use crate::nal_stream::{NalStream, Rates};
use crate::v4l2::DeviceFormat;
use crate::v4l2::pixels::Packing;
use crate::{SourceError, SourceItem, jpeg};
use bytes::Bytes;
use lumenbus_frame::bitstream::{BitstreamError, MAX_ACCESS_UNIT_BYTES, NalCodec, Normaliser};
use lumenbus_frame::{
    CaptureTime, Clock, Codec, Dimensions, EncodedFrame, FrameRate, RawFrame, StreamParameters, Timebase,
};
use std::sync::Arc;
use std::time::Duration;

/// So many damaged frames in a row are no stream.
const MAX_BAD_IN_A_ROW: u64 = 250;
/// A number that jumps further says nothing of frames lost.
const MAX_MISSED: u32 = 1_000;
/// Media time is counted in these.
const MICROSECONDS: u32 = 1_000_000;

/// A buffer, as the driver describes it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    /// Bytes that it says are used, and those that there can be.
    pub(super) bytes_used: usize,
    pub(super) capacity: usize,
    pub(super) sequence: u32,
    pub(super) is_error: bool,
    /// When it was taken, by the monotonic clock, and what that clock says now.
    pub(super) taken_nanos: Option<i64>,
    pub(super) now_nanos: i64,
}

enum Coding {
    Nal(NalStream),
    Jpeg(Arc<StreamParameters>),
    Raw { packing: Packing, parameters: Arc<StreamParameters> },
}

enum Content {
    Encoded(EncodedFrame),
    Raw(RawFrame),
    /// Parameter sets alone.
    Nothing,
}

/// Why no more frames are taken.
#[derive(Debug)]
pub(super) enum Stop {
    Closed,
    Fault(CameraFault),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// What a device was set to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) format: DeviceFormat,
    pub(super) size: Dimensions,
    pub(super) bytes_per_line: u32,
    pub(super) rate: Option<FrameRate>,
}

/// From buffers to the queue.
pub(super) struct Intake {
    name: Arc<str>,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    coding: Coding,
    capture: CaptureClock,
    parameters: Option<Arc<StreamParameters>>,
    /// By which clock the first frame was dated, and when that was.
    origin: Option<(bool, i64)>,
    last_sequence: Option<u32>,
    last_ticks: i64,
    /// Before the first keyframe nobody could decode anything.
    has_begun: bool,
    units: u64,
    bad_in_a_row: u64,
}

impl Intake {
    /// `None` where frames of that setting cannot be understood.
    pub(super) fn new(name: Arc<str>, queue: Arc<Queue>, clock: Arc<dyn Clock>, setting: &Setting) -> Option<Self> {
        let nal = |codec| {
            let rates = Rates { stated: None, fallback: setting.rate };
            Coding::Nal(NalStream::new(Normaliser::annex_b(codec), Timebase::MPEG, rates))
        };
        let parameters = |codec| {
            let mut parameters = StreamParameters::new(codec, setting.size);
            (parameters.timebase, parameters.frame_rate) = (Timebase::MPEG, setting.rate);
            parameters
        };
        let coding = match setting.format {
            DeviceFormat::H264 => nal(NalCodec::H264),
            DeviceFormat::H265 => nal(NalCodec::H265),
            DeviceFormat::Mjpeg => Coding::Jpeg(Arc::new(parameters(Codec::Jpeg))),
            format => {
                let packing = Packing::new(format, setting.size, setting.bytes_per_line)?;
                let mut parameters = parameters(Codec::Raw);
                parameters.pixel_format = Some(packing.pixel_format());
                Coding::Raw { packing, parameters: Arc::new(parameters) }
            }
        };
        Some(Self {
            name,
            queue,
            clock,
            coding,
            capture: CaptureClock::default(),
            parameters: None,
            origin: None,
            last_sequence: None,
            last_ticks: -1,
            has_begun: false,
            units: 0,
            bad_in_a_row: 0,
        })
    }

    /// A buffer that came out of the device, with what it holds.
    pub(super) fn take(&mut self, facts: &Facts, bytes: Vec<u8>) -> Result<(), Stop> {
        self.count(facts.sequence)?;
        let (ticks, capture, is_step) = self.date(facts);
        match self.content(facts, bytes, capture) {
            Ok(Content::Nothing) => Ok(()),
            Ok(content) => {
                (self.units, self.bad_in_a_row) = (self.units + 1, 0);
                self.give(content, ticks, is_step)
            }
            Err(error) => self.lose(error),
        }
    }

    /// Frames that the driver had no buffer for, or has thrown away.
    fn count(&mut self, sequence: u32) -> Result<(), Closed> {
        let missed = self.last_sequence.map_or(0, |last| sequence.wrapping_sub(last).wrapping_sub(1));
        self.last_sequence = Some(sequence);
        if missed == 0 || missed > MAX_MISSED || !self.has_begun {
            return Ok(());
        }
        let what = "the device has taken it and not given it to anybody; the machine may be too busy";
        self.queue.damage(SourceError::Lost { name: Arc::clone(&self.name), what }, missed.into())
    }

    /// Microseconds since the first frame, and the capture time; both by the device's stamp where it has one.
    fn date(&mut self, facts: &Facts) -> (i64, CaptureTime, bool) {
        let arrival = self.clock.unix_nanos();
        let age = facts.taken_nanos.map(|taken| facts.now_nanos.saturating_sub(taken));
        // A stamp of another clock, or from before the machine started, would be a wrong pts, too.
        let age = age.filter(|age| (-1_000_000_000..=10_000_000_000).contains(age));
        let at = facts.now_nanos.saturating_sub(age.unwrap_or(0));
        let (was_stamped, origin) = *self.origin.get_or_insert((age.is_some(), at));
        let is_other_clock = was_stamped != age.is_some();
        let ticks = (at.saturating_sub(origin) / 1_000).max(self.last_ticks.saturating_add(1));
        self.last_ticks = ticks;
        self.capture.state(ticks, age.map(|age| arrival.saturating_sub(age)));
        let stamp = self.capture.stamp(ticks, MICROSECONDS, arrival);
        if is_other_clock {
            self.origin = Some((age.is_some(), origin));
        }
        (ticks, stamp.capture, stamp.is_step)
    }

    fn content(&mut self, facts: &Facts, bytes: Vec<u8>, capture: CaptureTime) -> Result<Content, SourceError> {
        let lost = |what| SourceError::Lost { name: Arc::clone(&self.name), what };
        if facts.is_error {
            return Err(lost("the driver has marked it as damaged"));
        }
        if facts.bytes_used > facts.capacity {
            return Err(lost("the driver says that it has more bytes than its buffer"));
        }
        if bytes.is_empty() {
            return Err(lost("it has no bytes"));
        }
        match &mut self.coding {
            Coding::Nal(_) | Coding::Jpeg(_) if bytes.len() > MAX_ACCESS_UNIT_BYTES => {
                Err(lost("it is larger than any access unit or picture may be"))
            }
            Coding::Nal(stream) => match stream.frame(&Bytes::from(bytes), capture) {
                Ok((frame, _)) => Ok(Content::Encoded(frame)),
                // Some devices give parameter sets in a buffer of their own.
                Err(BitstreamError::NoPicture { .. }) => Ok(Content::Nothing),
                Err(source) => Err(SourceError::Bitstream { name: Arc::clone(&self.name), unit: self.units, source }),
            },
            Coding::Jpeg(parameters) => {
                let picture = jpeg::complete(&Bytes::from(bytes)).map_err(|defect| lost(defect.what))?;
                if parameters.dimensions != picture.dimensions {
                    Arc::make_mut(parameters).dimensions = picture.dimensions;
                }
                let frame = EncodedFrame::new(Codec::Jpeg, capture, picture.bytes);
                Ok(Content::Encoded(frame.with_parameters(Arc::clone(parameters))))
            }
            Coding::Raw { packing, parameters } => {
                let pixels = packing.arrange(bytes).ok_or_else(|| lost("it has too few bytes for its size"))?;
                let frame = RawFrame::new(packing.pixel_format(), parameters.dimensions, pixels, capture);
                frame.map(Content::Raw).map_err(|_| lost("its pixels do not fit its size"))
            }
        }
    }

    fn give(&mut self, content: Content, ticks: i64, is_step: bool) -> Result<(), Stop> {
        let is_keyframe = !matches!(&content, Content::Encoded(frame) if !frame.is_keyframe);
        if !self.has_begun && !is_keyframe {
            return Ok(());
        }
        let parameters = if is_keyframe { self.new_parameters() } else { None };
        let is_discontinuity = is_step && self.has_begun;
        self.has_begun = true;
        let media_time = Duration::from_micros(u64::try_from(ticks).unwrap_or(0));
        // On the 90 kHz clock, rounded.
        let pts = Some(ticks.saturating_mul(9).saturating_add(50) / 100);
        let item = match content {
            Content::Encoded(mut frame) => {
                (frame.pts, frame.is_discontinuity) = (pts, is_discontinuity);
                SourceItem::Encoded { frame, media_time }
            }
            Content::Raw(mut frame) => {
                frame.pts = pts;
                SourceItem::Raw { frame, media_time, is_discontinuity }
            }
            Content::Nothing => return Ok(()),
        };
        Ok(self.queue.offer(Waiting { item, parameters })?)
    }

    /// Where they are other than before.
    fn new_parameters(&mut self) -> Option<Arc<StreamParameters>> {
        let parameters = match &self.coding {
            Coding::Nal(stream) => stream.parameters()?,
            Coding::Jpeg(parameters) | Coding::Raw { parameters, .. } => parameters,
        };
        if self.parameters.as_deref() == Some(&**parameters) {
            return None;
        }
        self.parameters = Some(Arc::clone(parameters));
        self.parameters.clone()
    }

    /// A frame that is lost; too many in a row are the end.
    pub(super) fn lose(&mut self, error: SourceError) -> Result<(), Stop> {
        (self.units, self.bad_in_a_row) = (self.units + 1, self.bad_in_a_row + 1);
        if self.bad_in_a_row >= MAX_BAD_IN_A_ROW {
            let what = match error {
                SourceError::Lost { what, .. } => what,
                _ => "its coded data cannot be read",
            };
            return Err(Stop::Fault(CameraFault::Garbage { frames: self.bad_in_a_row, what }));
        }
        // Damage before the first frame is not worth a word: nothing was promised yet.
        if self.has_begun {
            self.queue.damage(error, 1)?;
        }
        Ok(())
    }

    /// The same for a frame of which nothing came.
    pub(super) fn lose_unseen(&mut self, what: &'static str) -> Result<(), Stop> {
        self.lose(SourceError::Lost { name: Arc::clone(&self.name), what })
    }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
