//! Analysis results: what is written is read in both forms, and hostile bytes are refused.

use crate::samples;
use allocation_counter::measure;
use lumenbus_frame::{CameraId, CaptureSource, CaptureTime, Dimensions, Epoch, FrameId, Seq, StreamId};
use lumenbus_wire::{
    AnalysisResult, Bounds, DetectedObject, MAX_DETECTIONS, MAX_ERROR_BYTES, MAX_RESULT_BYTES, Model, ResultForm,
    StageTimes, WireError, proto,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};

const CLASSES: [&str; 3] = ["person", "motion", "Fußgänger"];

prop_compose! {
    fn object()(
        class in prop::sample::select(&CLASSES[..]),
        score in 0.0..=1.0_f32,
        (x, y) in (-60_000.0..60_000.0_f32, -60_000.0..60_000.0_f32),
        (width, height) in (0.0..60_000.0_f32, 0.0..60_000.0_f32),
        track_id in prop::option::of(any::<u64>()),
    ) -> DetectedObject {
        DetectedObject { class: class.into(), score, bounds: Bounds { x, y, width, height }, track_id }
    }
}

fn stages() -> impl Strategy<Value = StageTimes> {
    prop::array::uniform5(prop::option::of(any::<u32>())).prop_map(|[receive, wait, decode, detect, track]| {
        StageTimes {
            receive_micros: receive,
            wait_micros: wait,
            decode_micros: decode,
            detect_micros: detect,
            track_micros: track,
        }
    })
}

prop_compose! {
    fn result()(
        camera in "[a-zA-Z0-9_-]{1,64}",
        topic in "[a-zA-Z0-9_-]{1,249}",
        stream in "[a-zA-Z0-9_-]{1,64}",
        (epoch, seq, unix_nanos) in any::<(u64, u64, i64)>(),
        pts in prop::option::of(any::<i64>()),
        (width, height) in (1..=65_535_u32, 1..=65_535_u32),
        detections in vec(object(), 0..20),
        stages in stages(),
        error in prop::option::of("[ -~]{1,64}"),
        is_rtcp in any::<bool>(),
    ) -> AnalysisResult {
        let camera = CameraId::new(&camera).unwrap();
        let stream = StreamId { camera, topic: topic.parse().unwrap(), name: stream.parse().unwrap() };
        let source = if is_rtcp { CaptureSource::Rtcp } else { CaptureSource::Arrival };
        let id = FrameId { epoch: Epoch(epoch), seq: Seq(seq) };
        let size = Some(Dimensions::new(width, height));
        let capture = CaptureTime { unix_nanos, source };
        let model = Model::new("a \"model\"", "1.2");
        AnalysisResult { pts, size, detections, stages, error, ..AnalysisResult::new(stream, id, capture, model) }
    }
}

fn read(form: ResultForm, value: &[u8]) -> Result<AnalysisResult, WireError> {
    AnalysisResult::decode(Some(form.content_type().as_bytes()), value)
}

proptest! {
    #[test]
    fn a_result_survives_in_every_form(result in result()) {
        for form in ResultForm::ALL {
            let value = result.encode(form).unwrap();
            prop_assert_eq!(&read(form, &value).unwrap(), &result, "{}", form);
        }
    }

    #[test]
    fn damaged_bytes_are_a_result_or_an_error(at in 0..2_000_usize, bit in 0..8_u8, keep in 1..2_000_usize) {
        for form in ResultForm::ALL {
            let mut value = samples::analysis_result().encode(form).unwrap().to_vec();
            let length = value.len();
            value[at % length] ^= 1 << bit;
            value.truncate(keep);
            if let Ok(result) = read(form, &value) {
                prop_assert_eq!(read(form, &result.encode(form).unwrap()).unwrap(), result);
            }
        }
    }
}

/// The golden result as JSON with one value replaced, read.
fn changed(pointer: &str, to: Value) -> Result<AnalysisResult, WireError> {
    let text = samples::analysis_result().encode(ResultForm::Json).unwrap();
    let mut value: Value = serde_json::from_slice(&text).unwrap();
    *value.pointer_mut(pointer).unwrap() = to;
    read(ResultForm::Json, value.to_string().as_bytes())
}

