//! `.y4m`: YUV4MPEG2, uncompressed I420 with a text header.

use super::output::Output;
use super::{OnlyStream, Sink, SinkError, SinkReport};
use crate::decode::{DecodedFrame, Decoding};
use lumenbus_codec::{CodecError, Color, DecoderConfig, Range};
use lumenbus_frame::{Dimensions, EncodedFrame, FrameId, FrameRate, Gap, PixelFormat, StreamId};

/// Written where the stream does not say: the form cannot do without.
const ASSUMED_RATE: FrameRate = FrameRate { frames: 30, seconds: 1 };

pub(super) struct Y4m {
    output: Output,
    stream: OnlyStream,
    decoding: Decoding,
    decoded: Vec<DecodedFrame>,
    rate: FrameRate,
    /// Size in the header, once it is written.
    size: Option<Dimensions>,
    report: SinkReport,
}

impl Y4m {
    pub(super) fn new(output: Output) -> Self {
        let report = SinkReport::of(output.name());
        Self {
            output,
            stream: OnlyStream::default(),
            decoding: Decoding::new(DecoderConfig { pixel_format: Some(PixelFormat::I420) }),
            decoded: Vec::new(),
            rate: ASSUMED_RATE,
            size: None,
            report,
        }
    }

    fn write(&mut self) -> Result<(), SinkError> {
        for DecodedFrame { picture, color, .. } in std::mem::take(&mut self.decoded) {
            let after = picture.dimensions();
            match self.size {
                None => self.output.write(header(after, self.rate, color).as_bytes())?,
                Some(before) if before != after => {
                    let stream = self.stream.boxed();
                    return Err(SinkError::Resized { target: self.report.target.clone(), stream, before, after });
                }
                Some(_) => {}
            }
            self.size = Some(after);
            self.output.write(b"FRAME\n")?;
            self.output.write(picture.pixels())?;
            self.report.frames += 1;
        }
        Ok(())
    }
}

/// The stream header; colour range as FFmpeg writes and reads it.
fn header(size: Dimensions, rate: FrameRate, color: Color) -> String {
    let (siting, range) = match color.range {
        Range::Full => ("420jpeg", "FULL"),
        Range::Limited => ("420mpeg2", "LIMITED"),
    };
    let Dimensions { width, height } = size;
    let FrameRate { frames, seconds } = rate;
    format!("YUV4MPEG2 W{width} H{height} F{frames}:{seconds} Ip A0:0 C{siting} XCOLORRANGE={range}\n")
}

impl Sink for Y4m {
    fn frame(&mut self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError> {
        self.stream.check(stream, &self.report.target)?;
        let said = frame.parameters.as_ref().and_then(|parameters| parameters.frame_rate);
        if let Some(rate) = said.filter(|rate| rate.frames > 0 && rate.seconds > 0) {
            self.rate = rate;
        }
        match self.decoding.push(id, frame, &mut self.decoded).map_err(|error| error.source) {
            Ok(()) => {}
            Err(
                source @ (CodecError::NotBuilt { .. }
                | CodecError::UnsupportedStream { .. }
                | CodecError::NoConversion { .. }),
            ) => return Err(SinkError::Codec { stream: Box::new(stream.clone()), form: "I420", source }),
            Err(error) => {
                tracing::debug!(%stream, seq = id.seq.0, error = &error as &dyn std::error::Error, "no picture");
                self.report.undecodable += 1;
            }
        }
        self.write()
    }

    fn gap(&mut self, _stream: &StreamId, gap: &Gap) -> Result<(), SinkError> {
        self.report.note_gap(gap);
        self.decoding.gap(gap, &mut self.decoded);
        self.write()
    }

    fn finish(mut self: Box<Self>) -> Result<SinkReport, SinkError> {
        self.decoding.finish(&mut self.decoded);
        self.write()?;
        self.output.flush()?;
        self.report.files = 1;
        self.report.bytes = self.output.bytes();
        self.report.awaiting_keyframe = self.decoding.counts().awaiting_keyframe;
        Ok(self.report)
    }
}
