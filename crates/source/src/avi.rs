//! Motion JPEG in AVI (Microsoft AVI RIFF; OpenDML 1.02 for files above 1 GB).

use crate::input::Input;
use crate::item::due;
use crate::mp4::FFMPEG;
use crate::{Source, SourceError, SourceItem, SourceOptions, jpeg};
use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Clock, Codec, Dimensions, EncodedFrame, FrameRate, StreamParameters, Timebase};
use std::io::{Read, Seek};
use std::sync::Arc;

/// Largest header list that is loaded.
const MAX_HEADER_BYTES: usize = 1024 * 1024;
/// Largest single picture.
const MAX_PICTURE_BYTES: usize = 64 * 1024 * 1024;
/// Most chunks looked at in one step.
const MAX_CHUNKS_BETWEEN_PICTURES: u32 = 1 << 20;

/// The video stream as its header states it.
#[derive(Debug)]
struct VideoStream {
    /// Its number, as in the chunk name `00dc`.
    number: u8,
    codec: [u8; 4],
    dimensions: Dimensions,
    /// Seconds per frame.
    interval: Option<Timebase>,
}

/// Reads the pictures of an AVI file in order. The index is not used, so that files without one can be read.
pub struct AviSource<R> {
    input: Input<R>,
    clock: Arc<dyn Clock>,
    number: u8,
    rate: FrameRate,
    parameters: Arc<StreamParameters>,
    offset: u64,
    index: u64,
    is_done: bool,
}

struct Chunk {
    kind: [u8; 4],
    content: u64,
    bytes: u64,
}

impl Chunk {
    /// Chunks are padded to even lengths.
    fn end(&self) -> u64 {
        self.content + self.bytes + (self.bytes & 1)
    }

    fn is_list(&self) -> bool {
        matches!(&self.kind, b"LIST" | b"RIFF")
    }
}

impl<R: Read + Seek + Send> AviSource<R> {
    /// Reads the headers up to the first picture.
    pub fn new(name: Arc<str>, reader: R, options: &SourceOptions) -> Result<Self, SourceError> {
        let mut input = Input::new(name, reader)?;
        let (header, offset) = find_header(&mut input)?;
        let Some(video) = find_video(&header) else {
            return Err(input.malformed(12, "an AVI file without a video stream header"));
        };
        if !matches!(&video.codec, b"MJPG" | b"mjpg" | b"AVRn" | b"JPEG" | b"jpeg" | b"DMB1") {
            let what = codec_name(video.codec);
            return Err(SourceError::Unsupported { name: input.name.clone(), what, remedy: FFMPEG });
        }
        let stated = video.interval.map(|base| FrameRate { frames: base.denominator, seconds: base.numerator });
        let rate = options.frame_rate.or(stated).unwrap_or(crate::DEFAULT_RATE);
        let mut parameters = StreamParameters::new(Codec::Jpeg, video.dimensions);
        parameters.timebase = Timebase { numerator: rate.seconds, denominator: rate.frames };
        parameters.frame_rate = Some(rate);
        Ok(Self {
            input,
            clock: options.clock.clone(),
            number: video.number,
            rate,
            parameters: Arc::new(parameters),
            offset,
            index: 0,
            is_done: false,
        })
    }

    /// The next chunk of the video stream.
    fn next_picture(&mut self) -> Result<Option<Chunk>, SourceError> {
        for _ in 0..MAX_CHUNKS_BETWEEN_PICTURES {
            let Some(chunk) = next_chunk(&mut self.input, self.offset)? else { return Ok(None) };
            if chunk.is_list() {
                self.offset = chunk.content + 4; // go inside; the lists of OpenDML follow one after the other
                continue;
            }
            self.offset = chunk.end();
            if self.is_picture(chunk.kind) {
                return Ok(Some(chunk));
            }
        }
        Err(self.input.malformed(self.offset, "very many chunks without a picture"))
    }

    fn is_picture(&self, kind: [u8; 4]) -> bool {
        let digit = |byte: u8| (byte as char).to_digit(16);
        let number = digit(kind[0]).zip(digit(kind[1])).map(|(high, low)| high * 16 + low);
        number == Some(u32::from(self.number)) && matches!(&kind[2..], b"dc" | b"db")
    }

    fn read_picture(&mut self, chunk: &Chunk) -> Result<SourceItem, SourceError> {
        let bytes = match self.input.read_at("a picture", chunk.content, chunk.bytes, MAX_PICTURE_BYTES) {
            Ok(bytes) => bytes,
            Err(error @ SourceError::Io { .. }) => return Err(error),
            Err(error) => return Ok(self.lose(error)),
        };
        if bytes.is_empty() {
            // An empty chunk repeats the picture before: time goes on, there is nothing to give.
            return Ok(
                self.lose(self.input.malformed(chunk.content, "an empty picture (the one before is shown longer)"))
            );
        }
        match jpeg::complete(&bytes) {
            Ok(picture) => Ok(self.give(picture)),
            Err(defect) => Ok(self.lose(self.input.malformed(chunk.content + defect.at as u64, defect.what))),
        }
    }

    fn lose(&mut self, error: SourceError) -> SourceItem {
        self.index += 1;
        SourceItem::Damaged { error, frames: Some(1) }
    }

