//! JPEG (ITU-T T.81, JFIF): one file per frame.

mod bits;
mod dct;
mod decoder;
mod huffman;
mod read;
mod samples;
mod segments;
mod tables;
mod write;

pub use segments::jpeg_dimensions;

use crate::coder::check_size;
use crate::color::Planes;
use crate::registry::{Entry, Side};
use crate::still::{check_quality, file_frame};
use crate::{CodecError, Color, Direction, Encoder, EncoderConfig, convert, share};
use decoder::JpegDecoder;
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame, StreamParameters};
use samples::{Mapping, Plane};
use std::num::NonZeroUsize;
use std::sync::Arc;
use write::{FileWriter, Picture as PlanesToWrite};

pub(crate) const ENTRY: Entry = Entry {
    codec: Codec::Jpeg,
    encoder: Side::Built(|config| Ok(Box::new(JpegEncoder::new(config)?))),
    decoder: Side::Built(|config| Ok(Box::new(JpegDecoder::new(config)))),
};

const FORMATS: &str = "gray8, rgb8 and i420";

struct JpegEncoder {
    config: EncoderConfig,
    color: Option<Color>,
    parameters: Option<Arc<StreamParameters>>,
    /// For the colour of the last picture.
    writer: Option<(Color, FileWriter)>,
    threads: usize,
}

impl JpegEncoder {
    fn new(config: &EncoderConfig) -> Result<Self, CodecError> {
        check_quality(config.quality)?;
        let threads = config.threads.map_or_else(share::usual_threads, NonZeroUsize::get);
        Ok(Self { config: config.clone(), color: None, parameters: None, writer: None, threads })
    }

    fn file(&mut self, picture: &RawFrame) -> Result<Vec<u8>, CodecError> {
        match picture.format() {
            PixelFormat::Gray8 => {
                let (width, height) = sides(picture.dimensions());
                let luma = Plane { samples: picture.pixels(), width, height };
                Ok(self.write(Color::JPEG, &PlanesToWrite::Gray(luma)))
            }
            PixelFormat::Rgb8 => self.i420_file(&convert(picture, PixelFormat::I420, Color::JPEG)?, Color::JPEG),
            PixelFormat::I420 => {
                let color = self.color.unwrap_or(Color::assumed(picture.dimensions()));
                self.i420_file(picture, color)
            }
            format => {
                let (codec, direction) = (Codec::Jpeg, Direction::Encode);
                Err(CodecError::Format { codec, direction, format, supported: FORMATS })
            }
        }
    }

    fn i420_file(&mut self, picture: &RawFrame, color: Color) -> Result<Vec<u8>, CodecError> {
        let (width, height) = sides(picture.dimensions());
        let planes = Planes::of(picture.pixels(), picture.dimensions());
        let luma = Plane { samples: planes.y, width, height };
        let (width, height) = (planes.chroma_width, height.div_ceil(2));
        let chroma = [planes.u, planes.v].map(|samples| Plane { samples, width, height });
        Ok(self.write(color, &PlanesToWrite::Color(luma, chroma)))
    }

    fn write(&mut self, color: Color, planes: &PlanesToWrite<'_>) -> Vec<u8> {
        let mut writer = self.writer.take().filter(|writer| writer.0 == color);
        let make = || (color, FileWriter::new(self.config.quality, Mapping::from(color)));
        let (color, mut writer) = writer.take().unwrap_or_else(make);
        let file = writer.write(planes, self.threads);
        self.writer = Some((color, writer));
        file
    }
}

fn sides(size: Dimensions) -> (usize, usize) {
    (size.width as usize, size.height as usize)
}

impl Encoder for JpegEncoder {
    fn codec(&self) -> Codec {
        Codec::Jpeg
    }

    fn encode(&mut self, picture: &RawFrame, out: &mut Vec<EncodedFrame>) -> Result<(), CodecError> {
        check_size(Codec::Jpeg, picture.dimensions())?;
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
