//! The motion detector on drawn scenes: what moves is found, what only looks like it is not.

use crate::scene::{Paint, RATE, Scene};
use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Dimensions, PixelFormat, RawFrame};
use lumenbus_vision::motion::{MotionConfig, MotionDetector};
use lumenbus_vision::{Bounds, Detection, Detector, VisionError};
use proptest::prelude::*;

const THING: Paint = Paint::Thing { luma: 200.0, u: 128 };
/// Pictures after which a detector with usual parameters knows its view: a second and a little more.
const WARM: i64 = RATE + 5;

fn detector() -> MotionDetector {
    MotionDetector::new(MotionConfig::default())
}

/// A detector that knows the view of the scene.
fn warm(scene: &mut Scene) -> MotionDetector {
    let mut detector = detector();
    for _ in 0..WARM {
        assert_eq!(detector.detect(&scene.picture(&[])).unwrap(), []);
    }
    detector
}

/// Where something is that crosses the picture.
fn crossing(step: u16) -> Bounds {
    Bounds::new(20.0 + 4.0 * f32::from(step), 90.0, 36.0, 72.0)
}

#[track_caller]
fn assert_found(found: &[Detection], wanted: &[Bounds]) {
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for bounds in wanted {
        assert!(found.iter().any(|found| found.bounds.iou(bounds) > 0.6), "{bounds:?} in {found:?}");
    }
    for detection in found {
        assert_eq!(&*detection.class, "motion");
        assert!((0.5..=1.0).contains(&detection.score), "{detection:?}");
    }
}

#[test]
fn what_crosses_a_noisy_view_is_found_in_every_picture() {
    // The second is halved before it is looked at.
    for (width, height) in [(320, 240), (640, 360)] {
        let mut scene = Scene::new(width, height).with_noise(10.0);
        let mut detector = warm(&mut scene);
        for step in 0..50 {
            let bounds = crossing(step);
            let found = detector.detect(&scene.picture(&[(bounds, THING)])).unwrap();
            assert_found(&found, &[bounds]);
        }
        assert_eq!(detector.detect(&scene.picture(&[])).unwrap(), []);
    }
}

#[test]
fn colour_alone_is_enough() {
    let mut scene = Scene::new(320, 240).with_noise(2.0);
    let mut detector = warm(&mut scene);
    let bounds = crossing(20);
    // Luma as dark as a shadow of the background would be, but red.
    let red = Paint::Thing { luma: 80.0, u: 190 };
    assert_found(&detector.detect(&scene.picture(&[(bounds, red)])).unwrap(), &[bounds]);
}

#[test]
fn a_shadow_is_not_reported_unless_asked_for() {
    let mut scene = Scene::new(320, 240).with_noise(3.0);
    let mut detector = warm(&mut scene);
    let mut asked = MotionDetector::new(MotionConfig { drop_shadows: false, ..MotionConfig::default() });
    for _ in 0..WARM {
        asked.detect(&scene.picture(&[])).unwrap();
    }
    for step in 0..50 {
        let bounds = crossing(step);
        let picture = scene.picture(&[(bounds, Paint::Shadow(0.6))]);
        assert_eq!(detector.detect(&picture).unwrap(), [], "picture {step}");
        assert_found(&asked.detect(&picture).unwrap(), &[bounds]);
    }
}

#[test]
fn a_thing_is_found_without_its_shadow() {
    let mut scene = Scene::new(320, 240).with_noise(3.0);
    let mut detector = warm(&mut scene);
    for step in 0..40 {
        let thing = crossing(step);
        let shadow = Bounds::new(thing.right(), thing.y + 40.0, 60.0, 32.0);
        let picture = scene.picture(&[(shadow, Paint::Shadow(0.6)), (thing, THING)]);
        assert_found(&detector.detect(&picture).unwrap(), &[thing]);
    }
}

#[test]
fn noise_alone_is_nothing() {
    let mut scene = Scene::new(320, 240).with_noise(14.0);
    let mut detector = warm(&mut scene);
    for _ in 0..150 {
        assert_eq!(detector.detect(&scene.picture(&[])).unwrap(), []);
    }
}

#[test]
fn a_step_of_the_light_is_over_in_two_seconds() {
    for light in [0.55, 1.3, 1.9] {
        let mut scene = Scene::new(320, 240);
        let mut detector = warm(&mut scene);
        scene.light = light;
        for _ in 0..2 * RATE + 5 {
            detector.detect(&scene.picture(&[])).unwrap();
        }
        for step in 0..20 {
            assert_eq!(detector.detect(&scene.picture(&[])).unwrap(), [], "light {light}, picture {step}");
        }
        let bounds = crossing(20);
        let black = Paint::Thing { luma: 10.0, u: 128 };
        assert_found(&detector.detect(&scene.picture(&[(bounds, black)])).unwrap(), &[bounds]);
    }
}

#[test]
fn a_moderate_step_of_the_light_is_not_even_seen() {
    let mut scene = Scene::new(320, 240);
    let mut detector = warm(&mut scene);
    for (step, light) in [1.25, 0.8, 1.1, 1.0].into_iter().enumerate() {
        scene.light = light;
        let bounds = crossing(u16::try_from(step).unwrap() * 10);
        let found = detector.detect(&scene.picture(&[(bounds, THING)])).unwrap();
        assert_found(&found, &[bounds]);
    }
}

fn assert_inside(found: &[Detection], width: f32, height: f32) {
    assert!(found.len() <= MotionConfig::default().max_detections);
    for detection in found {
        let Bounds { x, y, .. } = detection.bounds;
        assert!(x >= 0.0 && y >= 0.0, "{detection:?}");
        assert!(detection.bounds.right() <= width && detection.bounds.bottom() <= height, "{detection:?}");
        assert!(detection.bounds.area() > 0.0 && (0.0..=1.0).contains(&detection.score), "{detection:?}");
    }
}

