//! The detector of models in files, with models that `models/make.py` made.
#![cfg(feature = "onnx")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;

use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat, RawFrame};
use lumenbus_vision::onnx::OnnxConfig;
use lumenbus_vision::{Detection, Detector, DetectorKind};
use std::path::{Path, PathBuf};

fn path(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/models").join(format!("{model}.onnx"))
}

fn open(config: OnnxConfig) -> Result<Box<dyn Detector>, String> {
    DetectorKind::Onnx(config).open().map_err(|error| error.to_string())
}

fn refusal(path: &Path) -> String {
    open(OnnxConfig::new(path.to_owned())).err().expect("the model is refused")
}

/// Gray with a brighter square of 16 × 16.
fn picture(format: PixelFormat, (width, height): (usize, usize), square: (usize, usize)) -> RawFrame {
    let luma = (0..width * height).map(|at| {
        let is_in = |at: usize, from: usize| (from..from + 16).contains(&at);
        if is_in(at % width, square.0) && is_in(at / width, square.1) { 230 } else { 60 }
    });
    let pixels: Vec<u8> = match format {
        PixelFormat::Rgb8 => luma.flat_map(|value| [value; 3]).collect(),
        PixelFormat::I420 => luma.chain(std::iter::repeat_n(128, width.div_ceil(2) * height.div_ceil(2) * 2)).collect(),
        _ => luma.collect(),
    };
    let size = Dimensions::new(u32::try_from(width).unwrap(), u32::try_from(height).unwrap());
    RawFrame::new(format, size, Bytes::from(pixels), CaptureTime::arrival(0)).unwrap()
}

fn found(model: &str) -> Vec<Detection> {
    // Twice as large as the model's picture, so that its boxes double.
    let picture = picture(PixelFormat::I420, (128, 128), (0, 0));
    open(OnnxConfig::new(path(model))).unwrap().detect(&picture).unwrap()
}

/// Class, score and left, top, width, height of each.
fn check(model: &str, expected: &[(&str, f32, [f32; 4])]) {
    let found = found(model);
    assert_eq!(found.len(), expected.len(), "{model}: {found:?}");
    for (found, (class, score, bounds)) in found.iter().zip(expected) {
        let sides = [found.bounds.x, found.bounds.y, found.bounds.width, found.bounds.height];
        let is_near = sides.iter().zip(bounds).all(|(one, other)| (one - other).abs() < 0.01);
        assert!(&*found.class == *class && (found.score - score).abs() < 1e-4 && is_near, "{model}: {found:?}");
    }
}

const LEFT: [f32; 4] = [16.0, 32.0, 32.0, 64.0];
const NEXT: [f32; 4] = [18.0, 32.0, 32.0, 64.0];

#[test]
fn each_form_of_outputs_is_understood() {
    check("yolov5", &[("person", 0.72, LEFT), ("car", 0.54, NEXT)]);
    check("yolov8", &[("person", 0.72, LEFT), ("car", 0.54, NEXT)]);
    check("end-to-end", &[("person", 0.72, LEFT), ("car", 0.54, NEXT)]);
    check("ssd", &[("class 1", 0.8, LEFT)]);
    check("tensorflow", &[("class 1", 0.72, LEFT), ("class 2", 0.5, [64.0, 64.0, 51.2, 51.2])]);
    check("torchvision", &[("class 1", 0.72, LEFT), ("class 2", 0.54, NEXT)]);
}

#[test]
fn thresholds_count() {
    let count = |text: &str| {
        let kind: DetectorKind = format!("onnx:{}{text}", path("yolov8").display()).parse().unwrap();
        assert_eq!(kind.to_string().parse(), Ok(kind.clone()));
        kind.open().unwrap().detect(&picture(PixelFormat::Gray8, (64, 64), (0, 0))).unwrap().len()
    };
    assert_eq!((count(""), count(",score=0.6"), count(",iou=0.95"), count(",score=0.15")), (2, 1, 3, 3));
}

#[test]
fn boxes_are_where_the_light_is() {
    let mut detector = open(OnnxConfig::new(path("bright"))).unwrap();
    assert_eq!(&*detector.model().name, "bright");
    for format in [PixelFormat::Gray8, PixelFormat::Rgb8, PixelFormat::I420] {
        // Into 64 × 64 with 16 rows above and below: a cell is 16 pixels of the picture.
        for (x, y) in [(16, 32), (112, 48), (0, 0)] {
            let found = detector.detect(&picture(format, (128, 64), (x, y))).unwrap();
            let best = &found[0];
            assert!(&*best.class == "light" && best.score > 0.8, "{format} {found:?}");
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let expected = lumenbus_vision::Bounds::new(x as f32, y as f32, 16.0, 16.0);
            assert!(best.bounds.iou(&expected) > 0.99, "{format} {best:?} {expected:?}");
            assert!(found[1..].iter().all(|other| other.score < 0.5), "{format} {found:?}");
        }
    }
    let deep =
        RawFrame::new(PixelFormat::Gray16Le, Dimensions::new(8, 8), Bytes::from(vec![0; 128]), CaptureTime::arrival(0));
    let refusal = detector.detect(&deep.unwrap()).unwrap_err().to_string();
    assert!(refusal.contains("onnx does not read gray16le"), "{refusal}");
}

#[test]
fn streams_share_a_model() {
    let loaded = DetectorKind::Onnx(OnnxConfig::new(path("bright"))).load().unwrap();
    let picture = picture(PixelFormat::Gray8, (64, 64), (0, 0));
    let expected = loaded.open().detect(&picture).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(loaded.open().detect(&picture).unwrap(), expected));
        }
    });
}

#[test]
fn labels_come_from_a_file_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("net.onnx");
    std::fs::copy(path("ssd"), &model).unwrap();
    let class = || {
        let found =
            open(OnnxConfig::new(model.clone())).unwrap().detect(&picture(PixelFormat::Gray8, (64, 64), (0, 0)));
        found.unwrap()[0].class.to_string()
    };
    for (labels, expected) in [("person\ncar", "person"), ("background\nperson\ncar", "person"), ("x\ny\nz", "x")] {
        std::fs::write(folder.path().join("net.labels"), labels).unwrap();
        assert_eq!(class(), expected, "{labels:?}");
    }
}

#[test]
fn what_is_no_detector_is_refused_by_what_it_lacks() {
    let check = |model: &str, expected: &[&str]| {
        let refusal = refusal(&path(model));
        assert!(expected.iter().all(|part| refusal.contains(part)) && refusal.contains(model), "{refusal}");
    };
    check("classifier", &["outputs are not understood: \"probabilities\" [1, 10]", "YOLO's [1, N, 5+C]"]);
    check("two-inputs", &["one input", "\"threshold\" [1] of float32", "\"images\" [1, 3, 64, 64]"]);
    check("logits", &["5.5 is not between 0 and 1", "sigmoid"]);
    check("unknown-operator", &["Mystery"]);
    check("missing", &["cannot read", "No such file"]);
    assert!(refusal(Path::new(env!("CARGO_MANIFEST_DIR"))).contains("not a file"));
    assert!(refusal(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).contains("not a whole ONNX model"));
}
