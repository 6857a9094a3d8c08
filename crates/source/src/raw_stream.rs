//! Frames of pixels one after the other, with nothing between them.

use crate::input::read_some;
use crate::item::{due, ticks};
use crate::stream_format::PixelLayout;
use crate::{Source, SourceError, SourceItem, SourceOptions};
use lumenbus_frame::{CaptureTime, Clock, Codec, FrameRate, RawFrame, StreamParameters};
use std::io::Read;
use std::sync::Arc;

/// Reads pixels of a known layout; the rate is the one asked for, else [`DEFAULT_RATE`](crate::DEFAULT_RATE).
pub struct RawStreamSource<R> {
    name: Arc<str>,
    reader: R,
    clock: Arc<dyn Clock>,
    layout: PixelLayout,
    frame_bytes: usize,
    rate: FrameRate,
    parameters: Arc<StreamParameters>,
    index: u64,
    is_done: bool,
}

impl<R: Read + Send> RawStreamSource<R> {
    /// Reads nothing yet.
    pub fn new(name: Arc<str>, reader: R, layout: PixelLayout, options: &SourceOptions) -> Self {
        let rate = options.frame_rate.unwrap_or(crate::DEFAULT_RATE);
        let mut parameters = StreamParameters::new(Codec::Raw, layout.dimensions());
        (parameters.pixel_format, parameters.frame_rate) = (Some(layout.format()), Some(rate));
        let frame_bytes = layout.stream_bytes().unwrap_or(0);
        let clock = options.clock.clone();
        let parameters = Arc::new(parameters);
        Self { name, reader, clock, layout, frame_bytes, rate, parameters, index: 0, is_done: false }
    }

    fn read_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        let mut frame = vec![0; self.frame_bytes];
        let mut filled = 0;
        while filled < frame.len() {
            let count = read_some(&mut self.reader, &mut frame[filled..], &self.name)?;
            if count == 0 {
                return Ok((filled > 0).then(|| self.cut_short(filled)));
            }
            filled += count;
        }
        let capture = CaptureTime::arrival(self.clock.unix_nanos());
        let pixels = self.layout.arrange(frame);
        let mut frame = RawFrame::new(self.layout.format(), self.layout.dimensions(), pixels, capture)
            .expect("the size was computed from format and dimensions");
        frame.pts = Some(ticks(self.index, self.rate));
        let media_time = due(self.index, self.rate);
        self.index += 1;
        Ok(Some(SourceItem::Raw { frame, media_time, is_discontinuity: false }))
    }

    fn cut_short(&mut self, filled: usize) -> SourceItem {
        let whole = self.frame_bytes as u64;
        let offset = self.index.saturating_mul(whole);
        let (name, length) = (Arc::clone(&self.name), offset.saturating_add(filled as u64));
        let error = SourceError::Truncated { name, what: "the last frame", offset, needed: whole, length };
        self.is_done = true;
        SourceItem::Damaged { error, frames: Some(1) }
    }
}

impl<R: Read + Send> Source for RawStreamSource<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if self.is_done {
            return Ok(None);
        }
        let item = self.read_frame();
        self.is_done |= !matches!(item, Ok(Some(_)));
        item
    }
}
