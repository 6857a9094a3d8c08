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
    /// Video: target rate. Default: [`default_bitrate`] of size and frame rate; x264 and AV1 then keep to `quality`, x264 with
    /// that rate as the most.
    pub bits_per_second: Option<u32>,
    /// Video: time between keyframes. Default 2 s.
    pub keyframe_interval: Duration,
    /// Stills, and video by x264 and AV1 without a rate: quality 1 to 100. Default 85.
    pub quality: u8,
    /// H.264 alone.
    pub h264: H264Options,
    /// Who codes it, where there is a choice. Default: openh264, and for AV1 what the system's FFmpeg holds.
    pub library: Option<Library>,
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
            library: None,
            threads: None,
        }
    }

    /// Checks what is the same for every encoder of video.
    pub(crate) fn check_video(&self) -> Result<(), CodecError> {
        let rate = self.frame_rate;
        if rate.frames == 0 || rate.as_f64() > 1000.0 {
            let value = u64::from(rate.frames);
            return Err(CodecError::Setting { setting: "frame rate", value, range: "above 0 and at most 1000/s" });
        }
        if let Some(bits) = self.bits_per_second.filter(|bits| !(10_000..=800_000_000).contains(bits)) {
            let (value, range) = (u64::from(bits), "10 kbit/s to 800 Mbit/s");
            return Err(CodecError::Setting { setting: "video bit rate", value, range });
        }
        Ok(())
    }

    /// [`keyframe_interval`](Self::keyframe_interval) counted in pictures.
    pub(crate) fn pictures_per_keyframe(&self) -> u32 {
        let pictures = self.keyframe_interval.as_secs_f64() * self.frame_rate.as_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a frame count, clamped")]
        let every = pictures.round().clamp(1.0, 1e6) as u32;
        every
    }

    /// What the frames will say of their stream.
    pub(crate) fn parameters(&self, dimensions: Dimensions) -> StreamParameters {
        let mut parameters = StreamParameters::new(self.codec, dimensions);
        parameters.timebase = self.timebase;
        parameters.frame_rate = Some(self.frame_rate);
        parameters
    }
}

/// Libraries among which an encoder of video can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// H.264 by openh264, in every build.
    OpenH264,
    /// H.264 by x264, with the `ffmpeg` feature. It is under the GPL, and so then is the program as a whole.
    X264,
    /// AV1 by libaom, with the `ffmpeg` feature.
    Aom,
    /// AV1 by SVT-AV1, with the `ffmpeg` feature.
    SvtAv1,
}

impl Library {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OpenH264, Self::X264, Self::Aom, Self::SvtAv1];

    /// What it makes.
    #[must_use]
    pub fn codec(self) -> Codec {
        match self {
            Self::OpenH264 | Self::X264 => Codec::H264,
            Self::Aom | Self::SvtAv1 => Codec::Av1,
        }
    }

    /// As in `--encoder`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenH264 => "openh264",
            Self::X264 => "x264",
            Self::Aom => "libaom",
            Self::SvtAv1 => "svt-av1",
        }
    }

    /// What to say where it is not at hand.
    #[cfg(feature = "ffmpeg")]
    pub(crate) fn missing(self) -> &'static str {
        match self {
            Self::OpenH264 => "openh264 is used without FFmpeg",
            Self::X264 => "the system's FFmpeg does not hold libx264",
            Self::Aom => "the system's FFmpeg does not hold libaom-av1",
            Self::SvtAv1 => "the system's FFmpeg does not hold libsvtav1",
        }
    }

    /// What to say where it is not at hand.
    #[cfg(not(feature = "ffmpeg"))]
    pub(crate) fn missing(self) -> &'static str {
        match self {
            Self::OpenH264 => "every build holds it",
            Self::X264 => "x264 needs a build with the `ffmpeg` feature; openh264 encodes H.264 in every build",
            Self::Aom | Self::SvtAv1 => "AV1 encoding needs a build with the `ffmpeg` feature",
        }
    }
}

impl std::fmt::Display for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// About 0.1 bit per pixel, at least 200 kbit/s: 1080p at 30/s gets 6.2 Mbit/s. H.264 by
/// [`RateControl::Budget`](crate::RateControl) takes four fifths of it: 5.0 Mbit/s.
#[must_use]
pub fn default_bitrate(dimensions: Dimensions, frame_rate: FrameRate) -> u32 {
    let pixels_per_second = f64::from(dimensions.width) * f64::from(dimensions.height) * frame_rate.as_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what u32 holds")]
    let bits = (pixels_per_second * 0.1).clamp(200_000.0, 400_000_000.0) as u32;
    bits
}

/// The smallest side of video: one macroblock.
const MIN_VIDEO_SIDE: u32 = 16;

/// Checks the sides of a picture of 4:2:0 video.
pub(crate) fn check_video_size(codec: Codec, dimensions: Dimensions) -> Result<(), CodecError> {
    check_size(codec, dimensions)?;
    let Dimensions { width, height } = dimensions;
    let refuse = |reason| Err(CodecError::Size { codec, dimensions, reason });
    if width.min(height) < MIN_VIDEO_SIDE {
        return refuse("its sides must be at least 16 pixels");
    }
    if width % 2 == 1 || height % 2 == 1 {
        return refuse("with 4:2:0 chroma its sides must be even");
    }
    Ok(())
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
