//! What codecs of single pictures have in common: each frame is a file, which a function writes and another reads.

use crate::coder::{check_frame, check_size};
use crate::{
    CodecError, Color, Decoder, DecoderConfig, Direction, Encoder, EncoderConfig, Picture, Ticket, convert, share,
};
use lumenbus_frame::{CaptureTime, Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame, StreamParameters};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A codec as two functions.
pub(crate) struct StillCodec {
    pub(crate) codec: Codec,
    /// What `write` takes. I420 is not among them: it comes as RGB.
    pub(crate) formats: &'static [PixelFormat],
    pub(crate) write: fn(&RawFrame, StillSettings) -> Result<Vec<u8>, CodecError>,
    /// The size that a file's headers tell; refuses what would take too much memory.
    pub(crate) check: fn(&[u8]) -> Result<Dimensions, CodecError>,
    /// Reads a file that was checked and has this size, in the format that is nearest to its own.
    pub(crate) read: fn(&[u8], Dimensions) -> Result<RawFrame, CodecError>,
}

/// Settings of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StillSettings {
    /// 1 to 100; codecs that know both lose nothing at 100.
    pub(crate) quality: u8,
    /// At least one.
    pub(crate) threads: usize,
}

/// Refuses what is no quality.
pub(crate) fn check_quality(quality: u8) -> Result<(), CodecError> {
    if (1..=100).contains(&quality) {
        return Ok(());
    }
    Err(CodecError::Setting { setting: "the quality of stills", value: u64::from(quality), range: "1 to 100" })
}

/// Pixels that a decoder gave; the caller puts the frame's times in.
pub(crate) fn still(format: PixelFormat, size: Dimensions, pixels: Vec<u8>) -> Result<RawFrame, CodecError> {
    Ok(RawFrame::new(format, size, pixels.into(), CaptureTime::arrival(0))?)
}

/// The file as a frame with the picture's times. `known` are the parameters of the frame before: where the size is the same,
/// they are shared.
pub(crate) fn file_frame(
    config: &EncoderConfig,
    picture: &RawFrame,
    file: Vec<u8>,
    known: &mut Option<Arc<StreamParameters>>,
) -> EncodedFrame {
    let size = picture.dimensions();
    let mut frame = EncodedFrame::new(config.codec, picture.capture, file.into());
    frame.pts = picture.pts;
    let same = known.take().filter(|known| known.dimensions == size);
    let parameters = same.unwrap_or_else(|| Arc::new(config.parameters(size)));
    frame.parameters = Some(Arc::clone(known.insert(parameters)));
    frame
}

pub(crate) struct StillEncoder {
    of: &'static StillCodec,
    config: EncoderConfig,
    color: Option<Color>,
    parameters: Option<Arc<StreamParameters>>,
    settings: StillSettings,
}

impl StillEncoder {
    pub(crate) fn new(of: &'static StillCodec, config: &EncoderConfig) -> Result<Self, CodecError> {
        check_quality(config.quality)?;
        let threads = config.threads.map_or_else(share::usual_threads, NonZeroUsize::get);
        let settings = StillSettings { quality: config.quality, threads };
        Ok(Self { of, config: config.clone(), color: None, parameters: None, settings })
    }

    fn file(&self, picture: &RawFrame) -> Result<Vec<u8>, CodecError> {
        if self.of.formats.contains(&picture.format()) {
            return (self.of.write)(picture, self.settings);
        }
        if picture.format() == PixelFormat::I420 {
            let color = self.color.unwrap_or(Color::assumed(picture.dimensions()));
            return (self.of.write)(&convert(picture, PixelFormat::Rgb8, color)?, self.settings);
        }
        let (codec, direction, format) = (self.of.codec, Direction::Encode, picture.format());
        let supported = if self.of.formats.contains(&PixelFormat::Gray16Le) {
            "gray8, gray16le, rgb8 and i420"
        } else {
            "gray8, rgb8 and i420"
        };
        Err(CodecError::Format { codec, direction, format, supported })
    }
}

impl Encoder for StillEncoder {
    fn codec(&self) -> Codec {
        self.of.codec
    }

    fn encode(&mut self, picture: &RawFrame, out: &mut Vec<EncodedFrame>) -> Result<(), CodecError> {
        check_size(self.of.codec, picture.dimensions())?;
        let file = self.file(picture)?;
        out.push(file_frame(&self.config, picture, file, &mut self.parameters));
        Ok(())
    }

    fn set_color(&mut self, color: Color) {
        self.color = Some(color);
    }

    fn force_keyframe(&mut self) {}

    fn parameters(&self) -> Option<&Arc<StreamParameters>> {
        self.parameters.as_ref()
    }
}

pub(crate) struct StillDecoder {
    of: &'static StillCodec,
    config: DecoderConfig,
}

impl StillDecoder {
    pub(crate) fn new(of: &'static StillCodec, config: &DecoderConfig) -> Self {
        Self { of, config: *config }
    }
}

impl Decoder for StillDecoder {
    fn codec(&self) -> Codec {
        self.of.codec
    }

    fn decode(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        let codec = self.of.codec;
        check_frame(codec, frame)?;
        // The parsers read hostile bytes: a panic in one must stay this frame's trouble.
        let size = (self.of.check)(&frame.payload)?;
        let read = catch_unwind(AssertUnwindSafe(|| (self.of.read)(&frame.payload, size)));
        let gave_up = |_| CodecError::Malformed { codec, what: "the decoder gave up on this file" };
        let mut picture = read.map_err(gave_up)??;
        (picture.capture, picture.pts) = (frame.capture, frame.pts);
        // RGB that becomes I420 does so as in JPEG; nothing else in these files has luma and chroma.
        let frame = convert(&picture, self.config.pixel_format.unwrap_or(picture.format()), Color::JPEG)?;
        out.push(Picture { ticket, frame, color: Color::JPEG });
        Ok(())
    }

    fn flush(&mut self, _out: &mut Vec<Picture>) -> Result<(), CodecError> {
        Ok(())
    }

    fn reset(&mut self) {}
}
