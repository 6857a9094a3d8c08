//! Which codec this build holds: one file per codec, one entry here.

#[cfg(not(feature = "ffmpeg"))]
use crate::absent::{AV1, H265};
#[cfg(feature = "ffmpeg")]
use crate::ffmpeg::{AV1, H265};
use crate::{
    CodecError, Decoder, DecoderConfig, Direction, Encoder, EncoderConfig, Library, h264, jpeg, jpeg2000, png, raw,
    webp,
};
use lumenbus_frame::{Codec, Dimensions};

/// Makes an encoder.
pub(crate) type OpenEncoder = fn(&EncoderConfig) -> Result<Box<dyn Encoder>, CodecError>;
/// Makes a decoder.
pub(crate) type OpenDecoder = fn(&DecoderConfig) -> Result<Box<dyn Decoder>, CodecError>;

/// One direction of a codec: how to open it, or why it is not there.
pub(crate) enum Side<T> {
    Built(T),
    /// By a library of the system, which may be without it.
    #[cfg(feature = "ffmpeg")]
    OfSystem {
        open: T,
        check: fn() -> Result<(), &'static str>,
    },
    Absent(&'static str),
}

/// A codec as it registers itself.
pub(crate) struct Entry {
    pub(crate) codec: Codec,
    pub(crate) encoder: Side<OpenEncoder>,
    pub(crate) decoder: Side<OpenDecoder>,
}

const ENTRIES: [Entry; 8] = [jpeg::ENTRY, png::ENTRY, webp::ENTRY, jpeg2000::ENTRY, raw::ENTRY, h264::ENTRY, H265, AV1];

/// One row of the support table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// The codec.
    pub codec: Codec,
    /// `Err` says why it cannot be encoded in this build.
    pub encode: Result<(), &'static str>,
    /// `Err` says why it cannot be decoded in this build.
    pub decode: Result<(), &'static str>,
}

fn availability<T>(side: &Side<T>) -> Result<(), &'static str> {
    match side {
        Side::Built(_) => Ok(()),
        #[cfg(feature = "ffmpeg")]
        Side::OfSystem { check, .. } => check(),
        Side::Absent(reason) => Err(reason),
    }
}

/// What this build can do, one row per codec.
pub fn support() -> impl Iterator<Item = Support> {
    ENTRIES.iter().map(|entry| Support {
        codec: entry.codec,
        encode: availability(&entry.encoder),
        decode: availability(&entry.decoder),
    })
}

/// Whether this build, on this machine, can encode by a library; `Err` says why not.
pub fn library_support(library: Library) -> Result<(), &'static str> {
    #[cfg(feature = "ffmpeg")]
    let is_there = crate::ffmpeg::has(library);
    #[cfg(not(feature = "ffmpeg"))]
    let is_there = false;
    if is_there || library == Library::OpenH264 { Ok(()) } else { Err(library.missing()) }
}

/// Version and licence of the system's FFmpeg; `None` in a build without the `ffmpeg` feature.
///
/// The licence is that of the program as a whole: where FFmpeg holds x264 or x265, the GPL.
#[must_use]
pub fn system_ffmpeg() -> Option<(&'static str, &'static str)> {
    #[cfg(feature = "ffmpeg")]
    return Some((lumenbus_ffmpeg::version(), lumenbus_ffmpeg::license()));
    #[cfg(not(feature = "ffmpeg"))]
    None
}

fn entry(codec: Codec, direction: Direction) -> Result<&'static Entry, CodecError> {
    let reason = "no version of it is known here";
    ENTRIES.iter().find(|entry| entry.codec == codec).ok_or(CodecError::NotBuilt { codec, direction, reason })
}

/// Size of the picture in a file of a still codec, from its headers alone.
///
/// # Errors
/// Where it is no such file, or one that a decoder refuses for what it would take.
pub fn still_dimensions(codec: Codec, file: &[u8]) -> Result<Dimensions, CodecError> {
    match codec {
        Codec::Jpeg => jpeg::jpeg_dimensions(file),
        Codec::Png => (png::PNG.check)(file),
        Codec::Webp => (webp::WEBP.check)(file),
        Codec::Jpeg2000 => (jpeg2000::JPEG2000.check)(file),
        _ => Err(CodecError::Malformed { codec, what: "it is no codec of picture files" }),
    }
}

/// Opens an encoder.
pub fn encoder(config: &EncoderConfig) -> Result<Box<dyn Encoder>, CodecError> {
    let (codec, direction) = (config.codec, Direction::Encode);
    if let Some(library) = config.library.filter(|library| *library != Library::OpenH264 || codec != Codec::H264) {
        if library.codec() != codec {
            return Err(CodecError::WrongLibrary { library, codec, makes: library.codec() });
        }
        library_support(library).map_err(|reason| CodecError::NotBuilt { codec, direction, reason })?;
        #[cfg(feature = "ffmpeg")]
        return crate::ffmpeg::open(library, config);
    }
    match entry(codec, direction)?.encoder {
        Side::Built(open) => open(config),
        #[cfg(feature = "ffmpeg")]
        Side::OfSystem { open, check } => {
            check().map_err(|reason| CodecError::NotBuilt { codec, direction, reason })?;
            open(config)
        }
        Side::Absent(reason) => Err(CodecError::NotBuilt { codec: config.codec, direction, reason }),
    }
}

/// Opens a decoder.
pub fn decoder(codec: Codec, config: &DecoderConfig) -> Result<Box<dyn Decoder>, CodecError> {
    let direction = Direction::Decode;
    match entry(codec, direction)?.decoder {
        Side::Built(open) => open(config),
        #[cfg(feature = "ffmpeg")]
        Side::OfSystem { open, check } => {
            check().map_err(|reason| CodecError::NotBuilt { codec, direction, reason })?;
            open(config)
        }
        Side::Absent(reason) => Err(CodecError::NotBuilt { codec, direction, reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_is_listed_and_opens_or_says_why() {
        let all = ["jpeg", "raw", "h264", "h265", "av1", "png", "webp", "jpeg2000"];
        for codec in all.map(|name| name.parse::<Codec>().unwrap()) {
            let row = support().find(|row| row.codec == codec).expect("listed");
            assert_eq!(encoder(&EncoderConfig::new(codec)).is_ok(), row.encode.is_ok(), "{codec}");
            assert_eq!(decoder(codec, &DecoderConfig::default()).is_ok(), row.decode.is_ok(), "{codec}");
        }
        let h265 = decoder(Codec::H265, &DecoderConfig::default()).err().map(|refusal| refusal.to_string());
        let is_named = |refusal: &String| refusal.contains("h265") && refusal.contains("`ffmpeg` feature");
        assert_eq!(h265.as_ref().map(is_named), (!cfg!(feature = "ffmpeg")).then_some(true), "{h265:?}");
    }
}