#[test]
fn a_shaking_camera_and_another_view_stay_within_bounds() {
    let mut scene = Scene::new(320, 240);
    let mut detector = warm(&mut scene);
    for _ in 0..100 {
        scene.shift = ((scene.random() % 12) as i32, (scene.random() % 12) as i32);
        assert_inside(&detector.detect(&scene.picture(&[])).unwrap(), 320.0, 240.0);
    }
    (scene.shift, scene.view) = ((0, 0), 77);
    for _ in 0..3 * RATE {
        assert_inside(&detector.detect(&scene.picture(&[])).unwrap(), 320.0, 240.0);
    }
    let bounds = crossing(20);
    assert_found(&detector.detect(&scene.picture(&[(bounds, THING)])).unwrap(), &[bounds]);
}

#[test]
fn what_stays_becomes_background_and_leaves_no_hole() {
    let config = MotionConfig { absorb_seconds: 3.0, ..MotionConfig::default() };
    let mut scene = Scene::new(320, 240);
    let mut detector = MotionDetector::new(config);
    for _ in 0..10 * RATE {
        detector.detect(&scene.picture(&[])).unwrap();
    }
    let parked = [(crossing(20), THING)];
    let mut seen = 0;
    for _ in 0..5 * RATE {
        seen += i64::from(!detector.detect(&scene.picture(&parked)).unwrap().is_empty());
    }
    assert!((2 * RATE..4 * RATE).contains(&seen), "seen in {seen} pictures");
    // The street below was remembered.
    assert_eq!(detector.detect(&scene.picture(&[])).unwrap(), []);
}

#[test]
fn the_same_pictures_give_the_same_boxes() {
    let run = || {
        let mut scene = Scene::new(320, 240).with_noise(12.0);
        let mut detector = warm(&mut scene);
        let pictures = (0..30).map(|step| scene.picture(&[(crossing(step), THING)]));
        pictures.map(|picture| detector.detect(&picture).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_reset_and_another_size_begin_anew() {
    let mut scene = Scene::new(320, 240);
    let mut detector = warm(&mut scene);
    let thing = [(crossing(20), THING)];
    assert_eq!(detector.detect(&scene.picture(&thing)).unwrap().len(), 1);
    detector.reset();
    assert_eq!(detector.detect(&scene.picture(&thing)).unwrap(), []);
    let mut larger = Scene::new(640, 480);
    for _ in 0..WARM {
        assert_eq!(detector.detect(&larger.picture(&[])).unwrap(), []);
    }
    assert_found(&detector.detect(&larger.picture(&thing)).unwrap(), &[thing[0].0]);
}

/// The luma of a picture in another format.
fn converted(picture: &RawFrame, format: PixelFormat) -> RawFrame {
    let size = picture.dimensions();
    let luma = &picture.pixels()[..(size.width * size.height) as usize];
    let copies = format.frame_bytes(size).unwrap() / luma.len();
    let pixels: Vec<u8> = luma.iter().flat_map(|level| std::iter::repeat_n(*level, copies)).collect();
    RawFrame::new(format, size, Bytes::from(pixels), picture.capture).unwrap()
}

#[test]
fn gray_and_rgb_are_read_and_others_refused() {
    for format in [PixelFormat::Gray8, PixelFormat::Rgb8] {
        let mut scene = Scene::new(320, 240);
        let mut detector = detector();
        for _ in 0..WARM {
            assert_eq!(detector.detect(&converted(&scene.picture(&[]), format)).unwrap(), []);
        }
        let bounds = crossing(20);
        let found = detector.detect(&converted(&scene.picture(&[(bounds, THING)]), format)).unwrap();
        assert_found(&found, &[bounds]);
    }
    let picture = converted(&Scene::new(320, 240).picture(&[]), PixelFormat::Gray16Le);
    let error = detector().detect(&picture).unwrap_err();
    assert!(matches!(error, VisionError::Format { .. }), "{error}");
    assert!(error.to_string().contains("gray16le") && error.to_string().contains("i420"), "{error}");
}

#[test]
fn a_picture_without_room_is_refused() {
    for (width, height) in [(12, 200), (15_000, 20)] {
        let size = Dimensions::new(width, height);
        let pixels = Bytes::from(vec![0; (width * height) as usize]);
        let picture = RawFrame::new(PixelFormat::Gray8, size, pixels, CaptureTime::arrival(0)).unwrap();
        let error = detector().detect(&picture).unwrap_err();
        assert!(matches!(error, VisionError::Small { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_comes_what_is_found_lies_in_the_picture(
        (width, height) in (16..150_u32, 16..150_u32),
        pictures in prop::collection::vec((any::<[u8; 8]>(), any::<i64>()), 20),
        max_coverage in 0.5..1.0_f32,
    ) {
        let config = MotionConfig { warm_up_seconds: 0.0, max_coverage, min_area: 0.0, ..MotionConfig::default() };
        let mut detector = MotionDetector::new(config);
        let size = Dimensions::new(width, height);
        for (tile, nanos) in pictures {
            let pixels: Vec<u8> = (0..(width * height) as usize).map(|at| tile[at / 61 % 8]).collect();
            let capture = CaptureTime::sensor(nanos);
            let picture = RawFrame::new(PixelFormat::Gray8, size, Bytes::from(pixels), capture).unwrap();
            assert_inside(&detector.detect(&picture).unwrap(), width as f32, height as f32);
        }
    }
}
