//! MP4 and MOV (ISO/IEC 14496-12, 14496-15), whole or in fragments.
//!
//! Only the movie header is held; samples are read from the file one by one.

mod atom;
mod fragment;
mod movie;
mod table;

use crate::input::Input;
use crate::nal_stream::{NalStream, Rates};
use crate::{Source, SourceError, SourceItem, SourceOptions, jpeg};
use atom::{Atom, Defect};
use bytes::Bytes;
use fragment::Fragment;
use lumenbus_frame::bitstream::{MAX_ACCESS_UNIT_BYTES, Normaliser};
use lumenbus_frame::{CaptureTime, Clock, Codec, EncodedFrame, StreamParameters};
use movie::{Coding, Description, MovieError, Track};
use std::io::{Read, Seek};
use std::sync::Arc;
use std::time::Duration;
use table::{Sample, SampleCursor};

/// Largest movie header that is loaded: about a week at 30/s.
pub const MAX_MOVIE_HEADER_BYTES: usize = 128 * 1024 * 1024;
/// Largest header of one movie fragment.
pub const MAX_FRAGMENT_HEADER_BYTES: usize = 8 * 1024 * 1024;
/// Most top-level boxes before the movie header.
const MAX_BOXES_BEFORE_HEADER: u32 = 10_000;

/// What a refused codec needs.
pub(crate) const FFMPEG: &str = "a build with the `ffmpeg` feature can";

/// A top-level box in the file.
#[derive(Debug, Clone, Copy)]
struct FileBox {
    kind: [u8; 4],
    offset: u64,
    content: u64,
    end: u64,
}

/// How samples become frames.
enum Stage {
    Nal(NalStream),
    Av1 { obus: Bytes },
    Jpeg,
}

/// Reads the first usable video track of an MP4 or MOV file: H.264, H.265, AV1 or JPEG.
///
/// Frames come in decode order with the file's own pts, shifted by its edit list; pictures before the first edit's
/// begin are given too (their pts is negative), since others may refer to them. H.264 and H.265 come in Annex B with
/// parameter sets before every keyframe.
pub struct Mp4Source<R> {
    input: Input<R>,
    clock: Arc<dyn Clock>,
    track: Track,
    cursor: SampleCursor,
    fragment: Fragment,
    next_box: u64,
    stage: Stage,
    description: u32,
    parameters: Arc<StreamParameters>,
    sample: u64,
    first_decode: Option<i64>,
    media_time: Duration,
    /// Read ahead while counting samples that cannot be used.
    peeked: Option<Sample>,
    is_done: bool,
}

impl<R: Read + Seek + Send> Mp4Source<R> {
    /// Reads the movie header.
    pub fn new(name: Arc<str>, reader: R, options: &SourceOptions) -> Result<Self, SourceError> {
        let mut input = Input::new(name, reader)?;
        let (moov, next_box) = find_movie(&mut input)?;
        let track = Track::first_video(&moov).map_err(|error| refuse(&input, error))?;
        let first = &track.descriptions[0];
        let (stage, parameters) = open_stage(&input, first, &track, options)?;
        Ok(Self {
            input,
            clock: options.clock.clone(),
            cursor: SampleCursor::default(),
            fragment: Fragment::default(),
            next_box,
            stage,
            description: 0,
            parameters,
            track,
            sample: 0,
            first_decode: None,
            media_time: Duration::ZERO,
            peeked: None,
            is_done: false,
        })
    }

    fn next_sample(&mut self) -> Result<Option<Sample>, SourceError> {
        if let Some(sample) = self.peeked.take() {
            return Ok(Some(sample));
        }
        if let Some(sample) = self.cursor.next(&self.track.table) {
            return Ok(Some(sample));
        }
        loop {
            match self.fragment.next() {
                Ok(Some(sample)) => return Ok(Some(sample)),
                Ok(None) => {}
                Err(defect) => return Err(self.input.malformed(defect.offset, defect.what)),
            }
            if !self.read_fragment()? {
                return Ok(None);
            }
        }
    }

