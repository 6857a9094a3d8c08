//! Video by the system's FFmpeg (feature `ffmpeg`): AV1 and x264 encoding; H.265, AV1 and every kind of H.264 decoding.

mod decode;
mod encode;
mod fallback;

pub(crate) use fallback::H264WithFallback;

use crate::coder::Library;
use crate::registry::{Entry, Side};
use crate::{CodecError, Encoder, EncoderConfig};
use decode::SystemDecoder;
use encode::SystemEncoder;
use lumenbus_ffmpeg::{DecoderCodec, has_decoder, has_encoder};
use lumenbus_frame::Codec;

const NO_DECODER: &str = "the system's FFmpeg holds no decoder for it";
const NO_AV1: &str = "the system's FFmpeg holds neither libaom-av1 nor libsvtav1";
const NOT_ENCODED: &str = "nobody has asked for it yet; coded frames still pass through";

pub(crate) const H265: Entry = Entry {
    codec: Codec::H265,
    encoder: Side::Absent(NOT_ENCODED),
    decoder: Side::OfSystem {
        open: |config| Ok(Box::new(SystemDecoder::new(Codec::H265, config)?)),
        check: || has_decoder(DecoderCodec::H265).then_some(()).ok_or(NO_DECODER),
    },
};

pub(crate) const AV1: Entry = Entry {
    codec: Codec::Av1,
    encoder: Side::OfSystem { open: open_av1, check: || av1_library().map(|_| ()).ok_or(NO_AV1) },
    decoder: Side::OfSystem {
        open: |config| Ok(Box::new(SystemDecoder::new(Codec::Av1, config)?)),
        check: || has_decoder(DecoderCodec::Av1).then_some(()).ok_or(NO_DECODER),
    },
};

/// libaom first: it holds no picture back, which older versions of SVT-AV1 do.
fn av1_library() -> Option<Library> {
    [Library::Aom, Library::SvtAv1].into_iter().find(|library| has(*library))
}

fn open_av1(config: &EncoderConfig) -> Result<Box<dyn Encoder>, CodecError> {
    // Without one, opening libaom says what is missing.
    open(av1_library().unwrap_or(Library::Aom), config)
}

/// Opens an encoder by name.
pub(crate) fn open(library: Library, config: &EncoderConfig) -> Result<Box<dyn Encoder>, CodecError> {
    Ok(Box::new(SystemEncoder::new(library, config)?))
}

/// Whether the FFmpeg at hand holds it.
pub(crate) fn has(library: Library) -> bool {
    has_encoder(encode::name(library))
}
