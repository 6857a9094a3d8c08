//! Headers of PNG, WebP and JPEG 2000 files: what decides whether a decoder sees a file at all.
//!
//! Whatever the bytes are, walking them ends, and gives a size within the limits or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_codec::{MAX_PICTURE_PIXELS, MAX_SIDE_PIXELS, still_dimensions};
use lumenbus_frame::Codec;

fuzz_target!(|data: &[u8]| {
    for codec in [Codec::Png, Codec::Webp, Codec::Jpeg2000] {
        if let Ok(size) = still_dimensions(codec, data) {
            assert!((1..=MAX_SIDE_PIXELS).contains(&size.width.max(size.height)));
            assert!((1..=MAX_PICTURE_PIXELS).contains(&(u64::from(size.width) * u64::from(size.height))));
        }
    }
});
