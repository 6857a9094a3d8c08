//! A capture device as a source.

use crate::error::CameraFault;
use crate::frame_queue::{Queue, Taken, Waiting};
use crate::live::ASK;
use crate::v4l2::choice::{Mode, Offer, choose, is_same, not_offered, offer};
use crate::v4l2::fault::{is_passing, of_device, of_stream};
use crate::v4l2::intake::{Facts, Intake, Setting, Stop};
use crate::v4l2::{DeviceAddress, DeviceFormat};
use crate::{Interrupt, Source, SourceError, SourceItem, SourceOptions};
use lumenbus_frame::{Codec, Dimensions, FrameRate, StreamParameters};
use lumenbus_v4l2::{Device, Filled, Rate, Stream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Buffers that are asked of the driver: one is being filled, one is copied, and two let the machine be busy for a while.
const BUFFERS: u32 = 4;
/// Frames that wait for the reader.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// From the start to the first frame that decoding can begin at.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Between two frames, where the rate does not allow for more.
const SILENCE: Duration = Duration::from_secs(10);
/// A driver that says there is a frame and has none is asked again after this time.
const AGAIN: Duration = Duration::from_millis(10);

/// A capture device of Video4Linux, such as `/dev/video0`: H.264, H.265 and JPEG as the device codes them, else pixels.
///
/// Frames begin at a keyframe. Capture times are the driver's, of the monotonic clock, where they are plausible (at most
/// 10 s behind and 1 s ahead of arrival), else of arrival. Frames that the driver dropped by its own count, marked as
/// damaged or cut short are [`SourceItem::Damaged`]; so is the rest of a GOP that is not taken in time. A device that is
/// gone is the end, by an error.
pub struct DeviceSource {
    name: Arc<str>,
    queue: Arc<Queue>,
    parameters: Arc<StreamParameters>,
    /// Came first, and said what the stream is.
    first: Option<Waiting>,
    last: Instant,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DeviceSource {
    /// Sets the device up and waits for its first frame.
    ///
    /// # Errors
    /// [`SourceError::Camera`] with what is wrong: no such device, no right to it, another program that has it, a wish
    /// that it cannot meet (with what it can), no frame within 30 s.
    pub fn open(address: &DeviceAddress, options: &SourceOptions) -> Result<Self, SourceError> {
        let name = Arc::clone(&address.name);
        let failed = |fault| SourceError::Camera { name: Arc::clone(&name), fault };
        let queue = Arc::new(Queue::new(Arc::clone(&name), QUEUE_BYTES));
        let (stream, setting) = start(address, options.frame_rate).map_err(failed)?;
        let intake = Intake::new(Arc::clone(&name), Arc::clone(&queue), Arc::clone(&options.clock), &setting);
        let intake = intake.ok_or_else(|| {
            let (format, size) = (setting.format, setting.size);
            let what =
                format!("{format} in lines of {} bytes at {}x{}", setting.bytes_per_line, size.width, size.height);
            failed(CameraFault::NoCapture { what })
        })?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let taker = Taker {
            name: Arc::clone(&name),
            path: address.path.clone(),
            queue: Arc::clone(&queue),
            is_stopping: Arc::clone(&is_stopping),
        };
        let thread = std::thread::Builder::new().name("v4l2".to_owned());
        let thread = thread
            .spawn(move || taker.run(stream, intake))
            .map_err(|source| failed(CameraFault::NoRuntime { source }))?;
        let mut source = Self {
            name: Arc::clone(&name),
            queue,
            parameters: Arc::new(StreamParameters::new(Codec::Raw, Dimensions::new(0, 0))),
            first: None,
            last: Instant::now(),
            is_stopping,
            thread: Some(thread),
        };
        source.wait_for_first(&options.interrupt, setting.format)?;
        Ok(source)
    }

    fn wait_for_first(&mut self, interrupt: &Interrupt, format: DeviceFormat) -> Result<(), SourceError> {
        let end = Instant::now() + FIRST_WAIT;
        let fault = loop {
            match self.queue.take(ASK) {
                Taken::Item(waiting) => {
                    self.look_at(&waiting);
                    self.first = Some(waiting);
                    return Ok(());
                }
                Taken::End(Some(error)) => return Err(error),
                Taken::End(None) => break CameraFault::Ended,
                Taken::Nothing if interrupt.is_requested() => break CameraFault::Interrupted,
                Taken::Nothing if Instant::now() < end => {}
                Taken::Nothing if matches!(format, DeviceFormat::H264 | DeviceFormat::H265) => {
                    break CameraFault::NoKeyframe { seconds: FIRST_WAIT.as_secs() };
                }
                Taken::Nothing => {
                    let seconds = FIRST_WAIT.as_secs();
                    break CameraFault::Silent { action: "waiting for its first frame", seconds };
                }
            }
        };
        Err(self.error(fault))
    }

    fn error(&self, fault: CameraFault) -> SourceError {
        SourceError::Camera { name: Arc::clone(&self.name), fault }
    }

    fn look_at(&mut self, waiting: &Waiting) {
        self.last = Instant::now();
        if let Some(parameters) = &waiting.parameters {
            self.parameters = Arc::clone(parameters);
        }
    }
}

impl Source for DeviceSource {
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
        if let Some(first) = self.first.take() {
            self.last = Instant::now();
            return Ok(Some(first.item));
        }
        match self.queue.take(ASK) {
            Taken::Item(waiting) => {
                self.look_at(&waiting);
                Ok(Some(waiting.item))
            }
            Taken::End(error) => Err(error.unwrap_or_else(|| self.error(CameraFault::Ended))),
            Taken::Nothing => {
                // A device that gives nothing is gone, unless it is that slow.
                let slow = self.parameters.frame_rate.map_or(Duration::ZERO, |rate| rate.interval() * 3);
                let silence = SILENCE.max(slow);
                if self.last.elapsed() <= silence {
                    return Ok(Some(SourceItem::Nothing));
                }
                let (action, seconds) = ("waiting for its next frame", silence.as_secs());
                Err(self.error(CameraFault::Silent { action, seconds }))
            }
        }
    }
}

impl Drop for DeviceSource {
    /// Waits until the device is closed: whoever opens it again would find it busy.
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic was told by itself.
            drop(thread.join());
        }
    }
}

