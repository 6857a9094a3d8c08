//! One setting of one encoder over a clip.

use super::series::{Common, Series, Setting};
use super::vmaf::Vmaf;
use crate::bench::decoded::pictures::Pictures;
use crate::bench::usage;
use lumenbus_codec::quality::{Quality, QualityMeter};
use lumenbus_codec::{CodecError, Color, DecoderConfig, Ticket, convert, decoder, encoder};
use lumenbus_frame::{Codec, EncodedFrame, PixelFormat, RawFrame};

/// Pictures at most, evenly spread, that stills are measured with: JPEG 2000 takes a third of a second each.
const STILLS: usize = 30;

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) series: String,
    pub(super) setting: Setting,
    pub(super) kilobits: f64,
    pub(super) quality: Quality,
    /// `Err` says why there is none.
    pub(super) vmaf: Result<f64, String>,
    /// Processor time of this process per picture.
    pub(super) encode_millis: f64,
    pub(super) decode_millis: f64,
    pub(super) keyframes: usize,
    pub(super) largest_bytes: usize,
}

/// Codes all pictures, decodes them, and compares; the clock runs only for the first two.
pub(super) fn measure(
    series: &Series,
    setting: Setting,
    common: &Common,
    clip: &Pictures,
    vmaf: Option<&Vmaf>,
) -> anyhow::Result<Point> {
    let mut encoder = encoder(&series.config(setting, common))?;
    // Pictures have colours of their own. Samples are not converted there and back: only the coding is measured.
    let color = if series.is_video() { clip.color } else { Color::JPEG };
    encoder.set_color(color);
    let pictures = chosen(clip.frames(), series.is_video());
    let mut coded = Vec::new();
    let began = cpu();
    pictures.iter().try_for_each(|picture| encoder.encode(picture, &mut coded))?;
    let encoded = cpu();
    decode(series.codec, &coded, |_, _| Ok(()))?;
    let decoded = cpu();
    let mut meter = QualityMeter::default();
    // Whatever becomes of VMAF, the other figures count.
    let mut pixels = vmaf.map_or_else(|| Err("it is not there".to_owned()), |vmaf| vmaf.begin().map_err(words));
    decode(series.codec, &coded, |index, (picture, came)| {
        let picture = if came == color { picture } else { recoloured(&picture, came, color)? };
        meter.add(pictures[index], &picture)?;
        if let Ok(Err(error)) = pixels.as_mut().map(|pixels| pixels.add(pictures[index], &picture)) {
            pixels = Err(words(error));
        }
        Ok(())
    })?;
    let count = coded.len().max(1);
    let bytes: usize = coded.iter().map(|frame| frame.payload.len()).sum();
    Ok(Point {
        series: series.name.clone(),
        setting,
        kilobits: per_picture(bytes, count) * 8.0 * common.rate.as_f64() / 1e3,
        quality: meter.quality().ok_or_else(|| anyhow::anyhow!("{} gave no picture", series.name))?,
        vmaf: pixels.and_then(|pixels| pixels.score(clip.size, common.rate).map_err(words)),
        encode_millis: encoded.saturating_sub(began).as_secs_f64() * per_picture(1_000, count),
        decode_millis: decoded.saturating_sub(encoded).as_secs_f64() * per_picture(1_000, count),
        keyframes: coded.iter().filter(|frame| frame.is_keyframe).count(),
        largest_bytes: coded.iter().map(|frame| frame.payload.len()).max().unwrap_or(0),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
fn words(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// Each picture of a still codec stands for itself, so a few of them do.
fn chosen(frames: &[RawFrame], is_video: bool) -> Vec<&RawFrame> {
    let step = if is_video { 1 } else { frames.len().div_ceil(STILLS).max(1) };
    frames.iter().step_by(step).collect()
}

fn cpu() -> std::time::Duration {
    usage::cpu(std::process::id())
}

#[expect(clippy::cast_precision_loss, reason = "sizes of clips")]
fn per_picture(total: usize, count: usize) -> f64 {
    total as f64 / count as f64
}

/// Hands out each picture, as I420, with its place in the clip.
fn decode(
    codec: Codec,
    coded: &[EncodedFrame],
    mut then: impl FnMut(usize, (RawFrame, Color)) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut decoder = decoder(codec, &DecoderConfig { pixel_format: Some(PixelFormat::I420) })?;
    let mut pictures = Vec::new();
    for (index, frame) in coded.iter().enumerate() {
        decoder.decode(Ticket(index as u64), frame, &mut pictures)?;
        for picture in pictures.drain(..) {
            then(usize::try_from(picture.ticket.0)?, (picture.frame, picture.color))?;
        }
    }
    decoder.flush(&mut pictures)?;
    pictures
        .into_iter()
        .try_for_each(|picture| then(usize::try_from(picture.ticket.0)?, (picture.frame, picture.color)))
}

fn recoloured(picture: &RawFrame, from: Color, to: Color) -> Result<RawFrame, CodecError> {
    convert(&convert(picture, PixelFormat::Rgb8, from)?, PixelFormat::I420, to)
}
