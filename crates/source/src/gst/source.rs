//! A pipeline as a source.

use super::address::{GstPipeline, Secrets};
use super::coding::refuse;
use super::intake::{Intake, Link};
use super::launch::{Launched, launch};
use super::runner::{Runner, is_overdue};
use crate::error::CameraFault;
use crate::frame_queue::{Queue, Taken, Waiting};
use crate::{Interrupt, Source, SourceError, SourceItem, SourceOptions};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use lumenbus_frame::{Codec, Dimensions, StreamParameters};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often who waits for a frame asks whether to go on.
const ASK: Duration = Duration::from_millis(100);
/// From the start to the first frame that decoding can begin at.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Between two frames of a live source, where its rate does not allow for more.
const SILENCE: Duration = Duration::from_secs(10);
/// Frames that wait for the reader.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// A pipeline of GStreamer: what comes out of its `appsink`.
///
/// Frames begin at one that decoding can begin at. A live pipeline ([`Source::is_live`], by its latency query) gives
/// them as they come: capture times are those of the buffers' reference timestamps (`timestamp/x-unix`,
/// `timestamp/x-ntp`), else base time and running time by the pipeline's clock, where these are plausible (at most 10 s
/// behind and 1 s ahead of arrival), else of arrival; what is not taken in time is left out up to a keyframe and told.
/// Any other pipeline waits for its reader. `DISCONT`, a step of the clock, and another size or format are
/// discontinuities. The end of the stream is the end of the source.
pub struct GstSource {
    link: Arc<Link>,
    parameters: Arc<StreamParameters>,
    /// Came first, and said what the stream is.
    first: Option<Waiting>,
    media_time: Duration,
    last: Instant,
    has_ended: bool,
    _runner: Runner,
}

impl GstSource {
    /// Starts the pipeline and waits for the first frame.
    ///
    /// # Errors
    /// [`SourceError::Camera`] with what is wrong: a text that is no pipeline, an element that fails, caps that are not
    /// read, no frame within 30 s.
    pub fn open(pipeline: &GstPipeline, options: &SourceOptions) -> Result<Self, SourceError> {
        let name = pipeline.name();
        let failed = |fault| SourceError::Camera { name: Arc::clone(&name), fault };
        if is_overdue(pipeline.text()) {
            return Err(failed(CameraFault::NotStopped));
        }
        let launched = launch(pipeline, options.credentials.as_ref()).map_err(failed)?;
        let Launched { pipeline: elements, sink, secrets } = launched;
        let link = Arc::new(Link {
            name: Arc::clone(&name),
            queue: Queue::new(Arc::clone(&name), QUEUE_BYTES),
            is_live: AtomicBool::new(false),
            has_frames: AtomicBool::new(false),
        });
        let mut intake = Intake::new(Arc::clone(&link), options.frame_rate, Arc::clone(&options.clock));
        let ended = Arc::clone(&link);
        let callbacks = AppSinkCallbacks::builder()
            .new_sample(move |sink| intake.take(sink))
            .eos(move |_| ended.queue.end(None))
            .build();
        sink.set_callbacks(callbacks);
        let say = {
            let sink = sink.downgrade();
            move |error: &gst::message::Error| say(error, sink.upgrade().as_ref(), &secrets)
        };
        drop(sink);
        let runner = Runner::start(elements, pipeline.text(), Arc::clone(&link), say)
            .map_err(|source| failed(CameraFault::NoRuntime { source }))?;
        let mut source = Self {
            link,
            parameters: Arc::new(StreamParameters::new(Codec::Raw, Dimensions::new(0, 0))),
            first: None,
            media_time: Duration::ZERO,
            last: Instant::now(),
            has_ended: false,
            _runner: runner,
        };
        source.wait_for_first(&options.interrupt)?;
        Ok(source)
    }

