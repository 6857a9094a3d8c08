//! What can go wrong in a codec.

use lumenbus_frame::{Codec, Dimensions, PixelFormat, RawFrameError};

/// Which way through a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Pixels → bytes.
    Encode,
    /// Bytes → pixels.
    Decode,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Encode => "encode",
            Self::Decode => "decode",
        })
    }
}

/// An encoder or decoder refused or failed; the process and every other stream go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The registry lists the codec, this build does not hold it.
    #[error("this build cannot {direction} {codec}: {reason}")]
    NotBuilt {
        /// The codec asked for.
        codec: Codec,
        /// Which way.
        direction: Direction,
        /// What would hold it.
        reason: &'static str,
    },
    /// A frame of another codec was handed in.
    #[error("a {expected} decoder was given a {got} frame; open a decoder for the frame's own codec")]
    WrongCodec {
        /// What the decoder is for.
        expected: Codec,
        /// What the frame is.
        got: Codec,
    },
    /// A picture larger than the limits, refused before anything was allocated.
    #[error(
        "a {codec} picture of {dimensions} is beyond the limit of {max_side} pixels a side and {max_pixels} in all; \
         scale it down at the camera or the source"
    )]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// Claimed size.
        dimensions: Dimensions,
        /// Longest side.
        max_side: u32,
        /// Largest area.
        max_pixels: u64,
    },
    /// A coded frame larger than the limit.
    #[error("a {codec} frame of {bytes} bytes is beyond the limit of {max_bytes}")]
    PayloadTooLarge {
        /// The codec.
        codec: Codec,
        /// Its size.
        bytes: usize,
        /// Most that is read.
        max_bytes: usize,
    },
    /// The codec cannot hold this pixel format.
    #[error("{codec} cannot {direction} {format}; it takes {supported}")]
    Format {
        /// The codec.
        codec: Codec,
        /// Which way.
        direction: Direction,
        /// The format asked for.
        format: PixelFormat,
        /// The formats it knows.
        supported: &'static str,
    },
    /// The codec cannot hold a picture of this size.
    #[error("{codec} cannot encode {dimensions}: {reason}; crop or scale the picture, or choose jpeg")]
    Size {
        /// The codec.
        codec: Codec,
        /// The picture's size.
        dimensions: Dimensions,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A valid stream of a kind that this decoder does not know.
    #[error("this {codec} stream is {what}, which the built-in decoder cannot read; {remedy}")]
    UnsupportedStream {
        /// The codec.
        codec: Codec,
        /// The property, in the standard's words.
        what: String,
        /// What can read it.
        remedy: &'static str,
    },
    /// Decoding can only begin at a keyframe; this frame was left out.
    #[error("a {codec} decoder needs a keyframe first (in h264 an IDR picture); this frame was skipped")]
    NeedsKeyframe {
        /// The codec.
        codec: Codec,
    },
    /// A picture that belongs before one that was already handed out; it was left out, the decoder goes on.
    #[error("a {codec} picture came too late for its place in output order; it was left out")]
    Late {
        /// The codec.
        codec: Codec,
    },
    /// An uncompressed frame came without size and pixel format.
    #[error("a raw frame came without its size and pixel format; they travel in the stream parameters of keyframes")]
    NoParameters,
    /// Uncompressed bytes that do not fit their size.
    #[error("a raw frame does not fit its parameters")]
    RawSize(#[from] RawFrameError),
    /// The bytes break the codec's syntax.
    #[error("malformed {codec}: {what}")]
    Malformed {
        /// The codec.
        codec: Codec,
        /// The rule that is broken.
        what: &'static str,
    },
    /// The JPEG decoder found damage.
    #[error("a JPEG file cannot be decoded")]
    JpegDecode {
        /// What it found.
        #[source]
        source: zune_jpeg::errors::DecodeErrors,
    },
    /// The PNG library refused a picture.
    #[error("a PNG file cannot be written")]
    PngEncode {
        /// Why.
        #[source]
        source: png::EncodingError,
    },
    /// The PNG decoder found damage.
    #[error("a PNG file cannot be decoded")]
    PngDecode {
        /// What it found.
        #[source]
        source: png::DecodingError,
    },
    /// The WebP library refused a picture.
    #[error("a WebP file cannot be written")]
    WebpEncode {
        /// Why.
        #[source]
        source: image_webp::EncodingError,
    },
    /// libwebp, which writes with loss, refused a picture.
    #[error("a WebP file of {dimensions} cannot be written by libwebp ({reason:?}); choose quality 100, or jpeg")]
    WebpLossy {
        /// The picture's size.
        dimensions: Dimensions,
        /// Its own name for why.
        reason: webp::WebPEncodingError,
    },
    /// The WebP decoder found damage.
    #[error("a WebP file cannot be decoded")]
    WebpDecode {
        /// What it found.
        #[source]
        source: image_webp::DecodingError,
    },
    /// The JPEG 2000 decoder found damage.
    #[error("a JPEG 2000 file cannot be decoded")]
    Jpeg2000Decode {
        /// What it found.
        #[source]
        source: hayro_jpeg2000::DecodeError,
    },
    /// An encoder gave nothing for a picture.
    #[error("the {codec} encoder gave nothing for a picture; raise its bit rate")]
    NoOutput {
        /// The codec.
        codec: Codec,
    },
    /// The H.264 library failed.
    #[error("H.264 could not {direction} a frame")]
    H264 {
        /// Which way.
        direction: Direction,
        /// Why.
        #[source]
        source: openh264::Error,
    },
    /// The system's FFmpeg failed.
    #[error("the system's FFmpeg could not {direction} {codec}")]
    Ffmpeg {
        /// The codec.
        codec: Codec,
        /// Which way.
        direction: Direction,
        /// Why.
        #[source]
        source: lumenbus_ffmpeg::Error,
    },
    /// An encoder that wants to see later pictures before it gives one.
    #[error(
        "{library} of the system's FFmpeg holds {codec} pictures back, so it is not fit for live streams; a newer one may be"
    )]
    HeldBack {
        /// The codec.
        codec: Codec,
        /// Its name in FFmpeg.
        library: &'static str,
    },
    /// An encoder was asked for that makes something else.
    #[error("{library} does not encode {codec}; it encodes {makes}")]
    WrongLibrary {
        /// As asked for.
        library: crate::Library,
        /// The codec asked for.
        codec: Codec,
        /// What it makes.
        makes: Codec,
    },
    /// The H.264 encoder could not be set up as asked.
    #[error("the H.264 encoder did not take its options")]
    H264Options {
        /// Why.
        #[source]
        source: lumenbus_openh264::Error,
    },
    /// Colours could not be converted.
    #[error("a picture of {dimensions} cannot be converted from {from} to {to}")]
    Color {
        /// The picture's size.
        dimensions: Dimensions,
        /// Its format.
        from: PixelFormat,
        /// The format asked for.
        to: PixelFormat,
        /// Why.
        #[source]
        source: yuv::YuvError,
    },
    /// The pixel conversion is not known.
    #[error("no conversion from {from} to {to}")]
    NoConversion {
        /// The picture's format.
        from: PixelFormat,
        /// The format asked for.
        to: PixelFormat,
    },
    /// A setting outside its range.
    #[error("{setting} is {value}; it must be {range}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// As given.
        value: u64,
        /// What is permitted.
        range: &'static str,
    },
}
