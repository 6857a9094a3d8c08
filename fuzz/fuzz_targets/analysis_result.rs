//! Analysis results: whatever is accepted, in either form, survives being written in both.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_wire::{AnalysisResult, ResultForm, WireError};

fuzz_target!(|data: &[u8]| {
    for form in ResultForm::ALL {
        let Ok(result) = AnalysisResult::decode(Some(form.content_type().as_bytes()), data) else {
            continue;
        };
        for form in ResultForm::ALL {
            match result.encode(form) {
                Ok(value) => {
                    let again = AnalysisResult::decode(Some(form.content_type().as_bytes()), &value);
                    assert_eq!(again.expect("an encoded result decodes"), result);
                }
                // JSON of many detections may be longer than the bytes that they came in.
                Err(error) => assert!(matches!(error, WireError::TooLarge { .. }), "{error}"),
            }
        }
    }
});
