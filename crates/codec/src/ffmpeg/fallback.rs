//! H.264 decoding where FFmpeg is at hand: ours, and FFmpeg for streams that it refuses (interlaced, 4:2:2, 10 bit and so on)
//! or cannot begin (at a recovery point).

use super::decode::SystemDecoder;
use crate::h264::H264Decoder;
use crate::{CodecError, Decoder, DecoderConfig, Picture, Ticket};
use lumenbus_frame::{Codec, EncodedFrame};

pub(crate) struct H264WithFallback {
    config: DecoderConfig,
    ours: H264Decoder,
    /// Once a stream has needed it, it stays: cameras do not change to and fro.
    system: Option<SystemDecoder>,
}

impl H264WithFallback {
    pub(crate) fn new(config: &DecoderConfig) -> Result<Self, CodecError> {
        Ok(Self { config: *config, ours: H264Decoder::new(config)?, system: None })
    }
}

impl Decoder for H264WithFallback {
    fn codec(&self) -> Codec {
        Codec::H264
    }

    fn decode(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        if let Some(system) = &mut self.system {
            return system.decode(ticket, frame, out);
        }
        match self.ours.decode(ticket, frame, out) {
            Err(CodecError::UnsupportedStream { .. } | CodecError::NeedsKeyframe { .. }) if frame.is_keyframe => {
                let system = SystemDecoder::new(Codec::H264, &self.config)?;
                self.system.insert(system).decode(ticket, frame, out)
            }
            done => done,
        }
    }

    fn flush(&mut self, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        match &mut self.system {
            Some(system) => system.flush(out),
            None => self.ours.flush(out),
        }
    }

    fn reset(&mut self) {
        self.ours.reset();
        if let Some(system) = &mut self.system {
            system.reset();
        }
    }
}
