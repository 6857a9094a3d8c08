//! `lumenbus bench codec`: rate, processor time and quality of every encoder, and which rates give equal quality.

pub(super) mod against_jpeg;
pub(crate) mod arguments;
mod curve;
mod equal;
mod measure;
mod plot;
mod report;
mod series;
mod vmaf;

use super::decoded::pictures::{Limits, Pictures};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use anyhow::Context as _;
use arguments::CodecBenchArguments;
use equal::Equal;
use lumenbus_frame::Dimensions;
use measure::{Point, measure};
use series::{Common, Series};
use vmaf::Vmaf;

/// Pixels a second of 1080p30, whose 8 Mbit/s are the reference.
const REFERENCE_PIXELS: f64 = 1920.0 * 1080.0 * 30.0;
const REFERENCE_BITS: f64 = 8e6;
const MAX_BYTES: usize = 1 << 30;

/// Everything about one file.
struct Report {
    name: String,
    size: Dimensions,
    pictures: usize,
    common: Common,
    points: Vec<Point>,
    equal: Vec<Equal>,
}

pub(super) fn run(arguments: &CodecBenchArguments, settings: &Settings) -> anyhow::Result<Outcome> {
    let mut output = Output::new(settings);
    let series = chosen(&arguments.only)?;
    let vmaf = Vmaf::find("ffmpeg");
    match &vmaf {
        Ok(_) => output.note("VMAF by the system's ffmpeg"),
        Err(reason) => output.note(&format!("no VMAF: {reason}")),
    }
    let (mut reports, mut vmaf) = (Vec::new(), vmaf);
    for source in &arguments.sources {
        let report = report(source, arguments, &series, vmaf.as_ref().ok(), &mut output)?;
        if let Some(reason) = vmaf.is_ok().then(|| vmaf_failure(&report)).flatten() {
            output.note(&format!("VMAF is left out from here on: {reason}"));
            vmaf = Err(reason);
        }
        report::show(&report, &mut output);
        reports.push(report);
    }
    if let Some(path) = &arguments.csv {
        std::fs::write(path, report::csv(&reports)).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &arguments.plot {
        let panels: Vec<_> = reports.iter().map(report::panel).collect();
        std::fs::write(path, plot::svg(&panels)).with_context(|| format!("writing {}", path.display()))?;
    }
    output.summary("bench codec", report::summary(&reports, vmaf.as_ref().err().map(String::as_str)));
    Ok(Outcome::Done)
}

fn vmaf_failure(report: &Report) -> Option<String> {
    report.points.iter().find_map(|point| point.vmaf.as_ref().err().cloned())
}

fn chosen(only: &[String]) -> anyhow::Result<Vec<Series>> {
    let all = Series::all();
    let names = || all.iter().map(|series| series.name.as_str()).collect::<Vec<_>>().join(", ");
    for name in only {
        let is_known = all.iter().any(|series| series.name == *name);
        anyhow::ensure!(is_known, "--only {name}: this build has no such encoder; it has {}", names());
    }
    let is_asked = |series: &Series| only.is_empty() || only.contains(&series.name);
    Ok(all.iter().filter(|series| is_asked(series)).cloned().collect())
}

fn report(
    source: &str,
    arguments: &CodecBenchArguments,
    series: &[Series],
    vmaf: Option<&Vmaf>,
    output: &mut Output,
) -> anyhow::Result<Report> {
    let limits = Limits { pictures: arguments.frames as usize, bytes: MAX_BYTES };
    let clip = Pictures::of_file(source, arguments.fps, limits)?;
    let rate = clip.rate;
    let pixels = f64::from(clip.size.width) * f64::from(clip.size.height) * rate.as_f64();
    let common = Common {
        rate,
        reference_bits: arguments.bitrate.map_or(REFERENCE_BITS * pixels / REFERENCE_PIXELS, f64::from),
        short_interval: arguments.keyframe_interval,
        long_interval: arguments.long_interval,
    };
    let mut points = Vec::new();
    for series in series {
        for setting in series.settings(&common) {
            output.progress(|| format!("{}: {} at {setting}", clip.name, series.name));
            points.push(measure(series, setting, &common, &clip, vmaf)?);
        }
    }
    let equal = equal::equal(series, &common, &mut points, |series, setting| {
        output.progress(|| format!("{}: {} at {setting}, closer", clip.name, series.name));
        measure(series, setting, &common, &clip, vmaf)
    })?;
    let place = |point: &Point| series.iter().position(|series| series.name == point.series);
    points.sort_by(|a, b| place(a).cmp(&place(b)).then(a.kilobits.total_cmp(&b.kilobits)));
    Ok(Report { name: clip.name.clone(), size: clip.size, pictures: clip.count(), common, points, equal })
}
