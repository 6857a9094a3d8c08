//! Requests to the embedded broker, header and body, of every API and version it speaks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_broker::check_request;

fuzz_target!(|data: &[u8]| {
    // Only a panic, an overflow or an unbounded allocation counts: most inputs are refused.
    let _ = check_request(data);
});
