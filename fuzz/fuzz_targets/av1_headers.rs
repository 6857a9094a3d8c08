//! OBUs of an AV1 temporal unit, up to its sequence header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_codec::av1_codec_string;

fuzz_target!(|data: &[u8]| {
    if let Some(text) = av1_codec_string(data) {
        assert!(text.starts_with("av01.") && text.len() == "av01.0.08M.08".len(), "{text}");
    }
});
