//! JPEG-per-frame as the measure of something else: the rate at which it looks as good.

use super::curve::{Curve, Sample};
use super::measure::{Point, measure};
use super::plot::{self, Panel};
use super::series::{Common, Series, Setting};
use crate::bench::decoded::pictures::Pictures;
use anyhow::Context as _;
use lumenbus_codec::quality::Quality;
use lumenbus_frame::{Codec, FrameRate};
use std::time::Duration;

/// Measurements between the two that are closest.
const CLOSER: usize = 2;

/// Rate and quality of JPEG on a clip.
pub(in crate::bench) struct JpegCurve<'a> {
    clip: &'a Pictures,
    series: Series,
    common: Common,
    points: Vec<Point>,
}

impl<'a> JpegCurve<'a> {
    /// Measures it at a few qualities.
    pub(in crate::bench) fn measure(clip: &'a Pictures, rate: FrameRate) -> anyhow::Result<Self> {
        let series = Series::all().into_iter().find(|series| series.codec == Codec::Jpeg);
        let series = series.context("this build has no JPEG encoder")?;
        // What JPEG does not look at.
        let interval = Duration::from_secs(10);
        let common = Common { rate, reference_bits: 0.0, short_interval: interval, long_interval: interval };
        let mut curve = Self { clip, series, common, points: Vec::new() };
        for setting in curve.series.settings(&curve.common) {
            curve.add(setting)?;
        }
        Ok(curve)
    }

    fn add(&mut self, setting: Setting) -> anyhow::Result<()> {
        self.points.push(measure(&self.series, setting, &self.common, self.clip, None)?);
        Ok(())
    }

    /// Kilobits a second at which it looks as good; `None` where no quality does. Measures closer by.
    pub(in crate::bench) fn rate_at(&mut self, ssim: f64) -> anyhow::Result<Option<f64>> {
        for _ in 0..CLOSER {
            let Some(between) = self.quality_between(ssim) else { break };
            self.add(Setting::Quality(between))?;
        }
        let sample = |point: &Point| Sample { rate: point.kilobits, ssim: point.quality.ssim };
        Ok(Curve::new(self.points.iter().map(sample).collect()).rate_at(ssim))
    }

    /// The middle of the two qualities on both sides; `None` where they are neighbours or there are none.
    fn quality_between(&self, ssim: f64) -> Option<u8> {
        let quality = |point: &Point| match point.setting {
            Setting::Quality(quality) => Some((quality, point.quality.ssim)),
            _ => None,
        };
        let known = || self.points.iter().filter_map(quality);
        let below = known().filter(|(_, found)| *found <= ssim).map(|(quality, _)| quality).max()?;
        let above = known().filter(|(_, found)| *found > ssim).map(|(quality, _)| quality).min()?;
        (above > below + 1).then(|| below.midpoint(above))
    }

    /// The curve with a point of another's.
    pub(in crate::bench) fn svg(&self, title: String, name: &str, kilobits: f64, quality: Quality) -> String {
        let mut points = self.points.clone();
        if let Some(like) = self.points.first() {
            points.push(Point { series: name.to_owned(), kilobits, quality, ..like.clone() });
        }
        plot::svg(&[Panel { title, points: &points }])
    }
}
