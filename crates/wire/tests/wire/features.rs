//! Feature records and events: what is written is read, and hostile bytes are refused.

use crate::samples;
use lumenbus_wire::{
    CameraEvent, EventKind, Features, HealthState, MAX_CLASSES, MAX_EVENT_BYTES, MAX_FEATURES_BYTES, MAX_WINDOW_BYTES,
    WireError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn object(value: &[u8]) -> Value {
    serde_json::from_slice(value).unwrap()
}

fn check<T: std::fmt::Debug>(decoded: Result<T, WireError>, what: &str, expected: &str) {
    let error = decoded.unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let message = format!("{error}: {source}");
    assert!(message.contains(expected), "{what}: {message}");
    assert!(message.len() < 400, "{message}");
}

fn features(pointer: &str, to: Value) -> Result<Features, WireError> {
    let mut value = object(&samples::features().encode_json().unwrap());
    *value.pointer_mut(pointer).unwrap() = to;
    Features::decode_json(value.to_string().as_bytes())
}

fn event(pointer: &str, to: Value) -> Result<Option<CameraEvent>, WireError> {
    let mut value = object(&samples::presence_event().encode_json().unwrap());
    *value.pointer_mut(pointer).unwrap() = to;
    CameraEvent::decode_json(value.to_string().as_bytes())
}

#[test]
fn a_feature_record_beyond_its_limits_is_refused_with_the_reason() {
    let refused = |pointer: &str, to: Value, expected: &str| check(features(pointer, to), pointer, expected);
    refused("/version", json!(2), "wire version 2");
    refused("/camera", json!("no camera"), "camera");
    refused("/first_seq", json!("90"), "not after last_seq");
    refused("/looked_at", json!(31), "31 of 30 frames");
    refused("/looked_at", json!(0), "0 of 30 frames");
    refused("/brightness", json!(1.5), "brightness is 1.5");
    refused("/brightness", json!(null), "all or none");
    refused("/histogram/0/0", json!(-0.1), "histogram is -0.1");
    refused("/histogram/0", json!([0.5]), "invalid length");
    refused("/phash", json!("xyz"), "16 hexadecimal digits");
    refused("/phash", json!("+123456789abcdef"), "16 hexadecimal digits");
    refused("/health/state", json!("asleep"), "health.state is \"asleep\"");
    refused("/window", json!("%"), "Base64");
    refused("/group", json!("g".repeat(256)), "group is 256 bytes long");
    refused("/counts", json!({"": 1}), "counts is 0 bytes long");
    let many: serde_json::Map<_, _> = (0..=MAX_CLASSES).map(|class| (class.to_string(), json!(1))).collect();
    refused("/counts", json!(many), "more than 64 classes");
    let long = Features { window: vec![0; MAX_WINDOW_BYTES + 1].into(), ..samples::features() };
    check(long.encode_json(), "window", "the limit is 4096");
    check(Features::decode_json(&vec![b' '; MAX_FEATURES_BYTES + 1]), "bytes", "the limit is 16384");
}

#[test]
fn the_longest_window_fits_with_the_most_classes() {
    let counts = (0..MAX_CLASSES).map(|class| (format!("{class:0>100}").into(), u32::MAX)).collect();
    let full = Features { window: vec![7; MAX_WINDOW_BYTES].into(), counts, ..samples::features() };
    assert_eq!(Features::decode_json(&full.encode_json().unwrap()).unwrap(), full);
}

#[test]
fn an_event_beyond_its_limits_is_refused_and_one_of_another_kind_is_none() {
    let refused = |pointer: &str, to: Value, expected: &str| check(event(pointer, to), pointer, expected);
    refused("/version", json!(2), "wire version 2");
    refused("/id", json!("7"), "16 hexadecimal digits");
    refused("/state", json!("middle"), "begin or end");
    refused("/class", json!(""), "class is 0 bytes long");
    refused("/score", json!(1.01), "score is 1.01");
    refused("/seq", json!("-1"), "64-bit integer");
    check(CameraEvent::decode_json(&vec![b' '; MAX_EVENT_BYTES + 1]), "bytes", "the limit is 4096");
    check(CameraEvent::decode_json(b"[]"), "an array", "not the JSON object");
    assert_eq!(event("/kind", json!("something new")).unwrap(), None);
    let text = json!({"version": 1, "kind": "line crossed", "line": 3});
    assert_eq!(CameraEvent::decode_json(text.to_string().as_bytes()).unwrap(), None);
}

#[test]
fn ids_follow_from_what_happened_and_where() {
    let one = samples::presence_event();
    let again = CameraEvent::new(one.stream.clone(), one.frame, 1, one.kind.clone());
    assert_eq!(one.id, again.id);
    let mut other = one.frame;
    other.seq.0 += 1;
    assert_ne!(one.id, CameraEvent::new(one.stream.clone(), other, 1, one.kind.clone()).id);
    let kind = EventKind::Health { state: HealthState::Ok, previous: HealthState::Dark, lasted_millis: None };
    assert_ne!(one.id, CameraEvent::new(one.stream.clone(), one.frame, 1, kind).id);
}

proptest! {
    #[test]
    fn damaged_bytes_are_a_value_or_an_error(at in 0..2_000_usize, bit in 0..8_u8, keep in 1..2_000_usize) {
        let damaged = |value: bytes::Bytes| {
            let mut value = value.to_vec();
            let length = value.len();
            value[at % length] ^= 1 << bit;
            value.truncate(keep);
            value
        };
        if let Ok(features) = Features::decode_json(&damaged(samples::features().encode_json().unwrap())) {
            let written = features.encode_json().unwrap();
            prop_assert_eq!(Features::decode_json(&written).unwrap().encode_json().unwrap(), written);
        }
        if let Ok(Some(event)) = CameraEvent::decode_json(&damaged(samples::health_event().encode_json().unwrap())) {
            prop_assert_eq!(CameraEvent::decode_json(&event.encode_json().unwrap()).unwrap(), Some(event));
        }
    }
}
