//! `.mjpeg`: JPEG files one after the other.

use super::output::Output;
use super::stills::{Stills, Trouble};
use super::{OnlyStream, Sink, SinkError, SinkOptions, SinkReport};
use lumenbus_codec::CodecError;
use lumenbus_frame::{Codec, EncodedFrame, FrameId, Gap, StreamId};

pub(super) struct Mjpeg {
    output: Output,
    stream: OnlyStream,
    stills: Stills,
    report: SinkReport,
}

const FORM: &str = "JPEG";

impl Mjpeg {
    pub(super) fn new(output: Output, options: &SinkOptions) -> Result<Self, CodecError> {
        let report = SinkReport::of(output.name());
        Ok(Self {
            output,
            stream: OnlyStream::default(),
            stills: Stills::new(options.jpeg_quality, options.range)?,
            report,
        })
    }

    fn write(&mut self) -> Result<(), SinkError> {
        for (_, file) in self.stills.take() {
            self.output.write(&file.payload)?;
            self.report.frames += 1;
        }
        Ok(())
    }

    fn interrupt(&mut self, gap: Option<&Gap>) -> Result<(), SinkError> {
        if self.stills.interrupt(gap).is_err() {
            self.report.undecodable += 1;
        }
        self.write()
    }
}

impl Sink for Mjpeg {
    fn frame(&mut self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError> {
        self.stream.check(stream, &self.report.target)?;
        if Stills::is_still(frame.codec) && frame.codec != Codec::Jpeg {
            let (target, codec, takes) = (self.report.target.clone(), frame.codec, Codec::Jpeg);
            return Err(SinkError::WrongCodec { target, stream: Box::new(stream.clone()), codec, takes });
        }
        match self.stills.push(stream, id, frame) {
            Ok(()) => {}
            Err(Trouble::Frame) => self.report.undecodable += 1,
            Err(Trouble::Stream(source)) => {
                return Err(SinkError::Codec { stream: Box::new(stream.clone()), form: FORM, source });
            }
        }
        self.write()
    }

    fn gap(&mut self, _stream: &StreamId, gap: &Gap) -> Result<(), SinkError> {
        self.report.note_gap(gap);
        self.interrupt(Some(gap))
    }

    fn turn(&mut self, _stream: &StreamId) {
        self.stills.turn();
    }

    fn finish(mut self: Box<Self>) -> Result<SinkReport, SinkError> {
        self.interrupt(None)?;
        self.output.flush()?;
        self.report.files = 1;
        self.report.bytes = self.output.bytes();
        self.report.awaiting_keyframe = self.stills.awaiting_keyframe();
        Ok(self.report)
    }
}