#[test]
fn what_is_no_result_is_refused_with_its_reason() {
    let check = |pointer: &str, to: Value, expected: &str| {
        let error = changed(pointer, to).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let message = format!("{error}: {source}");
        assert!(message.contains(expected), "{pointer}: {message}");
        assert!(message.len() < 400, "{message}");
    };
    check("/version", json!(2), "wire version 2");
    check("/camera", json!("no camera"), "camera");
    check("/topic", json!(""), "topic");
    check("/stream", json!("no stream"), "stream");
    check("/epoch", json!("-1"), "64-bit integer");
    check("/width", json!(0), "width and height is 0x1080");
    check("/width", json!(70_000), "1 to 65535");
    check("/model/name", json!(""), "model.name");
    check("/model/version", json!("v".repeat(200)), "model.version is 200 bytes long");
    check("/detections/0/class", json!(""), "detections.class");
    check("/detections/0/score", json!(1.5), "detections.score is 1.5");
    check("/detections/0/score", json!(null), "null");
    check("/detections/0/bounds/x", json!(1e39), "detections.bounds");
    check("/detections/0/bounds/width", json!(-1), "sides not negative");
    check("/detections/0/bounds", json!({}), "missing field");
}

#[test]
fn simple_writers_need_little() {
    let text = json!({
        "version": 1, "camera": "gate-7", "topic": "raw_images", "epoch": "117661161926898864", "seq": 60,
        "capture_unix_nanos": "1750000012345678901", "model": {"name": "hog", "version": "1"},
        "width": 640, "height": 480, "something_new": [1, 2],
        "detections": [{"class": "person", "score": 0.5, "bounds": {"x": 1, "y": 2.5, "width": 30, "height": 60}}],
    });
    let result = AnalysisResult::decode(None, text.to_string().as_bytes()).unwrap();
    assert!(result.stream.name.is_main());
    assert_eq!((result.id.epoch, result.id.seq), (Epoch(117_661_161_926_898_864), Seq(60)));
    assert_eq!(result.detections[0].bounds, Bounds::new(1.0, 2.5, 30.0, 60.0));
    let error = AnalysisResult::decode(Some(b"image/jpeg"), b"{}").unwrap_err();
    assert!(matches!(error, WireError::ContentType { .. }), "{error}");
}

#[test]
fn pixels_stand_beside_parts_of_the_picture() {
    let text = samples::analysis_result().encode(ResultForm::Json).unwrap();
    let value: Value = serde_json::from_slice(&text).unwrap();
    let person = &value["detections"][0];
    assert_eq!(person["bounds"], json!({"x": 640.5, "y": 270.0, "width": 96.0, "height": 270.25}));
    assert_eq!(person["normalised"]["y"], json!(0.25));
    assert_eq!(person["normalised"]["width"], json!(0.05));
    assert_eq!(person["track_id"], json!("9007199254740993"));
}

#[test]
fn limits_hold_when_writing_and_when_reading() {
    let mut result = samples::analysis_result();
    result.detections = vec![result.detections[0].clone(); MAX_DETECTIONS];
    for form in ResultForm::ALL {
        assert_eq!(read(form, &result.encode(form).unwrap()).unwrap(), result);
    }
    result.detections.push(result.detections[0].clone());
    assert!(matches!(result.encode(ResultForm::Json), Err(WireError::Field { field: "detections", .. })));
    let point = json!({"class": "x", "score": 1, "bounds": {"x": 0, "y": 0, "width": 1, "height": 1}});
    let error = changed("/detections", json!(vec![point; MAX_DETECTIONS + 1])).unwrap_err();
    assert!(matches!(error, WireError::ResultJson { .. }), "{error}");
    let error = read(ResultForm::Json, &vec![b' '; MAX_RESULT_BYTES + 1]).unwrap_err();
    assert!(matches!(error, WireError::TooLarge { .. }), "{error}");
    let failed = AnalysisResult { error: Some("ü".repeat(400)), ..samples::failed_analysis_result() };
    for form in ResultForm::ALL {
        let error = read(form, &failed.encode(form).unwrap()).unwrap().error.unwrap();
        assert_eq!(error.len(), MAX_ERROR_BYTES);
    }
}

#[test]
fn empty_detections_by_the_thousand_cost_nothing() {
    let mut value = proto::AnalysisResult { version: 1, ..Default::default() }.encode_to_vec();
    for _ in 0..100_000 {
        value.extend_from_slice(&[13 << 3 | 2, 0]);
    }
    let counted = measure(|| {
        let error = read(ResultForm::Protobuf, &value).unwrap_err();
        assert!(matches!(error, WireError::Field { field: "detections", .. }), "{error}");
    });
    assert!(counted.bytes_max < 4_096, "{counted:?}");
}
