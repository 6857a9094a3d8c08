//! H.264 and H.265 as MP4 holds them: a configuration record, then access units with a length before each NAL unit.
//!
//! Whatever they are, what comes out has start codes, and little more bytes than went in.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lumenbus_frame::bitstream::{DecoderConfiguration, Normaliser};

fuzz_target!(|data: &[u8]| {
    let [kind, length, rest @ ..] = data else { return };
    let (record, mut units) = rest.split_at(usize::from(*length).min(rest.len()));
    let record =
        if kind & 1 == 0 { DecoderConfiguration::from_avcc(record) } else { DecoderConfiguration::from_hvcc(record) };
    let Ok(record) = record else { return };
    let Ok(mut normaliser) = Normaliser::length_prefixed(&record) else { return };
    while let Some((length, after)) = units.split_first() {
        let (unit, after) = after.split_at(usize::from(*length).min(after.len()));
        units = after;
        if let Ok(made) = normaliser.normalise(&Bytes::copy_from_slice(unit)) {
            // A start code for each length, and the parameter sets before a keyframe.
            let sets: usize = normaliser.sets().nal_units().map(|set| set.len() + 4).sum();
            assert!(made.payload.len() <= 4 * unit.len() + sets + 16, "{} of {}", made.payload.len(), unit.len());
        }
    }
});
