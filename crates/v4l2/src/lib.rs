//! Capture devices of Video4Linux (`/dev/video0`): what they offer, and their frames out of mapped buffers.
//!
//! Data flow: kernel → **buffer** → `lumenbus-source`. Frames are bytes here; what they mean is that crate's matter. All
//! calls are in `raw.rs`, one of the few modules with `unsafe`. By the kernel's documentation, "Video for Linux API"
//! (userspace-api/media/v4l); single-planar capture with mapped buffers only, which is what cameras have.
//!
//! ```no_run
//! use lumenbus_v4l2::{Device, FourCc};
//! use std::time::Duration;
//!
//! let device = Device::open("/dev/video0".as_ref())?;
//! println!("{}", device.capability()?.card);
//! let format = device.set_format(FourCc(*b"MJPG"), (1280, 720))?;
//! let mut stream = device.start(4)?;
//! while !stream.wait(Duration::from_secs(1))? {}
//! if let Some(filled) = stream.dequeue()? {
//!     let picture = stream.copy(&filled);
//!     stream.requeue(filled)?;
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
#![cfg(target_os = "linux")]

mod raw;

use raw::Plain as _;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`.
const MAPPED: u32 = 1;
/// Formats of a device, sizes of a format, intervals of a size: what a driver lists beyond is not asked for.
const MAX_LISTED: u32 = 256;
/// Buffers of a stream.
const MAX_BUFFERS: u32 = 32;
/// A buffer's size: 16K × 16K in 4:2:2.
const MAX_BUFFER_BYTES: u32 = 512 * 1024 * 1024;

/// A pixel format by its four characters, such as `MJPG`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    fn of(number: u32) -> Self {
        Self(number.to_le_bytes())
    }

    fn number(self) -> u32 {
        u32::from_le_bytes(self.0)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii().to_string().trim_end())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a device says of itself (`VIDIOC_QUERYCAP`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Such as `uvcvideo`.
    pub driver: String,
    /// The device's name.
    pub card: String,
    /// Where it is attached.
    pub bus: String,
    flags: u32,
}

impl Capability {
    /// Whether it gives frames in buffers of one plane.
    #[must_use]
    pub fn is_capture(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether it gives frames, but in several planes.
    #[must_use]
    pub fn is_planar_capture(&self) -> bool {
        self.flags & 0x1000 != 0
    }

    /// Whether it can map its buffers.
    #[must_use]
    pub fn can_stream(&self) -> bool {
        self.flags & 0x0400_0000 != 0
    }
}

/// Which sizes a format has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sizes {
    /// These, as the driver lists them: width and height.
    Listed(Vec<(u32, u32)>),
    /// All from the least to the greatest, in steps.
    Range {
        /// Width and height.
        least: (u32, u32),
        /// Width and height.
        greatest: (u32, u32),
        /// Width and height; never 0.
        step: (u32, u32),
    },
}

/// Frames per second as `frames / seconds`; neither is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Numerator.
    pub frames: u32,
    /// Denominator.
    pub seconds: u32,
}

impl Rate {
    /// As a number.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    fn of(interval: raw::Fraction) -> Option<Self> {
        let rate = Self { frames: interval.denominator, seconds: interval.numerator };
        (rate.frames > 0 && rate.seconds > 0).then_some(rate)
    }
}

/// Which rates a size has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rates {
    /// These, as the driver lists them; none where it does not say.
    Listed(Vec<Rate>),
    /// All between two.
    Range {
        /// The fewest frames per second.
        slowest: Rate,
        /// The most.
        fastest: Rate,
    },
}

/// What a device gives from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// How its frames are coded.
    pub format: FourCc,
    /// Pixels of a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// From one line to the next, in the first plane; 0 where it makes no sense.
    pub bytes_per_line: u32,
    /// Whether a buffer has one of a frame's fields only (`V4L2_FIELD_TOP`, `BOTTOM` or `ALTERNATE`).
    pub is_single_field: bool,
}

/// An open device.
#[derive(Debug)]
pub struct Device {
    file: File,
}

impl Device {
    /// Opens it for reading and writing, which its calls need, without waiting in any of them.
    ///
    /// # Errors
    /// Those of `open`: `ENOENT`, `EACCES`, `EBUSY`, `ENXIO`, `ENODEV`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        Ok(Self { file: options.open(path)? })
    }

    /// What it is.
    ///
    /// # Errors
    /// `ENOTTY` where it is no device of Video4Linux.
    pub fn capability(&self) -> io::Result<Capability> {
        let mut said = raw::Capability::zeroed();
        raw::ask(&self.file, &raw::QUERY_CAPABILITY, &mut said)?;
        // What this node can, where the driver tells it apart from what the hardware can.
        let flags = if said.capabilities >> 31 == 1 { said.device_capabilities } else { said.capabilities };
        Ok(Capability { driver: text(&said.driver), card: text(&said.card), bus: text(&said.bus), flags })
    }

    /// The formats of its frames with the driver's words for them, in its order; at most 256.
    ///
    /// # Errors
    /// Those of `VIDIOC_ENUM_FMT` but its end.
    pub fn formats(&self) -> io::Result<Vec<(FourCc, String)>> {
        let mut all = Vec::new();
        for index in 0..MAX_LISTED {
            let mut entry = raw::FormatDescription::zeroed();
            (entry.index, entry.kind) = (index, CAPTURE);
            if !more(raw::ask(&self.file, &raw::ENUM_FORMAT, &mut entry))? {
                break;
            }
            all.push((FourCc::of(entry.format), text(&entry.description)));
        }
        Ok(all)
    }

    /// The sizes of a format; an empty list where the driver does not say.
    ///
    /// # Errors
    /// Those of `VIDIOC_ENUM_FRAMESIZES` but its end.
    pub fn sizes(&self, format: FourCc) -> io::Result<Sizes> {
        let mut all = Vec::new();
        for index in 0..MAX_LISTED {
            let mut entry = raw::SizeEntry::zeroed();
            (entry.index, entry.format) = (index, format.number());
            if !more(raw::ask(&self.file, &raw::ENUM_SIZES, &mut entry))? {
                break;
            }
            let [a, b, c, d, e, f] = entry.of;
            if entry.kind != DISCRETE {
                return Ok(Sizes::Range { least: (a, d), greatest: (b, e), step: (c.max(1), f.max(1)) });
            }
            all.push((a, b));
        }
        Ok(Sizes::Listed(all))
    }

    /// The rates of a size; an empty list where the driver does not say.
    ///
    /// # Errors
    /// Those of `VIDIOC_ENUM_FRAMEINTERVALS` but its end.
    pub fn rates(&self, format: FourCc, (width, height): (u32, u32)) -> io::Result<Rates> {
        let mut all = Vec::new();
        for index in 0..MAX_LISTED {
            let mut entry = raw::IntervalEntry::zeroed();
            (entry.index, entry.format) = (index, format.number());
            (entry.width, entry.height) = (width, height);
            if !more(raw::ask(&self.file, &raw::ENUM_INTERVALS, &mut entry))? {
                break;
            }
            let [first, second, _] = entry.of;
            if entry.kind != DISCRETE {
                let ends = Rate::of(second).zip(Rate::of(first));
                return Ok(
                    ends.map_or(Rates::Listed(Vec::new()), |(slowest, fastest)| Rates::Range { slowest, fastest })
                );
            }
            all.extend(Rate::of(first));
        }
        Ok(Rates::Listed(all))
    }

    /// What it would give now.
    ///
    /// # Errors
    /// Those of `VIDIOC_G_FMT`.
    pub fn format(&self) -> io::Result<Format> {
        let mut format = raw::Format::zeroed();
        format.kind = CAPTURE;
        raw::ask(&self.file, &raw::GET_FORMAT, &mut format)?;
        Ok(said(&format))
    }

    /// Asks for a format and a size; the answer is what it gives instead where it has not got that. Interlaced sources
    /// are asked for whole frames.
    ///
    /// # Errors
    /// Those of `VIDIOC_S_FMT`: `EBUSY` while another program streams.
    pub fn set_format(&self, format: FourCc, (width, height): (u32, u32)) -> io::Result<Format> {
        let mut wish = raw::Format::zeroed();
        wish.kind = CAPTURE;
        (wish.of.width, wish.of.height, wish.of.format) = (width, height, format.number());
        raw::ask(&self.file, &raw::SET_FORMAT, &mut wish)?;
        Ok(said(&wish))
    }

    /// Asks for a rate; the answer is the one that it gives, `None` where it has no say in that.
    ///
    /// # Errors
    /// Those of `VIDIOC_S_PARM` but that it does not exist.
    pub fn set_rate(&self, rate: Rate) -> io::Result<Option<Rate>> {
        let mut parameters = raw::Parameters::zeroed();
        parameters.kind = CAPTURE;
        parameters.interval = raw::Fraction { numerator: rate.seconds, denominator: rate.frames };
        self.parameters(&raw::SET_PARAMETERS, parameters)
    }

    /// The rate that it gives now, where it says so.
    ///
    /// # Errors
    /// Those of `VIDIOC_G_PARM` but that it does not exist.
    pub fn rate(&self) -> io::Result<Option<Rate>> {
        let mut parameters = raw::Parameters::zeroed();
        parameters.kind = CAPTURE;
        self.parameters(&raw::GET_PARAMETERS, parameters)
    }

    fn parameters(
        &self,
        request: &raw::Request<raw::Parameters>,
        mut parameters: raw::Parameters,
    ) -> io::Result<Option<Rate>> {
        let is_known = more(raw::ask(&self.file, request, &mut parameters))?;
        // V4L2_CAP_TIMEPERFRAME.
        let can = is_known && parameters.capability & 0x1000 != 0;
        Ok(Rate::of(parameters.interval).filter(|_| can))
    }

    /// Maps about so many buffers, hands them to the driver and starts it.
    ///
    /// # Errors
    /// Those of the calls: `EBUSY` while another program streams; `InvalidData` for a driver whose buffers make no sense.
    pub fn start(self, buffers: u32) -> io::Result<Stream> {
        let mut request = raw::BufferRequest::zeroed();
        (request.count, request.kind, request.memory) = (buffers.clamp(2, MAX_BUFFERS), CAPTURE, MAPPED);
        raw::ask(&self.file, &raw::REQUEST_BUFFERS, &mut request)?;
        let mut mappings = Vec::new();
        for index in 0..request.count.min(MAX_BUFFERS) {
            let mut buffer = buffer(index);
            raw::ask(&self.file, &raw::QUERY_BUFFER, &mut buffer)?;
            if buffer.length == 0 || buffer.length > MAX_BUFFER_BYTES {
                return Err(senseless("the driver has a buffer of an impossible size"));
            }
            mappings.push(raw::Mapping::new(&self.file, buffer.place.offset, length(buffer.length))?);
        }
        if mappings.is_empty() {
            return Err(senseless("the driver has no buffers"));
        }
        for index in 0..mappings.len() {
            raw::ask(&self.file, &raw::QUEUE, &mut buffer(u32::try_from(index).unwrap_or(u32::MAX)))?;
        }
        let stream = Stream { mappings, file: self.file };
        raw::ask(&stream.file, &raw::STREAM_ON, &mut raw::Kind(1))?;
        Ok(stream)
    }
}

/// `V4L2_FRMSIZE_TYPE_DISCRETE`, and of intervals the same.
const DISCRETE: u32 = 1;

/// False at the end of a list, or where the driver has no such list.
fn more(asked: io::Result<()>) -> io::Result<bool> {
    match asked {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY | libc::ENODATA)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn said(format: &raw::Format) -> Format {
    let of = &format.of;
    Format {
        format: FourCc::of(of.format),
        width: of.width,
        height: of.height,
        bytes_per_line: of.bytes_per_line,
        is_single_field: matches!(of.field, 2 | 3 | 7),
    }
}

fn buffer(index: u32) -> raw::Buffer {
    let mut buffer = raw::Buffer::zeroed();
    (buffer.index, buffer.kind, buffer.memory) = (index, CAPTURE, MAPPED);
    buffer
}

fn length(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn senseless(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Up to the first NUL, without characters that a terminal would act upon.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).chars().filter(|char| !char.is_control()).collect()
}

/// A buffer that the driver has filled. It is out of use until it is handed back.
#[derive(Debug)]
pub struct Filled {
    index: u32,
    /// Bytes of the frame, as the driver says; may be more than there are.
    pub bytes_used: u32,
    /// Number of the frame since the start; frames that the driver had no buffer for are counted.
    pub sequence: u32,
    /// Whether the driver says that its content may be damaged.
    pub is_error: bool,
    /// Whether it is the last one.
    pub is_last: bool,
    /// Nanoseconds of the monotonic clock at which it was taken, where it was stamped by that clock.
    pub taken_nanos: Option<i64>,
    /// What that clock said when the buffer came out of the queue.
    pub now_nanos: i64,
}

/// A device that gives frames, until this is dropped.
pub struct Stream {
    // In this order: mappings end before the device is closed.
    mappings: Vec<raw::Mapping>,
    file: File,
}

impl Stream {
    /// Waits for a frame; false when none came. After true, [`Stream::dequeue`] says what it is.
    ///
    /// # Errors
    /// Those of `poll`.
    pub fn wait(&self, wait: Duration) -> io::Result<bool> {
        raw::wait(&self.file, wait)
    }

    /// The next filled buffer; `None` when there is none yet.
    ///
    /// # Errors
    /// Those of `VIDIOC_DQBUF`: `ENODEV` when the device is gone; `InvalidData` for an index that no buffer has.
    pub fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        let mut buffer = buffer(0);
        match raw::ask(&self.file, &raw::DEQUEUE, &mut buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if length(buffer.index) >= self.mappings.len() {
            return Err(senseless("the driver gives a buffer that it does not have"));
        }
        // V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC.
        let is_monotonic = buffer.flags & 0xe000 == 0x2000;
        let taken = raw::nanos(buffer.timestamp.tv_sec, buffer.timestamp.tv_usec.saturating_mul(1000));
        Ok(Some(Filled {
            index: buffer.index,
            bytes_used: buffer.bytes_used,
            sequence: buffer.sequence,
            is_error: buffer.flags & 0x40 != 0,
            is_last: buffer.flags & 0x0010_0000 != 0,
            taken_nanos: (is_monotonic && taken > 0).then_some(taken),
            now_nanos: raw::monotonic_nanos(),
        }))
    }

    /// The bytes that the driver says are used, or all where it says there are more than that.
    #[must_use]
    pub fn copy(&self, filled: &Filled) -> Vec<u8> {
        self.mappings.get(length(filled.index)).map_or_else(Vec::new, |mapping| mapping.copy(length(filled.bytes_used)))
    }

    /// How many bytes there can be.
    #[must_use]
    pub fn capacity(&self, filled: &Filled) -> usize {
        self.mappings.get(length(filled.index)).map_or(0, raw::Mapping::len)
    }

    /// Hands a buffer back to be filled again.
    ///
    /// # Errors
    /// Those of `VIDIOC_QBUF`: `ENODEV` when the device is gone.
    pub fn requeue(&mut self, filled: Filled) -> io::Result<()> {
        raw::ask(&self.file, &raw::QUEUE, &mut buffer(filled.index))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Closing stops it too, but only when no copy of the descriptor is left anywhere.
        drop(raw::ask(&self.file, &raw::STREAM_OFF, &mut raw::Kind(1)));
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("buffers", &self.mappings.len()).finish()
    }
}
