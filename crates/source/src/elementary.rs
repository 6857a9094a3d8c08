//! Raw H.264 and H.265 byte streams (`.264`, `.h264`, `.265`, `.h265`; annex B).

use crate::input::read_some;
use crate::item::{due, ticks};
use crate::nal_stream::{NalStream, Rates};
use crate::{Source, SourceError, SourceItem, SourceOptions};
use lumenbus_frame::bitstream::{
    AccessUnitSplitter, BitstreamError, DisplayOrder, MAX_ACCESS_UNIT_BYTES, NalCodec, Normaliser,
};
use lumenbus_frame::{CaptureTime, Clock, EncodedFrame, FrameRate, StreamParameters, Timebase};
use std::io::Read;
use std::sync::Arc;

/// Bytes read at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// How far the first parameter sets are looked for.
const MAX_SEARCH_BYTES: u64 = 2 * MAX_ACCESS_UNIT_BYTES as u64;
/// Units, good or not, among which they are looked for.
const MAX_SEARCH_UNITS: u64 = 4096;

enum Pending {
    Frame(EncodedFrame),
    Damage { error: SourceError, frames: Option<u64> },
}

/// Reads access units from a byte stream without timestamps.
///
/// Frames come in decode order. Their pts is their place in presentation order (by picture order count) times the
/// frame interval, on the 90 kHz clock; the rate is the one asked for, else the stream's own, else
/// [`DEFAULT_RATE`](crate::DEFAULT_RATE). A unit that is lost keeps its place.
pub struct ElementarySource<R> {
    name: Arc<str>,
    reader: R,
    clock: Arc<dyn Clock>,
    splitter: AccessUnitSplitter,
    stream: NalStream,
    order: DisplayOrder<Pending>,
    parameters: Arc<StreamParameters>,
    rate: FrameRate,
    chunk: Box<[u8]>,
    read_bytes: u64,
    units: u64,
    given: u64,
    /// The file has been read to its end.
    has_ended: bool,
    /// And everything in it has been put into order.
    is_done: bool,
}

impl<R: Read + Send> ElementarySource<R> {
    /// Reads up to the first parameter sets.
    pub fn new(name: Arc<str>, reader: R, codec: NalCodec, options: &SourceOptions) -> Result<Self, SourceError> {
        let rates = Rates { stated: options.frame_rate, fallback: Some(crate::DEFAULT_RATE) };
        let mut source = Self {
            name,
            reader,
            clock: options.clock.clone(),
            splitter: AccessUnitSplitter::new(codec),
            stream: NalStream::new(Normaliser::annex_b(codec), Timebase::MPEG, rates),
            order: DisplayOrder::default(),
            parameters: Arc::new(StreamParameters::new(codec.into(), lumenbus_frame::Dimensions::new(0, 0))),
            rate: crate::DEFAULT_RATE,
            chunk: vec![0; CHUNK_BYTES].into_boxed_slice(),
            read_bytes: 0,
            units: 0,
            given: 0,
            has_ended: false,
            is_done: false,
        };
        source.find_parameters()?;
        Ok(source)
    }

    fn find_parameters(&mut self) -> Result<(), SourceError> {
        while self.stream.parameters().is_none() {
            if self.is_done || self.read_bytes > MAX_SEARCH_BYTES || self.units > MAX_SEARCH_UNITS {
                return Err(SourceError::NoParameters { name: self.name.clone(), searched_bytes: self.read_bytes });
            }
            self.advance()?;
        }
        self.parameters = self.stream.parameters().expect("the loop ends when they are known").clone();
        self.rate = self.parameters.frame_rate.unwrap_or(crate::DEFAULT_RATE);
        Ok(())
    }

    /// One unit, or one chunk, further.
    fn advance(&mut self) -> Result<(), SourceError> {
        match self.splitter.next_unit() {
            Ok(Some(unit)) => self.take_unit(&unit),
            Ok(None) if self.has_ended => {
                self.order.finish();
                self.is_done = true;
            }
            Ok(None) => self.read_chunk()?,
            Err(error) => {
                let frames = match error {
                    BitstreamError::TooLarge { lost_units, .. } => Some(lost_units),
                    _ => None,
                };
                self.lose(error, frames);
            }
        }
        Ok(())
    }

    fn read_chunk(&mut self) -> Result<(), SourceError> {
        let count = read_some(&mut self.reader, &mut self.chunk, &self.name)?;
        self.read_bytes += count as u64;
        self.splitter.push(&self.chunk[..count]);
        if count == 0 {
            self.splitter.finish();
            self.has_ended = true;
        }
        Ok(())
    }

    fn take_unit(&mut self, unit: &bytes::Bytes) {
        match self.stream.frame(unit, CaptureTime::arrival(0)) {
            Ok((frame, unit)) => {
                let reorder = self.stream.normaliser.sequence_reorder();
                let bytes = frame.payload.len();
                self.order.push(Pending::Frame(frame), bytes, unit.order, reorder);
                self.units += 1;
            }
            Err(error) => self.lose(error, Some(1)),
        }
    }

    fn lose(&mut self, source: BitstreamError, frames: Option<u64>) {
        let error = SourceError::Bitstream { name: self.name.clone(), unit: self.units, source };
        self.order.push(Pending::Damage { error, frames }, 0, None, 0);
        self.units += frames.unwrap_or(0);
    }

    fn item(&mut self, pending: Pending, place: u64) -> SourceItem {
        match pending {
            Pending::Frame(mut frame) => {
                frame.pts = Some(ticks(place, self.rate));
                frame.capture = CaptureTime::arrival(self.clock.unix_nanos());
                if let Some(parameters) = &frame.parameters {
                    self.parameters = parameters.clone();
                }
                let media_time = due(self.given, self.rate);
                self.given += 1;
                SourceItem::Encoded { frame, media_time }
            }
            Pending::Damage { error, frames } => {
                self.given += frames.unwrap_or(0);
                SourceItem::Damaged { error, frames }
            }
        }
    }
}

impl<R: Read + Send> Source for ElementarySource<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        loop {
            if let Some((pending, place)) = self.order.pop() {
                return Ok(Some(self.item(pending, place)));
            }
            if self.is_done {
                return Ok(None);
            }
            self.advance()?;
        }
    }
}
