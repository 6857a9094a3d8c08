//! PNG, WebP and JPEG 2000 files, decoded, under a limit on what may be allocated for them.
//!
//! Whatever the file is, decoding it ends, and gives a picture of the size that its headers say, or an error.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use libfuzzer_sys::fuzz_target;
use lumenbus_codec::{DecoderConfig, Ticket, decoder, still_dimensions};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame};

/// Larger pictures only take longer.
const MOST_PIXELS: u64 = 1 << 16;
/// Beside what the process has anyway: 256 MiB, some four thousand bytes a pixel.
const MOST_BYTES: usize = 256 << 20;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: the system's allocator does the work; numbers are all that is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size() > LIMIT.load(Ordering::Relaxed) {
            LIMIT.store(usize::MAX, Ordering::Relaxed);
            panic!("more than {MOST_BYTES} bytes for one file, the last {} at once", layout.size());
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|data: &[u8]| {
    for codec in [Codec::Png, Codec::Webp, Codec::Jpeg2000] {
        let Ok(size) = still_dimensions(codec, data) else { continue };
        if u64::from(size.width) * u64::from(size.height) > MOST_PIXELS {
            continue;
        }
        let frame = EncodedFrame::new(codec, CaptureTime::arrival(0), data.to_vec().into());
        let mut decoder = decoder(codec, &DecoderConfig::default()).expect("built in");
        let mut out = Vec::new();
        LIMIT.store(NOW.load(Ordering::Relaxed).saturating_add(MOST_BYTES), Ordering::Relaxed);
        let done = decoder.decode(Ticket(0), &frame, &mut out);
        LIMIT.store(usize::MAX, Ordering::Relaxed);
        if done.is_ok() {
            assert_eq!((out.len(), out[0].frame.dimensions()), (1, size));
        }
    }
});
