//! Coded frames one after the other: `.h264`, `.h265` and standard output.

use super::output::Output;
use super::{OnlyStream, Sink, SinkError, SinkReport};
use lumenbus_frame::{Codec, EncodedFrame, FrameId, Gap, StreamId};

/// When bytes leave the buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushing {
    /// When it is full: files.
    Buffered,
    /// After every frame: whoever reads the pipe wants to see it now.
    EveryFrame,
}

pub(super) struct Appended {
    output: Output,
    flushing: Flushing,
    /// The only codec the form holds; `None` takes any.
    takes: Option<Codec>,
    stream: OnlyStream,
    report: SinkReport,
}

impl Appended {
    pub(super) fn new(output: Output, takes: Option<Codec>, flushing: Flushing) -> Self {
        let report = SinkReport::of(output.name());
        Self { output, flushing, takes, stream: OnlyStream::default(), report }
    }
}

impl Sink for Appended {
    fn frame(&mut self, stream: &StreamId, _id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError> {
        self.stream.check(stream, &self.report.target)?;
        if let Some(takes) = self.takes.filter(|takes| *takes != frame.codec) {
            let (target, codec) = (self.report.target.clone(), frame.codec);
            return Err(SinkError::WrongCodec { target, stream: Box::new(stream.clone()), codec, takes });
        }
        self.output.write(&frame.payload)?;
        self.report.frames += 1;
        if self.flushing == Flushing::EveryFrame { self.output.flush() } else { Ok(()) }
    }

    fn gap(&mut self, _stream: &StreamId, gap: &Gap) -> Result<(), SinkError> {
        self.report.note_gap(gap);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<SinkReport, SinkError> {
        self.output.flush()?;
        self.report.files = 1;
        self.report.bytes = self.output.bytes();
        Ok(self.report)
    }
}
