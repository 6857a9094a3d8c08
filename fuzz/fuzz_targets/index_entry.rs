//! Index entries: whatever is accepted survives encoding and decoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_wire::IndexEntry;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = IndexEntry::decode(data) {
        let again = IndexEntry::decode(&entry.encode()).expect("an encoded entry decodes");
        assert_eq!(again, entry);
    }
});
