//! A JPEG file: header segments, tables, and entropy-coded data with restart markers.
//!
//! Whatever the file is, decoding it ends, and gives a picture of the size that its header says, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_codec::{DecoderConfig, Ticket, decoder, jpeg_dimensions};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, PixelFormat};

/// Larger pictures only take longer.
const MOST_PIXELS: u64 = 1 << 18;

fuzz_target!(|data: &[u8]| {
    let Ok(size) = jpeg_dimensions(data) else { return };
    if u64::from(size.width) * u64::from(size.height) > MOST_PIXELS {
        return;
    }
    let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), data.to_vec().into());
    for format in [PixelFormat::I420, PixelFormat::Gray8] {
        let config = DecoderConfig { pixel_format: Some(format) };
        let mut out = Vec::new();
        let mut decoder = decoder(Codec::Jpeg, &config).expect("built in");
        if decoder.decode(Ticket(0), &frame, &mut out).is_ok() {
            assert_eq!(out.len(), 1);
            assert_eq!((out[0].frame.dimensions(), out[0].frame.format()), (size, format));
        }
    }
});
