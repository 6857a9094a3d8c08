//! The two traits, their settings and what they hand out.

use crate::{CodecError, Color, H264Options};
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, FrameRate, PixelFormat, RawFrame, StreamParameters, Timebase};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Longest side of a picture that is decoded or encoded.
pub const MAX_SIDE_PIXELS: u32 = 16_384;
/// Largest area of a picture that is decoded or encoded: 64 Mi pixels, 192 MiB as RGB.
pub const MAX_PICTURE_PIXELS: u64 = 1 << 26;
/// Largest coded frame that a decoder reads.
pub const MAX_PAYLOAD_BYTES: usize = 256 << 20;

/// Refuses sizes beyond [`MAX_SIDE_PIXELS`] and [`MAX_PICTURE_PIXELS`], before anything is allocated for them.
pub(crate) fn check_size(codec: Codec, dimensions: Dimensions) -> Result<(), CodecError> {
    let Dimensions { width, height } = dimensions;
    let area = u64::from(width) * u64::from(height);
    if area == 0 {
        return Err(CodecError::Malformed { codec, what: "a picture without pixels" });
    }
    if width.max(height) > MAX_SIDE_PIXELS || area > MAX_PICTURE_PIXELS {
        let (max_side, max_pixels) = (MAX_SIDE_PIXELS, MAX_PICTURE_PIXELS);
        return Err(CodecError::TooLarge { codec, dimensions, max_side, max_pixels });
    }
    Ok(())
}

/// Refuses frames of another codec and of more than [`MAX_PAYLOAD_BYTES`].
pub(crate) fn check_frame(expected: Codec, frame: &EncodedFrame) -> Result<(), CodecError> {
    if frame.codec != expected {
        return Err(CodecError::WrongCodec { expected, got: frame.codec });
    }
    let (codec, bytes, max_bytes) = (expected, frame.payload.len(), MAX_PAYLOAD_BYTES);
    if bytes > max_bytes {
        return Err(CodecError::PayloadTooLarge { codec, bytes, max_bytes });
    }
    Ok(())
}

/// The caller's name for a coded frame; the picture decoded from it carries the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A decoded picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The coded frame it comes from.
    pub ticket: Ticket,
    /// The pixels, with that frame's capture time and pts.
    pub frame: RawFrame,
    /// What the samples mean, where they are luma and chroma.
    pub color: Color,
}

/// Settings of an encoder.
#[derive(Debug, Clone)]
pub struct EncoderConfig {
    /// What to make.
    pub codec: Codec,
    /// Pictures per second; what rate control and the keyframe interval count in. Default 30.
    pub frame_rate: FrameRate,
    /// Unit of the pictures' pts. Default 1/90000 s.
    pub timebase: Timebase,
    /// Video: target rate. Default: [`default_bitrate`] of size and frame rate.
    pub bits_per_second: Option<u32>,
    /// Video: time between keyframes. Default 2 s.
    pub keyframe_interval: Duration,
    /// Stills: quality 1 to 100. Default 85.
    pub quality: u8,
    /// H.264 alone.
    pub h264: H264Options,
    /// Most threads that code one picture. Default: as many as there are processors, at most four; small pictures
    /// are coded by the caller's thread alone.
    pub threads: Option<NonZeroUsize>,
}

impl EncoderConfig {
    /// The defaults for a codec.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            frame_rate: FrameRate::per_second(30),
            timebase: Timebase::MPEG,
            bits_per_second: None,
            keyframe_interval: Duration::from_secs(2),
            quality: 85,
            h264: H264Options::default(),
            threads: None,
        }
    }

    /// What the frames will say of their stream.
    pub(crate) fn parameters(&self, dimensions: Dimensions) -> StreamParameters {
        let mut parameters = StreamParameters::new(self.codec, dimensions);
        parameters.timebase = self.timebase;
        parameters.frame_rate = Some(self.frame_rate);
        parameters
    }
}

/// About 0.1 bit per pixel, at least 200 kbit/s: 1080p at 30/s gets 6.2 Mbit/s.
#[must_use]
pub fn default_bitrate(dimensions: Dimensions, frame_rate: FrameRate) -> u32 {
    let pixels_per_second = f64::from(dimensions.width) * f64::from(dimensions.height) * frame_rate.as_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what u32 holds")]
    let bits = (pixels_per_second * 0.1).clamp(200_000.0, 400_000_000.0) as u32;
    bits
}

/// Settings of a decoder.
#[derive(Debug, Clone, Copy, Default)]
pub struct DecoderConfig {
    /// The pixel format to hand out; `None` is the codec's own (RGB or gray for stills, I420 for video).
    pub pixel_format: Option<PixelFormat>,
}

/// Pixels → coded frames. One encoder serves one stream.
pub trait Encoder: Send {
    /// What it makes.
    fn codec(&self) -> Codec;

    /// Encodes one picture and appends what is finished to `out`, in decode order.
    ///
    /// Capture time and pts are the picture's own. A change of size begins with a keyframe.
    fn encode(&mut self, picture: &RawFrame, out: &mut Vec<EncodedFrame>) -> Result<(), CodecError>;

    /// Says what I420 samples mean from the next picture on; until then [`Color::assumed`] of their size holds.
    fn set_color(&mut self, color: Color);

    /// Makes the next picture a keyframe.
    fn force_keyframe(&mut self);

    /// What keyframes say of the stream; `None` before the first picture.
    fn parameters(&self) -> Option<&Arc<StreamParameters>>;
}

/// Coded frames → pixels. One decoder serves one stream.
pub trait Decoder: Send {
    /// What it reads.
    fn codec(&self) -> Codec;

    /// Decodes one frame and appends the pictures that are due to `out`, in output order.
    ///
    /// Without reordering in the stream, the frame's picture is in `out` on return. After an error the
    /// decoder has been reset: pictures not yet handed out are lost, and it waits for a keyframe
    /// ([`CodecError::NeedsKeyframe`] until then).
    fn decode(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError>;

    /// Hands out what is held back for reordering; the stream may go on at a keyframe.
    fn flush(&mut self, out: &mut Vec<Picture>) -> Result<(), CodecError>;

    /// Forgets everything, pictures held back included, and waits for a keyframe.
    fn reset(&mut self);
}
