//! `lumenbus bench qos`, `bench join`, `bench fleet` and `bench detect`: that what they tell fits together. How fast a machine is, no test can say.

use lumenbus_tests::cli::run;
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn qos_tells_rate_quality_and_time_of_the_same_frames() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("qos.svg");
    let line = "bench qos --size 160x96 --fps 10 --bitrate 100k --for 3s --json --plot";
    let summary = run(&format!("{line} {}", plot.display())).code(0).summary();
    // Thirty, and the thirty before that do not count in the times.
    assert_eq!((&summary["frames"], &summary["keyframes"]), (&60.into(), &1.into()));
    let (rate, ssim) = (number(&summary["kilobits_per_second"]), number(&summary["ssim"]));
    assert!((20.0..300.0).contains(&rate) && (0.5..1.0).contains(&ssim), "{summary}");
    if let Some(jpeg) = summary["jpeg_kilobits_per_second"].as_f64() {
        assert!((number(&summary["jpeg_ratio"]) - jpeg / rate).abs() < 1e-6, "{summary}");
    }
    let total = &summary["capture_to_decoded"];
    let (p50, p99) = (number(&total["p50_ms"]), number(&total["p99_ms"]));
    assert!(0.0 < p50 && p50 <= p99, "{summary}");
    for (class, millis) in [("below_50_ms", 50.0), ("below_100_ms", 100.0), ("below_200_ms", 200.0)] {
        assert_eq!(summary["classes"][class], p99 < millis, "{summary}");
    }
    assert!(summary["targets"]["met"].is_null(), "nothing is promised of so small pictures: {summary}");
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.contains("h264, transported") && svg.contains("jpeg") && !svg.contains("NaN"));
}

#[test]
fn joins_begin_with_a_keyframe_and_end_up_to_date() {
    let line = "bench join --size 160x96 --fps 10 --bitrate 100k --gop 2s --joins 2 --json -X linger.ms=1";
    let summary = run(line).code(0).summary();
    assert!(summary["targets"]["met"].is_null(), "nor of so short GOPs: {summary}");
    for kind in ["passed_through", "encoded"] {
        let found = &summary["kinds"][kind];
        assert_eq!(found["joins"], 2, "{summary}");
        let median = |figure: &str| number(&found[figure]["p50"]);
        assert!(median("opened_ms") <= median("keyframe_ms"), "{summary}");
        assert!(median("keyframe_ms") <= median("current_ms"), "{summary}");
        assert!(median("keyframe_age_ms") < 60_000.0, "{summary}");
    }
}

#[test]
fn every_frame_of_a_fleet_is_counted() {
    let line = "bench fleet --size 160x96 --fps 10 --bitrate 100k --cameras 3 --gop 1s --for 2s --json";
    let summary = run(line).code(0).summary();
    assert!(summary["targets"]["met"].is_null(), "nothing is promised of three small ones: {summary}");
    let found = &summary["run"];
    assert_eq!(
        (&found["cameras"], &found["missing"], &found["open_gaps"]),
        (&3.into(), &0.into(), &0.into()),
        "{summary}"
    );
    assert!(number(&found["frames"]) > 0.0 && number(&found["resident_bytes"]) > 0.0, "{summary}");
    let age = &found["age_ms"];
    assert!(number(&age["p50"]) <= number(&age["p99"]) && number(&age["p99"]) <= number(&age["max"]), "{summary}");
}

#[test]
fn detection_is_measured_against_labels() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, pictures) = (folder.path().join("labels.json"), folder.path().join("found"));
    let write = |width: u32| {
        let frames = r#"{"seq": 15, "boxes": [{"x": 0, "y": 0, "width": 8, "height": 8, "class": "person"}]}"#;
        let text = format!(
            r#"{{"version": 1, "clip": "pattern", "sha256": "", "width": {width}, "height": 96, "frames_per_second": 10,
                "frames": [{frames}], "presence": [{{"begin": 12, "end": 15}}]}}"#
        );
        std::fs::write(&labels, text).unwrap();
    };
    let line = format!("bench detect test:160x96@10 --frames 20 --json --labels {}", labels.display());
    write(160);
    let summary = run(&format!("{line} --pictures {}", pictures.display())).code(0).summary();
    assert_eq!((&summary["frames"], &summary["size"]["width"]), (&20.into(), &160.into()), "{summary}");
    let boxes = &summary["boxes"];
    let things = number(&boxes["moving_found"]) + number(&boxes["moving_missed"]);
    assert!((things - 1.0).abs() < 1e-9 && (number(&boxes["iou"]) - 0.3).abs() < 1e-6, "{summary}");
    assert_eq!((&boxes["labelled_frames"], &boxes["still_missed"]), (&1.into(), &0.into()), "{summary}");
    assert_eq!(summary["presence"]["events"], 2, "{summary}");
    assert_eq!(std::fs::read_dir(pictures).unwrap().count(), 1, "one labelled picture");
    write(320);
    run(&line).code(1).says("pictures of 320x96").says("this is 160x96");
}

#[test]
fn a_slow_detector_is_measured_beside_others() {
    // Whether targets are met says the machine.
    let ran = run("bench detect test:160x96@30 --measure slow --rounds 1 --for 2s --json");
    assert!([Some(0), Some(3)].contains(&ran.status.code()), "{}", ran.stderr);
    let summary = ran.summary();
    let ages = &summary["result_age_periods"];
    assert!(number(&summary["results"]) > 0.0 && number(&ages["p50"]) <= number(&ages["p99"]), "{summary}");
    assert!(number(&ages["p50"]) >= 1.0, "each picture is looked at for a period: {summary}");
    for who in ["plain", "group"] {
        let others = &summary[who];
        let ratio = number(&others["with_p99_ms"]) / number(&others["without_p99_ms"]);
        assert!((ratio - number(&others["ratio"])).abs() < 1e-6, "{summary}");
    }
    assert_eq!((summary["missing"].as_u64(), ran.objects("run").len()), (Some(0), 2), "{summary}");
    assert_eq!(summary["targets"]["met"], ran.status.code() == Some(0), "{summary}");
}

#[test]
fn keyframes_only_are_measured_against_all_frames() {
    let clip = lumenbus_tests::python::in_repository("fixtures/clips/plaza.mp4");
    let summary = run(&format!("bench detect {} --measure keyframes --json", clip.display())).summary();
    let (all, keyframes) = (&summary["all"], &summary["keyframes"]);
    assert_eq!((&all["frames"], &all["looked_at"]), (&keyframes["frames"], &all["frames"]), "{summary}");
    assert!((1..all["frames"].as_u64().unwrap()).contains(&keyframes["looked_at"].as_u64().unwrap()), "{summary}");
    let ratio = number(&keyframes["cpu_ms_per_second"]) / number(&all["cpu_ms_per_second"]);
    assert!((ratio - number(&summary["ratio"])).abs() < 1e-6, "{summary}");
    run("bench detect test:160x96@10 --frames 5 --measure keyframes").code(1).says("is not coded video");
}