/// Opens, sets and starts a device.
fn start(address: &DeviceAddress, stated: Option<FrameRate>) -> Result<(Stream, Setting), CameraFault> {
    let path = &address.path;
    let failed = |error| of_device(path, error);
    let device = Device::open(path).map_err(failed)?;
    let capability = device.capability().map_err(failed)?;
    if !capability.is_capture() || !capability.can_stream() {
        let what = if capability.is_planar_capture() {
            "frames in several planes only (multi-planar API), which is not read here"
        } else {
            "no frames; a camera often has several devices, and the first one gives the pictures"
        };
        return Err(CameraFault::NoCapture { what: what.to_owned() });
    }
    let offer = offer(&device, address.size).map_err(failed)?;
    let (mode, rate) = choose(&offer, address)?;
    let (bytes_per_line, rate) = set(&device, mode, rate, (&offer, address))?;
    let size = Dimensions::new(mode.size.0, mode.size.1);
    let setting = Setting { format: mode.format, size, bytes_per_line, rate: stated.or(rate) };
    Ok((device.start(BUFFERS).map_err(failed)?, setting))
}

/// A driver may answer every wish with something else; bytes of a line, and the rate as far as it says.
fn set(
    device: &Device,
    mode: &Mode,
    rate: Option<Rate>,
    (offer, address): (&Offer, &DeviceAddress),
) -> Result<(u32, Option<FrameRate>), CameraFault> {
    let failed = |error| of_device(&address.path, error);
    let format = device.set_format(mode.code, mode.size).map_err(failed)?;
    if format.format != mode.code || (format.width, format.height) != mode.size {
        return Err(not_offered(offer, address));
    }
    if format.is_single_field {
        return Err(CameraFault::NoCapture {
            what: "single fields of interlaced video, which are not read here".to_owned(),
        });
    }
    let given = match rate {
        Some(rate) => device.set_rate(rate).map_err(failed)?,
        None => device.rate().map_err(failed)?,
    };
    let is_wished = |given: Rate| address.rate.is_none_or(|wish| is_same(given.per_second(), wish.as_f64()));
    if !given.is_none_or(is_wished) {
        return Err(not_offered(offer, address));
    }
    Ok((format.bytes_per_line, given.map(|rate| FrameRate { frames: rate.frames, seconds: rate.seconds })))
}

/// The thread that takes a device's buffers.
struct Taker {
    name: Arc<str>,
    path: PathBuf,
    queue: Arc<Queue>,
    is_stopping: Arc<AtomicBool>,
}

impl Taker {
    fn run(self, stream: Stream, intake: Intake) {
        let mut ending = Ending { taker: self, fault: Some(CameraFault::Defect) };
        ending.fault = match take_all(stream, intake, &ending.taker.path, &ending.taker.is_stopping) {
            Stop::Closed => None,
            Stop::Fault(fault) => Some(fault),
        };
    }
}

/// Ends the queue however the thread ends: after a panic too, nobody shall wait for frames that cannot come.
struct Ending {
    taker: Taker,
    fault: Option<CameraFault>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let name = Arc::clone(&self.taker.name);
        let error = self.fault.take().map(|fault| SourceError::Camera { name, fault });
        self.taker.queue.end(error);
    }
}

fn take_all(mut stream: Stream, mut intake: Intake, path: &Path, is_stopping: &AtomicBool) -> Stop {
    while !is_stopping.load(Ordering::Relaxed) {
        if let Err(stop) = take_one(&mut stream, &mut intake, path) {
            return stop;
        }
    }
    Stop::Closed
}

fn take_one(stream: &mut Stream, intake: &mut Intake, path: &Path) -> Result<(), Stop> {
    let failed = |error| Stop::Fault(of_stream(path, error));
    if !stream.wait(ASK).map_err(failed)? {
        return Ok(());
    }
    let filled = match stream.dequeue() {
        Ok(Some(filled)) => filled,
        Ok(None) => {
            std::thread::sleep(AGAIN);
            return Ok(());
        }
        Err(error) if is_passing(&error) => {
            std::thread::sleep(AGAIN);
            return intake.lose_unseen("the device has lost its signal");
        }
        Err(error) => return Err(failed(error)),
    };
    let (facts, bytes, is_last) = (facts(stream, &filled), stream.copy(&filled), filled.is_last);
    // Handed back before anything else: what follows takes time.
    stream.requeue(filled).map_err(failed)?;
    intake.take(&facts, bytes)?;
    if is_last { Err(Stop::Fault(CameraFault::Ended)) } else { Ok(()) }
}

fn facts(stream: &Stream, filled: &Filled) -> Facts {
    Facts {
        bytes_used: usize::try_from(filled.bytes_used).unwrap_or(usize::MAX),
        capacity: stream.capacity(filled),
        sequence: filled.sequence,
        is_error: filled.is_error,
        taken_nanos: filled.taken_nanos,
        now_nanos: filled.now_nanos,
    }
}
