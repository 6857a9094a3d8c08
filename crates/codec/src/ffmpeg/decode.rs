//! H.264, H.265 and AV1 decoding by FFmpeg.

use crate::coder::check_frame;
use crate::{CodecError, Color, Decoder, DecoderConfig, Direction, Matrix, Picture, Range, Ticket, convert};
use lumenbus_ffmpeg::DecoderCodec;
use lumenbus_frame::{CaptureTime, Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame};
use std::collections::VecDeque;

/// Largest picture: 8192 × 4096, and 8K. FFmpeg holds up to 17 of them for a stream of that size.
const MAX_PIXELS: u64 = 1 << 25;
/// Frames whose picture may still come. H.264 and H.265 hold 16 back at most; frames that are never shown go first.
const MAX_WAITING: usize = 64;

pub(super) struct SystemDecoder {
    codec: Codec,
    which: DecoderCodec,
    config: DecoderConfig,
    coder: Option<lumenbus_ffmpeg::Decoder>,
    /// Whether references are complete since a keyframe.
    is_joined: bool,
    next: i64,
    waiting: VecDeque<Waiting>,
}

/// A frame that went in.
struct Waiting {
    number: i64,
    ticket: Ticket,
    capture: CaptureTime,
    pts: Option<i64>,
}

impl SystemDecoder {
    pub(super) fn new(codec: Codec, config: &DecoderConfig) -> Result<Self, CodecError> {
        let direction = Direction::Decode;
        if let Some(format @ PixelFormat::Gray16Le) = config.pixel_format {
            return Err(CodecError::Format { codec, direction, format, supported: "i420, rgb8 and gray8" });
        }
        let which = match codec {
            Codec::H264 => DecoderCodec::H264,
            Codec::H265 => DecoderCodec::H265,
            _ => DecoderCodec::Av1,
        };
        let (waiting, config) = (VecDeque::new(), *config);
        let mut decoder = Self { codec, which, config, coder: None, is_joined: false, next: 0, waiting };
        // What the system lacks is told now, not with the first frame.
        decoder.coder()?;
        Ok(decoder)
    }

    fn failed(&self, source: lumenbus_ffmpeg::Error) -> CodecError {
        CodecError::Ffmpeg { codec: self.codec, direction: Direction::Decode, source }
    }

    fn coder(&mut self) -> Result<&mut lumenbus_ffmpeg::Decoder, CodecError> {
        if self.coder.is_none() {
            let opened = lumenbus_ffmpeg::Decoder::open(self.which, MAX_PIXELS);
            self.coder = Some(opened.map_err(|source| self.failed(source))?);
        }
        Ok(self.coder.as_mut().expect("opened above"))
    }

    fn decode_frame(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        check_frame(self.codec, frame)?;
        let codec = self.codec;
        if frame.payload.is_empty() {
            return Err(CodecError::Malformed { codec, what: "a frame without bytes" });
        }
        if !self.is_joined && !frame.is_keyframe {
            return Err(CodecError::NeedsKeyframe { codec });
        }
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        let number = self.next;
        self.next += 1;
        self.waiting.push_back(Waiting { number, ticket, capture: frame.capture, pts: frame.pts });
        let sent = self.coder()?.decode(&frame.payload, number);
        sent.map_err(|source| self.failed(source))?;
        self.is_joined = true;
        self.drain(out)
    }

    fn drain(&mut self, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        loop {
            let next = self.coder()?.next_picture();
            let Some(decoded) = next.map_err(|source| self.failed(source))? else { return Ok(()) };
            // Two pictures of one frame, or one of a frame long gone: it cannot be said when they were taken.
            let at = self.waiting.iter().position(|waiting| waiting.number == decoded.ticket);
            let Some(of) = at.and_then(|at| self.waiting.remove(at)) else { continue };
            let size = Dimensions::new(decoded.size.0, decoded.size.1);
            let color = color(&decoded, size);
            let mut i420 = RawFrame::new(PixelFormat::I420, size, decoded.i420.into(), of.capture)?;
            i420.pts = of.pts;
            let frame = convert(&i420, self.config.pixel_format.unwrap_or(PixelFormat::I420), color)?;
            out.push(Picture { ticket: of.ticket, frame, color });
        }
    }
}

fn color(decoded: &lumenbus_ffmpeg::Picture, size: Dimensions) -> Color {
    let assumed = Color::assumed(size);
    let matrix = |is_bt709| if is_bt709 { Matrix::Bt709 } else { Matrix::Bt601 };
    let range = |is_full| if is_full { Range::Full } else { Range::Limited };
    Color {
        matrix: decoded.is_bt709.map_or(assumed.matrix, matrix),
        range: decoded.is_full_range.map_or(assumed.range, range),
    }
}

impl Decoder for SystemDecoder {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn decode(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        let done = self.decode_frame(ticket, frame, out);
        if matches!(&done, Err(error) if !matches!(error, CodecError::NeedsKeyframe { .. })) {
            self.reset();
        }
        done
    }

    fn flush(&mut self, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        let finished = match &mut self.coder {
            Some(coder) if self.is_joined => coder.finish(),
            _ => Ok(()),
        };
        let finished = finished.map_err(|source| self.failed(source)).and_then(|()| self.drain(out));
        self.reset();
        finished
    }

    fn reset(&mut self) {
        // Opened anew, not flushed: what a damaged stream left behind is gone for certain.
        self.coder = None;
        self.is_joined = false;
        self.waiting.clear();
    }
}