    fn wait_for_first(&mut self, interrupt: &Interrupt) -> Result<(), SourceError> {
        let end = Instant::now() + FIRST_WAIT;
        loop {
            let fault = match self.link.queue.take(ASK) {
                Taken::Item(waiting) => {
                    self.look_at(&waiting);
                    self.first = Some(waiting);
                    self.last = Instant::now();
                    return Ok(());
                }
                Taken::End(Some(error)) => return Err(error),
                Taken::End(None) if self.link.has_frames.load(Ordering::Relaxed) => CameraFault::NoPipeline {
                    what: "it has ended without a frame that decoding can begin at".to_owned(),
                },
                Taken::End(None) => CameraFault::NoPipeline { what: "it has ended without a frame".to_owned() },
                Taken::Nothing if interrupt.is_requested() => CameraFault::Interrupted,
                Taken::Nothing if Instant::now() < end => continue,
                Taken::Nothing if self.link.has_frames.load(Ordering::Relaxed) => {
                    CameraFault::NoKeyframe { seconds: FIRST_WAIT.as_secs() }
                }
                Taken::Nothing => {
                    CameraFault::Silent { action: "waiting for its first frame", seconds: FIRST_WAIT.as_secs() }
                }
            };
            return Err(self.link.error(fault));
        }
    }

    fn look_at(&mut self, waiting: &Waiting) {
        if let Some(parameters) = &waiting.parameters {
            self.parameters = Arc::clone(parameters);
        }
    }

    fn give(&mut self, waiting: Waiting) -> SourceItem {
        self.look_at(&waiting);
        self.last = Instant::now();
        let mut item = waiting.item;
        if let SourceItem::Encoded { media_time, .. } | SourceItem::Raw { media_time, .. } = &mut item {
            self.media_time = self.media_time.max(*media_time);
            *media_time = self.media_time;
        }
        item
    }

    /// A live source that gives nothing is gone, unless it is that slow.
    fn nothing(&self) -> Result<Option<SourceItem>, SourceError> {
        let slow = self.parameters.frame_rate.map_or(Duration::ZERO, |rate| rate.interval() * 3);
        let silence = SILENCE.max(slow);
        if self.is_live() && self.last.elapsed() > silence {
            let (action, seconds) = ("waiting for its next frame", silence.as_secs());
            return Err(self.link.error(CameraFault::Silent { action, seconds }));
        }
        Ok(Some(SourceItem::Nothing))
    }
}

impl Source for GstSource {
    fn name(&self) -> &str {
        &self.link.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn is_live(&self) -> bool {
        self.link.is_live.load(Ordering::Relaxed)
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(self.give(first)));
        }
        if self.has_ended {
            return Ok(None);
        }
        match self.link.queue.take(ASK) {
            Taken::Item(waiting) => Ok(Some(self.give(waiting))),
            Taken::Nothing => self.nothing(),
            Taken::End(error) => {
                self.has_ended = true;
                error.map_or(Ok(None), Err)
            }
        }
    }
}

/// An element's error in our words. Where nothing has come through for want of common caps, what comes is told.
fn say(error: &gst::message::Error, sink: Option<&AppSink>, secrets: &Secrets) -> CameraFault {
    let (text, detail) = (error.error(), error.debug().unwrap_or_default());
    let is_negotiation = text.matches(gst::CoreError::Negotiation) || detail.contains("not-negotiated");
    let pad = sink.and_then(|sink| sink.static_pad("sink")).filter(|_| is_negotiation);
    if let Some(pad) = pad.filter(|pad| pad.current_caps().is_none()) {
        let (given, wanted) = (pad.peer_query_caps(None), pad.query_caps(None));
        if !given.is_empty() && !given.can_intersect(&wanted) {
            return refuse(secrets.hide(&given.to_string()));
        }
    }
    let element = error.src().map_or_else(|| "pipeline".to_owned(), |source| source.name().to_string());
    // Behind the place in GStreamer's source stands what the element adds.
    let more = detail.split_once('\n').map_or("", |(_, more)| more);
    CameraFault::Element {
        element: secrets.hide(&element),
        what: secrets.hide(format!("{} {more}", text.message()).trim_end()),
    }
}
