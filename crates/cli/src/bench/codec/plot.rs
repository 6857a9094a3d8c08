//! Rate and SSIM as an SVG: one panel per clip, logarithmic rate. Readable on white and on black.

use super::measure::Point;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const PANEL: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
/// For people with any colour vision, on either background (after Okabe and Ito, 2008); shapes differ as well.
const COLORS: [&str; 8] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#888888"];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600}.axis{stroke:#222}\
                     .grid{stroke:#ccc}.paper{fill:#fff}polyline{fill:none;stroke-width:2}\
                     @media(prefers-color-scheme:dark){text{fill:#e6e6e6}.axis{stroke:#e6e6e6}.grid{stroke:#444}\
                     .paper{fill:#16181c}}";

/// A clip's name and what was measured on it.
pub(super) struct Panel<'a> {
    pub(super) title: String,
    pub(super) points: &'a [Point],
}

pub(super) fn svg(panels: &[Panel<'_>]) -> String {
    let height = PANEL * f64::from(u32::try_from(panels.len()).unwrap_or(u32::MAX));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Quality over bit rate\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    );
    let mut top = 0.0;
    for panel in panels {
        draw(&mut out, panel, top);
        top += PANEL;
    }
    out.push_str("</svg>\n");
    out
}

/// Where a measurement lies within a panel.
struct Frame {
    top: f64,
    rates: (f64, f64),
    ssims: (f64, f64),
}

impl Frame {
    fn around(points: &[Point], top: f64) -> Self {
        let of = |figure: fn(&Point) -> f64, pick: fn(f64, f64) -> f64| points.iter().map(figure).reduce(pick);
        let rate = |pick| of(|point| point.kilobits, pick).unwrap_or(1.0).max(1e-3);
        let ssim = |pick| of(|point| point.quality.ssim, pick).unwrap_or(1.0);
        // Whole twentieths, and at least one of them.
        let low = (ssim(f64::min) * 20.0).floor() / 20.0;
        Self { top, rates: (rate(f64::min) / 1.15, rate(f64::max) * 1.15), ssims: (low.clamp(0.0, 0.95), 1.0) }
    }

    fn x(&self, rate: f64) -> f64 {
        let (low, high) = self.rates;
        LEFT + (rate / low).ln() / (high / low).ln() * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, ssim: f64) -> f64 {
        let (low, high) = self.ssims;
        self.top + PANEL - BOTTOM - (ssim - low) / (high - low) * (PANEL - TOP - BOTTOM)
    }
}

fn draw(out: &mut String, panel: &Panel<'_>, top: f64) {
    let frame = Frame::around(panel.points, top);
    let title = escaped(&panel.title);
    add(out, format_args!("<text class=\"title\" x=\"{LEFT}\" y=\"{}\">{title}</text>", top + 24.0));
    axes(out, &frame);
    let mut names: Vec<&str> = Vec::new();
    for point in panel.points {
        if !names.contains(&point.series.as_str()) {
            names.push(&point.series);
        }
    }
    for (index, name) in names.iter().enumerate() {
        let mut points: Vec<_> = panel.points.iter().filter(|point| point.series == *name).collect();
        points.sort_by(|a, b| a.kilobits.total_cmp(&b.kilobits));
        line(out, &frame, &points, index);
        let (x, y) = (WIDTH - RIGHT + 24.0, top + TOP + 10.0 + 22.0 * f64::from(u32::try_from(index).unwrap_or(0)));
        mark(out, x, y, index);
        add(out, format_args!("<text x=\"{}\" y=\"{}\">{}</text>", x + 14.0, y + 4.0, escaped(name)));
    }
}

fn axes(out: &mut String, frame: &Frame) {
    let (left, right) = (LEFT, WIDTH - RIGHT);
    let (bottom, top) = (frame.y(frame.ssims.0), frame.y(frame.ssims.1));
    for rate in ticks(frame.rates) {
        let x = frame.x(rate);
        add(out, format_args!("<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"));
        let label = if rate >= 1000.0 { format!("{}M", rate / 1000.0) } else { format!("{rate}k") };
        add(out, format_args!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", bottom + 18.0));
    }
    for ssim in levels(frame.ssims.0) {
        let y = frame.y(ssim);
        add(out, format_args!("<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"));
        add(out, format_args!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ssim:.2}</text>", left - 8.0, y + 4.0));
    }
    add(out, format_args!("<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>"));
    add(out, format_args!("<line class=\"axis\" x1=\"{left}\" x2=\"{left}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"));
    let (x, y) = (f64::midpoint(left, right), bottom + 40.0);
    add(out, format_args!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"middle\">bit/s (logarithmic)</text>"));
    let y = f64::midpoint(top, bottom);
    let turned = format!("transform=\"rotate(-90 18 {y:.1})\"");
    add(out, format_args!("<text x=\"18\" y=\"{y:.1}\" text-anchor=\"middle\" {turned}>SSIM of luma</text>"));
}

/// 1, 2 and 5 of each power of ten; every other of them where that is too many.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let decades = (0..10).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    let all: Vec<_> = decades.filter(|rate| (low..=high).contains(rate)).collect();
    let step = all.len().div_ceil(8).max(1);
    all.into_iter().step_by(step).collect()
}

/// From 1 down, at most eight of them.
fn levels(low: f64) -> impl Iterator<Item = f64> {
    let step = if low >= 0.65 { 0.05 } else { 0.15 };
    (0..8_u8).map(move |index| 1.0 - f64::from(index) * step).take_while(move |level| *level > low - 1e-9)
}

fn line(out: &mut String, frame: &Frame, points: &[&Point], index: usize) {
    let places: Vec<_> = points.iter().map(|point| (frame.x(point.kilobits), frame.y(point.quality.ssim))).collect();
    let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let color = COLORS[index % COLORS.len()];
    add(out, format_args!("<polyline stroke=\"{color}\" points=\"{}\"/>", path.join(" ")));
    places.iter().for_each(|(x, y)| mark(out, *x, *y, index));
}

fn mark(out: &mut String, x: f64, y: f64, index: usize) {
    let color = COLORS[index % COLORS.len()];
    let shape = match index % 3 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{color}\"/>"),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" fill=\"{color}\"/>", x - 4.0, y - 4.0),
        _ => format!("<path d=\"M{x:.1} {:.1}l5 9h-10z\" fill=\"{color}\"/>", y - 5.0),
    };
    add(out, format_args!("{shape}"));
}

