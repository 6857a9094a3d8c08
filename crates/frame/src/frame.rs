//! The frame itself: coded, or as pixels.

use crate::{CaptureTime, Codec, Deadline, Dimensions, FrameId, PixelFormat, StreamParameters, TraceContext};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Which lane a frame travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// The usual one.
    #[default]
    Normal,
    /// Goes before other streams' normal frames; never reorders its own stream.
    High,
}

/// A coded frame as a source or an encoder gives it; it gets its identity when it is published.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    /// How `payload` is coded.
    pub codec: Codec,
    /// When the picture was taken.
    pub capture: CaptureTime,
    /// Presentation time in the stream's timebase; `None` when the source has none.
    pub pts: Option<i64>,
    /// Whether decoding can begin here (IDR or IRAP, or an H.264 recovery point with count 0).
    pub is_keyframe: bool,
    /// Whether time or content jumped before this frame.
    pub is_discontinuity: bool,
    /// Whether no later frame refers to this one.
    pub is_discardable: bool,
    /// Lane.
    pub priority: Priority,
    /// How long it is worth having.
    pub deadline: Option<Deadline>,
    /// Present on keyframes.
    pub parameters: Option<Arc<StreamParameters>>,
    /// The trace that it belongs to; travels with it.
    pub trace: Option<TraceContext>,
    /// Of a still: the frame of the camera's video that it shows.
    pub of: Option<FrameId>,
    /// The coded bytes: a whole file or a whole access unit.
    pub payload: Bytes,
}

impl EncodedFrame {
    /// A frame with defaults: normal priority, no deadline, not a keyframe unless the codec is intra-only.
    #[must_use]
    pub fn new(codec: Codec, capture: CaptureTime, payload: Bytes) -> Self {
        Self {
            codec,
            capture,
            pts: None,
            is_keyframe: codec.is_intra_only(),
            is_discontinuity: false,
            is_discardable: false,
            priority: Priority::Normal,
            deadline: None,
            parameters: None,
            trace: None,
            of: None,
            payload,
        }
    }

    /// The same frame, marked as a keyframe.
    #[must_use]
    pub fn keyframe(mut self) -> Self {
        self.is_keyframe = true;
        self
    }

    /// The same frame with a presentation time in timebase ticks.
    #[must_use]
    pub fn with_pts(mut self, ticks: i64) -> Self {
        self.pts = Some(ticks);
        self
    }

    /// The same frame as part of a trace.
    #[must_use]
    pub fn with_trace(mut self, trace: TraceContext) -> Self {
        self.trace = Some(trace);
        self
    }

    /// The same frame with stream parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: Arc<StreamParameters>) -> Self {
        self.parameters = Some(parameters);
        self
    }
}

/// At most 64 bytes of a payload, for `Debug`.
pub(crate) struct Excerpt<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ", self.0.len())?;
        self.0.iter().take(64).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.0.len() > 64 { f.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Debug for EncodedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedFrame")
            .field("codec", &self.codec)
            .field("capture", &self.capture)
            .field("pts", &self.pts)
            .field("is_keyframe", &self.is_keyframe)
            .field("payload", &Excerpt(&self.payload))
            .finish_non_exhaustive()
    }
}

/// A raw frame whose bytes do not fit its size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {format} picture of {dimensions} needs {needed:?} bytes, got {got}")]
pub struct RawFrameError {
    /// Pixel format.
    pub format: PixelFormat,
    /// Claimed size.
    pub dimensions: Dimensions,
    /// Bytes it would need; `None` when not representable.
    pub needed: Option<usize>,
    /// Bytes given.
    pub got: usize,
}

/// Uncompressed pixels, tightly packed (no row padding).
#[derive(Clone, PartialEq, Eq)]
pub struct RawFrame {
    format: PixelFormat,
    dimensions: Dimensions,
    pixels: Bytes,
    /// When the picture was taken.
    pub capture: CaptureTime,
    /// Presentation time in the stream's timebase.
    pub pts: Option<i64>,
}

impl RawFrame {
    /// Checks that `pixels` is exactly as long as format and size demand.
    pub fn new(
        format: PixelFormat,
        dimensions: Dimensions,
        pixels: Bytes,
        capture: CaptureTime,
    ) -> Result<Self, RawFrameError> {
        let needed = format.frame_bytes(dimensions);
        if needed != Some(pixels.len()) || pixels.is_empty() {
            return Err(RawFrameError { format, dimensions, needed, got: pixels.len() });
        }
        Ok(Self { format, dimensions, pixels, capture, pts: None })
    }

    /// Pixel layout.
    #[must_use]
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Width and height.
    #[must_use]
    pub fn dimensions(&self) -> Dimensions {
        self.dimensions
    }

    /// The pixels, tightly packed.
    #[must_use]
    pub fn pixels(&self) -> &Bytes {
        &self.pixels
    }
}

impl fmt::Debug for RawFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawFrame")
            .field("format", &self.format)
            .field("dimensions", &self.dimensions)
            .field("capture", &self.capture)
            .field("pts", &self.pts)
            .field("pixels", &Excerpt(&self.pixels))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_little_of_the_payload() {
        let frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), Bytes::from(vec![7; 100_000]));
        assert!(format!("{frame:?}").len() < 400);
    }

    #[test]
    fn pixels_must_fit_the_size() {
        let at = CaptureTime::arrival(0);
        let size = Dimensions::new(3, 3);
        assert!(RawFrame::new(PixelFormat::Gray8, size, Bytes::from(vec![0; 9]), at).is_ok());
        assert!(RawFrame::new(PixelFormat::Gray8, size, Bytes::from(vec![0; 8]), at).is_err());
        assert!(RawFrame::new(PixelFormat::Gray8, Dimensions::new(0, 3), Bytes::new(), at).is_err());
    }
}
