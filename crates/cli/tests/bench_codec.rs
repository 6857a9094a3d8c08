//! `bench codec` on a short test pattern: table, JSON, CSV and plot say the same.

#![expect(clippy::unwrap_used, reason = "tests may")]

use serde_json::Value;
use std::process::{Command, Output};

const ONLY: &str = "jpeg,h264-library,h264-budget";

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lumenbus"));
    // What the machine's ffmpeg can do is no part of this.
    command.env("PATH", "");
    command.args(["bench", "codec", "test:128x64@10", "--frames", "12"]).args(arguments).output().unwrap()
}

#[test]
fn every_measurement_is_told_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (csv, plot) = (file("codecs.csv"), file("codecs.svg"));
    let output = bench(&["--json", "--bitrate", "60k", "--only", ONLY, "--csv", &csv, "--plot", &plot]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let points: Vec<_> = objects.iter().filter(|object| object["type"] == "point").collect();
    for name in ONLY.split(',') {
        let own: Vec<_> = points.iter().filter(|point| point["codec"] == name).collect();
        assert!(own.len() > 3, "{name}: {}", own.len());
        let figure = |point: &Value, name: &str| point[name].as_f64().unwrap();
        assert!(own.iter().all(|point| (0.0..=1.0).contains(&figure(point, "ssim"))), "{own:?}");
        // By rate; what costs most looks better than what costs least.
        assert!(own.is_sorted_by(|a, b| figure(a, "kilobits_per_second") <= figure(b, "kilobits_per_second")));
        assert!(figure(own[own.len() - 1], "ssim") > figure(own[0], "ssim"), "{own:?}");
        assert!(figure(own[own.len() - 1], "psnr_luma_db") > figure(own[0], "psnr_luma_db"), "{own:?}");
    }
    let summary = objects.last().unwrap();
    assert_eq!((&summary["type"], &summary["command"]), (&"summary".into(), &"bench codec".into()));
    let file = &summary["files"][0];
    assert_eq!(
        (file["pictures"].as_u64(), file["fps"].as_f64(), &file["size"]),
        (Some(12), Some(10.0), &"128x64".into())
    );
    let equal = file["equal_ssim"].as_array().unwrap();
    for reference in ["jpeg", "h264-library"] {
        let itself = equal.iter().find(|equal| equal["reference"] == reference && equal["codec"] == reference);
        assert_eq!(itself.unwrap()["ratio"].as_f64(), Some(1.0));
        assert_eq!(equal.iter().filter(|equal| equal["reference"] == reference).count(), 3);
    }

    let csv = std::fs::read_to_string(csv).unwrap();
    let columns: Vec<_> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, vec![14; points.len() + 1], "{csv}");
    let plot = std::fs::read_to_string(plot).unwrap();
    assert!(plot.starts_with("<svg") && plot.contains("h264-budget") && plot.contains("SSIM"), "{plot}");
}

#[test]
fn an_encoder_that_is_not_there_is_named_with_those_that_are() {
    let output = bench(&["--only", "h263"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("h263") && words.contains("h264-budget"), "{words}");
}
