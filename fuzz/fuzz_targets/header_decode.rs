//! Frame headers, traces and directory entries: whatever is accepted survives encoding and decoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_frame::TraceContext;
use lumenbus_wire::{CameraEntry, Header};

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = Header::decode(data) {
        let again = Header::decode(&header.to_bytes()).expect("an encoded header decodes");
        assert_eq!(again, header);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(header) = Header::from_json(text)
    {
        let again = Header::from_json(&header.to_json()).expect("a written header is read");
        assert_eq!(again, header);
    }
    if let Ok(trace) = TraceContext::from_traceparent(data) {
        assert_eq!(TraceContext::from_traceparent(&trace.to_traceparent()), Ok(trace));
    }
    if let Ok(entry) = CameraEntry::decode(data) {
        let bytes = entry.encode().expect("a decoded entry encodes");
        CameraEntry::decode(&bytes).expect("an encoded entry decodes");
    }
});