    /// Goes to the next `moof`; false at the end of the file.
    fn read_fragment(&mut self) -> Result<bool, SourceError> {
        while let Some(found) = next_box(&mut self.input, self.next_box)? {
            self.next_box = found.end;
            if found.kind == *b"moof" {
                let moof = load(&mut self.input, found, "a movie fragment", MAX_FRAGMENT_HEADER_BYTES)?;
                self.fragment
                    .parse(&moof, found.offset, self.track.id, self.track.defaults)
                    .map_err(|defect| self.input.malformed(defect.offset, defect.what))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Why a sample cannot even be read.
    fn defect_of(&self, sample: &Sample) -> Option<SourceError> {
        let bytes = u64::from(sample.bytes);
        let limit = MAX_ACCESS_UNIT_BYTES as u64;
        if bytes == 0 {
            return Some(self.input.malformed(sample.offset, "an empty sample"));
        }
        if sample.offset.checked_add(bytes).is_none_or(|end| end > self.input.length) {
            return Some(self.input.truncated("a sample", sample.offset, bytes));
        }
        (bytes > limit).then(|| SourceError::TooLarge {
            name: self.input.name.clone(),
            what: "a sample",
            offset: sample.offset,
            bytes,
            limit,
        })
    }

    /// Counts the unusable samples from here on: a file cut short has very many in a row.
    fn skip_defects(&mut self, error: SourceError) -> Result<SourceItem, SourceError> {
        let mut frames = 1;
        while let Some(sample) = self.next_sample()? {
            if self.defect_of(&sample).is_none() {
                self.peeked = Some(sample);
                break;
            }
            frames += 1;
        }
        self.sample += frames;
        Ok(SourceItem::Damaged { error, frames: Some(frames) })
    }

    fn read_sample(&mut self, sample: Sample) -> Result<SourceItem, SourceError> {
        let bytes = self.input.read_at("a sample", sample.offset, u64::from(sample.bytes), MAX_ACCESS_UNIT_BYTES)?;
        self.switch_description(sample.description)?;
        let unit = self.sample;
        self.sample += 1;
        let capture = CaptureTime::arrival(self.clock.unix_nanos());
        let mut frame = match self.decode_frame(&bytes, sample, capture) {
            Ok(frame) => frame,
            Err(StageError::Bitstream(source)) => {
                let error = SourceError::Bitstream { name: self.input.name.clone(), unit, source };
                return Ok(SourceItem::Damaged { error, frames: Some(1) });
            }
            Err(StageError::Picture(what)) => {
                let error = self.input.malformed(sample.offset, what);
                return Ok(SourceItem::Damaged { error, frames: Some(1) });
            }
        };
        let shown = sample.decode.saturating_add(i64::from(sample.composition)).saturating_add(self.track.shift);
        frame.pts = Some(shown);
        if let Some(parameters) = &frame.parameters {
            self.parameters = parameters.clone();
        }
        Ok(SourceItem::Encoded { frame, media_time: self.advance_media_time(sample.decode) })
    }

    fn advance_media_time(&mut self, decode: i64) -> Duration {
        let first = *self.first_decode.get_or_insert(decode);
        let nanos = self.track.timebase.nanos(decode.saturating_sub(first));
        self.media_time = self.media_time.max(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)));
        self.media_time
    }

    fn switch_description(&mut self, index: u32) -> Result<(), SourceError> {
        if index == self.description {
            return Ok(());
        }
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(description) = self.track.descriptions.get(position) else {
            return Ok(()); // a wrong number; the samples themselves will tell
        };
        if let (Stage::Nal(stream), Coding::Nal(record)) = (&mut self.stage, &description.coding)
            && stream.normaliser.codec() == record.codec
        {
            stream.normaliser.apply(record).map_err(|source| SourceError::Bitstream {
                name: self.input.name.clone(),
                unit: self.sample,
                source,
            })?;
        }
        self.description = index;
        Ok(())
    }

    fn decode_frame(
        &mut self,
        bytes: &Bytes,
        sample: Sample,
        capture: CaptureTime,
    ) -> Result<EncodedFrame, StageError> {
        match &mut self.stage {
            Stage::Nal(stream) => stream.frame(bytes, capture).map(|(frame, _)| frame).map_err(StageError::Bitstream),
            Stage::Av1 { obus } => {
                let mut frame = EncodedFrame::new(Codec::Av1, capture, bytes.clone());
                frame.is_keyframe = sample.is_sync;
                if sample.is_sync {
                    frame.payload = with_sequence_header(obus, bytes);
                    frame.parameters = Some(self.parameters.clone());
                }
                Ok(frame)
            }
            Stage::Jpeg => {
                let picture = jpeg::complete(bytes).map_err(|defect| StageError::Picture(defect.what))?;
                let mut parameters = StreamParameters::clone(&self.parameters);
                parameters.dimensions = picture.dimensions;
                let frame = EncodedFrame::new(Codec::Jpeg, capture, picture.bytes);
                Ok(frame.with_parameters(Arc::new(parameters)))
            }
        }
    }
}

/// Why one sample is no frame.
enum StageError {
    Bitstream(lumenbus_frame::bitstream::BitstreamError),
    Picture(&'static str),
}

impl<R: Read + Seek + Send> Source for Mp4Source<R> {
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
        let sample = self.next_sample().inspect_err(|_| self.is_done = true)?;
        let Some(sample) = sample else {
            self.is_done = true;
            return Ok(None);
        };
        match self.defect_of(&sample) {
            Some(error) => self.skip_defects(error).map(Some),
            None => self.read_sample(sample).map(Some),
        }
    }
}

/// A keyframe's temporal unit begins with the sequence header, also where the file keeps it apart (AV1, 7.5).
fn with_sequence_header(obus: &Bytes, unit: &Bytes) -> Bytes {
    const SEQUENCE_HEADER: u8 = 1;
    const TEMPORAL_DELIMITER: u8 = 2;
    let kind = unit.first().map(|&header| header >> 3 & 15);
    if obus.is_empty() || matches!(kind, Some(SEQUENCE_HEADER | TEMPORAL_DELIMITER)) {
        return unit.clone();
    }
    Bytes::from([&obus[..], &unit[..]].concat())
}

fn open_stage<R: Read + Seek>(
    input: &Input<R>,
    description: &Description,
    track: &Track,
    options: &SourceOptions,
) -> Result<(Stage, Arc<StreamParameters>), SourceError> {
    let rate = options.frame_rate.or(track.frame_rate);
    let mut parameters = StreamParameters::new(Codec::Jpeg, description.dimensions);
    parameters.timebase = track.timebase;
    parameters.frame_rate = rate;
    let stage = match &description.coding {
        Coding::Nal(record) => {
            let normaliser = Normaliser::length_prefixed(record).map_err(|source| SourceError::Bitstream {
                name: input.name.clone(),
                unit: 0,
                source,
            })?;
            let stream = NalStream::new(normaliser, track.timebase, Rates { stated: rate, fallback: None });
            parameters.codec = record.codec.into();
            if let Some(known) = stream.parameters() {
                parameters = StreamParameters::clone(known);
            }
            Stage::Nal(stream)
        }
        Coding::Av1 { codec_string, obus } => {
            parameters.codec = Codec::Av1;
            parameters.codec_string = Some(codec_string.clone());
            Stage::Av1 { obus: obus.clone() }
        }
        Coding::Jpeg => Stage::Jpeg,
    };
    Ok((stage, Arc::new(parameters)))
}

fn refuse<R: Read + Seek>(input: &Input<R>, error: MovieError) -> SourceError {
    match error {
        MovieError::Defect(Defect { offset, what }) => input.malformed(offset, what),
        MovieError::NoVideo(offset) => input.malformed(offset, "a movie without a video track"),
        MovieError::Unsupported(what) => SourceError::Unsupported { name: input.name.clone(), what, remedy: FFMPEG },
        MovieError::Record(source) => SourceError::Bitstream { name: input.name.clone(), unit: 0, source },
    }
}

/// The header of the top-level box at `offset`; `None` at the end of the file.
fn next_box<R: Read + Seek>(input: &mut Input<R>, offset: u64) -> Result<Option<FileBox>, SourceError> {
    if offset.checked_add(8).is_none_or(|end| end > input.length) {
        return Ok(None);
    }
    let header = input.read_at("a box header", offset, 8, 8)?;
    let short = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let kind = [header[4], header[5], header[6], header[7]];
    let (header_bytes, size) = match short {
        0 => (8, input.length - offset),
        1 => {
            let large = input.read_at("a large box size", offset + 8, 8, 8)?;
            (16, u64::from_be_bytes(*large.first_chunk().expect("eight bytes were read")))
        }
        _ => (8, u64::from(short)),
    };
    let end = offset.checked_add(size).filter(|_| size >= header_bytes);
    let end = end.ok_or_else(|| input.malformed(offset, "an impossible box size"))?;
    Ok(Some(FileBox { kind, offset, content: offset + header_bytes, end }))
}

fn load<R: Read + Seek>(
    input: &mut Input<R>,
    found: FileBox,
    what: &'static str,
    limit: usize,
) -> Result<Atom, SourceError> {
    let content = input.read_at(what, found.content, found.end - found.content, limit)?;
    Ok(Atom { kind: found.kind, start: found.content, content })
}

/// The movie header and where the box after it begins.
fn find_movie<R: Read + Seek>(input: &mut Input<R>) -> Result<(Atom, u64), SourceError> {
    let mut offset = 0;
    for _ in 0..MAX_BOXES_BEFORE_HEADER {
        let Some(found) = next_box(input, offset)? else { break };
        if found.kind == *b"moov" {
            let moov = load(input, found, "the movie header (moov)", MAX_MOVIE_HEADER_BYTES)?;
            return Ok((moov, found.end));
        }
        offset = found.end;
    }
    if offset > input.length {
        return Err(input.truncated("a box", 0, offset));
    }
    Err(input.malformed(offset, "no movie header (moov); the recording was perhaps not closed"))
}
