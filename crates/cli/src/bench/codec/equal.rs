//! Which rate of each encoder gives the quality of JPEG, and of openh264 by itself, at the reference rate.

use super::curve::{Curve, Sample};
use super::measure::Point;
use super::series::{Common, Series, Setting, bits};
use lumenbus_codec::RateControl;
use lumenbus_frame::Codec;

/// Measurements close to the quality that is looked for, of video.
const CLOSER: usize = 2;
/// SSIM within which one is close enough.
const CLOSE: f64 = 0.0005;

/// One encoder against one reference.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Equal {
    /// Name of the reference.
    pub(super) reference: String,
    pub(super) reference_kilobits: f64,
    pub(super) ssim: f64,
    /// Whether the reference could not be made as small as asked, and this is its smallest.
    pub(super) is_smallest: bool,
    pub(super) series: String,
    /// `None` where the encoder does not get there.
    pub(super) kilobits: Option<f64>,
}

/// Compares all series with both references; video is measured again closer by, and `points` grows by that.
pub(super) fn equal(
    series: &[Series],
    common: &Common,
    points: &mut Vec<Point>,
    mut again: impl FnMut(&Series, Setting) -> anyhow::Result<Point>,
) -> anyhow::Result<Vec<Equal>> {
    let is_jpeg = |series: &&Series| series.codec == Codec::Jpeg;
    let is_library = |series: &&Series| series.rate_control == Some(RateControl::Library);
    let mut found = Vec::new();
    for reference in [series.iter().find(is_jpeg), series.iter().find(is_library)].into_iter().flatten() {
        let Some((sample, is_smallest)) = reference_of(reference, common, points) else { continue };
        for series in series {
            let kilobits = if series == reference {
                Some(sample.rate)
            } else {
                if series.is_video() {
                    closer(series, sample.ssim, points, &mut again)?;
                }
                curve(&series.name, points).rate_at(sample.ssim)
            };
            found.push(Equal {
                reference: reference.name.clone(),
                reference_kilobits: sample.rate,
                ssim: sample.ssim,
                is_smallest,
                series: series.name.clone(),
                kilobits,
            });
        }
    }
    Ok(found)
}

/// Rate and quality at the reference rate; video is taken at its own setting, whatever rate it makes of it.
fn reference_of(series: &Series, common: &Common, points: &[Point]) -> Option<(Sample, bool)> {
    let curve = curve(&series.name, points);
    if series.is_video() {
        let wanted = bits(common.reference_bits);
        let point = points.iter().find(|point| point.series == series.name && point.setting == wanted)?;
        return Some((sample(point), false));
    }
    let rate = common.reference_bits / 1e3;
    match curve.ssim_at(rate) {
        Some(ssim) => Some((Sample { rate, ssim }, false)),
        None if curve.lowest()?.rate > rate => Some((curve.lowest()?, true)),
        None => Some((curve.highest()?, false)),
    }
}

fn closer(
    series: &Series,
    ssim: f64,
    points: &mut Vec<Point>,
    again: &mut impl FnMut(&Series, Setting) -> anyhow::Result<Point>,
) -> anyhow::Result<()> {
    for _ in 0..CLOSER {
        let own = || points.iter().filter(|point| point.series == series.name);
        let is_between = curve(&series.name, points).rate_at(ssim).is_some();
        if is_between && own().any(|point| (point.quality.ssim - ssim).abs() < CLOSE) {
            return Ok(());
        }
        // Over what was asked for: that is what can be chosen.
        let asked = own().filter_map(|point| Some(Sample { rate: point.setting.number()?, ssim: point.quality.ssim }));
        let curve = Curve::new(asked.collect());
        let (Some(lowest), Some(highest)) = (curve.lowest(), curve.highest()) else { return Ok(()) };
        let inside = curve.rate_at(ssim);
        let outside = if ssim < lowest.ssim { lowest.rate / 2.0 } else { highest.rate * 2.0 };
        let Some(kind) = own().next().map(|point| point.setting) else { return Ok(()) };
        let wanted = kind.with(inside.unwrap_or(outside));
        if own().any(|point| point.setting == wanted) {
            return Ok(());
        }
        points.push(again(series, wanted)?);
    }
    Ok(())
}

fn sample(point: &Point) -> Sample {
    Sample { rate: point.kilobits, ssim: point.quality.ssim }
}

fn curve(name: &str, points: &[Point]) -> Curve {
    Curve::new(points.iter().filter(|point| point.series == name).map(sample).collect())
}
