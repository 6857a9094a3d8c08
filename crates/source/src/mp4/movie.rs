//! The movie header: tracks, sample descriptions and edit lists (ISO/IEC 14496-12, 8.2 to 8.6).

use super::atom::{Atom, Defect, Parsed};
use super::fragment::Defaults;
use super::table::SampleTable;
use bytes::Bytes;
use lumenbus_frame::bitstream::{BitstreamError, DecoderConfiguration};
use lumenbus_frame::{Dimensions, FrameRate, Timebase};

/// Most sample descriptions that are looked at.
const MAX_DESCRIPTIONS: usize = 16;
/// Most edits that are looked at: only those before the first picture matter here.
const MAX_EDITS: u32 = 64;
/// Bytes of a visual sample entry before its inner boxes (12.1.3).
const VISUAL_ENTRY_BYTES: usize = 78;

/// How a track's samples are coded.
#[derive(Debug, Clone)]
pub(super) enum Coding {
    /// H.264 or H.265 with length prefixes.
    Nal(DecoderConfiguration),
    /// AV1 temporal units; the OBUs belong before each keyframe that lacks them.
    Av1 { codec_string: String, obus: Bytes },
    /// One JPEG each.
    Jpeg,
}

/// One sample description.
#[derive(Debug, Clone)]
pub(super) struct Description {
    pub(super) coding: Coding,
    pub(super) dimensions: Dimensions,
}

/// Why a movie cannot be used.
#[derive(Debug)]
pub(super) enum MovieError {
    Defect(Defect),
    Unsupported(String),
    Record(BitstreamError),
    NoVideo(u64),
}

impl From<Defect> for MovieError {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

/// The video track that is read.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) timebase: Timebase,
    pub(super) descriptions: Vec<Description>,
    pub(super) table: SampleTable,
    /// Added to presentation times: empty edits before the first picture, minus where the first edit begins.
    pub(super) shift: i64,
    pub(super) frame_rate: Option<FrameRate>,
    pub(super) defaults: Defaults,
}

