//! Feature records and events: whatever is accepted survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_wire::{CameraEvent, Features, WireError};

fuzz_target!(|data: &[u8]| {
    if let Ok(features) = Features::decode_json(data) {
        match features.encode_json() {
            // Histograms are written with four digits: what was read once is the same from then on.
            Ok(value) => {
                let again = Features::decode_json(&value).expect("an encoded record decodes");
                assert_eq!(again.encode_json().expect("and encodes"), value);
            }
            Err(error) => assert!(matches!(error, WireError::TooLarge { .. }), "{error}"),
        }
    }
    if let Ok(Some(event)) = CameraEvent::decode_json(data) {
        match event.encode_json() {
            Ok(value) => {
                let again = CameraEvent::decode_json(&value).expect("an encoded event decodes");
                assert_eq!(again, Some(event));
            }
            // Characters that JSON escapes may make it longer.
            Err(error) => assert!(matches!(error, WireError::TooLarge { .. }), "{error}"),
        }
    }
});
