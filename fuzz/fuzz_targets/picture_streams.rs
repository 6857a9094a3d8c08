//! Y4M and MJPEG files: pictures one after another.
//!
//! Whatever the file is, reading it ends, and gives no more bytes than it holds, but for what JPEG files of AVI leave out.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use lumenbus_source::{MjpegSource, Source, SourceItem, SourceOptions, Y4mSource};

/// The segment of Huffman tables (ITU-T T.81, annex K.3) that a picture without any gets.
const TABLES_BYTES: usize = 420;

fn drain(source: &mut dyn Source, held: usize) {
    let (mut given, mut pictures) = (0, 0);
    while let Ok(Some(item)) = source.next_frame() {
        given += match item {
            SourceItem::Encoded { frame, .. } => frame.payload.len(),
            SourceItem::Raw { frame, .. } => frame.pixels().len(),
            _ => 0,
        };
        pictures += 1;
        // Y4M's formats are at most halved or doubled on the way to ours.
        assert!(given <= 4 * held + pictures * TABLES_BYTES, "{given} bytes out of {held}");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, file)) = data.split_first() else { return };
    let (name, options) = (Arc::from("fuzz"), SourceOptions::default());
    if kind & 1 == 0 {
        if let Ok(mut source) = Y4mSource::new(name, file, &options) {
            drain(&mut source, file.len());
        }
    } else if let Ok(mut source) = MjpegSource::new(name, file, &options) {
        drain(&mut source, file.len());
    }
});
