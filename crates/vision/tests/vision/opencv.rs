//! People and faces by OpenCV: on footage with labels, on a photograph, and on pictures without either.

use crate::footage::{clip, for_each_picture};
use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat, RawFrame};
use lumenbus_vision::evaluate::{BoxScore, Labels};
use lumenbus_vision::{Bounds, Detector, DetectorKind, VisionError};
use std::path::PathBuf;

fn open(kind: &str) -> Box<dyn Detector> {
    kind.parse::<DetectorKind>().unwrap().open().unwrap()
}

fn picture(format: PixelFormat, width: u32, height: u32, pixel: impl Fn(usize) -> u8) -> RawFrame {
    let size = Dimensions::new(width, height);
    let pixels: Vec<u8> = (0..format.frame_bytes(size).unwrap()).map(pixel).collect();
    RawFrame::new(format, size, Bytes::from(pixels), CaptureTime::arrival(0)).unwrap()
}

/// The same at every run; as good as chance.
fn noise(at: usize) -> u8 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_be_bytes()[0]
}

#[test]
fn people_in_a_yard_are_found_and_little_else() {
    let Some(path) = clip("vtest_768x576.mp4") else {
        return;
    };
    let labels = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/labels/vtest_768x576.json");
    let labels = Labels::parse(&std::fs::read_to_string(labels).unwrap()).unwrap();
    let (mut people, mut score) = (open("people"), BoxScore::new(0.3));
    for_each_picture(&path, 240, |index, picture| {
        if let Some(frame) = labels.frame(index as u64) {
            let found = people.detect(picture).unwrap();
            assert!(
                found.iter().all(|found| &*found.class == "person" && (0.5..=1.0).contains(&found.score)),
                "{found:?}"
            );
            let bounds: Vec<Bounds> = found.iter().map(|found| found.bounds).collect();
            score.add(&frame.boxes, &bounds);
        }
    });
    eprintln!("precision {:.3}, recall {:.3}: {score:?}", score.precision(), score.recall());
    assert!(score.precision() > 0.9 && score.recall() > 0.5, "{score:?}");
}

/// A portrait of 1984 by the U.S. Navy (public domain), in a package of Python's that CI installs.
fn portrait() -> Option<PathBuf> {
    let python = std::env::var("LUMENBUS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = "import importlib.util as u; print(u.find_spec('matplotlib').submodule_search_locations[0])";
    let output = std::process::Command::new(&python).args(["-c", script]).output();
    let folder = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let path = folder.map(|folder| {
        PathBuf::from(String::from_utf8(folder).unwrap().trim()).join("mpl-data/sample_data/grace_hopper.jpg")
    });
    let found = path.filter(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("LUMENBUS_REQUIRE_ALL").is_none(), "{python} has no matplotlib with its sample data");
        eprintln!("SKIPPED: {python} has no matplotlib, whose sample data hold a portrait; set LUMENBUS_PYTHON");
    }
    found
}

#[test]
fn a_face_is_found_in_a_portrait() {
    let Some(path) = portrait() else {
        return;
    };
    let mut faces = open("face");
    for_each_picture(&path, 1, |_, picture| {
        let found = faces.detect(picture).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        // Looked up by eye: from ear to ear, from below the cap to the chin.
        let face = Bounds::new(160.0, 135.0, 214.0, 200.0);
        assert!(found[0].bounds.iou(&face) > 0.5 && &*found[0].class == "face", "{found:?}");
        assert!((0.5..=1.0).contains(&found[0].score), "{found:?}");
    });
}

#[test]
fn there_is_nobody_in_noise_and_in_gray() {
    for kind in ["people", "face"] {
        let mut detector = open(kind);
        for format in [PixelFormat::Gray8, PixelFormat::Rgb8, PixelFormat::I420] {
            for pixel in [noise, |_| 128] {
                assert_eq!(detector.detect(&picture(format, 321, 241, pixel)).unwrap(), [], "{kind} {format}");
            }
        }
        detector.reset();
    }
}

#[test]
fn pictures_that_cannot_be_looked_at_are_refused_and_the_next_is_fine() {
    for kind in ["people", "face"] {
        let mut detector = open(kind);
        let error = detector.detect(&picture(PixelFormat::Gray16Le, 320, 240, |_| 0)).unwrap_err();
        assert!(matches!(error, VisionError::Format { .. }), "{error}");
        for (width, height) in [(1, 1), (8, 500), (2000, 17)] {
            let error = detector.detect(&picture(PixelFormat::I420, width, height, |_| 90)).unwrap_err();
            assert!(matches!(error, VisionError::Small { .. }), "{width} x {height}: {error}");
        }
        assert_eq!(detector.detect(&picture(PixelFormat::I420, 131, 173, |_| 90)).unwrap(), []);
    }
}

#[test]
fn results_tell_which_opencv_looked() {
    let detector = open("people");
    assert_eq!(&*detector.model().name, "people");
    assert!(detector.model().version.contains("opencv-4."), "{:?}", detector.model());
}
