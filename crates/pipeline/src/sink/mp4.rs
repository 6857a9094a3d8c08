//! `.mp4`: the coded pictures as they are, with their times.
//!
//! One file holds one set of decoder parameters. Where a camera comes back with others (another size, another codec),
//! the file is finished and the next one begun: `gate.mp4`, `gate-2.mp4`, `gate-3.mp4`; numbers that others have taken
//! are left out. A new epoch with the same parameters goes on in the same file.

use super::output::Output;
use super::{OnlyStream, Sink, SinkError, SinkOptions, SinkReport};
use crate::decode::breaks_decoding;
use crate::mux::recording::{Recording, RecordingError, RecordingOptions, Taken};
use lumenbus_frame::{EncodedFrame, FrameId, Gap, StreamId};
use std::path::{Path, PathBuf};

const TAKES: &str = "h264, h265 and av1";
const INSTEAD: &str = "a folder, .mcap or .mjpeg";

pub(super) struct Mp4 {
    first: PathBuf,
    options: SinkOptions,
    /// The part that is being written; gone after an error.
    part: Option<Recording<Output>>,
    path: PathBuf,
    /// Of that file.
    number: u64,
    stream: OnlyStream,
    report: SinkReport,
}

impl Mp4 {
    pub(super) fn create(path: &Path, options: &SinkOptions) -> Result<Self, SinkError> {
        let output = Output::create(path, options)?;
        let report = SinkReport { files: 1, ..SinkReport::of(output.name()) };
        let begin = RecordingOptions { begin_unix_nanos: options.range.from_unix_nanos };
        Ok(Self {
            first: path.to_owned(),
            options: options.clone(),
            part: Some(Recording::new(output, begin)),
            path: path.to_owned(),
            number: 1,
            stream: OnlyStream::default(),
            report,
        })
    }

    fn push(&mut self, id: FrameId, frame: &EncodedFrame) -> Result<Taken, SinkError> {
        let Some(part) = &mut self.part else { return Ok(Taken::AwaitingKeyframe) };
        match part.push(id, frame) {
            Ok(taken) => Ok(taken),
            Err(RecordingError::Frame(error)) => {
                let stream = self.stream.boxed();
                tracing::debug!(%stream, seq = id.seq.0, %error, "a frame that cannot be in an MP4 file");
                self.report.undecodable += 1;
                Ok(Taken::Written)
            }
            Err(error) => {
                let bytes = part.report().bytes;
                self.part = None;
                Err(self.failure(bytes, error))
            }
        }
    }

    /// `bytes`: what was written before.
    fn failure(&self, bytes: u64, error: RecordingError) -> SinkError {
        let path = self.path.clone();
        match error {
            RecordingError::Codec { codec } => {
                let (target, stream) = (path.display().to_string(), self.stream.boxed());
                SinkError::Uncontained { target, stream, codec, takes: TAKES, instead: INSTEAD }
            }
            RecordingError::Write(source) => SinkError::Write { path, bytes, source },
            other => SinkError::Container { path, source: Box::new(other) },
        }
    }

    fn finish_part(&mut self) -> Result<(), SinkError> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let bytes = part.report().bytes;
        let (_, report) = part.finish().map_err(|error| self.failure(bytes, error))?;
        self.report.frames += report.frames;
        self.report.bytes += report.bytes;
        Ok(())
    }

    fn begin_next(&mut self) -> Result<(), SinkError> {
        self.finish_part()?;
        let (path, output) = self.next_free()?;
        tracing::info!(path = %path.display(), "other parameters begin another file");
        self.part = Some(Recording::new(output, RecordingOptions::default()));
        self.path = path;
        self.report.files += 1;
        Ok(())
    }

    /// What an older run left is not replaced, and does not end this one hours after its beginning.
    fn next_free(&mut self) -> Result<(PathBuf, Output), SinkError> {
        loop {
            self.number += 1;
            let path = numbered(&self.first, self.number);
            match Output::create(&path, &self.options) {
                Err(SinkError::Exists { .. }) => {}
                created => return Ok((path, created?)),
            }
        }
    }
}

/// `gate.mp4` → `gate-2.mp4`.
fn numbered(first: &Path, number: u64) -> PathBuf {
    let stem = first.file_stem().unwrap_or_default().to_string_lossy();
    let extension = first.extension().unwrap_or_default().to_string_lossy();
    first.with_file_name(format!("{stem}-{number}.{extension}"))
}

impl Sink for Mp4 {
    fn frame(&mut self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError> {
        self.stream.check(stream, &self.report.target)?;
        let mut taken = self.push(id, frame)?;
        if taken == Taken::OtherParameters {
            self.begin_next()?;
            taken = self.push(id, frame)?;
        }
        self.report.awaiting_keyframe += u64::from(taken == Taken::AwaitingKeyframe);
        Ok(())
    }

    fn gap(&mut self, _stream: &StreamId, gap: &Gap) -> Result<(), SinkError> {
        self.report.note_gap(gap);
        if let Some(part) = self.part.as_mut().filter(|_| breaks_decoding(gap)) {
            part.gap();
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<SinkReport, SinkError> {
        self.finish_part()?;
        Ok(self.report)
    }
}
