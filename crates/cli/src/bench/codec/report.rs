//! What people and programs get of it: a table, CSV, JSON, a plot.

use super::Report;
use super::equal::Equal;
use super::measure::Point;
use super::plot::Panel;
use super::series::Setting;
use crate::output::Output;
use serde_json::{Value, json};
use std::fmt::Write as _;

const TITLES: [&str; 10] =
    ["codec", "setting", "kbit/s", "encode ms", "decode ms", "PSNR", "SSIM", "lowest", "VMAF", "largest"];

pub(super) fn show(report: &Report, output: &mut Output) {
    let fps = report.common.rate.as_f64();
    output.result(&format!("{}: {}, {} pictures at {fps}/s", report.name, report.size, report.pictures));
    let rows: Vec<_> = report.points.iter().map(row).collect();
    output.columns(TITLES, &rows);
    let mut reference = "";
    for equal in &report.equal {
        if reference != equal.reference {
            reference = &equal.reference;
            output.result(&title(equal));
        }
        output.result(&line(equal));
    }
    for point in &report.points {
        let mut value = point_json(point);
        value["file"] = json!(report.name);
        output.object("point", value);
    }
}

fn row(point: &Point) -> [String; 10] {
    [
        point.series.clone(),
        point.setting.to_string(),
        format!("{:.1}", point.kilobits),
        format!("{:.2}", point.encode_millis),
        format!("{:.2}", point.decode_millis),
        format!("{:.2} dB", point.quality.psnr_luma),
        format!("{:.5}", point.quality.ssim),
        format!("{:.4}", point.quality.lowest_ssim),
        point.vmaf.as_ref().map_or("–".to_owned(), |vmaf| format!("{vmaf:.1}")),
        point.largest_bytes.to_string(),
    ]
}

fn title(equal: &Equal) -> String {
    let (name, rate, ssim) = (&equal.reference, equal.reference_kilobits, equal.ssim);
    let note = if equal.is_smallest { ", the least that it can do here" } else { "" };
    format!("at the SSIM of {name} at {rate:.0} kbit/s{note} ({ssim:.4}):")
}

fn line(equal: &Equal) -> String {
    let name = &equal.series;
    match equal.kilobits {
        Some(rate) => format!("  {name:<14} {rate:8.0} kbit/s, {:.2} of it", rate / equal.reference_kilobits),
        None => format!("  {name:<14} was not measured on both sides of it"),
    }
}

fn point_json(point: &Point) -> Value {
    let (setting, value) = setting(point.setting);
    json!({
        "codec": point.series,
        "setting": setting,
        "value": value,
        "kilobits_per_second": point.kilobits,
        "encode_cpu_ms": point.encode_millis,
        "decode_cpu_ms": point.decode_millis,
        "psnr_luma_db": finite(point.quality.psnr_luma),
        "psnr_db": finite(point.quality.psnr),
        "ssim": point.quality.ssim,
        "lowest_ssim": point.quality.lowest_ssim,
        "vmaf": point.vmaf.as_ref().ok(),
        "keyframes": point.keyframes,
        "largest_bytes": point.largest_bytes,
    })
}

fn setting(setting: Setting) -> (&'static str, Option<u32>) {
    match setting {
        Setting::Quality(quality) => ("quality", Some(quality.into())),
        Setting::BitsPerSecond(bits) => ("bits_per_second", Some(bits)),
        Setting::Lossless => ("lossless", None),
    }
}

/// Nothing is infinite in JSON.
fn finite(decibels: f64) -> Option<f64> {
    decibels.is_finite().then_some(decibels)
}

pub(super) fn summary(reports: &[Report], no_vmaf: Option<&str>) -> Value {
    let equal = |equal: &Equal| {
        json!({
            "reference": equal.reference,
            "reference_kilobits_per_second": equal.reference_kilobits,
            "reference_is_its_smallest": equal.is_smallest,
            "ssim": equal.ssim,
            "codec": equal.series,
            "kilobits_per_second": equal.kilobits,
            "ratio": equal.kilobits.map(|rate| rate / equal.reference_kilobits),
        })
    };
    let files: Vec<_> = reports
        .iter()
        .map(|report| {
            json!({
                "file": report.name,
                "size": report.size.to_string(),
                "fps": report.common.rate.as_f64(),
                "pictures": report.pictures,
                "equal_ssim": report.equal.iter().map(equal).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "files": files, "no_vmaf": no_vmaf })
}

pub(super) fn csv(reports: &[Report]) -> String {
    let mut out = "file,codec,setting,value,kilobits_per_second,encode_cpu_ms,decode_cpu_ms,psnr_luma_db,psnr_db,ssim,\
                   lowest_ssim,vmaf,keyframes,largest_bytes\n"
        .to_owned();
    for report in reports {
        for point in &report.points {
            let (setting, value) = setting(point.setting);
            let optional = |number: Option<f64>| number.map_or(String::new(), |number| format!("{number:.4}"));
            let Point { series, kilobits, encode_millis, decode_millis, keyframes, largest_bytes, .. } = point;
            let quality = point.quality;
            writeln!(
                out,
                "{},{series},{setting},{},{kilobits:.3},{encode_millis:.3},{decode_millis:.3},{},{},{:.6},{:.6},{},\
                 {keyframes},{largest_bytes}",
                quoted(&report.name),
                value.map_or(String::new(), |value| value.to_string()),
                optional(finite(quality.psnr_luma)),
                optional(finite(quality.psnr)),
                quality.ssim,
                quality.lowest_ssim,
                optional(point.vmaf.as_ref().ok().copied()),
            )
            .expect("writing to a string does not fail");
        }
    }
    out
}

/// RFC 4180.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

pub(super) fn panel(report: &Report) -> Panel<'_> {
    let name = report.name.rsplit('/').next().unwrap_or(&report.name);
    let title = format!("{name}, {}, {}/s", report.size, report.common.rate.as_f64());
    Panel { title, points: &report.points }
}