    fn give(&mut self, picture: jpeg::Picture) -> SourceItem {
        if self.parameters.dimensions != picture.dimensions {
            let mut parameters = StreamParameters::clone(&self.parameters);
            parameters.dimensions = picture.dimensions;
            self.parameters = Arc::new(parameters);
        }
        let capture = CaptureTime::arrival(self.clock.unix_nanos());
        let frame = EncodedFrame::new(Codec::Jpeg, capture, picture.bytes)
            .with_pts(i64::try_from(self.index).unwrap_or(i64::MAX))
            .with_parameters(self.parameters.clone());
        let media_time = due(self.index, self.rate);
        self.index += 1;
        SourceItem::Encoded { frame, media_time }
    }
}

impl<R: Read + Seek + Send> Source for AviSource<R> {
    fn name(&self) -> &str {
        &self.input.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if self.is_done {
            return Ok(None);
        }
        match self.next_picture().inspect_err(|_| self.is_done = true)? {
            Some(chunk) => self.read_picture(&chunk).map(Some),
            None => {
                self.is_done = true;
                Ok(None)
            }
        }
    }
}

/// The chunk at `offset`; `None` behind the last one.
fn next_chunk<R: Read + Seek>(input: &mut Input<R>, offset: u64) -> Result<Option<Chunk>, SourceError> {
    if offset.checked_add(8).is_none_or(|end| end > input.length) {
        return Ok(None);
    }
    let header = input.read_at("a chunk header", offset, 8, 8)?;
    let kind = [header[0], header[1], header[2], header[3]];
    let bytes = u64::from(u32::from_le_bytes([header[4], header[5], header[6], header[7]]));
    if !kind.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return Err(input.malformed(offset, "no chunk where one must begin"));
    }
    Ok(Some(Chunk { kind, content: offset + 8, bytes }))
}

/// The content of `hdrl`, and where the `movi` list's chunks begin.
fn find_header<R: Read + Seek>(input: &mut Input<R>) -> Result<(Bytes, u64), SourceError> {
    let mut offset = 12;
    let mut header = None;
    while let Some(chunk) = next_chunk(input, offset)? {
        if chunk.is_list() && chunk.bytes >= 4 {
            let list = input.read_at("a list", chunk.content, 4, 4)?;
            match &list[..] {
                b"hdrl" => {
                    header =
                        Some(input.read_at("the header list", chunk.content + 4, chunk.bytes - 4, MAX_HEADER_BYTES)?);
                }
                b"movi" => {
                    let header = header.ok_or_else(|| input.malformed(offset, "pictures before any header"))?;
                    return Ok((header, chunk.content + 4));
                }
                _ => {}
            }
        }
        offset = chunk.end();
    }
    Err(input.malformed(offset, "an AVI file without pictures (no movi list)"))
}

/// Walks chunks in memory.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (header, after) = rest.split_first_chunk::<8>()?;
        let bytes = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let content = after.get(..usize::try_from(bytes).ok()?)?;
        rest = after.get(content.len() + (content.len() & 1)..).unwrap_or_default();
        Some(([header[0], header[1], header[2], header[3]], content))
    })
}

/// The first `strl` of a video stream.
fn find_video(header: &[u8]) -> Option<VideoStream> {
    let streams =
        chunks(header).filter_map(|(kind, content)| (&kind == b"LIST").then_some(content)?.strip_prefix(b"strl"));
    streams.zip(0_u8..100).find_map(|(stream, number)| {
        let find = |name| chunks(stream).find(|(kind, _)| kind == name).map(|(_, content)| content);
        let strh = find(b"strh")?;
        if strh.get(..4)? != b"vids" {
            return None;
        }
        let format = find(b"strf")?;
        let word = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        };
        let (scale, rate) = (word(strh, 20)?, word(strh, 24)?);
        let is_rate = scale > 0 && rate > 0 && rate / scale <= 1000;
        // A negative height says that rows run from top to bottom.
        let height = word(format, 8)?.cast_signed().unsigned_abs();
        Some(VideoStream {
            number,
            codec: *format.get(16..)?.first_chunk()?,
            dimensions: Dimensions::new(word(format, 4)?, height),
            interval: is_rate.then_some(Timebase { numerator: scale, denominator: rate }),
        })
    })
}

fn codec_name(code: [u8; 4]) -> String {
    let upper = code.map(|byte| byte.to_ascii_uppercase());
    let known = match &upper {
        b"MP43" | b"DIV3" | b"DIV4" | b"DIV5" | b"DIV6" | b"MPG3" | b"AP41" => "MS-MPEG4 v3",
        b"MP42" | b"DIV2" => "MS-MPEG4 v2",
        b"MPG4" | b"DIV1" | b"MP41" => "MS-MPEG4 v1",
        b"XVID" | b"DIVX" | b"DX50" | b"FMP4" | b"MP4V" => "MPEG-4 part 2",
        b"H264" | b"X264" | b"AVC1" => "H.264 in AVI",
        b"HEVC" | b"H265" => "H.265 in AVI",
        b"WMV1" | b"WMV2" | b"WMV3" => "Windows Media Video",
        b"CVID" => "Cinepak",
        b"IV50" | b"IV41" | b"IV32" => "Indeo",
        [0, 0, 0, 0] => "uncompressed RGB in AVI",
        b"YUY2" | b"UYVY" | b"I420" | b"YV12" => "uncompressed YUV in AVI",
        _ => "the codec",
    };
    format!("{known} ({})", code.escape_ascii())
}
