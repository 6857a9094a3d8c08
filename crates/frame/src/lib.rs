//! The frame model: what every other crate means by a camera, a stream, a frame and a gap.
//!
//! Data flow: source → **frame** → encode → envelope → publish → Kafka → subscribe → decode → sink.
//! This crate is pure: no I/O, no clock, no task. Time is an argument or a [`Clock`].
//!
//! ```
//! use bytes::Bytes;
//! use lumenbus_frame::{CameraId, CaptureTime, Codec, EncodedFrame};
//!
//! let camera: CameraId = "gate-7".parse()?;
//! let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(1_700_000_000_000_000_000), Bytes::from_static(b"..."))
//!     .keyframe();
//! assert!(frame.is_keyframe);
//! assert_eq!(camera.as_str(), "gate-7");
//! # Ok::<(), lumenbus_frame::IdError>(())
//! ```

pub mod bitstream;
mod format;
mod frame;
mod gap;
mod id;
mod time;
mod trace;

pub use format::{Codec, Dimensions, FrameRate, PixelFormat, StreamParameters, Timebase, UnknownName};
pub use frame::{EncodedFrame, Priority, RawFrame, RawFrameError};
pub use gap::{Gap, GapReason, SeqRange};
pub use id::{CameraId, Epoch, FleetName, FrameId, IdError, Seq, StreamId, StreamName, TopicName};
pub use time::{CaptureSource, CaptureTime, Clock, Deadline, ManualClock};
pub use trace::{TraceContext, TraceContextError};
