//! Every frame as a picture file: stills as they are, video decoded and written as JPEG.

use crate::decode::{DecodedFrame, Decoding};
use crate::subscribe::CaptureRange;
use lumenbus_codec::{CodecError, DecoderConfig, Encoder, EncoderConfig, encoder};
use lumenbus_frame::{Codec, EncodedFrame, FrameId, Gap, StreamId};

/// Turns one stream into pictures.
///
/// It holds a decoder with its reference pictures where the stream is video, so a folder of many video
/// cameras needs memory for each.
pub(super) struct Stills {
    decoding: Decoding,
    encoder: Box<dyn Encoder>,
    range: CaptureRange,
    decoded: Vec<DecodedFrame>,
    files: Vec<(FrameId, EncodedFrame)>,
    has_warned: bool,
}

/// What [`Stills::push`] found out about a frame that gave no picture.
pub(super) enum Trouble {
    /// This frame is damaged; the stream goes on.
    Frame,
    /// Nothing of this kind can be decoded here.
    Stream(CodecError),
}

impl Stills {
    pub(super) fn new(jpeg_quality: u8, range: CaptureRange) -> Result<Self, CodecError> {
        let mut config = EncoderConfig::new(Codec::Jpeg);
        config.quality = jpeg_quality;
        Ok(Self {
            decoding: Decoding::new(DecoderConfig::default()),
            encoder: encoder(&config)?,
            range,
            decoded: Vec::new(),
            files: Vec::new(),
            has_warned: false,
        })
    }

    /// Whether a frame of this codec is a picture file already.
    pub(super) fn is_still(codec: Codec) -> bool {
        codec.is_intra_only() && codec != Codec::Raw
    }

    /// Takes a frame; the pictures that are due are then in [`Self::take`].
    pub(super) fn push(&mut self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Result<(), Trouble> {
        if Self::is_still(frame.codec) {
            self.files.push((id, frame.clone()));
            return Ok(());
        }
        let waited = self.awaiting_keyframe();
        let done = self.decoding.push(id, frame, &mut self.decoded);
        let encoded = self.encode();
        let error = match (done, encoded) {
            // Readers may begin here, and this decoder cannot: at an H.264 recovery point.
            (Ok(()), Ok(())) if frame.is_keyframe && self.awaiting_keyframe() > waited => {
                CodecError::NeedsKeyframe { codec: frame.codec }
            }
            (Ok(()), Ok(())) => return Ok(()),
            (Err(error), _) => error.source,
            (_, Err(error)) => error,
        };
        if !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!(%stream, seq = id.seq.0, error = &error as &dyn std::error::Error, "no picture from this frame");
        }
        Err(match error {
            CodecError::NotBuilt { .. } | CodecError::UnsupportedStream { .. } => Trouble::Stream(error),
            _ => Trouble::Frame,
        })
    }

    fn encode(&mut self) -> Result<(), CodecError> {
        let mut coded = Vec::new();
        for DecodedFrame { id, picture, color } in self.decoded.drain(..) {
            if !self.range.contains(picture.capture.unix_nanos) {
                continue;
            }
            self.encoder.set_color(color);
            self.encoder.encode(&picture, &mut coded)?;
            self.files.extend(coded.drain(..).map(|file| (id, file)));
        }
        Ok(())
    }

    /// Frames are missing, or the end has come: what is held back becomes due.
    pub(super) fn interrupt(&mut self, gap: Option<&Gap>) -> Result<(), CodecError> {
        match gap {
            Some(gap) => self.decoding.gap(gap, &mut self.decoded),
            None => self.decoding.finish(&mut self.decoded),
        }
        self.encode()
    }

    /// The next frame is not behind the last one.
    pub(super) fn turn(&mut self) {
        self.decoding.turn();
    }

    /// The picture files that are due, in output order.
    pub(super) fn take(&mut self) -> Vec<(FrameId, EncodedFrame)> {
        std::mem::take(&mut self.files)
    }

    /// Frames left out for want of a keyframe.
    pub(super) fn awaiting_keyframe(&self) -> u64 {
        self.decoding.counts().awaiting_keyframe
    }
}
