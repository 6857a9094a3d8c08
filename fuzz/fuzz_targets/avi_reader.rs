//! An AVI file: headers, index and the pictures between them.
//!
//! Whatever the file is, reading it ends, and gives no more bytes than a file can hold.
#![no_main]

use std::io::Cursor;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use lumenbus_source::{AviSource, Source, SourceItem, SourceOptions};

/// Sample tables may name the same bytes again and again; a reader has to take them one by one.
const MOST_ITEMS: usize = 2_000;

fuzz_target!(|data: &[u8]| {
    let (name, file) = (Arc::from("fuzz"), Cursor::new(data.to_vec()));
    let Ok(mut source) = AviSource::new(name, file, &SourceOptions::default()) else {
        return;
    };
    for _ in 0..MOST_ITEMS {
        match source.next_frame() {
            // A frame comes from bytes of the file; parameter sets may be put before it.
            Ok(Some(SourceItem::Encoded { frame, .. })) => {
                assert!(frame.payload.len() <= 4 * data.len() + (1 << 20), "more bytes than the file has");
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
});
