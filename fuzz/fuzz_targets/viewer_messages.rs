//! Messages of a viewer's clients: anything is a message within the limits, or refused with a short reason.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The file itself: the crate around it would bring a Kafka client and TLS into this build.
#[allow(dead_code)]
#[path = "../../crates/web/src/protocol.rs"]
mod protocol;

use protocol::{ClientMessage, MAX_WATCHED};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match ClientMessage::parse(text) {
        Ok(ClientMessage::Watch { streams }) => assert!(streams.len() <= MAX_WATCHED),
        Ok(_) => {}
        Err(error) => {
            assert!(!error.code().is_empty());
            assert!(error.to_string().len() < 1_000);
        }
    }
});
