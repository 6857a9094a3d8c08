//! Headers of an H.264 access unit: parameter sets, slice headers, supplemental messages.
//!
//! Whatever the bytes are, reading them ends, and gives a size that a decoder takes or an error. A copy with other
//! parameter sets has the same units, and needs no other copy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_codec::h264_dimensions;
use lumenbus_frame::bitstream::{LowDelay, nal_units};

/// Level 5.2.
const MOST_PIXELS: u64 = 36_864 * 256;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(size)) = h264_dimensions(data) {
        assert!((1..=MOST_PIXELS).contains(&(u64::from(size.width) * u64::from(size.height))));
    }
    if let Some(copy) = LowDelay::default().take(data) {
        assert_eq!(nal_units(&copy).count(), nal_units(data).count());
        assert_eq!(LowDelay::default().take(&copy), None);
    }
});
