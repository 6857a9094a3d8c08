//! Media segments: `moof` and `mdat` (ISO/IEC 14496-12, 8.8).

use super::boxes::Boxes;
use super::movie::TRACK_ID;
use super::{MuxError, av1};
use bytes::Bytes;
use lumenbus_frame::bitstream::{NalCodec, NalKind, nal_units};

/// Data offset, and for each sample: duration, size, flags, composition offset.
const TRUN_FLAGS: u32 = 0x0000_0f01;
const DEFAULT_BASE_IS_MOOF: u32 = 0x0002_0000;
/// Depends on no other sample.
const SYNC_SAMPLE: u32 = 0x0200_0000;
/// Depends on others, and is no sync sample.
const OTHER_SAMPLE: u32 = 0x0101_0000;
/// No other sample depends on it.
const DISPOSABLE: u32 = 0x0080_0000;

/// One access unit in decode order; times in the track's timescale.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Annex B.
    pub access_unit: &'a [u8],
    /// Until the next one's decode time.
    pub duration: u32,
    /// Presentation minus decode time.
    pub composition_offset: i32,
    /// Decoding can begin here.
    pub is_keyframe: bool,
    /// No other refers to it.
    pub is_discardable: bool,
}

impl Sample<'_> {
    fn flags(&self) -> u32 {
        let disposable = if self.is_discardable { DISPOSABLE } else { 0 };
        disposable | if self.is_keyframe { SYNC_SAMPLE } else { OTHER_SAMPLE }
    }
}

/// How samples are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// H.264 and H.265: units after their lengths.
    Nal(NalCodec),
    /// OBUs as they are.
    Av1,
}

/// A segment of these samples, the first one decoded at `decode_ticks`. Parameter sets and delimiters are left out:
/// the initialisation segment has the sets.
///
/// # Errors
/// A sample of 4 GiB.
pub fn media_segment(
    codec: NalCodec,
    sequence: u32,
    decode_ticks: u64,
    samples: &[Sample<'_>],
) -> Result<Bytes, MuxError> {
    segment(Coding::Nal(codec), sequence, decode_ticks, samples)
}

/// [`media_segment`] of any coding.
pub(super) fn segment(
    coding: Coding,
    sequence: u32,
    decode_ticks: u64,
    samples: &[Sample<'_>],
) -> Result<Bytes, MuxError> {
    let payload: usize = samples.iter().map(|sample| sample.access_unit.len() + 64).sum();
    let mut boxes = Boxes::with_capacity(payload + 128 + samples.len() * 16);
    let mut sizes_at = 0;
    // Only version 1 knows pictures that are shown before their place in the file says.
    let version = u8::from(samples.iter().any(|sample| sample.composition_offset < 0));
    boxes.boxed(b"moof", |b| {
        b.full(b"mfhd", 0, 0, |b| b.u32(sequence));
        b.boxed(b"traf", |b| {
            b.full(b"tfhd", 0, DEFAULT_BASE_IS_MOOF, |b| b.u32(TRACK_ID));
            b.full(b"tfdt", 1, 0, |b| b.u64(decode_ticks));
            b.full(b"trun", version, TRUN_FLAGS, |b| {
                b.u32(u32::try_from(samples.len()).unwrap_or(u32::MAX));
                sizes_at = b.len();
                b.u32(0); // data offset
                for sample in samples {
                    b.u32(sample.duration);
                    b.u32(0); // size
                    b.u32(sample.flags());
                    b.i32(sample.composition_offset);
                }
            });
        });
    });
    let data_offset = u32::try_from(boxes.len() + 8).unwrap_or(u32::MAX);
    boxes.put_u32(sizes_at, data_offset);
    let mut outcome = Ok(());
    boxes.boxed(b"mdat", |b| {
        outcome = samples.iter().enumerate().try_for_each(|(at, sample)| {
            let size = match coding {
                Coding::Nal(codec) => write_units(b, codec, sample.access_unit)?,
                Coding::Av1 => write_obus(b, sample.access_unit)?,
            };
            b.put_u32(sizes_at + 8 + at * 16, size);
            Ok(())
        });
    });
    outcome.map(|()| boxes.finish().into())
}

/// Without temporal delimiters, which samples stand for.
fn write_obus(b: &mut Boxes, unit: &[u8]) -> Result<u32, MuxError> {
    let start = b.len();
    for obu in av1::obus(unit).filter(|obu| obu.kind != av1::Kind::TemporalDelimiter) {
        b.bytes(obu.bytes);
    }
    size("a sample", b.len() - start)
}

fn write_units(b: &mut Boxes, codec: NalCodec, access_unit: &[u8]) -> Result<u32, MuxError> {
    let start = b.len();
    for nal in nal_units(access_unit) {
        let kind = codec.kind(nal);
        if kind.is_some_and(|kind| kind.is_parameter_set() || kind == NalKind::Delimiter) {
            continue;
        }
        b.u32(size("a NAL unit", nal.len())?);
        b.bytes(nal);
    }
    size("a sample", b.len() - start)
}

fn size(what: &'static str, bytes: usize) -> Result<u32, MuxError> {
    let limit = u64::from(u32::MAX);
    u32::try_from(bytes).map_err(|_| MuxError::TooLarge { what, value: bytes as u64, limit })
}
