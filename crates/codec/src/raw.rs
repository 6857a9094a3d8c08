//! Uncompressed frames: the bytes pass through, their number is checked.

use crate::coder::{check_frame, check_size};
use crate::registry::{Entry, Side};
use crate::{CodecError, Color, Decoder, DecoderConfig, Encoder, EncoderConfig, Picture, Ticket, convert};
use lumenbus_frame::{Codec, EncodedFrame, RawFrame, StreamParameters};
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::Raw,
    encoder: Side::Built(|config| Ok(Box::new(RawEncoder { config: config.clone(), parameters: None }))),
    decoder: Side::Built(|config| Ok(Box::new(RawDecoder { config: *config, parameters: None }))),
};

struct RawEncoder {
    config: EncoderConfig,
    parameters: Option<Arc<StreamParameters>>,
}

impl RawEncoder {
    fn parameters_for(&mut self, picture: &RawFrame) -> Arc<StreamParameters> {
        let (size, format) = (picture.dimensions(), Some(picture.format()));
        match &self.parameters {
            Some(known) if known.dimensions == size && known.pixel_format == format => Arc::clone(known),
            _ => {
                let mut parameters = self.config.parameters(size);
                parameters.pixel_format = format;
                let parameters = Arc::new(parameters);
                self.parameters = Some(Arc::clone(&parameters));
                parameters
            }
        }
    }
}

impl Encoder for RawEncoder {
    fn codec(&self) -> Codec {
        Codec::Raw
    }

    fn encode(&mut self, picture: &RawFrame, out: &mut Vec<EncodedFrame>) -> Result<(), CodecError> {
        check_size(Codec::Raw, picture.dimensions())?;
        let mut frame = EncodedFrame::new(Codec::Raw, picture.capture, picture.pixels().clone());
        frame.pts = picture.pts;
        frame.parameters = Some(self.parameters_for(picture));
        out.push(frame);
        Ok(())
    }

    fn set_color(&mut self, _color: Color) {}

    fn force_keyframe(&mut self) {}

    fn parameters(&self) -> Option<&Arc<StreamParameters>> {
        self.parameters.as_ref()
    }
}

struct RawDecoder {
    config: DecoderConfig,
    /// Of the newest frame that carried any.
    parameters: Option<Arc<StreamParameters>>,
}

impl Decoder for RawDecoder {
    fn codec(&self) -> Codec {
        Codec::Raw
    }

    fn decode(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        check_frame(Codec::Raw, frame)?;
        if let Some(parameters) = &frame.parameters {
            self.parameters = Some(Arc::clone(parameters));
        }
        let parameters = self.parameters.as_ref().ok_or(CodecError::NoParameters)?;
        let format = parameters.pixel_format.ok_or(CodecError::NoParameters)?;
        check_size(Codec::Raw, parameters.dimensions)?;
        let mut picture = RawFrame::new(format, parameters.dimensions, frame.payload.clone(), frame.capture)?;
        picture.pts = frame.pts;
        let color = Color::assumed(parameters.dimensions);
        let frame = convert(&picture, self.config.pixel_format.unwrap_or(format), color)?;
        out.push(Picture { ticket, frame, color });
        Ok(())
    }

    fn flush(&mut self, _out: &mut Vec<Picture>) -> Result<(), CodecError> {
        Ok(())
    }

    fn reset(&mut self) {
        self.parameters = None;
    }
}
