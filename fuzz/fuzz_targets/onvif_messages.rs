//! What devices on the network send while cameras are looked for: announcements by datagram, answers over HTTP.
//!
//! Whatever comes, reading it ends, holds no more than its limits, and what is shown of it stays on one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_source::discover::{read_announcements, read_reply};

fuzz_target!(|data: &[u8]| {
    for announcement in read_announcements(data).into_iter().flatten() {
        for words in [&announcement.types, &announcement.scopes, &announcement.addresses] {
            assert!(words.len() <= 32 && words.iter().all(|word| word.len() <= 512));
        }
        for thing in ["name", "hardware", "location"] {
            let shown = announcement.scope(thing).unwrap_or_default();
            assert!(shown.chars().count() <= 128 && !shown.contains(char::is_control), "{shown:?}");
        }
    }
    if let Ok(reply) = read_reply(data) {
        assert!(reply.profiles.len() <= 64);
        assert!(reply.profiles.iter().all(|profile| !profile.name.contains(char::is_control)));
    }
});
