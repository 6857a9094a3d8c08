//! Where frames come from: files, folders, cameras and the test pattern.
//!
//! Data flow: **source** → frame → encode → envelope → publish → Kafka → subscribe → decode → sink.
//! Nothing is decoded here: coded video passes through as access units, stills as files. Sources are pulled and
//! synchronous; each item carries the media time at which it is due.
//!
//! | Kind | Read | Given as |
//! |---|---|---|
//! | MP4, MOV (also fragmented) | H.264, H.265, AV1, JPEG | access units in decode order with the file's pts |
//! | `.264`, `.265` byte streams | annex B | access units, pts by picture order count and rate |
//! | AVI | Motion JPEG | JPEG files |
//! | `.mjpeg`, `.jpg` | concatenated JPEG | JPEG files |
//! | folder or pattern | jpg, png, webp, jp2 | the files |
//! | Y4M | 8-bit 4:2:0, mono | pixels |
//! | `rtsp://HOST/PATH` | H.264, H.265, JPEG | access units and JPEG files as they come ([`LiveSource`]) |
//! | `http://HOST/PATH` | JPEG, in parts or one by one | JPEG files as they come ([`LiveSource`]) |
//! | `/dev/video0` | H.264, H.265, JPEG, pixels of a device of Video4Linux | as they come ([`DeviceAddress`]) |
//! | `gst:PIPELINE` | H.264, H.265, JPEG, I420, RGB, gray from its `appsink` | as they come ([`GstPipeline`]; feature `gstreamer`) |
//! | `-`: standard input | pixels, H.264, H.265, JPEG, Y4M | as they come ([`PipedSource`]) |
//! | `test:WIDTHxHEIGHT@FPS` | – | pixels with counter and time ([`read_marker`]) |
//!
//! What this build cannot read is refused by name. A part that is damaged is an item of its own
//! ([`SourceItem::Damaged`]) and the source goes on behind it.
//!
//! ```
//! use lumenbus_source::{SourceItem, SourceOptions, open, read_marker};
//!
//! let mut source = open("test:320x240@25,frames=2", &SourceOptions::default())?;
//! while let Some(item) = source.next_frame()? {
//!     if let SourceItem::Raw { frame, media_time, .. } = item {
//!         println!("{media_time:?}: {:?}", read_marker(&frame));
//!     }
//! }
//! # Ok::<(), lumenbus_source::SourceError>(())
//! ```

mod avi;
mod clock;
pub mod discover;
mod elementary;
mod error;
mod folder;
#[cfg(any(feature = "gstreamer", target_os = "linux"))]
mod frame_queue;
mod gst;
mod image;
mod input;
mod item;
mod jpeg;
mod live;
mod looped;
mod meter;
mod mjpeg;
mod mp4;
mod nal_stream;
mod open;
mod paced;
mod pattern;
mod piped;
mod raw_stream;
mod stream_format;
mod v4l2;
mod y4m;

pub use avi::AviSource;
pub use clock::SystemClock;
pub use elementary::ElementarySource;
pub use error::{CameraFault, SourceError};
pub use folder::FolderSource;
pub use gst::GstPipeline;
#[cfg(feature = "gstreamer")]
pub use gst::GstSource;
pub use item::{Source, SourceItem};
pub use live::{
    CameraAddress, Credentials, Depacketiser, Interrupt, LiveSource, MultipartOutput, MultipartReader, RtpOutput,
    RtpPacket, RtspTransport,
};
pub use looped::Looped;
pub use meter::ReadMeter;
pub use mjpeg::{MAX_PICTURE_BYTES, MjpegSource};
pub use mp4::{MAX_FRAGMENT_HEADER_BYTES, MAX_MOVIE_HEADER_BYTES, Mp4Source};
pub use open::{SourceSpec, open, open_bytes, open_spec, redact};
pub use paced::{Paced, Pacer, Sleeper};
pub use pattern::{Marker, PatternConfig, PatternSource, read_marker};
pub use piped::PipedSource;
pub use raw_stream::RawStreamSource;
pub use stream_format::{PixelLayout, StreamFormat};
#[cfg(target_os = "linux")]
pub use v4l2::DeviceSource;
pub use v4l2::{DeviceAddress, DeviceFormat, LocalDevice, local_devices};
pub use y4m::Y4mSource;

use lumenbus_frame::{Clock, FrameRate};
use std::sync::Arc;

/// The rate of what states none: raw byte streams without timing information, pictures, MJPEG.
pub const DEFAULT_RATE: FrameRate = FrameRate { frames: 30, seconds: 1 };

/// What holds for every kind of source.
#[derive(Clone)]
pub struct SourceOptions {
    /// Goes before the rate that the source states. Where the source has timestamps, these stay as they are.
    pub frame_rate: Option<FrameRate>,
    /// Stamps frames when they are read.
    pub clock: Arc<dyn Clock>,
    /// Told how much was read.
    pub meter: Option<ReadMeter>,
    /// Who asks a camera on the network; goes before what its address says.
    pub credentials: Option<Credentials>,
    /// Ends the wait for a camera's first frame.
    pub interrupt: Interrupt,
}

impl Default for SourceOptions {
    /// The source's own rate and the machine's clock.
    fn default() -> Self {
        let clock = Arc::new(SystemClock::default());
        Self { frame_rate: None, clock, meter: None, credentials: None, interrupt: Interrupt::default() }
    }
}
