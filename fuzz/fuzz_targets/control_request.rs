//! Requests of readers to publishers, and beats of fleets: whatever is accepted survives encoding and decoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_wire::{ControlRequest, FleetBeat, MAX_BY_BYTES};

fuzz_target!(|data: &[u8]| {
    if let Ok(mut request) = ControlRequest::decode(data) {
        // Who asks is cut when it is written.
        request.by.truncate(request.by.floor_char_boundary(MAX_BY_BYTES));
        let again = ControlRequest::decode(&request.encode()).expect("an encoded request decodes");
        assert_eq!(again, request);
    }
    if let Ok(Some(beat)) = FleetBeat::decode(data) {
        let again = FleetBeat::decode(&beat.encode()).expect("an encoded beat decodes");
        assert_eq!(again, Some(beat));
    }
});
