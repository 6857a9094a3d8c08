//! `.y4m`: YUV4MPEG2, uncompressed I420 with a text header.
//!
//! The form has a rate and no times. Where frames are missing, or were not sent because nothing moved, the picture before
//! is repeated, so that what follows keeps its time: for a minute at most, for an hour of nothing would fill a disk.

use super::output::Output;
use super::{OnlyStream, Sink, SinkError, SinkReport};
use crate::decode::{DecodedFrame, Decoding};
use crate::mux::presentation::Presentation;
use crate::subscribe::CaptureRange;
use bytes::Bytes;
use lumenbus_codec::{CodecError, Color, DecoderConfig, Range};
use lumenbus_frame::{Dimensions, EncodedFrame, FrameId, FrameRate, Gap, PixelFormat, StreamId};
use std::collections::VecDeque;

/// Written where the stream does not say: the form cannot do without.
const ASSUMED_RATE: FrameRate = FrameRate { frames: 30, seconds: 1 };

/// Longest stretch that a picture is repeated for.
const MAX_STILL_NANOS: i64 = 60 * 1_000_000_000;
/// Frames whose picture may still be outstanding, as in [`Decoding`].
const MAX_OUTSTANDING: usize = 64;

/// When frames are shown, and before which something is missing.
#[derive(Default)]
struct Times {
    presentation: Presentation,
    outstanding: VecDeque<(FrameId, i64, bool)>,
    last: Option<FrameId>,
    is_hole: bool,
}

impl Times {
    fn frame(&mut self, id: FrameId, frame: &EncodedFrame) {
        let follows = |last: FrameId| last.epoch == id.epoch && last.seq.next() >= id.seq;
        let is_hole = std::mem::take(&mut self.is_hole) || !self.last.is_some_and(follows);
        self.last = Some(id);
        let media_nanos = self.presentation.place(id, frame);
        if self.outstanding.len() == MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((id, media_nanos, is_hole));
    }

    /// Time of the frame's picture, and whether something is missing before it.
    fn take(&mut self, id: FrameId) -> Option<(i64, bool)> {
        let at = self.outstanding.iter().position(|(known, ..)| *known == id)?;
        self.outstanding.remove(at).map(|(_, media_nanos, is_hole)| (media_nanos, is_hole))
    }
}

pub(super) struct Y4m {
    output: Output,
    stream: OnlyStream,
    decoding: Decoding,
    decoded: Vec<DecodedFrame>,
    rate: FrameRate,
    range: CaptureRange,
    /// Size in the header, once it is written.
    size: Option<Dimensions>,
    times: Times,
    /// Frames came that no picture came of: the next picture stands behind a hole.
    has_lost: bool,
    /// The last picture and when it was shown.
    shown: Option<(Bytes, i64)>,
    report: SinkReport,
}

impl Y4m {
    pub(super) fn new(output: Output, range: CaptureRange) -> Self {
        let report = SinkReport::of(output.name());
        Self {
            output,
            stream: OnlyStream::default(),
            decoding: Decoding::new(DecoderConfig { pixel_format: Some(PixelFormat::I420) }),
            decoded: Vec::new(),
            rate: ASSUMED_RATE,
            range,
            size: None,
            times: Times::default(),
            has_lost: false,
            shown: None,
            report,
        }
    }

    fn write(&mut self) -> Result<(), SinkError> {
        for DecodedFrame { id, picture, color } in std::mem::take(&mut self.decoded) {
            if !self.range.contains(picture.capture.unix_nanos) {
                continue;
            }
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
            let (media_nanos, is_hole) = self.times.take(id).unwrap_or((0, false));
            let is_hole = std::mem::take(&mut self.has_lost) || is_hole;
            if let Some((still, since)) = self.shown.take().filter(|_| is_hole) {
                for _ in 0..self.repeats(media_nanos.saturating_sub(since)) {
                    self.picture(&still)?;
                }
            }
            self.picture(picture.pixels())?;
            self.report.frames += 1;
            self.shown = Some((picture.pixels().clone(), media_nanos));
        }
        Ok(())
    }

    fn picture(&mut self, pixels: &[u8]) -> Result<(), SinkError> {
        self.output.write(b"FRAME\n")?;
        self.output.write(pixels)
    }

    /// Pictures that are missing between two that lie so far apart.
    fn repeats(&self, apart_nanos: i64) -> i64 {
        let interval = i64::try_from(self.rate.interval().as_nanos()).unwrap_or(i64::MAX).max(1);
        (apart_nanos.clamp(0, MAX_STILL_NANOS) + interval / 2) / interval - 1
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
        self.times.frame(id, frame);
        let waited = self.decoding.counts().awaiting_keyframe;
        let pushed = self.decoding.push(id, frame, &mut self.decoded).map_err(|error| error.source);
        let waits = self.decoding.counts().awaiting_keyframe > waited;
        if pushed.is_err() || waits {
            // What was complete before has nothing missing before it.
            self.write()?;
            self.has_lost = true;
        }
        // Readers may begin here, and this decoder cannot: at an H.264 recovery point.
        self.report.undecodable += u64::from(waits && frame.is_keyframe);
        match pushed {
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
        self.times.is_hole = true;
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
