//! Encoders and decoders behind one trait each, and the registry that opens them.
//!
//! Data flow: source → frame → **encode** → envelope → publish → Kafka → subscribe → **decode** → sink.
//! Coded frames that only pass through need nothing of this crate. It does no I/O and spawns no task;
//! encoding and decoding block, so callers run them on a bounded pool.
//!
//! | Codec | Encode | Decode | By |
//! |---|---|---|---|
//! | `jpeg` | Gray8, RGB8, I420; 4:2:0, quality 1–100 | to Gray8, RGB8, I420; baseline and progressive | this crate; zune-jpeg for unusual files |
//! | `raw` | every pixel format | as stored, or converted | – |
//! | `h264` | I420, RGB8, Gray8; constrained baseline, or Main with a budget; even sizes from 16×16 to 3840×2160 | 8-bit 4:2:0 progressive, baseline to High with B-frames; with `ffmpeg` every kind | openh264; with `ffmpeg` also x264, and FFmpeg for what openh264 does not decode |
//! | `h265` | – | with `ffmpeg`: every kind, as 8-bit 4:2:0 | the system's FFmpeg |
//! | `av1` | with `ffmpeg`: I420, RGB8, Gray8 of even sizes | with `ffmpeg`: every kind, as 8-bit 4:2:0 | the system's FFmpeg: libaom or SVT-AV1, dav1d |
//! | `png` | Gray8, Gray16LE, RGB8, I420 as RGB; lossless | Gray8, Gray16LE, RGB8; opacity left out | png |
//! | `webp` | Gray8, RGB8, I420 as RGB; quality 1–99, 100 is lossless | RGB8; of an animation its first picture | image-webp; libwebp for lossy encoding |
//! | `jpeg2000` | Gray8, Gray16LE, RGB8, I420 as RGB; quality 1–99, 100 is lossless | Gray8, Gray16LE (as deep as it is), RGB8 | this crate; hayro-jpeg2000 |
//!
//! H.264 is covered by patents in some countries, and a build from source carries no licence for them.
//! Passing coded frames through, JPEG and raw never touch that code.
//!
//! ```
//! use lumenbus_codec::{DecoderConfig, EncoderConfig, Ticket, decoder, encoder};
//! use lumenbus_frame::{CaptureTime, Codec, Dimensions, PixelFormat, RawFrame};
//!
//! let size = Dimensions::new(64, 48);
//! let gray = RawFrame::new(PixelFormat::Gray8, size, vec![90; 64 * 48].into(), CaptureTime::arrival(1))?;
//!
//! let mut coded = Vec::new();
//! encoder(&EncoderConfig::new(Codec::Jpeg))?.encode(&gray, &mut coded)?;
//!
//! let mut pictures = Vec::new();
//! decoder(Codec::Jpeg, &DecoderConfig::default())?.decode(Ticket(7), &coded[0], &mut pictures)?;
//! assert_eq!((pictures[0].ticket, pictures[0].frame.dimensions()), (Ticket(7), size));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(feature = "ffmpeg"))]
mod absent;
mod av1;
mod coder;
mod color;
mod error;
#[cfg(feature = "ffmpeg")]
mod ffmpeg;
mod h264;
mod jpeg;
mod jpeg2000;
mod png;
pub mod quality;
mod raw;
mod registry;
pub mod scene;
mod share;
mod still;
mod webp;

pub use av1::av1_codec_string;
pub use coder::{
    Decoder, DecoderConfig, Encoder, EncoderConfig, Library, MAX_PAYLOAD_BYTES, MAX_PICTURE_PIXELS, MAX_SIDE_PIXELS,
    Picture, Ticket, default_bitrate,
};
pub use color::{Color, Matrix, Range, convert};
pub use error::{CodecError, Direction};
pub use h264::{Entropy, H264Options, RateControl, h264_dimensions, has_h264_assembly};
pub use jpeg::jpeg_dimensions;
pub use registry::{Support, decoder, encoder, library_support, still_dimensions, support, system_ffmpeg};
