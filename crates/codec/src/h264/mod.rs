//! H.264 (ITU-T H.264) by openh264, built from source.

mod assembly;
mod budget;
mod change;
mod decode;
mod encode;
mod options;
mod order;
mod rate;
mod source;
mod syntax;

pub use assembly::has_h264_assembly;
pub use options::{Entropy, H264Options, RateControl};

pub(crate) use decode::H264Decoder;

use crate::registry::{Entry, OpenDecoder, Side};
use crate::{CodecError, DecoderConfig};
use lumenbus_frame::{Codec, Dimensions};

/// Coded size of the picture in an access unit that holds its parameter sets, as the decoder reads it before its library sees
/// a byte; `None` where there is no picture.
///
/// # Errors
/// Where it is malformed, or of a kind that the built-in decoder refuses.
pub fn h264_dimensions(unit: &[u8]) -> Result<Option<Dimensions>, CodecError> {
    H264Decoder::new(&DecoderConfig::default())?.dimensions(unit)
}

#[cfg(not(feature = "ffmpeg"))]
const DECODER: OpenDecoder = |config| Ok(Box::new(H264Decoder::new(config)?));
#[cfg(feature = "ffmpeg")]
const DECODER: OpenDecoder = |config| Ok(Box::new(crate::ffmpeg::H264WithFallback::new(config)?));

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::H264,
    encoder: Side::Built(|config| Ok(Box::new(encode::H264Encoder::new(config)?))),
    decoder: Side::Built(DECODER),
};

/// `avc1.…` from the sequence parameter set in an access unit.
pub(crate) fn codec_string(unit: &[u8]) -> Option<String> {
    let sps = syntax::nal_units(unit).find(|nal| nal[0] & 0x1F == 7)?;
    syntax::Sps::parse(sps).ok().map(|sps| sps.codec_string())
}
