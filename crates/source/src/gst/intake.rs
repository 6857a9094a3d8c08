//! What the pipeline's own thread does with each sample.

use super::coding::{Coding, Content, Defect};
use super::time::{Moment, Stamper};
use crate::error::CameraFault;
use crate::frame_queue::{Closed, Queue, Waiting};
use crate::{SourceError, SourceItem};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use lumenbus_frame::{Clock, Codec, Dimensions, FrameRate, PixelFormat, StreamParameters};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// So many damaged frames in a row are no stream.
const MAX_BAD_IN_A_ROW: u64 = 250;

/// What reader and pipeline have in common.
pub(super) struct Link {
    pub(super) name: Arc<str>,
    pub(super) queue: Queue,
    /// Known from the first sample on.
    pub(super) is_live: AtomicBool,
    /// A frame came, though perhaps none that decoding can begin at.
    pub(super) has_frames: AtomicBool,
}

impl Link {
    pub(super) fn error(&self, fault: CameraFault) -> SourceError {
        SourceError::Camera { name: Arc::clone(&self.name), fault }
    }
}

/// Why no more samples are taken.
enum Stop {
    Closed,
    Fault(CameraFault),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<CameraFault> for Stop {
    fn from(fault: CameraFault) -> Self {
        Self::Fault(fault)
    }
}

/// From samples to the queue.
pub(super) struct Intake {
    link: Arc<Link>,
    rate: Option<FrameRate>,
    stamper: Stamper,
    coding: Option<Coding>,
    caps: Option<gst::Caps>,
    parameters: Option<Arc<StreamParameters>>,
    /// Before the first keyframe nobody could decode anything.
    has_begun: bool,
    is_jump: bool,
    units: u64,
    bad_in_a_row: u64,
}

impl Intake {
    pub(super) fn new(link: Arc<Link>, rate: Option<FrameRate>, clock: Arc<dyn Clock>) -> Self {
        Self {
            link,
            rate,
            stamper: Stamper::new(clock),
            coding: None,
            caps: None,
            parameters: None,
            has_begun: false,
            is_jump: false,
            units: 0,
            bad_in_a_row: 0,
        }
    }

    /// Called for every sample; what goes wrong ends the queue with the reason.
    pub(super) fn take(&mut self, sink: &AppSink) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        match self.sample(sink, &sample) {
            Ok(()) => Ok(gst::FlowSuccess::Ok),
            Err(Stop::Closed) => Err(gst::FlowError::Flushing),
            Err(Stop::Fault(fault)) => {
                self.link.queue.end(Some(self.link.error(fault)));
                // Upstream has nothing to add.
                Err(gst::FlowError::Eos)
            }
        }
    }

    fn sample(&mut self, sink: &AppSink, sample: &gst::Sample) -> Result<(), Stop> {
        self.look_at_caps(sink, sample)?;
        let Some(buffer) = sample.buffer().filter(|buffer| buffer.size() > 0) else { return Ok(()) };
        let Some(coding) = &mut self.coding else { return Ok(()) };
        self.link.has_frames.store(true, Ordering::Relaxed);
        let running_now = if self.link.is_live.load(Ordering::Relaxed) { sink.current_running_time() } else { None };
        let moment = Moment::of(sample, buffer, running_now);
        let stamp = self.stamper.stamp(&moment);
        let flags = buffer.flags();
        // Every stream begins with a jump; that is not worth telling.
        self.is_jump |= stamp.is_step || (self.has_begun && flags.contains(gst::BufferFlags::DISCONT));
        let content = if flags.contains(gst::BufferFlags::CORRUPTED) {
            Err(Defect::Lost("the pipeline has marked it as damaged"))
        } else {
            coding.content(buffer, stamp.capture)
        };
        match content {
            Ok(Content::Nothing) => Ok(()),
            Ok(content) => {
                self.units += 1;
                self.bad_in_a_row = 0;
                self.give(content, &moment)
            }
            Err(defect) => self.lose(defect),
        }
    }

    /// Caps come with the first sample, and again when they change.
    fn look_at_caps(&mut self, sink: &AppSink, sample: &gst::Sample) -> Result<(), CameraFault> {
        let caps = sample.caps_owned();
        if self.coding.is_some() && caps == self.caps {
            return Ok(());
        }
        let next = Coding::of(caps.as_ref().ok_or_else(|| super::coding::refuse("frames without caps"))?, self.rate)?;
        match &mut self.coding {
            Some(coding) => coding.change(next)?,
            None => {
                self.link.is_live.store(is_live(sink), Ordering::Relaxed);
                self.coding = Some(next);
            }
        }
        self.caps = caps;
        Ok(())
    }

    fn give(&mut self, content: Content, moment: &Moment) -> Result<(), Stop> {
        let is_keyframe = match &content {
            Content::Encoded(frame) => frame.is_keyframe,
            Content::Raw(_) | Content::Nothing => true,
        };
        if !self.has_begun && !is_keyframe {
            return Ok(());
        }
        let parameters = if is_keyframe { self.new_parameters() } else { None };
        let is_discontinuity = std::mem::take(&mut self.is_jump) && self.has_begun;
        self.has_begun = true;
        // A reader makes it never decrease.
        let media_time = moment.media_time().unwrap_or(Duration::ZERO);
        let item = match content {
            Content::Encoded(mut frame) => {
                (frame.pts, frame.is_discontinuity) = (moment.pts(), is_discontinuity);
                SourceItem::Encoded { frame, media_time }
            }
            Content::Raw(mut frame) => {
                frame.pts = moment.pts();
                SourceItem::Raw { frame, media_time, is_discontinuity }
            }
            Content::Nothing => return Ok(()),
        };
        let waiting = Waiting { item, parameters };
        let queue = &self.link.queue;
        let given = if self.link.is_live.load(Ordering::Relaxed) { queue.offer(waiting) } else { queue.push(waiting) };
        Ok(given?)
    }

    /// Where they are other than before; another size or format is a jump.
    fn new_parameters(&mut self) -> Option<Arc<StreamParameters>> {
        let parameters = self.coding.as_ref().and_then(Coding::parameters)?;
        if self.parameters.as_deref() == Some(&**parameters) {
            return None;
        }
        self.is_jump |= self.parameters.as_deref().map(shape) != Some(shape(parameters));
        self.parameters = Some(Arc::clone(parameters));
        self.parameters.clone()
    }

    fn lose(&mut self, defect: Defect) -> Result<(), Stop> {
        self.bad_in_a_row += 1;
        let what = defect.what();
        let error = defect.error(&self.link.name, self.units);
        self.units += 1;
        if self.bad_in_a_row >= MAX_BAD_IN_A_ROW {
            return Err(CameraFault::Garbage { frames: self.bad_in_a_row, what }.into());
        }
        // Damage before the first frame is not worth a word: nothing was promised yet.
        if self.has_begun {
            self.link.queue.damage(error, 1)?;
        }
        Ok(())
    }
}

fn shape(parameters: &StreamParameters) -> (Codec, Dimensions, Option<PixelFormat>) {
    (parameters.codec, parameters.dimensions, parameters.pixel_format)
}

/// Whether frames come when they are taken, by the elements before the sink.
fn is_live(sink: &AppSink) -> bool {
    let mut query = gst::query::Latency::new();
    let pad = sink.static_pad("sink");
    pad.is_some_and(|pad| pad.peer_query(&mut query)) && query.result().0
}
