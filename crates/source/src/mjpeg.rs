//! JPEG pictures one after the other (`.mjpeg`, `.mjpg`, and a single `.jpg`).

use crate::input::read_some;
use crate::item::{due, ticks};
use crate::jpeg::{MarkerWalk, Picture, Scan};
use crate::{Source, SourceError, SourceItem, SourceOptions};
use bytes::{Buf, BytesMut};
use lumenbus_frame::{CaptureTime, Clock, Codec, Dimensions, EncodedFrame, FrameRate, StreamParameters};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

/// Largest single picture.
pub const MAX_PICTURE_BYTES: usize = 256 * 1024 * 1024;
/// Broken pictures looked behind for the first good one's size.
const MAX_BROKEN_AT_START: usize = 64;
/// Bytes read at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// Reads concatenated JPEG files.
///
/// Boundaries are found by walking markers and their lengths; a damaged picture is reported and the next one is looked
/// for behind the defect. What lies between two pictures (multipart headers, padding) is skipped.
pub struct MjpegSource<R> {
    name: Arc<str>,
    reader: R,
    clock: Arc<dyn Clock>,
    buffer: BytesMut,
    chunk: Box<[u8]>,
    /// File offset of the buffer's first byte.
    offset: u64,
    rate: FrameRate,
    parameters: Arc<StreamParameters>,
    /// Pictures given or lost.
    index: u64,
    has_ended: bool,
    /// Read when opening: damage up to the first good picture, and that picture.
    ahead: VecDeque<SourceItem>,
}

impl<R: Read + Send> MjpegSource<R> {
    /// Reads up to the first good picture's size.
    pub fn new(name: Arc<str>, reader: R, options: &SourceOptions) -> Result<Self, SourceError> {
        let rate = options.frame_rate.unwrap_or(crate::DEFAULT_RATE);
        let mut parameters = StreamParameters::new(Codec::Jpeg, Dimensions::new(0, 0));
        parameters.frame_rate = Some(rate);
        let mut source = Self {
            name,
            reader,
            clock: options.clock.clone(),
            buffer: BytesMut::new(),
            chunk: vec![0; CHUNK_BYTES].into_boxed_slice(),
            offset: 0,
            rate,
            parameters: Arc::new(parameters),
            index: 0,
            has_ended: false,
            ahead: VecDeque::new(),
        };
        while source.ahead.len() < MAX_BROKEN_AT_START {
            let Some(item) = source.read_item()? else { break };
            let is_good = matches!(item, SourceItem::Encoded { .. });
            source.ahead.push_back(item);
            if is_good {
                break;
            }
        }
        Ok(source)
    }

    /// Appends the file's next bytes; false at its end.
    fn fill(&mut self) -> Result<bool, SourceError> {
        if self.has_ended {
            return Ok(false);
        }
        let count = read_some(&mut self.reader, &mut self.chunk, &self.name)?;
        self.buffer.extend_from_slice(&self.chunk[..count]);
        self.has_ended = count == 0;
        Ok(count > 0)
    }

    fn discard(&mut self, count: usize) {
        self.buffer.advance(count);
        self.offset += count as u64;
    }

    /// Puts the next start marker at the buffer's beginning; false when there is none.
    fn find_start(&mut self) -> Result<bool, SourceError> {
        loop {
            if let Some(at) = self.buffer.windows(3).position(|window| window == [0xff, 0xd8, 0xff]) {
                self.discard(at);
                return Ok(true);
            }
            self.discard(self.buffer.len().saturating_sub(2));
            if !self.fill()? {
                return Ok(false);
            }
        }
    }

    fn read_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if !self.find_start()? {
            return Ok(None);
        }
        let mut walk = MarkerWalk::default();
        loop {
            match walk.advance(&self.buffer) {
                Scan::End(end) => {
                    self.offset += end as u64;
                    let picture = walk.picture(self.buffer.split_to(end).freeze());
                    return Ok(Some(self.give(picture)));
                }
                Scan::Bad(defect) => {
                    let error = self.malformed(defect.at, defect.what);
                    return Ok(Some(self.lose(defect.at.max(2), error)));
                }
                Scan::More if self.buffer.len() > MAX_PICTURE_BYTES => {
                    let limit = MAX_PICTURE_BYTES as u64;
                    let (name, offset, bytes) = (self.name.clone(), self.offset, self.buffer.len() as u64);
                    let error = SourceError::TooLarge { name, what: "a JPEG", offset, bytes, limit };
                    return Ok(Some(self.lose(self.buffer.len(), error)));
                }
                Scan::More => {
                    if !self.fill()? {
                        let error = self.malformed(self.buffer.len(), "a JPEG that ends before its end marker");
                        return Ok(Some(self.lose(self.resume_after_cut(), error)));
                    }
                }
            }
        }
    }

    /// Where to go on in a picture that never ended: at a start marker inside it, which a wrong length may have hidden.
    fn resume_after_cut(&self) -> usize {
        let inner = self.buffer.get(2..).and_then(|rest| rest.windows(3).position(|at| at == [0xff, 0xd8, 0xff]));
        inner.map_or(self.buffer.len(), |at| at + 2)
    }

    fn malformed(&self, at: usize, what: &'static str) -> SourceError {
        SourceError::Malformed { name: self.name.clone(), offset: self.offset + at as u64, what }
    }

    fn lose(&mut self, bytes: usize, error: SourceError) -> SourceItem {
        self.discard(bytes);
        self.index += 1;
        SourceItem::Damaged { error, frames: Some(1) }
    }

    fn give(&mut self, picture: Picture) -> SourceItem {
        if self.parameters.dimensions != picture.dimensions {
            let mut parameters = StreamParameters::clone(&self.parameters);
            parameters.dimensions = picture.dimensions;
            self.parameters = Arc::new(parameters);
        }
        let capture = CaptureTime::arrival(self.clock.unix_nanos());
        let frame = EncodedFrame::new(Codec::Jpeg, capture, picture.bytes)
            .with_pts(ticks(self.index, self.rate))
            .with_parameters(self.parameters.clone());
        let media_time = due(self.index, self.rate);
        self.index += 1;
        SourceItem::Encoded { frame, media_time }
    }
}

impl<R: Read + Send> Source for MjpegSource<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        match self.ahead.pop_front() {
            Some(item) => Ok(Some(item)),
            None => self.read_item(),
        }
    }
}
