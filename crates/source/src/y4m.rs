//! YUV4MPEG2 (`.y4m`): uncompressed frames behind a line of text each.

use crate::input::io_error;
use crate::item::{due, ticks};
use crate::stream_format::MAX_FRAME_BYTES;
use crate::{Source, SourceError, SourceItem, SourceOptions};
use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Clock, Codec, Dimensions, FrameRate, PixelFormat, RawFrame, StreamParameters};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

/// Longest header line.
const MAX_LINE_BYTES: u64 = 4096;

/// Reads 8-bit 4:2:0 and monochrome frames.
pub struct Y4mSource<R> {
    name: Arc<str>,
    reader: BufReader<R>,
    clock: Arc<dyn Clock>,
    format: PixelFormat,
    frame_bytes: usize,
    rate: FrameRate,
    parameters: Arc<StreamParameters>,
    offset: u64,
    index: u64,
    is_done: bool,
}

/// The parameters of the first line.
struct Header {
    dimensions: Dimensions,
    rate: Option<FrameRate>,
    format: PixelFormat,
}

impl<R: Read + Send> Y4mSource<R> {
    /// Reads the stream header.
    pub fn new(name: Arc<str>, reader: R, options: &SourceOptions) -> Result<Self, SourceError> {
        let mut reader = BufReader::with_capacity(256 * 1024, reader);
        let line = read_line(&mut reader, &name, 0)?.ok_or_else(|| SourceError::Empty { name: name.clone() })?;
        let header = parse_header(&name, &line)?;
        let rate = options.frame_rate.or(header.rate).unwrap_or(crate::DEFAULT_RATE);
        let frame_bytes =
            header.format.frame_bytes(header.dimensions).filter(|&bytes| (1..=MAX_FRAME_BYTES).contains(&bytes));
        let frame_bytes = frame_bytes.ok_or_else(|| SourceError::Malformed {
            name: name.clone(),
            offset: 0,
            what: "a picture size that is 0 or beyond 400 MiB a frame",
        })?;
        let mut parameters = StreamParameters::new(Codec::Raw, header.dimensions);
        parameters.pixel_format = Some(header.format);
        parameters.frame_rate = Some(rate);
        Ok(Self {
            name,
            reader,
            clock: options.clock.clone(),
            format: header.format,
            frame_bytes,
            rate,
            parameters: Arc::new(parameters),
            offset: line.len() as u64 + 1,
            index: 0,
            is_done: false,
        })
    }

    fn read_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        let Some(line) = read_line(&mut self.reader, &self.name, self.offset)? else { return Ok(None) };
        if !line.starts_with(b"FRAME") {
            let what = "no FRAME line where one must be";
            return Err(SourceError::Malformed { name: self.name.clone(), offset: self.offset, what });
        }
        self.offset += line.len() as u64 + 1;
        let mut pixels = vec![0; self.frame_bytes];
        match self.reader.read_exact(&mut pixels) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(self.cut_short())),
            Err(error) => return Err(io_error(&self.name, "read", error)),
        }
        self.offset += self.frame_bytes as u64;
        let capture = CaptureTime::arrival(self.clock.unix_nanos());
        let mut frame = RawFrame::new(self.format, self.parameters.dimensions, Bytes::from(pixels), capture)
            .expect("the size was computed from format and dimensions");
        frame.pts = Some(ticks(self.index, self.rate));
        let media_time = due(self.index, self.rate);
        self.index += 1;
        Ok(Some(SourceItem::Raw { frame, media_time, is_discontinuity: false }))
    }

    fn cut_short(&mut self) -> SourceItem {
        self.is_done = true;
        let what = "the last frame is incomplete";
        let error = SourceError::Malformed { name: self.name.clone(), offset: self.offset, what };
        SourceItem::Damaged { error, frames: Some(1) }
    }
}

impl<R: Read + Send> Source for Y4mSource<R> {
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

/// A line without its newline; `None` at the end of the file.
fn read_line<R: BufRead>(reader: &mut R, name: &Arc<str>, offset: u64) -> Result<Option<Vec<u8>>, SourceError> {
    let mut line = Vec::new();
    let read = reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
    read.map_err(|source| io_error(name, "read", source))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        let what = "a header line without end";
        return Err(SourceError::Malformed { name: name.clone(), offset, what });
    }
    Ok(Some(line))
}

fn parse_header(name: &Arc<str>, line: &[u8]) -> Result<Header, SourceError> {
    let malformed = |what| SourceError::Malformed { name: name.clone(), offset: 0, what };
    let text = std::str::from_utf8(line).map_err(|_| malformed("a header that is not text"))?;
    let mut words = text.split(' ');
    if words.next() != Some("YUV4MPEG2") {
        return Err(malformed("no YUV4MPEG2 at the beginning"));
    }
    let (mut width, mut height, mut rate, mut colour) = (0, 0, None, "420");
    for word in words.filter(|word| !word.is_empty()) {
        let (tag, value) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        match tag {
            "W" => width = value.parse().map_err(|_| malformed("a width that is not a number"))?,
            "H" => height = value.parse().map_err(|_| malformed("a height that is not a number"))?,
            "F" => rate = parse_rate(value),
            "C" => colour = value,
            _ => {} // interlacing, aspect ratio, comments
        }
    }
    let format = match colour {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => PixelFormat::I420,
        "mono" => PixelFormat::Gray8,
        other => {
            let what = format!("Y4M with colour space C{}", other.chars().take(32).collect::<String>());
            let remedy = "convert it to 8-bit 4:2:0, for example with `ffmpeg -i in.y4m -pix_fmt yuv420p out.y4m`";
            return Err(SourceError::Unsupported { name: name.clone(), what, remedy });
        }
    };
    Ok(Header { dimensions: Dimensions::new(width, height), rate, format })
}

/// `30000:1001`; `0:0` means unknown.
fn parse_rate(value: &str) -> Option<FrameRate> {
    let (frames, seconds) = value.split_once(':')?;
    let rate = FrameRate { frames: frames.parse().ok()?, seconds: seconds.parse().ok()? };
    (rate.frames > 0 && rate.seconds > 0).then_some(rate)
}
