//! A camera on the network as a source: the reader's side of its queue.

use crate::error::CameraFault;
use crate::live::address::{CameraAddress, Protocol};
use crate::live::http::HttpReceiver;
use crate::live::queue::{Queue, Taken, Waiting};
use crate::live::rtsp::RtspReceiver;
use crate::live::{ASK, Interrupt, runtime, task};
use crate::{Source, SourceError, SourceItem, SourceOptions};
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, StreamParameters};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Frames that wait for the reader.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// A camera on the network: by RTSP H.264, H.265 or JPEG, by HTTP JPEG, as it is coded there.
///
/// Frames begin at a keyframe. Capture times are the camera's where it tells them and they are plausible (at most 10 s
/// behind and 1 s ahead of arrival), else of arrival; a step of either clock is a discontinuity. When frames are not
/// taken, the rest of the GOP is left out, counted in [`SourceItem::Damaged`].
pub struct LiveSource {
    name: Arc<str>,
    queue: Arc<Queue>,
    task: JoinHandle<()>,
    parameters: Arc<StreamParameters>,
    /// Came first, and said what the stream is.
    first: Option<EncodedFrame>,
    /// Of the newest frame in presentation order.
    media_time: Duration,
}

impl LiveSource {
    /// Connects and waits for the first frame.
    ///
    /// # Errors
    /// [`SourceError::Camera`] with what is wrong with it.
    pub fn open(address: &CameraAddress, options: &SourceOptions) -> Result<Self, SourceError> {
        let address = address.clone().asked_by(options.credentials.clone());
        let name = Arc::clone(&address.name);
        let no_runtime = |source| CameraFault::NoRuntime { source };
        let handle = runtime::handle()
            .map_err(|source| SourceError::Camera { name: Arc::clone(&name), fault: no_runtime(source) })?;
        let queue = Arc::new(Queue::new(Arc::clone(&name), QUEUE_BYTES));
        let (to, by) = (Arc::clone(&queue), Arc::clone(&name));
        let (clock, rate) = (Arc::clone(&options.clock), options.frame_rate);
        let task = match address.protocol {
            Protocol::Rtsp(transport) => {
                let receiver = RtspReceiver { address, transport, queue: Arc::clone(&queue), clock, rate };
                handle.spawn(async move { task::run(to, by, receiver.receive()).await })
            }
            Protocol::Http => {
                let receiver = HttpReceiver { address, queue: Arc::clone(&queue), clock, rate };
                handle.spawn(async move { task::run(to, by, receiver.receive()).await })
            }
        };
        let parameters = Arc::new(StreamParameters::new(Codec::H264, Dimensions::new(0, 0)));
        let mut source = Self { name, queue, task, parameters, first: None, media_time: Duration::ZERO };
        source.wait_for_first(&options.interrupt)?;
        Ok(source)
    }

    /// Damage before the first frame is not worth a word: nothing was promised yet.
    fn wait_for_first(&mut self, interrupt: &Interrupt) -> Result<(), SourceError> {
        while self.first.is_none() {
            if interrupt.is_requested() {
                let name = Arc::clone(&self.name);
                return Err(SourceError::Camera { name, fault: CameraFault::Interrupted });
            }
            match self.queue.take(ASK) {
                Taken::Item(Waiting::Frame(frame)) => self.first = Some(self.look_at(frame)),
                Taken::Item(Waiting::Damage { .. }) | Taken::Nothing => {}
                Taken::End(error) => return Err(error),
                Taken::Over => return Err(self.ended()),
            }
        }
        Ok(())
    }

    fn ended(&self) -> SourceError {
        SourceError::Camera { name: Arc::clone(&self.name), fault: CameraFault::Ended }
    }

    fn look_at(&mut self, frame: EncodedFrame) -> EncodedFrame {
        if let Some(parameters) = &frame.parameters {
            self.parameters = Arc::clone(parameters);
        }
        frame
    }

    fn give(&mut self, frame: EncodedFrame) -> SourceItem {
        let ticks = u64::try_from(frame.pts.unwrap_or(0)).unwrap_or(0);
        let base = self.parameters.timebase;
        let nanos =
            u128::from(ticks) * u128::from(base.numerator) * 1_000_000_000 / u128::from(base.denominator.max(1));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.media_time = self.media_time.max(time);
        SourceItem::Encoded { frame, media_time: self.media_time }
    }
}

impl Source for LiveSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn is_live(&self) -> bool {
        true
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if let Some(frame) = self.first.take() {
            return Ok(Some(self.give(frame)));
        }
        Ok(Some(match self.queue.take(ASK) {
            Taken::Item(Waiting::Frame(frame)) => {
                let frame = self.look_at(frame);
                self.give(frame)
            }
            Taken::Item(Waiting::Damage { error, frames }) => SourceItem::Damaged { error, frames: Some(frames) },
            Taken::Nothing => SourceItem::Nothing,
            Taken::End(error) => return Err(error),
            Taken::Over => return Err(self.ended()),
        }))
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}