fn add(out: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(out, "{element}").expect("writing to a string does not fail");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::codec::series::Setting;
    use lumenbus_codec::quality::Quality;

    fn point(series: &str, kilobits: f64, ssim: f64) -> Point {
        Point {
            series: series.to_owned(),
            setting: Setting::Quality(1),
            kilobits,
            quality: Quality { psnr_luma: 30.0, psnr: 31.0, ssim, lowest_ssim: ssim },
            vmaf: Err(String::new()),
            encode_millis: 1.0,
            decode_millis: 1.0,
            keyframes: 1,
            largest_bytes: 1,
        }
    }

    #[test]
    fn every_measurement_lies_within_its_panel() {
        let points = [point("jpeg", 200.0, 0.7), point("jpeg", 9000.0, 0.99), point("a<b", 60.0, 0.81)];
        let panels =
            [Panel { title: "a & b".to_owned(), points: &points }, Panel { title: "2".to_owned(), points: &points }];
        let text = svg(&panels);
        assert!(
            text.contains("a &amp; b") && text.contains("a&lt;b") && text.contains("bit/s") && text.contains("SSIM")
        );
        // Four marks with curves and two in the legend, in each panel: one series of circles, one of squares.
        assert_eq!((text.matches("<circle").count(), text.matches("<polyline").count()), (2 * 3, 2 * 2));
        for (index, panel) in [0.0, PANEL].into_iter().enumerate() {
            let frame = Frame::around(panels[index].points, panel);
            for point in &points {
                let (x, y) = (frame.x(point.kilobits), frame.y(point.quality.ssim));
                assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{x}");
                assert!((panel + TOP..=panel + PANEL - BOTTOM + 0.01).contains(&y), "{y}");
            }
        }
    }

    #[test]
    fn one_measurement_alone_can_be_drawn() {
        let points = [point("png", 50.0, 1.0)];
        let text = svg(&[Panel { title: String::new(), points: &points }]);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