impl Track {
    /// The first video track that can be read.
    pub(super) fn first_video(moov: &Atom) -> Result<Self, MovieError> {
        let (movie_scale, _) = time_scale(&moov.require(*b"mvhd", "a movie without header")?)?;
        let mut refused = None;
        for trak in moov.children(0)? {
            let trak = trak?;
            if trak.kind != *b"trak" || !is_video(&trak)? {
                continue;
            }
            match Self::parse(&trak, moov, movie_scale) {
                Ok(track) => return Ok(track),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or(MovieError::NoVideo(moov.start)))
    }

    fn parse(trak: &Atom, moov: &Atom, movie_scale: u32) -> Result<Self, MovieError> {
        let id = track_id(&trak.require(*b"tkhd", "a track without header")?)?;
        let mdia = trak.require(*b"mdia", "a track without media")?;
        let (scale, duration) = time_scale(&mdia.require(*b"mdhd", "media without header")?)?;
        let minf = mdia.require(*b"minf", "media without information")?;
        let stbl = minf.require(*b"stbl", "media without sample table")?;
        let descriptions = parse_descriptions(&stbl.require(*b"stsd", "a sample table without descriptions")?)?;
        let table = SampleTable::parse(&stbl)?;
        let defaults = fragment_defaults(moov, id)?;
        let frame_rate = frame_rate(scale, duration, &table, defaults);
        let timebase = Timebase { numerator: 1, denominator: scale };
        let shift = edit_shift(trak, movie_scale, scale)?;
        Ok(Self { id, timebase, descriptions, table, shift, frame_rate, defaults })
    }
}

fn is_video(trak: &Atom) -> Parsed<bool> {
    let Some(mdia) = trak.child(*b"mdia")? else { return Ok(false) };
    let Some(hdlr) = mdia.child(*b"hdlr")? else { return Ok(false) };
    let mut fields = hdlr.fields();
    fields.version()?;
    fields.u32("handler")?;
    Ok(fields.array("handler type")? == *b"vide")
}

fn track_id(tkhd: &Atom) -> Parsed<u32> {
    let mut fields = tkhd.fields();
    let (version, _) = fields.version()?;
    fields.take(if version == 1 { 16 } else { 8 }, "track header")?;
    fields.u32("track id")
}

/// Time scale and duration of `mvhd` and `mdhd`, which begin alike.
fn time_scale(header: &Atom) -> Parsed<(u32, u64)> {
    let mut fields = header.fields();
    let (version, _) = fields.version()?;
    fields.take(if version == 1 { 16 } else { 8 }, "media header")?;
    let scale = fields.u32("time scale")?;
    let duration = if version == 1 { fields.u64("duration")? } else { u64::from(fields.u32("duration")?) };
    if scale == 0 { Err(Defect { offset: header.start, what: "a time scale of 0" }) } else { Ok((scale, duration)) }
}

fn fragment_defaults(moov: &Atom, track_id: u32) -> Parsed<Defaults> {
    let Some(mvex) = moov.child(*b"mvex")? else { return Ok(Defaults::default()) };
    for trex in mvex.children(0)? {
        let trex = trex?;
        if trex.kind == *b"trex"
            && let Some(defaults) = Defaults::parse(&trex, track_id)?
        {
            return Ok(defaults);
        }
    }
    Ok(Defaults::default())
}

/// From the duration most samples have, else from the average.
fn frame_rate(scale: u32, duration: u64, table: &SampleTable, defaults: Defaults) -> Option<FrameRate> {
    let (ticks, count) = table.first_duration().unwrap_or((defaults.duration, 0));
    let is_steady = u64::from(count) * 10 >= u64::from(table.samples) * 9;
    let (frames, seconds) = if is_steady && ticks > 0 {
        (u64::from(scale), u64::from(ticks))
    } else {
        (u64::from(table.samples) * u64::from(scale), duration)
    };
    if frames == 0 || seconds == 0 || frames / seconds > 1000 {
        return None;
    }
    let divisor = common_divisor(frames, seconds);
    match (u32::try_from(frames / divisor), u32::try_from(seconds / divisor)) {
        (Ok(frames), Ok(seconds)) => Some(FrameRate { frames, seconds }),
        _ => u32::try_from(u128::from(frames) * 1000 / u128::from(seconds))
            .ok()
            .filter(|&frames| frames > 0)
            .map(|frames| FrameRate { frames, seconds: 1000 }),
    }
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// 8.6.6: the delay of empty edits and the begin of the first real one. Later edits are not followed.
fn edit_shift(trak: &Atom, movie_scale: u32, scale: u32) -> Parsed<i64> {
    let Some(edts) = trak.child(*b"edts")? else { return Ok(0) };
    let Some(elst) = edts.child(*b"elst")? else { return Ok(0) };
    let mut fields = elst.fields();
    let (version, _) = fields.version()?;
    let count = fields.u32("edits")?;
    let mut delay = 0_i64;
    for _ in 0..count.min(MAX_EDITS) {
        let (duration, begin) = if version == 1 {
            (fields.u64("edit")?, fields.i64("edit")?)
        } else {
            (u64::from(fields.u32("edit")?), i64::from(fields.i32("edit")?))
        };
        fields.u32("edit rate")?;
        if begin >= 0 {
            return Ok(delay.saturating_sub(begin));
        }
        let ticks = u128::from(duration) * u128::from(scale) / u128::from(movie_scale.max(1));
        delay = delay.saturating_add(i64::try_from(ticks).unwrap_or(i64::MAX));
    }
    Ok(delay)
}

fn parse_descriptions(stsd: &Atom) -> Result<Vec<Description>, MovieError> {
    let mut descriptions = Vec::new();
    for entry in stsd.children(8)?.take(MAX_DESCRIPTIONS) {
        descriptions.push(parse_entry(&entry?)?);
    }
    if descriptions.is_empty() {
        return Err(Defect { offset: stsd.start, what: "no sample description" }.into());
    }
    Ok(descriptions)
}

fn parse_entry(entry: &Atom) -> Result<Description, MovieError> {
    let mut fields = entry.fields();
    fields.take(24, "sample entry")?;
    let width = fields.u16("width")?;
    let height = fields.u16("height")?;
    let configuration =
        |kind, what| entry.children(VISUAL_ENTRY_BYTES)?.find(kind)?.ok_or(Defect { offset: entry.start, what });
    let coding = match &entry.kind {
        b"avc1" | b"avc3" => {
            let record = configuration(*b"avcC", "H.264 without avcC")?;
            Coding::Nal(DecoderConfiguration::from_avcc(&record.content).map_err(MovieError::Record)?)
        }
        b"hvc1" | b"hev1" => {
            let record = configuration(*b"hvcC", "H.265 without hvcC")?;
            Coding::Nal(DecoderConfiguration::from_hvcc(&record.content).map_err(MovieError::Record)?)
        }
        b"av01" => parse_av1(&configuration(*b"av1C", "AV1 without av1C")?)?,
        b"jpeg" | b"mjpg" | b"MJPG" | b"AVDJ" => Coding::Jpeg,
        other => return Err(MovieError::Unsupported(codec_name(*other))),
    };
    Ok(Description { coding, dimensions: Dimensions::new(u32::from(width), u32::from(height)) })
}

/// AV1 Codec ISO Media File Format Binding, 2.3.3 and 5.
fn parse_av1(record: &Atom) -> Parsed<Coding> {
    let mut fields = record.fields();
    let [_, profile_level, tier_depth, _] = fields.array("av1C")?;
    let tier = if tier_depth & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match tier_depth >> 5 & 3 {
        0 | 1 => 8,
        2 => 10,
        _ => 12,
    };
    let codec_string = format!("av01.{}.{:02}{tier}.{depth:02}", profile_level >> 5, profile_level & 31);
    Ok(Coding::Av1 { codec_string, obus: fields.rest() })
}

fn codec_name(kind: [u8; 4]) -> String {
    let known = match &kind {
        b"mp4v" => "MPEG-4 part 2",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" => "ProRes",
        b"encv" => "encrypted video",
        b"mjp2" => "Motion JPEG 2000",
        b"dvh1" | b"dvhe" => "Dolby Vision",
        _ => "the codec",
    };
    format!("{known} ({})", kind.escape_ascii())
}
