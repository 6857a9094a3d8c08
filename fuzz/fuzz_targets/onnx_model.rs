//! What is read of a model by ourselves before the engine sees it: its structure, and the names of its classes.
//!
//! The files themselves are part of this program: the crate around them would bring an engine and a Kafka client.
#![no_main]
#![allow(dead_code, clippy::allow_attributes, reason = "the rest of these files is for the crate they belong to")]

#[path = "../../crates/vision/src/onnx/error.rs"]
mod error;
#[path = "../../crates/vision/src/onnx/labels.rs"]
mod labels;
#[path = "../../crates/vision/src/onnx/structure.rs"]
mod structure;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(structure) = structure::Structure::of(data) {
        // Every name stands in the file, and each of them once in the set.
        let bytes: usize = structure.weights.iter().map(String::len).sum();
        assert!(bytes <= data.len(), "{bytes} bytes of names in {} bytes", data.len());
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(names) = labels::parse_names(text)
    {
        assert!(names.len().is_some_and(|count| count <= labels::MAX_LABELS));
        assert!(!names.get(usize::MAX).is_empty());
    }
});
